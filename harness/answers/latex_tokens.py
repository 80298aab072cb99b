"""LaTeX as tokens: what is written, with what makes no difference taken away, and how it is put together."""

from __future__ import annotations

import re

Tokens = tuple[str, ...]

_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|[^\s\\]", re.DOTALL)
_DROPPED = {
    "\\left", "\\right", "\\displaystyle", "\\,", "\\;", "\\:", "\\!", "\\>", "\\ ", "\\\n", "\\quad", "\\qquad", "~",
    "\\$", "\\big", "\\Big", "\\bigl", "\\bigr",
}  # fmt: skip
_SPELLED = {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\le": "\\leq", "\\ge": "\\geq", "\\ne": "\\neq",
    "\\leqslant": "\\leq", "\\geqslant": "\\geq", "\\lt": "<", "\\gt": ">", "≤": "\\leq", "≥": "\\geq",
    "\\lbrace": "\\{",
    "\\rbrace": "\\}", "\\dots": "\\ldots", "\\cdots": "\\ldots", "…": "\\ldots", "−": "-", "%": "\\%", "×": "\\times",
    "·": "\\cdot", "\\cdotp": "\\cdot", "\\emptyset": "\\varnothing", "π": "\\pi", "∞": "\\infty", "∪": "\\cup",
}  # fmt: skip
RELATIONS = {"=", "<", ">", "\\leq", "\\geq", "\\neq", "\\in", "\\approx", "\\equiv", "\\sim"}
FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
_OPEN, _CLOSE = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}
TEXT = {"\\text", "\\mathrm", "\\textbf", "\\mbox", "\\textrm", "\\operatorname"}
_DIGITS = set("0123456789.,-")


def tokens(text: str) -> Tokens:
    """LaTeX as tokens, with spacing, sizes, spelling variants, outer `$` and one outer `\\boxed{}` taken away."""
    text = text.replace("{,}", ",")
    latex = tuple(_SPELLED.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED)
    latex = _without_degrees(latex)
    while (inner := _inside(latex)) != latex:
        latex = inner
    return latex


def _inside(latex: Tokens) -> Tokens:
    """One layer less: a full stop, dollars, display brackets, a box, or text that is a number."""
    ends = (latex[:1], latex[-1:])
    if ends[1] == (".",):
        return latex[:-1]
    if len(latex) > 2 and ends in ((("$",), ("$",)), (("\\(",), ("\\)",)), (("\\[",), ("\\]",))):
        return latex[1:-1]
    boxed = latex[:2] == ("\\boxed", "{")
    number = latex[:1] != () and latex[0] in TEXT and set(latex[2:-1]) <= _DIGITS
    return latex[2:-1] if (boxed or number) and is_bracketed(latex[1:]) else latex


def _without_degrees(latex: Tokens) -> Tokens:
    text = list(latex)
    while "\\circ" in text:
        at = text.index("\\circ")
        if text[max(0, at - 2) : at + 2] == ["^", "{", "\\circ", "}"]:
            del text[at - 2 : at + 2]
        elif text[max(0, at - 1) : at] == ["^"]:
            del text[at - 1 : at + 1]
        else:
            break
    return tuple(text)


def joined(latex: Tokens) -> str:
    """LaTeX again, with a space only where a command would swallow a letter."""
    text = ""
    for token in latex:
        text += " " if token[:1].isalpha() and re.search(r"\\[A-Za-z]+$", text[-30:]) else ""
        text += token
    return text


def is_bracketed(latex: Tokens) -> bool:
    """Does the first token open a bracket that the last one closes?"""
    depth = 0
    for position, token in enumerate(latex):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0:
            return position == len(latex) - 1 and position > 0
    return False


def split(latex: Tokens, separators: set[str]) -> tuple[list[str], list[Tokens]]:
    """The separators outside all brackets, and what stands between them."""
    met: list[str] = []
    parts: list[list[str]] = [[]]
    depth = 0
    for token in latex:
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in separators:
            met.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return met, [tuple(part) for part in parts]


def items(latex: Tokens) -> tuple[str, list[Tokens], str]:
    """Opening bracket, items, closing bracket. Braces of a set and no brackets at all are the same: ""."""
    opened = closed = ""
    bracketed = len(latex) > 2 and latex[0] in {"(", "[", "\\{"} and latex[-1] in {")", "]", "\\}"}
    if bracketed and is_bracketed(latex):  # whatever the kinds: (0, 1] is an interval
        opened, latex, closed = latex[0], latex[1:-1], latex[-1]
    parts = split(latex, {","})[1]
    if opened == "\\{" or (opened == "(" and closed == ")" and len(parts) == 1):
        opened = closed = ""
    return opened, parts, closed
