"""Whom another branch trusts and this one does not: a merge appends entries, and trust is for a person to give."""

from __future__ import annotations

from pathlib import Path

from harness.ledger.git import Git
from harness.ledger.index import TRUSTED


def lines_only_theirs(git: Git, commit: str, ledger: Path) -> list[tuple[str, str]]:
    """(file, line) for each line of the trusted files of `commit` that those in `ledger` lack."""
    missing = []
    for name in TRUSTED:
        path = ledger / name
        ours = _lines(path.read_bytes()) if path.is_file() else []
        missing += [(name, line) for line in _lines(git.read(commit, name) or b"") if line not in ours]
    return missing


def _lines(data: bytes) -> list[str]:
    return data.decode(errors="replace").splitlines()
