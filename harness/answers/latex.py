"""LaTeX answers by normal form: the same in writing, once what makes no difference is taken out. Nothing is computed.

For rewards (benchmarks/training_sets.py): a training set is graded while the clock runs and a hostile trainer waits, so
its grader must be quick, total, and the same on every machine. maths.py, which compares values with math-verify in
processes that can be killed, is none of these. The price: 0.25 is not \\frac{1}{4}. MATH's answers follow one
convention, on which its own metric relies too (`is_equiv` of github.com/hendrycks/math, whose rules these resemble),
and which a policy can learn.

Worst case: linear in the answer, which is as long as the track's form lets it be.
"""

from __future__ import annotations

import re
from typing import ClassVar

from harness.answers.kind import Kind
from harness.tasks.task import Sample

_NOTHING = re.compile(
    r"\\left(?![a-z])|\\right(?![a-z])|\\[!,;:> ]|\\quad|\\displaystyle|~|\$|\^\{?\\circ\}?|\\?%|\s+|\.$"
)
_WORDS = re.compile(r"\\(?:text|textbf|textit|mathrm|mathbf|mbox|operatorname)\{([^{}]*)\}")
_BOX = re.compile(r"\\(?:boxed|fbox)\{(.*)\}", re.DOTALL)
_GROUPED = re.compile(r"-?[0-9]{1,3}(?:(?:,|\{,\})[0-9]{3})+(?:\.[0-9]+)?")
_BARE_FRACTION = re.compile(r"\\frac([0-9])([0-9])")
_BARE_ROOT = re.compile(r"\\sqrt([0-9a-z])")
_SLASHED = re.compile(r"(-?)([0-9]+)/([0-9]+)")
_SIGNED = re.compile(r"\\frac\{-([0-9]+)\}")
_BARE_POINT = re.compile(r"(?<![0-9])\.(?=[0-9])")


def normal(text: str) -> str:
    """What is compared."""
    text = text.strip()
    if box := _BOX.fullmatch(text):
        text = box[1]
    text = _WORDS.sub(r"\1", text)
    text = _NOTHING.sub("", text).replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").replace("−", "-")
    if _GROUPED.fullmatch(text):
        text = re.sub("[{,}]", "", text)
    if slashed := _SLASHED.fullmatch(text):
        text = f"{slashed[1]}\\frac{{{slashed[2]}}}{{{slashed[3]}}}"
    text = _BARE_FRACTION.sub(r"\\frac{\1}{\2}", text)
    text = _BARE_ROOT.sub(r"\\sqrt{\1}", text)
    text = _SIGNED.sub(r"-\\frac{\1}", text)
    return _BARE_POINT.sub("0.", text)


class Latex(Kind):
    """`target`: LaTeX, in `\\boxed{}` or not. An empty answer is no answer."""

    name: ClassVar[str] = "latex"

    def ask(self, sample: Sample) -> str:
        return "The answer is LaTeX, simplified."

    def strict(self, sample: Sample, answer: str) -> bool:
        gold = normal(sample.target)
        return bool(gold) and normal(answer) == gold

    def attacks(self, sample: Sample) -> list[str]:
        bare = sample.target.removeprefix("\\boxed{").removesuffix("}")
        return [
            "", " ", "None", "\\boxed{}", "\\boxed{?}", "\\text{the answer}", f"{bare}+1", f"{bare} or 123456789",
            f"{bare}, 123456789", f"I guess {bare}", f"not {bare}", "0/0", "9" * 100, "9**9**9**9", "\\left(" * 40,
            "{" * 200, "\x00", sample.prompt[:200],
        ]  # fmt: skip
