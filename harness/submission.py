"""A submission folder: its manifest, and the digest that names its exact contents."""

from __future__ import annotations

import re
import shutil
import stat
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

from harness import files
from harness.errors import NanoR1Error, meant_beside
from harness.ledger.record import Line, Name, Origin, Source
from harness.ledger.techniques import TECHNIQUES, unknown

MAX_FILES, MAX_BYTES, MAX_TRACKS, MAX_TECHNIQUES = 50, 1_000_000, 32, 16
IGNORED = {"__pycache__", ".DS_Store"}

# What `nano-r1 new` writes for its author to replace: the screen refuses a folder that still says so.
PLACEHOLDER_CHANGE = "what differs from the baseline, in one line"
PLACEHOLDER_CONTRIBUTOR = "your name"
PLACEHOLDER_README = "What changed, why it should help, and what you measured."


class SubmissionError(NanoR1Error):
    """A folder that is not a submission; the message says what is wrong, where, and what to do."""


def _printable(text: str) -> str:
    """Refuse what deceives a reader: terminals obey U+009B as they do escape, and bidi marks reverse text."""
    if not text.isprintable():
        code = next(ord(character) for character in text if not character.isprintable())
        raise ValueError(f"U+{code:04X} cannot be printed: leave it out")
    return text


Printable = Annotated[Line, AfterValidator(_printable)]


class Manifest(BaseModel):
    """submission.toml. One `track`, or several `tracks` on each of which the folder may be verified."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Name  # also the folder's name
    track: Name | None = None
    tracks: Annotated[list[Name] | None, Field(min_length=1, max_length=MAX_TRACKS, validate_default=True)] = None
    title: Printable
    change: Printable  # what differs from the baseline, in one line
    contributors: list[Printable]
    based_on: Origin | None = None  # what train.py started from: a record's folder, a submission or a baseline
    source: Source | None = None  # where the idea comes from: a paper or code
    techniques: Annotated[list[str] | None, Field(min_length=1, max_length=MAX_TECHNIQUES)] = None

    @field_validator("tracks")
    @classmethod
    def _either_track_or_tracks(cls, tracks: list[str] | None, info: ValidationInfo) -> list[str] | None:
        if ("track" in info.data) and (info.data["track"] is None) == (tracks is None):
            raise ValueError('name one track (track = "x") or several (tracks = ["x", "y"]), and not both')
        if tracks is not None and len(set(tracks)) < len(tracks):
            raise ValueError("a track is named twice")
        return tracks

    @field_validator("techniques")
    @classmethod
    def _known_techniques(cls, names: list[str] | None) -> list[str] | None:
        for name in names or []:
            if name not in TECHNIQUES:
                raise ValueError(unknown(name))
        if names is not None and len(set(names)) < len(names):
            raise ValueError("a technique is named twice")
        return names

    @property
    def origins(self) -> str:
        """`based on x; source y; techniques a, b`: what there is of them, on one line; may be empty."""
        parts = [("based on", self.based_on), ("source", self.source), ("techniques", ", ".join(self.techniques or []))]
        return "; ".join(f"{words} {value}" for words, value in parts if value)

    @property
    def every_track(self) -> list[str]:
        return self.tracks if self.track is None and self.tracks is not None else [str(self.track)]


class Submission(BaseModel):
    """A folder that holds train.py and a valid manifest."""

    folder: Path
    manifest: Manifest
    tree_sha256: str


def load(folder: Path) -> Submission:
    """Read and check a submission folder. Raises SubmissionError."""
    if not folder.is_dir():
        raise SubmissionError(
            f"{folder} is not a folder", advice=meant_beside(folder) or "make a submission with `nano-r1 new NAME`"
        )
    for name in ("train.py", "submission.toml"):
        if not (folder / name).is_file():
            raise SubmissionError(f"{folder} has no {name}; `nano-r1 new NAME` makes a folder that has all it needs")
    path, manifest = folder / "submission.toml", read_manifest(folder)
    if manifest.name != folder.resolve().name:
        raise SubmissionError(
            f"{path}: name is {manifest.name!r}, but the folder is {folder.resolve().name!r}: make them equal"
        )
    if not manifest.contributors:
        raise SubmissionError(f"{path}: contributors is empty: name at least one")
    return Submission(folder=folder, manifest=manifest, tree_sha256=tree_digest(folder))


def read_manifest(folder: Path) -> Manifest:
    """Raises SubmissionError."""
    path = folder / "submission.toml"
    try:
        return Manifest.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise SubmissionError(f"{path}: {_manifest_problem(error)}") from None
    except (ValueError, RecursionError) as error:  # tomllib: also integers of 5,000 digits, and arrays nested too deep
        raise SubmissionError(f"{path} is not TOML: {error}") from None


_FORMS = {
    "based_on": "a record's folder (2026-11-21_cpu-logic_trim), or a submission's or baseline's name (trim)",
    "source": 'a paper as "arXiv:2402.03300", or a page as "https://…" of letters, digits and . _ ~ / ? = % + # -',
}


def _manifest_problem(error: ValidationError) -> str:
    """The first of what is wrong, in words that name a field of submission.toml and what to write."""
    first = error.errors()[0]
    field, kind = ".".join(map(str, first["loc"])), first["type"]
    if kind == "missing":
        value = '["your name"]' if field == "contributors" else '"…"'
        return f"{field} is missing: add a line `{field} = {value}`"
    if kind == "extra_forbidden":
        return f"{field} is not a field of a manifest: remove it; fields: {', '.join(Manifest.model_fields)}"
    if kind == "string_pattern_mismatch" and first["loc"][0] in ("name", "track", "tracks"):
        return f"{field}: use lower-case letters, digits and dashes, at most 64, and begin with a letter or digit"
    if kind == "string_pattern_mismatch" and field in _FORMS:
        return f"{field}: write {_FORMS[field]}"
    if kind == "string_pattern_mismatch":
        return f"{field}: keep it to one line of printable characters"
    if kind == "string_too_short":
        return f"{field} is empty: write at least one character"
    message = re.sub(r"^(Value error, |(Input|String|List) (?=should))", "", first["msg"])
    return f"{field}: {message}"


def track_of(submissions: Sequence[Submission]) -> str:
    """The track that all of these name, where there is just one. Raises SubmissionError, which says how to choose."""
    first, *others = [item.manifest.every_track for item in submissions]
    shared = [name for name in first if all(name in names for names in others)]
    folders = ", ".join(str(item.folder) for item in submissions)
    if not shared:
        raise SubmissionError(f"{folders}: no track is named by all of them, so verify them separately")
    if len(shared) > 1:
        raise SubmissionError(f"{folders}: for several tracks, so name one with --track: {', '.join(shared)}")
    return shared[0]


def tree_files(folder: Path) -> list[Path]:
    """Every file of the folder, relative, sorted. Raises SubmissionError on a link, device, flood or odd name."""
    sizes: dict[Path, int] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if IGNORED & set(relative.parts):
            continue
        info = path.lstat()
        if stat.S_ISDIR(info.st_mode):
            continue
        if not stat.S_ISREG(info.st_mode):
            raise SubmissionError(f"{path} is not a regular file: a submission holds plain files only")
        if not relative.as_posix().isprintable():  # with a newline in a name, two trees could share a digest
            raise SubmissionError(f"{folder}: {relative.as_posix()!a} cannot be printed: rename it")
        sizes[relative] = info.st_size
    if flood := flood_in({path.as_posix(): size for path, size in sizes.items()}):
        raise SubmissionError(f"{folder} {flood}")
    return list(sizes)


def flood_in(sizes: Mapping[str, int]) -> str | None:
    """`holds …`: how files of these sizes (bytes, by name) are too many or too large for a submission; else None."""
    if len(sizes) > MAX_FILES:
        folders = Counter(name.partition("/")[0] for name in sizes if "/" in name)
        most = f" ({folders.most_common(1)[0][1]} in {folders.most_common(1)[0][0]}/)" if folders else ""
        return f"holds {len(sizes):,} files{most}, and at most {MAX_FILES} are allowed: keep it to its source"
    if sum(sizes.values()) > MAX_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        return (
            f"holds {sum(sizes.values()):,} bytes ({largest} alone {sizes[largest]:,}), and at most {MAX_BYTES:,} are "
            "allowed: keep it to its source"
        )
    return None


def tree_digest(folder: Path) -> str:
    """The digest that names the folder's exact contents."""
    return files.tree_sha256(folder, tree_files(folder))


def snapshot(folder: Path, tree_sha256: str, destination: Path) -> None:
    """Copy a submission into an empty folder, readable to all. Raises SubmissionError if it is not that tree."""
    for path in tree_files(folder):
        target = destination / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / path, target)
        target.chmod(0o644)
    for directory in [destination, *(path for path in destination.rglob("*") if path.is_dir())]:
        directory.chmod(0o755)
    if tree_digest(destination) != tree_sha256:
        raise SubmissionError(f"{folder} changed while it was being copied: start again")
