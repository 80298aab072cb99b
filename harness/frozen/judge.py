"""The verdict: a pure function of a track's rules and a session's numbers. No clock, no files, no random.

Verify calls it to make a record and the audit calls it again to check one, so the same numbers must give
the same verdict on any machine. Therefore every result is rounded to an integer first (half to even;
accuracies and ratios to parts per million, p-values to parts per billion) and decisions are taken on
the integers: what is compared is what the record shows.

*Valid* asks whether the runs pass every gate. All of them must be passed, so testing each at the track's
significance keeps the chance of a false pass below it, and no correction for several tests is due.
The *control run* is the same submission on scores that say nothing. What it can do, it did not learn from the
reward: smuggled weights, a solver as a teacher. Its mean must stay below the track's ceiling, far under the gate, and
each suite below what the submission's own runs reach there (their lower 95% limit), or the result is not valid. A suite
without a gate is graded, reported, and decides nothing.
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

from harness.frozen import stats
from harness.frozen.errors import FrozenError
from harness.frozen.evaluation import Counts

PPM, PPB = 1_000_000, 1_000_000_000


class JudgeError(FrozenError):
    """Numbers that cannot have come from a session on this track; the message says which."""


@dataclass(frozen=True)
class Rules:
    """What a track asks for. Gates and ceilings are accuracies in ppm, `alpha_ppb` the significance of every test."""

    track: str  # cpu-logic@4
    suites: Mapping[str, int]  # questions of each held-out task
    gates: Mapping[str, int]  # of each suite that has one
    mean_gate_ppm: int
    control_ppm: int  # what a control run's mean must stay below
    seconds: int
    reward_queries: int
    runs: int
    alpha_ppb: int


@dataclass(frozen=True)
class Run:
    """One run's numbers. `tasks`: counts of its held-out questions, by task."""

    number: int
    wall_ms: int
    reward_queries: int
    tasks: Mapping[str, Counts]


@dataclass(frozen=True)
class Standing:
    """The track's standing record: its folder, its runs' wall times and those of its session's baseline."""

    folder: str
    wall_ms: list[int]
    reference_wall_ms: list[int]


@dataclass(frozen=True)
class Interval:
    """95%, in ppm."""

    low: int
    mean: int
    high: int


@dataclass(frozen=True)
class GateTest:
    """One gate: a one-sided one-sample t-test over runs."""

    gate_ppm: int
    accuracy_ppm: Interval  # mean over runs, t-interval
    sigma_ppm: int  # sample standard deviation over runs
    p_ppb: int | None  # None: one run supports no test


@dataclass(frozen=True)
class Verdict:
    """`gates`: by name, "mean" and one for each gated suite. `reasons`: why not valid, or why valid but no record."""

    gates: dict[str, GateTest]
    relative_cost_ppm: Interval  # wall time over the baseline's, ratio of geometric means
    standing: str | None
    standing_p_ppb: int | None
    control_ppm: dict[str, int] | None
    valid: bool
    record: bool
    reasons: list[str]


def relative_costs(wall_ms: Sequence[int], reference_wall_ms: Sequence[int]) -> list[float]:
    """Each run's wall time over the geometric mean of its session's baseline runs. Dimensionless."""
    baseline = geometric_mean(reference_wall_ms)
    return [wall / baseline for wall in wall_ms]


def mean_accuracy(rules: Rules, tasks: Mapping[str, Counts]) -> float:
    """The track's headline number for one evaluation: the mean over its gated suites."""
    return float(_accuracies(rules, tasks)["mean"])


def passed_gate(rules: Rules, tasks: Mapping[str, Counts]) -> bool:
    """Does one evaluation lie above every gate? A point estimate: it supports no claim about the recipe."""
    accuracy = _accuracies(rules, tasks)
    return all(accuracy[name] * PPM > gate for name, gate in _gates(rules).items())


def judge(
    rules: Rules,
    runs: Sequence[Run],
    reference_wall_ms: list[int],
    isolation: Literal["full", "none"],
    standing: Standing | None,
    control: Mapping[str, Counts] | None,
) -> Verdict:
    """The verdict on all runs of one submission in one session. Who signs it makes no difference here.

    `reference_wall_ms`: of the session's runs of the baseline. `standing` is None on a track without a record,
    `control` (the control run's counts) None where none was made. Raises JudgeError when the numbers do not fit the
    track: no runs, a run twice, a suite missing or of the wrong size, a wall time of 0.
    """
    _check(runs, reference_wall_ms)
    walls = [run.wall_ms for run in runs]
    accuracies = [_accuracies(rules, run.tasks) for run in runs]
    gates = {
        name: _gate_test([float(accuracy[name]) for accuracy in accuracies], gate)
        for name, gate in _gates(rules).items()
    }
    controlled = None if control is None else _accuracies(rules, control)
    objections = [
        *_too_few_runs(rules, runs),
        *(reason for name, test in gates.items() if (reason := _gate_reason(rules, name, test))),
        *_control_reasons(rules, gates, controlled),
        *(["isolation is none"] if isolation != "full" else []),
        *_over_budget(rules, runs),
    ]
    valid = not objections
    standing_p_ppb = None
    if standing is not None:
        standing_p_ppb = round(_cheaper(walls, reference_wall_ms, standing) * PPB)
        if valid and standing_p_ppb >= rules.alpha_ppb:
            how = _p(rules, standing_p_ppb)
            objections.append(f"relative cost is not below that of the standing record {standing.folder} at {how}")
    return Verdict(
        gates=gates,
        relative_cost_ppm=_relative_cost(walls, reference_wall_ms),
        standing=standing.folder if standing else None,
        standing_p_ppb=standing_p_ppb,
        control_ppm=None if controlled is None else {name: round(value * PPM) for name, value in controlled.items()},
        valid=valid,
        record=not objections,
        reasons=objections,
    )


# ---------------------------------------------------------------- gates


def _gates(rules: Rules) -> dict[str, int]:
    """Gate by name, in ppm: the mean over gated suites, then each one's own."""
    return {"mean": rules.mean_gate_ppm, **rules.gates}


def _accuracies(rules: Rules, tasks: Mapping[str, Counts]) -> dict[str, Fraction]:
    """Accuracy by gate, exact. Each gated suite weighs the same in the mean, whatever its size."""
    if tasks.keys() != rules.suites.keys():
        raise JudgeError(
            f"results are for {', '.join(sorted(tasks))}; {rules.track} holds out {', '.join(sorted(rules.suites))}"
        )
    for name, result in tasks.items():
        if result.questions != rules.suites[name] or result.correct > result.questions:
            raise JudgeError(
                f"{name}: {result.correct} correct of {result.questions} questions; "
                f"{rules.track} asks {rules.suites[name]}"
            )
    each = {name: Fraction(tasks[name].correct, tasks[name].questions) for name in rules.gates}
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


def _gate_reason(rules: Rules, name: str, test: GateTest) -> str | None:
    if test.p_ppb is None:  # one run: say at least whether it lies above
        passed, how = test.accuracy_ppm.mean > test.gate_ppm, ""
    else:
        passed, how = test.p_ppb < rules.alpha_ppb, f" at {_p(rules, test.p_ppb)}"
    accuracy, gate = test.accuracy_ppm.mean / PPM, test.gate_ppm / PPM
    return None if passed else f"{name} accuracy {accuracy:.4f} is not above the gate {gate:.4f}{how}"


def _control_reasons(
    rules: Rules, gates: Mapping[str, GateTest], accuracies: Mapping[str, Fraction] | None
) -> list[str]:
    if accuracies is None:
        return ["there is no control run"]
    # On a suite not its gate: scores at random may drive it there, and the question is whether scores matter.
    most = {name: test.accuracy_ppm.low for name, test in gates.items()} | {"mean": rules.control_ppm}
    return [
        f"control run: {name} accuracy {float(value):.4f} is not below {most[name] / PPM:.4f}, "
        "though its scores said nothing"
        for name, value in accuracies.items()
        if value * PPM >= most[name]
    ]


def _p(rules: Rules, p_ppb: int) -> str:
    return f"p < {rules.alpha_ppb / PPB:g} (p = {p_ppb / PPB:.2g})"


# ---------------------------------------------------------------- runs and cost


def _check(runs: Sequence[Run], reference_wall_ms: list[int]) -> None:
    if not runs or not reference_wall_ms:
        raise JudgeError("a verdict needs at least one run and one run of the baseline")
    if len({run.number for run in runs}) < len(runs):
        raise JudgeError("the same run stands twice in the list")
    if 0 in reference_wall_ms or any(run.wall_ms == 0 for run in runs):
        raise JudgeError("a run of 0 ms was never metered")


def _too_few_runs(rules: Rules, runs: Sequence[Run]) -> list[str]:
    if len(runs) > 1 and len(runs) >= rules.runs:
        return []
    # Said for one run even where a track asks for no more.
    why = ": one run supports no test" if len(runs) == 1 else ""
    return [f"{len(runs)} run{'s' * (len(runs) > 1)} of the {rules.runs} that the track asks for{why}"]


def _over_budget(rules: Rules, runs: Sequence[Run]) -> list[str]:
    seconds, queries = rules.seconds, rules.reward_queries
    # Rounded up: 600.04 s must not read as 600.0 s of 600.
    late = [(run.number, math.ceil(run.wall_ms / 100) / 10) for run in runs if run.wall_ms > seconds * 1000]
    greedy = [run for run in runs if run.reward_queries > queries]
    return [
        *(f"run {number} took {took:.1f} s of {seconds}" for number, took in late),
        *(f"run {run.number} made {run.reward_queries} reward queries of {queries}" for run in greedy),
    ]


def _cheaper(walls: list[int], reference: list[int], standing: Standing) -> float:
    """One-sided p that the runs cost no less than the standing record's, relative to the baseline.

    In one session both were divided by the same baseline runs, whose noise cancels: Mann-Whitney decides.
    Between sessions it does not cancel, and Mann-Whitney alone would call 3% of identical recipes a record (5 runs
    an arm). So a Welch test that counts both baselines' noise must agree: the larger p decides.
    """
    p = stats.mann_whitney_less(
        relative_costs(walls, reference), relative_costs(standing.wall_ms, standing.reference_wall_ms)
    )
    if reference == standing.reference_wall_ms:
        return p
    ours = [] if walls == reference else [walls, reference]  # the baseline against itself is 1
    theirs = [] if standing.wall_ms == standing.reference_wall_ms else [standing.wall_ms, standing.reference_wall_ms]
    return max(p, stats.ratios_less(ours, theirs))


def _relative_cost(walls: list[int], reference: list[int]) -> Interval:
    # The baseline judged against itself: not two samples that happen to agree, but the same runs.
    if sorted(walls) == sorted(reference):
        return Interval(low=PPM, mean=PPM, high=PPM)
    return _ppm(*stats.ratio_interval(walls, reference))


def _ppm(low: float, mean: float, high: float) -> Interval:
    return Interval(low=round(low * PPM), mean=round(mean * PPM), high=round(high * PPM))
