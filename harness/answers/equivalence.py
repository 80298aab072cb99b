"""When are two maths answers the same? Runs in a process of its own (pool.py): sympy may take for ever.

math-verify (huggingface/Math-Verify) compares expressions well and answers badly: it takes `17=18` for 18, the equation
`3x+7=22` for its solution, the problem's own text for its value, 1/2^98 for 1/2^99, `4\\sqrt(2)` for 4. So the strict
rule takes an answer apart first and gives math-verify only single expressions:

1. The same LaTeX, spacing and spelling aside, is the same answer.
2. At most one relation, and only where it says nothing: `x=5` for 5 or for `x=5`. For a gold relation, the same shape.
3. Lists, tuples, sets, intervals and unions: the same brackets, the same number of items; in order if the brackets keep
   order.
4. Each item by math-verify, gold first (`verify` is not symmetric), if it is written in signs that we know, and then
   - both must have the same value to 12 digits, relative to its size: 0.333 is not 1/3, and small is not zero;
     for variables a few numbers are put;
   - nothing may be left to compute that the gold answer has computed: `48/2`, `2+3` and `\\frac{2}{4}` are not numbers;
   - an expression that stands in the problem is no answer, unless it is the gold answer by rule 1.

What remains: in "expand" or "factor" problems, another form that is neither gold's nor the problem's is accepted.

Lenient: math-verify with its defaults on what follows the thought, boxed expressions first.
"""

from __future__ import annotations

import json
import math
import os
import re
import resource
import string
import sys
import time
from collections.abc import Callable
from functools import lru_cache
from itertools import zip_longest
from typing import Any

MEMORY_BYTES = 2 << 30  # of address space
LONGEST_GOLD = 2000

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
_RELATIONS = {"=", "<", ">", "\\leq", "\\geq", "\\neq", "\\in", "\\approx", "\\equiv", "\\sim"}
_FLIPPED = {"<": ">", ">": "<", "\\leq": "\\geq", "\\geq": "\\leq"}
_OPEN, _CLOSE = {"(", "[", "{", "\\{"}, {")", "]", "}", "\\}"}
_TEXT = {"\\text", "\\mathrm", "\\textbf", "\\mbox", "\\textrm", "\\operatorname"}
_DIGITS = set("0123456789.,-")
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
_NAME = re.compile(r"(?:[A-Za-z]|\\[A-Za-z]+)(?:_(?:\w|\{\w+\}))?(?:\([A-Za-z](?:,[A-Za-z])*\))?")
_PLAIN = re.compile(r"-?(?:\d+(?:\.\d+)?(?:/\d+)?|\\frac\{?\d+\}?\{?\d+\}?|[A-Za-z]|\\[a-z]+)", re.ASCII)
_GROUPED = re.compile(r"-?\d{1,3}(?:,\d{3})+(?:\.\d+)?", re.ASCII)
_NUMBER = re.compile(r"-?(?:\d+(?:\.\d+)?|\.\d+|-?\d+/\d+|\d*\\frac(?:\{-?\d+\}|\d)(?:\{-?\d+\}|\d))(?:\\%)?", re.ASCII)
# Dots for what is left out; \sqrt(2), read as \sqrt, then nothing; a subscript of a number, which is dropped; signs and
# braces that only hide what there is to compute.
_MISREAD = re.compile(r"\.\.|\\sqrt(?![\[{0-9A-Za-z ])|[\d)}]_|(?:^|[-+({\[])\+|--|\{\{|\\binom", re.ASCII)
_BRACKETED = re.compile(r"\((-?[\d.]+)\)", re.ASCII)
_FRACTION = re.compile(
    r"\\frac(?:\{(-?[\d.]+)\}|(\d))(?:\{(-?[\d.]+)\}|(\d))"
    r"|(?<![\d.])\{?(-?\d[\d.]*)\}?(?:/|\\div) ?\{?(-?\d[\d.]*)\}?",
    re.ASCII,
)
# Numbers to put for variables, the first for the first variable in the order of the alphabet. No small integers.
_PUT = ("1.7320508", "0.6180340", "2.2360680", "3.3166248", "0.4142136", "5.3851648", "1.2599211", "4.1231056")


# ---------------------------------------------------------------- the text of an answer


def tokens(text: str) -> Tokens:
    """LaTeX as tokens, with spacing, sizes, spelling variants, outer `$` and one outer `\\boxed{}` taken away."""
    text = text.replace("{,}", ",")
    found = tuple(_SPELLED.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED)
    found = _without_degrees(found)
    while (inner := _inside(found)) != found:
        found = inner
    return found


def _inside(found: Tokens) -> Tokens:
    """One layer less: a full stop, dollars, display brackets, a box, or text that is a number."""
    ends = (found[:1], found[-1:])
    if ends[1] == (".",):
        return found[:-1]
    if len(found) > 2 and ends in ((("$",), ("$",)), (("\\(",), ("\\)",)), (("\\[",), ("\\]",))):
        return found[1:-1]
    boxed = found[:2] == ("\\boxed", "{")
    number = found[:1] != () and found[0] in _TEXT and set(found[2:-1]) <= _DIGITS
    return found[2:-1] if (boxed or number) and _wrapped(found[1:]) else found


def _without_degrees(found: Tokens) -> Tokens:
    text = list(found)
    while "\\circ" in text:
        at = text.index("\\circ")
        if text[max(0, at - 2) : at + 2] == ["^", "{", "\\circ", "}"]:
            del text[at - 2 : at + 2]
        elif text[max(0, at - 1) : at] == ["^"]:
            del text[at - 1 : at + 1]
        else:
            break
    return tuple(text)


def joined(found: Tokens) -> str:
    """LaTeX again, with a space only where a command would swallow a letter."""
    text = ""
    for token in found:
        text += " " if token[:1].isalpha() and re.search(r"\\[A-Za-z]+$", text[-30:]) else ""
        text += token
    return text


def _wrapped(found: Tokens) -> bool:
    """Does the first token open a bracket that the last one closes?"""
    depth = 0
    for position, token in enumerate(found):
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0:
            return position == len(found) - 1 and position > 0
    return False


def _split(found: Tokens, separators: set[str]) -> tuple[list[str], list[Tokens]]:
    """The separators outside all brackets, and what stands between them."""
    met: list[str] = []
    parts: list[list[str]] = [[]]
    depth = 0
    for token in found:
        depth += (token in _OPEN) - (token in _CLOSE)
        if depth == 0 and token in separators:
            met.append(token)
            parts.append([])
        else:
            parts[-1].append(token)
    return met, [tuple(part) for part in parts]


def _items(found: Tokens) -> tuple[str, list[Tokens], str]:
    """Opening bracket, items, closing bracket. Braces of a set and no brackets at all are the same: ""."""
    opened = closed = ""
    bracketed = len(found) > 2 and found[0] in {"(", "[", "\\{"} and found[-1] in {")", "]", "\\}"}
    if bracketed and _wrapped(found):  # whatever the kinds: (0, 1] is an interval
        opened, found, closed = found[0], found[1:-1], found[-1]
    items = _split(found, {","})[1]
    if opened == "\\{" or (opened == "(" and closed == ")" and len(items) == 1):
        opened = closed = ""
    return opened, items, closed


# ---------------------------------------------------------------- the strict rule


def strict(answer: str, gold: str, problem: str = "") -> bool:
    """Total but for time and memory, which the process's limits end."""
    given, wanted = tokens(answer), tokens(gold)
    if not given or not wanted or len(gold) > LONGEST_GOLD:
        return False
    if given == wanted:
        return True
    given, unit = _unit(given)
    wanted, gold_unit = _unit(wanted)
    if unit not in ((), gold_unit):  # the gold answer's unit may be left out, another one may not be put in
        return False
    if _is_in(given, problem):
        return False
    if wanted[-1:] == ("\\%",) and given[-1:] != ("\\%",) and _same_list(given, wanted[:-1], problem):
        return True
    parts, gold_parts = (_split(side, {","})[1] for side in (given, wanted))
    if len(gold_parts) > 1 and all(_split(part, _RELATIONS)[0] for part in (*parts, *gold_parts)):  # x=1, y=2
        return _same_set(parts, gold_parts, lambda one, other: _same_statement(one, other, problem))
    return _same_statement(given, wanted, problem)


def _same_statement(given: Tokens, wanted: Tokens, problem: str) -> bool:
    """With a relation in it, or without."""
    shapes, sides = _split(given, _RELATIONS)
    gold_shapes, gold_sides = _split(wanted, _RELATIONS)
    if shapes == ["="] and _is_name(sides[1]) and not _is_name(sides[0]):
        sides.reverse()
    if not gold_shapes:
        if not shapes:
            return _same_list(given, wanted, problem)
        return shapes in (["="], ["\\in"]) and _is_name(sides[0]) and _same_list(sides[1], wanted, problem)
    if gold_shapes in (["="], ["\\in"]) and _is_name(gold_sides[0]):
        if not shapes:
            return _same_list(given, gold_sides[1], problem)
        return shapes == gold_shapes and sides[0] == gold_sides[0] and _same_list(sides[1], gold_sides[1], problem)
    # What stands alone in the gold relation must stand alone in the answer, and nowhere else. 2x>4 is not x>2.
    for name in (side for side in gold_sides if _is_name(side)):
        if sides.count(name) != 1 or any(set(name) & set(side) for side in sides if side != name):
            return False
    flipped = [_FLIPPED.get(shape, shape) for shape in reversed(shapes)]
    return gold_shapes in (shapes, flipped) and _same(given, wanted, problem)


def _unit(found: Tokens) -> tuple[Tokens, Tokens]:
    """What stands before a last `\\text{…}` or the base of a number, and that; a text that stands alone is no unit."""
    if based := re.fullmatch(r"([0-9A-F]+)_(\d|\{\d+\})", joined(found), re.ASCII):
        return tuple(based[1]), tuple(based[2].strip("{}"))
    for start in range(1, len(found) - 2):
        if found[start] in _TEXT and found[start + 1] == "{" and _wrapped(found[start + 1 :]):
            return found[:start], found[start + 2 : -1]
    return found, ()


def _is_name(found: Tokens) -> bool:
    return _NAME.fullmatch(joined(found)) is not None


def _is_in(given: Tokens, problem: str) -> bool:
    """Is this expression copied from the problem? A plain number or variable may stand in both."""
    if len(given) < 2 or _PLAIN.fullmatch(joined(given)):
        return False
    copy = r"\s*".join(map(re.escape, given))
    return re.search(rf"(?<![0-9A-Za-z.\\]){copy}(?![0-9A-Za-z])", problem) is not None


def _same_list(given: Tokens, wanted: Tokens, problem: str) -> bool:
    if _GROUPED.fullmatch(joined(given)) or _GROUPED.fullmatch(joined(wanted)):  # 1,234 is a number
        given, wanted = (tuple(token for token in side if token != ",") for side in (given, wanted))

    def same(one: Tokens, other: Tokens) -> bool:
        return _same_list(one, other, problem)

    united, gold_united = (_split(side, {"\\cup"})[1] for side in (given, wanted))
    if len(united) > 1 or len(gold_united) > 1:
        return _same_set(united, gold_united, same)
    opened, items, closed = _items(given)
    gold_opened, gold_items, gold_closed = _items(wanted)
    if (opened, closed, len(items)) != (gold_opened, gold_closed, len(gold_items)):
        return False
    if opened:
        return all(map(same, items, gold_items))
    if len(items) > 1:
        return _same_set(items, gold_items, same)
    if (items[0], gold_items[0]) != (given, wanted):  # brackets fell
        return same(items[0], gold_items[0])
    return _same(given, wanted, problem)


def _same_set(items: list[Tokens], others: list[Tokens], same: Callable[[Tokens, Tokens], bool]) -> bool:
    """In any order: each item of the one takes one of the other."""
    left = list(others)
    for item in items:
        match = next((other for other in left if same(item, other)), None)
        if match is None:
            return False
        left.remove(match)
    return not left


def _same(given: Tokens, wanted: Tokens, problem: str) -> bool:
    """One expression against another, or one relation against another of the same shape."""
    if given == wanted or (_word(given) == _word(wanted) != ""):
        return True
    if not {*given, *wanted} <= _KNOWN or _relations(given) != _relations(wanted):
        return False
    text, gold = joined(given), joined(wanted)
    if _MISREAD.search(text) or _MISREAD.search(gold):
        return False
    if _NUMBER.fullmatch(gold) and not _NUMBER.fullmatch(text):
        return False
    if any(len(side) > 2 and side.isalpha() for side in (text, gold)):  # a word, not a product of its letters
        return False
    x, y = _parse(wanted), _parse(given)
    if x is None or y is None or not _names(y) <= _names(x):
        return False
    return (
        _math_verify().verify(x, y, timeout_seconds=None)
        and _equal_values(x, y)
        and ((_reduced(y) and _in_lowest_terms(given)) or not (_reduced(x) and _in_lowest_terms(wanted)))
        and (_key(x) == _key(y) or not any(_key(y) == _key(part) for part in _formulas(problem)))
    )


def _relations(found: Tokens) -> list[str]:
    """At any depth: (17=18) is a relation too. < and > are one, for a relation may be turned round."""
    return sorted(min(token, _FLIPPED.get(token, token)) for token in found if token in _RELATIONS)


def _word(found: Tokens) -> str:
    """The letters of `\\text{even}` or of `even`, else ""."""
    if found[:1] and found[0] in _TEXT and found[1:2] == ("{",) and _wrapped(found[1:]):
        found = found[2:-1]
    found = tuple(token for token in found if token not in "()")
    return "".join(found) if all(len(token) == 1 and token.isalpha() for token in found) else ""


def _math_verify() -> Any:
    import math_verify  # type: ignore[import-not-found,import-untyped,unused-ignore]

    return math_verify


def _parse(found: Tokens) -> Any:
    math_verify = _math_verify()
    parsed = math_verify.parse(
        f"${joined(found)}$",
        extraction_config=[math_verify.LatexExtractionConfig()],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=None,
    )
    return parsed[0] if parsed else None


@lru_cache(maxsize=4)
def _formulas(problem: str) -> list[Any]:
    """What the problem sets in dollars and math-verify can read, where there is an operation in it."""
    parsed = [_parse(tokens(part)) for part in re.findall(r"\$([^$]{3,200})\$", problem)[:20]]
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


def _reduced(expression: Any) -> bool:
    """Is nothing left to compute with plain numbers?"""
    if hasattr(expression, "flat"):
        return all(map(_reduced, expression.flat()))
    if _literal(expression):
        return True
    if getattr(expression, "is_number", False) and expression.doit().is_Rational:
        return False
    if sum(map(_literal, _parts(expression, "Add"))) > 1:
        return False
    factors = [part for part in _parts(expression, "Mul") if _literal(part) and part != -1]
    below = [part.args[0] for part in factors if type(part).__name__ == "Pow"]
    above = [part for part in factors if type(part).__name__ != "Pow"]
    if len(above) > 1 or len(below) > 1 or (above and below and not _coprime(above[0], below[0])):
        return False
    return all(map(_reduced, _args(expression)))


def _in_lowest_terms(found: Tokens) -> bool:
    """Every fraction of two numbers. math-verify's parser divides them, so that the expression does not show it."""
    text, before = joined(found), ""
    while text != before:
        text, before = _BRACKETED.sub(r"\1", text), text
    for pair in _FRACTION.finditer(text):
        above, below = (number for number in pair.groups() if number)
        if "." in above + below or int(below) < 2 or math.gcd(int(above), int(below)) != 1:
            return False
    return True


def _parts(expression: Any, kind: str) -> list[Any]:
    """The terms of a sum of sums, or the factors of a product of products; of anything else nothing."""
    if type(expression).__name__ == "UnevaluatedExpr":
        return _parts(expression.args[0], kind)
    if type(expression).__name__ != kind:
        return []
    return [one for part in expression.args for one in (_parts(part, kind) or [part])]


def _literal(expression: Any) -> bool:
    """An integer, a decimal, a fraction in lowest terms, one of them with a minus or as a percentage."""
    if getattr(expression, "is_Rational", False) or getattr(expression, "is_Float", False):
        return True
    kind, parts = type(expression).__name__, _args(expression)
    if kind == "UnevaluatedExpr":
        return _literal(parts[0])
    if kind == "Pow":
        return bool(parts[0].is_Integer and parts[0] > 1 and parts[1] == -1)
    if kind == "Mul" and len(parts) == 2:
        if parts[0] == -1 or str(parts[1]) == "1/100":
            return _literal(parts[1]) and _literal(parts[0])
        return type(parts[1]).__name__ == "Pow" and _literal(parts[1]) and _coprime(parts[0], parts[1].args[0])
    return False


def _coprime(a: Any, b: Any) -> bool:
    return bool(a.is_Integer and b.is_Integer and math.gcd(int(a), int(b)) == 1)


# ---------------------------------------------------------------- the lenient rule, and the process


def lenient(completion: str, gold: str) -> bool:
    math_verify = _math_verify()
    wanted = math_verify.parse(f"${gold}$", parsing_timeout=None)
    rules = [math_verify.LatexExtractionConfig(boxed_match_priority=0), math_verify.ExprExtractionConfig()]
    given = math_verify.parse(completion, extraction_config=rules, parsing_timeout=None)
    return bool(wanted and given and math_verify.verify(wanted, given, timeout_seconds=None))


def serve() -> None:
    """Answer questions, a JSON object a line, until the pipe closes. A question sets its own limit first."""
    answers = os.fdopen(os.dup(1), "wb")
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):  # nothing that a library prints is an answer
        os.dup2(null, stream)
    _parse(("1",))  # imports sympy, compiles patterns: not on the first question's clock
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    answers.write(b"ready\n")
    answers.flush()
    for line in sys.stdin.buffer:
        question = json.loads(line)
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(time.process_time()) + question["cpu_seconds"], hard))
        try:
            if question["rule"] == "strict":
                right = strict(question["text"], question["gold"], question["problem"])
            else:
                right = lenient(question["text"], question["gold"])
        except MemoryError:  # perhaps not this question's fault: a fresh process will see
            os._exit(1)
        except Exception:  # of any kind: sympy's are without number
            right = False
        answers.write(json.dumps({"right": bool(right)}).encode() + b"\n")
        answers.flush()


if __name__ == "__main__":
    serve()
