"""Multiple choice by exactly one final letter: MMLU-Pro, GPQA.

Strict: the answer is one of the offered capital letters and nothing else. `(C)`, `c`, `C.`, `C or D` and the option's
text are not. Nothing is ever guessed: a completion without an answer is wrong, not a random letter.

Lenient: the letter of the last `\\boxed{C}` or `\\boxed{C: its text}`, "answer is (C)" or "Answer: **C**", else a last
line that is a letter alone. A letter with a second one beside it (`C or D`, `A; B`, `A|B`, `A-D`, two boxes) is no
answer. "answer" must be a whole word with "is", ":" or "=" behind it, so that the A of Answer, the I of "I think" and
the s of "Answer seems" are no options.

Worst case: linear in the completion, under 0.5 s for a million characters.
"""

from __future__ import annotations

import re
import string
from typing import ClassVar

from harness.answers.grade import LONGEST_BOX, final_part, last_box
from harness.answers.kind import Kind
from harness.frozen.format import Sample

_WRAP = r"(?:\\(?:text|textbf|mathrm|mathbf|boxed|fbox)\{\s*)?"
_BOXED = re.compile(
    rf"\s*\$?{_WRAP}\(?\s*([A-Z])\s*(?:[).:$}}][\s).:$}}]*(.*))?", re.DOTALL
)  # E, (E), \text{E}, E: text
_STATED = re.compile(
    rf"\b[Aa](?:nswer|NSWER)[\s*_]{{0,6}}(?:is\b|IS\b|:|=)[\s:*_$(\[{{]{{0,20}}{_WRAP}\(?([A-Z])(?![\w'’])", re.ASCII
)
_WORD = r"(?:\\text\{\s*)?(?:or|and|to|through|vs|versus|OR|AND)\b\.?\s*\}?|\\(?:lor|land|vee|wedge)\b"
_GAP = r"[\s(\[*_$]{0,6}"
_AFTER = r"[\s)\]}*_$.?]{0,6}"
# A second letter: (C) or (D), C|D, C-D. After a comma, a semicolon or a dash only where no sentence follows it.
_ANOTHER = re.compile(
    rf"{_AFTER}(?:(?:\(?(?:{_WORD})|[/&|+~]|\\&){_GAP}{_WRAP}\(?[A-Z](?![\w'’])"
    rf"|(?<=[A-Z)\]}}])[–—-]{_WRAP}\(?[A-Z](?![\w'’])"
    rf"|[,;–—-]{_GAP}(?:(?:{_WORD})\s?)?{_GAP}{_WRAP}[A-Z](?={_AFTER}(?:\Z|[,;]|{_WORD})))"
)
_BETWEEN = re.compile(rf"[\s$.*()]*(?:(?:{_WORD})|[,;/|&+~–—-])?[\s$.*()]*")  # \boxed{A} or \boxed{B}
_BEFORE = re.compile(rf"(?<!\w)[A-Z][\s$.*)]*(?:(?:{_WORD})|[;/|&+~])[\s$.*(]*\Z")  # A or \boxed{B}
_LABELLED = re.compile(r"\b(?:or|and)\s+\(?[A-Z]\)?\s*[:.)]")  # \boxed{A: a dog or B: a cat}
_LETTERS = re.compile(
    rf"(?:[A-Z]|[\s$.*(),;/|&+~–—{{}}-]|{_WORD}|\\(?:text|mathrm|textbf)\b)*", re.ASCII
)  # CD; C, D; C-D


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
        box = last_box(text)
        if box and (letter := _letter_in(box)) is not None:
            return self.strict(sample, letter)
        if statements := list(_STATED.finditer(text, len(box[0]) if box else 0)):
            letter = statements[-1][1]
            line = text[statements[-1].start(1) :][:41].partition("\n")[0]
            if _ANOTHER.match(line, 1):
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


def _letter_in(box: tuple[str, str, str]) -> str | None:
    """The letter in the last box of a text, "" where there are several; None where it holds something else."""
    before, inside, behind = box
    found = _BOXED.fullmatch(inside)
    if found is None:
        return "" if _LETTERS.fullmatch(inside) else None
    another = last_box(before[-LONGEST_BOX:])
    other = _BOXED.fullmatch(another[1]) if another else None
    several = (
        (another and other and other[1] != found[1] and _BETWEEN.fullmatch(another[2]))
        or _BEFORE.search(before[-40:])
        or _ANOTHER.match(inside, found.end(1))
        or _ANOTHER.match(f"}}{behind[:40]}".partition("\n")[0])
        or _LABELLED.search(found[2] or "")
    )
    return "" if several else found[1]
