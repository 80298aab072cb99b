"""The audit on this repository's own records: clean as they are, and every kind of change found and named."""

import importlib.util
import json
import lzma
import os
import shutil
import subprocess
import sys
from dataclasses import astuple
from datetime import UTC, datetime, timedelta

import pytest

from harness import submission
from harness.audit.audit import Examiner, audit, evidence_lines
from harness.ledger import record, signature
from harness.ledger.log import Ledger, status_change
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

SPEC = importlib.util.spec_from_file_location("mutate_ledger", ROOT / "scripts" / "mutate_ledger.py")
mutate = importlib.util.module_from_spec(SPEC)
sys.modules[SPEC.name] = mutate
SPEC.loader.exec_module(mutate)

RECORDS = sorted(path.parent.name for path in (ROOT / "records").glob("*/record.json"))
SSH = shutil.which("ssh-keygen")


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


def findings(repository, **options):
    return list(audit(Ledger(repository / "records"), repository / "leaderboard", repository, **options))


def wrong(repository, **options):
    return [finding for finding in findings(repository, **options) if not finding.ok]


def test_the_records_are_sound(pristine):
    found = findings(pristine)
    assert [finding for finding in found if not finding.ok] == []
    names = {finding.check for finding in found}
    assert {
        "hash",
        "signature",
        "signer",
        "commitment",
        "checkpoint",
        "evidence",
        "submission tree",
        "track digest",
    } <= names
    assert {"commitment opened", "seeds", "curves", "verdict", "reference", "board", "history"} <= names
    regraded = [finding for finding in found if "re-graded" in finding.check]
    graded = {finding.file for finding in regraded}
    assert len(graded) >= 3 and len(regraded) >= 9 * len(graded)  # eight runs and the control run
    superseded = [finding for finding in found if "superseded under R10" in finding.message]
    assert len(graded) + len({f.file for f in superseded if f.check == "track digest"}) == len(RECORDS)


def test_one_completion_changed(copy):
    """Re-compressed and re-hashed it would still break the signature; either way the file is named."""
    path = copy / "records" / RECORDS[-1] / "completions.jsonl.xz"
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    lines[0]["completions"][0] = lines[0]["completions"][0][:-1]
    path.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    found = wrong(copy)
    assert any(finding.file.endswith(f"{RECORDS[-1]}/completions.jsonl.xz") for finding in found)
    assert any("re-graded" in finding.check for finding in found)


def test_one_number_changed(copy):
    path = copy / "records" / RECORDS[0] / "record.json"
    text = path.read_text()
    wall = json.loads(text)["predicate"]["runs"][0]["wall_ms"]
    path.write_text(text.replace(f'"wall_ms": {wall}', f'"wall_ms": {wall - 1}', 1))
    assert any(finding.file == f"{RECORDS[0]}/record.json" for finding in wrong(copy, sample=0))


def test_one_line_of_a_submission_changed(copy):
    said = [json.loads((copy / "records" / record / "record.json").read_bytes())["predicate"] for record in RECORDS]
    for folder in sorted({predicate["submission"]["path"] for predicate in said}):
        path = copy / folder / "train.py"
        before = path.read_text()
        path.write_text(before + "# a comment\n")
        assert {finding.file for finding in wrong(copy, sample=0)} >= {folder}
        path.write_text(before)


def test_a_record_is_on_a_track_that_its_submission_names(pristine):
    said = record.load((pristine / "records" / RECORDS[-1] / "record.json").read_bytes()).predicate
    examiner = Examiner(pristine / "records", pristine)
    for track, good in ((said.track, True), ("gpu-logic@1", False)):
        (found,) = [f for f in examiner.source("here", track, said.submission) if f.check == "submission manifest"]
        assert found.ok == good


def test_one_index_line_changed(copy):
    path = copy / "records" / "index"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:1], lines[2], lines[1], *lines[3:]]))
    assert any(finding.file in ("index", "checkpoint") for finding in wrong(copy, sample=0))


def test_the_board_edited_by_hand(copy):
    for name in ("leaderboard/README.md", "README.md"):
        path = copy / name
        before = path.read_text()
        path.write_text(before.replace("| 1 |", "| 9 |", 1))
        assert [finding.file for finding in wrong(copy, sample=0)] == [name]
        path.write_text(before)


@pytest.fixture
def committed(tmp_path):
    """A copy as a git repository, with this repository's history."""
    mutate.copy_repository(tmp_path / "committed")
    return tmp_path / "committed"


def test_a_rewritten_history_is_found(committed):
    git = ["git", "-C", str(committed), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    assert wrong(committed, sample=0) == []
    checkpoint = committed / "records" / "checkpoint"
    origin, _, root = checkpoint.read_text().splitlines()
    checkpoint.write_text(f"{origin}\n999\n{root}\n")
    subprocess.run([*git, "commit", "-qam", "a longer log"], check=True)
    subprocess.run([*git, "revert", "--no-edit", "HEAD"], check=True, capture_output=True)
    assert [(finding.check, finding.file) for finding in wrong(committed, sample=0)] == [("history", "index")]


def test_the_name_of_a_changed_file_is_found_with_git(committed):
    for name, change in [("train.py", b"# more\n"), ("README.md", b"\n"), ("extra.txt", b"new")]:
        path = committed / "submissions" / "lean" / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes((before or b"") + change)
        assert {finding.file for finding in wrong(committed, sample=0)} >= {f"submissions/lean/{name}"}
        path.write_bytes(before) if before is not None else path.unlink()


# ---------------------------------------------------------------- another version of the track


@pytest.fixture
def archive(committed):
    """Every record is superseded, in entries that a new official key signed."""
    ledger = Ledger(committed / "records")
    moment = datetime(2040, 1, 1, tzinfo=UTC)
    public = signature.generate(committed / "key", "archivist")
    key = signature.load_key(committed / "key")
    line = signature.allowed_line(public, "archivist", moment, moment + timedelta(hours=1))
    with (committed / "records" / "allowed_signers").open("a") as file:
        file.write(f"{line}\n")
    for folder in ledger.state().records:
        ledger.set_status(status_change(folder, "superseded", "R10", "the track moved on", "archivist", moment), key)
    git = ["git", "-C", str(committed), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "commit", "-qam", "a key"], check=True)
    return committed, key, moment


def unsound(repository, **options):
    """What is wrong but for the board, which was not rendered again."""
    found = audit(Ledger(repository / "records"), None, repository, **options)
    return [finding for finding in found if not finding.ok]


def other_digest(archive, monkeypatch):
    """Today's track is of another digest than that of any record."""
    monkeypatch.setattr(Track, "digest", "f" * 64)
    return archive[0]


def test_a_superseded_record_of_another_track_is_not_graded_and_the_audit_says_so(archive, monkeypatch):
    repository = other_digest(archive, monkeypatch)
    found = list(audit(Ledger(repository / "records"), None, repository))
    assert [finding for finding in found if not finding.ok] == []
    said = [finding.message for finding in found if finding.check == "track digest"]
    assert len(said) == len(RECORDS)
    assert all("Grading was not repeated" in message and "superseded under R10" in message for message in said)
    names = {finding.check for finding in found}
    assert {"signature", "commitment opened", "subjects", "seeds", "isolation", "evidence", "curves"} <= names
    assert {"submission tree", "submission manifest"} <= names
    assert not [name for name in names if "re-graded" in name or name == "verdict"]


def test_without_such_an_entry_another_digest_is_a_failure(archive, monkeypatch):
    repository, key, moment = archive
    change = status_change(RECORDS[0], "disputed", "R13", "is it?", "archivist", moment)
    Ledger(repository / "records").set_status(change, key)
    other_digest(archive, monkeypatch)
    found = [(finding.check, finding.file) for finding in unsound(repository, sample=0)]
    assert found[:1] == [("track digest", f"{RECORDS[0]}/record.json")]
    assert {check for check, _ in found} <= {"track digest", "submission tree"}


def test_a_superseded_record_is_still_checked_for_what_does_not_need_the_track(archive, monkeypatch):
    repository = other_digest(archive, monkeypatch)
    path = repository / "records" / RECORDS[0] / "curves.jsonl.xz"
    lines = lzma.decompress(path.read_bytes()).splitlines(keepends=True)
    path.write_bytes(lzma.compress(b"".join(lines[1:])))
    assert {finding.check for finding in unsound(repository, sample=0)} == {"evidence", "curves"}
    folder = "submissions/lean"
    (repository / folder / "train.py").write_text("# another\n")
    files = {finding.file for finding in unsound(repository, sample=0)}
    assert {folder, f"{folder}/train.py"} <= files


def test_a_baseline_that_moved_on_with_its_track_must_be_remembered_by_git(archive, monkeypatch):
    git = ["git", "-C", str(archive[0]), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    if subprocess.check_output([*git, "rev-parse", "--is-shallow-repository"]).strip() == b"true":
        pytest.skip("a shallow clone remembers too little")
    repository = other_digest(archive, monkeypatch)
    path = repository / "baseline" / "train.py"
    path.write_text(path.read_text() + "# a new version of the baseline\n")
    assert {finding.file for finding in unsound(repository, sample=0)} == {"baseline", "baseline/train.py"}
    real = tracks.load("cpu-logic")
    frozen = real.baseline.model_copy(update={"tree_sha256": submission.load(repository / "baseline").tree_sha256})
    monkeypatch.setattr(tracks, "load", lambda name: real.model_copy(update={"baseline": frozen}))
    found = list(audit(Ledger(repository / "records"), None, repository, sample=0))
    assert [finding for finding in found if not finding.ok] == []
    (said,) = {f.message.partition(";")[2][:11] for f in found if f.check == "submission tree" and f.file == "baseline"}
    assert said == " in commit "
    for name in (".git", "README.md"):
        shutil.rmtree(repository / name, ignore_errors=True)
    assert unsound(repository, sample=0) == []  # nothing to ask; the message says so
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "-A", "-f"], check=True)
    subprocess.run([*git, "commit", "-qm", "a past without it"], check=True)
    assert {finding.file for finding in unsound(repository, sample=0)} == {"baseline"}


# ---------------------------------------------------------------- many records


def test_several_processes_find_what_one_finds(pristine, monkeypatch):
    module = sys.modules["harness.audit.audit"]
    alone = findings(pristine, sample=0)
    monkeypatch.setattr(module, "ALONE", -1)
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1})
    together = findings(pristine, sample=0)
    assert together != alone  # another order: it was done elsewhere
    assert sorted(map(astuple, together)) == sorted(map(astuple, alone))


def test_a_sample_is_drawn_afresh_and_named(pristine):
    draws = set()
    for _ in range(40):
        first = next(audit(Ledger(pristine / "records"), None, pristine, sample=1))
        draws.add(first.message.rpartition(": ")[2])
    assert len(draws) > 1 and draws <= set(RECORDS)


def test_evidence_that_unpacks_to_too_much_is_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["harness.audit.audit"], "MAX_EVIDENCE_BYTES", 1000)
    for data in (b"1\n" * 501, b"1" * 1001):
        (tmp_path / "bomb.xz").write_bytes(lzma.compress(data))
        with pytest.raises(ValueError, match="more than 1,000 bytes"):
            list(evidence_lines(tmp_path / "bomb.xz"))


@pytest.mark.skipif(SSH is None, reason="ssh-keygen is not installed")
@pytest.mark.parametrize("name", RECORDS)
def test_openssh_accepts_each_record_and_refuses_it_changed(name):
    folder = ROOT / "records" / name
    data = (folder / "record.json").read_bytes()
    predicate = json.loads(data)["predicate"]
    when = "".join(c for c in predicate["created_utc"] if c.isdigit()) + "Z"
    command = [SSH, "-Y", "verify", "-f", ROOT / "records" / "allowed_signers", "-I", predicate["signer"]]
    command += ["-n", "nano-r1-record-v1", "-s", folder / "record.json.sig", f"-Overify-time={when}"]
    assert subprocess.run(command, input=data, capture_output=True).returncode == 0
    changed = bytearray(data)
    changed[len(data) // 2] ^= 1
    assert subprocess.run(command, input=bytes(changed), capture_output=True).returncode != 0
