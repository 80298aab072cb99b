"""The order of a session's runs, their keys, and what becomes of the others when one fails."""

import dataclasses

from hypothesis import given
from hypothesis import strategies as st
from sessions import schedule_of

from harness.frozen.keys import control_round, derive, seed_of
from harness.tracks.track import load
from harness.verify.journal import RunResult
from harness.verify.schedule import Participant, Schedule

RESULT = RunResult(wall_ms=1, run=None, completions=[], curve=[], log=b"", failure=None)


@given(st.integers(1, 4), st.integers(1, 6), st.binary(min_size=32, max_size=32), st.booleans())
def test_every_run_is_made_once_and_control_runs_stand_where_the_root_says(count, runs, root, control):
    participants = [Participant(number, f"s{number}", str(number) * 64, number > 0) for number in range(count)]
    rounds = Schedule(load("cpu-logic"), participants, runs, root, control).rounds()
    assert len(rounds) == runs + control
    turns = [(item.number, run) for turns in rounds for item, run in turns]
    assert sorted(turns) == [
        (item.number, run) for item in participants for run in range(runs + (control and item.for_record))
    ]
    for item in participants:
        own = [next((run for other, run in turns if other is item), None) for turns in rounds]
        expected = list(range(runs))
        if control:
            rest = control_round(root, item.tree_sha256, runs + 1)
            assert rest > 0
            expected.insert(rest, runs if item.for_record else None)
        assert own == expected
    whole = [number for number, turns in enumerate(rounds) if len(turns) == count]
    assert [rounds[number][0][0].number for number in whole] == [number % count for number in whole]


def test_a_run_has_its_own_keys_and_nothing_that_leads_to_another(tmp_path):
    schedule, _ = schedule_of(tmp_path)
    second = schedule.participants[1]
    root, tree = b"r" * 32, second.tree_sha256
    schedule = dataclasses.replace(schedule, root=root)
    spec = schedule.spec(second, 2)
    assert (spec.seed, spec.train) == (seed_of(root, tree, 2), derive(root, "train", tree, 2))
    assert spec.heldout == derive(root, "heldout", tree, 2) and spec.control is None
    assert schedule.spec(second, 3).control == derive(root, "control", tree, 3)
    keys = [value for field in dataclasses.fields(spec) if isinstance(value := getattr(spec, field.name), bytes)]
    assert root not in keys and len(keys) == 2


def test_a_run_that_failed_ends_its_submission_and_a_reference_that_failed_ends_all(tmp_path):
    schedule, _ = schedule_of(tmp_path)
    first, second = schedule.participants
    assert schedule.is_due(first) and schedule.is_due(second)
    schedule.add_result(second, 0, RESULT.model_copy(update={"failure": "run 1: exited with code 3"}))
    assert second.failure == "run 1: exited with code 3"
    assert not schedule.is_due(second) and not schedule.is_due(first)  # no other submission needs the reference

    again = tmp_path / "again"
    again.mkdir()
    schedule, _ = schedule_of(again)
    first, second = schedule.participants
    schedule.add_result(first, 0, RESULT.model_copy(update={"failure": "run 1: cancelled"}))
    assert second.failure == "the frozen baseline failed: run 1: cancelled" and not schedule.is_due(second)


def test_keys_differ_by_purpose_submission_and_run():
    root = bytes(32)
    keys = {
        derive(root, purpose, tree, index)
        for purpose in ("train", "heldout", "seed")
        for tree in ("a", "b")
        for index in (0, 1)
    }
    assert len(keys) == 12
