"""Second solvers of the gym tasks: from a question its right answer, or whether its gold answer is right."""

from __future__ import annotations

import datetime
import graphlib
import itertools
import json
import math
import re
from collections import Counter, deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
from gym_questions import metadata

from harness.frozen.format import Sample


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


def value(expression: str) -> Any:
    """By Python itself; the letters of an expression have been replaced."""
    assert re.fullmatch(r"[-+*()0-9. xa-f<>/]*", expression), expression
    return eval(expression)


def rows(text: str) -> list[str]:
    return [line for line in text.split("\n") if re.fullmatch(r"[0-9XO*#]{3,}", line)]


def matrix(text: str) -> list[list[int]]:
    return [numbers(line) for line in text.split("\n") if re.fullmatch(r"\d(?: \d)+", line)]


def written(grid: Any) -> str:
    return "\n".join(" ".join(map(str, row)) for row in grid)


def arithmetic(question: Sample) -> str:
    return str(value(re.sub(r"^.*?(?=[-(\d])|[=.?][^\d]*(Give.*)?$", "", question.prompt.split("\n")[0])))


def geometry(question: Sample) -> str:
    sides = int(re.search(r"(\d+)(?: sides|-gon)", question.prompt)[1])
    known = sum(map(Decimal, re.findall(r"(\d+\.\d) degrees", question.prompt)))
    return str(int(180 * (sides - 2) - known))


def equation(question: Sample) -> bool:
    left, right = re.search(r": (.*) = (.*)\n", question.prompt).groups()
    return value(re.sub("[a-z]", f"({question.target})", left)) == value(right)


def number_format(question: Sample) -> bool:
    which, rest = re.search(
        r"pick the (largest|smallest) number of the following candidates: (.*)", question.prompt
    ).groups()
    candidates = [Decimal(candidate.replace(",", "")) for candidate in rest.split()]
    return {"largest": max, "smallest": min}[which](candidates) == Decimal(question.target)


def dice(question: Sample) -> str:
    sides = [int(side) for side in re.findall(r"1d(\d+)[,.]", question.prompt)]
    ways = np.array([1])
    for side in sides:
        ways = np.convolve(ways, [0] + [1] * side)
    chance = Fraction(int(ways[int(re.search(r"rolling (\d+)", question.prompt)[1]) :].sum()), math.prod(sides))
    return f"{chance.numerator}/{chance.denominator}"


def complex_numbers(question: Sample) -> bool:
    asked = question.prompt.split("\n")[0].partition(": ")[2].replace(" ", "").replace("i", "j")
    gold = complex(question.target.replace(" ", "").replace("i", "j"))
    if "/" in asked:
        over, under = map(eval, asked.split("/"))
        return over == gold * under
    return eval(asked) == gold


def converted(question: Sample) -> bool:
    base = {"binary": 2, "hexadecimal": 16, **{f"base-{i}": i for i in range(2, 17)}}
    source, digits, target = re.search(r"convert the (\S+) number (\w+) to (\S+)", question.prompt).groups()
    return int(digits, base[source]) == int(question.target, base[target])


def prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def factored(question: Sample) -> bool:
    parts = numbers(question.target)
    return math.prod(parts) == int(re.search(r"factorization of (\d+)", question.prompt)[1]) and all(map(prime, parts))


WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def calendar(question: Sample) -> str:
    facts, day = metadata(question), datetime.date.fromisoformat
    if "end_date" in facts:
        start, end = day(facts["start_date"]), day(facts["end_date"])
        between = [WEEK[(start + datetime.timedelta(i)).weekday()] for i in range((end - start).days + 1)]
        wanted = re.search(rf"({'|'.join(WEEK)})s? (?:are|from|occur)|does ({'|'.join(WEEK)})", question.prompt)
        if "usiness" in question.prompt or "weekends" in question.prompt:
            return str(sum(name not in ("Saturday", "Sunday") for name in between))
        return str(between.count(next(filter(None, wanted.groups()))))
    if "is_leap" in facts:
        year = facts["year"]
        return "Yes" if year % 4 == 0 and (year % 100 or year % 400 == 0) else "No"
    if "ordinal" in facts:
        first = datetime.date(facts["year"], facts["month"], 1)
        month = [first + datetime.timedelta(i) for i in range(31)]
        fit = [d.day for d in month if d.month == first.month and WEEK[d.weekday()] == facts["weekday"]]
        return str(
            fit[-1]
            if facts["ordinal"] == "last"
            else fit[["first", "second", "third", "fourth"].index(facts["ordinal"])]
        )
    if "first_day" in facts:
        gone = day(facts["target_date"]) - datetime.date(2022, 1, 1)
        return WEEK[(WEEK.index(facts["first_day"]) + gone.days) % 7]
    return WEEK[day(facts["target_date"]).weekday()]


def swaps(question: Sample) -> str:
    bits = re.search(r"alternating: ([01]+)", question.prompt)[1]
    wrong = [
        sum(bit != want for bit, want in zip(bits, itertools.cycle(first), strict=False)) for first in ("01", "10")
    ]
    fit = [count // 2 for count, first in zip(wrong, "01", strict=True)
           if bits.count(first) - bits.count("10"[int(first)]) == len(bits) % 2]  # fmt: skip
    return str(min(fit, default=-1))


def letters(question: Sample) -> str:
    letter, text = re.search(r'letter "(.)" appear in the text: "(.*)"', question.prompt).groups()
    return str(text.lower().count(letter))


def last_line(question: Sample) -> str:
    return question.prompt.split("\n")[-2].rpartition(": ")[2]


def palindrome(question: Sample) -> bool:
    given = question.prompt.rpartition(": ")[2].split(", ")
    return question.target == question.target[::-1] and sorted(question.target) == sorted(given)


def inserted(question: Sample) -> str:
    return re.sub("ABCD|BCDE|CDEA|DEAB|EABC", lambda match: match[0] + match[0][0], last_line(question))


def rewritten(counts: dict[str, int], rules: list[tuple[str, str]], order: str) -> str:
    """The first rule that can be applied, again and again."""
    state = Counter(counts)
    while rule := next((r for r in rules if not Counter(r[0]) - state), None):
        state = state - Counter(rule[0]) + Counter(rule[1])
    return " ".join(str(state[name]) for name in order)


def split_up(question: Sample) -> str:
    a, b, c = numbers(re.search(r"Now, you have (.*)\. Provide", question.prompt)[1])
    rules = [("A", "XXY"), ("BB", "X"), ("CC", "Y"), ("BC", "A"), ("XY", "Z")]
    return rewritten({"A": a, "B": b, "C": c}, rules, "ABCXYZ")


def synthesised(question: Sample) -> str:
    a, b, c = numbers(re.search(r"Now, you have (.*) blocks", question.prompt)[1])
    rules = [("ABC", "a"), ("AB", "c"), ("BC", "b"), ("CC", "c"), ("ac", "xy"), ("bb", "z")]
    return rewritten({"A": a, "B": b, "C": c}, rules, "ABCabcxyz")


def sorted_words(question: Sample) -> str:
    words = last_line(question).split(", ")
    return ", ".join(sorted(words, key=str.encode, reverse="in descending order" in question.prompt.split("\n")[-2]))


def kept(question: Sample) -> str:
    how, than, limit, items = re.search(
        r"(Keep|Remove) all numbers (\w+) than (\S+) in this list: (\[.*\])", question.prompt
    ).groups()
    listed = re.findall(r"'([^']+)'", items)
    above = {
        x: Decimal(x) > Decimal(limit) if than in ("larger", "greater") else Decimal(x) < Decimal(limit) for x in listed
    }
    return str([x for x in listed if above[x] == (how == "Keep")])


def in_order(question: Sample) -> str:
    way, items = re.search(r"in (\w+) order: (.*)", question.prompt).groups()
    return str(sorted(items.split(", "), key=Decimal, reverse=way == "descending"))


def needle(question: Sample) -> str:
    said, wanted = re.search(r"(?s)(.*)\nWho (.*)\? Reply", question.prompt).groups()
    (name,) = [line.removesuffix(f" {wanted}") for line in said.strip(" .").split(". ") if line.endswith(f" {wanted}")]
    return name


def nearest_zero(question: Sample) -> str:
    grid = rows(question.prompt)
    cells = list(itertools.product(range(len(grid)), repeat=2))
    zeros = [(r, c) for r, c in cells if grid[r][c] == "0"]
    size = len(grid)
    return written([[min(abs(r - x) + abs(c - y) for x, y in zeros) for c in range(size)] for r in range(size)])


def rotated(question: Sample) -> str:
    return written(np.rot90(matrix(question.prompt), -int(re.search(r"by (\d+) degrees", question.prompt)[1]) // 90))


def spiral(question: Sample) -> str:
    grid, path = matrix(question.prompt), list[int]()
    while grid:
        path += grid.pop(0)
        grid = [list(row) for row in zip(*grid, strict=True)][::-1]
    return " ".join(map(str, path))


def flooded(grid: list[str], starts: list[tuple[int, int]], blocked: str) -> dict[tuple[int, int], int]:
    """Steps from the nearest start to each cell that can be reached."""
    steps, queue = dict.fromkeys(starts, 0), deque(starts)
    while queue:
        r, c = queue.popleft()
        for near in ((r + 1, c), (r - 1, c), (r, c + 1), (r, c - 1)):
            inside = 0 <= near[0] < len(grid) and 0 <= near[1] < len(grid[0])
            if inside and near not in steps and grid[near[0]][near[1]] not in blocked:
                steps[near] = steps[r, c] + 1
                queue.append(near)
    return steps


def cells(grid: list[str], kind: str) -> list[tuple[int, int]]:
    return [(r, c) for r, row in enumerate(grid) for c, cell in enumerate(row) if cell == kind]


def island(question: Sample) -> str:
    grid = rows(question.prompt)
    return str(max((len(flooded(grid, [cell], "0")) for cell in cells(grid, "1")), default=0))


def rotten(question: Sample) -> str:
    grid = rows(question.prompt)
    steps = flooded(grid, cells(grid, "2"), "0")
    return str(max(steps.values(), default=0)) if set(cells(grid, "1")) <= steps.keys() else "-1"


def shortest(question: Sample) -> bool:
    grid = rows(question.prompt)
    (goal,) = cells(grid, "#")
    return flooded(grid, cells(grid, "*"), "X")[goal] == len(question.target.split())


def courses(question: Sample) -> str:
    sorter = graphlib.TopologicalSorter[str]()
    for later, first in re.findall(r"\((\d+), (\d+)\)", question.prompt):
        sorter.add(later, first)
    try:
        return str(bool(list(sorter.static_order())))
    except graphlib.CycleError:
        return "False"


def star(question: Sample) -> str:
    edges, start, goal = re.search(r"task:\n\|(.*)/(\d+) (\d+) =", question.prompt).groups()
    before = {end: begin for begin, end in (edge.split() for edge in edges.split("|"))}
    path = [goal]
    while path[-1] != start:
        path.append(before[path[-1]])
    return " ".join(path[::-1])


def knights(question: Sample) -> str:
    facts = metadata(question)

    def holds(claim: Any, honest: tuple[bool, ...]) -> bool:
        head, *rest = claim
        if head in ("telling-truth", "lying"):
            return honest[rest[0]] == (head == "telling-truth")
        said = [holds(part, honest) for part in rest]
        match head:
            case "not":
                return not said[0]
            case "and":
                return all(said)
            case "or":
                return any(said)
            case "->":
                return not said[0] or said[1]
        assert head == "<=>", head
        return said[0] == said[1]

    people = itertools.product((False, True), repeat=len(facts["names"]))
    (who,) = [p for p in people if all(holds(claim, p) == p[i] for i, claim in enumerate(facts["statements"]))]
    terms = facts["knight_knave_terms"]
    parts = [
        f"{name} is {terms['a_knight' if true else 'a_knave']}" for name, true in zip(facts["names"], who, strict=True)
    ]
    return ", ".join(parts[:-1]) + ("," if len(parts) > 1 else "") + f" and {parts[-1]}"


SIDES = {
    "top": (0, 0, 1),
    "bottom": (0, 0, -1),
    "front": (0, -1, 0),
    "back": (0, 1, 0),
    "left": (-1, 0, 0),
    "right": (1, 0, 0),
}


def cube(question: Sample) -> str:
    """By turning vectors: about the axis that neither the side nor the top is on."""
    facts = metadata(question)
    place = {colour: np.array(SIDES[side]) for side, colour in facts["initial_state"].items()}
    for side in facts["rotations"]:
        v = np.array(SIDES[side])
        axis = np.cross(v, (0, 0, 1))
        place = {colour: np.cross(axis, p) + axis * (axis @ p) for colour, p in place.items()}
    (colour,) = [colour for colour, p in place.items() if tuple(p) == SIDES[facts["target_side"]]]
    return colour


def weighted(question: Sample) -> str:
    """The only grid with these sums, of all."""
    facts = question.prompt
    row_sums, column_sums = (numbers(group) for group in re.findall(r"\[([^]]*)\]", facts)[:2])
    patterns = list(itertools.product((0, 1), repeat=len(column_sums)))
    fit = [[p for p in patterns if sum(i * bit for i, bit in enumerate(p, 1)) == total] for total in row_sums]

    def columns(grid: tuple[tuple[int, ...], ...]) -> list[int]:
        return [sum(i * bit for i, bit in enumerate(column, 1)) for column in zip(*grid, strict=True)]

    (grid,) = (grid for grid in itertools.product(*fit) if columns(grid) == column_sums)
    return written(grid)


LEGS = {
    0: "snake fish jellyfish slug sea_slug flatworm leech worm clam eel snail", 2: "chicken bird human duck",
    5: "starfish",
    4: "dog cat cow horse lion elephant giraffe tiger deer sheep", 8: "spider scorpion", 10: "crab lobster shrimp",
    6: "insect ant butterfly beetle bee wasp grasshopper cricket cockroach praying_mantis firefly", 14: "woodlouse",
}  # fmt: skip


def legs(question: Sample) -> str:
    known = {name.replace("_", " "): count for count, names in LEGS.items() for name in names.split()}
    listed = re.search(r"if you have (.*)\?", question.prompt)[1].split(", ")
    parts = [part.split(" ", 1) for part in listed]
    return str(sum(int(count) * known[name if name in known else name.removesuffix("s")] for count, name in parts))


def added_up(question: Sample) -> bool:
    digit = dict(re.findall(r"([A-Z])=(\d)", question.target))
    *parts, total = (
        "".join(digit[letter] for letter in word) for word in re.findall(r"[A-Z]{2,}(?=\n)", question.prompt)
    )
    return len(set(digit.values())) == len(digit) and sum(map(int, parts)) == int(total)


def coloured(question: Sample) -> bool:
    colour = json.loads(question.target)
    edges = re.findall(r"\((\d+), (\d+)\)", question.prompt)
    return set(colour.values()) <= {1, 2, 3} and len(edges) > 0 and all(colour[a] != colour[b] for a, b in edges)


def summed(question: Sample) -> bool:
    grid = [numbers(row) for row in question.target.split("\n")]
    given = [numbers(line) for line in question.prompt.split("\n") if re.fullmatch(r"\d+(?: \d+)+", line)]
    ok = all(b in (0, a) for x, y in zip(grid, given, strict=True) for a, b in zip(x, y, strict=True))
    return ok and all(sum(line[:-1]) == line[-1] for line in [*grid, *zip(*grid, strict=True)])


def primes(question: Sample) -> str:
    low, high = re.search(r"between (\d+) and (\d+)", question.prompt).groups()
    return str(sum(map(prime, range(int(low), int(high) + 1))))


def two_numbers(question: Sample) -> list[int]:
    return numbers(question.prompt.split("\n")[0].replace("1 bits", ""))


def reduced(question: Sample) -> str:
    fraction = Fraction(re.search(r"(\d+/\d+)", question.prompt)[1])
    return f"{fraction.numerator}/{fraction.denominator}"


def decimals(question: Sample) -> bool:
    asked = re.search(r"problem: (.*) =", question.prompt)[1].replace("- ", "-").replace("+ ", "+")
    return sum(map(Decimal, asked.split())) == Decimal(question.target)


# From a question the right answer, or from a question and its gold answer whether it is right.
SOLVERS: dict[str, Any] = {
    "basic_arithmetic": arithmetic, "chain_sum": lambda q: str(value(re.search(r"problem: (.*) =", q.prompt)[1])),
    "products": lambda q: str(math.prod(two_numbers(q))), "gcd": lambda q: str(math.gcd(*two_numbers(q))),
    "lcm": lambda q: str(math.lcm(*two_numbers(q))),
    "count_bits": lambda q: str(two_numbers(q)[-1].bit_count()),
    "count_primes": primes, "leg_counting": legs, "simple_equations": equation, "simple_geometry": geometry,
    "decimal_chain_sum": decimals, "number_format": number_format, "dice": dice, "fraction_simplification": reduced,
    "complex_arithmetic": complex_numbers, "base_conversion": converted, "prime_factorization": factored,
    "bitwise_arithmetic": lambda q: hex(value(q.prompt.split("\n")[-2])),
    "calendar_arithmetic": calendar, "binary_alternation": swaps,
    "letter_counting": letters, "spell_backward": lambda q: last_line(q)[::-1], "string_insertion": inserted,
    "palindrome_generation": palindrome,
    "string_splitting": split_up, "string_synthesis": synthesised, "word_sorting": sorted_words,
    "word_sequence_reversal": lambda q: ", ".join(last_line(q).split(", ")[::-1]), "number_filtering": kept,
    "number_sorting": in_order, "needle_haystack": needle, "binary_matrix": nearest_zero, "rotate_matrix": rotated,
    "spiral_matrix": spiral, "largest_island": island, "rotten_oranges": rotten, "course_schedule": courses,
    "path_star": star, "shortest_path": shortest, "graph_color": coloured, "knights_knaves": knights,
    "color_cube_rotation": cube, "cryptarithm": added_up, "kakurasu": weighted, "survo": summed,
}  # fmt: skip
