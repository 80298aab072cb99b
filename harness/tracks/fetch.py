"""Bring a track's base model from the Hub: exactly the listed files, of exactly the listed bytes, whole or not at all.

They come through the Hub's own cache, so that an interrupted download goes on where it stopped and a model that is
there already is not fetched twice. From there they are linked into a folder of plain files: the cache's snapshots are
made of links that lead out of the folder, and would lead nowhere in the sandbox. A base in shards becomes one file too.
"""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.benchmarks.pinned import HUB, INSTALL, endpoint, offline
from harness.errors import NanoR1Error
from harness.tracks import shards
from harness.tracks.files import TrackError, sha256_of
from harness.tracks.schema import Track


class FetchError(NanoR1Error):
    """The base model cannot be had, or is not the one that the track names; the message says what to do."""


def fetch(track: Track, said: Callable[[str], None] = lambda line: None) -> dict[str, str]:
    """Fill `track.base_folder`. Returns the SHA-256 of each file whose hash the track does not know.

    `said` hears a line a file. Raises FetchError, ShardError; then the folder is as it was.
    """
    if track.base.repo is None:
        raise FetchError(f"the base model of {track.name} is part of this repository: {track.base.folder}")
    folder = track.base_folder
    if folder.is_dir():
        try:
            track.check_files()
        except (TrackError, shards.ShardError) as error:
            said(f"fetching again: {error}")
        else:
            said(f"{folder} is there already")
            return _unknown(track)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching.") as work:
        stage = Path(work) / "base"
        stage.mkdir()
        stage.chmod(0o755)  # whatever the umask: the sandbox user must be able to read it
        for name, wanted in track.base.files.items():
            path = _from_hub(track, name)
            found = sha256_of(path)
            if wanted is not None and found != wanted:
                raise FetchError(
                    f"{track.name}: {name} of {track.base.repo} at {track.base.revision} is not the track's (SHA-256 "
                    f"{found}, listed {wanted}); delete {path.resolve()} and fetch again, and if it stays so, "
                    f"{'HF_ENDPOINT serves something else' if 'HF_ENDPOINT' in os.environ else 'the track is wrong'}"
                )
            _place(path.resolve(), stage / name)
            said(f"{name}: {path.stat().st_size:,} bytes, {'as listed' if wanted else f'SHA-256 {found}, not listed'}")
        if track.base.shards:
            said(f"joining {len(track.base.shards)} shards into model.safetensors")
            shards.join(stage / "model.safetensors", [stage / name for name in track.base.shards])
        if folder.exists():
            shutil.rmtree(folder)
        os.rename(stage, folder)
    return _unknown(track)


def _unknown(track: Track) -> dict[str, str]:
    return {name: sha256_of(track.base_folder / name) for name in track.base.unknown}


def _place(path: Path, target: Path) -> None:
    """A second name where the file system allows one, else a copy."""
    try:
        os.link(path, target)
    except OSError:
        shutil.copyfile(path, target)
    target.chmod(0o644)


def _from_hub(track: Track, name: str) -> Path:
    """One file, from the cache or the network."""
    try:
        modules = ("httpx", "huggingface_hub", "huggingface_hub.errors")
        libraries: list[Any] = [importlib.import_module(module) for module in modules]
    except ImportError:
        raise FetchError(f"{track.name}: its base model is on the Hub; huggingface_hub is needed: {INSTALL}") from None
    httpx, huggingface_hub, hub = libraries
    repo, revision, page = track.base.repo, track.base.revision, f"{HUB}/{track.base.repo}"
    try:
        return Path(
            huggingface_hub.hf_hub_download(
                repo,
                name,
                revision=revision,
                endpoint=endpoint(),
                cache_dir=os.environ.get("HF_HUB_CACHE"),
                local_files_only=offline(),
            )
        )
    except hub.GatedRepoError:
        raise FetchError(
            f"{track.name}: {repo} is gated; accept its terms at {page} with a Hugging Face account, make a token with "
            "read access at https://huggingface.co/settings/tokens, and set HF_TOKEN to it (or run `hf auth login`)"
        ) from None
    except hub.RepositoryNotFoundError:
        raise FetchError(
            f"{track.name}: there is no {repo} at {endpoint()}, or HF_TOKEN is not taken there; look for it at {page}"
        ) from None
    except hub.RevisionNotFoundError:
        raise FetchError(
            f"{track.name}: {repo} no longer has the commit {revision}: its history was rewritten. Only a copy with "
            "the hashes that the track lists is the same base model"
        ) from None
    except hub.LocalEntryNotFoundError as error:  # comes before EntryNotFoundError, of which it is one
        raise FetchError(_unreachable(track, name, error.__cause__)) from None
    except hub.EntryNotFoundError:
        raise FetchError(
            f"{track.name}: {repo} at {revision} has no file {name}; the track lists one that never was there"
        ) from None
    except (httpx.HTTPError, OSError, RuntimeError) as error:  # hf_xet, which fetches big files, raises RuntimeError
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the Hub
        raise FetchError(_unreachable(track, name, error)) from None


def _unreachable(track: Track, name: str, error: BaseException | None) -> str:
    if offline():
        return (
            f"{track.name}: {name} of {track.base.repo} is not in the cache and HF_HUB_OFFLINE is set; unset it and "
            "fetch once while online"
        )
    why = f" ({' '.join(str(error).split())[:200]})" if error is not None and str(error) else ""
    return (
        f"{track.name}: {name} of {track.base.repo} is not in the cache and {endpoint()} does not hand it out{why}; "
        "check the connection and fetch again, or set HF_ENDPOINT to a mirror"
    )
