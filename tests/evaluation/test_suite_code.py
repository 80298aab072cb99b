"""Programs, from the data sets' own files to their grades: the real loader over HTTP, the command, the sandbox.

The rows are made up, with every column of the true sets. Only the model is a stand-in, which answers what it is asked.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from graders import failure, needs_compiler
from hub_standin import Hub, Repository, parquet, reached
from needs import needs_sandbox
from typer.testing import CliRunner

from harness.answers import code, exam
from harness.benchmarks import BENCHMARKS, LeftOut, Source, SourceError, suites
from harness.benchmarks.ioi import TESTS
from harness.benchmarks.pinned import content
from harness.benchmarks.rows import Row, read
from harness.cli.app import app
from harness.evaluation import model, questions, reported, samples, suite_run
from harness.evaluation.questions import Item
from harness.tracks.track import ROOT, load

HUMANEVAL = Path(__file__).parents[1] / "data" / "benchmarks" / "humaneval.jsonl.gz"
REVISION = "0123456789abcdef0123456789abcdef01234567"

# ---------------------------------------------------------------- rows of the true form

HEADER = "long long total(int n);\n"
GRADER = """#include "total.h"
#include <iostream>
#include <string>
int main() {
    std::string secret;
    int n;
    std::cin >> secret >> n;
    std::cout << secret << "\\nOK\\n" << total(n) << "\\n";
}
"""


def ioi(subtask: str, score: int, names: list[str], **changes: Any) -> Row:
    row = {
        "year": 2024, "name": "Total", "id": "total", "day": "day1", "subtask": subtask, "statement": "Add.",
        "score": score, "time_limit": 2.0, "memory_limit": 1 << 31, "score_precision": 2, "task_type": "Batch",
        "test_names": names, "starting_code": "long long total(int n) {}", "problem": f"Add 1 to n ({subtask}).",
        "grader_files": [["graders/grader.cpp", GRADER], ["graders/total.h", HEADER]],
    }  # fmt: skip
    return {**row, **changes}


def ioi_test(name: str, n: int, problem: str = "total", year: int = 2024) -> Row:
    return {
        "year": year, "day": "day1", "problem_name": problem.title(), "problem_id": problem, "test_name": name,
        "test_input": f"5ec2e7\n{n}\n", "test_output": f"5ec2e7\nOK\n{n * (n + 1) // 2}\n",
    }  # fmt: skip


IOI = [
    ioi("00-samples", 0, ["0-01"]),
    ioi("01-small", 30, ["0-01", "1-01"]),
    ioi("02-full", 70, ["1-01", "2-01", "0-01"]),
    ioi("01-one", 100, ["1-01"], id="talk", task_type="Communication"),
]
IOI_TESTS = [
    ioi_test("0-01", 3), ioi_test("1-01", 7, "talk"), ioi_test("1-01", 1_000), ioi_test("2-01", 1_000_000),
    ioi_test("2-01", 5, year=2023), ioi_test("3-01", 9),
]  # fmt: skip


def codeforces(identity: str, **changes: Any) -> Row:
    contest, index = identity.split("/")
    row = {
        "id": identity, "aliases": None, "contest_id": contest, "contest_name": "Round", "contest_type": "CF",
        "contest_start": 1_500_000_000, "contest_start_year": 2017, "index": index, "time_limit": 1.0,
        "memory_limit": 256.0, "title": "Sum", "description": "Add them.", "input_format": "A line of integers.",
        "output_format": "Their sum.", "interaction_format": None, "note": "Mind the sign.",
        "examples": [{"input": "1 2", "output": "3"}], "editorial": None, "rating": 800, "tags": ["math"],
        "testset_size": 2, "official_tests": [{"input": "1 2", "output": "3"}, {"input": "-4 3 2", "output": "1"}],
        "official_tests_complete": True, "input_mode": "stdio", "generated_checker": None, "executable": True,
        "generated_tests": 0,
    }  # fmt: skip
    return {**row, **changes}


CODEFORCES = [codeforces("1/A"), codeforces("1/B", generated_checker="print(1)"), codeforces("1/C")]
ROWS = {"humaneval": list(read(HUMANEVAL, BENCHMARKS["humaneval"].source.columns))[:2]}
ROWS |= {"codeforces": CODEFORCES, "ioi": IOI, "ioi-tests": IOI_TESTS}

# ---------------------------------------------------------------- a Hub that has them, a model that answers


def pinned(source: Source, hub: Hub) -> Source:
    """The source as a person would pin it who found our rows on the Hub, spread over its files."""
    rows = ROWS[source.name]
    each = -(-len(rows) // len(source.files))
    files = {path: parquet(rows[i * each : (i + 1) * each]) for i, path in enumerate(source.files)}
    hub.repositories[source.repo] = Repository({REVISION: files})
    digests: dict[str, str | None] = {path: hashlib.sha256(data).hexdigest() for path, data in files.items()}
    digest = content(rows, source.columns)[1]
    return replace(source, revision=REVISION, files=digests, rows=len(rows), sha256=digest)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    reported.questions.cache_clear()
    with reached(monkeypatch, tmp_path) as standin:
        for name in ("humaneval", "codeforces", "ioi"):
            of = BENCHMARKS[name]
            annex = of.annex and replace(of.annex, source=pinned(of.annex.source, standin))
            monkeypatch.setitem(BENCHMARKS, name, replace(of, source=pinned(of.source, standin), annex=annex))
        yield standin
    reported.questions.cache_clear()


SUM = "print(sum(map(int, input().split())))"
TOTAL = '#include "total.h"\nlong long total(int n) { return 1LL * n * (n + 1) / 2; }'
OVERFLOW = '#include "total.h"\nlong long total(int n) { unsigned m = n; return m * (m + 1) / 2; }'
PROGRAMS = {
    **{f"humaneval/{i}": row["prompt"] + row["canonical_solution"] for i, row in enumerate(ROWS["humaneval"])},
    "codeforces/1/A": SUM,
    "codeforces/1/C": "print(3)",  # the example's answer and no other
    "ioi/2024/total/01-small": OVERFLOW,
    "ioi/2024/total/02-full": OVERFLOW,
}


class Programmer(model.Model):
    """Knows these programs by heart, and writes them down in whatever block it is asked for."""

    def __init__(self, folder: str, *, bare: bool, max_new_tokens: int, seed: int = 0) -> None:
        self.tokenizer = SimpleNamespace(chat_template=None)
        self.bare, self.end_ids = bare, {0}

    def answer(self, items: Sequence[Item], samples: int, *_: Any) -> list[list[list[int]]]:
        return [[[*map(ord, written(item, self.prompt(item))), 0]] for item in items]

    def text(self, ids: list[int]) -> str:
        return "".join(map(chr, ids[:-1]))


def written(item: Item, prompt: str) -> str:
    (fence,) = re.findall(r"one (```[a-z]+) block", prompt)
    return f"<think>so</think><answer>{fence}\n{PROGRAMS[item.sample.id].rstrip()}\n```</answer>"


def evaluate(folder: Path, *arguments: str) -> tuple[int, str]:
    command = [
        "eval",
        "--model",
        str(ROOT / "harness" / "models" / "logic-base"),
        "--out",
        str(folder),
        "--json",
        *arguments,
    ]
    done = CliRunner().invoke(app, command)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.stdout


# ---------------------------------------------------------------- from the Hub to the grade


@pytest.mark.all
@needs_sandbox
@needs_compiler
def test_eval_of_the_suite_loads_asks_and_grades(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(suite_run, "Model", Programmer)
    status, out = evaluate(tmp_path, "--suite", "code")
    told = json.loads(out)
    assert status == 0 and told["left_out"] == {}
    parts = {row["part"]: row for row in told["parts"]}
    assert {name: (row["questions"], row["strict"], row["lenient"]) for name, row in parts.items()} == {
        "humaneval": (2, 1.0, 1.0), "codeforces": (2, 0.5, 0.5), "ioi": (2, 0.5, 0.5),
    }  # fmt: skip
    assert parts["codeforces"]["left_out"] == {"many right outputs: needs a checker program": 1}
    assert parts["ioi"]["left_out"] == {"the examples, which give no points": 1, "task of type Communication": 1}
    again = samples.regrade(tmp_path / "samples.parquet")  # samples bring their tests with them
    assert (again.differ, again.withheld) == (0, {})
    assert again.table.dropna(subset="why").set_index("id")["why"].to_dict() == {
        "codeforces/1/C": "case 1: wrong output", "ioi/2024/total/02-full": "case 1: wrong output",
    }  # fmt: skip


@needs_sandbox
@needs_compiler
def test_a_track_that_reports_the_suite_is_ready_and_counts(hub: Hub) -> None:
    track = load("cpu-logic")
    track = track.model_copy(update={"heldout": track.heldout.model_copy(update={"report": ["code"]})})
    assert [line.partition(";")[0] for line in reported.ready(track)] == [
        f"reported beside the gates: {name}, 2 questions" for name in ("humaneval", "codeforces", "ioi")
    ]
    part = reported.questions("ioi")
    answers = [written(item, item.question) for item in part.items]
    found = reported.tally(part, [[*map(ord, answer)] for answer in answers], lambda ids: "".join(map(chr, ids)))
    assert (found.questions, found.formatted, found.correct) == (2, 2, 1)


def test_a_question_brings_its_own_tests_in_its_own_order(hub: Hub) -> None:
    full = questions.part("ioi", b"", 9).items[1].sample
    rows = [IOI_TESTS[2], IOI_TESTS[3], IOI_TESTS[0]]
    wanted = [{"input": row["test_input"], "output": row["test_output"]} for row in rows]
    assert full.id == "ioi/2024/total/02-full" and full.metadata["tests"] == wanted


def test_each_question_says_which_language_is_run(hub: Hub) -> None:
    for name, fence in (("humaneval", "```python"), ("codeforces", "```python"), ("ioi", "```cpp")):
        for item in questions.part(name, b"", 9).items:
            assert f" one {fence} block " in item.kind.ask(item.sample) and f" one {fence} block " in item.question


# ---------------------------------------------------------------- what cannot be asked


def test_the_tests_must_be_pinned_like_the_problems(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert suites.cannot_be_asked("ioi") is None
    of = BENCHMARKS["ioi"]
    assert of.annex is not None
    monkeypatch.setitem(BENCHMARKS, "ioi", replace(of, annex=replace(of.annex, source=TESTS)))
    why = suites.cannot_be_asked("ioi")
    assert why == "its revision of ioi-tests, row count of ioi-tests, content hash of ioi-tests was never pinned"
    with pytest.raises(SourceError, match="ioi-tests is not pinned"):
        questions.part("ioi", b"", 1)


def test_edited_tests_are_refused(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    of = BENCHMARKS["ioi"]
    assert of.annex is not None
    for change, said in (({"sha256": "0" * 64}, "ioi-tests .* other content"), ({"rows": 7}, "ioi-tests .* 6 rows")):
        source = replace(of.annex.source, **change)
        monkeypatch.setitem(BENCHMARKS, "ioi", replace(of, annex=replace(of.annex, source=source)))
        with pytest.raises(SourceError, match=said):
            questions.part("ioi", b"", 1)


def lacking_a_test(monkeypatch: pytest.MonkeyPatch) -> str:
    of = BENCHMARKS["ioi"]
    assert of.annex is not None
    join = of.annex.join

    def cut(questions: Any, rows: Any) -> list[Any]:
        return join(questions, (row for row in rows if row["test_name"] != "0-01"))

    monkeypatch.setitem(BENCHMARKS, "ioi", replace(of, annex=replace(of.annex, join=cut)))
    return "a test is not in open-r1/ioi-test-cases"


def too_large(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr(code, "LONGEST_PAPER", 100)
    return "its tests are larger than 0 MiB"


@pytest.mark.parametrize("damage", [lacking_a_test, too_large])
def test_questions_that_cannot_be_graded_are_counted_before_any_is_asked(
    damage: Callable[[pytest.MonkeyPatch], str], hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    reason = damage(monkeypatch)
    part = questions.part("ioi", b"", 1)  # it looks for another until there is none
    assert part.items == [] and part.left_out[reason] == 2
    monkeypatch.setattr(suite_run, "Model", None)
    with pytest.raises(suites.SuiteError, match=r"^ioi has no question that can be graded; left out: .*: 2"):
        evaluate(tmp_path, "--suite", "ioi")


def test_those_behind_a_question_that_cannot_be_graded_are_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    of = BENCHMARKS["ioi"]
    assert of.annex is not None
    join = of.annex.join

    def all_but_the_first(questions: Any, rows: Any) -> list[Any]:
        return [LeftOut("corrupted") if "01-small" in each.id else each for each in join(questions, rows)]

    monkeypatch.setitem(BENCHMARKS, "ioi", replace(of, annex=replace(of.annex, join=all_but_the_first)))
    assert [item.sample.id for item in questions.part("ioi", b"", 1).items] == ["ioi/2024/total/02-full"]


@needs_sandbox
def test_a_problem_as_large_as_can_be_is_graded_whatever_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = code.Cases((("1 2", "3"),))
    monkeypatch.setattr(code, "LONGEST_PAPER", code.paper_bytes(problem))
    assert failure(f"{SUM}  # {'long' * 1000}", problem) is None


def test_a_machine_without_a_compiler_is_told_before_any_is_asked(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(exam, "COMPILER", ["/nowhere/g++"])
    monkeypatch.setattr(suite_run, "Model", None)
    with pytest.raises(model.EvaluationError, match=r"programs in C\+\+ need /nowhere/g\+\+"):
        evaluate(tmp_path, "--suite", "ioi")


def test_who_needs_the_words_only_is_spared_the_tests(hub: Hub) -> None:
    from harness.benchmarks.overlap import texts

    assert [identity for identity, _ in texts("ioi")] == ["ioi/2024/total/01-small", "ioi/2024/total/02-full"]
    assert not any(TESTS.repo in request for request in hub.requests)
