"""The frozen judge on a record's numbers: what a session's runs amount to on a track."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Literal

from harness.frozen import judge as frozen
from harness.frozen.evaluation import Counts
from harness.frozen.judge import Standing
from harness.ledger.record import GateTest, Interval, Record, Reference, Run, TaskResult, Verdict
from harness.tracks import rules
from harness.tracks.track import Track


def standing_from(record: Record, folder: str) -> Standing:
    """What a later submission is tested against."""
    predicate = record.predicate
    return Standing(folder, [run.wall_ms for run in predicate.runs], predicate.reference.wall_ms)


def relative_costs(runs: Sequence[Run], reference: Reference) -> list[float]:
    """Each run's wall time over the geometric mean of its session's baseline runs. Dimensionless."""
    return frozen.relative_costs([run.wall_ms for run in runs], reference.wall_ms)


def mean_accuracy(track: Track, tasks: Mapping[str, TaskResult]) -> float:
    """The track's headline number for one evaluation: the mean over its gated suites. Raises JudgeError."""
    return frozen.mean_accuracy(rules.judged_by(track), _counts(tasks))


def passed_gate(track: Track, tasks: Mapping[str, TaskResult]) -> bool:
    """Does one evaluation lie above every gate? A point estimate. Raises JudgeError."""
    return frozen.passed_gate(rules.judged_by(track), _counts(tasks))


def judge(
    track: Track,
    runs: Sequence[Run],
    reference: Reference,
    isolation: Literal["full", "none"],
    standing: Standing | None,
    control: Run | None,
) -> Verdict:
    """The verdict on all runs of one submission in one session, as it stands in a record. Raises JudgeError.

    `standing` is None on a track without a record, `control` None where none was made.
    """
    verdict = frozen.judge(
        rules.judged_by(track),
        [frozen.Run(run.run, run.wall_ms, run.reward_queries, _counts(run.tasks)) for run in runs],
        reference.wall_ms,
        isolation,
        standing,
        None if control is None else _counts(control.tasks),
    )
    gates = {
        name: GateTest(
            gate_ppm=test.gate_ppm,
            accuracy_ppm=Interval(**asdict(test.accuracy_ppm)),
            sigma_ppm=test.sigma_ppm,
            p_ppb=test.p_ppb,
        )
        for name, test in verdict.gates.items()
    }
    cost = Interval(**asdict(verdict.relative_cost_ppm))
    return Verdict(**{**vars(verdict), "gates": gates, "relative_cost_ppm": cost})


def _counts(tasks: Mapping[str, TaskResult]) -> dict[str, Counts]:
    return {name: Counts(**vars(result)) for name, result in tasks.items()}
