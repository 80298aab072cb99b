"""Why so much fails at once: git, or an editor, wrote the files with other line ends than were committed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from harness.ledger import git
from harness.ledger.errors import CheckResult

FRESH = "git clone --config core.autocrlf=false"


def check_line_ends(*folders: Path) -> Iterator[CheckResult]:
    """A failure for each repository around these folders in which files have CR LF where LF was committed."""
    for top in dict.fromkeys(filter(None, map(_top, folders))):
        changed = []
        for row in filter(None, git.run(top, "ls-files", "--eol", "-z").decode(errors="replace").split("\0")):
            about, _, name = row.partition("\t")  # i/lf w/crlf attr/-text
            committed, present = about.split()[:2]
            if committed == "i/lf" and present in ("w/crlf", "w/mixed"):
                changed.append(name)
        if changed:
            files = f"{len(changed)} files have" if len(changed) > 1 else "this file has"
            yield CheckResult(
                "line ends", changed[0], False,
                f"your git changed line ends: {files} CR LF where LF was committed, and what is signed and hashed are "
                f"bytes. Clone again with `{FRESH}`",
            )  # fmt: skip


def _top(folder: Path) -> Path | None:
    try:
        return Path(os.fsdecode(git.run(folder, "rev-parse", "--show-toplevel").removesuffix(b"\n")))
    except git.GitError:
        return None
