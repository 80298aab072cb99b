"""Questions with several right answers: a rule of a few lines checks the answer against the question."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from harness.frozen.format import Sample
from harness.tasks.gym.forms import Facts, grid, integer, near_grid


@dataclass(frozen=True)
class Rule:
    """What Form is, where a rule decides: `keep` takes facts, plain JSON, out of an item's metadata into the sample;
    `right` looks at these and at the answer alone; `wrong` makes wrong answers out of them and a gold one."""

    ask: str
    keep: Callable[[Facts], Facts]
    right: Callable[[Facts, str], bool]
    wrong: Callable[[Facts, str], list[str]]

    def facts(self, item: Facts) -> Facts:
        return self.keep(item)

    def accepts(self, sample: Sample, answer: str) -> bool:
        return answer.isascii() and self.right(sample.metadata, answer)

    def near_misses(self, sample: Sample) -> list[str]:
        return self.wrong(sample.metadata, sample.target)


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
        *(" ".join([step] * len(steps)) for step in _STEPS if step not in steps),
    ]  # fmt: skip


def fills_survo(facts: Facts, answer: str) -> bool:
    """The given cells stand, the others take each number once, and every row and column adds up to its last cell."""
    rows, puzzle = grid(answer), facts["puzzle"]
    if rows is None or [len(row) for row in rows] != [len(row) for row in puzzle]:
        return False
    if not all(integer(cell) is not None and len(cell) < 6 for row in rows for cell in row):
        return False
    values = [[int(cell) for cell in row] for row in rows]
    cells = [
        (printed, value)
        for line, row in zip(puzzle, values, strict=True)
        for printed, value in zip(line, row, strict=True)
    ]
    if any(printed not in (0, value) for printed, value in cells):
        return False
    if sorted(value for printed, value in cells if not printed) != facts["numbers"]:
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
    return all(1 <= number <= facts["colours"] for number in colour.values()) and all(
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
    return "{" + ", ".join(f'"{vertex}": {number}' for vertex, number in colour.items()) + "}"


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
