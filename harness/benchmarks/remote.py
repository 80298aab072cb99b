"""One file of a commit on the Hugging Face Hub or on GitHub: from the cache or the network, whole or not at all.

Whatever goes wrong is one sentence that says what to do. huggingface_hub resumes an interrupted download and keeps
what it has in its cache. It reads HF_ENDPOINT, HF_HUB_CACHE and HF_HUB_OFFLINE once, when it is imported; here they are
read at each call and passed on, so that a mirror set later is used. HF_TOKEN it reads at each call itself.
"""

from __future__ import annotations

import http.client
import importlib
import os
import shutil
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness import files
from harness.errors import NanoR1Error

GITHUB = "https://raw.githubusercontent.com"
HUB = "https://huggingface.co"
INSTALL = "scripts/setup.sh tasks"
TIMEOUT_SECONDS = 30


class SourceError(NanoR1Error):
    """What was published cannot be had, or is not what was pinned. The message says what to do."""


@dataclass(frozen=True)
class Repository:
    """A commit of a repository. `name` is ours and begins each message; `listed_in`: where the repository is named."""

    name: str
    repo: str  # owner/name
    revision: str | None  # commit, 40 hex digits; None: not known
    kind: Literal["dataset", "model", "github"]
    gated: bool = False  # needs an account that accepted the owners' terms
    listed_in: str = "the source"

    @property
    def page(self) -> str:
        if self.kind == "github":
            return f"https://github.com/{self.repo}"
        return f"{HUB}/{'datasets/' if self.kind == 'dataset' else ''}{self.repo}"


def download(repository: Repository, file: str, sha256: str | None) -> Path:
    """Where the file lies now; its bytes are those of `sha256` (hex) unless that is None.

    Raises SourceError; OSError for a fault of this machine's disk.
    """
    path = _from_github(repository, file) if repository.kind == "github" else _from_hub(repository, file)
    if sha256 is not None and (actual := files.sha256_of(path)) != sha256:
        raise SourceError(
            f"{repository.name}: {file} of {repository.repo} at {repository.revision} is not the file that was pinned "
            f"(SHA-256 {actual}, pinned {sha256}); delete {path.resolve()} and load it again, and if it stays so, "
            f"{'HF_ENDPOINT serves something else' if 'HF_ENDPOINT' in os.environ else 'the file was replaced'}"
        )
    return path


def newest_commit(repository: Repository) -> str:
    """The revision that a data set on the Hub is at. Raises SourceError."""
    if repository.kind == "github":
        raise SourceError(f"{repository.name}: name a commit of {repository.page} in the source, then pin it")
    httpx, huggingface_hub, hub = _hub_libraries(repository)
    try:
        revision = huggingface_hub.HfApi(endpoint=endpoint()).dataset_info(repository.repo).sha
    except hub.RepositoryNotFoundError:
        raise SourceError(_gone(repository)) from None
    except (httpx.HTTPError, hub.OfflineModeIsEnabled) as error:
        raise SourceError(_refused(repository, "its list of commits", error)) from None
    if revision is None:
        raise SourceError(
            f"{repository.name}: {endpoint()} does not say which commit {repository.repo} is at; name one"
        )
    return str(revision)


def endpoint() -> str:
    return (os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")


def offline() -> bool:
    return os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE")


# ---------------------------------------------------------------- the Hub


def _from_hub(repository: Repository, file: str) -> Path:
    httpx, huggingface_hub, hub = _hub_libraries(repository)
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repository.repo,
                file,
                repo_type=repository.kind,
                revision=repository.revision,
                endpoint=endpoint(),
                cache_dir=os.environ.get("HF_HUB_CACHE"),
                local_files_only=offline(),
            )
        )
    except hub.GatedRepoError:
        raise SourceError(_gated(repository)) from None
    except hub.RepositoryNotFoundError:
        raise SourceError(_gated(repository) if repository.gated else _gone(repository)) from None
    except hub.RevisionNotFoundError:
        raise SourceError(
            f"{repository.name}: {repository.repo} no longer has the commit {repository.revision}; its history was "
            f"rewritten. Look at {repository.page}/commits/main for the commit that holds the same content"
        ) from None
    except hub.LocalEntryNotFoundError as error:  # comes before EntryNotFoundError, of which it is one
        raise SourceError(_refused(repository, file, error.__cause__)) from None
    except hub.EntryNotFoundError:
        raise SourceError(_renamed(repository, file)) from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:  # hf_xet, which fetches big files, raises RuntimeError
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the Hub
        raise SourceError(_refused(repository, file, error)) from None


def _hub_libraries(repository: Repository) -> tuple[Any, Any, Any]:
    """httpx, huggingface_hub and its errors; imported late, for they take most of a second."""
    try:
        names = ("httpx", "huggingface_hub", "huggingface_hub.errors")
        httpx, huggingface_hub, errors = (importlib.import_module(name) for name in names)
    except ImportError:
        raise SourceError(f"{repository.name} is on the Hub, for which huggingface_hub is needed: {INSTALL}") from None
    return httpx, huggingface_hub, errors


def _refused(repository: Repository, file: str, error: BaseException | None) -> str:
    """What to do about an error that huggingface_hub has no class for, or hides behind "not in the cache"."""
    _, _, hub = _hub_libraries(repository)
    status = error.response.status_code if isinstance(error, hub.HfHubHTTPError) else None
    if isinstance(error, hub.DisabledRepoError):
        return (
            f"{repository.name}: the Hub has disabled {repository.repo}, as a rule for its licence; {repository.page} "
            "says why. Pin another copy of the same content"
        )
    if repository.gated and status == 403:  # a token without the right to read gated sets
        return _gated(repository)
    if status == 401:
        return (
            f"{repository.name}: {endpoint()} does not take the token in HF_TOKEN (or that of `hf auth login`): it has "
            "expired or was mistyped. Make a new one at https://huggingface.co/settings/tokens; what is public needs "
            "none"
        )
    return _unreachable(repository, file, error)


# ---------------------------------------------------------------- GitHub


def _from_github(repository: Repository, file: str) -> Path:
    """Like the Hub's cache: a file of a commit never changes, so one that is there is not asked for again."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    path = cache / "nano-r1" / repository.repo / str(repository.revision) / file
    if path.is_file():
        return path
    if offline():
        raise SourceError(_unreachable(repository, file, None))
    path.parent.mkdir(parents=True, exist_ok=True)
    url = f"{GITHUB}/{repository.repo}/{repository.revision}/{file}"
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_SECONDS) as answer, files.replacing(path) as copy:
            shutil.copyfileobj(answer, copy)
            promised = answer.headers.get("Content-Length")
            if promised is not None and copy.tell() != int(promised):  # http.client does not mind
                raise ConnectionError(f"it broke off after {copy.tell():,} of {promised} bytes")
    except urllib.error.HTTPError as error:
        # GitHub says 404 for a repository, a commit and a file alike.
        message = _renamed(repository, file) if error.code == 404 else _unreachable(repository, file, error)
        raise SourceError(message) from None
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        raise SourceError(_unreachable(repository, file, error)) from None
    return path


# ---------------------------------------------------------------- what to do about it


def _gated(repository: Repository) -> str:
    return (
        f"{repository.name}: {repository.repo} is gated; accept its terms at {repository.page} with a Hugging Face "
        "account, make a token with read access at https://huggingface.co/settings/tokens, and set HF_TOKEN to it (or "
        "run `hf auth login`)"
    )


def _gone(repository: Repository) -> str:
    return (
        f"{repository.name}: there is no {repository.repo} at {endpoint()}; it was renamed without a redirect, removed "
        f"or made private. Look for it at {repository.page} and put its new name into {repository.listed_in}: revision "
        "and hashes stay"
    )


def _renamed(repository: Repository, file: str) -> str:
    return (
        f"{repository.name}: {repository.repo} at {repository.revision} has no file {file}; look at "
        f"{repository.page}/tree/{repository.revision} for its new name and put that into {repository.listed_in}"
    )


def _unreachable(repository: Repository, file: str, error: BaseException | None) -> str:
    missing = f"{repository.name}: {file} of {repository.repo} is not in the cache and"
    if offline():
        return f"{missing} HF_HUB_OFFLINE is set; unset it and try once while online"
    reason = f" ({' '.join(str(error).split())[:200]})" if error is not None and str(error) else ""
    host, mirror = (GITHUB, "") if repository.kind == "github" else (endpoint(), ", or set HF_ENDPOINT to a mirror")
    return f"{missing} {host} does not hand it out{reason}; check the connection and try again{mirror}"
