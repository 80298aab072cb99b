"""What a run is trained on: questions of its key, and the track's warm-up traces."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from harness.errors import NanoR1Error
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.track import Track


class EnvironmentFailed(NanoR1Error):
    """The environment cannot start; the message says why and what to do."""


def development_key(seed: int) -> bytes:
    """The training key of a development run. A verifier's derives from 32 random bytes, so never equals it."""
    return hashlib.sha256(f"nano-r1 development train key {seed}".encode()).digest()


def question(track: Track, key: bytes, index: int) -> Sample:
    """Question `index` of the run's training list: the track's tasks in turn."""
    tasks = track.train.tasks
    return sample(TASKS[tasks[index % len(tasks)]], key, "train", index)


def traces(path: Path, grader: Grader) -> list[dict[str, Any]]:
    """A file of warm-up traces as token ids, end token included. Raises EnvironmentFailed."""
    found = []
    try:
        for line in path.read_bytes().splitlines():
            row = json.loads(line)
            item = Sample(f"{row['task']}/warmup", row["prompt"], "", {})
            ids = [*grader.text_ids(row["completion"]), grader.end_id]
            found.append({"task": row["task"], "prompt_ids": grader.prompt_ids(item), "token_ids": ids})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFailed(f"{path}: no traces there that can be read: {error}") from None
    return found
