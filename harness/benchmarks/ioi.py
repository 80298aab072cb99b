"""International Olympiad in Informatics, 2024: its Batch subtasks whose output is compared exactly (open-r1/ioi).

A solution is a C++ file that is compiled with the olympiad's grader files and run once a test. Left out and counted:
tasks with a manager process (Communication, TwoSteps) or a checker program, and those that ask for outputs only. The
test cases are a data set of their own, half a gigabyte a year: TESTS, which is read for those questions that are asked.

metadata: form "ioi"; year; problem, its short name; files, {name: content} to compile with; tests, a list of {input,
output} (their names, before TESTS is joined); starting_code; points; limits as published (seconds, bytes). No reference
program is in this data set, so there is no target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.benchmarks.outputs import SEVERAL, allowed
from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Annex, Benchmark, LeftOut, Question

Key = tuple[int, str, str]  # of a test: year, problem, name
Case = dict[str, str]  # input, output

_EVIDENCE = (
    "file and column names from the Hub's pages and public importers; the newest commits are known only in short "
    "(open-r1/ioi d266744, open-r1/ioi-test-cases ef6a01c), rows and bytes not at all"
)

SOURCE = Source(
    name="ioi",
    repo="open-r1/ioi",
    revision=None,
    files={"data/test-00000-of-00001.parquet": None},
    columns=(
        "year", "id", "name", "subtask", "statement", "problem", "score", "time_limit", "memory_limit", "task_type",
        "test_names", "starting_code", "grader_files",
    ),
    rows=None,
    sha256=None,
    config="default",
    split="test",
    licence="CC-BY-4.0",
    evidence=_EVIDENCE,
)  # fmt: skip

TESTS = Source(
    name="ioi-tests",
    repo="open-r1/ioi-test-cases",
    revision=None,
    files={"2024/train-00000-of-00002.parquet": None, "2024/train-00001-of-00002.parquet": None},
    columns=("year", "problem_id", "test_name", "test_input", "test_output"),
    rows=None,
    sha256=None,
    config="2024",
    split="train",
    licence="CC-BY-4.0",
    evidence=_EVIDENCE,
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    # Pairs [name, content] in some exports and {name, content} in others.
    pairs = ((file["name"], file["content"]) if isinstance(file, dict) else file for file in row["grader_files"])
    files = {name.removeprefix("./"): text for name, text in pairs}
    if row["task_type"] != "Batch":
        return LeftOut(f"task of type {row['task_type']}")
    if any("checker" in name for name in files):
        return LeftOut(SEVERAL)
    if not row["score"]:
        return LeftOut("the examples, which give no points")
    if not row["test_names"]:
        return LeftOut("no tests")
    if grading := allowed(row["problem"]):  # the olympiad's grader files print one output, which is compared exactly
        return LeftOut(grading if isinstance(grading, str) else "outputs in any case, or within an error")
    metadata = {
        "form": "ioi",
        "year": row["year"],
        "problem": row["id"],
        "files": files,
        "tests": list(row["test_names"]),
        "starting_code": row["starting_code"],
        "points": row["score"],
        "time_limit_seconds": row["time_limit"],
        "memory_limit_bytes": row["memory_limit"],
    }
    return Question(f"ioi/{row['year']}/{row['id']}/{row['subtask']}", row["problem"], "", metadata, grader="code")


def _join(questions: Sequence[Question], rows: Iterable[Row]) -> list[Question | LeftOut]:
    """Each question with its tests in place of their names. Subtasks share tests, and so their text in memory."""
    needed = {key for question in questions for key in _keys(question)}
    cases = dict[Key, Case]()
    for row in rows:
        key = row["year"], row["problem_id"], row["test_name"]
        if key in needed:
            cases[key] = {"input": row["test_input"], "output": row["test_output"]}
    return [_with_tests(question, cases) for question in questions]


def _keys(question: Question) -> list[Key]:
    metadata = question.metadata
    return [(metadata["year"], metadata["problem"], name) for name in metadata["tests"]]


def _with_tests(question: Question, cases: dict[Key, Case]) -> Question | LeftOut:
    keys = _keys(question)
    if not cases.keys() >= set(keys):  # the rest would be an easier question
        return LeftOut(f"a test is not in {TESTS.repo}")
    return replace(question, metadata={**question.metadata, "tests": [cases[key] for key in keys]})


BENCHMARK = Benchmark(SOURCE, _convert, annex=Annex(TESTS, _join))
