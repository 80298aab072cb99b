"""The four puzzles against independent solvers, their attacks, and the promises of task.py."""

from __future__ import annotations

import ast
import hashlib
import hmac
import itertools
import operator
import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from fractions import Fraction
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from task_helpers import PIECES, completion, every_question

from harness.frozen.draw import HELDOUT_SHARE, SPLITS, Split, Stream, Task, sample, split_of
from harness.frozen.format import Sample, Score, score
from harness.tasks import GENERATED, TASKS
from harness.tasks.attacks import TaskError, common_attacks
from harness.tasks.clue import ClueError
from harness.tasks.gym.task import GymError
from harness.tasks.nim import Nim
from harness.tasks.validate import LEAST, is_right, validate, validate_all

KEY = b"tests"
PUZZLES = ["countdown", "linear", "nim", "josephus"]
every_task = pytest.mark.parametrize("task", [TASKS[name] for name in PUZZLES], ids=PUZZLES)
INTEGER_TASKS = ["linear", "nim", "josephus"]


def draws(task: Task, n: int, split: Split = "train", key: bytes = KEY) -> list[Sample]:
    return [sample(task, key, split, index) for index in range(n)]


# ---------------------------------------------------------------- gold and attacks


@every_task
@pytest.mark.sweep
def test_gold_scores_1_and_every_attack_0(task: Task) -> None:
    for split in SPLITS:
        for one in draws(task, 300, split):
            gold = score(task, one, completion(one.target))
            assert gold.correct and gold.formatted and gold.answer == one.target
            attacks = task.attacks(one)
            assert len(attacks) > 20
            for attack in attacks:
                assert not score(task, one, completion(attack)).correct, (one, attack)


@every_task
@pytest.mark.parametrize(
    "wrap",
    [
        "{}", "<answer>{}</answer>", "<think>so<answer>{}</answer>", "<think></think>{}",
        "<think>so</think><answer>{}", "<think>so</think><answer>{}</answer><answer>{}</answer>",
        "<think>so</think><answer>{}</answer>.", " <think>so</think><answer>{}</answer>",
        "<think>so</think><think>so</think><answer>{}</answer>", "<think>a<b</think><answer>{}</answer>",
        "<think>so</think>  <answer>{}</answer>", "<think>so</think><answer><b>{}</b></answer>",
        "<THINK>so</THINK><ANSWER>{}</ANSWER>", "<think>so</think><answer>{}</answer\u200b>",
    ],
)  # fmt: skip
def test_a_right_answer_in_the_wrong_format_scores_0(task: Task, wrap: str) -> None:
    one = sample(task, KEY, "heldout", 0)
    assert score(task, one, wrap.replace("{}", one.target)) == Score(correct=False, formatted=False, answer=None)


@every_task
def test_a_newline_or_spaces_where_people_put_them(task: Task) -> None:
    one = sample(task, KEY, "heldout", 0)
    assert score(task, one, f"<think>\nso\n</think>\n<answer> {one.target} </answer>").correct


# ---------------------------------------------------------------- independent solvers


@pytest.mark.sweep("countdown")
def test_countdown_gold_by_another_evaluator() -> None:
    """Python's own parser and exact fractions, instead of our grammar."""
    ops = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}

    def value(node: ast.AST) -> Fraction:
        if isinstance(node, ast.BinOp):
            return ops[type(node.op)](value(node.left), value(node.right))
        assert isinstance(node, ast.Constant) and isinstance(node.value, int)
        return Fraction(node.value)

    shapes = Counter[str]()
    for one in draws(TASKS["countdown"], 500):
        assert value(ast.parse(one.target, mode="eval").body) == one.metadata["target"]
        asked = [int(text) for text in re.findall(r"\d+", one.prompt)]
        assert asked == [one.metadata["target"], *one.metadata["numbers"]]
        assert sorted(map(int, re.findall(r"\d+", one.target))) == sorted(asked[1:])
        shapes[re.sub(r"\d+", "n", one.target)] += 1
    assert len(shapes) > 16  # both trees, all operators: no single template is enough
    assert max(shapes.values()) < 100


@pytest.mark.sweep("linear")
def test_linear_by_substitution() -> None:
    for one in draws(TASKS["linear"], 500):
        slope, sign, offset, right = re.fullmatch(r"Solve (\d+)x ([+-]) (\d+) = (-?\d+)\.", one.prompt).groups()  # type: ignore[union-attr]
        x = int(one.target)
        assert int(slope) * x + (int(offset) if sign == "+" else -int(offset)) == int(right)


@pytest.mark.sweep("nim")
def test_nim_by_the_game_tree() -> None:
    @cache
    def wins(pile: int, limit: int, misere: bool) -> bool:
        """Can the player to move win? Without stones the other player took the last one."""
        if pile == 0:
            return misere
        return any(not wins(pile - take, limit, misere) for take in range(1, min(limit, pile) + 1))

    asked = [(limit, misere) for limit in range(3, 10) for misere in (False, True)]
    for pile in range(1000):  # bottom up, so the recursion is one deep
        for limit, misere in asked:
            wins(pile, limit, misere)
    rules = Counter[bool]()
    for one in draws(TASKS["nim"], 500):
        pile, limit = (int(text) for text in re.findall(r"\d+", one.prompt)[::2])
        misere = "loses" in one.prompt
        rules[misere] += 1
        winning = [take for take in range(1, limit + 1) if not wins(pile - take, limit, misere)]
        assert winning == [int(one.target)]
    assert min(rules.values()) > 150


@pytest.mark.sweep("josephus")
def test_josephus_by_simulation() -> None:
    for one in draws(TASKS["josephus"], 500):
        n, start = (int(text) for text in re.findall(r"\d+", one.prompt))
        circle = [*range(start, n + 1), *range(1, start)]
        while len(circle) > 1:
            circle = [*circle[2:], circle[0]]  # skip one, remove one
        assert one.target == str(circle[0])


# ---------------------------------------------------------------- how many questions there are


@pytest.mark.parametrize(("name", "integers"), [("linear", 5), ("nim", 3), ("josephus", 2)])
def test_distinct_is_the_number_of_questions(name: str, integers: int) -> None:
    assert len(set(every_question(TASKS[name], integers))) == TASKS[name].distinct


@pytest.mark.sweep("countdown")
def test_distinct_of_countdown_counts_numbers_in_any_order_once() -> None:
    """From the task's definition, with the shuffle left out."""
    found = set[tuple[tuple[int, ...], Fraction]]()
    ops = [operator.add, operator.sub, operator.mul, lambda p, q: p / q if q else Fraction(-1)]
    for a, b, c in itertools.product(range(2, 26), repeat=3):
        for inner in ops:
            middle = inner(Fraction(a), Fraction(b))
            if middle.denominator == 1 and 1 <= middle <= 150:
                for outer in ops:
                    for value in (outer(middle, Fraction(c)), outer(Fraction(c), middle)):
                        if value.denominator == 1 and 10 <= value <= 99:
                            found.add((tuple(sorted((a, b, c))), value))
    assert len(found) == TASKS["countdown"].distinct


@every_task
@pytest.mark.sweep
def test_the_questions_drawn_are_spread_over_all_of_them(task: Task) -> None:
    """No small table: 2,000 draws meet nearly as many questions as uniform draws would."""
    seen = {one.prompt for one in draws(task, 2000)}
    assert len(seen) > 1500


@pytest.mark.parametrize("name", INTEGER_TASKS)
@pytest.mark.sweep
def test_no_constant_answer_pays(name: str) -> None:
    _, hits = Counter(one.target for one in draws(TASKS[name], 4000, "heldout")).most_common(1)[0]
    assert hits / 4000 < 0.25


# ---------------------------------------------------------------- keys and splits


def normalised(one: Sample) -> str:
    """The question, whatever order its numbers stand in."""
    numbers = one.metadata.get("numbers")
    return f"{sorted(numbers)} {one.metadata['target']}" if numbers else one.prompt


@every_task
@pytest.mark.sweep
def test_training_and_heldout_questions_never_meet(task: Task) -> None:
    train = {normalised(one) for one in draws(task, 20_000, "train", b"one key")}
    heldout = {normalised(one) for one in draws(task, 20_000, "heldout", b"another")}
    assert train.isdisjoint(heldout)
    if task.name in ("nim", "josephus"):  # few enough to have met nearly all of them: the test above has teeth
        assert len(train) + len(heldout) > 0.85 * task.distinct
        assert len(heldout) / task.distinct == pytest.approx(1 / HELDOUT_SHARE, abs=0.02)


def test_the_order_of_countdown_numbers_does_not_move_a_question() -> None:
    for one in draws(TASKS["countdown"], 200):
        for x, y, z in itertools.permutations(one.metadata["numbers"]):
            prompt = f"Make {one.metadata['target']} from {x}, {y} and {z}, each used once."
            assert split_of("countdown", prompt) == "train"


@every_task
@pytest.mark.sweep
def test_about_a_quarter_of_all_questions_is_held_out(task: Task) -> None:
    sides = Counter(split_of(task.name, task.draw(Stream(KEY, f"{i}/"))[0]) for i in range(4000))
    assert sides["heldout"] / 4000 == pytest.approx(1 / HELDOUT_SHARE, abs=0.03)


@every_task
@pytest.mark.sweep
def test_keys_and_indices_give_different_questions(task: Task) -> None:
    one, other = draws(task, 300, key=b"seed 1"), draws(task, 300, key=b"seed 2")
    assert sum(a.prompt == b.prompt for a, b in zip(one, other, strict=True)) < 10
    assert len({a.prompt for a in one} & {b.prompt for b in other}) < 30  # not the same list, shifted


DIGEST = """
import hashlib, sys
from harness.frozen.draw import sample
from harness.tasks import TASKS
rows = (sample(TASKS[n], b"golden", s, i) for n in sys.argv[1:] for s in ("train", "heldout") for i in range(50))
print(hashlib.sha256("\\n".join(f"{r.id}|{r.prompt}|{r.target}" for r in rows).encode()).hexdigest())
"""
GOLDEN = "6a279e75fa852002297bb4c195aaadabbaa31f6876118c3ad979340f9e9692fe"


@pytest.mark.parametrize("seed", ["0", "1", "random"])
def test_the_same_questions_in_another_process(seed: str) -> None:
    """A change here is a new version of every track that uses the task, and cuts off the old records."""
    environment = {**os.environ, "PYTHONHASHSEED": seed}
    command = [sys.executable, "-c", DIGEST, *PUZZLES]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.strip() == GOLDEN


# ---------------------------------------------------------------- the stream of random integers


@given(st.binary(max_size=40), st.integers(-1000, 1000), st.integers(0, 65535))
def test_stream_stays_in_range_and_repeats_itself(key: bytes, low: int, width: int) -> None:
    first, second = Stream(key, "x/"), Stream(key, "x/")
    values = [first.integer(low, low + width) for _ in range(20)]
    assert values == [second.integer(low, low + width) for _ in range(20)]
    assert all(low <= value <= low + width for value in values)


def test_stream_is_uniform() -> None:
    stream = Stream(KEY, "uniform/")
    counts = Counter(stream.integer(0, 9) for _ in range(20_000))
    assert sum((counts[i] - 2000) ** 2 / 2000 for i in range(10)) < 27.9  # chi-square, 9 degrees, p = 0.001


def test_stream_is_what_its_docstring_says() -> None:
    block = hmac.digest(b"k", b"label/" + (0).to_bytes(4, "big"), hashlib.sha256)
    assert Stream(b"k", "label/").integer(0, 65535) == int.from_bytes(block[:2], "big")


# ---------------------------------------------------------------- the grader is total

pieces = st.lists(st.sampled_from(PIECES), max_size=60).map("".join)


@every_task
@given(text=st.one_of(st.text(max_size=300), pieces, pieces.map(completion), st.text(max_size=60).map(completion)))
def test_score_never_raises_and_never_hangs(task: Task, text: str) -> None:
    one = sample(task, KEY, "heldout", 1)
    start = time.process_time()
    result = score(task, one, text)
    assert time.process_time() - start < 0.05
    assert result.formatted or not result.correct
    assert (result.answer is None) == (not result.formatted)
    if result.correct and task.name in INTEGER_TASKS:
        assert result.answer == one.target


@every_task
@pytest.mark.parametrize(
    "text",
    [
        "<think>" * 20_000, "<think>" + "a" * 200_000, "<think>" + "</think>" * 20_000, completion("(" * 200),
        completion("1" * 200), completion("-" * 200), completion("9**9**9**9"), "<think></think>" + " " * 200_000,
        completion("((((((((((((((((((((1))))))))))))))))))))"), completion("1+" * 19 + "1"),
    ],
    ids=range(10),
)  # fmt: skip
def test_bombs_are_graded_at_once(task: Task, text: str) -> None:
    start = time.process_time()
    assert not score(task, sample(task, KEY, "heldout", 1), text).correct
    assert time.process_time() - start < 0.05


# ---------------------------------------------------------------- the faults of microR1, each of which paid there


def countdown(target: int, *numbers: int) -> Sample:
    return Sample("countdown/0", "", "", {"numbers": list(numbers), "target": target})


@pytest.mark.parametrize(
    ("target", "numbers", "answer"),
    [
        (1, (38, 80, 96), "38<80<96"),  # `eval` makes a comparison chain 1
        (1, (38, 80, 96), "38 or 80 or 96"),
        (0, (38, 80, 96), "38>80>96"),
        (1, (2, 3, 4), "2==2 and 3!=4"),
        (24, (2, 3, 4), "2*3*4 #"),
        (24, (2, 3, 4), "2*3*4 if 1 else 0"),
        (8, (2, 3, 4), "2**3 or 4"),
        (0, (2, 3, 4), "2//3//4"),
        (2, (2, 3, 4), "2%3%4"),
        (6, (2, 3, 4), "2|4|3"),
        (24, (2, 3, 4), "(lambda: 2*3*4)()"),
        (24, (2, 3, 4), "24"),
        (24, (2, 3, 4), "2*3*4*1"),
        (24, (2, 3, 4), "2*3*4=24"),
        (24, (2, 3, 4), "2*12"),
        (24, (2, 3, 4), "2*3*4*4/4"),
        (9, (2, 3, 4), "02+3+4"),
        (9, (2, 3, 4), "2+3+4.0"),
        (9, (2, 3, 4), "２+３+４"),
        (9, (2, 3, 4), "--2+3+4"),
        (27, (2, 3, 4), "2 3+4"),
        (9, (2, 3, 4), "2+3\n+4"),
        (9, (2, 3, 4), "2+(3+4"),
        (9, (2, 3, 4), "2+3+4)"),
        (9, (2, 3, 4), "2+3+4,"),
        (9, (2, 3, 4), "2+3+4/(0)"),
    ],
)
def test_countdown_parses_and_never_evaluates(target: int, numbers: tuple[int, int, int], answer: str) -> None:
    assert not TASKS["countdown"].accepts(countdown(target, *numbers), answer)


@pytest.mark.parametrize(
    ("target", "numbers", "answer"),
    [
        (9, (2, 3, 4), "2+3+4"), (9, (2, 3, 4), "4 + (3 + 2)"), (10, (2, 3, 4), "2*3+4"), (14, (2, 3, 4), "2*(3+4)"),
        (-5, (2, 3, 4), "2-3-4"), (3, (2, 3, 4), "2-(3-4)"), (6, (8, 4, 3), "8/4*3"), (16, (3, 8, 6), "8/(3/6)"),
        (2, (2, 5, 5), "((2))*5/5"),
    ],
)  # fmt: skip
def test_countdown_accepts_any_right_expression(target: int, numbers: tuple[int, int, int], answer: str) -> None:
    assert TASKS["countdown"].accepts(countdown(target, *numbers), answer)


@given(st.randoms(use_true_random=False))
def test_the_grammar_agrees_with_python(rng: random.Random) -> None:
    """Random expressions over three numbers: right exactly when Python's exact arithmetic says so."""
    numbers = [rng.randint(2, 25) for _ in range(3)]
    x, y, z = rng.sample(numbers, 3)
    p, q = rng.choices("+-*/", k=2)
    text = rng.choice([f"{x}{p}{y}{q}{z}", f"({x}{p}{y}){q}{z}", f"{x}{p}({y}{q}{z})", f"(({x}){p}{y}{q}{z})"])
    try:
        value = eval(re.sub(r"(\d+)", r"Fraction(\1)", text), {"Fraction": Fraction})
    except ZeroDivisionError:
        value = None
    for target in (value, 42):
        if target is not None and target == int(target):
            assert TASKS["countdown"].accepts(countdown(int(target), *numbers), text) == (value == target)


def test_look_up_tables_cannot_pass() -> None:
    """microR1's nim had 92 questions and its Josephus 96."""
    for name in PUZZLES:
        assert TASKS[name].distinct > 10_000


# ---------------------------------------------------------------- validation


@every_task
def test_validation_tries_what_it_says(task: Task) -> None:
    found = validate(task, questions=60)
    assert found.task == task.name and found.questions == 120
    assert found.gold_right == 1 and found.attacks_right == 0 and found.attacks > 20 * 120
    targets = Counter(sample(task, b"validate", split, i).target for split in SPLITS for i in range(60))
    assert found.best_constant in targets and found.floor >= max(targets.values()) / 120


def test_validation_of_a_slow_task_ends_with_fewer_questions_but_some() -> None:
    assert validate(TASKS["nim"], cpu_seconds=0).questions == 2 * LEAST


def test_validation_finds_a_grader_that_errs() -> None:
    class Lenient(Nim):
        def accepts(self, sample: Sample, answer: str) -> bool:
            return sample.target in answer

    class Strict(Nim):
        def accepts(self, sample: Sample, answer: str) -> bool:
            return super().accepts(sample, answer) and sample.target != "2"

    lenient, strict = validate(Lenient(), questions=60), validate(Strict(), questions=60)
    assert lenient.gold_right == 1 and lenient.attacks_right > 600
    assert 0.5 < strict.gold_right < 1 and strict.attacks_right == 0


BAD_GRADERS = {
    "startswith": (lambda target, answer: answer.startswith(target), "junk behind"),
    "endswith": (lambda target, answer: answer.endswith(target), "junk before"),
    "in": (lambda target, answer: target in answer, "junk behind"),
    "the other way round": (lambda target, answer: target.startswith(answer) or answer == target, "a part"),
    "case": (lambda target, answer: answer.lower() == target.lower(), "another case"),
    "first line": (lambda target, answer: answer.split("\n")[0] == target, "junk behind"),
    "last word": (lambda target, answer: answer.split()[-1:] == [target], "junk before"),
    "all words": (lambda target, answer: set(answer.split()) == {target}, "repeated"),
    "strip": (lambda target, answer: answer.strip() == target, "junk behind"),
    "strip quotes": (lambda target, answer: answer.strip("\"'`*$.[]") == target, "surrounded"),
    "strip brackets": (lambda target, answer: answer.strip("()") == target, "parentheses"),
    "compatible letters": (lambda target, answer: unicodedata.normalize("NFKC", answer) == target, "another alphabet"),
    "pattern": (lambda target, answer: re.match(target, answer) is not None, "junk behind"),
    "raises": (lambda target, answer: answer == target or [][0], "its own"),
}


@pytest.mark.parametrize(("accepts", "kind"), BAD_GRADERS.values(), ids=list(BAD_GRADERS))
def test_validation_finds_a_bad_grader_whose_own_attacks_are_weak(accepts: Any, kind: str) -> None:
    class Weak:
        name, distinct = "weak", 10_000

        def draw(self, stream: Stream) -> tuple[str, str, dict[str, Any]]:
            number = stream.integer(10, 9999)
            return f"Which room has the number {number}?", f"Room{number}", {}

        def accepts(self, sample: Sample, answer: str) -> bool:
            return bool(accepts(sample.target, answer))

        def attacks(self, sample: Sample) -> list[str]:
            return ["wrong", "0"]

    found = validate(Weak(), questions=5)
    assert found.gold_right == 1 and not found.holds and any(f"({kind})" in fault for fault in found.faults)
    right = type("Right", (Weak,), {"accepts": lambda self, sample, answer: answer == sample.target})
    assert validate(right(), questions=5).holds and validate(right(), questions=5).faults == ()
    assert validate(type("Case", (Weak,), {"tolerates": ("another case",)})(), questions=5).holds == (
        kind == "another case"
    )


def test_a_task_may_not_tolerate_everything() -> None:
    with pytest.raises(TaskError, match="nim tolerates 'junk behind'; all that a task may tolerate is 'another case'"):
        validate(type("Lax", (Nim,), {"tolerates": ("junk behind",)})(), questions=1)


@pytest.mark.parametrize("task", GENERATED.values(), ids=list(GENERATED))
def test_no_task_falls_for_an_attack_that_all_are_tried_with(task: Task) -> None:
    try:
        questions = [sample(task, KEY, "train", i) for i in range(1 if task.name in ("clue", "sudoku") else 4)]
    except (ClueError, GymError) as error:
        pytest.skip(str(error))
    for question in questions:
        attacks = list(common_attacks(task, question))
        assert len(attacks) > 30
        assert [attack for attack in attacks if is_right(task, question, attack[1])] == [], question


def test_validation_of_several_is_in_their_order() -> None:
    names = ["nim", "micror1-nim", "linear"]
    found = list(validate_all(names))
    assert [each.task for each in found] == names
    assert found[0] == validate(TASKS["nim"]) and found[1].floor > 0.4  # a table of 92 questions pays a constant
