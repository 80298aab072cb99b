"""What a session keeps on disk: it comes back as it was, nobody else may read it, and no kill leaves half of it."""

import multiprocessing
import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import submission
from harness.ledger.entries import AnnouncedSubmission, Announcement
from harness.ledger.record import LostRun, Machine, Run, TaskResult
from harness.tracks.track import ROOT
from harness.verify.journal import (
    Journal,
    JournalError,
    RunResult,
    SavedSession,
    SessionSubmission,
    default_state,
    journals,
    session_lock,
)

FORK = multiprocessing.get_context("fork")


def run(**other):
    values = {
        "run": 0, "seed": 7, "started_utc": "2026-11-21T01:02:03Z", "wall_ms": 1500, "cpu_ms": 900,
        "peak_memory_bytes": 1 << 28, "prompts": 4, "reward_queries": 4, "most_queries_per_prompt": 1,
        "sampled_tokens": 4, "weights_sha256": "d" * 64, "evaluate_ms": 200,
        "tasks": {"nim": {"questions": 2, "correct": 1, "formatted": 2, "truncated": 0, "tokens": 9}},
    }  # fmt: skip
    return Run.model_validate(values | other)


def session(**other):
    values = {
        "announcement": Announcement(
            id="20261121t010203-abcdef",
            created_utc="2026-11-21T01:02:03Z",
            signer="tester",
            track="cpu-logic@2",
            track_digest="c" * 64,
            submissions=[AnnouncedSubmission(name="one", tree_sha256="a" * 64)],
            runs=1,
            commitment_sha256="e" * 64,
        ),
        "ledger": "/somewhere/records",
        "public_key": "ssh-ed25519 AAAA",
        "announced": True,
        "root_hex": "1" * 64,
        "nonce_hex": "2" * 64,
        "isolation": "full",
        "isolation_checks": {"network_refused": True},
        "machine": Machine(
            cpu="c", cores=2, memory_bytes=1 << 33, kernel="Linux 6", python="3.11", packages={"torch": "2.13.0"}
        ),
        "submissions": [SessionSubmission(name="one", tree_sha256="a" * 64, for_record=True)],
        "control": True,
    }
    return SavedSession(**(values | other))


def trained(**other):
    values = {
        "wall_ms": 1500,
        "run": run(),
        "completions": [[1, 2]],
        "curve": [{"t_ms": 3}],
        "log": b"x",
        "failure": None,
    }
    return RunResult(**(values | other))


@pytest.fixture
def source(tmp_path):
    """A submission whose files are a day old."""
    home = tmp_path / "one"
    (home / "data").mkdir(parents=True)
    (home / "train.py").write_text("print('one')\n", encoding="utf-8")
    (home / "data" / "table.txt").write_text("1 2 3\n", encoding="utf-8")
    (home / "submission.toml").write_text(
        'name = "one"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["tests"]\n', encoding="utf-8"
    )
    for path in home.rglob("*"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return submission.load(home)


@pytest.fixture
def journal(tmp_path, source):
    journal = Journal(tmp_path / "state", "entry")
    journal.create([source])
    return journal


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@contextmanager
def no_file_over(size):
    """As on a full disk, every write beyond `size` bytes fails, half-way through."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---------------------------------------------------------------- what is written is read

COUNT = st.integers(0, 2**53)
RESULT = st.fixed_dictionaries(dict.fromkeys(TaskResult.model_fields, COUNT))
RUN = st.builds(
    run,
    wall_ms=COUNT,
    seed=COUNT,
    most_queries_per_prompt=st.none() | COUNT,
    weights_sha256=st.text("0123456789abcdef", min_size=64, max_size=64),
    tasks=st.dictionaries(st.from_regex(r"[a-z0-9][a-z0-9-]{0,8}", fullmatch=True), RESULT, max_size=3),
)
POINT = st.fixed_dictionaries({
    "t_ms": COUNT, "completions": COUNT, "tasks": st.dictionaries(st.text(max_size=8), st.lists(COUNT, max_size=2))
})  # fmt: skip
TRAINED = st.builds(
    RunResult,
    wall_ms=COUNT,
    run=st.none() | RUN,
    completions=st.lists(st.lists(st.integers(0, 2**31), max_size=5), max_size=4),
    curve=st.lists(POINT, max_size=3),
    log=st.binary(max_size=300),
    failure=st.none() | st.text(max_size=80),
)
SHARED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@SHARED
@given(TRAINED)
def test_a_run_comes_back_as_it_was(journal, value):
    journal.save_result(0, 3, value)
    result = Journal(journal.folder.parent, "entry").result(0, 3)
    assert result == value and result.log == value.log
    assert journal.result(0, 2) is None and journal.result(3, 0) is None


@SHARED
@given(
    st.builds(
        session,
        root_hex=st.text("0123456789abcdef", min_size=64, max_size=64),
        resumed=st.integers(0, 99),
        announced=st.booleans(),
        control=st.booleans(),
        isolation=st.sampled_from(["full", "none"]),
        isolation_checks=st.dictionaries(st.text(max_size=20), st.booleans()),
        ledger=st.text(max_size=40),
        submissions=st.lists(
            st.builds(SessionSubmission, name=st.text(), tree_sha256=st.text(), for_record=st.booleans()), max_size=4
        ),
    )
)
def test_a_session_comes_back_as_it_was(journal, value):
    journal.save_session(value)
    assert Journal(journal.folder.parent, "entry").session() == value


def test_a_log_of_any_bytes_comes_back(journal):
    log = bytes(range(256)) * 40
    journal.save_result(0, 0, trained(log=log))
    assert journal.result(0, 0).log == log


def test_a_lost_run_is_kept_in_the_journal(journal):
    lost = LostRun(submission="one", run=1, node="0" * 12, lost_utc="2026-11-21T10:00:00Z", reason="its node died")
    assert journal.losses() == []
    journal.save_loss(lost)
    journal.save_loss(lost.model_copy(update={"run": 2}))
    assert [loss.run for loss in Journal(journal.folder.parent, "entry").losses()] == [1, 2]


@SHARED
@given(st.binary(max_size=200) | st.just(b"[" * 100_000))
def test_a_file_of_any_bytes_is_refused_and_named(journal, data):
    for name, read in (("session.json", journal.session), ("run-0-0.json", lambda: journal.result(0, 0))):
        (journal.folder / name).write_bytes(data)
        with pytest.raises(JournalError, match=f"{name} cannot be read"):
            read()


def test_only_its_owner_may_look(tmp_path, source):
    before = os.umask(0)
    try:
        journal = Journal(tmp_path / "kept" / "state", "entry")
        journal.create([source])
        journal.save_session(session())
        journal.save_result(0, 0, trained())
    finally:
        os.umask(before)
    for folder in (journal.folder.parent, journal.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("session.json", "run-0-0.json"):
        assert stat.S_IMODE((journal.folder / name).stat().st_mode) == 0o600


def test_an_unknown_session_names_those_that_are_kept(tmp_path, source):
    with pytest.raises(JournalError, match=r"no session is kept in .*/nothing; kept: none"):
        Journal(tmp_path / "state", "nothing").session()
    for entry in ("second", "first", "half-made"):
        journal = Journal(tmp_path / "state", entry)
        journal.create([source])
        if entry != "half-made":
            journal.save_session(session())
    with session_lock(tmp_path / "state"), pytest.raises(JournalError, match=r"kept: first, second$"):
        Journal(tmp_path / "state", "nothing").session()
    assert [kept.folder.name for kept in journals(tmp_path / "state")] == ["first", "half-made", "second"]
    journal.remove()
    assert not journal.folder.exists()


@pytest.mark.parametrize(
    ("configured", "expected"),
    [("/var/x", "/var/x/nano-r1"), ("", "/home/me/.local/state/nano-r1"), ("x/y", "/home/me/.local/state/nano-r1")],
)
def test_the_state_folder_is_the_users(monkeypatch, configured, expected):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("XDG_STATE_HOME", configured)  # a relative one is to be ignored, says the specification
    assert default_state() == Path(expected)
    monkeypatch.delenv("XDG_STATE_HOME")
    assert default_state() == Path("/home/me/.local/state/nano-r1")


# ---------------------------------------------------------------- the submissions


def test_each_copy_is_fresh_and_says_nothing_of_when_the_session_started(journal, source, tmp_path):
    old = {path.stat().st_ino for path in [*source.folder.rglob("*"), *journal.submission_folder(0).rglob("*")]}
    seen = set()
    for number in range(2):
        time.sleep(0.02)
        start = time.time_ns() - 15_000_000  # the clock of file times ticks every few milliseconds
        journal.copy_submission(0, source.tree_sha256, tmp_path / f"copy-{number}")
        paths = [tmp_path / f"copy-{number}", *(tmp_path / f"copy-{number}").rglob("*")]
        assert files(tmp_path / f"copy-{number}") == files(source.folder) and len(paths) == 5
        for path in paths:
            info = path.stat()
            assert info.st_ino not in old | seen
            assert min(info.st_ctime_ns, info.st_mtime_ns) > start
            seen.add(info.st_ino)


def test_an_edit_meanwhile_changes_nothing(journal, source, tmp_path):
    (source.folder / "train.py").write_text("print('another')\n", encoding="utf-8")
    journal.copy_submission(0, source.tree_sha256, tmp_path / "copy")
    assert (tmp_path / "copy" / "train.py").read_text(encoding="utf-8") == "print('one')\n"


@pytest.mark.parametrize("change", ["edit", "remove", "add"])
def test_a_changed_copy_is_refused(journal, source, tmp_path, change):
    home = journal.submission_folder(0)
    if change == "edit":
        (home / "train.py").write_text("print('another')\n", encoding="utf-8")
    elif change == "remove":
        shutil.rmtree(home)
    else:
        (home / "more.py").touch()
    with pytest.raises(JournalError, match="submission-0 is not what was announced"):
        journal.copy_submission(0, source.tree_sha256, tmp_path / "copy")


def test_a_source_that_changed_before_it_was_copied_leaves_no_session(tmp_path, source):
    (source.folder / "train.py").write_text("print('another')\n", encoding="utf-8")
    with pytest.raises(submission.SubmissionError, match="changed while it was being copied"):
        Journal(tmp_path / "state", "entry").create([source])
    assert journals(tmp_path / "state") == []


def test_a_session_never_replaces_another(journal, source):
    journal.save_session(session())
    before = files(journal.folder)
    with pytest.raises(JournalError, match="File exists"):
        Journal(journal.folder.parent, "entry").create([source])
    assert files(journal.folder) == before


# ---------------------------------------------------------------- no room, and kill -9


def test_a_full_disk_leaves_what_was_kept_and_nothing_half_written(journal, tmp_path, source):
    journal.save_session(session())
    journal.save_result(0, 0, trained())
    before = files(journal.folder)
    large = trained(log=bytes(100_000))
    for number in (0, 1):
        with no_file_over(10_000), pytest.raises(JournalError, match=f"run-0-{number}.json: File too large"):
            journal.save_result(0, number, large)
        assert files(journal.folder) == before
    with no_file_over(5), pytest.raises(JournalError, match="cannot keep the session"):
        Journal(tmp_path / "state", "other").create([source])
    with no_file_over(5), pytest.raises(JournalError, match="cannot keep the session"):
        journal.copy_submission(0, source.tree_sha256, tmp_path / "copy")
    assert [kept.folder.name for kept in journals(tmp_path / "state")] == ["entry"]
    journal.save_result(0, 1, large)
    assert journal.result(0, 1) == large


def test_what_a_kill_left_half_written_is_not_read(journal):
    (journal.folder / ".run-0-0.json").write_text(trained().model_dump_json()[:50], encoding="utf-8")
    assert journal.result(0, 0) is None
    journal.save_result(0, 0, trained())
    assert journal.result(0, 0) == trained()


def die_at_a_rename():
    sys.addaudithook(lambda event, _: os.kill(os.getpid(), signal.SIGKILL) if event == "os.rename" else None)


def killed(step):
    """Run it in a process that is killed with SIGKILL as it is about to rename a file to its place."""

    def child():
        die_at_a_rename()
        step()

    process = FORK.Process(target=child)
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def test_killed_before_the_rename_the_older_file_stands(journal):
    journal.save_session(session(resumed=1))
    killed(lambda: journal.save_session(session(resumed=2)))
    assert journal.session().resumed == 1
    killed(lambda: journal.save_result(0, 0, trained()))
    assert journal.result(0, 0) is None
    journal.save_result(0, 0, trained())
    assert journal.result(0, 0) == trained()


def test_the_workspace_of_a_killed_run_is_cleared(journal):
    with journal.workspace() as place:
        assert stat.S_IMODE(place.stat().st_mode) == 0o755 and place.parent == Path(tempfile.gettempdir())
        assert list(place.iterdir()) == []
    assert not place.exists()

    def work():
        with journal.workspace() as place:
            (place / "output").mkdir()
            os.kill(os.getpid(), signal.SIGKILL)

    for clear in ("next", "end"):
        process = FORK.Process(target=work)
        process.start()
        process.join()
        left = Path((journal.folder / "workspace").read_text(encoding="utf-8"))
        assert (left / "output").exists()
        if clear == "next":
            with journal.workspace() as place:
                assert not left.exists() and place != left
        else:
            journal.remove()
            assert not left.exists() and not journal.folder.exists()


# ---------------------------------------------------------------- one at a time

HOLD = """
import sys, time
from pathlib import Path
from harness.verify.journal import session_lock
with session_lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_verification_is_refused_until_the_first_is_dead(tmp_path):
    state = tmp_path / "state"
    command = [sys.executable, "-c", HOLD, str(state)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8") as holder:
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(JournalError, match=r"another verification is running here .*/state/lock"),
            session_lock(state),
        ):
            pass
        holder.kill()
    with session_lock(state), pytest.raises(JournalError, match="another verification"), session_lock(state):
        pass
    with session_lock(state):  # and released at the end of the block
        pass


def test_a_state_folder_that_cannot_be_written_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(JournalError, match="cannot write"), session_lock(tmp_path / "file" / "state"):
        pass
