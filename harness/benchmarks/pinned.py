"""A published data set, read only if it is exactly the one that was pinned.

A data set on the Hub can be edited under its name, renamed, gated or withdrawn, and a score measured before and after
is then two scores. So a `Source` names a commit (40 hex digits, never a branch), the files, the number of rows, and
one or both of: the SHA-256 of each file's bytes, and the SHA-256 of the rows' content. `load` checks all that is
known and refuses a source of which too little is. A hash is written here only if it was computed from the real file,
by us or in public by several others who agree; `evidence` says by whom.

Why the files are named, and not left to `datasets.load_dataset(repo, config)`: that follows the repository's README,
which can be edited too, and caches tables under names of its own. huggingface_hub fetches, `datasets` reads Parquet.
JSON and CSV are read by the standard library, because `datasets` guesses types there: it turns an option "None" or
"NA" into a missing value and a column of dates into timestamps.

huggingface_hub reads HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE once, when it is imported. Here they are read at
each call and passed on, so that a mirror set later is used. HF_TOKEN it reads at each call itself.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import http.client
import importlib
import json
import os
import re
import shutil
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import IO, Any, Literal

from harness.errors import NanoR1Error

Row = dict[str, Any]

GITHUB = "https://raw.githubusercontent.com"
HUB = "https://huggingface.co"
HOSTS = {"hub": "the Hugging Face Hub", "github": "GitHub"}
INSTALL = "pip install -e '.[tasks]'"
TIMEOUT_SECONDS = 30


class SourceError(NanoR1Error):
    """A data set that cannot be had, or is not the one that was pinned. The message says what to do."""


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
    def page(self) -> str:
        return f"{HUB}/datasets/{self.repo}" if self.host == "hub" else f"https://github.com/{self.repo}"


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
    paths = [fetch(source, file) for file in source.files]
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
    revision = source.revision or _head(source)
    unpinned = replace(source, revision=revision, files=dict.fromkeys(source.files), rows=None, sha256=None)
    paths = [fetch(unpinned, file) for file in source.files]
    count, digest = content(_rows(unpinned, paths), source.columns)
    files = "".join(f'        "{file}": "{_digest(path)}",\n' for file, path in zip(source.files, paths, strict=True))
    return f'    revision="{revision}",\n    files={{\n{files}    }},\n    rows={count:_},\n    sha256="{digest}",\n'


# ---------------------------------------------------------------- fetching


def fetch(source: Source, file: str) -> Path:
    """One file of the source, from the cache or the network, with the pinned bytes if those are known."""
    path = _from_hub(source, file) if source.host == "hub" else _from_github(source, file)
    wanted = source.files[file]
    if wanted is not None and (found := _digest(path)) != wanted:
        raise SourceError(
            f"{source.name}: {file} of {source.repo} at {source.revision} is not the file that was pinned "
            f"(SHA-256 {found}, pinned {wanted}); delete {path.resolve()} and load it again, and if it stays "
            f"so, {'HF_ENDPOINT serves something else' if 'HF_ENDPOINT' in os.environ else 'the data was replaced'}"
        )
    return path


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


def _from_hub(source: Source, file: str) -> Path:
    httpx, huggingface_hub, hub = _hub_libraries(source)
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                source.repo,
                file,
                repo_type="dataset",
                revision=source.revision,
                endpoint=endpoint(),
                cache_dir=os.environ.get("HF_HUB_CACHE"),
                local_files_only=offline(),
            )
        )
    except hub.GatedRepoError:
        raise SourceError(_gated(source)) from None
    except hub.RepositoryNotFoundError:
        raise SourceError(_gated(source) if source.gated else _gone(source)) from None
    except hub.RevisionNotFoundError:
        raise SourceError(
            f"{source.name}: {source.repo} no longer has the commit {source.revision}; its history was rewritten. Look "
            f"at {source.page}/commits/main and pin the commit that holds the same content"
        ) from None
    except hub.LocalEntryNotFoundError as error:  # comes before EntryNotFoundError, of which it is one
        raise SourceError(_refused(source, file, error.__cause__)) from None
    except hub.EntryNotFoundError:
        raise SourceError(_renamed(source, file)) from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:  # hf_xet, which fetches big files, raises RuntimeError
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the Hub
        raise SourceError(_refused(source, file, error)) from None


def _head(source: Source) -> str:
    """The newest commit of a repository on the Hub."""
    if source.host == "github":
        raise SourceError(f"{source.name}: name a commit of {source.page} in the source, then pin it")
    httpx, huggingface_hub, hub = _hub_libraries(source)
    try:
        found = huggingface_hub.HfApi(endpoint=endpoint()).dataset_info(source.repo).sha
    except hub.RepositoryNotFoundError:
        raise SourceError(_gone(source)) from None
    except (httpx.HTTPError, hub.OfflineModeIsEnabled) as error:
        raise SourceError(_refused(source, "its list of commits", error)) from None
    if found is None:
        raise SourceError(f"{source.name}: {endpoint()} does not say which commit {source.repo} is at; name one")
    return str(found)


def _hub_libraries(source: Source) -> tuple[Any, Any, Any]:
    """httpx, huggingface_hub and its errors; imported late, for they take most of a second."""
    try:
        names = ("httpx", "huggingface_hub", "huggingface_hub.errors")
        httpx, huggingface_hub, errors = (importlib.import_module(name) for name in names)
    except ImportError:
        raise SourceError(f"{source.name} is on the Hub, for which huggingface_hub is needed: {INSTALL}") from None
    return httpx, huggingface_hub, errors


def _refused(source: Source, file: str, error: BaseException | None) -> str:
    """What to do about an error that huggingface_hub has no class for, or hides behind "not in the cache"."""
    _, _, hub = _hub_libraries(source)
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    if isinstance(error, hub.DisabledRepoError):
        return (
            f"{source.name}: the Hub has disabled {source.repo}, as a rule for its licence; {source.page} says why. "
            "Pin another copy of the same rows"
        )
    if source.gated and status == 403:  # a token without the right to read gated sets
        return _gated(source)
    if status == 401:
        return (
            f"{source.name}: {endpoint()} does not take the token in HF_TOKEN (or that of `hf auth login`): it has "
            "expired or was mistyped. Make a new one at https://huggingface.co/settings/tokens; a public set needs none"
        )
    return _unreachable(source, file, error)


def _from_github(source: Source, file: str) -> Path:
    """Like the Hub's cache: a file of a commit never changes, so one that is there is not asked for again."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "nano-r1" / source.repo / str(source.revision) / file
    if path.is_file():
        return path
    if offline():
        raise SourceError(_unreachable(source, file, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    url = f"{GITHUB}/{source.repo}/{source.revision}/{file}"
    try:
        with (
            urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer,
            tempfile.NamedTemporaryFile(dir=path.parent) as partial,
        ):
            shutil.copyfileobj(answer, partial)
            promised = answer.headers.get("Content-Length")
            if promised is not None and partial.tell() != int(promised):  # http.client does not mind
                raise ConnectionError(f"it broke off after {partial.tell():,} of {promised} bytes")
            partial.flush()
            os.link(partial.name, path)  # the whole file or none
    except FileExistsError:  # another process was faster, with the same bytes
        pass
    except urllib.error.HTTPError as error:
        # GitHub says 404 for a repository, a commit and a file alike.
        raise SourceError(_renamed(source, file) if error.code == 404 else _unreachable(source, file, error)) from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SourceError(_unreachable(source, file, error)) from None
    return path


def _gated(source: Source) -> str:
    return (
        f"{source.name}: {source.repo} is gated; accept its terms at {source.page} with a Hugging Face account, make "
        "a token with read access at https://huggingface.co/settings/tokens, and set HF_TOKEN to it (or run "
        "`hf auth login`)"
    )


def _gone(source: Source) -> str:
    return (
        f"{source.name}: there is no {source.repo} at {endpoint()}; it was renamed without a redirect, removed or "
        f"made private. Look for it at {source.page} and put its new name into the source: revision and hashes stay"
    )


def _renamed(source: Source, file: str) -> str:
    return (
        f"{source.name}: {source.repo} at {source.revision} has no file {file}; look at {source.page}/tree/"
        f"{source.revision} for its new name and put that into the source"
    )


def _unreachable(source: Source, file: str, error: BaseException | None) -> str:
    host = endpoint() if source.host == "hub" else GITHUB
    if offline():
        return (
            f"{source.name}: {file} of {source.repo} is not in the cache and HF_HUB_OFFLINE is set; unset it and load "
            "once while online"
        )
    why = f" ({' '.join(str(error).split())[:200]})" if error is not None and str(error) else ""
    mirror = ", or set HF_ENDPOINT to a mirror" if source.host == "hub" else ""
    return (
        f"{source.name}: {file} of {source.repo} is not in the cache and {host} does not hand it out{why}; check the "
        f"connection and load again{mirror}"
    )


# ---------------------------------------------------------------- reading


def _rows(source: Source, paths: Iterable[Path]) -> Iterator[Row]:
    return chain.from_iterable(read(path, source.columns) for path in paths)


def read(path: Path, columns: Iterable[str]) -> Iterator[Row]:
    """The rows of a .parquet, .jsonl, .json (one list) or .csv file, or of one packed with gzip, streamed.

    Raises SourceError if the file is no such thing, or if a row lacks one of the columns.
    """
    names = tuple(columns)
    kind = path.name.removesuffix(".gz").rpartition(".")[2]
    if kind not in ("parquet", "jsonl", "json", "csv"):
        raise SourceError(f"{path} ends in none of .parquet, .jsonl, .json, .csv; name another file in the source")
    try:
        for number, row in enumerate(_parquet(path, names) if kind == "parquet" else _text(path, kind)):
            absent = [name for name in names if row.get(name, _ABSENT) is _ABSENT]
            if absent:
                raise SourceError(
                    f"{path}: row {number} has no column {absent[0]!r}, only {', '.join(map(str, row))}; the column "
                    "was renamed or this is another file: correct the source's columns or its files"
                )
            yield {name: row[name] for name in names}
    except SourceError:
        raise
    except (ValueError, EOFError, OSError, AttributeError, RecursionError, csv.Error, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the data
        what = " ".join(str(error).split())[:200]
        raise SourceError(f"{path} is not readable as {kind} ({what}); delete it and load it again") from None


_ABSENT = object()


def _text(path: Path, kind: str) -> Iterator[Row]:
    file: IO[str]
    with (
        gzip.open(path, "rt", encoding="utf-8", newline="")
        if path.suffix == ".gz"
        else path.open(encoding="utf-8", newline="") as file
    ):
        if kind == "csv":
            header, *rows = csv.reader(file, strict=True)
            for row in rows:
                if row and len(row) != len(header):
                    raise ValueError(f"a row of {len(row)} cells under a header of {len(header)}")
                if row:
                    yield dict(zip(header, row, strict=True))
        elif kind == "json":
            yield from json.load(file)
        else:
            yield from (json.loads(line) for line in file if line.strip())


def _parquet(path: Path, columns: tuple[str, ...]) -> Iterator[Row]:
    try:
        datasets: Any = importlib.import_module("datasets")
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise SourceError(f"{path.name} is Parquet, for which `datasets` is needed: {INSTALL}") from None
    there = parquet.read_schema(path).names
    if not set(columns) <= set(there):
        return iter([dict.fromkeys(there)])  # a row by which `read` can say what is missing
    table = datasets.load_dataset("parquet", data_files=[str(path)], split="train", streaming=True, columns=[*columns])
    return (dict(row) for row in table)
