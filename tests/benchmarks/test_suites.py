"""Suites: every part exists, and a name says what it is."""

import pytest

from harness.benchmarks import BENCHMARKS, suites
from harness.tasks import GENERATED


def test_every_suite_names_parts_that_exist_and_all_has_each_once():
    found = suites.suites()
    assert {"logic", "logic-large", "logic-hard", "deduction", "maths", "code", "knowledge", "all"} <= found.keys()
    everything = found["all"].parts
    assert len(everything) == len(set(everything)) == len({part for suite in found.values() for part in suite.parts})
    assert {part for part in everything if part in GENERATED} | {
        part for part in everything if part in BENCHMARKS
    } == set(everything)
    assert not GENERATED.keys() & BENCHMARKS.keys()  # a part's name says what it is


def test_a_part_is_a_suite_and_a_wrong_name_says_what_there_is():
    assert suites.load("nim").parts == ["nim"] and suites.load("gsm8k").parts == ["gsm8k"]
    with pytest.raises(suites.SuiteError, match="no suite 'logics'; did you mean logic"):
        suites.load("logics")
    with pytest.raises(suites.SuiteError, match="no suite 'poetry'; suites: logic, "):
        suites.load("poetry")


def test_a_suite_with_a_part_that_does_not_exist_is_refused(tmp_path, monkeypatch):
    (tmp_path / "s.toml").write_text('[one]\ntitle = "x"\ntasks = ["nimm"]\n', encoding="utf-8")
    monkeypatch.setattr(suites, "FILE", tmp_path / "s.toml")
    with pytest.raises(suites.SuiteError, match="one has 'nimm', which does not exist; there are countdown"):
        suites.suites.__wrapped__()


def test_a_suite_goes_without_the_sets_that_nobody_pinned():
    assert "row count" in (suites.cannot_be_asked("codeforces") or "")
    assert [name for name in suites.load("code").parts if suites.cannot_be_asked(name) is None] == ["humaneval"]
    assert suites.cannot_be_asked("nim") is None
