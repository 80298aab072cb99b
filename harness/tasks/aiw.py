"""Alice in Wonderland: "Alice has 3 brothers and she also has 6 sisters. How many sisters does Alice's brother have?"

Nezhurina et al., arXiv 2406.02061: strong models forget that Alice is a sister too. Their four number pairs are
widened to 3,600, and siblings to friends and colleagues, Bob for Alice, brothers of brothers, and both kinds together.
The formula is one for all of them; the test puts it to the paper's own prompts.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks

SEXES = ("female", "male")
NAMES = {"female": ("Alice", "she"), "male": ("Bob", "he")}
SIBLINGS = {"female": "sister", "male": "brother", "any": "sibling"}


def others(group: dict[str, int], of: str, wanted: str) -> int:
    """How many of the `wanted` ("female", "male" or "any") one of the sex `of` has, where everyone has everyone else.

    `group` counts all members, the one that the question names among them.
    """
    everyone = sum(group.values()) if wanted == "any" else group[wanted]
    return everyone - (wanted in (of, "any"))


class AliceInWonderland:
    name = "aiw"
    # 3 relations × 2 persons × 60 × 60 counts × 2 asked × 3 wanted, whichever count is told first; all texts differ
    distinct = 129_600

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        relation = ("sibling", "friend", "colleague")[stream.integer(0, 2)]
        sex, of = SEXES[stream.integer(0, 1)], SEXES[stream.integer(0, 1)]
        wanted = (*SEXES, "any")[stream.integer(0, 2)]
        has = {each: stream.integer(1, 60) for each in SEXES}
        first, second = SEXES if stream.integer(0, 1) else SEXES[::-1]
        person, pronoun = NAMES[sex]
        prompt = (
            f"{person} has {counted(has[first], relation, first)} and "
            f"{pronoun} also has {counted(has[second], relation, second)}. "
        )
        if relation == "sibling":
            prompt += f"How many {SIBLINGS[wanted]}s does {person}'s {SIBLINGS[of]} have?"
        else:
            prompt += (
                f"All mentioned persons are {relation}s of each other and have no other {relation}s aside. "
                f"How many {noun(relation, wanted)}s does a {of} {relation} of {person} have?"
            )
        answer = others({**has, sex: has[sex] + 1}, of, wanted)
        return prompt, str(answer), {"has": has, "sex": sex, "of": of, "wanted": wanted}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        meta = sample.metadata
        forgot = others(meta["has"], meta["of"], meta["wanted"])  # the mistake that the task is about
        return [*integer_attacks(sample), *([str(forgot)] if str(forgot) != sample.target else [])]


def noun(relation: str, sex: str) -> str:
    """What one of this sex is called: sister, female friend, or friend for any."""
    if relation == "sibling":
        return SIBLINGS[sex]
    return relation if sex == "any" else f"{sex} {relation}"


def counted(number: int, relation: str, sex: str) -> str:
    return f"{number} {noun(relation, sex)}{'' if number == 1 else 's'}"
