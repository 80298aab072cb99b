"""`nano-r1 tasks`: what is listed, shown, validated, and shared by two sets."""

import json

import pytest
from nano import nano, refused

from harness.benchmarks import BENCHMARKS
from harness.tasks import GENERATED
from harness.tracks.track import load


@pytest.mark.all
def test_validate_speaks_json():
    for name in ("countdown", "linear", "nim", "josephus"):
        (row,) = json.loads(nano("tasks", "validate", name, "--json").stdout)
        assert row["task"] == name and row["questions"] == 2000
        assert row["gold_right"] == 1 and row["attacks_right"] == 0 and row["attacks"] > 10_000 and row["floor"] < 0.25


def test_tasks_show_prints_question_answer_and_attacks():
    done = nano("tasks", "show", "countdown")
    assert done.returncode == 0 and "Make" in done.stdout and "each used once" in done.stdout
    assert "with --attacks: " in done.stdout and "answers that score 0" not in done.stdout
    assert "answers that score 0" in nano("tasks", "show", "countdown", "--attacks").stdout
    rendered = json.loads(nano("tasks", "show", "countdown", "--track", "cpu-logic", "--json").stdout)["countdown"]
    plain = json.loads(nano("tasks", "show", "countdown", "--json").stdout)["countdown"]
    template = load("cpu-logic").base.template
    assert [row["prompt"] for row in rendered] == [template.format(prompt=row["prompt"]) for row in plain]
    assert all(len(row["attacks"]) > 20 for row in plain)
    refused(nano("tasks", "show", "countdown", "--track", "chess"), "no track 'chess'")
    refused(nano("tasks", "show", "chess"), "no task or fixed set 'chess'", "nano-r1 tasks list")
    refused(nano("tasks", "show", "nim", "--questions", 10**9), "--questions", "1000")
    refused(nano("tasks", "validate", "chess"), "no task 'chess'")
    refused(nano("tasks", "validate"), "--all")
    refused(nano("tasks", "validate", "nim", "--all"), "--all")


def test_tasks_list_names_every_task_set_and_suite():
    found = json.loads(nano("tasks", "list", "--json").stdout)
    assert [row["task"] for row in found["tasks"]] == list(GENERATED)
    assert all(row["distinct"] > 0 for row in found["tasks"])
    assert {row["benchmark"] for row in found["benchmarks"]} == BENCHMARKS.keys()
    assert found["suites"]["logic"] == ["countdown", "linear", "nim", "josephus"]
    shown = nano("tasks", "list").stdout
    assert all(name in shown for name in (*GENERATED, *BENCHMARKS, "frontiermath", *found["suites"]))


def test_tasks_overlap_finds_the_same_questions_and_only_those():
    both = json.loads(nano("tasks", "overlap", "nim/train", "nim/train", "--questions", 50, "--json").stdout)["overlap"]
    assert both["same"] == both["benchmark"] == 50 and both["grams"] == []
    done = nano("tasks", "overlap", "nim/train", "nim/heldout", "--questions", 50)
    assert done.returncode == 0 and "same question: 0 of nim/heldout" in done.stdout
    refused(nano("tasks", "overlap", "nim/train", "nim"), "no set of questions 'nim'", "nim/train")
