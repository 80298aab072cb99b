"""The audit on this repository's own records: clean as they are, and every kind of change found and named."""

import json
import lzma
import os
import random
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import mutate_ledger as mutate
import pytest
from git_repository import git
from hypothesis import given
from hypothesis import strategies as st
from ledger_samples import needs_ssh_keygen, ssh_keygen

from harness import submission
from harness.audit import audit as audit_module
from harness.audit import evidence, log, workers
from harness.audit.audit import audit
from harness.audit.context import RecordContext
from harness.audit.records import Job
from harness.audit.submissions import SubmissionAudit
from harness.frozen.grader import TokenizerError
from harness.ledger import record as records
from harness.ledger import signature, trust
from harness.ledger.entries import status_change
from harness.ledger.store import Ledger
from harness.tracks import rules
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

RECORDS = sorted(path.parent.name for path in (ROOT / "records").glob("*/record.json"))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A copy of what an audit reads, outside git."""
    copy = tmp_path_factory.mktemp("repository")
    if not RECORDS:
        pytest.fail("records/ is empty: there is nothing to audit")
    for name in ("records", "submissions", "leaderboard", *(folder.name for folder in ROOT.glob("baseline*"))):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", ".lock"))
    shutil.copyfile(ROOT / "README.md", copy / "README.md")
    return copy


@pytest.fixture
def copy(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "repository")
    return tmp_path / "repository"


def all_results(repository, **options):
    return list(audit(Ledger(repository / "records"), repository / "leaderboard", repository, **options))


def failures(repository, **options):
    return [result for result in all_results(repository, **options) if not result.ok]


@pytest.mark.all  # the whole ledger is graded again; scripts/test ends in an audit
def test_the_records_are_sound(pristine):
    results = all_results(pristine)
    assert [result for result in results if not result.ok] == []
    names = {result.check for result in results}
    assert {"hash", "signature", "signer", "commitment", "checkpoint", "evidence"} <= names
    assert {"submission tree", "track digest"} <= names
    assert {"commitment opened", "seeds", "curves", "verdict", "reference", "board", "history"} <= names
    regraded = [result for result in results if "re-graded" in result.check]
    graded = {result.file for result in regraded}
    assert len(graded) >= 3 and len(regraded) >= 9 * len(graded)  # eight runs and the control run
    superseded = [result for result in results if "superseded under R10" in result.message]
    assert len(graded) + len({f.file for f in superseded if f.check == "track digest"}) == len(RECORDS)


@pytest.fixture
def only_one_graded(monkeypatch):
    """Of `sample=1` no other than the newest of cpu-logic, in two processes: a record takes them two seconds."""
    newest = [name for name in RECORDS if "_cpu-logic_" in name][-1]
    monkeypatch.setattr(random.SystemRandom, "sample", lambda self, folders, size: [newest][:size])
    monkeypatch.setattr(audit_module, "START_COST", -1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    return newest


def test_one_completion_changed(copy, only_one_graded):
    """Re-compressed and re-hashed it would still break the signature; either way the file is named."""
    path = copy / "records" / only_one_graded / evidence.COMPLETIONS
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    lines[0]["completions"][0] = lines[0]["completions"][0][:-1]  # of the first run
    del lines[-1]["completions"][0]  # and of the control run, which another process grades
    path.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    results = all_results(copy, sample=1)
    assert {result.file for result in results if not result.ok} == {f"{only_one_graded}/{evidence.COMPLETIONS}"}
    graded = [result for result in results if "re-graded" in result.check]
    assert [result.check for result in graded] == [f"run {line['run']} re-graded" for line in lines]
    assert [result.ok for result in graded] == [False, *[True] * (len(lines) - 2), False]


def test_one_number_changed(copy):
    path = copy / "records" / RECORDS[0] / "record.json"
    text = path.read_text(encoding="utf-8")
    wall = json.loads(text)["predicate"]["runs"][0]["wall_ms"]
    path.write_text(text.replace(f'"wall_ms": {wall}', f'"wall_ms": {wall - 1}', 1), encoding="utf-8")
    assert any(result.file == f"{RECORDS[0]}/record.json" for result in failures(copy, sample=0))


def test_one_line_of_a_submission_changed(copy):
    predicates = [json.loads((copy / "records" / name / "record.json").read_bytes())["predicate"] for name in RECORDS]
    for folder in sorted({predicate["submission"]["path"] for predicate in predicates}):
        path = copy / folder / "train.py"
        before = path.read_text(encoding="utf-8")
        path.write_text(before + "# a comment\n", encoding="utf-8")
        assert {result.file for result in failures(copy, sample=0)} >= {folder}
        path.write_text(before, encoding="utf-8")


def test_a_record_repeats_its_manifest_and_is_on_a_track_that_that_names(pristine):
    record = records.load((pristine / "records" / RECORDS[-1] / "record.json").read_bytes())
    recorded = record.predicate.submission
    for track, good in ((record.predicate.track, True), ("gpu-logic@1", False)):
        results = SubmissionAudit(pristine).check("here", track, recorded)
        assert [result.ok for result in results if result.check == "submission manifest"] == [good]
    for field, value in {"title": "another", "based_on": "trim", "techniques": ["muon"]}.items():
        results = SubmissionAudit(pristine).check(
            "here", record.predicate.track, recorded.model_copy(update={field: value})
        )
        assert [result.ok for result in results if result.check == "submission manifest"] == [False]


def test_one_index_line_changed(copy):
    path = copy / "records" / "index"
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    path.write_text("".join([*lines[:1], lines[2], lines[1], *lines[3:]]), encoding="utf-8")
    assert any(result.file in ("index", "checkpoint") for result in failures(copy, sample=0))


def test_the_board_edited_by_hand(copy):
    stale = "leaderboard/records/stale.md"
    shutil.copyfile(copy / "leaderboard" / "README.md", copy / stale)
    for name in ("leaderboard/README.md", "README.md"):
        path = copy / name
        before = path.read_text(encoding="utf-8")
        path.write_text(before.replace("| 1 |", "| 9 |", 1), encoding="utf-8")
        assert {result.file for result in failures(copy, sample=0)} == {name, stale}
        path.write_text(before, encoding="utf-8")


@pytest.fixture
def committed(tmp_path):
    """A copy as a git repository, with this repository's history."""
    mutate.copy_repository(tmp_path / "committed")
    return tmp_path / "committed"


def test_a_rewritten_history_is_found(committed):
    assert failures(committed, sample=0) == []
    checkpoint = committed / "records" / "checkpoint"
    origin, _, root = checkpoint.read_text(encoding="utf-8").splitlines()
    checkpoint.write_text(f"{origin}\n999\n{root}\n", encoding="utf-8")
    git(committed, "commit", "-qam", "a longer log")
    git(committed, "revert", "--no-edit", "HEAD")
    assert [(result.check, result.file) for result in failures(committed, sample=0)] == [("history", "index")]


def test_the_name_of_a_changed_file_is_found_with_git(committed):
    for name, change in [("train.py", b"# more\n"), ("README.md", b"\n"), ("extra.txt", b"new")]:
        path = committed / "submissions" / "lean" / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + change)
        assert {result.file for result in failures(committed, sample=0)} >= {f"submissions/lean/{name}"}
        path.write_bytes(before) if before is not None else path.unlink()


# ---------------------------------------------------------------- another version of the track


@pytest.fixture
def archive(committed):
    """Every record is superseded, in entries that a new official key signed."""
    ledger = Ledger(committed / "records")
    moment = datetime(2040, 1, 1, tzinfo=UTC)
    public = signature.generate(committed / "key", "archivist")
    key = signature.load_key(committed / "key")
    line = trust.allowed_line(public, "archivist", moment, moment + timedelta(hours=1))
    with (committed / "records" / "allowed_signers").open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")
    for folder in ledger.state().records:
        ledger.set_status(status_change(folder, "superseded", "R10", "the track moved on", "archivist", moment), key)
    git(committed, "commit", "-qam", "a key")
    return committed, key, moment


def unsound(repository, **options):
    """What is wrong but for the board, which was not rendered again."""
    results = audit(Ledger(repository / "records"), None, repository, **options)
    return [result for result in results if not result.ok]


def other_digest(archive, monkeypatch):
    """Today's track is of another digest than that of any record, and claims none."""
    monkeypatch.setattr(Track, "digest", "f" * 64)
    monkeypatch.setattr(audit_module, "check_tracks", lambda recorded: ())
    return archive[0]


def test_a_superseded_record_of_another_track_is_not_graded_and_the_audit_says_so(archive, monkeypatch):
    repository = other_digest(archive, monkeypatch)
    results = list(audit(Ledger(repository / "records"), None, repository))
    assert [result for result in results if not result.ok] == []
    messages = [result.message for result in results if result.check == "track digest"]
    assert len(messages) == len(RECORDS)
    assert all("Grading was not repeated" in message and "superseded under R10" in message for message in messages)
    names = {result.check for result in results}
    assert {"signature", "commitment opened", "subjects", "seeds", "isolation", "evidence", "curves"} <= names
    assert {"submission tree", "submission manifest"} <= names
    assert not [name for name in names if "re-graded" in name or name == "verdict"]


def test_without_such_an_entry_another_digest_is_a_failure(archive, monkeypatch):
    repository, key, moment = archive
    change = status_change(RECORDS[0], "disputed", "R13", "is it?", "archivist", moment)
    Ledger(repository / "records").set_status(change, key)
    other_digest(archive, monkeypatch)
    results = [(result.check, result.file) for result in unsound(repository, sample=0)]
    assert results[:1] == [("track digest", f"{RECORDS[0]}/record.json")]
    assert {check for check, _ in results} <= {"track digest", "submission tree"}


def test_a_superseded_record_is_still_checked_for_what_does_not_need_the_track(archive, monkeypatch):
    repository = other_digest(archive, monkeypatch)
    path = repository / "records" / RECORDS[0] / "curves.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(lzma.compress(b"".join(lines[1:])))
    assert {result.check for result in unsound(repository, sample=0)} == {"evidence", "curves"}
    folder = "submissions/lean"
    (repository / folder / "train.py").write_text("# another\n", encoding="utf-8")
    files = {result.file for result in unsound(repository, sample=0)}
    assert {folder, f"{folder}/train.py"} <= files


def test_a_baseline_that_moved_on_with_its_track_must_be_remembered_by_git(archive, monkeypatch):
    if git(archive[0], "rev-parse", "--is-shallow-repository").strip() == "true":
        pytest.skip("a shallow clone remembers too little")
    repository = other_digest(archive, monkeypatch)
    path = repository / "baseline" / "train.py"
    path.write_text(path.read_text(encoding="utf-8") + "# a new version of the baseline\n", encoding="utf-8")
    assert {result.file for result in unsound(repository, sample=0)} == {"baseline", "baseline/train.py"}
    real = tracks.load("cpu-logic")
    frozen = real.baseline.model_copy(update={"tree_sha256": submission.load(repository / "baseline").tree_sha256})
    monkeypatch.setattr(tracks, "load", lambda name: real.model_copy(update={"baseline": frozen}))
    results = list(audit(Ledger(repository / "records"), None, repository, sample=0))
    assert [result for result in results if not result.ok] == []
    trees = [result for result in results if (result.check, result.file) == ("submission tree", "baseline")]
    assert {result.message.partition(";")[2][:11] for result in trees} == {" in commit "}
    for name in (".git", "README.md"):
        shutil.rmtree(repository / name, ignore_errors=True)
    assert unsound(repository, sample=0) == []  # nothing to ask; the message says so
    git(repository, "init", "-q")
    git(repository, "add", "-A", "-f")
    git(repository, "commit", "-qm", "a past without it")
    assert {result.file for result in unsound(repository, sample=0)} == {"baseline"}


# ---------------------------------------------------------------- many records


def test_several_processes_find_what_one_finds(pristine, monkeypatch):
    alone = all_results(pristine, sample=0)
    assert {result.file for result in alone if result.check == "track"} == {"cpu-deduction.toml", "cpu-logic.toml"}
    monkeypatch.setattr(audit_module, "START_COST", -1)
    monkeypatch.setattr(log, "BATCH", 2)
    monkeypatch.setattr(log, "WAITING", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    handed_out = []
    submit = workers.Workers.submit
    monkeypatch.setattr(workers.Workers, "submit", lambda *all_: (handed_out.append(all_[1]), submit(*all_)))
    assert all_results(pristine, sample=0) == alone  # in the same order
    assert len(handed_out) == -(-len(RECORDS) // 2)


@given(runs=st.integers(0, 40), parts=st.integers(1, 40))
def test_each_run_is_in_one_part(runs, parts):
    every_run = list(range(runs))
    divided = [evidence.Part(number, parts).of(every_run) for number in range(parts)]
    assert [run for part in divided for run in part] == every_run
    assert max(map(len, divided)) - min(map(len, divided)) <= 1


class Fatal:
    """In place of a record's context. What unpickles it exits with code 9, as it might for want of memory."""

    folder = "2026-11-21_cpu-logic_fatal"

    def __reduce__(self):
        return os._exit, (9,)


@pytest.mark.parametrize(
    "context, said",
    [(Fatal(), "ended .exit code 9. at .*_fatal; is there memory"), (SimpleNamespace(folder="odd"), "at odd: Attrib")],
    ids=["ended", "raised"],
)
def test_a_process_that_fails_is_one_line(tmp_path, context, said):
    processes = workers.Workers(2, tmp_path, tmp_path)
    try:
        batch = workers.Batch()
        batch.jobs.append(Job(context, None))
        with pytest.raises(workers.AuditError, match=said) as raised:
            processes.submit(batch, 0)
            processes.exchange(wait_seconds=None)
        assert "\n" not in str(raised.value) and raised.value.exit_code == 2
    finally:
        processes.stop()
    assert not [worker for worker in processes._workers if worker.process.is_alive()]


def test_a_sample_is_drawn_afresh_and_named(pristine):
    draws = set()
    for _ in range(40):
        first = next(audit(Ledger(pristine / "records"), None, pristine, sample=1))
        draws.add(first.message.rpartition(": ")[2])
    assert len(draws) > 1 and draws <= set(RECORDS)


def test_evidence_that_unpacks_to_too_much_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(evidence, "MAX_EVIDENCE_BYTES", 1000)
    for data in (b"1\n" * 501, b"1" * 1001):
        (tmp_path / "bomb.xz").write_bytes(lzma.compress(data))
        with pytest.raises(ValueError, match="more than 1,000 bytes"):
            list(evidence.read_lines(tmp_path / "bomb.xz"))


def test_evidence_nested_too_deep_is_a_finding(tmp_path):
    record = records.load((ROOT / "records" / RECORDS[-1] / "record.json").read_bytes())
    (tmp_path / RECORDS[-1]).mkdir()
    (tmp_path / RECORDS[-1] / evidence.CURVES).write_bytes(lzma.compress(b"[" * 200_000))
    (result,) = evidence.check_curves(RecordContext(RECORDS[-1], record), tmp_path)
    assert not result.ok and "cannot be read: RecursionError" in result.message


def test_a_base_model_without_its_tokenizer_is_a_finding_and_the_audit_goes_on(copy, monkeypatch):
    def broken(track):
        raise TokenizerError("no usable tokenizer there")

    monkeypatch.setattr(rules, "grader", broken)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    results = all_results(copy, sample=len(RECORDS))
    messages = [result.message for result in results if not result.ok]
    assert messages and all("cannot be graded: TokenizerError" in message for message in messages)
    assert results[-1].check == "board"


@needs_ssh_keygen
@pytest.mark.parametrize("name", RECORDS)
def test_openssh_accepts_each_record_and_refuses_it_changed(name):
    folder = ROOT / "records" / name
    data = (folder / "record.json").read_bytes()
    predicate = json.loads(data)["predicate"]
    when = "".join(c for c in predicate["created_utc"] if c.isdigit()) + "Z"
    options = ["-f", ROOT / "records" / "allowed_signers", "-I", predicate["signer"], f"-Overify-time={when}"]
    command = ["-Y", "verify", "-n", "nano-r1-record-v1", "-s", folder / "record.json.sig", *options]
    assert ssh_keygen(*command, data=data).returncode == 0
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    assert ssh_keygen(*command, data=bytes(changed)).returncode != 0
