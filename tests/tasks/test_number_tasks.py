"""Countdown, equations, nim and Josephus, the larger ones and microR1's, against independent solvers and counts."""

from __future__ import annotations

import ast
import itertools
import operator
import re
from collections import Counter, deque
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from generated_tasks import KEY, TASKS, draws
from task_helpers import every_question

from harness.frozen.draw import Stream
from harness.frozen.format import Sample


def value_of(expression: str) -> Fraction:
    """Python's own parser and exact fractions, instead of our grammar."""
    ops = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def value(node: ast.AST) -> Fraction:
        if isinstance(node, ast.BinOp):
            return ops[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant) and isinstance(node.value, int)
        return Fraction(node.value)

    return value(ast.parse(expression, mode="eval").body)


def integers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"-?\d+", text)]


@pytest.mark.sweep("countdown-large")
def test_countdown_large_by_another_evaluator() -> None:
    shapes = Counter[str]()
    for one in draws("countdown-large", 1000):
        target, *numbers = integers(one.prompt)
        assert value_of(one.target) == target == one.metadata["target"] and 100 <= target <= 250
        assert numbers == one.metadata["numbers"] and len(numbers) == 3 and set(numbers) <= set(range(2, 41))
        assert sorted(integers(re.sub(r"\D", " ", one.target))) == sorted(numbers)
        shapes[re.sub(r"\d+", "n", one.target)] += 1
    assert len(shapes) > 12  # both trees, all operators


@pytest.mark.sweep("countdown-hard")
def test_countdown_hard_by_another_evaluator() -> None:
    shapes = Counter[str]()
    for one in draws("countdown-hard", 1000):
        target, *numbers = integers(one.prompt)
        assert value_of(one.target) == target == one.metadata["target"] and 100 <= target <= 999
        assert numbers == one.metadata["numbers"] and len(numbers) == 4
        assert sorted(integers(re.sub(r"\D", " ", one.target))) == sorted(numbers)
        shapes[re.sub(r"\d+|[-+*/]", "n", one.target)] += 1
    assert len(shapes) == 5  # every way to put brackets around four numbers


def test_countdown_hard_takes_any_right_expression_and_no_other_numbers() -> None:
    task, one = TASKS["countdown-hard"], Sample("", "", "", {"numbers": [4, 7, 25, 50], "target": 343})
    for answer in ("7*50-7", "343", "50*7-(25-4)/3", "7*(50-4)+25-4", "4+7+25+50"):
        assert not task.accepts(one, answer)
    one = Sample("", "", "", {"numbers": [4, 7, 25, 50], "target": 321})
    for answer in ("7*50-25-4", "50*7-(25+4)", " (50*7)-4-25"):
        assert task.accepts(one, answer)


def value_of_side(side: str, x: int) -> int:
    """Of an equation, at that x."""
    terms = re.findall(r"([+-]?) ?(\d+)(x?)", side)
    return sum(int(sign + number) * (x if unknown else 1) for sign, number, unknown in terms)


@pytest.mark.sweep("linear-large")
def test_linear_large_by_substitution() -> None:
    signs = Counter[tuple[bool, str]]()
    for one in draws("linear-large", 1000):
        match = re.fullmatch(r"Solve ((\d+)x ([+-]) (\d+)) = (-?\d+)\.", one.prompt)
        assert match is not None
        x = int(one.target)
        assert value_of_side(match[1], x) == value_of_side(match[5], x)
        assert 2 <= int(match[2]) <= 12 and 25 <= abs(x) <= 60 and 50 <= int(match[4]) <= 199
        signs[x > 0, match[3]] += 1
    assert len(signs) == 4 and min(signs.values()) > 200


@pytest.mark.sweep("linear-hard")
def test_linear_hard_by_substitution() -> None:
    for one in draws("linear-hard", 1000):
        match = re.fullmatch(r"Solve ((\d+)x [+-] \d+) = ((\d+)x [+-] \d+)\.", one.prompt)
        assert match is not None
        x = int(one.target)
        assert value_of_side(match[1], x) == value_of_side(match[3], x) and match[2] != match[4] and x


@pytest.mark.parametrize(
    ("name", "piles", "limits"), [("nim-large", (1000, 9999), (3, 9)), ("nim-hard", (1000, 99_999), (10, 99))]
)
@pytest.mark.sweep
def test_larger_nim_by_the_game(name: str, piles: tuple[int, int], limits: tuple[int, int]) -> None:
    for one in draws(name, 40):
        pile, low, limit = integers(one.prompt)
        misere = "loses" in one.prompt
        assert low == 1 and piles[0] <= pile <= piles[1] and limits[0] <= limit <= limits[1]
        losing, last = set[int](), 1 if misere else 0  # the last pile from which the player to move loses
        losing.add(last)
        for stones in range(1, pile + 1):
            if stones > last and stones - limit > last:  # no move reaches it
                last = stones
                losing.add(stones)
        assert [take for take in range(1, limit + 1) if pile - take in losing] == [int(one.target)]


def survivor(n: int, start: int, k: int) -> int:
    """By removing people one after the other."""
    circle = deque(range(1, n + 1))
    circle.rotate(1 - start)
    while len(circle) > 1:
        circle.rotate(1 - k)
        circle.popleft()
    return circle[0]


@pytest.mark.parametrize(("name", "most"), [("josephus-large", 500), ("josephus-hard", 2000)])
@pytest.mark.sweep
def test_larger_josephus_by_simulation(name: str, most: int) -> None:
    for one in draws(name, 200):
        n, start = integers(one.prompt)
        assert 151 <= n <= most and 1 <= start <= n and one.target == str(survivor(n, start, 2))


# ---------------------------------------------------------------- microR1


@pytest.mark.sweep("micror1-countdown")
def test_micror1_countdown_is_combined_from_left_to_right() -> None:
    for one in draws("micror1-countdown", 500):
        match = re.fullmatch(
            r"Create an equation using only the numbers \[(\d+), (\d+), (\d+)\] that equals (\d+)\. "
            r"Use each number once with \+, -, \*, or /\. Do not include an equals sign in the answer\.",
            one.prompt,
        )
        assert match is not None
        a, b, c, target = map(int, match.groups())
        assert re.fullmatch(rf"\({a}[-+*/]{b}\)[-+*/]{c}", one.target) and value_of(one.target) == target
        assert {a, b, c} <= set(range(1, 101)) and target in range(1, 1001)


@pytest.mark.sweep("micror1-linear")
def test_micror1_linear_by_substitution() -> None:
    for one in draws("micror1-linear", 500):
        match = re.fullmatch(
            r"Solve for x in the equation: (\d+)x ([+-]) (\d+) = (-?\d+)\nAnswer with just the number "
            r"\(the value of x\)\.",
            one.prompt,
        )
        assert match is not None and -10 <= int(one.target) <= 10
        assert int(match[1]) * int(one.target) + int(match[2] + match[3]) == int(match[4])


def test_micror1_nim_has_its_gold_rule() -> None:
    prompts = {
        prompt: target
        for prompt, target, _ in map(TASKS["micror1-nim"].draw, (Stream(KEY, f"{i}/") for i in range(2000)))
    }
    assert len(prompts) == 92
    example = (
        "In Nim with 30 stones, taking between 1 and 3 per turn, what is the optimal number of stones you should take "
        "when moving first? Answer with a number."
    )  # of its README
    assert prompts[example] == "2"
    for prompt, target in prompts.items():
        pile, _, limit = integers(prompt)
        assert int(target) == min(limit, pile % (limit + 1) or limit)


def test_micror1_nim_pays_a_constant_as_it_did() -> None:
    answers = Counter(min(limit, pile % (limit + 1) or limit) for pile in range(5, 51) for limit in (2, 3))
    assert answers.most_common(1)[0] == (2, 43)  # of 92


def test_micror1_josephus_by_simulation() -> None:
    prompts = {
        prompt: target
        for prompt, target, _ in map(TASKS["micror1-josephus"].draw, (Stream(KEY, f"{i}/") for i in range(2000)))
    }
    assert len(prompts) == 96
    example = (
        "Josephus problem: In a circle of 16 people numbered 1 through 16, every 3rd person is eliminated in order "
        "until only one person remains. Which position should you stand in to be the last remaining person? "
        "Answer with a number."
    )  # of its README
    assert example in prompts
    assert any(
        "circle of 5 people" in prompt and "2nd" in prompt and target == "3" for prompt, target in prompts.items()
    )
    for prompt, target in prompts.items():
        n, _, _, k = integers(prompt)
        assert f" {k}{ {2: 'nd', 3: 'rd'}.get(k, 'th') } " in prompt and target == str(survivor(n, 1, k))


# ---------------------------------------------------------------- how many questions there are


@pytest.mark.parametrize(("name", "length"), [("micror1-nim", 2), ("micror1-josephus", 2), ("micror1-linear", 3)])
@pytest.mark.sweep
def test_distinct_is_the_number_of_questions(name: str, length: int) -> None:
    assert len(set(every_question(TASKS[name], length))) == TASKS[name].distinct


@pytest.mark.sweep("countdown-large")
def test_distinct_of_countdown_large_counts_numbers_in_any_order_once() -> None:
    """All values of (a ∘ b) ∘ c and c ∘ (a ∘ b) for each choice of three numbers from 2 to 40."""

    def joined(a: int, b: int) -> set[int]:
        return {a + b, a - b, b - a, a * b, *([a // b] if a % b == 0 else []), *([b // a] if b % a == 0 else [])}

    count = 0
    for numbers in itertools.combinations_with_replacement(range(2, 41), 3):
        reached = set[int]()
        for last in range(3):
            rest = numbers[:last] + numbers[last + 1 :]
            middles = [middle for middle in joined(*rest) if 1 <= middle <= 400]
            reached = reached.union(*(joined(middle, numbers[last]) for middle in middles))
        count += sum(100 <= value <= 250 for value in reached)
    assert count == TASKS["countdown-large"].distinct


@pytest.mark.sweep("linear-large")
def test_distinct_of_linear_large() -> None:
    """A question is its slope, its offset and what stands on the right."""
    solutions = [x for x in range(-60, 61) if abs(x) >= 25]
    offsets = [offset for offset in range(-199, 200) if abs(offset) >= 50]
    found = sum(len({(offset, slope * x + offset) for x in solutions for offset in offsets}) for slope in range(2, 13))
    assert found == TASKS["linear-large"].distinct


@pytest.mark.long
def test_distinct_of_countdown_hard_counts_numbers_in_any_order_once() -> None:
    """All expressions over all choices of four numbers from 2 to 50; 0 marks a value that will not do, and stays 0."""

    def joined(a: Any, b: Any) -> list[Any]:
        both = (a > 0) & (b > 0)
        safe_a, safe_b = np.maximum(a, 1), np.maximum(b, 1)
        quotients = [np.where(a % safe_b, 0, a // safe_b), np.where(b % safe_a, 0, b // safe_a)]
        values = [a + b, a * b, a - b, b - a, *quotients]
        return [np.where(both & (value >= 1) & (value <= 999), value, 0) for value in values]

    count = 0
    multisets = itertools.combinations_with_replacement(range(2, 51), 4)
    while chunk := list(itertools.islice(multisets, 5000)):
        numbers = list(np.array(chunk, dtype=np.int32).T)
        reached = np.zeros((len(chunk), 1000), dtype=bool)
        for i, j in itertools.combinations(range(4), 2):
            k, m = sorted({0, 1, 2, 3} - {i, j})
            pairs = joined(numbers[i], numbers[j])
            others = [(pair, other) for pair in pairs for other in joined(numbers[k], numbers[m])] if i == 0 else []
            chains = [
                (three, numbers[d]) for c, d in ((k, m), (m, k)) for pair in pairs for three in joined(pair, numbers[c])
            ]
            for left, right in others + chains:
                for value in joined(left, right):
                    reached[np.arange(len(chunk)), value] = True
        count += int(reached[:, 100:].sum())
    assert count == TASKS["countdown-hard"].distinct


def test_distinct_of_linear_hard() -> None:
    slopes = Counter(abs(left - right) for left in range(13, 100) for right in range(2, 100) if left != right)
    # For each solution one offset would leave nothing on the right, if it is one that can be drawn.
    nothing = sum(n * 2 for d, n in slopes.items() for x in range(1, 301) if 50 <= d * x <= 999)
    assert slopes.total() * 600 * 1900 - nothing == TASKS["linear-hard"].distinct


@pytest.mark.parametrize(
    ("name", "piles", "limits"),
    [("nim-large", range(1000, 10_000), range(3, 10)), ("nim-hard", range(1000, 100_000), range(10, 100))],
)
def test_distinct_of_larger_nim(name: str, piles: range, limits: range) -> None:
    stones = np.array(piles)
    count = sum(int(np.count_nonzero((stones - misere) % (limit + 1))) for limit in limits for misere in (0, 1))
    assert count == TASKS[name].distinct


def test_distinct_of_larger_josephus() -> None:
    assert sum(range(151, 501)) == TASKS["josephus-large"].distinct
    assert sum(range(151, 2001)) == TASKS["josephus-hard"].distinct


@pytest.mark.long
def test_distinct_of_micror1_countdown_counts_numbers_in_any_order_once() -> None:
    a, b, c = (axis.ravel() for axis in np.meshgrid(*[np.arange(1, 101)] * 3, indexing="ij"))

    def apply(op: str, left: Any, right: Any) -> Any:
        if op == "/":
            return np.where(left % right == 0, left // right, left * right)
        return {"+": operator.add, "-": operator.sub, "*": operator.mul}[op](left, right)

    numbers = np.sort(np.stack([a, b, c], axis=1), axis=1) @ [101**2, 101, 1]
    found = []
    for inner in "+-*/":
        middle = apply(inner, a, b)
        for outer in "+-*/":
            value = apply(outer, middle, c)
            fits = (value >= 1) & (value <= 1000)
            found.append(np.unique(numbers[fits] * 1001 + value[fits]))
    assert len(np.unique(np.concatenate(found))) == TASKS["micror1-countdown"].distinct
