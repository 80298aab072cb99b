"""Throw generated texts at every grader: none may raise, hang, or call two answers right.

    python scripts/fuzz_graders.py [SHARE]

At SHARE 1 (the default) 120,000 inputs: texts of pieces that graders stumble over, wrapped in the answer format or not,
beside gold answers of which half are broken too. Prints how many, how long the slowest took, and exits with 1 at the
first input that breaks a promise, which hypothesis has made small.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from harness import sandbox
from harness.graders import choice, clue, code, exam, integer, maths
from harness.graders.grade import Grade, answer_of, final_part

PIECES = [
    *"0123456789+-*/^=<>.,:;!?%$&|()[]{}\\ \n\t'\"ABCDIJabcxyz", "<think>", "</think>", "<answer>", "</answer>",
    "```python\n", "```",
    "#### ", "answer", "Answer: ", " is ", " or ", "\\boxed{", "\\frac{", "\\sqrt{", "\\text{", "\\left(", "\\right)",
    "\\pi ", "\\infty",
    "\\in ", "\\cup ", "\\le ", "\\sum_{n=1}^{9}", "\\begin{pmatrix}", "\\end{pmatrix}", "\\\\", "9" * 40, "1,234",
    ".00", "1e999",
    "nan", "inf", "٣", "５", "²", "½", "−", "\u200b", "\x00", "\ud800", "é", "A. ", "B. ", "Hall", "11:30 PM", "x=",
    "^{9^{9}}",
]  # fmt: skip
texts = st.lists(st.sampled_from(PIECES), max_size=25).map("".join) | st.text(max_size=100)
whole = texts | texts.map("<think></think><answer>{}</answer>".format) | texts.map("<think>so</think>{}".format)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10) | st.sampled_from(list(exam._BUILD)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*exam._BUILD, "x"]), inner, max_size=3)
    ),
    max_leaves=15,
)
slowest: dict[str, float] = {}


def timed(name: str, limit: float, function: Callable[[], Grade]) -> Grade:
    start = time.monotonic()
    found = function()
    took = time.monotonic() - start
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
    found = timed("maths", 4 * maths.WALL_SECONDS, lambda: maths.grade(text, gold))
    assert not found.strict or not maths.grade(text, "12345").strict


def programs(text: str, gold: str) -> None:
    problem = code.Problem("def f(a):\n    pass\n", "f", "def check(candidate):\n    assert candidate(3) == 7.25\n")
    found = timed("code", 2 * code.LIMITS.seconds + 5, lambda: code.grade(text, problem))
    assert not found.lenient


def messages(message: Any) -> None:
    try:
        value = exam.decode(message)
    except Exception:
        return
    assert type(value).__module__ == "builtins"
    assert repr(exam.decode(json.loads(json.dumps(exam.encode(value))))) == repr(value)


GOLD = {
    integers: st.integers().map(str) | texts,
    letters: st.sampled_from("ABCDEFGHIJ") | texts,
    clues: st.sampled_from(["Hall", "Miss Scarlet"]) | texts,
    formats: st.just(""),
    expressions: st.sampled_from(["5", "\\frac{1}{2}", "(1,2)", "x=5", "x^2+1", "[0,1)", "\\text{even}", "x>2"])
    | texts,
    programs: st.just(""),
}
INPUTS = {integers: 35_000, letters: 25_000, clues: 20_000, formats: 20_000, expressions: 3_000, programs: 300}
MESSAGES = 20_000


def run(name: str, count: int, test: Callable[..., None], *parts: st.SearchStrategy[Any]) -> int:
    """At least `count` generated inputs."""
    done = 0

    def one(arguments: tuple[Any, ...]) -> None:
        nonlocal done
        done += 1
        test(*arguments)

    quiet = settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck)
    )  # fmt: skip
    start = time.monotonic()
    quiet(given(st.tuples(*parts))(one))()
    print(
        f"{name:12s} {done:7d} inputs   {time.monotonic() - start:6.1f} s   slowest {slowest.get(name, 0):.3f} s",
        flush=True,
    )
    return done


def main() -> None:
    share = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    maths.CPU_SECONDS = 1  # a tower of powers is met often
    total = 0
    for test, count in INPUTS.items():
        if test is programs and sandbox.isolation().level != "full":
            print("code         none: no sandbox on this machine")
            continue
        name = {
            integers: "integer",
            letters: "choice",
            clues: "clue",
            formats: "format",
            expressions: "maths",
            programs: "code",
        }[test]
        total += run(name, max(1, round(share * count)), test, whole, GOLD[test])
    total += run("wire", max(1, round(share * MESSAGES)), messages, values)
    print(f"{total} inputs in all")


if __name__ == "__main__":
    main()
