"""LaTeX answers by normal form: the same in writing, once what makes no difference is taken out.

For rewards (benchmarks/training_sets.py): a training set is graded while the clock runs and a hostile trainer waits, so
its grader must be quick, total, and the same on every machine. maths.py, which compares values with math-verify in
processes that can be killed, is none of these. The price: of plain numbers alone is the value compared (0.25 is
\\frac{1}{4}), x+1 is not 1+x. MATH's answers follow one convention, on which its own metric relies too (`is_equiv` of
github.com/hendrycks/math, whose rules these resemble), and which a policy can learn.

Worst case: quadratic in the answer, which is as long as the track's form lets it be: 200 characters take 5 ms.
"""

from __future__ import annotations

import re
from typing import ClassVar

from harness.answers.kind import Kind
from harness.answers.latex_spelling import number, read, without_text
from harness.answers.latex_tokens import Tokens, joined
from harness.answers.shapes import same_shape
from harness.frozen.format import Sample

_WORDS = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathit|mbox|operatorname)\{([^{}]*)\}")
_UNSAID = re.compile(r"\$|\\%|(?<![0-9]) | (?![0-9])")
_SLASHED = re.compile(r"(-?)([0-9]+)/([0-9]+)")
_SIGNED = re.compile(r"\\frac\{-([0-9]+)\}")
_BARE_POINT = re.compile(r"(?<![0-9])\.(?=[0-9])")


def normal(text: str) -> str:
    """What is compared of an answer that is one expression."""
    return _form(read(text))


def _form(latex: Tokens) -> str:
    """A number by its value if nothing is left to compute, anything else by its signs."""
    plain = number(latex[:-1] if latex[-1:] == ("\\%",) else latex)
    if plain is not None and plain.reduced:
        return str(plain.value)
    text = _UNSAID.sub("", _WORDS.sub(r"\1", joined(latex)))
    if slashed := _SLASHED.fullmatch(text):
        text = f"{slashed[1]}\\frac{{{slashed[2]}}}{{{slashed[3]}}}"
    return _BARE_POINT.sub("0.", _SIGNED.sub(r"-\\frac{\1}", text))


class Latex(Kind):
    """`target`: LaTeX, in `\\boxed{}` or not. An empty answer is no answer."""

    name: ClassVar[str] = "latex"

    def ask(self, sample: Sample) -> str:
        return "The answer is LaTeX, simplified."

    def strict(self, sample: Sample, answer: str) -> bool:
        latex, gold = read(answer), read(sample.target)
        if not latex or not _form(gold):
            return False
        return (
            _form(latex) == _form(gold)
            or without_text(answer) == without_text(sample.target)
            or same_shape(latex, gold, lambda part, gold_part: _form(part) == _form(gold_part))
        )

    def attacks(self, sample: Sample) -> list[str]:
        bare = sample.target.removeprefix("\\boxed{").removesuffix("}")
        return [
            "", " ", "None", "\\boxed{}", "\\boxed{?}", "\\text{the answer}", f"{bare}+1", f"{bare} or 123456789",
            f"{bare}, 123456789", f"I guess {bare}", f"not {bare}", "0/0", "9" * 100, "9**9**9**9", "\\left(" * 40,
            "{" * 200, "\x00", sample.prompt[:200],
        ]  # fmt: skip
