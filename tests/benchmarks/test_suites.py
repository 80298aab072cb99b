"""Suites: every part exists, questions are as their makers give them, and one rule grades what any of them asks."""

import hashlib
import json

import pytest

from harness.answers.grade import GraderError
from harness.benchmarks import BENCHMARKS, SourceError, stream, suites
from harness.tasks import TASKS, Sample, sample

KEY = b"a key of these tests"


def test_every_suite_names_parts_that_exist_and_all_has_each_once():
    found = suites.suites()
    assert {"logic", "logic-hard", "deduction", "maths", "code", "knowledge", "all"} <= found.keys()
    everything = found["all"].parts
    assert len(everything) == len(set(everything)) == len({part for suite in found.values() for part in suite.parts})
    assert {part for part in everything if part in TASKS} | {part for part in everything if part in BENCHMARKS} == set(
        everything
    )
    assert not TASKS.keys() & BENCHMARKS.keys()  # a part's name says what it is


def test_a_part_is_a_suite_and_a_wrong_name_says_what_there_is():
    assert suites.load("nim").parts == ["nim"] and suites.load("gsm8k").parts == ["gsm8k"]
    with pytest.raises(suites.SuiteError, match="no suite 'logics'; suites: logic, "):
        suites.load("logics")


def test_a_suite_with_a_part_that_does_not_exist_is_refused(tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text('[one]\ntitle = "x"\ntasks = ["nimm"]\n')
    monkeypatch.setattr(suites, "FILE", tmp_path / "s.toml")
    with pytest.raises(suites.SuiteError, match="one has 'nimm', which does not exist; there are countdown"):
        suites.suites.__wrapped__()


def test_a_suite_goes_without_the_sets_that_nobody_pinned():
    assert "row count" in (suites.cannot_be_asked("codeforces") or "")
    assert [name for name in suites.load("code").parts if suites.cannot_be_asked(name) is None] == ["humaneval"]
    assert suites.cannot_be_asked("nim") is None
    with pytest.raises(SourceError, match="codeforces"):
        suites.part("codeforces", KEY, 1)


@pytest.mark.parametrize("name", suites.load("logic").tasks)
def test_generated_questions_follow_from_the_key_and_are_graded_by_their_task(name):
    part = suites.part(name, KEY, 5)
    assert [item.sample for item in part.items] == [sample(TASKS[name], KEY, "heldout", i) for i in range(5)]
    for item in part.items:
        right = f"<think>so</think><answer>{item.sample.target}</answer>"
        assert suites.grade(item, right).strict
        loose = suites.grade(item, f"so</think> {item.sample.target}")
        assert (loose.strict, loose.lenient) == (False, True)
        for attack in TASKS[name].attacks(item.sample):
            assert not suites.grade(item, f"<think>so</think><answer>{attack}</answer>").strict


@pytest.mark.parametrize("name", TASKS)
def test_every_task_loads_as_a_dataset(name):
    datasets = pytest.importorskip("datasets")
    pytest.importorskip("pysat")
    table = suites.dataset(name, KEY, 2)
    assert isinstance(table, datasets.Dataset)
    assert table.column_names == ["id", "prompt", "target", "metadata", "grader"]
    for index, row in enumerate(table):
        one = sample(TASKS[name], KEY, "heldout", index)
        assert (row["id"], row["prompt"], row["target"]) == (one.id, one.prompt, one.target)
        assert json.loads(row["metadata"]) == json.loads(json.dumps(one.metadata))


def test_no_dataset_of_an_unknown_name():
    with pytest.raises(suites.SuiteError, match="'chess' is no task and no benchmark"):
        suites.dataset("chess", KEY, 2)


def hle(monkeypatch, count=40):
    """Questions in the form of HLE's, with one to leave out behind each; the real ones are nobody's to show."""
    row = {"image": "", "answer_type": "exactMatch", "category": "x"}
    rows = []
    for number in range(count):
        rows.append({**row, "id": f"q{number}", "question": f"How many? {number}", "answer": str(number)})
        rows.append({**row, "id": f"w{number}", "question": "Why?", "answer": "because"})
    monkeypatch.setattr(suites, "stream", lambda benchmark: stream(benchmark, rows))


def test_of_a_benchmark_those_with_the_smallest_hashes_are_asked_in_its_own_order(monkeypatch):
    hle(monkeypatch)
    part = suites.part("hle", KEY, 4)
    asked = [item.sample.id for item in part.items]
    assert asked == ["hle/q7", "hle/q11", "hle/q26", "hle/q39"]  # the same in every process
    ranked = sorted((f"hle/q{i}" for i in range(40)), key=lambda id: hashlib.sha256(f"hle/{id}".encode()).digest())
    assert sorted(asked) == sorted(ranked[:4]) and asked != ranked[:4]
    assert {item.sample.id for item in suites.part("hle", b"another key", 5).items} == set(ranked[:5])


def test_a_part_counts_the_whole_benchmark_however_few_are_asked(monkeypatch):
    hle(monkeypatch)
    for most in (1, 4, 10_000):
        part = suites.part("hle", KEY, most)
        assert (len(part.items), part.total) == (min(most, 40), 40)
        assert part.left_out == {"an answer in words or symbols needs a model as its judge": 40}
    assert [item.sample.id for item in part.items] == [f"hle/q{i}" for i in range(40)]
    assert suites.part("nim", KEY, 2).total is None


def test_a_probe_tries_every_grader_of_a_part():
    letter = suites.Item("hle", Sample("hle/0", "Which?", "A", {}), "choice")
    program = suites.Item("hle", Sample("hle/1", "Write.", "", {}), "code")
    suites.probe(suites.Part("hle", [letter]))
    for items in ([letter, program], [program, letter]):
        with pytest.raises(GraderError, match="cannot be graded: its metadata has no 'form'"):
            suites.probe(suites.Part("hle", items))
