"""The questions of a part, their kinds of answers, and one rule that grades what any of them asks."""

import hashlib
import json
from pathlib import Path

import pytest
from graders import needs_compiler, needs_math_verify
from needs import needs_sandbox

from harness.answers import maths
from harness.answers.grade import GraderError
from harness.benchmarks import BENCHMARKS, Question, SourceError, stream, suites
from harness.benchmarks.pinned import read
from harness.evaluation import questions
from harness.evaluation.questions import KINDS, Item, Part, kind_of
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.isolation import sandbox
from harness.tasks import GENERATED

KEY = b"a key of these tests"
FUNCTION = {
    "form": "function",
    "stub": "def add(a, b):\n    pass\n",
    "entry_point": "add",
    "test": "def check(candidate):\n    assert candidate(2, 3) == 5\n",
}
CASES = {
    "form": "stdin",
    "tests": [{"input": "2 3\n", "output": "5\n"}],
    "time_limit_seconds": 1.0,
    "memory_limit_mb": None,
}
IOI = {
    "form": "ioi",
    "problem": "twice",
    "files": {
        "grader.cpp": "#include <iostream>\nint twice(int);\n"
        "int main() { int x; std::cin >> x; std::cout << twice(x); }\n"
    },
    "tests": [{"input": "4", "output": "8"}],
    "time_limit_seconds": 2.0,
    "memory_limit_bytes": 1 << 30,
}


def item(kind, question):
    return Item("hle", question, kind_of("hle", kind))


# ---------------------------------------------------------------- a question finds its kind


@pytest.mark.parametrize(
    ("name", "target", "metadata", "right", "wrong"),
    [
        ("integer", "-3", {}, "-3", "3"),
        pytest.param("maths", "\\boxed{x=5}", {}, "5", "3x+7=22", marks=needs_math_verify),
        ("choice", "C", {"options": ["a", "b", "c"]}, "C", "B"),
        ("choice", "Z", {}, "Z", "B"),
        ("clue", "", {"solution": {"A": "Mrs. Peacock", "B": "Hall"}}, "A. Mrs. Peacock\nB. Hall",
        "A. Mrs. Peacock\nB. Study"),
        pytest.param("code", "", FUNCTION, "```python\ndef add(a, b):\n    return a + b\n```",
        "```python\nadd = max\n```", marks=needs_sandbox),
        pytest.param(
            "code", "", CASES, "```python\nprint(sum(map(int, input().split())))\n```", "```python\nprint(4)\n```",
            marks=needs_sandbox
        ),
        pytest.param(
            "code", "", IOI, "```cpp\nint twice(int x) { return 2 * x; }\n```",
            "```cpp\nint twice(int x) { return x; }\n```",
            marks=[needs_sandbox, needs_compiler],
        ),
    ],
)  # fmt: skip
def test_right_and_wrong(name, target, metadata, right, wrong):
    for answer, expected in ((right, True), (wrong, False)):
        completion = f"<think>so</think><answer>{answer}</answer>"
        given = item(name, Sample("q", "Solve $3x+7=22$.", target, metadata)).grade(completion)
        assert given.strict == given.lenient == expected


def test_a_letter_beyond_the_options_is_wrong_even_as_target():
    completion = "<think>so</think><answer>D</answer>"
    assert not item("choice", Sample("q", "", "D", {"options": ["a", "b", "c"]})).grade(completion).lenient


@pytest.mark.parametrize(
    ("name", "metadata", "why"),
    [
        ("judge", {}, "there is no grader 'judge'"),
        ("", {}, "there is no grader ''"),
        ("code", {}, "its metadata has no 'form'"),
        ("code", {"form": "unit"}, "there is no grader for programs of form 'unit'"),
        ("code", {"form": "ioi", "problem": "nile", "tests": ["01-01"]}, "nile has the names of its tests only"),
        ("code", {"form": "function", "stub": ""}, "its metadata has no 'entry_point'"),
        ("code", {"form": "stdin", "tests": [{"input": ""}]}, "its metadata has no 'output'"),
        ("clue", {}, "its metadata has no 'solution'"),
    ],
)
def test_a_question_without_a_grader_is_said(name, metadata, why):
    with pytest.raises(GraderError, match=why):
        item(name, Sample("q", "", "", metadata)).grade("")


# ---------------------------------------------------------------- parts


@pytest.mark.parametrize("name", suites.load("logic").tasks)
def test_generated_questions_follow_from_the_key_and_are_graded_by_their_task(name):
    part = questions.part(name, KEY, 5)
    assert [one.sample for one in part.items] == [sample(GENERATED[name], KEY, "heldout", i) for i in range(5)]
    for one in part.items:
        right = f"<think>so</think><answer>{one.sample.target}</answer>"
        assert one.grade(right).strict
        loose = one.grade(f"so</think> {one.sample.target}")
        assert (loose.strict, loose.lenient) == (False, True)
        for attack in one.kind.attacks(one.sample):
            assert not one.grade(f"<think>so</think><answer>{attack}</answer>").strict


@pytest.mark.parametrize("name", GENERATED)
def test_every_task_loads_as_a_dataset(name):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("pysat")
    table = questions.dataset(name, KEY, 2)
    assert isinstance(table, datasets.Dataset)
    assert table.column_names == ["id", "prompt", "target", "metadata", "grader"]
    for index, row in enumerate(table):
        one = sample(GENERATED[name], KEY, "heldout", index)
        assert (row["id"], row["prompt"], row["target"]) == (one.id, one.prompt, one.target)
        assert json.loads(row["metadata"]) == json.loads(json.dumps(one.metadata))


def test_a_set_that_nobody_pinned_has_no_part():
    with pytest.raises(SourceError, match="codeforces"):
        questions.part("codeforces", KEY, 1)


def test_no_dataset_of_an_unknown_name():
    with pytest.raises(suites.SuiteError, match="'chess' is no task and no benchmark"):
        questions.dataset("chess", KEY, 2)


def hle(monkeypatch, count=40):
    """Questions in the form of HLE's, with one to leave out behind each; the real ones are nobody's to show."""
    row = {"image": "", "answer_type": "exactMatch", "category": "x"}
    rows = []
    for number in range(count):
        rows.append({**row, "id": f"q{number}", "question": f"How many? {number}", "answer": str(number)})
        rows.append({**row, "id": f"w{number}", "question": "Why?", "answer": "because"})
    monkeypatch.setattr(questions, "stream", lambda benchmark: stream(benchmark, rows))


def test_of_a_benchmark_those_with_the_smallest_hashes_are_asked_in_its_own_order(monkeypatch):
    hle(monkeypatch)
    part = questions.part("hle", KEY, 4)
    asked = [one.sample.id for one in part.items]
    assert asked == ["hle/q7", "hle/q11", "hle/q26", "hle/q39"]  # the same in every process
    ranked = sorted((f"hle/q{i}" for i in range(40)), key=lambda id: hashlib.sha256(f"hle/{id}".encode()).digest())
    assert sorted(asked) == sorted(ranked[:4]) and asked != ranked[:4]
    assert {one.sample.id for one in questions.part("hle", b"another key", 5).items} == set(ranked[:5])


def test_a_part_counts_the_whole_benchmark_however_few_are_asked(monkeypatch):
    hle(monkeypatch)
    for most in (1, 4, 10_000):
        part = questions.part("hle", KEY, most)
        assert (len(part.items), part.total) == (min(most, 40), 40)
        assert part.left_out == {"an answer in words or symbols needs a model as its judge": 40}
    assert [one.sample.id for one in part.items] == [f"hle/q{i}" for i in range(40)]
    assert questions.part("nim", KEY, 2).total is None


def test_a_probe_tries_every_grader_of_a_part():
    letter = item("choice", Sample("hle/0", "Which?", "A", {}))
    program = item("code", Sample("hle/1", "Write.", "", {}))
    questions.probe(Part("hle", [letter]))
    for items in ([letter, program], [program, letter]):
        with pytest.raises(GraderError, match="cannot be graded: its metadata has no 'form'"):
            questions.probe(Part("hle", items))


# ---------------------------------------------------------------- attacks


@pytest.mark.parametrize("grader", KINDS)
def test_attacks_of_every_kind_score_0(grader, monkeypatch):
    monkeypatch.setattr(maths, "CPU_SECONDS", 1)  # towers of powers end at it
    monkeypatch.setattr(maths, "_pools", {})
    question = {
        "integer": Question("q", "How many?", "12", grader="integer"),
        "maths": Question("q", "What is $3/7$?", "\\boxed{\\frac{3}{7}}", grader="maths"),
        "choice": Question("q", "Which?", "C", {"options": list("wxyz")}, grader="choice"),
        "clue": Question("q", "Who?", "A. Mrs. Peacock\nB. Rope", {"solution": {"A": "Mrs. Peacock", "B": "Rope"}},
                         grader="clue"),
        "code": Question("q", "def f():\n", "", {"form": "function", "stub": "def f():\n", "entry_point": "f",
                                                 "test": "def check(f):\n    assert f() == 1\n"}, grader="code"),
    }[grader]  # fmt: skip
    if grader == "maths":
        pytest.importorskip("math_verify")
    if grader == "code" and sandbox.isolation().reasons:
        pytest.skip("no sandbox on this machine")
    kind = KINDS[grader]
    attacks = kind.attacks(question)
    assert len(attacks) >= 5
    for attack in attacks:
        assert not kind.grade(question, f"<think></think><answer>{attack}</answer>").strict, attack


EXCERPTS = {"gsm8k": "gsm8k_test.jsonl", "temporal-clue": "temporal_clue.json", "aiw-paper": "aiw.json"}


@pytest.mark.parametrize("name", EXCERPTS)
def test_attacks_on_real_questions(name):
    path = Path(__file__).parents[1] / "data" / "benchmarks" / EXCERPTS[name]
    rows = read(path, BENCHMARKS[name].source.columns)
    rows_asked = [row for row in stream(BENCHMARKS[name], rows) if isinstance(row, Question)]
    assert rows_asked
    for question in rows_asked:
        kind = KINDS[question.grader]
        for attack in kind.attacks(question):
            assert not kind.grade(question, f"<think></think><answer>{attack}</answer>").strict, attack
