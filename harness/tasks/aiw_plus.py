"""Alice in Wonderland+: how many cousins? Nephews and nieces are counted twice over, and Alice's own family with them.

AIW+ and AIW++ of Nezhurina et al., arXiv 2406.02061, in their words, with larger numbers. All of an aunt's nephews and
nieces on the mother's side are Alice's siblings, Alice or her cousins; on the father's side the uncle's own
children come on top. Counted in all (AIW+), or apart by sex and asked for either or both (AIW++).
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.attacks import integer_attacks


def cousins(own: int, aunts: int, uncles: int, children: int) -> int:
    """Alice's parents have `own` children, counted among the `aunts` and the `uncles` nephews and nieces."""
    return (aunts - own) + (uncles - own) + children


class AliceInWonderlandPlus:
    name = "aiw-plus"
    # 2 asked × 9**2 children × 12**2 own × 4**2 others × (31**2 totals + 16**4 by sex × 3 wanted); all texts differ
    distinct = 2 * 9**2 * 12**2 * 4**2 * (31**2 + 16**4 * 3)

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        asked = ("sister", "brother")[stream.integer(0, 1)]
        sons, daughters = stream.integer(1, 9), stream.integer(1, 9)
        brothers, sisters = stream.integer(1, 12), stream.integer(1, 12)
        mothers_brothers, fathers_sisters = stream.integer(1, 4), stream.integer(1, 4)
        boys, girls = brothers, sisters + 1  # Alice is one of her aunt's nieces
        if stream.integer(0, 1):
            wanted = ("cousins", "male cousins", "female cousins")[stream.integer(0, 2)]
            nephews = boys + stream.integer(0, 15), boys + stream.integer(0, 15)  # of the aunt, of the uncle
            nieces = girls + stream.integer(0, 15), girls + stream.integer(0, 15)
            aunts, uncles = (
                f"{_some(m, 'nephew')} and {_some(f, 'niece')}" for m, f in zip(nephews, nieces, strict=True)
            )
            male, female = cousins(boys, *nephews, sons), cousins(girls, *nieces, daughters)
            answer = {"cousins": male + female, "male cousins": male, "female cousins": female}[wanted]
        else:
            wanted = "cousins"
            both = boys + girls + stream.integer(0, 30), boys + girls + stream.integer(0, 30)
            aunts, uncles = (f"{number} nephews and nieces" for number in both)
            answer = cousins(boys + girls, *both, sons + daughters)
        prompt = (
            f"Alice has {_some(sisters, 'sister')} and {_some(brothers, 'brother')} in total. "
            f"Her mother has {_some(mothers_brothers, 'brother')}. "
            f"She also has 1 sister who does not have children and who has {aunts} in total. "
            f"Alice's father has {_some(fathers_sisters, 'sister')}. "
            f"He also has a brother who has {uncles} in total, "
            f"and who also has {_some(sons, 'son')} and {_some(daughters, 'daughter')}. "
            f"How many {wanted} does Alice's {asked} have?"
        )
        return prompt, str(answer), {"own": sisters + brothers + 1}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        return [*integer_attacks(sample), str(int(sample.target) + 2 * sample.metadata["own"])]  # cousins and siblings


def _some(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
