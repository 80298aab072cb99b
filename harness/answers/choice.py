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

from harness.answers.grade import Grade, answer_of, final_part

_WRAP = r"(?:\\(?:text|textbf|mathrm|mathbf|boxed)\{\s*)?"
_BOX = re.compile(rf"\\boxed\{{\s*{_WRAP}\(?([A-Z])\)?\s*\}}")
_STATED = re.compile(
    rf"\b[Aa](?:nswer|NSWER)[\s*_]{{0,6}}(?:is\b|IS\b|:|=)[\s:*_$(\[{{]{{0,20}}{_WRAP}\(?([A-Z])(?![\w'’])", re.ASCII
)
_ANOTHER = re.compile(
    r"[\s)\]}*_$.]{0,6}(?:(?:/|&|\bor\b|\band\b)[\s(\[*_$]{0,6}[A-Z](?!\w)"
    r"|,[\s(\[*_$]{0,6}[A-Z](?=[\s)\]}*_$.]{0,6}(?:\Z|,|or\b|and\b)))"
)


def strict(answer: str, gold: str, options: int) -> bool:
    return answer == gold and answer in tuple(string.ascii_uppercase[:options])


def lenient(completion: str, gold: str, options: int) -> bool:
    text = final_part(completion)
    if boxes := _BOX.findall(text):
        found = boxes[-1]
    elif stated := list(_STATED.finditer(text)):
        found = stated[-1][1]
        if _ANOTHER.match(text[stated[-1].end() :][:40].partition("\n")[0]):
            return False
    else:
        found = text.rstrip().rpartition("\n")[2].strip(" *_$().")
    return strict(found, gold, options)


def grade(completion: str, gold: str, options: int) -> Grade:
    """`options` letters were offered, from A on: 10 for MMLU-Pro, 4 for GPQA. `gold` is one of them."""
    answer = answer_of(completion)
    right = answer is not None and strict(answer, gold, options)
    return Grade(strict=right, lenient=right or lenient(completion, gold, options), answer=answer)
