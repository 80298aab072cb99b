"""The tracks by name: `load` reads one from its TOML file beside this module.

Frozen files import ROOT, Track, TrackError and load from here.
"""

from __future__ import annotations

import tomllib

from pydantic import ValidationError

from harness.errors import first_problem, meant
from harness.tracks import files
from harness.tracks.files import ROOT, TrackError
from harness.tracks.schema import Track

__all__ = ["ROOT", "Track", "TrackError", "load", "load_all", "names"]


def names() -> list[str]:
    return sorted(path.stem for path in files.TRACKS.glob("*.toml"))


def load(name: str) -> Track:
    """The track of that name. Raises TrackError."""
    path = files.TRACKS / f"{name}.toml"
    if name not in names():
        raise TrackError(f"there is no track {name!r}", advice=meant(name, names()) or f"tracks: {', '.join(names())}")
    try:
        track = Track.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise TrackError(f"{path}: {first_problem(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise TrackError(f"{path}: {error}") from None
    if track.name != name:
        raise TrackError(f"{path}: name is {track.name!r}, and the file's is {name!r}: they must be the same")
    return track


def load_all() -> tuple[list[Track], dict[str, TrackError]]:
    """Every track that can be read, and by name why each of the others cannot: one of them stops no other."""
    tracks, unreadable = list[Track](), dict[str, TrackError]()
    for name in names():
        try:
            tracks.append(load(name))
        except TrackError as error:
            unreadable[name] = error
    return tracks, unreadable
