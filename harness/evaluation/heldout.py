"""Weights on a track's held-out questions, as a verification asks them; but the questions follow from a seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.evaluation import judging
from harness.evaluation.gated import evaluate
from harness.evaluation.model import EvaluationError
from harness.frozen import checkpoint
from harness.ledger.record import TaskResult
from harness.tracks.track import Track

# What harness.frozen.checkpoint says of tensors that are not the base's.
_OTHER_MODEL = re.compile(r"\bbase\b|is missing$")


@dataclass(frozen=True)
class HeldoutResult:
    weights_sha256: str
    tasks: dict[str, TaskResult]
    mean_accuracy: float  # over the gated tasks
    passed_gate: bool  # by point estimates on one set of questions: a verification tests several runs
    evaluate_ms: int


def key_of(seed: int) -> bytes:
    """The key that a seed's questions are drawn with. Anyone can compute it: a verification's key is secret."""
    return hashlib.sha256(f"eval/{seed}".encode()).digest()


def evaluate_weights(track: Track, weights: Path, seed: int, on_progress: Callable[[int], None]) -> HeldoutResult:
    """Read a model.safetensors strictly and evaluate it; `on_progress` gets the number of questions done.

    Raises EvaluationError for weights that a verification would refuse.
    """
    try:
        checked = checkpoint.read(weights, track.base_folder / "model.safetensors")
    except checkpoint.CheckpointError as error:
        why = str(error).removeprefix(f"{weights.name}: ").removeprefix(f"{weights.name} ")
        if _OTHER_MODEL.search(why):
            raise EvaluationError(
                f"{weights} is another model than {track.id} trains: {why}",
                advice="a model of any shape can be asked with --suite, or with the --track that it was trained on",
            ) from None
        raise EvaluationError(f"{weights} cannot be evaluated: {why}") from None
    result = evaluate(track, checked.data, key_of(seed), on_progress)
    return HeldoutResult(
        weights_sha256=checked.sha256,
        tasks=result.tasks,
        mean_accuracy=judging.mean_accuracy(track, result.tasks),
        passed_gate=judging.passed_gate(track, result.tasks),
        evaluate_ms=result.evaluate_ms,
    )


def total(results: list[TaskResult]) -> TaskResult:
    """Several tasks' counts added up."""
    return TaskResult(**{field: sum(getattr(result, field) for result in results) for field in TaskResult.model_fields})
