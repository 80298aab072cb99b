"""Texts that graders get wrong, for each kind of answer of the fixed benchmarks, the answer format and the wire.

There is no second opinion on these: a grader must not raise or hang, what is strictly right must be leniently right,
and no completion may be right for two answers.
"""

from __future__ import annotations

import functools
import json
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from fuzzing.tally import Tally, slow_again
from harness.answers import code, exam, maths
from harness.answers.clue import gold_lines
from harness.answers.grade import Grade, answer_of, final_part
from harness.answers.latex import Latex
from harness.answers.pool import PoolError
from harness.evaluation.questions import KINDS
from harness.frozen.format import Sample
from harness.isolation.sandbox import SandboxError

PIECES = [
    *"0123456789+-*/^=<>.,:;!?%$&|()[]{}\\ \n\t'\"ABCDIJabcxyz", "<think>", "</think>", "<answer>", "</answer>",
    "```python\n", "```", "#### ", "answer", "Answer: ", " is ", " or ", "\\boxed{", "\\frac{", "\\sqrt{", "\\text{",
    "\\left(", "\\right)", "\\pi ", "\\infty", "\\in ", "\\cup ", "\\le ", "\\sum_{n=1}^{9}", "\\begin{pmatrix}",
    "\\end{pmatrix}", "\\\\", "9" * 40, "1,234", ".00", "1e999", "nan", "inf", "٣", "５", "²", "½", "−", "\u200b",
    "\x00", "\ud800", "é", "A. ", "B. ", "Hall", "11:30 PM", "x=", "^{9^{9}}",
    "\\pm ", "\\text{ and }", "\\text{ cm}^2", "\\fbox{", "\\boxed{A}", "\\boxed{5}", "\\overline", "\\sqrt[3]",
    "\\frac12", " 1/2", "°", ", ", "3, 125", "(x,y)=", "\\mathrm{i}", "+\\infty", "\\lvert ",
]  # fmt: skip
MATHS_GOLDS = [
    "5", "\\frac{1}{2}", "(1,2)", "x=5", "x^2+1", "[0,1)", "\\text{even}", "x>2", "2\\sqrt{3}", "3, 125",
    "5\\text{ cm}^2", "1 \\pm \\sqrt{2}", "x=1 \\text{ or } x=2",
]  # fmt: skip
LETTERS = "ABCDEFGHIJ"
CLUE = {"A": "Hall", "B": "Hall", "C": "11:30 PM"}
PROGRAM = {
    "form": "function",
    "stub": "def f(a):\n    pass\n",
    "entry_point": "f",
    "test": "def check(candidate):\n    assert candidate(3) == 7.25\n",
}


class Broken(Exception):
    """A grader has broken a promise; the message says which."""


def keep(promise: bool, message: str) -> None:
    if not promise:
        raise Broken(message)


# ---------------------------------------------------------------- what a grader promises. Each returns its grade.


def check_integer(text: str, gold: str) -> Grade:
    kind = KINDS["integer"]
    grade = kind.grade(Sample("q", "", gold), text)
    if grade.lenient:
        keep(gold == str(int(gold)), "right for a gold answer that is no canonical integer")
        keep(not kind.grade(Sample("q", "", str(int(gold) + 1)), text).lenient, "right for two integers")
    return grade


def check_choice(text: str, gold: str) -> Grade:
    grades = {
        letter: KINDS["choice"].grade(Sample("q", "", letter, {"options": list(LETTERS)}), text)
        for letter in {*LETTERS, gold}
    }
    keep(not grades[gold].lenient or gold in tuple(LETTERS), "right for what is no letter")
    keep(sum(grades[letter].lenient for letter in LETTERS) <= 1, "right for two letters")
    return grades[gold]


def check_clue(text: str, gold: str) -> Grade:
    solution = {**CLUE, "A": gold}
    grade = KINDS["clue"].grade(Sample("q", "", "", {"solution": solution}), text)
    other = Sample("q", "", "", {"solution": {**solution, "C": "11:45 PM"}})
    keep(not grade.lenient or not KINDS["clue"].grade(other, text).lenient, "right for two solutions")
    return grade


def check_format(text: str, gold: str) -> None:
    answer = answer_of(text)
    keep(answer is None or (answer in text and len(answer) <= 200), "an answer that is not in the text, or too long")
    keep(final_part(text) in text, "a final part that is not in the text")


def check_maths(text: str, gold: str) -> Grade:
    grade = KINDS["maths"].grade(Sample("q", "", gold), text)
    other = Sample("q", "", "12345")
    for_reward = Latex().grade(Sample("q", "", gold), text)
    keep(not for_reward.strict or not Latex().grade(other, text).strict, "a reward for two expressions")
    keep(not grade.strict or not KINDS["maths"].grade(other, text).strict, "right for two expressions")
    return grade


def check_code(text: str, gold: str) -> Grade:
    grade = KINDS["code"].grade(Sample("q", "", "", PROGRAM), text)
    keep(not grade.lenient, "noise passes the tests")
    return grade


def check_wire(message: Any, gold: str) -> None:
    """What a program sends to the examiner: a plain value, or an exception that the examiner expects."""
    try:
        value = exam.decode(message)
    except Exception:
        return
    keep(type(value).__module__ == "builtins", "a value of no plain type")
    again = exam.decode(json.loads(json.dumps(exam.encode(value))))
    keep(sorted(repr(again)) == sorted(repr(value)), "another value than was sent")  # the order of a set says nothing


# ---------------------------------------------------------------- what they are given


def noise(rng: random.Random) -> str:
    if rng.random() < 0.3:  # any characters of all
        return "".join(chr(rng.randrange(0x110000)) for _ in range(rng.randrange(40)))
    return "".join(rng.choices(PIECES, k=rng.randrange(26)))


def integer_gold(rng: random.Random) -> str:
    return str(rng.randint(-(10 ** rng.randrange(1, 20)), 10 ** rng.randrange(1, 20)))


def completion(rng: random.Random, gold: str) -> str:
    """Noise, the gold answer, or it somewhere in the noise; in the answer format or not."""
    inside, outside = rng.choice([(noise(rng), ""), (noise(rng), gold), (gold, "")])
    text = rng.choice(["{}", "<think></think><answer>{}</answer>", "<think>so</think>{}"]).replace("{}", inside)
    at = rng.randrange(61)
    return text[:at] + outside + text[at:]


def clue_lines(rng: random.Random, gold: str) -> str:
    return completion(rng, gold_lines({**CLUE, "A": gold}))


def message(rng: random.Random, depth: int = 0) -> Any:
    """JSON near what a program may send."""
    names = [*exam.DECODERS, "x"]
    leaves = [None, True, rng.randint(-9, 9), rng.random(), float("nan"), noise(rng)[:10], rng.choice(names)]
    if depth > 3 or rng.random() < 0.4:
        return rng.choice(leaves)
    if rng.random() < 0.5:
        return [message(rng, depth + 1) for _ in range(rng.randrange(5))]
    return {rng.choice(names): message(rng, depth + 1) for _ in range(rng.choice([1, 1, 1, 2, 0]))}


@dataclass(frozen=True)
class Subject:
    """`share`: of `count` inputs. `gold`: a gold answer, beside which half of the inputs have noise."""

    check: Callable[[Any, str], Grade | None]
    share: float
    gold: Callable[[random.Random], str] = lambda rng: "5"
    text: Callable[[random.Random, str], Any] = completion
    seconds: float = 1.0  # for one grade


SUBJECTS = {
    "integer": Subject(check_integer, 0.35, integer_gold),
    "choice": Subject(check_choice, 0.25, lambda rng: rng.choice(LETTERS)),
    "clue": Subject(check_clue, 0.2, lambda rng: rng.choice(["Hall", "Miss Scarlet"]), clue_lines),
    "format": Subject(check_format, 0.2),
    "maths": Subject(check_maths, 0.03, lambda rng: rng.choice(MATHS_GOLDS), seconds=4 * maths.WALL_SECONDS),
    "code": Subject(check_code, 0.003, lambda rng: "f(3)", seconds=2 * code.SECONDS + 5),
    "wire": Subject(check_wire, 0.2, text=lambda rng, gold: message(rng)),
}


def inputs_of(name: str, count: int) -> int:
    return max(1, round(count * SUBJECTS[name].share))


def answer_cases(count: int, seed: int, tally: Tally, names: list[str] | None = None) -> Generator[None, None, None]:
    """Of each subject its share of `count` inputs. Raises SandboxError or PoolError where a machine has no grader."""
    maths.CPU_SECONDS = 1  # a tower of powers is met often
    for name in SUBJECTS if names is None else names:
        subject = SUBJECTS[name]
        for number in range(inputs_of(name, count)):
            rng = random.Random(f"{name}/{seed}/{number}")
            gold = noise(rng) if rng.random() < 0.5 and name in KINDS and name != "code" else subject.gold(rng)
            text = subject.text(rng, gold)
            problem, start = None, time.perf_counter()
            try:
                grade = subject.check(text, gold)
                outcome = "accepted" if grade is None else "correct" if grade.strict else "refused"
                if grade is not None and grade.strict and not grade.lenient:
                    problem = "strictly right and leniently wrong"
            except (PoolError, SandboxError):
                raise
            except Exception as error:
                problem, outcome = f"{type(error).__name__}: {error}", "crashed"
            seconds = time.perf_counter() - start
            seconds = slow_again(seconds, subject.seconds, functools.partial(subject.check, text, gold))
            if seconds > subject.seconds:
                problem = f"took {seconds:.1f} s, three times"
            tally.note(name, outcome, seconds)
            if problem is not None:
                tally.findings.append(f"{name} case {number}: {problem}: {text!r:.300} for {gold!r:.100}")
            yield
