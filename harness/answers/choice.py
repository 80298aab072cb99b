"""Multiple choice by exactly one final letter: MMLU-Pro, GPQA.

Strict: the answer is one of the offered capital letters and nothing else. `(C)`, `c`, `C.`, `C or D` and the option's
text are not. Nothing is ever guessed: a completion without an answer is wrong, not a random letter.

Lenient: the letter of the last `\\boxed{C}`, "answer is (C)" or "Answer: **C**", else a last line that is a letter
alone. A letter with a second one behind it (`C or D`, `A, B`) is no answer. "answer" must be a whole word with "is",
":" or "=" behind it, so that the A of Answer, the I of "I think" and the s of "Answer seems" are no options.

Worst case: linear in the completion, under 0.5 s for a million characters.
"""

from __future__ import annotations

import re
import string
from typing import ClassVar

from harness.answers.grade import final_part
from harness.answers.kind import Kind
from harness.tasks.task import Sample

_WRAP = r"(?:\\(?:text|textbf|mathrm|mathbf|boxed)\{\s*)?"
_BOX = re.compile(rf"\\boxed\{{\s*{_WRAP}\(?([A-Z])\)?\s*\}}")
_STATED = re.compile(
    rf"\b[Aa](?:nswer|NSWER)[\s*_]{{0,6}}(?:is\b|IS\b|:|=)[\s:*_$(\[{{]{{0,20}}{_WRAP}\(?([A-Z])(?![\w'’])", re.ASCII
)
_ANOTHER = re.compile(
    r"[\s)\]}*_$.]{0,6}(?:(?:/|&|\bor\b|\band\b)[\s(\[*_$]{0,6}[A-Z](?!\w)"
    r"|,[\s(\[*_$]{0,6}[A-Z](?=[\s)\]}*_$.]{0,6}(?:\Z|,|or\b|and\b)))"
)


class Choice(Kind):
    """`target`: a capital letter; `metadata`: options, a list, whose letters are offered from A on (26 without it)."""

    name: ClassVar[str] = "choice"

    def ask(self, sample: Sample) -> str:
        return "The answer is one capital letter."

    def strict(self, sample: Sample, answer: str) -> bool:
        options = len(sample.metadata.get("options", string.ascii_uppercase))
        return answer == sample.target and answer in tuple(string.ascii_uppercase[:options])

    def lenient(self, sample: Sample, completion: str) -> bool:
        text = final_part(completion)
        if boxes := _BOX.findall(text):
            letter = boxes[-1]
        elif statements := list(_STATED.finditer(text)):
            letter = statements[-1][1]
            if _ANOTHER.match(text[statements[-1].end() :][:40].partition("\n")[0]):
                return False
        else:
            letter = text.rstrip().rpartition("\n")[2].strip(" *_$().")
        return self.strict(sample, letter)

    def attacks(self, sample: Sample) -> list[str]:
        gold = sample.target
        other = "B" if gold == "A" else "A"
        letters = "ABCDEFGHIJ"
        return [
            "", other, gold.lower(), f"({gold})", f"{gold}.", f"{gold} or {other}", f"{gold}, {other}", letters,
            " ".join(letters), f"I guess {gold}", f"not {gold}", f"\\boxed{{{gold}}}", f"{gold}\u200b", "1",
            sample.prompt[:200],
        ]  # fmt: skip
