"""When are two maths answers the same? Runs in a process of its own (equivalence_worker.py): sympy may take for ever.

math-verify (huggingface/Math-Verify) compares expressions well and answers badly, so there are rules around it: alone
it gives a point to 44 of the 89 wrong answers of tests/answers/test_maths.py and to 9 of the 10 echoes. It takes
`17=18` for 18, the equation `3x+7=22` for its solution, 1/2^98 for 1/2^99, `4\\sqrt(2)` for 4. So an answer is taken
apart first, and math-verify is given single expressions only:

1. The same LaTeX, spacing and spelling aside (latex_tokens.py, latex_spelling.py), is the same answer.
2. At most one relation, and only where it says nothing: `x=5` for 5 or for `x=5`. For a gold relation, the same signs.
3. Lists, tuples, sets, intervals and unions: the same brackets, the same number of items; in order if the brackets keep
   order. `\\pm` is two items; the gold answer's unit may be left out (rules 2 and 3: shapes.py).
4. Each item by math-verify, gold first (`verify` is not symmetric), if it is written in signs that we know, and then
   - both must have the same value to 12 digits, relative to its size: 0.333 is not 1/3, and small is not zero;
     for variables a few numbers are put;
   - nothing may be left to compute that the gold answer has computed: `48/2`, `2+3` and `\\frac{2}{4}` are no numbers,
     and `(1+2)\\pi` is not `3\\pi`;
   - an expression that stands in the problem is no answer, unless it has the gold answer's own form, the order of terms
     and factors aside.

What remains: another form that is neither the gold answer's nor the problem's is accepted where only terms with more
than numbers in them are left to add or multiply: `2\\pi+\\pi` for `3\\pi`, a polynomial half expanded.
"""

from __future__ import annotations

import math
import re
import string
from functools import lru_cache
from itertools import zip_longest
from typing import Any

from harness.answers.latex_spelling import number, read, read_prose, without_text
from harness.answers.latex_tokens import FLIPPED, RELATIONS, TEXT, Tokens, is_bracketed, joined
from harness.answers.shapes import same_shape, without_unit

LONGEST_GOLD = 2000  # characters

# What math-verify may be given. It guesses at the rest or skips it: that is compared by rule 1 alone.
_KNOWN = {*string.ascii_letters, *string.digits, *"+-*/^_(){}[]|!.,&=<>"} | {
    "\\frac", "\\sqrt", "\\cdot", "\\times", "\\div", "\\pi", "\\infty", "\\binom", "\\sin", "\\cos", "\\tan", "\\cot",
    "\\sec", "\\csc", "\\arcsin", "\\arccos", "\\arctan", "\\sinh", "\\cosh", "\\tanh", "\\log", "\\ln", "\\exp",
    "\\lfloor",
    "\\rfloor", "\\lceil", "\\rceil", "\\leq", "\\geq", "\\neq", "\\in", "\\setminus", "\\mathbb", "\\varnothing",
    "\\begin",
    "\\end", "\\alpha", "\\beta", "\\gamma", "\\delta", "\\epsilon", "\\varepsilon", "\\zeta", "\\eta", "\\theta",
    "\\kappa", "\\lambda", "\\mu", "\\nu", "\\xi", "\\rho", "\\sigma", "\\tau", "\\phi", "\\varphi", "\\chi", "\\psi",
    "\\omega",
    "\\Gamma", "\\Delta", "\\Theta", "\\Lambda", "\\Sigma", "\\Phi", "\\Psi", "\\Omega", "\\{", "\\}", "\\%", "\\\\",
}  # fmt: skip
_PLAIN = re.compile(r"-?(?:\d+(?:\.\d+)?(?:/\d+)?|\\frac\{?\d+\}?\{?\d+\}?|[A-Za-z]|\\[a-z]+)", re.ASCII)
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+|-?\d+/\d+|\d*\\frac(?:\{-?\d+\}|\d)(?:\{-?\d+\}|\d))(?:\\%)?", re.ASCII)
# Dots for what is left out; \sqrt(2), read as \sqrt, then nothing; a subscript of a number, which is dropped; signs and
# braces that only hide what there is to compute.
_MISREAD = re.compile(r"\.\.|\\sqrt(?![\[{0-9A-Za-z ])|[\d)}]_|(?:^|[-+({\[])\+|--|\{\{|\\binom", re.ASCII)
_MIXED = re.compile(r"\d\\frac\{(\d+)\}\{(\d+)\}", re.ASCII)  # math-verify reads 1\frac{3}{2} as 5/2
_BRACKETED = re.compile(r"\((-?[\d.]+)\)", re.ASCII)
_FRACTION = re.compile(
    r"\\frac(?:\{(-?[\d.]+)\}|(\d))(?:\{(-?[\d.]+)\}|(\d))"
    r"|(?<![\d.])\{?(-?\d[\d.]*)\}?(?:/|\\div) ?\{?(-?\d[\d.]*)\}?",
    re.ASCII,
)
# Numbers to put for variables, the first for the first variable in the order of the alphabet. No small integers.
_PUT = ("1.7320508", "0.6180340", "2.2360680", "3.3166248", "0.4142136", "5.3851648", "1.2599211", "4.1231056")


def same_answer(answer_text: str, gold_text: str, problem: str = "") -> bool:
    """Total but for time and memory, which the process's limits end."""
    answer, gold = read(answer_text), read(gold_text)
    if not answer or not gold or len(gold_text) > LONGEST_GOLD:
        return False
    if answer == gold or without_text(answer_text) == without_text(gold_text):
        return True
    copied = _is_copied(without_unit(answer)[0], problem)
    return same_shape(answer, gold, lambda part, gold_part: _same(part, gold_part, problem, copied))


def _is_copied(answer: Tokens, problem: str) -> bool:
    """Is this expression copied from the problem? A plain number or variable may stand in both."""
    text = joined(answer)
    if len(answer) < 2 or _PLAIN.fullmatch(text):
        return False
    copy = re.compile(rf"(?<![0-9A-Za-z.\\]){re.escape(text)}(?![0-9A-Za-z])")
    return any(map(copy.search, read_prose(problem)))


def _same(answer: Tokens, gold: Tokens, problem: str, copied: bool) -> bool:
    """One expression against another, or one relation against another of the same shape.

    One that is copied from the problem must be the gold answer in the form of it too.
    """
    if answer == gold or (_word(answer) == _word(gold) != ""):
        return True
    copied = copied or _is_copied(answer, problem)
    value, gold_value = number(answer), number(gold)
    if value is not None and gold_value is not None:
        return not copied and value.value == gold_value.value and (value.reduced or not gold_value.reduced)
    if not {*answer, *gold} <= _KNOWN or _relations(answer) != _relations(gold):
        return False
    text, gold_text = joined(answer), joined(gold)
    if (
        _is_misread(text)
        or _is_misread(gold_text)
        or ((gold_value is not None or _NUMBER.fullmatch(gold_text)) and not _NUMBER.fullmatch(text))
    ):
        return False
    if copied and _NUMBER.fullmatch(text):  # 12.5\% for 1/8
        return False
    if any(len(side) > 2 and side.isalpha() for side in (text, gold_text)):  # a word, not a product of its letters
        return False
    x, y = parse(gold), parse(answer)
    if x is None or y is None or not _names(y) <= _names(x):
        return False
    return (
        math_verify().verify(x, y, timeout_seconds=None)
        and _equal_values(x, y)
        and ((_is_computed(y) and _in_lowest_terms(answer)) or not (_is_computed(x) and _in_lowest_terms(gold)))
        and (_key(x) == _key(y) or not (copied or any(_key(y) == _key(part) for part in _formulas(problem))))
    )


def _is_misread(text: str) -> bool:
    """Will math-verify drop a part of this, or see another number in it?"""
    return _MISREAD.search(text) is not None or any(int(above) >= int(below) for above, below in _MIXED.findall(text))


def _relations(latex: Tokens) -> list[str]:
    """At any depth: (17=18) is a relation too. < and > are one, for a relation may be turned round."""
    return sorted(min(token, FLIPPED.get(token, token)) for token in latex if token in RELATIONS)


def _word(latex: Tokens) -> str:
    """The letters of `\\text{even}` or of `even`, else ""."""
    if latex[:1] and latex[0] in TEXT and latex[1:2] == ("{",) and is_bracketed(latex[1:]):
        latex = latex[2:-1]
    latex = tuple(token for token in latex if token not in "()")
    return "".join(latex) if all(len(token) == 1 and token.isalpha() for token in latex) else ""


def math_verify() -> Any:
    import math_verify as library  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return library


def parse(latex: Tokens) -> Any:
    library = math_verify()
    parsed = library.parse(
        f"${joined(latex)}$",
        extraction_config=[library.LatexExtractionConfig()],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return parsed[0] if parsed else None


@lru_cache(maxsize=4)
def _formulas(problem: str) -> list[Any]:
    """What the problem sets in dollars and math-verify can read, where there is an operation in it."""
    parsed = [parse(read(part)) for part in re.findall(r"\$([^$]{3,200})\$", problem)[:20]]
    return [part for part in parsed if part is not None and _args(part)]


def _key(expression: Any) -> str:
    """The form of an expression, the order of terms and factors aside."""
    parts = [_key(part) for part in _args(expression)]
    kind = type(expression).__name__
    if kind in ("Add", "Mul"):
        parts.sort()
    return f"{kind}({','.join(parts)})" if parts else str(expression)


def _names(expression: Any) -> set[str]:
    return {str(symbol) for symbol in getattr(expression, "free_symbols", [])}


def _args(expression: Any) -> tuple[Any, ...]:
    return tuple(getattr(expression, "args", []))


def _equal_values(x: Any, y: Any) -> bool:
    """To 12 digits of the larger one, inside tuples and matrices too. What has no value was math-verify's to judge."""
    if hasattr(x, "flat") and hasattr(y, "flat"):
        return all(_equal_values(*pair) for pair in zip_longest(x.flat(), y.flat()))
    names = sorted(_names(x))
    if not (hasattr(x, "evalf") and hasattr(y, "evalf")) or len(names) > len(_PUT):
        return True
    if not names:
        x, y = x.doit(), y.doit()
        if getattr(x, "is_Rational", False) and getattr(y, "is_Rational", False):
            return bool(x == y)
    put = dict(zip(names, _PUT, strict=False))
    values = []
    for expression in (x, y):
        value = expression.subs({symbol: put[str(symbol)] for symbol in expression.free_symbols})
        if not getattr(value, "is_number", False) or not value.is_finite:  # a relation, infinity
            return True
        values.append(value.evalf(30))
    a, b = values
    return bool(abs(a - b) <= 1e-12 * max(abs(a), abs(b)))


def _is_computed(expression: Any) -> bool:
    """Is nothing left to compute with plain numbers?"""
    if hasattr(expression, "flat"):
        return all(map(_is_computed, expression.flat()))
    if _is_literal(expression):
        return True
    if getattr(expression, "is_number", False) and expression.doit().is_Rational:
        return False
    if sum(map(_is_literal, _parts(expression, "Add"))) > 1:
        return False
    factors = [part for part in _parts(expression, "Mul") if _is_literal(part) and part != -1]
    below = [part.args[0] for part in factors if type(part).__name__ == "Pow"]
    above = [part for part in factors if type(part).__name__ != "Pow"]
    if len(above) > 1 or len(below) > 1 or (above and below and not _coprime(above[0], below[0])):
        return False
    return all(map(_is_computed, _args(expression)))


def _parts(expression: Any, kind: str) -> list[Any]:
    """The terms of a sum of sums, or the factors of a product of products; of anything else nothing."""
    if type(expression).__name__ == "UnevaluatedExpr":
        return _parts(expression.args[0], kind)
    if type(expression).__name__ != kind:
        return []
    return [inner for part in expression.args for inner in (_parts(part, kind) or [part])]


def _is_literal(expression: Any) -> bool:
    """An integer, a decimal, a fraction in lowest terms, one of them with a minus or as a percentage."""
    if getattr(expression, "is_Rational", False) or getattr(expression, "is_Float", False):
        return True
    kind, parts = type(expression).__name__, _args(expression)
    if kind == "UnevaluatedExpr":
        return _is_literal(parts[0])
    if kind == "Pow":
        return bool(parts[0].is_Integer and parts[0] > 1 and parts[1] == -1)
    if kind == "Mul" and len(parts) == 2:
        if parts[0] == -1 or str(parts[1]) == "1/100":
            return _is_literal(parts[1]) and _is_literal(parts[0])
        return type(parts[1]).__name__ == "Pow" and _is_literal(parts[1]) and _coprime(parts[0], parts[1].args[0])
    return False


def _coprime(a: Any, b: Any) -> bool:
    return bool(a.is_Integer and b.is_Integer and math.gcd(int(a), int(b)) == 1)


def _in_lowest_terms(latex: Tokens) -> bool:
    """Every fraction of two numbers. math-verify's parser divides them, so that the expression does not show it."""
    text, before = joined(latex), ""
    while text != before:
        text, before = _BRACKETED.sub(r"\1", text), text
    for pair in _FRACTION.finditer(text):
        above, below = (number for number in pair.groups() if number)
        if "." in above + below or int(below) < 2 or math.gcd(int(above), int(below)) != 1:
            return False
    return True
