"""The audit on this repository's own records: clean as they are, and every kind of change found and named."""

import json
import lzma
import shutil
import subprocess

import pytest

from harness.audit import audit
from harness.ledger.log import Ledger
from harness.tracks.track import ROOT

RECORDS = sorted(path.parent.name for path in (ROOT / "records").glob("*/record.json"))
SSH = shutil.which("ssh-keygen")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A copy of what an audit reads, outside git."""
    copy = tmp_path_factory.mktemp("repository")
    if not RECORDS:
        pytest.fail("records/ is empty: there is nothing to audit")
    for name in ("records", "submissions", "baseline", "leaderboard"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.py", ".lock"))
    shutil.copyfile(ROOT / "baseline" / "train.py", copy / "baseline" / "train.py")
    for folder in (ROOT / "submissions").iterdir():
        if folder.is_dir():
            shutil.copyfile(folder / "train.py", copy / "submissions" / folder.name / "train.py")
    shutil.copyfile(ROOT / "README.md", copy / "README.md")
    return copy


@pytest.fixture
def copy(pristine, tmp_path):
    shutil.copytree(pristine, tmp_path / "repository")
    return tmp_path / "repository"


def findings(repository):
    return list(audit(Ledger(repository / "records"), repository / "leaderboard", repository))


def wrong(repository):
    return [finding for finding in findings(repository) if not finding.ok]


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
    assert len(RECORDS) >= 3 and len(regraded) >= 5 * len(RECORDS)


def test_one_completion_changed(copy):
    """Re-compressed and re-hashed it would still break the signature; either way the file is named."""
    path = copy / "records" / RECORDS[0] / "completions.jsonl.xz"
    lines = [json.loads(line) for line in lzma.decompress(path.read_bytes()).splitlines()]
    lines[0]["completions"][0] = lines[0]["completions"][0][:-1]
    path.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    found = wrong(copy)
    assert any(finding.file.endswith(f"{RECORDS[0]}/completions.jsonl.xz") for finding in found)
    assert any("re-graded" in finding.check for finding in found)


def test_one_number_changed(copy):
    path = copy / "records" / RECORDS[0] / "record.json"
    text = path.read_text()
    wall = json.loads(text)["predicate"]["runs"][0]["wall_ms"]
    path.write_text(text.replace(f'"wall_ms": {wall}', f'"wall_ms": {wall - 1}', 1))
    assert any(finding.file == f"{RECORDS[0]}/record.json" for finding in wrong(copy))


def test_one_line_of_a_submission_changed(copy):
    for record in RECORDS:
        folder = json.loads((copy / "records" / record / "record.json").read_bytes())["predicate"]["submission"]["path"]
        path = copy / folder / "train.py"
        before = path.read_text()
        path.write_text(before + "# a comment\n")
        assert {finding.file for finding in wrong(copy)} >= {folder}
        path.write_text(before)


def test_one_index_line_changed(copy):
    path = copy / "records" / "index"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:1], lines[2], lines[1], *lines[3:]]))
    assert any(finding.file in ("index", "checkpoint") for finding in wrong(copy))


def test_the_board_edited_by_hand(copy):
    for name in ("leaderboard/README.md", "README.md"):
        path = copy / name
        before = path.read_text()
        path.write_text(before.replace("| 1 |", "| 9 |", 1))
        assert [finding.file for finding in wrong(copy)] == [name]
        path.write_text(before)


def test_a_rewritten_history_is_found(copy):
    git = ["git", "-C", str(copy), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "as it was"]):
        subprocess.run([*git, *command], check=True)
    assert wrong(copy) == []
    checkpoint = copy / "records" / "checkpoint"
    origin, _, root = checkpoint.read_text().splitlines()
    checkpoint.write_text(f"{origin}\n99\n{root}\n")
    subprocess.run([*git, "commit", "-qam", "a longer log"], check=True)
    subprocess.run([*git, "revert", "--no-edit", "HEAD"], check=True, capture_output=True)
    assert [(finding.check, finding.file) for finding in wrong(copy)] == [("history", "index")]


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
