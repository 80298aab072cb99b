"""A track's rules as the frozen room takes them: plain numbers, its grader, how its engine decodes."""

from __future__ import annotations

import json

from harness.frozen.evaluation import Decoding
from harness.frozen.grader import Grader
from harness.frozen.judge import Rules
from harness.tasks import TASKS
from harness.tracks.files import TrackError
from harness.tracks.track import Track


def grader(track: Track) -> Grader:
    """Raises harness.frozen.grader.TokenizerError."""
    return Grader(track.base_folder, track.base.template, track.base.end_token, TASKS)


def suites(track: Track) -> dict[str, int]:
    """How many questions of each task are held out, in the track's order."""
    return {suite.task: suite.questions for suite in track.heldout.suites}


def decoding(track: Track) -> Decoding:
    return Decoding(track.base_folder, track.sampling.max_new_tokens, track.sampling.batch)


def judged_by(track: Track) -> Rules:
    return Rules(
        track=track.id,
        suites=suites(track),
        gates=track.heldout.gates,
        mean_gate_ppm=track.heldout.mean_gate_ppm,
        control_ppm=track.heldout.control_ppm,
        seconds=track.budget.seconds,
        reward_queries=track.budget.reward_queries,
        runs=track.verdict.runs,
        alpha_ppb=track.verdict.alpha_ppb,
    )


def model_ids(track: Track) -> int:
    """How many token ids the base model can sample: the rows of its output head.

    Often more than its tokenizer has tokens (Qwen2.5's head is padded). Such an id is no token, and grading says so.
    Raises TrackError.
    """
    path = track.base_folder / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        return int(config.get("text_config", config)["vocab_size"])
    except (OSError, ValueError, AttributeError, KeyError, TypeError) as error:
        raise TrackError(f"{path} does not say how many token ids the model has (vocab_size): {error!r}") from None
