"""A published data set, read only if it is exactly the one that was pinned.

A data set on the Hub can be edited under its name, renamed, gated or withdrawn, and a score measured before and after
is then two scores. So a `Source` names a commit (40 hex digits, never a branch), the files, the number of rows, and
one or both of: the SHA-256 of each file's bytes, and the SHA-256 of the rows' content. `load` checks all that is
known and refuses a source of which too little is. A hash is written here only if it was computed from the real file,
by us or in public by several others who agree; `evidence` says by whom.

Why the files are named, and not left to `datasets.load_dataset(repo, config)`: that follows the repository's README,
which can be edited too, and caches tables under names of its own.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

from harness import files  # not `from harness.files`: no part of what decides, and so of a digest
from harness.benchmarks import remote
from harness.benchmarks.remote import Repository, SourceError
from harness.benchmarks.rows import Row, read

__all__ = ["Row", "Source", "SourceError", "check", "content", "load", "pin", "unknown"]

HOSTS = {"hub": "the Hugging Face Hub", "github": "GitHub"}


@dataclass(frozen=True)
class Source:
    """Where a data set is and what it must be. None: not known, see `unknown` and `evidence`."""

    name: str  # ours, as in the registry
    repo: str  # owner/name
    revision: str | None  # commit, 40 hex digits
    files: dict[str, str | None]  # path in the repository -> SHA-256 of its bytes
    columns: tuple[str, ...]  # those that are read, and hashed
    rows: int | None
    sha256: str | None  # of the content: see `content`
    config: str  # what the README calls this part of the data set; `files` says which files that is
    split: str
    licence: str
    evidence: str  # who established revision, rows and hashes
    host: Literal["hub", "github"] = "hub"
    gated: bool = False  # needs an account that accepted the owners' terms

    @property
    def repository(self) -> Repository:
        kind: Literal["dataset", "github"] = "dataset" if self.host == "hub" else "github"
        return Repository(self.name, self.repo, self.revision, kind, self.gated)

    @property
    def page(self) -> str:
        return self.repository.page


def load(source: Source) -> Iterator[Row]:
    """Fetch, check, and only then read: every row, in the order of the files, with `source.columns` and no others.

    The rows are read twice, first to be counted and hashed, so memory does not grow with them.
    Raises SourceError for all that is wrong, before the first row is handed out.
    """
    missing = unknown(source)
    if missing:
        raise SourceError(
            f"{source.name} is not pinned: never seen here ({', '.join(missing)} unknown; {source.evidence}), so an "
            f"edited copy would go unnoticed; run `python -m harness.benchmarks pin {source.name}` where "
            f"{HOSTS[source.host]} can be reached, look at what it fetched, and write what it prints into the source"
        )
    paths = [remote.download(source.repository, file, sha256) for file, sha256 in source.files.items()]
    check(source, _rows(source, paths), same_bytes=all(source.files.values()))
    return _rows(source, paths)


def unknown(source: Source) -> list[str]:
    """What would have to be known before `load` can tell the real data from an edited copy."""
    missing = []
    if source.revision is None or not re.fullmatch("[0-9a-f]{40}", source.revision):
        missing.append("revision")
    if source.rows is None:
        missing.append("row count")
    if source.sha256 is None and not all(source.files.values()):
        missing.append("content hash")
    return missing


def check(source: Source, rows: Iterable[Row], *, same_bytes: bool = False) -> None:
    """Are these the rows that were pinned? For a copy that came by another way than `load`, too.

    same_bytes: the files were already found to be those that were pinned, so that a difference is not in them.
    """
    count, digest = content(rows, source.columns)
    where = f"{source.name} ({source.repo} at {source.revision})"
    if count != source.rows:
        raise SourceError(
            f"{where} has {count:,} rows where {source.rows or 0:,} were pinned; it is another split, or cut short: "
            "delete the copy and load it again"
        )
    if source.sha256 is not None and digest != source.sha256:
        blame = (
            "its files are those that were pinned, byte for byte, so the pin is wrong or this version of `datasets` "
            f"reads them otherwise: compare with `python -m harness.benchmarks pin {source.name}` and report it"
            if same_bytes
            else "it was edited: delete the copy and load it again, and do not pin it anew before you know what changed"
        )
        raise SourceError(
            f"{where} has the right number of rows but other content (SHA-256 {digest}, pinned {source.sha256}); "
            f"{blame}"
        )


def content(rows: Iterable[Row], columns: Iterable[str]) -> tuple[int, str]:
    """(how many, SHA-256 in hex) of the rows' content, whatever the file format.

    Each row is one line of ASCII JSON: the columns in alphabetical order, no blanks, strings as they are. So a Parquet
    file and the JSON lines that it was made from have the same hash, and reordered rows have another.
    """
    names = sorted(columns)
    digest, count = hashlib.sha256(), 0
    for row in rows:
        try:
            line = json.dumps({name: row[name] for name in names}, separators=(",", ":"))
        except TypeError as error:
            raise SourceError(
                f"row {count} holds what is neither text nor a number ({error}); leave that column out"
            ) from None
        digest.update(line.encode("ascii") + b"\n")
        count += 1
    return count, digest.hexdigest()


def pin(source: Source) -> str:
    """Fetch what is there now and say what to write into the source. For a person, who looks before believing it."""
    revision = source.revision or remote.newest_commit(source.repository)
    unpinned = replace(source, revision=revision)
    paths = [remote.download(unpinned.repository, file, None) for file in source.files]
    count, digest = content(_rows(unpinned, paths), source.columns)
    hashes = zip(source.files, map(files.sha256_of, paths), strict=True)
    lines = "".join(f'        "{file}": "{sha256}",\n' for file, sha256 in hashes)
    return f'    revision="{revision}",\n    files={{\n{lines}    }},\n    rows={count:_},\n    sha256="{digest}",\n'


def _rows(source: Source, paths: Iterable[Path]) -> Iterator[Row]:
    return chain.from_iterable(read(path, source.columns) for path in paths)
