"""Data sets of reasoning-gym (Stojanovski et al. 2025, version 0.1.25), audited: docs/gym.md speaks of all 106.

What is taken over is the generators, not the habits around them. Items there are seeded with `Random(seed + index)`, so
that seed 1 and seed 2 share 599 of 600 questions: here each draw is a data set of size 1, and its seed is a 32-bit fold
of the question's own HMAC stream. Verifiers there give part of the points, evaluate what the model wrote, or accept the
question as its answer: here an answer is brought into its form's canonical shape and compared with the gold answer, and
where several answers are right a rule of a few lines checks the answer against the question. Each prompt ends with what
an answer looks like.

Drawing needs the package, in exactly this version, since another may draw other questions; grading does not.
"""

from __future__ import annotations

import copy
import importlib.metadata
import re
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cache
from typing import Any

from harness.errors import NanoR1Error
from harness.tasks.task import Sample, Stream

VERSION = "0.1.25"
TRIES = 1000  # draws of one question before a data set is called broken

Facts = dict[str, Any]


class GymError(NanoR1Error):
    """reasoning-gym is missing, of another version or draws nothing usable; the message says what to do."""


# ---------------------------------------------------------------- forms of answers


@dataclass(frozen=True)
class Form:
    """`ask` ends the prompt. Answers are the same if their `canonical` shapes are; None is not of this form at all.

    `near` makes wrong answers out of a gold one. Everything is linear in the answer, which has at most 200 characters.
    """

    ask: str
    canonical: Callable[[str], Hashable | None]
    near: Callable[[str], list[str]]


_PRINTABLE = re.compile(r"[ -~]+")
_INTEGER = re.compile(r"-?[1-9][0-9]*|0")
_DECIMAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")
_FRACTION = re.compile(r"[1-9][0-9]*/[1-9][0-9]*")
_COMPLEX = re.compile(r"(-?(?:0|[1-9][0-9]*)) ?([-+]) ?(0|[1-9][0-9]*)i")
_ITEM = re.compile(r"""-?[0-9]+(?:\.[0-9]+)?|'-?[0-9]+(?:\.[0-9]+)?'|"-?[0-9]+(?:\.[0-9]+)?\"""")


def exact(text: str) -> str | None:
    return text if _PRINTABLE.fullmatch(text) else None


def words(text: str) -> str | None:
    """Capital or small, any number of spaces between."""
    return " ".join(text.lower().split()) if _PRINTABLE.fullmatch(text) else None


def tokens(text: str) -> tuple[str, ...] | None:
    return tuple(text.split()) if _PRINTABLE.fullmatch(text) else None


def commas(text: str) -> tuple[str, ...] | None:
    return tuple(part.strip() for part in text.split(",")) if _PRINTABLE.fullmatch(text) else None


def grid(text: str) -> tuple[tuple[str, ...], ...] | None:
    rows = text.split("\n")
    return tuple(tuple(row.split()) for row in rows) if all(map(_PRINTABLE.fullmatch, rows)) else None


def integer(text: str) -> str | None:
    return text if _INTEGER.fullmatch(text) else None


def decimal(text: str) -> Decimal | None:
    return Decimal(text) if _DECIMAL.fullmatch(text) else None


def fraction(text: str) -> str | None:
    return text if _FRACTION.fullmatch(text) else None


def complex_integer(text: str) -> tuple[int, int] | None:
    match = _COMPLEX.fullmatch(text)
    return (int(match[1]), int(match[2] + match[3])) if match else None


def number_list(text: str) -> tuple[str, ...] | None:
    """The numbers as they are written, in quotes or not."""
    if not (_PRINTABLE.fullmatch(text) and text[0] == "[" and text[-1] == "]"):
        return None
    items = [item.strip() for item in text[1:-1].split(",")]
    return tuple(item.strip("'\"") for item in items) if all(map(_ITEM.fullmatch, items)) else None


def factors(text: str) -> tuple[int, ...] | None:
    """In any order."""
    parts = [part.strip(" ") for part in text.split("*")]
    return tuple(sorted(map(int, parts))) if all(map(_INTEGER.fullmatch, parts)) else None


def near_text(gold: str) -> list[str]:
    return [
        gold[:-1],
        gold + gold[-1],
        f"x{gold}",
        gold[::-1] if gold[::-1].lower() != gold.lower() else f"{gold}?",
        f"not {gold}",
    ]


def near_integer(gold: str) -> list[str]:
    value = int(gold)
    return [
        str(value + 1), str(value - 1), str(-value) if value else "-0", f"0{gold}", f"+{gold}", f"{gold}.0", f"{gold}0",
        f"{gold}e0", f"0x{value:x}", f"{gold},000", f"{gold}/1", " ".join(str(value + i) for i in range(-9, 10)),
    ]  # fmt: skip


def near_decimal(gold: str) -> list[str]:
    value = Decimal(gold)
    step = Decimal(1).scaleb(int(value.as_tuple().exponent))
    return [
        f"{value + step:f}", f"{value - step:f}", f"{-value:f}" if value else "-", f"0{gold}", f"+{gold}", f"{gold}e0",
        f"{gold}5", f"{gold}/1", f"{value:.20E}", gold.replace(".", ",") if "." in gold else f"{gold},0", f"{gold}f",
    ]  # fmt: skip


def near_fraction(gold: str) -> list[str]:
    over, under = map(int, gold.split("/"))
    return [
        f"{over + 1}/{under}", f"{over}/{under + 1}", f"{over * 2}/{under * 2}", f"-{gold}", f"{over}",
        f"{over}:{under}", f"{over}//{under}", f"{over / under}", f"0{gold}", f"{over}.0/{under}",
        f"{under - over}/{over + 2 * under}",
    ]  # fmt: skip


def near_complex(gold: str) -> list[str]:
    real, sign, imaginary = gold.split(" ")
    return [
        f"{int(real) + 1} {sign} {imaginary}", f"{real} {sign} 1{imaginary}", f"{imaginary} {sign} {real}",
        f"{real}.0 {sign} {imaginary}", gold[:-1] + "j", gold[:-1], real, f"{sign}{imaginary}",
        f"({real}, {imaginary})",
    ]  # fmt: skip


def near_items(gold: str, between: str) -> list[str]:
    """Wrong lists of the gold one's items."""
    items = gold.split(between)
    others = [items[1:], items[:-1], [*items, items[-1]], [items[0], *items], items[::-1], items[1:] + items[:1]]
    return [
        *(between.join(other) for other in others if other and other != items), ";".join(items) + ";", gold + between,
        between + gold.strip() + between,
    ]  # fmt: skip


def near_tokens(gold: str) -> list[str]:
    return [wrong for wrong in near_items(gold, " ") if wrong.split() != gold.split()] + [f"[{gold}]", f"0 {gold}"]


def near_commas(gold: str) -> list[str]:
    return [*near_items(gold, ", "), f"[{gold}]", f"x, {gold}"]


def near_list(gold: str) -> list[str]:
    inside = gold[1:-1]
    return [*(f"[{wrong}]" for wrong in near_items(inside, ", ")), inside, f"[{gold}]", f"({inside})", gold + "]"]


def near_grid(gold: str) -> list[str]:
    rows = gold.split("\n")
    turned = [" ".join(column) for column in zip(*(row.split() for row in rows), strict=True)]
    others = [rows[::-1], rows[1:], rows[:-1], [*rows, rows[-1]], [row[::-1] for row in rows], turned]
    return ["\n".join(other) for other in others if other != rows] + [
        " ".join(rows),
        gold + " 0",
        "0 " + gold,
        f"[{gold}]",
    ]


def near_factors(gold: str) -> list[str]:
    parts = list(map(int, gold.split(" * ")))
    product = 1
    for part in parts:
        product *= part
    joined = [parts[0] * parts[1], *parts[2:]]
    return [
        f"{gold} * 1", f"1 * {gold}", str(product), " * ".join(map(str, joined)), " * ".join(map(str, parts[1:])),
        gold.replace("*", "+"), gold.replace("*", "x"), f"{gold} * {parts[0]}", f"{gold} = {product}", f"-{gold}",
    ]  # fmt: skip


INTEGER = Form("Answer with an integer in digits.", integer, near_integer)
DECIMAL = Form("Answer with the exact number in decimal digits, without separators.", decimal, near_decimal)
FRACTION = Form("Answer with a fraction in lowest terms, such as 3/7.", fraction, near_fraction)
COMPLEX = Form("Answer as a + bi or a - bi with integers, such as 3 - 4i or 0 + 2i.", complex_integer, near_complex)
EXACT = Form("Answer with these characters only.", exact, near_text)
WORDS = Form("Answer with the word only.", words, near_text)
TOKENS = Form("Answer with the list only, separated by spaces.", tokens, near_tokens)
COMMAS = Form("Answer with the list only, separated by commas.", commas, near_commas)
LIST = Form("Answer with the list in square brackets, separated by commas.", number_list, near_list)
GRID = Form("Answer with one line for each row, its numbers separated by spaces.", grid, near_grid)
FACTORS = Form("Answer with the prime factors, separated by *.", factors, near_factors)


# ---------------------------------------------------------------- questions with several right answers


@dataclass(frozen=True)
class Rule:
    """`facts` of an item's metadata, plain JSON, go into the sample; `right` looks at these and at the answer alone."""

    ask: str
    facts: Callable[[Facts], Facts]
    right: Callable[[Facts, str], bool]
    near: Callable[[Facts, str], list[str]]


_LETTERS = re.compile(r"[A-Z]=[0-9](?:, ?[A-Z]=[0-9])*")
_COLOURS = re.compile(r'\{"[0-9]+": ?[0-9](?:, ?"[0-9]+": ?[0-9])*\}')
_STEPS = {"up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1)}


def solves_cryptarithm(facts: Facts, answer: str) -> bool:
    """Each letter a digit of its own, no number begins with 0, and the sum is right."""
    if not _LETTERS.fullmatch(answer):
        return False
    pairs = [(part.strip()[0], part.strip()[2]) for part in answer.split(",")]
    digit, numbers = dict(pairs), [*facts["words"], facts["sum"]]
    if len(pairs) != len(digit) or len(set(digit.values())) != len(digit) or digit.keys() != set("".join(numbers)):
        return False
    if any(digit[number[0]] == "0" for number in numbers):
        return False
    *values, total = (int("".join(digit[letter] for letter in number)) for number in numbers)
    return sum(values) == total


def near_cryptarithm(facts: Facts, gold: str) -> list[str]:
    first, second, *rest = gold.split(",")
    swapped = ",".join([first[:2] + second[2], second[:2] + first[2], *rest])
    same = ",".join(part[:2] + first[2] for part in gold.split(","))
    # Two letters that stand in the same columns may swap their digits: then this is right too.
    return [
        *([] if solves_cryptarithm(facts, swapped) else [swapped]), same, gold + ",?=1", gold.replace("=", ":"),
        f"{gold},{first}", ",".join([second, *rest]), gold.lower(), "".join(facts["words"]), gold.replace(",", ";"),
        f"{{{gold}}}",
    ]  # fmt: skip


def is_palindrome_of(facts: Facts, answer: str) -> bool:
    return answer == answer[::-1] and sorted(answer) == facts["letters"]


def near_palindrome(facts: Facts, gold: str) -> list[str]:
    letters = facts["letters"]  # of at least three kinds: in order they are no palindrome
    return ["".join(letters), "".join(letters[::-1]), gold + gold, gold[1:-1], letters[0] * len(gold), gold.upper(),
            gold + gold[0], " ".join(gold), ", ".join(gold), gold[1:] + gold[0]]  # fmt: skip


def is_shortest_path(facts: Facts, answer: str) -> bool:
    """Inside the grid, through open cells, from * to # and not one step too many."""
    steps, rows = answer.split(" "), facts["rows"]
    if len(steps) != facts["length"]:
        return False
    row, column = next((r, line.index("*")) for r, line in enumerate(rows) if "*" in line)
    for step in steps:
        if step not in _STEPS:
            return False
        row, column = row + _STEPS[step][0], column + _STEPS[step][1]
        if not (0 <= row < len(rows) and 0 <= column < len(rows[0])) or rows[row][column] == "X":
            return False
    return bool(rows[row][column] == "#")


def near_path(facts: Facts, gold: str) -> list[str]:
    steps = gold.split(" ")
    back = {"up": "down", "down": "up", "left": "right", "right": "left"}
    turned = " ".join(back[step] for step in steps)
    return [
        f"{steps[0]} {back[steps[0]]} {gold}", f"{gold} {back[steps[-1]]} {steps[-1]}", " ".join(steps[1:]), turned,
        " ".join(steps[:-1]), f"{gold} {steps[-1]}", gold.replace(" ", ", "), gold.upper(), "#", "infeasible",
        " ".join(step[0] for step in steps),
        *(" ".join([one] * len(steps)) for one in _STEPS if one not in steps),
    ]  # fmt: skip


def fills_survo(facts: Facts, answer: str) -> bool:
    """The given cells stand, the others take each number once, and every row and column adds up to its last cell."""
    found, puzzle = grid(answer), facts["puzzle"]
    if found is None or [len(row) for row in found] != [len(row) for row in puzzle]:
        return False
    if not all(_INTEGER.fullmatch(cell) and len(cell) < 6 for row in found for cell in row):
        return False
    values = [[int(cell) for cell in row] for row in found]
    cells = [
        (given, value) for line, row in zip(puzzle, values, strict=True) for given, value in zip(line, row, strict=True)
    ]
    if any(given not in (0, value) for given, value in cells):
        return False
    if sorted(value for given, value in cells if not given) != facts["numbers"]:
        return False
    return all(sum(line[:-1]) == line[-1] for line in [*values, *map(list, zip(*values, strict=True))])


def near_survo(facts: Facts, gold: str) -> list[str]:
    puzzle = "\n".join(" ".join(map(str, row)) for row in facts["puzzle"])
    return [
        *near_grid(gold), puzzle, puzzle.replace("0", "1"), " ".join(map(str, facts["numbers"])),
        gold.replace("1", "01") if "1" in gold else gold + "1",
    ]  # fmt: skip


def colours_graph(facts: Facts, answer: str) -> bool:
    """Each vertex once, with one of the colours, and no edge between two of the same."""
    if not _COLOURS.fullmatch(answer):
        return False
    pairs = [(int(part.split(":")[0].strip(' "')), int(part.split(":")[1])) for part in answer[1:-1].split(",")]
    colour = dict(pairs)
    if len(pairs) != len(colour) or colour.keys() != set(range(facts["vertices"])):
        return False
    return all(1 <= one <= facts["colours"] for one in colour.values()) and all(
        colour[a] != colour[b] for a, b in facts["edges"]
    )


def near_colouring(facts: Facts, gold: str) -> list[str]:
    a, b = facts["edges"][0]
    colour = dict(re.findall(r'"(\d+)": (\d)', gold))
    clash = {**colour, str(a): colour[str(b)]}
    return [
        written(clash), written(dict.fromkeys(colour, "1")), written({**colour, "0": "9"}),
        written({**colour, "99": "1"}),
        written(dict(list(colour.items())[1:])), gold.replace('"', ""), gold.replace('"', "'"),
        gold[:-1] + ', "0": 1}', gold[:-1] + ', "0": 2}', gold.replace(": 1", ": true"), "{" + gold + "}", "{}",
        gold.replace("{", "[").replace("}", "]"), gold.replace(": ", ": 0"),
    ]  # fmt: skip


def written(colour: dict[str, str]) -> str:
    return "{" + ", ".join(f'"{vertex}": {one}' for vertex, one in colour.items()) + "}"


CRYPTARITHM = Rule(
    "",
    lambda item: {"words": item["words_letters"], "sum": item["result_letters"]},
    solves_cryptarithm,
    near_cryptarithm,
)
PALINDROME = Rule("", lambda item: {"letters": sorted(item["letters"])}, is_palindrome_of, near_palindrome)
PATH = Rule(
    "",
    lambda item: {"rows": ["".join(row) for row in item["matrix"]], "length": len(item["solution"])},
    is_shortest_path,
    near_path,
)
SURVO = Rule(
    "Every number is used. Answer with the whole matrix, one line for each row, numbers separated by spaces.",
    lambda item: {"puzzle": item["puzzle"], "numbers": sorted(item["candidate_numbers"])},
    fills_survo,
    near_survo,
)
COLOURING = Rule(
    "",
    lambda item: {
        "vertices": len(item["puzzle"]["vertices"]),
        "edges": [list(edge) for edge in item["puzzle"]["edges"]],
        "colours": item["puzzle"]["num_colors"],
    },
    colours_graph,
    near_colouring,
)


# ---------------------------------------------------------------- a task


def as_drawn(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return question, answer


@dataclass(eq=False)
class Gym:
    """A data set as a task. `edit` mends a question and its answer, or returns None to have another one drawn."""

    dataset: str
    form: Form | Rule
    distinct: int  # at least; scripts/audit_gym.py counts them
    config: Facts = field(default_factory=dict)
    edit: Callable[[str, str, Facts], tuple[str, str] | None] = as_drawn
    choices: tuple[str, ...] = ()  # where only a few answers are possible
    ask: str | None = None  # instead of the form's
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = "gym-" + self.dataset.replace("_", "-")

    def draw(self, stream: Stream) -> tuple[str, str, Facts]:
        for _ in range(TRIES):
            seed = stream.integer(0, 65535) << 16 | stream.integer(0, 65535)
            item = drawn(self.dataset, seed, tuple(self.config.items()))
            facts = item["metadata"]
            edited = self.edit(item["question"], str(item["answer"]), facts)
            if edited is None:
                continue
            question, answer = (text.translate(_ASCII) for text in edited)
            prompt = f"{question.strip()}\n{self.form.ask if self.ask is None else self.ask}".strip()
            if prompt.isascii() and _USABLE.fullmatch(answer):
                return prompt, answer, {"seed": seed, **(self.form.facts(facts) if isinstance(self.form, Rule) else {})}
        raise GymError(f"{self.name} drew {TRIES} times and nothing was usable: report it")

    def accepts(self, sample: Sample, answer: str) -> bool:
        if isinstance(self.form, Rule):
            return answer.isascii() and self.form.right(sample.metadata, answer)
        found = self.form.canonical(answer)
        return found is not None and found == self.form.canonical(sample.target)

    def attacks(self, sample: Sample) -> list[str]:
        gold = sample.target
        near = self.form.near(sample.metadata, gold) if isinstance(self.form, Rule) else self.form.near(gold)
        near += [choice for choice in self.choices if choice.lower() != gold.lower()]
        wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in gold)
        return [
            *near, "", " ", f"{gold} or {near[0]}", f"{near[0]}, {gold}", f"{gold} {gold}", f"{gold}\n{gold}", wide,
            f"I guess {gold}", f"answer: {gold}", f"\\boxed{{{gold}}}", f"**{gold}**", f"`{gold}`", f"{gold}.",
            f"{gold}!", f"({gold})", f"= {gold}", f"{gold} = {gold}", f"{gold}\u200b", f"\u00a0{gold}", f"{gold}\x00",
            f"{gold}\n", f"\n{gold}", ", ".join([*self.choices, *near, gold])[:200], " ".join(map(str, range(60))),
            "9" * 200, "(" * 200, "9**9**9**9", "__import__('os').getcwd()", "None", "nan", "inf", "[]", "{}", "\x00",
            sample.prompt[:200], sample.prompt[-200:],
        ]  # fmt: skip


_ASCII = str.maketrans({"×": "*", "÷": "/", "°": " degrees", "∫": ""})
_USABLE = re.compile(r"(?=[^ \n])[ -;=?-~\n]{1,200}(?<=[^ \n])")  # fits between the tags of an answer, and is one


def drawn(dataset: str, seed: int, config: tuple[tuple[str, Any], ...]) -> Facts:
    """The one item of a data set of size 1 with this seed: its question, answer and metadata.

    Some data sets read a whole book when they are made, so one is made and copied; the tests compare the two ways.
    """
    made = copy.copy(_made(dataset, config))
    made.config, made.seed = replace(made.config, seed=seed), seed
    item: Facts = made[0]
    return item


@cache
def _made(dataset: str, config: tuple[tuple[str, Any], ...]) -> Any:
    return _factory()(dataset, size=1, seed=0, **dict(config))


@cache
def _factory() -> Callable[..., Any]:
    """reasoning_gym.create_dataset, of the pinned version. Raises GymError."""
    try:
        found = importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        raise GymError(f"gym tasks draw with reasoning-gym, which is missing: {_INSTALL}") from None
    if found != VERSION:
        raise GymError(f"gym tasks draw with reasoning-gym {VERSION}, and {found} is installed: {_INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a package that it imports
        from reasoning_gym import create_dataset  # type: ignore[import-untyped, import-not-found, unused-ignore]
    return create_dataset  # type: ignore[no-any-return, unused-ignore]


_INSTALL = f"pip install 'reasoning-gym=={VERSION}'"


# ---------------------------------------------------------------- edits


def unless_echo(key: str, between: str = "") -> Callable[[str, str, Facts], tuple[str, str] | None]:
    """Not if the answer is what the question gives, so that copying pays nothing."""

    def edit(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
        return None if answer == (between.join(facts[key]) if between else str(facts[key])) else (question, answer)

    return edit


def as_shown(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """The gold answer as the question writes it, not with the noise of floating point."""
    shown = facts["formatted_candidates"][facts["candidates"].index(facts["solution"])]
    return question, f"{Decimal(shown.replace(',', '')).normalize():f}"


def without_half_turns(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """There are two ways to bring the bottom to the top, and they differ in where the other sides end."""
    return None if "bottom" in facts["rotations"] else (question, answer)


def in_integers(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    real, imaginary = facts["result"]
    return question, f"{real} {'-' if imaginary < 0 else '+'} {abs(imaginary)}i"


def asked_once(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Not if two names fit."""
    wanted = facts["question"].removeprefix("Who ").partition("?")[0]
    return (question, answer) if question.count(f" {wanted}. ") == 1 else None


def convex(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Not if the missing angle of the "convex" polygon makes it concave."""
    return (re.sub(r"(?<=[.?])(?=[RD])", " ", question), answer) if int(answer) < 180 else None


def in_one_year(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Not if the second date is in the next year: the question prints the first one's year behind it."""
    return (question, answer) if facts.get("end_date", "2022")[:4] == "2022" else None


def coloured(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """With a gold answer: the generator's own colouring, where there is an edge at all."""
    gold = {str(vertex): str(colour) for vertex, colour in facts["possible_answer"].items()}
    return (question, written(gold)) if facts["puzzle"]["edges"] else None


def composite(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if len(facts["factors"]) == 1 else (question, answer)


def turned(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if facts["solution"] == facts["matrix"] else (question, answer)


def filtered(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Something stays, something goes, and no number is there twice: 75 and 75.0 are mixed up."""
    given = list(map(Decimal, facts["original_numbers"]))
    return (question, answer) if 0 < len(facts["result"]) < len(given) == len(set(given)) else None


def reordered(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return None if facts["sorted_numbers"] == facts["original_numbers"] else (question, answer)


def of_three_letters(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return (question, answer) if len(set(facts["letters"])) > 2 else None


def without_full_stop(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return question, answer.removesuffix(".")


def in_rows(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """Each row of a grid in one word: the split ignores the order of words, and else would see how many of each."""
    lines = question.split("\n")
    return "\n".join(line.replace(" ", "") if _CELLS.fullmatch(line) else line for line in lines), answer


_CELLS = re.compile(r"[0-9XO*#](?: [0-9XO*#])+ *")


def feasible(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    """A path of at least four steps."""
    return in_rows(question, answer, facts) if len(facts["solution"]) > 3 else None


BOTH = ("True", "False")
TRUTH = "Answer with True or False."
DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday", "Yes", "No")
COLOURS = (
    "red", "green", "blue", "yellow", "white", "orange", "purple", "pink", "brown", "gray", "cyan", "magenta", "gold",
    "silver", "indigo", "violet",
)  # fmt: skip

GYM: tuple[Gym, ...] = (
    # algebra and arithmetic
    Gym("basic_arithmetic", INTEGER, 11_921, {"operators": ("+", "-", "*")}),
    Gym("chain_sum", INTEGER, 11_554),
    Gym("products", INTEGER, 11_152, {"min_digits": 2, "max_digits": 4}),
    Gym("gcd", INTEGER, 11_880),
    Gym("lcm", INTEGER, 11_885, {"max_value": 1000}),
    Gym("count_bits", INTEGER, 12_000),
    Gym("count_primes", INTEGER, 11_994),
    Gym("leg_counting", INTEGER, 11_999),
    Gym("simple_equations", INTEGER, 12_000),
    Gym("simple_geometry", INTEGER, 11_707, edit=convex),
    Gym("decimal_chain_sum", DECIMAL, 12_000),
    Gym("number_format", DECIMAL, 12_000, edit=as_shown),
    Gym("dice", FRACTION, 11_274, {"num_dice": 5}),
    Gym("fraction_simplification", FRACTION, 11_993, {"styles": ("plain",)}),
    Gym("complex_arithmetic", COMPLEX, 11_870, edit=in_integers),
    Gym("bitwise_arithmetic", EXACT, 11_999, ask="Answer in hexadecimal with small letters, such as 0x3f or -0x3f."),
    Gym("base_conversion", EXACT, 11_998, {"min_value": 100, "max_value": 1_000_000}),
    Gym("prime_factorization", FACTORS, 11_256, {"min_value": 1000, "max_value": 100_000}, edit=composite),
    Gym("calendar_arithmetic", WORDS, 10_394, edit=in_one_year, choices=DAYS, ask=""),
    # strings and words
    Gym("binary_alternation", INTEGER, 11_436),
    Gym("letter_counting", INTEGER, 11_983, {"min_words": 10, "max_words": 30},
        ask="Capital and small letters count alike. Answer with an integer in digits."),
    Gym("palindrome_generation", PALINDROME, 11_992, {"min_length": 5, "max_length": 12}, edit=of_three_letters),
    Gym("spell_backward", EXACT, 11_553, edit=unless_echo("word")),
    Gym("string_insertion", EXACT, 12_000, {"min_string_length": 10, "max_string_length": 30},
        edit=unless_echo("string")),
    Gym("string_splitting", TOKENS, 11_494, {"max_initial_machines": 50}),
    Gym("string_synthesis", TOKENS, 10_980, {"max_initial_blocks": 40}),
    Gym("word_sequence_reversal", COMMAS, 12_000, edit=unless_echo("words", ", ")),
    Gym("word_sorting", COMMAS, 12_000, edit=unless_echo("original_words", ", ")),
    Gym("number_filtering", LIST, 12_000, edit=filtered),
    Gym("number_sorting", LIST, 12_000, edit=reordered),
    Gym("needle_haystack", WORDS, 11_998, {"max_num_statements": 50}, edit=asked_once,
        ask="Answer with the name only."),
    # matrices
    Gym("binary_matrix", GRID, 11_673, {"min_n": 4, "max_n": 8}, edit=in_rows),
    Gym("rotate_matrix", GRID, 12_000, {"min_n": 3, "max_n": 8}, edit=turned),
    Gym("spiral_matrix", TOKENS, 12_000, {"min_n": 3, "max_n": 8}),
    Gym("largest_island", INTEGER, 11_989, {"min_num_islands": 2, "min_island_size": 3}, edit=in_rows),
    Gym("rotten_oranges", INTEGER, 11_999, {"min_n": 6, "max_n": 10, "p_oranges": 0.9}, edit=in_rows),
    # graphs, logic and puzzles
    Gym("course_schedule", WORDS, 12_000, choices=BOTH, ask=TRUTH),
    Gym("path_star", TOKENS, 12_000),
    Gym("shortest_path", PATH, 11_999, {"min_rows": 6, "min_cols": 6, "p_blocked": 0.3}, edit=feasible),
    Gym("graph_color", COLOURING, 12_000, {"edge_probability": 0.3}, edit=coloured),
    Gym("knights_knaves", WORDS, 12_000, edit=without_full_stop, ask=""),
    Gym("color_cube_rotation", WORDS, 12_000, edit=without_half_turns, choices=COLOURS),
    Gym("cryptarithm", CRYPTARITHM, 12_000),
    Gym("kakurasu", GRID, 11_233),
    Gym("survo", SURVO, 12_000),
)  # fmt: skip
