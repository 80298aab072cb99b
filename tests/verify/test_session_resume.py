"""A verification that is killed with SIGKILL, and how it is resumed."""

import json
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import tiny
from sessions import Listener, assert_closed, killed, predicates, resumed, run_files, start

from harness.ledger.signature import generate, load_key
from harness.ledger.store import Ledger
from harness.ledger.trust import allowed_line
from harness.tracks import files
from harness.verify.executor import Interrupted, VerifyError
from harness.verify.journal import RunResult, journals

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed"),
]


def snapshot(*folders):
    return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- kill -9


# The step at which it is killed, and the runs (submission-run) finished by then: 0-0 is the baseline's, 1-1 the
# control run.
MOMENTS = {
    "announced, its line not yet in the index": ((r"rename .*/records/index$", 1), []),
    "training": ((r"advance one 0 train", 1), ["0-0"]),
    "evaluating": ((r"advance one 0 evaluate", 1), ["0-0"]),
    "about to keep a run": ((r"rename .*/run-1-0.json$", 1), ["0-0"]),
    "between two runs": ((r"rename .*/workspace$", 3), ["0-0", "1-0"]),
    "about to append the record": ((r"rename .*/\.next$", 2), ["0-0", "1-0", "1-1"]),
}


# A run has to take a second to be reported while it trains.
@pytest.mark.parametrize(
    ("moment", "tiny_place"), [(name, 1.2 if name == "training" else 0.1) for name in MOMENTS], indirect=["tiny_place"]
)
def test_a_killed_session_is_resumed_from_its_finished_runs(tiny_place, moment):
    step, finished = MOMENTS[moment]
    entry = killed(tiny_place, step)
    kept = run_files(tiny_place, entry)
    assert sorted(kept) == [f"run-{name}.json" for name in finished]
    note = tiny.state_folder(tiny_place) / entry / "workspace"
    workspace = note.read_text(encoding="utf-8") if note.exists() else None

    listener = Listener()
    (outcome,) = resumed(tiny_place, entry, listener)
    numbers = {("quick-baseline", 0): "0-0", ("one", 0): "1-0", ("one", 1): "1-1"}
    made = [numbers[turn] for turn in listener.trained()]
    assert made == [number for number in numbers.values() if number not in finished]

    (predicate,) = predicates(tiny_place)
    assert outcome.folder == tiny_place / "records" / Ledger(tiny_place / "records").records()[0].folder
    assert predicate.resumed == 1 and predicate.commitment.entry == entry
    for name, data in kept.items():
        before = RunResult.model_validate_json(data)
        if name == "run-0-0.json":
            assert predicate.reference.wall_ms == [before.wall_ms]
        else:
            after = predicate.control if name == "run-1-1.json" else predicate.runs[0]
            assert after == before.run  # its start and its weights among all the rest
    assert_closed(tiny_place)
    assert workspace is None or not Path(workspace).exists()


def test_killed_between_two_records(tiny_place):
    """One submission has its record; the other's append had not come to its commit point."""
    entry = killed(tiny_place, (r"rename .*/\.next$", 3), names=("one", "two"))
    (first,) = Ledger(tiny_place / "records").records()
    listener = Listener()
    one, two = resumed(tiny_place, entry, listener)
    assert listener.phases == []  # every run was finished
    assert one.folder == tiny_place / "records" / first.folder and one.verdict == first.record.predicate.verdict
    assert [predicate.submission.name for predicate in predicates(tiny_place)] == ["one", "two"]
    assert [predicate.resumed for predicate in predicates(tiny_place)] == [0, 1]
    assert two.folder is not None
    assert_closed(tiny_place)


def test_killed_in_the_middle_of_an_append(tiny_place):
    """Past the commit point of the first record: it counts, though the index does not list it yet."""
    entry = killed(tiny_place, (r"rename .*/records/index$", 2), names=("one", "two"))
    assert Ledger(tiny_place / "records").records() == []
    one, two = resumed(tiny_place, entry)
    first, second = (tiny_place / "records" / item.folder for item in Ledger(tiny_place / "records").records())
    assert (one.folder, two.folder) == (first, second)
    assert_closed(tiny_place)


def test_killed_in_the_middle_of_the_last_append_there_is_nothing_left_to_do(tiny_place):
    entry = killed(tiny_place, (r"rename .*/checkpoint.sig$", 2))
    with pytest.raises(VerifyError, match=r"not open .* nothing is left to do"):
        resumed(tiny_place, entry)
    assert len(Ledger(tiny_place / "records").records()) == 1
    assert_closed(tiny_place)
    with pytest.raises(ValueError, match="no session is kept"):
        resumed(tiny_place, entry)


def test_killed_twice(tiny_place):
    entry = killed(tiny_place, (r"rename .*/workspace$", 2))
    before = run_files(tiny_place, entry)
    assert killed(tiny_place, (r"advance one 1 evaluate", 1), entry=entry) == entry
    between = run_files(tiny_place, entry)
    assert list(before) == ["run-0-0.json"] and sorted(between) == ["run-0-0.json", "run-1-0.json"]
    assert before.items() <= between.items()
    resumed(tiny_place, entry)
    (predicate,) = predicates(tiny_place)
    assert predicate.resumed == 2
    assert predicate.runs[0] == RunResult.model_validate_json(between["run-1-0.json"]).run
    assert_closed(tiny_place)


def test_a_run_that_failed_before_the_kill_stands(tiny_place):
    """To resume a session is no second chance."""
    (tiny_place / "one" / "train.py").write_text("raise SystemExit(3)\n", encoding="utf-8")
    entry = killed(tiny_place, (r"rename .*/\.next$", 2))
    (tiny_place / "one" / "train.py").write_text(tiny.TRAINER.format(seconds=0), encoding="utf-8")
    listener = Listener()
    (outcome,) = resumed(tiny_place, entry, listener)
    assert listener.phases == [] and outcome.folder is None and "exited with code 3" in outcome.reason
    assert_closed(tiny_place)


def test_the_next_verification_names_what_was_killed_and_clears_what_never_began(tiny_place):
    assert killed(tiny_place, (r"rename .*/\.next$", 1)) is not None  # one step before it is announced
    assert Ledger(tiny_place / "records").entries() == []
    entry = killed(tiny_place, (r"rename .*/workspace$", 1))
    assert [journal.folder.name for journal in journals(tiny.state_folder(tiny_place))] == [entry]
    listener, cancel = Listener(), threading.Event()
    cancel.set()
    with pytest.raises(Interrupted):
        start(tiny_place, listener, cancel=cancel)
    assert any(f"{entry} was killed" in line and f"--resume {entry} --ledger" in line for line in listener.lines)
    with pytest.raises(Interrupted):  # Ctrl-C in a resumed session closes it
        resumed(tiny_place, entry, cancel=cancel)
    assert_closed(tiny_place)


# ---------------------------------------------------------------- when a session cannot be resumed


@pytest.fixture(scope="module")
def once_killed(tmp_path_factory):
    place = tmp_path_factory.mktemp("killed")
    tiny.build_place(place, seconds=0.1)
    return place, killed(place, (r"rename .*/workspace$", 2))


def other_key(place, entry):
    generate(place / "other", "tester")
    return {"key": load_key(place / "other")}


def other_name(place, entry):
    generate(place / "other", "somebody")
    return {"key": load_key(place / "other")}


def other_ledger(place, entry):
    return {"ledger": Ledger(place / "elsewhere")}


def other_track(place, entry):
    path = place / "harness" / "tracks" / "cpu-logic.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("seconds = 60", "seconds = 61"), encoding="utf-8")


def other_machine(place, entry):
    path = tiny.state_folder(place) / entry / "session.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"cores":', '"cores":1'), encoding="utf-8"
    )  # 2 cores become 12


def other_isolation(place, entry):
    path = tiny.state_folder(place) / entry / "session.json"
    path.write_text(
        path.read_text(encoding="utf-8").replace('"isolation":"full"', '"isolation":"none"'), encoding="utf-8"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (other_key, "announced by tester with another key"),
        (other_name, "announced by tester with another key than this of somebody"),
        (other_ledger, r"not in .*elsewhere: its ledger is .*/records: name that with --ledger"),
        (other_track, "announced for another cpu-logic@"),
        (other_machine, "started on another machine"),
        (other_isolation, "started with isolation none; here it is full"),
    ],
)
def test_a_session_is_resumed_only_as_it_was_started(once_killed, tmp_path, monkeypatch, change, message):
    original, entry = once_killed
    place = tmp_path / "place"
    shutil.copytree(original, place, symlinks=True)
    monkeypatch.setattr(files, "TRACKS", place / "harness" / "tracks")
    changed = change(place, entry) or {}
    before = snapshot(tiny.state_folder(place), place / "records")
    assert any(path.name == "run-0-0.json" for path in before)
    with pytest.raises(VerifyError, match=message):
        resumed(place, entry, **changed)
    assert snapshot(tiny.state_folder(place), place / "records") == before
    assert not (place / "elsewhere").exists()


def test_a_changed_copy_of_a_submission_is_refused_and_can_be_put_back(once_killed, tmp_path, monkeypatch):
    original, entry = once_killed
    place = tmp_path / "place"
    shutil.copytree(original, place, symlinks=True)
    monkeypatch.setattr(files, "TRACKS", place / "harness" / "tracks")
    source = tiny.state_folder(place) / entry / "submission-1" / "train.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(f"{text}# changed\n", encoding="utf-8")
    before = snapshot(place / "records")
    with pytest.raises(VerifyError, match=f"submission-1 is not what was announced .*still open.* --resume {entry}"):
        resumed(place, entry)
    assert snapshot(place / "records") == before
    source.write_text(text, encoding="utf-8")
    assert resumed(place, entry)[0].folder is not None
    assert_closed(place)


def test_a_key_whose_window_has_passed_still_closes_its_session(tiny_place):
    entry = killed(tiny_place, (r"rename .*/\.next$", 2))
    key, now = load_key(tiny_place / "key"), datetime.now(UTC).replace(microsecond=0)
    announced = json.loads((tiny_place / "records" / "log" / f"{entry}.json").read_text(encoding="utf-8"))[
        "created_utc"
    ]
    until = datetime.strptime(announced, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    line = allowed_line(key.public, "tester", now - timedelta(hours=1), until)
    (tiny_place / "records" / "allowed_signers").write_text(f"{line}\n", encoding="utf-8")
    resumed(tiny_place, entry)
    (item,) = Ledger(tiny_place / "records").records()
    assert not item.official  # announced in the window, signed after it: self-reported
    assert_closed(tiny_place)
