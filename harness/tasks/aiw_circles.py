"""Alice in Wonderland in two circles that share Matilda: how many female colleagues does she have?

The hardest variations of Nezhurina et al., arXiv 2406.02061 (Matilda in Alice's and in Bob's circle), in their
words, with larger numbers and all three questions.
"""

from __future__ import annotations

from typing import Any

from harness.frozen.draw import Stream
from harness.frozen.format import Sample, is_integer
from harness.tasks.aiw import SEXES, counted, noun, others
from harness.tasks.attacks import integer_attacks


def joined(alice: dict[str, int], bob: dict[str, int]) -> dict[str, int]:
    """All people: those in Alice's circle and in Bob's, both of them, and Matilda, who was counted in either, once."""
    return {"female": alice["female"] + 1 + bob["female"] - 1, "male": alice["male"] + bob["male"] + 1}


class AliceInWonderlandCircles:
    name = "aiw-circles"
    distinct = 15_360_000  # 2 relations × 3 wanted × 40**4 counts; all texts differ

    def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
        relation = ("friend", "colleague")[stream.integer(0, 1)]
        wanted = (*SEXES, "any")[stream.integer(0, 2)]
        alice, bob = ({each: stream.integer(1, 40) for each in SEXES} for _ in range(2))
        circle = "All these mentioned persons in the circle around {0} are {1}s of each other. "
        prompt = (
            f"Alice has {counted(alice['male'], relation, 'male')} and "
            f"she also has {counted(alice['female'], relation, 'female')} in total. {circle.format('Alice', relation)}"
            f"Bob has {counted(bob['female'], relation, 'female')} and "
            f"{counted(bob['male'], relation, 'male')} in total. {circle.format('Bob', relation)}"
            f"The people in the circle around Bob do not have other {relation}s aside - with the only exception of "
            f"Matilda. She is {relation} of Bob, being part of Bob's circle, and she is also {relation} of Alice, "
            f"being part of Alice's circle. All the mentioned persons have no {relation}s beyond the already described "
            f"group of people. How many {noun(relation, wanted)}s does Matilda have?"
        )
        answer = others(joined(alice, bob), "female", wanted)
        return prompt, str(answer), {"alice": alice, "bob": bob, "wanted": wanted}

    def accepts(self, sample: Sample, answer: str) -> bool:
        return is_integer(answer, sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        one_circle = others(sample.metadata["alice"], "female", sample.metadata["wanted"])
        return [*integer_attacks(sample), str(one_circle)]
