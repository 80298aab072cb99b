"""Completions for graders: near the grammar of an answer for the four puzzles; for the fixed benchmarks see answers.py.

The puzzles have a second opinion, which uses no regular expression and never looks at the gold answer: Python's own
parser and exact fractions, the equation, the game played out, the circle counted out.
"""

from __future__ import annotations

import ast
import functools
import operator
import random
import time
from collections import deque
from collections.abc import Callable, Generator
from fractions import Fraction

from tokenizers import Tokenizer

from fuzzing.answers import SUBJECTS, answer_cases, inputs_of
from fuzzing.tally import Tally, slow_again
from harness.frozen.draw import sample
from harness.frozen.format import Sample, score
from harness.tasks import TASKS
from harness.tracks.track import load

PUZZLES = ("countdown", "linear", "nim", "josephus")  # for the others: tests/tasks/test_generated_tasks.py
SCORE_SECONDS = 0.05

# ---------------------------------------------------------------- what is near the grammar

DIGITS = [character for character in map(chr, range(0x110000)) if character.isdigit()]  # of all scripts
TAGS = ["<think>", "</think>", "<answer>", "</answer>"]
PIECES = [
    *TAGS, "<THINK>", "<think", "</answer", "<", ">", "<|end|>", "<answer/>", "＜think＞", " ", "\n", "\t", "\x00",
    "\u200b", "\u202e", "\xa0", "\ud800", "\u0301", "(", ")", "+", "-", "*", "/", "**", "//", "%", "^", "=", "==", ".",
    ",", "_", "e", "0", "1", "7", "12", "99", "007", "1e400", "1_000", "0x1f", "1.5", "nan", "inf", "True", "None", "−",
    "×", "÷", "∞", "½",
]  # fmt: skip


def expression(rng: random.Random, numbers: list[int]) -> str:
    a, b, c = rng.sample(numbers, 3)
    first, second = rng.choices("+-*/", k=2)
    return rng.choice(
        [f"{a}{first}{b}{second}{c}", f"({a}{first}{b}){second}{c}", f"{a}{first}({b}{second}{c})",
         f"{a} {first} ( {b} {second} {c} )", f"(({a}){first}(({b}){second}{c}))", f"({a}{first}{b}{second}{c})"]
    )  # fmt: skip


def answer_of(rng: random.Random, item: Sample) -> str:
    """Something to put between the answer tags: right, nearly right, or an attack."""
    task, gold = item.id.partition("/")[0], item.target
    way = rng.randrange(10)
    if way <= 1:
        return gold
    if way == 2:
        return rng.choice(TASKS[task].attacks(item))
    if way == 3:
        at = rng.randrange(len(gold))
        return gold[:at] + rng.choice([*PIECES[4:], rng.choice(DIGITS)]) + gold[at + rng.randrange(2) :]
    if way == 4:  # its digits in another script, or in any
        return "".join(rng.choice(DIGITS) if c.isdigit() and rng.random() < 0.5 else c for c in gold)
    if way == 5:
        depth = rng.choice([1, 2, 5, 30, 90, 400])
        return "(" * depth + gold + ")" * rng.choice([depth, depth - 1])
    if way == 6:
        huge = [f"{gold}e{rng.choice([0, 1, 400, 10**9])}", "9" * rng.choice([9, 10, 11, 200, 5000]), "9**9**9**9"]
        return rng.choice(
            [*huge, f"{gold}**1", f"{gold}/1", f"{gold}+0", f"-{gold}", f"--{gold}", f"{gold}.0", f"0{gold}"]
        )
    if way == 7:
        return " " * rng.randrange(4) + gold + rng.choice(["", " ", "\n", "\u3000", " " * 150, " " * 250])
    if task == "countdown":
        return expression(rng, item.metadata["numbers"])
    return str(rng.randint(-30, 200))


def completion_of(rng: random.Random, item: Sample, longest: int) -> tuple[str, str]:
    """(kind, text). `longest`: characters of the longest completion that a model can give."""
    gap = rng.choice(["", "", " ", "\n", "\t", "\x0b", "  ", "\xa0", "\u2028", "\x1c"])
    thought = rng.choice(["", "so", "1+2=3;3*4=12", "\n\n", "größe ٣", "\x00", "x" * rng.randrange(400)])
    text = f"<think>{thought}</think>{gap}<answer>{answer_of(rng, item)}</answer>"
    way = rng.random()
    if way < 0.6:
        return "an answer in its tags", text
    if way < 0.8:
        for _ in range(rng.choice([1, 1, 2, 5])):
            at = rng.randrange(len(text) + 1)
            text = text[:at] + rng.choice(["", *PIECES, rng.choice(DIGITS)]) + text[at + rng.choice([0, 0, 1, 7, 8]) :]
        return "spliced", text
    if way < 0.97:
        return "pieces", "".join(rng.choices([*PIECES, item.target, rng.choice(DIGITS)], k=rng.randrange(60)))
    size = rng.choice([longest, 100 * longest])
    piece = (
        rng.choice([*PIECES, *TASKS[item.id.partition("/")[0]].attacks(item), item.target, "<think></think>", "()"])
        or "x"
    )
    bulk = (piece * (size // len(piece) + 1))[:size]
    before, after = rng.choice(
        [("", ""), ("<think>", f"</think><answer>{item.target}</answer>"), ("<think></think><answer>", "</answer>"),
         (f"<think></think><answer>{item.target}", "</answer>"), (text, "")]
    )  # fmt: skip
    return "long" if size == longest else "a hundred times too long", before + bulk + after


# ---------------------------------------------------------------- the second opinion


def opinion(item: Sample, text: str) -> tuple[bool, bool]:
    """(correct, formatted), by other means than the harness's: no regular expression, no look at the gold answer."""
    answer = _between_the_tags(text)
    if answer is None:
        return False, False
    task, facts = item.id.partition("/")[0], item.metadata
    if task == "countdown":
        return _makes(answer, facts["numbers"], facts["target"]), True
    digits = answer.removeprefix("-")
    if not (answer.isascii() and digits.isdigit() and len(digits) < 10 and str(int(answer)) == answer):
        return False, True
    if task == "linear":
        return facts["slope"] * int(answer) + facts["offset"] == facts["right"], True
    if task == "nim":
        return _leaves_a_lost_pile(facts["pile"], int(answer), facts["limit"], facts["misere"]), True
    return int(answer) == _survivor(facts["n"], facts["start"]), True


def _between_the_tags(text: str) -> str | None:
    if not (text.startswith("<think>") and text.endswith("</answer>") and text.count("<") == text.count(">") == 4):
        return None
    _, _, rest = text[len("<think>") : -len("</answer>")].partition("</think>")
    gap, tag, answer = rest.partition("<answer>")
    return answer.strip(" ") if tag and gap in ("", *" \t\n\r\f\v") and len(answer) <= 200 else None


def _makes(answer: str, numbers: list[int], target: int) -> bool:
    if len(answer) > 40 or not set(answer) <= set("0123456789+-*/() "):
        return False
    used = []
    ways: dict[type, Callable[[Fraction, Fraction], Fraction]] = {
        ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv
    }  # fmt: skip

    def value(node: ast.expr) -> Fraction:
        if isinstance(node, ast.BinOp) and type(node.op) in ways:
            return ways[type(node.op)](value(node.left), value(node.right))
        if isinstance(node, ast.Constant) and type(node.value) is int:
            used.append(node.value)
            return Fraction(node.value)
        raise ValueError("not of this grammar")

    try:
        result = value(ast.parse(answer, mode="eval").body)
    except (SyntaxError, ValueError, ZeroDivisionError):
        return False
    return result == target and sorted(used) == sorted(numbers)


@functools.cache
def _lost_piles(limit: int, misere: bool) -> list[bool]:
    """lost[pile]: whoever is to move loses, both playing well. Without stones, the last taker has just moved."""
    lost = [not misere]
    for pile in range(1, 1000):
        lost.append(not any(lost[pile - take] for take in range(1, min(limit, pile) + 1)))
    return lost


def _leaves_a_lost_pile(pile: int, take: int, limit: int, misere: bool) -> bool:
    return 1 <= take <= limit and _lost_piles(limit, misere)[pile - take]


@functools.cache
def _survivor(people: int, start: int) -> int:
    circle = deque(range(1, people + 1))
    circle.rotate(1 - start)
    while len(circle) > 1:
        circle.rotate(-1)  # skip one
        circle.popleft()  # remove one
    return circle[0]


def puzzle_cases(count: int, seed: int, tally: Tally) -> Generator[None, None, None]:
    """`count` completions of each puzzle."""
    track = load("cpu-logic")
    vocabulary = Tokenizer.from_file(str(track.base_folder / "tokenizer.json")).get_vocab()
    longest = max(map(len, vocabulary)) * track.sampling.max_new_tokens
    for name in PUZZLES:
        task = TASKS[name]
        items = [sample(task, b"fuzz", split, i) for split in ("train", "heldout") for i in range(250)]
        for number in range(count):
            rng = random.Random(f"{name}/{seed}/{number}")
            item = rng.choice(items)
            kind, text = completion_of(rng, item, longest)
            problem = None
            begun = time.perf_counter()
            try:
                result = score(task, item, text)
            except Exception as error:
                problem, outcome = f"{type(error).__name__}: {error}", "crashed"
                seconds = time.perf_counter() - begun
            else:
                seconds = time.perf_counter() - begun
                outcome = "correct" if result.correct else "formatted" if result.formatted else "refused"
                if (result.correct, result.formatted) != opinion(item, text):
                    problem = f"graded {outcome}, should be (correct, formatted) = {opinion(item, text)}"
                seconds = slow_again(seconds, SCORE_SECONDS, functools.partial(score, task, item, text))
                if seconds > SCORE_SECONDS:
                    problem = f"took {1000 * seconds:.0f} ms, three times"
            tally.note(f"{name}: {kind}", outcome, seconds)
            if problem is not None:
                tally.findings.append(f"{name} case {number} ({kind}): {problem}: {text!r:.300}")
            yield


def grader_cases(count: int, seed: int, tally: Tally) -> Generator[None, None, None]:
    """`total(count)` inputs: every puzzle, and every kind of answer."""
    yield from puzzle_cases(count, seed, tally)
    yield from answer_cases(count, seed, tally)


def total(count: int) -> int:
    return count * len(PUZZLES) + sum(inputs_of(name, count) for name in SUBJECTS)
