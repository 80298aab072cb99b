"""LaTeX as tokens: what is written, with what makes no difference taken away, and how it is put together.

White space says something in two places only, and is kept there: `1 2` is not 12, and `3, 125` is a list where `3,125`
is a number. Inside brackets a comma separates always: `(1,234)` is a pair.
"""

from __future__ import annotations

import re

Tokens = tuple[str, ...]

TEXT = {"\\text", "\\mathrm", "\\textbf", "\\mbox", "\\textrm", "\\textit", "\\operatorname"}
_TEXT = rf"(?:{'|'.join(map(re.escape, sorted(TEXT)))})\s*\{{[^{{}}]*\}}"
_PIECE = re.compile(
    rf"(?P<text>{_TEXT})|(?P<word>(?<![A-Za-z\\])(?:and|or)(?![A-Za-z]))|\\[A-Za-z]+|\\.|\s+|[^\s\\]", re.S
)
_JOINING = re.compile(r"\\[a-z]+\s*\{\s*,?\s*(and|or)\s*\}")
_TOKEN = re.compile(r"\\[A-Za-z]+|\\.|\s+|[^\s\\]", re.DOTALL)
_SPACE = {"\\;", "\\:", "\\>", "\\ ", "\\\n", "\\,", "\\quad", "\\qquad", "~", "°", "º", "\\degree"}
_DROPPED = {
    "\\left", "\\right", "\\displaystyle", "\\!", "\\$", "\\big", "\\Big", "\\bigg", "\\Bigg", "\\bigl", "\\bigr",
    "\\limits",
}  # fmt: skip
_SPELLED = {
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac", "\\le": "\\leq", "\\ge": "\\geq", "\\ne": "\\neq",
    "\\leqslant": "\\leq", "\\geqslant": "\\geq", "\\lt": "<", "\\gt": ">", "≤": "\\leq", "≥": "\\geq", "≠": "\\neq",
    "\\lbrace": "\\{", "\\rbrace": "\\}", "\\lbrack": "[", "\\rbrack": "]", "\\lparen": "(", "\\rparen": ")",
    "\\lvert": "|", "\\rvert": "|", "\\vert": "|", "\\dots": "\\ldots", "\\cdots": "\\ldots", "…": "\\ldots",
    "−": "-", "–": "-", "%": "\\%", "×": "\\times", "·": "\\cdot", "\\cdotp": "\\cdot", "\\emptyset": "\\varnothing",
    "∅": "\\varnothing", "π": "\\pi", "∞": "\\infty", "∪": "\\cup", "∈": "\\in", "±": "\\pm", "\\vee": "\\lor",
    "\\wedge": "\\land", "\\fbox": "\\boxed", "\\imath": "i",
}  # fmt: skip
RELATIONS = {"=", "<", ">", "\\leq", "\\geq", "\\neq", "\\in", "\\approx", "\\equiv", "\\sim"}
FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
_CONNECTIVES = {"and": "\\land", "or": "\\lor"}
SEPARATORS = {",", "\\lor", "\\land"}
OPENING, CLOSING = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}
_DIGITS = set("0123456789.,-")
# 1{,}234, 10,\! 080 and 10\,000 are numbers anywhere; 1,234 is one outside brackets.
_GROUPED = re.compile(r"(?<![\d.,^_])[1-9]\d{0,2}(?:(?:\{,\}|,\s*\\!|\\,|\\!)\s*\d{3})+(?!\d)", re.ASCII)
_TIGHT = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)", re.ASCII)
_DEGREES = re.compile(r"\^\s*(?:\{\s*(?:\\circ|\\degree|[°º])\s*\}|(?:\\circ|\\degree)(?![A-Za-z])|[°º])")
_MIXED = re.compile(
    r"(?<![\w.,/^)}\]])(\d{1,9})(?:\s|\\[ ,;:>]|~)+(\d{1,9})\s*/\s*(\d{1,9})(?![\d.])(?!\s*/)", re.ASCII
)  # 1 1/2


def tokens(text: str) -> Tokens:
    """LaTeX as tokens, with spacing, sizes, spelling variants, outer `$` and one outer `\\boxed{}` taken away."""
    latex = lexed(text)
    while (inner := _inside(latex)) != latex:
        latex = inner
    return latex


def lexed(text: str) -> Tokens:
    """The tokens of any text, also of a whole problem."""
    text = _DEGREES.sub(" ", text)
    text = _GROUPED.sub(lambda number: re.sub(r"\D", "", number[0]), text).replace("{,}", ",")
    text = _MIXED.sub(_mixed, text)
    text = _TIGHT.sub(
        lambda number: number[0] if _depth(text, number.start()) > 0 else number[0].replace(",", ""), text
    )
    latex: list[str] = []
    for piece in _PIECE.finditer(text):  # a last backslash is no piece
        _put(latex, piece)
    return tuple(latex[:-1] if latex[-1:] == [" "] else latex)


def _depth(text: str, end: int) -> int:
    """How many brackets are open."""
    opened = sum(text.count(bracket, 0, end) for bracket in ("(", "[", "\\{"))
    return opened - sum(text.count(bracket, 0, end) for bracket in (")", "]", "\\}"))


def _mixed(number: re.Match[str]) -> str:
    whole, above, below = number.groups()
    return f"{whole}\\frac{{{above}}}{{{below}}}" if 0 < int(above) < int(below) else number[0]


def _text(piece: str) -> list[str]:
    """`\\text{…}` with one space between its words."""
    command, _, words = piece[:-1].partition("{")
    inner = [
        " " if token.isspace() or token in _SPACE else _SPELLED.get(token, token) for token in _TOKEN.findall(words)
    ]
    spaced = [
        token for at, token in enumerate(inner) if token not in _DROPPED and (token != " " or inner[at - 1] != " ")
    ]
    while spaced[:1] == [" "]:
        del spaced[0]
    while spaced[-1:] == [" "]:
        del spaced[-1]
    return [command.strip(), "{", *spaced, "}"]


def _put(latex: list[str], piece: re.Match[str]) -> None:
    """One piece more: a space stays between two digits, "and" and "or" between items separate them."""
    token = piece[0]
    if token in _DROPPED:
        return
    if token.isspace() or token in _SPACE:
        if latex and latex[-1].isdecimal():
            latex.append(" ")
        return
    if latex[-1:] == [" "] and not token.isdecimal():
        latex.pop()
    word = piece["word"]
    if piece["text"]:
        joining = _JOINING.fullmatch(token)
        if not joining:
            latex += _text(token)
            return
        word = joining[1]
    token = _CONNECTIVES[word] if word else _SPELLED.get(token, token)
    if token in ("\\lor", "\\land") and latex[-1:] == [","]:
        latex.pop()
    if token != "," or not latex or latex[-1] not in ("\\lor", "\\land"):
        latex.append(token)


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


def joined(latex: Tokens) -> str:
    """LaTeX again, with a space only where a command would swallow a letter or a list become a number."""
    text: list[str] = []
    before, last = "", ""
    for token in latex:
        if (token[:1].isalpha() and last[1:].isalpha()) or (token.isdecimal() and last == "," and before.isdecimal()):
            text.append(" ")
        text.append(token)
        before, last = last, token
    return "".join(text)


def is_bracketed(latex: Tokens) -> bool:
    """Does the first token open a bracket that the last one closes?"""
    depth = 0
    for position, token in enumerate(latex):
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0:
            return position == len(latex) - 1 and position > 0
    return False


def split(latex: Tokens, separators: set[str]) -> tuple[list[str], list[Tokens]]:
    """The separators outside all brackets, and what stands between them."""
    met: list[str] = []
    parts: list[list[str]] = [[]]
    depth = 0
    for token in latex:
        depth += (token in OPENING) - (token in CLOSING)
        if depth == 0 and token in separators:
            met.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return met, [tuple(part) for part in parts]


def items(latex: Tokens) -> tuple[str, list[Tokens], str]:
    """Opening bracket, items, closing bracket. Braces of a set and no brackets at all are the same: "".

    So are brackets around items that "and" or "or" joins: (1 or 2) is no pair.
    """
    opened = closed = ""
    bracketed = len(latex) > 2 and latex[0] in {"(", "[", "\\{"} and latex[-1] in {")", "]", "\\}"}
    if bracketed and is_bracketed(latex):  # whatever the kinds: (0, 1] is an interval
        opened, latex, closed = latex[0], latex[1:-1], latex[-1]
    separators, parts = split(latex, SEPARATORS)
    if opened == "\\{" or set(separators) - {","} or (opened == "(" and closed == ")" and len(parts) == 1):
        opened = closed = ""
    return opened, parts, closed
