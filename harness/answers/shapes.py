"""How an answer is put together: units, relations, lists in any order, tuples, unions, `\\pm`, "and" and "or".

Two answers are the same when they are built alike and their single expressions are the same, which the caller decides:
equivalence.py by value, latex.py by how they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.answers.latex_tokens import (
    CLOSING,
    FLIPPED,
    OPENING,
    RELATIONS,
    SEPARATORS,
    TEXT,
    Tokens,
    items,
    joined,
    split,
)

Same = Callable[[Tokens, Tokens], bool]  # is this expression of the answer that one of the gold answer?

DEEPEST = 12  # brackets within brackets
MORE_MARKS = 10  # separators that an answer may have beyond twice the gold answer's: no list of hundreds is taken apart
_NAME = re.compile(r"(?:[A-Za-z]|\\[A-Za-z]+)(?:_(?:\w|\{\w+\}))?(?:\([A-Za-z](?:,[A-Za-z])*\))?")
_NAMES = re.compile(r"\(([A-Za-z](?:,[A-Za-z])+|r,\\theta|\\rho,\\theta,\\phi|r,\\theta,z)\)")  # (x,y)=(3,4)
_BASED = re.compile(r"([0-9A-F]+)_(\d|\{\d+\})", re.ASCII)
_POWER = re.compile(r"\^(?:\d|\{-?\d\})", re.ASCII)
# Words that change the number before them, or say that there is another one.
_NO_UNIT = re.compile(
    r"\d|(?:^|[^a-z])(?:and|or|to|not|plus|minus|times|over|half|halves|thirds?|quarters?|squared|cubed|hundred|thousand"
    r"|million|billion|trillion|dozen|factorial|if|when|where|except|mod)(?:$|[^a-z])",
)


def same_shape(answer: Tokens, gold: Tokens, same: Same) -> bool:
    """`same` is asked about single expressions, and about relations of the same signs as a whole."""
    if any(_depth(side) > DEEPEST for side in (answer, gold)) or _marks(answer) > 2 * _marks(gold) + MORE_MARKS:
        return False
    answer, gold = _gathered(answer), _gathered(gold)
    equations, gold_equations = _equations(answer), _equations(gold)
    if len(gold_equations) > 1 and all(split(part, RELATIONS)[0] for part in (*equations, *gold_equations)):
        return _joined_alike(answer, gold) and _same_set(
            equations, gold_equations, lambda part, gold_part: _same_statement(part, gold_part, same)
        )
    return _same_statement(answer, gold, same)


def is_name(latex: Tokens) -> bool:
    return _NAME.fullmatch(joined(latex)) is not None


def without_unit(latex: Tokens) -> tuple[Tokens, Tokens]:
    """What stands before `\\text{cm}^2` or the base of a number, and that; a text that stands alone is no unit."""
    if based := _BASED.fullmatch(joined(latex)):
        return tuple(based[1]), tuple(based[2].strip("{}"))
    for start in range(1, len(latex) - 3):
        if latex[start] in TEXT and latex[start + 1] == "{" and (unit := _unit(latex[start:])) is not None:
            return latex[:start], unit
    return latex, ()


def _unit(latex: Tokens) -> Tokens | None:
    """Is this nothing but text, powers of it and slashes? Then that, without the marks of text."""
    unit = ""
    while latex:
        if latex[0] in TEXT and latex[1:2] == ("{",) and "}" in latex:
            end = latex.index("}")
            words, latex = "".join(latex[2:end]), latex[end + 1 :]
            if _NO_UNIT.search(words.lower()):
                return None
            unit += words
        elif power := _POWER.match(joined(latex[:5])):
            unit += power[0].replace("{", "").replace("}", "")
            latex = latex[2 if "{" not in power[0] else latex.index("}") + 1 :]
        elif latex[0] in ("/", "\\cdot") and unit:
            unit, latex = unit + latex[0], latex[1:]
        else:
            return None
    return tuple(unit)


def _depth(latex: Tokens) -> int:
    depth = deepest = 0
    for token in latex:
        depth += (token in OPENING) - (token in CLOSING)
        deepest = max(deepest, depth)
    return deepest


def _marks(latex: Tokens) -> int:
    return sum(token in SEPARATORS or token in RELATIONS or token in ("\\cup", "\\pm") for token in latex)


def _joined_alike(answer: Tokens, gold: Tokens) -> bool:
    """Of statements: x>1 and x<3 is not x>1 or x<3. A comma says "and" between equations, and nothing of the rest."""
    kinds = []
    for side in (answer, gold):
        kind = {separator for separator in split(side, SEPARATORS)[0] if separator != ","} or {","}
        if set(side) & RELATIONS <= {"="}:
            kind = {"\\land" if separator == "," else separator for separator in kind}
        kinds.append(kind)
    return kinds[0] == kinds[1] and len(kinds[0]) == 1


def _equations(latex: Tokens) -> list[Tokens]:
    """The parts of a list, where (x,y)=(3,4) stands for x=3 and y=4."""
    parts: list[Tokens] = []
    for part in split(latex, SEPARATORS)[1]:
        signs, sides = split(part, RELATIONS)
        names, values = (items(side)[1] for side in sides) if signs == ["="] else ([], [])
        if _NAMES.fullmatch(joined(sides[0])) and len(names) == len(values):
            parts += [(*name, "=", *value) for name, value in zip(names, values, strict=True)]
        else:
            parts.append(part)
    return parts


def _gathered(latex: Tokens) -> Tokens:
    """x=1, x=100 as x=1,100."""
    parts = [split(part, RELATIONS) for part in split(latex, SEPARATORS)[1]]
    names = {sides[0] for _, sides in parts}
    if len(parts) < 2 or len(names) > 1 or any(signs != ["="] for signs, _ in parts):
        return latex
    name = names.pop()
    values = [token for _, sides in parts for token in (",", *sides[1])]
    return (*name, "=", *values[1:]) if is_name(name) or _NAMES.fullmatch(joined(name)) else latex


def _says_nothing(name: Tokens, value: Tokens) -> bool:
    """Is this a name for the value, or a tuple of names in the order of the alphabet: not (y,x)=(3,4) for (3,4)?"""
    if is_name(name):
        return True
    if not (names := _NAMES.fullmatch(joined(name))):
        return False
    letters = names[1].split(",")
    ordered = "\\" in names[1] or letters == sorted(letters)
    return ordered and all(len(items(part)[1]) == len(letters) for part in split(value, SEPARATORS)[1])


def _same_statement(answer: Tokens, gold: Tokens, same: Same) -> bool:
    """With a relation in it, or without."""
    signs, sides = split(answer, RELATIONS)
    gold_signs, gold_sides = split(gold, RELATIONS)
    if signs == ["="] and _says_nothing(*reversed(sides)) and not _says_nothing(*sides):
        sides.reverse()
    if not gold_signs:
        if not signs:
            return _same_list(answer, gold, same)
        return signs in (["="], ["\\in"]) and _says_nothing(*sides) and _same_list(sides[1], gold, same)
    if gold_signs in (["="], ["\\in"]) and _says_nothing(*gold_sides):
        if not signs:
            return _same_list(answer, gold_sides[1], same)
        return signs == gold_signs and sides[0] == gold_sides[0] and _same_list(sides[1], gold_sides[1], same)
    # What stands alone in the gold relation must stand alone in the answer, and nowhere else. 2x>4 is not x>2.
    for name in (side for side in gold_sides if is_name(side)):
        if sides.count(name) != 1 or any(set(name) & set(side) for side in sides if side != name):
            return False
    flipped = [FLIPPED.get(sign, sign) for sign in reversed(signs)]
    return gold_signs in (signs, flipped) and same(answer, gold)


def _same_list(answer: Tokens, gold: Tokens, same: Same) -> bool:
    if not split(gold, SEPARATORS)[0]:  # else each item has its own
        answer, unit = without_unit(answer)
        gold, gold_unit = without_unit(gold)
        if unit not in ((), gold_unit):  # the gold answer's unit may be left out, another one may not be put in
            return False
    if gold[-1:] == ("\\%",) and (answer[-1:] == ("\\%",) or _same_list(answer, gold[:-1], same)):
        return answer[-1:] != ("\\%",) or _same_list(answer[:-1], gold[:-1], same)

    def inner(part: Tokens, gold_part: Tokens) -> bool:
        return _same_list(part, gold_part, same)

    united, gold_united = (split(side, {"\\cup"})[1] for side in (answer, gold))
    if len(united) > 1 or len(gold_united) > 1:
        return _same_set(united, gold_united, inner)
    opening, parts, closing = _items(answer)
    gold_opening, gold_parts, gold_closing = _items(gold)
    if (opening, closing, len(parts)) != (gold_opening, gold_closing, len(gold_parts)):
        return False
    if opening:
        return all(map(inner, parts, gold_parts))
    if len(parts) > 1:
        return _same_set(parts, gold_parts, inner)
    if (parts[0], gold_parts[0]) != (answer, gold):  # brackets fell
        return inner(parts[0], gold_parts[0])
    return same(answer, gold)


def _items(latex: Tokens) -> tuple[str, list[Tokens], str]:
    """`items`, with `1 \\pm 2` as two of them. With two signs of the kind nobody can know whether they go together."""
    opening, parts, closing = items(latex)
    if opening and latex.count("\\pm") == 1 and opening == "(" and closing == ")":
        return "", _both(latex), ""
    if opening:
        return opening, parts, closing
    return opening, [both for part in parts for both in _both(part)], closing


def _both(latex: Tokens) -> list[Tokens]:
    """What `\\pm` stands for, without a plus that begins a term."""
    if latex.count("\\pm") != 1 or "\\mp" in latex:
        return [latex]
    at = latex.index("\\pm")
    first = at == 0 or latex[at - 1] in {"(", "[", "{", ",", *RELATIONS}
    return [latex[:at] + (() if first else ("+",)) + latex[at + 1 :], (*latex[:at], "-", *latex[at + 1 :])]


def _same_set(parts: list[Tokens], gold_parts: list[Tokens], same: Same) -> bool:
    """In any order: each part takes one of the gold answer's."""
    left = list(gold_parts)
    if len(parts) != len(left):
        return False
    for part in parts:
        match = next((gold_part for gold_part in left if same(part, gold_part)), None)
        if match is None:
            return False
        left.remove(match)
    return not left
