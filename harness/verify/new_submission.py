"""A new submission: a copy of a track's baseline that `nano-r1 train` and `nano-r1 verify` accept as it is."""

from __future__ import annotations

import shutil
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from harness.ledger import record
from harness.submission import (
    PLACEHOLDER_CHANGE,
    PLACEHOLDER_CONTRIBUTOR,
    PLACEHOLDER_README,
    SubmissionError,
)
from harness.tracks.track import ROOT, Track

MANIFEST = f"""\
name = "{{name}}"
track = "{{track}}"
title = "{{name}}"
change = "{PLACEHOLDER_CHANGE}"
contributors = ["{PLACEHOLDER_CONTRIBUTOR}"]
based_on = "{{baseline}}"
# source = "arXiv:2402.03300"  # where the idea comes from: a paper, or a page as https://…
# techniques = ["no-kl"]  # what it does otherwise than the baseline, by the names of harness/ledger/techniques.py
"""
README = f"# {{name}}\n\n{PLACEHOLDER_README}\n"


def copy_baseline(track: Track, name: str, submissions: Path) -> Path:
    """Make the folder `name` under `submissions` and return it. Raises SubmissionError for a name that is not one."""
    try:
        TypeAdapter(record.Name).validate_python(name)
    except ValidationError:
        raise SubmissionError(
            f"{name!r} is not a name: use lower-case letters, digits and dashes, at most 64"
        ) from None
    folder = submissions / name
    if folder.exists():
        raise SubmissionError(f"{folder} exists; choose another name, or edit it")
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / track.baseline.folder / "train.py", folder / "train.py")
    manifest = MANIFEST.format(name=name, track=track.name, baseline=track.baseline.folder)
    (folder / "submission.toml").write_text(manifest, encoding="utf-8")
    (folder / "README.md").write_text(README.format(name=name), encoding="utf-8")
    return folder
