"""reasoning-gym's data sets as tasks: second solvers, attacks, seeds, versions, and the page that speaks of all 106."""

from __future__ import annotations

import datetime
import graphlib
import hashlib
import importlib.metadata
import importlib.util
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
import time
from collections import Counter, deque
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from task_helpers import PIECES, completion

from harness.tasks import SPLITS, TASKS, Sample, Split, sample, score
from harness.tasks.gym import forms, rules, sets
from harness.tasks.gym import task as gym
from harness.tasks.gym.rules import Rule
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import VERSION, Gym, GymError, draw_item
from harness.tasks.task import Stream

ROOT = Path(__file__).parents[2]
INSTALLED = importlib.util.find_spec("reasoning_gym") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="reasoning-gym is not installed (extra `tasks`)")
BY_NAME = {task.dataset: task for task in GYM}
KEY = b"gym"
each = pytest.mark.parametrize("task", GYM, ids=lambda task: task.name)


@cache
def draws(name: str, n: int, split: Split = "train", key: bytes = KEY) -> list[Sample]:
    return [sample(BY_NAME[name], key, split, index) for index in range(n)]


def metadata(one: Sample) -> dict[str, Any]:
    """What reasoning-gym says of this question, besides."""
    task = TASKS[one.id.partition("/")[0]]
    assert isinstance(task, Gym)
    return draw_item(task.dataset, one.metadata["seed"], tuple(task.config.items()))["metadata"]


# ---------------------------------------------------------------- gold and attacks


def hold(task: Gym, n: int) -> None:
    for one in (*draws(task.dataset, n), *draws(task.dataset, n, "heldout")):
        gold = score(task, one, completion(one.target))
        assert gold.correct and gold.answer == one.target, one
        attacks = task.attacks(one)
        assert len(set(attacks)) > 20
        for attack in attacks:
            assert not score(task, one, completion(attack)).correct, (one, attack)


@each
@pytest.mark.sweep
def test_gold_scores_1_and_every_attack_0(task: Gym) -> None:
    hold(task, 25)


@pytest.mark.long
@pytest.mark.timeout(1200)
@each
def test_gold_scores_1_and_every_attack_0_often(task: Gym) -> None:
    hold(task, 2000)


@each
def test_a_question_is_plain_text_that_says_what_an_answer_looks_like(task: Gym) -> None:
    for one in draws(task.dataset, 25):
        assert one.prompt.isascii() and one.prompt == one.prompt.strip() and len(one.prompt) < 2000
        assert json.loads(json.dumps(one.metadata)) == one.metadata
        assert re.search(
            r"[Aa]nswer|[Pp]rovide|[Rr]eturn|[Gg]ive|[Rr]espond|[Ss]tate|[Rr]eply|Write out|Name|[Oo]utput", one.prompt
        )
        assert one.prompt.endswith(task.form.ask if task.ask is None else task.ask)


@each
@pytest.mark.sweep
def test_no_constant_answer_pays(task: Gym) -> None:
    asked = draws(task.dataset, 200)
    best, _ = Counter(one.target for one in asked).most_common(1)[0]
    floor = 0.5 if task.choices == sets.BOTH else 0.35
    right = sum(task.accepts(one, best) for one in asked)
    assert right / len(asked) < floor + 4 * math.sqrt(floor / len(asked))


# ---------------------------------------------------------------- independent solvers


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


def arithmetic(one: Sample) -> str:
    return str(value(re.sub(r"^.*?(?=[-(\d])|[=.?][^\d]*(Give.*)?$", "", one.prompt.split("\n")[0])))


def geometry(one: Sample) -> str:
    sides = int(re.search(r"(\d+)(?: sides|-gon)", one.prompt)[1])
    known = sum(map(Decimal, re.findall(r"(\d+\.\d) degrees", one.prompt)))
    return str(int(180 * (sides - 2) - known))


def equation(one: Sample) -> bool:
    left, right = re.search(r": (.*) = (.*)\n", one.prompt).groups()
    return value(re.sub("[a-z]", f"({one.target})", left)) == value(right)


def number_format(one: Sample) -> bool:
    which, rest = re.search(
        r"pick the (largest|smallest) number of the following candidates: (.*)", one.prompt
    ).groups()
    candidates = [Decimal(candidate.replace(",", "")) for candidate in rest.split()]
    return {"largest": max, "smallest": min}[which](candidates) == Decimal(one.target)


def dice(one: Sample) -> str:
    sides = [int(side) for side in re.findall(r"1d(\d+)[,.]", one.prompt)]
    ways = np.array([1])
    for side in sides:
        ways = np.convolve(ways, [0] + [1] * side)
    chance = Fraction(int(ways[int(re.search(r"rolling (\d+)", one.prompt)[1]) :].sum()), math.prod(sides))
    return f"{chance.numerator}/{chance.denominator}"


def complex_numbers(one: Sample) -> bool:
    asked = one.prompt.split("\n")[0].partition(": ")[2].replace(" ", "").replace("i", "j")
    gold = complex(one.target.replace(" ", "").replace("i", "j"))
    if "/" in asked:
        over, under = map(eval, asked.split("/"))
        return over == gold * under
    return eval(asked) == gold


def converted(one: Sample) -> bool:
    base = {"binary": 2, "hexadecimal": 16, **{f"base-{i}": i for i in range(2, 17)}}
    source, digits, target = re.search(r"convert the (\S+) number (\w+) to (\S+)", one.prompt).groups()
    return int(digits, base[source]) == int(one.target, base[target])


def prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def factored(one: Sample) -> bool:
    parts = numbers(one.target)
    return math.prod(parts) == int(re.search(r"factorization of (\d+)", one.prompt)[1]) and all(map(prime, parts))


WEEK = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]


def calendar(one: Sample) -> str:
    facts, day = metadata(one), datetime.date.fromisoformat
    if "end_date" in facts:
        start, end = day(facts["start_date"]), day(facts["end_date"])
        between = [WEEK[(start + datetime.timedelta(i)).weekday()] for i in range((end - start).days + 1)]
        wanted = re.search(rf"({'|'.join(WEEK)})s? (?:are|from|occur)|does ({'|'.join(WEEK)})", one.prompt)
        if "usiness" in one.prompt or "weekends" in one.prompt:
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


def swaps(one: Sample) -> str:
    bits = re.search(r"alternating: ([01]+)", one.prompt)[1]
    wrong = [
        sum(bit != want for bit, want in zip(bits, itertools.cycle(first), strict=False)) for first in ("01", "10")
    ]
    fit = [count // 2 for count, first in zip(wrong, "01", strict=True)
           if bits.count(first) - bits.count("10"[int(first)]) == len(bits) % 2]  # fmt: skip
    return str(min(fit, default=-1))


def letters(one: Sample) -> str:
    letter, text = re.search(r'letter "(.)" appear in the text: "(.*)"', one.prompt).groups()
    return str(text.lower().count(letter))


def last_line(one: Sample) -> str:
    return one.prompt.split("\n")[-2].rpartition(": ")[2]


def palindrome(one: Sample) -> bool:
    given = one.prompt.rpartition(": ")[2].split(", ")
    return one.target == one.target[::-1] and sorted(one.target) == sorted(given)


def inserted(one: Sample) -> str:
    return re.sub("ABCD|BCDE|CDEA|DEAB|EABC", lambda found: found[0] + found[0][0], last_line(one))


def rewritten(counts: dict[str, int], rules: list[tuple[str, str]], order: str) -> str:
    """The first rule that can be applied, again and again."""
    state = Counter(counts)
    while rule := next((r for r in rules if not Counter(r[0]) - state), None):
        state = state - Counter(rule[0]) + Counter(rule[1])
    return " ".join(str(state[name]) for name in order)


def split_up(one: Sample) -> str:
    a, b, c = numbers(re.search(r"Now, you have (.*)\. Provide", one.prompt)[1])
    rules = [("A", "XXY"), ("BB", "X"), ("CC", "Y"), ("BC", "A"), ("XY", "Z")]
    return rewritten({"A": a, "B": b, "C": c}, rules, "ABCXYZ")


def synthesised(one: Sample) -> str:
    a, b, c = numbers(re.search(r"Now, you have (.*) blocks", one.prompt)[1])
    rules = [("ABC", "a"), ("AB", "c"), ("BC", "b"), ("CC", "c"), ("ac", "xy"), ("bb", "z")]
    return rewritten({"A": a, "B": b, "C": c}, rules, "ABCabcxyz")


def sorted_words(one: Sample) -> str:
    words = last_line(one).split(", ")
    return ", ".join(sorted(words, key=str.encode, reverse="in descending order" in one.prompt.split("\n")[-2]))


def kept(one: Sample) -> str:
    how, than, limit, items = re.search(
        r"(Keep|Remove) all numbers (\w+) than (\S+) in this list: (\[.*\])", one.prompt
    ).groups()
    found = re.findall(r"'([^']+)'", items)
    above = {
        x: Decimal(x) > Decimal(limit) if than in ("larger", "greater") else Decimal(x) < Decimal(limit) for x in found
    }
    return str([x for x in found if above[x] == (how == "Keep")])


def in_order(one: Sample) -> str:
    way, items = re.search(r"in (\w+) order: (.*)", one.prompt).groups()
    return str(sorted(items.split(", "), key=Decimal, reverse=way == "descending"))


def needle(one: Sample) -> str:
    said, wanted = re.search(r"(?s)(.*)\nWho (.*)\? Reply", one.prompt).groups()
    (name,) = [line.removesuffix(f" {wanted}") for line in said.strip(" .").split(". ") if line.endswith(f" {wanted}")]
    return name


def nearest_zero(one: Sample) -> str:
    grid = rows(one.prompt)
    cells = list(itertools.product(range(len(grid)), repeat=2))
    zeros = [(r, c) for r, c in cells if grid[r][c] == "0"]
    size = len(grid)
    return written([[min(abs(r - x) + abs(c - y) for x, y in zeros) for c in range(size)] for r in range(size)])


def rotated(one: Sample) -> str:
    return written(np.rot90(matrix(one.prompt), -int(re.search(r"by (\d+) degrees", one.prompt)[1]) // 90))


def spiral(one: Sample) -> str:
    grid, path = matrix(one.prompt), list[int]()
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


def island(one: Sample) -> str:
    grid = rows(one.prompt)
    return str(max((len(flooded(grid, [cell], "0")) for cell in cells(grid, "1")), default=0))


def rotten(one: Sample) -> str:
    grid = rows(one.prompt)
    steps = flooded(grid, cells(grid, "2"), "0")
    return str(max(steps.values(), default=0)) if set(cells(grid, "1")) <= steps.keys() else "-1"


def shortest(one: Sample) -> bool:
    grid = rows(one.prompt)
    (goal,) = cells(grid, "#")
    return flooded(grid, cells(grid, "*"), "X")[goal] == len(one.target.split())


def courses(one: Sample) -> str:
    sorter = graphlib.TopologicalSorter[str]()
    for later, first in re.findall(r"\((\d+), (\d+)\)", one.prompt):
        sorter.add(later, first)
    try:
        return str(bool(list(sorter.static_order())))
    except graphlib.CycleError:
        return "False"


def star(one: Sample) -> str:
    edges, start, goal = re.search(r"task:\n\|(.*)/(\d+) (\d+) =", one.prompt).groups()
    before = {end: begin for begin, end in (edge.split() for edge in edges.split("|"))}
    path = [goal]
    while path[-1] != start:
        path.append(before[path[-1]])
    return " ".join(path[::-1])


def knights(one: Sample) -> str:
    facts = metadata(one)

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


def cube(one: Sample) -> str:
    """By turning vectors: about the axis that neither the side nor the top is on."""
    facts = metadata(one)
    place = {colour: np.array(SIDES[side]) for side, colour in facts["initial_state"].items()}
    for side in facts["rotations"]:
        v = np.array(SIDES[side])
        axis = np.cross(v, (0, 0, 1))
        place = {colour: np.cross(axis, p) + axis * (axis @ p) for colour, p in place.items()}
    (colour,) = [colour for colour, p in place.items() if tuple(p) == SIDES[facts["target_side"]]]
    return colour


def weighted(one: Sample) -> str:
    """The only grid with these sums, of all."""
    facts = one.prompt
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


def legs(one: Sample) -> str:
    known = {name.replace("_", " "): count for count, names in LEGS.items() for name in names.split()}
    listed = re.search(r"if you have (.*)\?", one.prompt)[1].split(", ")
    parts = [part.split(" ", 1) for part in listed]
    return str(sum(int(count) * known[name if name in known else name.removesuffix("s")] for count, name in parts))


def added_up(one: Sample) -> bool:
    digit = dict(re.findall(r"([A-Z])=(\d)", one.target))
    *parts, total = ("".join(digit[letter] for letter in word) for word in re.findall(r"[A-Z]{2,}(?=\n)", one.prompt))
    return len(set(digit.values())) == len(digit) and sum(map(int, parts)) == int(total)


def coloured(one: Sample) -> bool:
    colour = json.loads(one.target)
    edges = re.findall(r"\((\d+), (\d+)\)", one.prompt)
    return set(colour.values()) <= {1, 2, 3} and len(edges) > 0 and all(colour[a] != colour[b] for a, b in edges)


def summed(one: Sample) -> bool:
    grid = [numbers(row) for row in one.target.split("\n")]
    given = [numbers(line) for line in one.prompt.split("\n") if re.fullmatch(r"\d+(?: \d+)+", line)]
    ok = all(b in (0, a) for x, y in zip(grid, given, strict=True) for a, b in zip(x, y, strict=True))
    return ok and all(sum(line[:-1]) == line[-1] for line in [*grid, *zip(*grid, strict=True)])


def primes(one: Sample) -> str:
    low, high = re.search(r"between (\d+) and (\d+)", one.prompt).groups()
    return str(sum(map(prime, range(int(low), int(high) + 1))))


def two_numbers(one: Sample) -> list[int]:
    return numbers(one.prompt.split("\n")[0].replace("1 bits", ""))


def reduced(one: Sample) -> str:
    fraction = Fraction(re.search(r"(\d+/\d+)", one.prompt)[1])
    return f"{fraction.numerator}/{fraction.denominator}"


def decimals(one: Sample) -> bool:
    asked = re.search(r"problem: (.*) =", one.prompt)[1].replace("- ", "-").replace("+ ", "+")
    return sum(map(Decimal, asked.split())) == Decimal(one.target)


# From a question the right answer, or from a question and its gold answer whether it is right.
SOLVERS: dict[str, Any] = {
    "basic_arithmetic": arithmetic, "chain_sum": lambda one: str(value(re.search(r"problem: (.*) =", one.prompt)[1])),
    "products": lambda one: str(math.prod(two_numbers(one))), "gcd": lambda one: str(math.gcd(*two_numbers(one))),
    "lcm": lambda one: str(math.lcm(*two_numbers(one))),
    "count_bits": lambda one: str(two_numbers(one)[-1].bit_count()),
    "count_primes": primes, "leg_counting": legs, "simple_equations": equation, "simple_geometry": geometry,
    "decimal_chain_sum": decimals, "number_format": number_format, "dice": dice, "fraction_simplification": reduced,
    "complex_arithmetic": complex_numbers, "base_conversion": converted, "prime_factorization": factored,
    "bitwise_arithmetic": lambda one: hex(value(one.prompt.split("\n")[-2])),
    "calendar_arithmetic": calendar, "binary_alternation": swaps,
    "letter_counting": letters, "spell_backward": lambda one: last_line(one)[::-1], "string_insertion": inserted,
    "palindrome_generation": palindrome,
    "string_splitting": split_up, "string_synthesis": synthesised, "word_sorting": sorted_words,
    "word_sequence_reversal": lambda one: ", ".join(last_line(one).split(", ")[::-1]), "number_filtering": kept,
    "number_sorting": in_order, "needle_haystack": needle, "binary_matrix": nearest_zero, "rotate_matrix": rotated,
    "spiral_matrix": spiral, "largest_island": island, "rotten_oranges": rotten, "course_schedule": courses,
    "path_star": star, "shortest_path": shortest, "graph_color": coloured, "knights_knaves": knights,
    "color_cube_rotation": cube, "cryptarithm": added_up, "kakurasu": weighted, "survo": summed,
}  # fmt: skip


def test_every_task_has_a_second_solver() -> None:
    assert SOLVERS.keys() == BY_NAME.keys()


@each
@pytest.mark.sweep
def test_gold_answers_by_a_second_solver(task: Gym) -> None:
    solved(task, 60)


@pytest.mark.long
@pytest.mark.timeout(1200)
@each
def test_gold_answers_by_a_second_solver_often(task: Gym) -> None:
    solved(task, 3000)


def solved(task: Gym, n: int) -> None:
    for one in draws(task.dataset, n):
        found = SOLVERS[task.dataset](one)
        assert found in (True, one.target), (one, found)


# ---------------------------------------------------------------- seeds, processes and threads


def test_neighbouring_keys_and_indices_share_no_question() -> None:
    """reasoning-gym's own seeds do: item i of seed 1 is item i - 1 of seed 2."""
    create = gym.factory()
    ones, twos = (create("spiral_matrix", size=60, seed=seed) for seed in (1, 2))
    assert sum(ones[i]["question"] == twos[i - 1]["question"] for i in range(1, 60)) == 59
    a, b = ({one.prompt for one in draws("spiral_matrix", 200, "train", key)} for key in (b"seed 1", b"seed 2"))
    assert len(a) == len(b) == 200 and a.isdisjoint(b)


@each
def test_a_copy_of_a_data_set_draws_what_a_new_one_draws(task: Gym) -> None:
    create, config = gym.factory(), tuple(task.config.items())
    for seed in (0, 5, 2**32 - 1):
        ours, theirs = draw_item(task.dataset, seed, config), create(task.dataset, size=1, seed=seed, **task.config)[0]
        assert (ours["question"], ours["answer"]) == (theirs["question"], theirs["answer"])


@each
@pytest.mark.sweep
def test_training_and_heldout_questions_never_meet_and_differ(task: Gym) -> None:
    train, heldout = ({one.prompt for one in draws(task.dataset, 25, split)} for split in SPLITS)
    assert train.isdisjoint(heldout) and len(train) + len(heldout) >= 48


def questions(task: Gym) -> list[tuple[str, str, dict[str, Any]]]:
    return [task.draw(Stream(KEY, f"{task.name}/{i}/")) for i in range(4)]


def test_draws_depend_on_no_other_draw_and_touch_no_global_generator() -> None:
    before = [questions(task) for task in GYM]
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    after = [questions(task) for task in reversed(GYM)][::-1]
    assert after == before
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_threads_draw_the_same_questions() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(questions, GYM * 2)) == [questions(task) for task in GYM] * 2


DIGEST = """
import hashlib
from harness.tasks import sample
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import draw_item
rows = (sample(task, b"golden", split, i) for task in GYM for split in ("train", "heldout") for i in range(3))
print(hashlib.sha256("\\n".join(f"{r.id}|{r.prompt}|{r.target}|{r.metadata}" for r in rows).encode()).hexdigest())
for name in ("isomorphic_strings", "polynomial_multiplication", "ransom_note"):
    questions = "|".join(draw_item(name, seed, ())["question"] for seed in range(9))
    print(hashlib.sha256(questions.encode()).hexdigest())
"""


def python(code: str, *, paths: tuple[Path, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    where = {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **where, **environment}, capture_output=True, text=True)


def test_the_same_questions_with_another_hash_seed() -> None:
    first, second = (python(DIGEST, PYTHONHASHSEED=seed) for seed in ("0", "12345"))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    rows = (sample(task, b"golden", split, i) for task in GYM for split in SPLITS for i in range(3))
    here = hashlib.sha256("\n".join(f"{r.id}|{r.prompt}|{r.target}|{r.metadata}" for r in rows).encode()).hexdigest()
    (ours, *left_out), (again, *otherwise) = first.stdout.split(), second.stdout.split()
    assert ours == again == here
    assert len(left_out) == 3 and not set(left_out) & set(otherwise), "why these three are left out"


# ---------------------------------------------------------------- versions


def test_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    other = tmp_path / "reasoning_gym-0.1.24.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: reasoning-gym\nVersion: 0.1.24\n")
    show = "import sys; from harness.cli import main; sys.argv[1:] = ['tasks', 'show', 'gym-dice']; main()"
    done = python(show, paths=(tmp_path,))
    assert done.returncode == 2 and done.stdout == ""
    assert f"reasoning-gym {VERSION}, and 0.1.24 is installed: pip install 'reasoning-gym=={VERSION}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_package_a_draw_says_so_and_grading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    one = draws("dice", 1)[0]

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for cached in (gym.factory, gym.generator):
        cached.cache_clear()
    with pytest.raises(GymError, match=f"reasoning-gym, which is missing: pip install 'reasoning-gym=={VERSION}'"):
        BY_NAME["dice"].draw(Stream(KEY, ""))
    assert BY_NAME["dice"].accepts(one, one.target) and len(BY_NAME["dice"].attacks(one)) > 20


def test_a_data_set_that_never_fits_is_an_error_and_no_endless_loop() -> None:
    never = Gym("chain_sum", forms.INTEGER, 0, edit=lambda question, answer, facts: None)
    with pytest.raises(GymError, match="gym-chain-sum drew 1000 times"):
        never.draw(Stream(KEY, ""))


def test_tasks_are_known_before_the_package_is_imported() -> None:
    done = python("import sys, harness.tasks; assert 'reasoning_gym' not in sys.modules and 'sympy' not in sys.modules")
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- what its own verifiers do


def theirs(dataset: str, one: Sample, answer: str) -> float:
    task = BY_NAME[dataset]
    made = gym.factory()(dataset, size=1, seed=one.metadata["seed"], **task.config)
    return float(made.score_answer(answer, made[0]))


def test_every_right_survo_is_right() -> None:
    """Its verifier takes one filling of those that fit."""
    create, several = gym.factory(), 0
    for seed in range(300):
        made = create("survo", size=1, seed=seed)
        facts = made[0]["metadata"]
        one = Sample("", "", made[0]["answer"], rules.SURVO.facts(facts))
        for numbers_used in set(itertools.permutations(facts["candidate_numbers"])):
            left = list(numbers_used)
            filled = [[cell or left.pop() for cell in row] for row in facts["puzzle"]]
            other = written(filled)
            if filled != facts["solution"] and BY_NAME["survo"].accepts(one, other):
                assert all(sum(line[:-1]) == line[-1] for line in [*filled, *map(list, zip(*filled, strict=True))])
                assert made.score_answer(other, made[0]) == 0.0
                several += 1
    assert several


def test_nothing_for_a_longer_path_a_list_of_letters_or_another_base() -> None:
    path = draws("shortest_path", 1)[0]
    longer = rules.near_path(path.metadata, path.target)[0]
    assert theirs("shortest_path", path, longer) == 0.5 and not BY_NAME["shortest_path"].accepts(path, longer)
    text = draws("string_insertion", 1)[0]
    program = f"[letter for letter in '{text.target}']"
    assert theirs("string_insertion", text, program) == 0.1, "it evaluates what the model wrote"
    assert not BY_NAME["string_insertion"].accepts(text, program)
    bits = draws("bitwise_arithmetic", 1)[0]
    plain = str(int(bits.target, 16))
    assert theirs("bitwise_arithmetic", bits, plain) == 1.0, "a decimal number, where hexadecimal is asked for"
    assert not BY_NAME["bitwise_arithmetic"].accepts(bits, plain)


def test_what_made_us_leave_some_out() -> None:
    create = gym.factory()
    halting = create("game_of_life_halting", size=1, seed=1)
    assert halting.score_answer("banana", halting[0]) == 1.0
    logic = create("propositional_logic", size=1, seed=1)
    assert logic.score_answer(" ∧ ".join(f"({p})" for p in logic[0]["metadata"]["premises"]), logic[0]) == 1.0
    concave = [create("simple_geometry", size=1, seed=seed)[0] for seed in range(50)]
    assert any("convex" in one["question"] and int(one["answer"]) > 180 for one in concave)


# ---------------------------------------------------------------- the forms are total, and no looser than they say

SIGNS = [
    *PIECES,
    "x",
    "*",
    "**2",
    "/",
    "+ C",
    "i",
    ", ",
    "'",
    '"',
    "[",
    "]",
    "{",
    "}",
    ":",
    "True",
    "up ",
    "down ",
    "\n",
    "A=1,",
]
texts = st.one_of(
    st.text(max_size=200), st.lists(st.sampled_from(SIGNS), max_size=60).map(lambda parts: "".join(parts)[:200])
)


@cache
def one_of_each() -> tuple[tuple[Gym, Sample], ...]:
    return tuple((task, draws(task.dataset, 1)[0]) for task in GYM)


def check_total(text: str) -> None:
    for task, one in one_of_each():
        start = time.process_time()
        right = task.accepts(one, text)
        assert time.process_time() - start < 0.05
        assert not right or not isinstance(task.form, Rule) or SOLVERS[task.dataset](Sample(one.id, one.prompt, text))


@given(texts)
@settings(max_examples=60, deadline=None)
def test_graders_are_total(text: str) -> None:
    check_total(text)


@pytest.mark.long
@pytest.mark.timeout(1200)
@given(texts)
@settings(max_examples=3000, deadline=None)
def test_graders_are_total_on_over_100_000_texts(text: str) -> None:
    check_total(text)


BOMBS = [
    "(" * 200, "9" * 200, "," * 200, "-" * 200, "[" + "1," * 99 + "]", "x*" * 100, "1+" * 99, "2**9**9", "\ud800",
    '{"0":1' + ',"0":1' * 32 + "}", "A=1," * 50, "up " * 66,
]  # fmt: skip


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_graded_at_once(bomb: str) -> None:
    for task, one in one_of_each():
        start = time.process_time()
        assert not task.accepts(one, bomb) and time.process_time() - start < 0.05


@given(st.integers(-(10**12), 10**12), st.text("0123456789-+.e ", max_size=15))
def test_an_integer_is_written_in_one_way(number: int, text: str) -> None:
    assert forms.integer(str(number)) == str(number)
    assert forms.integer(text) is None or str(int(text)) == text


@given(st.text("0123456789-+.e,", max_size=15))
def test_a_decimal_is_its_exact_value(text: str) -> None:
    found = forms.decimal(text)
    assert found is None or (Fraction(text) == Fraction(found) and "e" not in text and not text.startswith("+"))


# ---------------------------------------------------------------- the page


def table() -> list[list[str]]:
    lines = (ROOT / "docs" / "gym.md").read_text().split("\n")
    return [
        [cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| `")
    ]


def test_the_page_speaks_of_every_data_set_and_agrees_with_the_code() -> None:
    gym.factory()
    from reasoning_gym.factory import DATASETS

    page = {row[0]: row for row in table()}
    assert page.keys() == DATASETS.keys() and len(table()) == 106
    assert {name for name, row in page.items() if row[1] == "in"} == BY_NAME.keys()
    assert all(row[2] for row in page.values())
    for name, task in BY_NAME.items():
        assert page[name][4] == f"{task.distinct:,} of 12,000" and task.distinct > 10_000
        assert float(page[name][5]) < 50 and float(page[name][3].rpartition(" ")[2].rstrip("%")) <= 51
    assert len(GYM) >= 40 and {task.name for task in GYM} <= TASKS.keys()


def test_the_script_has_a_reason_for_each_that_is_left_out() -> None:
    import audit_gym

    left_out = {row[0]: row[2] for row in table() if row[1] == "out"}
    assert left_out == audit_gym.LEFT_OUT
    row = audit_gym.of_task(BY_NAME["dice"], 300)
    assert row.task and 250 < row.distinct <= row.draws == 300 and 0 < row.share < 0.2 and row.draw_ms > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@each
def test_distinct_is_what_is_counted(task: Gym) -> None:
    import audit_gym

    assert audit_gym.of_task(task).distinct == task.distinct
