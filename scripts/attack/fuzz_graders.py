"""Throw generated texts at every grader: none may raise, hang, or call two answers right.

    python scripts/attack/fuzz_graders.py [--share 0.1] [--only maths]

At share 1 (the default) 123,300 inputs: texts of pieces that graders stumble over, wrapped in the answer format or not,
with the gold answer put somewhere into half of them, beside gold answers of which half are broken too. Prints how many,
how long the slowest took, and exits with 1 at the first input that breaks a promise, which hypothesis has made small.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness.answers import choice, clue, code, exam, integer, maths
from harness.answers.grade import Grade, answer_of, final_part
from harness.isolation import sandbox

PIECES = [
    *"0123456789+-*/^=<>.,:;!?%$&|()[]{}\\ \n\t'\"ABCDIJabcxyz", "<think>", "</think>", "<answer>", "</answer>",
    "```python\n", "```", "#### ", "answer", "Answer: ", " is ", " or ", "\\boxed{", "\\frac{", "\\sqrt{", "\\text{",
    "\\left(", "\\right)", "\\pi ", "\\infty", "\\in ", "\\cup ", "\\le ", "\\sum_{n=1}^{9}", "\\begin{pmatrix}",
    "\\end{pmatrix}", "\\\\", "9" * 40, "1,234", ".00", "1e999", "nan", "inf", "٣", "５", "²", "½", "−", "\u200b",
    "\x00",
    "\ud800", "é", "A. ", "B. ", "Hall", "11:30 PM", "x=", "^{9^{9}}",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=100)
wholes = texts | texts.map("<think></think><answer>{}</answer>".format) | texts.map("<think>so</think>{}".format)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(list(exam._BUILD)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*exam._BUILD, "x"]), inner, max_size=3)
    ),
    max_leaves=15,
)
slowest: dict[str, float] = {}


def timed(
    name: str, limit: float, function: Callable[[], Grade], clock: Callable[[], float] = time.process_time
) -> Grade:
    """Grade, in time: of this processor, or, where another process grades, by the clock on the wall."""
    start = clock()
    found = function()
    took = clock() - start
    slowest[name] = max(slowest.get(name, 0.0), took)
    assert took < limit, f"{took:.1f} s"
    assert found.lenient or not found.strict
    return found


def integers(text: str, gold: str) -> None:
    found = timed("integer", 1, lambda: integer.grade(text, gold))
    if found.lenient:
        assert gold == str(int(gold))
        assert not integer.grade(text, str(int(gold) + 1)).lenient


def letters(text: str, gold: str) -> None:
    found = timed("choice", 1, lambda: choice.grade(text, gold, 10))
    assert not found.lenient or gold in tuple("ABCDEFGHIJ")
    assert sum(choice.grade(text, letter, 10).lenient for letter in "ABCDEFGHIJ") <= 1


def clues(text: str, gold: str) -> None:
    solution = {"A": gold, "B": "Hall", "C": "11:30 PM"}
    found = timed("clue", 1, lambda: clue.grade(text, solution))
    assert not found.lenient or not clue.grade(text, {**solution, "C": "11:45 PM"}).lenient


def formats(text: str, _: str) -> None:
    answer = answer_of(text)
    assert answer is None or (answer in text and len(answer) <= 200)
    assert final_part(text) in text


def expressions(text: str, gold: str) -> None:
    found = timed("maths", 4 * maths.WALL_SECONDS, lambda: maths.grade(text, gold), time.monotonic)
    assert not found.strict or not maths.grade(text, "12345").strict


def programs(text: str, _: str) -> None:
    problem = code.Problem("def f(a):\n    pass\n", "f", "def check(candidate):\n    assert candidate(3) == 7.25\n")
    found = timed("code", 2 * code.LIMITS.seconds + 5, lambda: code.grade(text, problem), time.monotonic)
    assert not found.lenient


def messages(message: Any) -> None:
    """What a program sends to the examiner: a plain value, or an exception that the examiner expects."""
    try:
        value = exam.decode(message)
    except Exception:
        return
    assert type(value).__module__ == "builtins"
    again = exam.decode(json.loads(json.dumps(exam.encode(value))))
    assert sorted(repr(again)) == sorted(repr(value))  # the order of a set says nothing


def pairs(golds: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[str, str]]:
    """(completion, gold answer), half of the completions with the gold answer somewhere in them."""

    def insert(text: str, gold: str, where: int) -> tuple[str, str]:
        return text[:where] + gold + text[where:], gold

    return st.tuples(wholes, golds) | st.builds(insert, wholes, golds, st.integers(0, 60))


@dataclass(frozen=True)
class Door:
    """One grader: what it must keep to, what it is given, and how often at share 1."""

    promise: Callable[..., None]
    inputs: st.SearchStrategy[tuple[Any, ...]]
    count: int


MATHS_GOLDS = ["5", "\\frac{1}{2}", "(1,2)", "x=5", "x^2+1", "[0,1)", "\\text{even}", "x>2", "2\\sqrt{3}"]
DOORS = {
    "integer": Door(integers, pairs(st.integers().map(str) | texts), 35_000),
    "choice": Door(letters, pairs(st.sampled_from("ABCDEFGHIJ") | texts), 25_000),
    "clue": Door(clues, pairs(st.sampled_from(["Hall", "Miss Scarlet"]) | texts), 20_000),
    "format": Door(formats, pairs(st.just("5")), 20_000),
    "maths": Door(expressions, pairs(st.sampled_from(MATHS_GOLDS) | texts), 3_000),
    "code": Door(programs, pairs(st.just("f(3)")), 300),
    "wire": Door(messages, st.tuples(values), 20_000),
}


def run(name: str, door: Door, count: int) -> int:
    """At least `count` generated inputs. Returns how many."""
    done = 0

    def one(arguments: tuple[Any, ...]) -> None:
        nonlocal done
        done += 1
        door.promise(*arguments)

    how = settings(
        max_examples=count,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    start = time.monotonic()
    how(given(door.inputs)(one))()
    seconds, slow = time.monotonic() - start, slowest.get(name, 0)
    print(f"{name:12s} {done:7d} inputs   {seconds:6.1f} s   slowest {slow:.3f} s", flush=True)
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--only", choices=DOORS)
    args = parser.parse_args()
    maths.CPU_SECONDS = 1  # a tower of powers is met often
    if (reasons := sandbox.isolation().reasons) and args.only in (None, "code"):
        sys.stderr.write(f"fuzz_graders: no sandbox on this machine for code: {'; '.join(reasons)}\n")
        raise SystemExit(2)
    names = list(DOORS) if args.only is None else [args.only]
    total = sum(run(name, DOORS[name], max(1, round(args.share * DOORS[name].count))) for name in names)
    print(f"{total} inputs in all, and every promise kept")


if __name__ == "__main__":
    main()
