"""Questions that are answered with yes or no: what they share.

A constant is right half the time at least, so each of these tasks draws the answer first, by a fair coin.
"""

from __future__ import annotations

from harness.frozen.draw import Stream
from harness.frozen.format import Sample

LETTERS = "BCDFGHJKLMNPQRSTVWXZ"


def draw_names(stream: Stream, size: int) -> list[str]:
    letters = list(LETTERS)
    return [letters.pop(stream.integer(0, len(letters) - 1)) for _ in range(size)]


class YesNo:
    tolerates = ("another case",)  # the prompts show neither `Yes` nor `yes`

    def accepts(self, sample: Sample, answer: str) -> bool:
        return answer.isascii() and answer.lower() == sample.target

    def attacks(self, sample: Sample) -> list[str]:
        right, wrong = ("yes", "no") if sample.target == "yes" else ("no", "yes")
        return [
            "", " ", wrong, wrong.upper(), f"{right} or {wrong}", f"{wrong}/{right}", f"{right} {wrong}", right + wrong,
            f"not {wrong}", f"{right}.", f"{right}!", f"I think {right}", f"answer: {right}", f"'{right}'",
            f"({right})", right[0], right * 2, f"{right}\n", f"{right}\u200b", f"{right}\x00", "maybe", "true", "false",
            "1", "0", "".join(chr(ord(letter) + 0xFEE0) for letter in right), "ye\u017f", "None", "\x00",
            "yes no " * 28, sample.prompt[:200],
        ]  # fmt: skip
