"""What leaves a sweep out of the default tier, and that nothing hides a change."""

import os
import shutil

import forked
import pytest
import validated

from harness.tasks import GENERATED
from harness.tracks.digest import task_sources
from harness.tracks.files import ROOT

HERE = ROOT / "tests" / "tasks" / "test_tasks.py"


@pytest.fixture(autouse=True)
def nothing_remembered():
    """The files are read again in each test."""
    for function in (validated.imports, validated.helpers, validated.everything_in_tests, validated.packages_of):
        function.cache_clear()


def edited(monkeypatch, path):
    """From here on the file reads as if somebody had edited it."""
    real = type(path).read_bytes
    monkeypatch.setattr(type(path), "read_bytes", lambda other: real(other) + b"#" * (other == path))


@pytest.mark.parametrize(
    "path",
    [
        "harness/tasks/nim_hard.py",
        "harness/tasks/nim.py",
        "harness/frozen/draw.py",
        "tests/tasks/test_tasks.py",
        "tests/task_helpers.py",
    ],
)
def test_a_changed_task_parent_test_or_helper_is_another_digest(monkeypatch, path):
    before = validated.digest(HERE, ["nim-hard"])
    edited(monkeypatch, ROOT / path)
    assert validated.digest(HERE, ["nim-hard"]) != before


def test_another_task_changes_nothing(monkeypatch):
    before = validated.digest(HERE, ["nim"])
    edited(monkeypatch, ROOT / "harness" / "tasks" / "countdown.py")
    assert validated.digest(HERE, ["nim"]) == before != validated.digest(HERE, ["countdown"])


@pytest.mark.parametrize(
    ("task", "package"), [("clue", "python-sat"), ("gym-dice", "reasoning_gym"), ("gym-dice", "sympy")]
)
def test_another_version_of_a_package_is_another_digest(monkeypatch, task, package):
    before, real = validated.digest(HERE, [task]), validated.version
    monkeypatch.setattr(validated, "version", lambda name: "0" if name == package else real(name))
    validated.packages_of.cache_clear()
    assert validated.digest(HERE, [task]) != before


def test_every_package_is_found_where_a_task_imports_it():
    for task in GENERATED:
        for source in task_sources(task):
            versions = validated.packages_of(validated.imports(ROOT / "harness" / source))
            assert not [package for package in versions if package.endswith(" missing")], source


def test_entries_come_back_as_they_were_written(tmp_path):
    entries = {"tests/a.py::test_b[c-d]": "0123", "tests/a.py::test_a": "4567"}
    validated.save(entries, tmp_path / "validated.toml")
    assert validated.load(tmp_path / "validated.toml") == entries
    assert validated.load(tmp_path / "none") == {}


SUITE = """
import pytest

@pytest.mark.sweep("nim")
def test_sweep(): assert {result}

@pytest.mark.all
def test_of_all(): pass

@pytest.mark.long
def test_long(): pass

def test_default(): pass
"""


@pytest.fixture
def tests_of(tmp_path):
    """Run a suite of four tests under a copy of the real conftest; returns which of them ran."""
    for name in ("conftest.py", "validated.py"):
        shutil.copyfile(ROOT / "tests" / name, tmp_path / name)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers =\n sweep\n all\n long\n slow\n", encoding="utf-8")

    def run(*arguments, result="True"):
        (tmp_path / "test_suite.py").write_text(SUITE.format(result=result), encoding="utf-8")
        line = ["-m", "pytest", "-v", "-p", "no:cacheprovider", *arguments]
        done = forked.python(*line, cwd=tmp_path, environment={**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"})
        return {name for name in ("sweep", "of_all", "long", "default") if f"::test_{name} " in done.stdout}

    return run


@pytest.mark.all
def test_what_each_tier_runs(tests_of, tmp_path):
    assert tests_of() == {"sweep", "default"}  # never made, so it is made
    assert tests_of("--all") == {"sweep", "of_all", "default"}
    assert tests_of() == {"default"}
    assert tests_of("test_suite.py::test_long", "test_suite.py::test_sweep") == {"long", "sweep"}
    assert tests_of(result="1 == 1") == {"sweep", "default"}  # the test has changed
    file = tmp_path / "validated.toml"
    (entry,) = validated.load(file)
    validated.save({entry: "0" * 16}, file)
    assert tests_of() == {"sweep", "default"}  # an invented entry
    assert tests_of("--all", result="False") == {"sweep", "of_all", "default"}
    assert validated.load(file) == {}
