"""One spelling of what LaTeX can say in several: braces around arguments, roman letters, signs, numbers.

Nothing is computed but the value of a plain number, which is exact: 0.25, 1/4, \\frac14, 1\\frac{1}{2} and so on.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

from harness.answers.latex_tokens import RELATIONS, SEPARATORS, TEXT, Tokens, joined, lexed, tokens

_LONGEST_NUMBER = 1000  # digits
_LETTERS = {"i", "e"}  # that are numbers, upright or not. Any other upright letter may be a unit
_TAKES = {"\\frac": 2, "\\sqrt": 1, "\\overline": 1, "\\binom": 2}
_OVER = r"(?P<over>\\frac\{(?P<above>-?\d+)\}\{(?P<below>\d+)\}|(?P<above2>\d+)/(?P<below2>\d+))"
_NUMBER = re.compile(
    rf"(?P<sign>-?)(?:(?:(?P<whole>\d+)(?=\\frac))?{_OVER}"
    r"|(?P<decimal>\d+(?:\.\d*)?|\.\d+)(?:\\overline\{(?P<period>\d{1,50})\})?)",
    re.ASCII,
)
_PROSE = re.compile(r"(?<![A-Za-z\\])[A-Za-z]{2,}(?![A-Za-z])|(?<!\S)[aA](?=\s+[\d\\(-])", re.ASCII)
_TEXTED = re.compile(rf"(?:{'|'.join(map(re.escape, sorted(TEXT)))})\s*\{{([^{{}}]*)\}}")


@lru_cache(maxsize=1024)
def read(text: str) -> Tokens:
    """An answer's tokens, all spelled in one way."""
    return _spelled(tokens(text))


@lru_cache(maxsize=1024)
def without_text(text: str) -> Tokens:
    """The same with `\\text{even}` as the letters that it shows."""
    return _spelled(tokens(_TEXTED.sub(r" \1 ", text)))


@lru_cache(maxsize=4)
def read_prose(text: str) -> tuple[str, str]:
    """A problem with its formulas spelled as `read` spells an answer, and the same with `$` for each word.

    Without the words an expression that stands between two of them has ends; with them `ab` in a formula is there.
    """
    return joined(_spelled(lexed(text))), joined(_spelled(lexed(_PROSE.sub(" $ ", text))))


def _spelled(latex: Tokens) -> Tokens:
    return _plain_signs(_braced(_roman(latex)))


def _roman(latex: Tokens) -> Tokens:
    """`3\\mathrm{i}` is 3i, and `\\text{13}` is 13."""
    out: list[str] = []
    at = 0
    while at < len(latex):
        if latex[at] in TEXT and latex[at + 1 : at + 2] and latex[at + 1] in _LETTERS:
            at += 1
        elif latex[at] in TEXT and latex[at + 1 : at + 2] == ("{",) and latex[at + 3 : at + 4] == ("}",):
            letter = latex[at + 2]
            out += [letter] if letter in _LETTERS or letter.isdecimal() else latex[at : at + 4]
            at += 4
            continue
        out.append(latex[at])
        at += 1
    return tuple(out)


def _braced(latex: Tokens) -> Tokens:
    """`\\frac12` is `\\frac{1}{2}`, `\\sqrt[3]2` is `\\sqrt[3]{2}`; `x^{2}` is `x^2`."""
    out: list[str] = []
    due = 0  # arguments still to be read
    outer: list[int] = []  # what is due outside each open brace
    at = 0
    while at < len(latex):
        token = latex[at]
        one = latex[at + 1 : at + 2] == ("{",) and latex[at + 3 : at + 4] == ("}",)
        if token in ("^", "_") and one and not "".join(latex[at + 4 : at + 5]).isdecimal():  # x^{2}3 is not x^{23}
            out += [token, latex[at + 2]]
            at += 4
            continue
        if due and token == " ":
            at += 1
            continue
        if token == "{":
            outer.append(max(0, due - 1))
            due = 0
        elif token == "}" and outer:
            due = outer.pop()
        elif token == "[" and out[-1:] == ["\\sqrt"] and "]" in latex[at:]:
            end = latex.index("]", at)
            out += latex[at : end + 1]
            at = end + 1
            continue
        elif token in _TAKES:
            due = _TAKES[token]
        elif due and (token.isalnum() or (token[0] == "\\" and token[1:].isalpha())):
            out += ["{", token, "}"]
            due -= 1
            at += 1
            continue
        else:
            due = 0
        out.append(token)
        at += 1
    return tuple(out)


def _plain_signs(latex: Tokens) -> Tokens:
    """`[2,+\\infty)` is `[2,\\infty)`: a plus before the first term says nothing."""
    starts = RELATIONS | SEPARATORS | {"(", "[", "\\{"}
    return tuple(
        token
        for at, token in enumerate(latex)
        if token != "+" or not (at == 0 or latex[at - 1] in starts) or latex[at + 1 : at + 2] in ((), ("-",), ("+",))
    )


@dataclass(frozen=True)
class Number:
    """`reduced`: nothing is left to compute, neither 48/2 nor 2/4."""

    value: Fraction
    reduced: bool


def number(latex: Tokens) -> Number | None:
    """A plain number, exactly; None for anything else, 1\\frac{3}{2} included."""
    if len(latex) > _LONGEST_NUMBER or not (found := _NUMBER.fullmatch(joined(latex))):
        return None
    sign = -1 if found["sign"] else 1
    if found["over"]:
        above, below = int(found["above"] or found["above2"]), int(found["below"] or found["below2"])
        whole = int(found["whole"] or 0)
        if below == 0 or (found["whole"] and not 0 < above < below) or (sign < 0 and above < 0):
            return None
        return Number(sign * (whole + Fraction(above, below)), below > 1 and math.gcd(above, below) == 1)
    decimal, period = found["decimal"], found["period"]
    value = Fraction(decimal if decimal[-1] != "." else decimal[:-1])
    if period:
        if "." not in decimal:
            return None
        places = len(decimal.partition(".")[2])
        value += Fraction(int(period), (10 ** len(period) - 1) * 10**places)
    return Number(sign * value, True)
