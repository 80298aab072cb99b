"""The verdict: a pure function of a track's rules and a session's numbers. No clock, no files, no random.

Verify calls it to make a record and the audit calls it again to check one, so the same numbers must give
the same verdict on any machine. Therefore every result is rounded to an integer first (half to even;
accuracies and ratios to parts per million, p-values to parts per billion) and decisions are taken on
the integers: what is compared is what the record shows.

*Valid* asks whether the runs pass every gate. All of them must be passed, so testing each at the track's
significance keeps the chance of a false pass below it, and no correction for several tests is due.
The *control run* is the same submission on scores that say nothing. What it can do, it did not learn from the
reward: smuggled weights, a solver as a teacher. Its mean must stay below the track's ceiling, far under the gate, and
each suite below its gate, or the result is not valid. A suite without a gate is graded, reported, and decides nothing.
*Record* asks whether a valid submission is also cheaper than the standing record. Costs are relative to
baseline runs made in turn on the same machine, so the two may come from different machines.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from statistics import geometric_mean, stdev
from typing import Literal

from harness import stats
from harness.ledger.record import GateTest, Interval, Record, Reference, Run, TaskResult, Verdict
from harness.tracks.track import Track

PPM, PPB = 1_000_000, 1_000_000_000


class JudgeError(ValueError):
    """Numbers that cannot have come from a session on this track; the message says which."""


@dataclass(frozen=True)
class Standing:
    """The track's standing record: its folder, its runs' wall times and those of its session's baseline."""

    folder: str
    wall_ms: list[int]
    reference_wall_ms: list[int]

    @property
    def relative_costs(self) -> list[float]:
        baseline = geometric_mean(self.reference_wall_ms)
        return [wall / baseline for wall in self.wall_ms]


def standing_from(record: Record, folder: str) -> Standing:
    """What a later submission is tested against."""
    predicate = record.predicate
    return Standing(folder, [run.wall_ms for run in predicate.runs], predicate.reference.wall_ms)


def relative_costs(runs: Sequence[Run], reference: Reference) -> list[float]:
    """Each run's wall time over the geometric mean of its session's baseline runs. Dimensionless."""
    baseline = geometric_mean(reference.wall_ms)
    return [run.wall_ms / baseline for run in runs]


def mean_accuracy(track: Track, tasks: Mapping[str, TaskResult]) -> float:
    """The track's headline number for one evaluation: the mean over its gated suites."""
    return float(_accuracies(track, tasks)["mean"])


def passed_gate(track: Track, tasks: Mapping[str, TaskResult]) -> bool:
    """Does one evaluation lie above every gate? A point estimate: it supports no claim about the recipe."""
    accuracy = _accuracies(track, tasks)
    return all(accuracy[name] * PPM > gate for name, gate in _gates(track).items())


def judge(
    track: Track,
    runs: Sequence[Run],
    reference: Reference,
    isolation: Literal["full", "none"],
    standing: Standing | None,
    control: Run | None,
) -> Verdict:
    """The verdict on all runs of one submission in one session. Who signs it makes no difference here.

    `standing` is None on a track without a record, `control` None where none was made. Raises JudgeError when
    the numbers do not fit the track: no runs, a run twice, a suite missing or of the wrong size, a wall time
    of 0.
    """
    _check(track, runs, reference)
    accuracies = [_accuracies(track, run.tasks) for run in runs]
    gates = {
        name: _gate_test([float(accuracy[name]) for accuracy in accuracies], gate)
        for name, gate in _gates(track).items()
    }
    controlled = None if control is None else _accuracies(track, control.tasks)
    objections = [
        *_too_few_runs(track, runs),
        *(reason for name, test in gates.items() if (reason := _gate_reason(track, name, test))),
        *_control_reasons(track, controlled),
        *(["isolation is none"] if isolation != "full" else []),
        *_over_budget(track, runs),
    ]
    valid = not objections
    standing_p_ppb = None
    if standing is not None:
        standing_p_ppb = round(_cheaper(runs, reference, standing) * PPB)
        if valid and standing_p_ppb >= track.verdict.alpha_ppb:
            how = _p(track, standing_p_ppb)
            objections.append(f"relative cost is not below that of the standing record {standing.folder} at {how}")
    return Verdict(
        gates=gates,
        relative_cost_ppm=_relative_cost(runs, reference),
        standing=standing.folder if standing else None,
        standing_p_ppb=standing_p_ppb,
        control_ppm=None if controlled is None else {name: round(value * PPM) for name, value in controlled.items()},
        valid=valid,
        record=not objections,
        reasons=objections,
    )


# ---------------------------------------------------------------- gates


def _gates(track: Track) -> dict[str, int]:
    """Gate by name, in ppm: the mean over gated suites, then each one's own."""
    return {"mean": track.heldout.mean_gate_ppm, **track.heldout.gates}


def _accuracies(track: Track, tasks: Mapping[str, TaskResult]) -> dict[str, Fraction]:
    """Accuracy by gate, exact. Each gated suite weighs the same in the mean, whatever its size."""
    suites = {suite.task: suite.questions for suite in track.heldout.suites}
    if tasks.keys() != suites.keys():
        raise JudgeError(
            f"results are for {', '.join(sorted(tasks))}; {track.id} holds out {', '.join(sorted(suites))}"
        )
    for name, result in tasks.items():
        if result.questions != suites[name] or result.correct > result.questions:
            raise JudgeError(
                f"{name}: {result.correct} correct of {result.questions} questions; {track.id} asks {suites[name]}"
            )
    each = {name: Fraction(tasks[name].correct, tasks[name].questions) for name in track.heldout.gates}
    return {"mean": sum(each.values(), Fraction()) / len(each), **each}


def _gate_test(accuracy: Sequence[float], gate_ppm: int) -> GateTest:
    p = stats.t_test_greater(accuracy, gate_ppm / PPM)
    low, mean, high = stats.t_interval(accuracy)
    return GateTest(
        gate_ppm=gate_ppm,
        accuracy_ppm=_ppm(max(low, 0.0), mean, min(high, 1.0)),
        sigma_ppm=round(stdev(accuracy) * PPM) if len(accuracy) > 1 else 0,
        p_ppb=None if p is None else round(p * PPB),
    )


def _gate_reason(track: Track, name: str, test: GateTest) -> str | None:
    if test.p_ppb is None:  # one run: say at least whether it lies above
        passed, how = test.accuracy_ppm.mean > test.gate_ppm, ""
    else:
        passed, how = test.p_ppb < track.verdict.alpha_ppb, f" at {_p(track, test.p_ppb)}"
    accuracy, gate = test.accuracy_ppm.mean / PPM, test.gate_ppm / PPM
    return None if passed else f"{name} accuracy {accuracy:.4f} is not above the gate {gate:.4f}{how}"


def _control_reasons(track: Track, accuracies: Mapping[str, Fraction] | None) -> list[str]:
    if accuracies is None:
        return ["there is no control run"]
    most = _gates(track) | {"mean": track.heldout.control_ppm}
    return [
        f"control run: {name} accuracy {float(value):.4f} is not below {most[name] / PPM:.4f}, "
        "though its scores said nothing"
        for name, value in accuracies.items()
        if value * PPM >= most[name]
    ]


def _p(track: Track, p_ppb: int) -> str:
    return f"p < {track.verdict.alpha_ppb / PPB:g} (p = {p_ppb / PPB:.2g})"


# ---------------------------------------------------------------- runs and cost


def _check(track: Track, runs: Sequence[Run], reference: Reference) -> None:
    if not runs or not reference.wall_ms:
        raise JudgeError("a verdict needs at least one run and one run of the baseline")
    if len({run.run for run in runs}) < len(runs):
        raise JudgeError("the same run stands twice in the list")
    if 0 in reference.wall_ms or any(run.wall_ms == 0 for run in runs):
        raise JudgeError("a run of 0 ms was never metered")


def _too_few_runs(track: Track, runs: Sequence[Run]) -> list[str]:
    if len(runs) > 1 and len(runs) >= track.verdict.runs:
        return []
    # Said for one run even where a track asks for no more.
    why = ": one run supports no test" if len(runs) == 1 else ""
    return [f"{len(runs)} run{'s' * (len(runs) > 1)} of the {track.verdict.runs} that the track asks for{why}"]


def _over_budget(track: Track, runs: Sequence[Run]) -> list[str]:
    seconds, queries = track.budget.seconds, track.budget.reward_queries
    # Rounded up: 600.04 s must not read as 600.0 s of 600.
    late = [(run.run, math.ceil(run.wall_ms / 100) / 10) for run in runs if run.wall_ms > seconds * 1000]
    greedy = [run for run in runs if run.reward_queries > queries]
    return [
        *(f"run {number} took {took:.1f} s of {seconds}" for number, took in late),
        *(f"run {run.run} made {run.reward_queries} reward queries of {queries}" for run in greedy),
    ]


def _cheaper(runs: Sequence[Run], reference: Reference, standing: Standing) -> float:
    """One-sided p that the runs cost no less than the standing record's, relative to the baseline.

    In one session both were divided by the same baseline runs, whose noise cancels: Mann-Whitney decides.
    Between sessions it does not cancel, and Mann-Whitney alone would call 3% of identical recipes a record (5 runs
    an arm). So a Welch test that counts both baselines' noise must agree: the larger p decides.
    """
    p = stats.mann_whitney_less(relative_costs(runs, reference), standing.relative_costs)
    if reference.wall_ms == standing.reference_wall_ms:
        return p
    walls = [run.wall_ms for run in runs]
    ours = [] if walls == reference.wall_ms else [walls, reference.wall_ms]  # the baseline against itself is 1
    theirs = [] if standing.wall_ms == standing.reference_wall_ms else [standing.wall_ms, standing.reference_wall_ms]
    return max(p, stats.ratios_less(ours, theirs))


def _relative_cost(runs: Sequence[Run], reference: Reference) -> Interval:
    walls = [run.wall_ms for run in runs]
    # The baseline judged against itself: not two samples that happen to agree, but the same runs.
    if sorted(walls) == sorted(reference.wall_ms):
        return Interval(low=PPM, mean=PPM, high=PPM)
    return _ppm(*stats.ratio_interval(walls, reference.wall_ms))


def _ppm(low: float, mean: float, high: float) -> Interval:
    return Interval(low=round(low * PPM), mean=round(mean * PPM), high=round(high * PPM))
