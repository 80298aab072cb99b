"""Line ends: no git changes them here, and where one did, the audit says that it was git."""

import shutil
from pathlib import Path

import pytest
from git_repository import git

from harness.audit.audit import audit
from harness.ledger.store import Ledger
from harness.tracks.track import ROOT

PARTS = ("records", "submissions", "baseline", "baseline-deduction")


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    """What the audit reads, committed; without .gitattributes."""
    folder = tmp_path / "origin"
    for name in PARTS:
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns(".lock", "__pycache__"))
    git(tmp_path, "init", "-qb", "main", folder)
    git(folder, "add", "-A", "-f")
    git(folder, "commit", "-qm", "as it is")
    return folder


def clone(origin: Path, target: Path) -> Path:
    git(origin.parent, "-c", "core.autocrlf=true", "clone", "-q", "--config", "core.autocrlf=true", origin, target)
    return target


def test_an_audit_of_a_clone_with_other_line_ends_says_that_git_changed_them(origin: Path, tmp_path: Path) -> None:
    copy = clone(origin, tmp_path / "copy")
    assert b"\r\n" in (copy / "records" / "index").read_bytes()
    *results, last = audit(Ledger(copy / "records"), None, copy, sample=0)
    assert [result.check for result in results if not result.ok]
    assert (last.check, last.ok) == ("line ends", False) and "your git changed line ends" in last.message
    assert last.message.endswith("Clone again with `git clone --config core.autocrlf=false`")


def test_one_file_that_an_editor_saved_is_named(origin: Path) -> None:
    path = origin / "submissions" / "lean" / "train.py"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    bad = [result for result in audit(Ledger(origin / "records"), None, origin, sample=0) if not result.ok]
    assert bad[-1].check == "line ends" and bad[-1].file == "submissions/lean/train.py"
    assert "this file has CR LF" in bad[-1].message


def test_other_damage_is_not_blamed_on_git(origin: Path) -> None:
    path = origin / "submissions" / "lean" / "train.py"
    path.write_bytes(path.read_bytes() + b"# more\n")
    bad = [result.check for result in audit(Ledger(origin / "records"), None, origin, sample=0) if not result.ok]
    assert bad and "line ends" not in bad


def test_with_the_projects_attributes_no_setting_changes_a_byte(origin: Path, tmp_path: Path) -> None:
    shutil.copyfile(ROOT / ".gitattributes", origin / ".gitattributes")
    git(origin, "add", "-f", ".gitattributes")
    git(origin, "commit", "-qm", "attributes")
    copy = clone(origin, tmp_path / "copy")
    different = [
        path.relative_to(origin)
        for path in origin.rglob("*")
        if path.is_file()
        and ".git" not in path.parts
        and path.read_bytes() != (copy / path.relative_to(origin)).read_bytes()
    ]
    assert different == []
