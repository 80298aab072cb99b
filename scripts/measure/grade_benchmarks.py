"""Are the graders right about the real benchmarks? Every gold answer must be right, every perturbed one wrong.

    python scripts/measure/grade_benchmarks.py FOLDER

FOLDER holds gsm8k_train.jsonl, gsm8k_test.jsonl, HumanEval.jsonl.gz, temporal_clue_test.json and aiw_prompts.json.
Prints a table; exits with 1 if a grader was wrong anywhere, with 2 if it cannot begin.

    GSM8K          the gold number behind its own rationale; five other numbers. The test set by the maths grader too
    HumanEval      prompt + canonical solution in the sandbox; the same with each value it gives corrupted, which must
                   fail by an assertion of its tests; an empty body
    Temporal Clue  the gold lines; each field in turn replaced by another value of the same kind, left out, or doubled
    AIW            the gold number; five other numbers
"""

from __future__ import annotations

import gzip
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from harness.answers.clue import gold_lines
from harness.answers.grade import Grade
from harness.answers.integer import gold_of
from harness.evaluation.questions import KINDS
from harness.frozen.format import Sample
from harness.isolation import sandbox

FILES = ("gsm8k_train.jsonl", "gsm8k_test.jsonl", "HumanEval.jsonl.gz", "temporal_clue_test.json", "aiw_prompts.json")

# Whatever the function gives, something else of the same type. In a space of its own, so that a function that calls
# itself calls the right one: changed twice a value may be right.
CORRUPTED = """
_space = {{"__name__": "solution"}}
exec({source!r}, _space)

def _changed(value):
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return value + [None]
    if isinstance(value, tuple):
        return value + (None,)
    if isinstance(value, dict):
        return {{**value, "x": None}}
    return 0

def {entry_point}(*arguments, **keywords):
    return _changed(_space[{entry_point!r}](*arguments, **keywords))
"""


def grade(kind: str, answer: str, gold: str = "", thought: str = "", **metadata: Any) -> Grade:
    """Of an answer in the format to a question whose text does not matter."""
    return KINDS[kind].grade(Sample("q", "", gold, metadata), f"<think>{thought}</think><answer>{answer}</answer>")


def other_integers(gold: str) -> list[str]:
    number = int(gold)
    return [str(other) for other in (number + 1, number - 1, -number or 7, 10 * number + 3, number + 1000)]


class Row:
    """One line of the table: how many answers of a kind were graded, and how many as they should be."""

    def __init__(self, what: str) -> None:
        self.what, self.started = what, time.monotonic()
        self.graded = self.as_they_should = 0
        self.wrong: list[str] = []

    def add(self, grade: Grade, right: bool, name: str, why: str = "") -> None:
        """A right answer must be strictly right. A wrong one not even leniently, for a reason like `why`."""
        self.graded += 1
        fits = grade.strict if right else not grade.lenient and (grade.why or "").startswith(why)
        self.as_they_should += fits
        if not fits:
            self.wrong.append(f"{name}: {grade}"[:300])

    def show(self) -> bool:
        seconds = time.monotonic() - self.started
        print(f"{self.what:44s} {self.as_they_should:6d} of {self.graded:6d}   {seconds:6.1f} s", flush=True)
        for line in self.wrong[:5]:
            print(f"    {line}")
        return self.graded > 0 and not self.wrong


def integers(name: str, rows: list[tuple[str, str]]) -> Iterable[Row]:
    """`rows`: gold number, and a thought to put before it."""
    gold = Row(f"{name}, gold: right")
    for number, (answer, thought) in enumerate(rows):
        gold.add(grade("integer", answer, answer, thought), True, f"{name} {number}")
    yield gold
    other = Row(f"{name}, perturbed: wrong")
    for number, (answer, thought) in enumerate(rows):
        for wrong in other_integers(answer):
            other.add(grade("integer", wrong, answer, thought), False, f"{name} {number}")
    yield other


def gsm8k(folder: Path) -> Iterable[Row]:
    problems = [
        json.loads(line)
        for part in ("train", "test")
        for line in (folder / f"gsm8k_{part}.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    yield from integers("GSM8K", [(gold_of(problem["answer"]), problem["answer"]) for problem in problems])


def gsm8k_as_maths(folder: Path) -> Iterable[Row]:
    golds = [
        gold_of(json.loads(line)["answer"])
        for line in (folder / "gsm8k_test.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    gold = Row("GSM8K test by the maths grader, gold: right")
    for number, answer in enumerate(golds):
        gold.add(grade("maths", f"\\boxed{{{answer}}}", f"{answer}.0"), True, f"GSM8K test {number}")
    yield gold
    other = Row("the same, perturbed: wrong")
    for number, answer in enumerate(golds):
        other.add(grade("maths", f"\\boxed{{{int(answer) + 1}}}", answer), False, f"GSM8K test {number}")
    yield other


def aiw(folder: Path) -> Iterable[Row]:
    """Answers are strings ("3") or JSON numbers (3.0). Prompts without one right answer ("null") are left out."""
    answers = [row["right_answer"] for row in json.loads((folder / "aiw_prompts.json").read_text(encoding="utf-8"))]
    rows = [(str(int(float(answer))), "so") for answer in answers if answer not in (None, "null")]
    yield from integers(f"AIW, {len(rows)} of {len(answers)} prompts have an answer", rows)


def humaneval(folder: Path) -> Iterable[Row]:
    with gzip.open(folder / "HumanEval.jsonl.gz", "rt", encoding="utf-8") as file:
        rows = [json.loads(line) for line in file]
    yield from programs(rows)


def programs(rows: list[dict[str, str]]) -> Iterable[Row]:
    """Each problem's canonical solution, a corrupted and an empty one; as many at a time as there are processors."""
    kinds: list[tuple[str, bool, str, Callable[[dict[str, str]], str]]] = [
        ("HumanEval, canonical: passes", True, "", lambda row: row["prompt"] + row["canonical_solution"]),
        ("HumanEval, corrupted: fails", False, "AssertionError", corrupted),
        ("HumanEval, empty: fails", False, "", lambda row: row["prompt"] + "    pass\n"),
    ]
    for what, right, why, program in kinds:
        table = Row(what)

        def graded(row: dict[str, str], program: Callable[[dict[str, str]], str] = program) -> Grade:
            facts = {"form": "function", "stub": row["prompt"], "entry_point": row["entry_point"], "test": row["test"]}
            return grade("code", f"```python\n{program(row).strip()}\n```", **facts)

        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for row, result in zip(rows, threads.map(graded, rows), strict=True):
                table.add(result, right, row["task_id"], why)
        yield table


def corrupted(row: dict[str, str]) -> str:
    source = row["prompt"] + row["canonical_solution"]
    return CORRUPTED.format(source=source, entry_point=row["entry_point"])


def temporal_clue(folder: Path) -> Iterable[Row]:
    yield from clues(json.loads((folder / "temporal_clue_test.json").read_text(encoding="utf-8")))


def clues(puzzles: list[dict[str, Any]]) -> Iterable[Row]:
    gold, other = Row("Temporal Clue, gold: right"), Row("Temporal Clue, perturbed: wrong")
    values = sorted({value for puzzle in puzzles for value in puzzle["solution"].values()})
    for number, puzzle in enumerate(puzzles):
        solution = puzzle["solution"]
        right = grade("clue", gold_lines(solution), thought=puzzle["prompt"], solution=solution)
        gold.add(right, True, f"puzzle {number}")
        for letter, value in solution.items():
            named = [name for name in values if name != value and name in puzzle["prompt"]]
            wrong = [{**solution, letter: name} for name in named[:5]]
            wrong.append({key: field for key, field in solution.items() if key != letter})
            wrong.append({**solution, letter: f"{value} or {named[0]}"})
            for fields in wrong:
                result = grade("clue", gold_lines(fields), solution=solution)
                other.add(result, False, f"puzzle {number} {letter}")
    yield gold
    yield other


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) == 2 else None
    missing = [name for name in FILES if folder is None or not (folder / name).is_file()]
    if folder is None or missing:
        where = "usage: python scripts/measure/grade_benchmarks.py FOLDER; it" if folder is None else str(folder)
        sys.stderr.write(f"grade_benchmarks: {where} must hold {', '.join(missing)}\n")
        raise SystemExit(2)
    if reasons := sandbox.isolation().reasons:
        sys.stderr.write(f"grade_benchmarks: no sandbox on this machine for HumanEval: {'; '.join(reasons)}\n")
        raise SystemExit(2)
    started = time.monotonic()
    fine = [row.show() for part in (gsm8k, gsm8k_as_maths, aiw, temporal_clue, humaneval) for row in part(folder)]
    print(f"{sum(fine)} of {len(fine)} rows as they should be, {time.monotonic() - started:.0f} s")
    raise SystemExit(not all(fine))


if __name__ == "__main__":
    main()
