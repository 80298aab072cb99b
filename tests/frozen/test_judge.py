"""The verdict: every way to be refused, said in a sentence, and nothing else than the numbers deciding it."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evaluation.judging import judge, passed_gate, standing_from
from harness.frozen.judge import JudgeError, Standing, relative_costs
from harness.ledger.record import (
    Interval,
    Machine,
    Opening,
    Predicate,
    Record,
    Reference,
    Run,
    Submission,
    TaskResult,
    Verdict,
    dump,
    load,
)
from harness.tracks.track import Track
from harness.tracks.track import load as load_track

HASH = "0" * 64
TASKS = ("countdown", "linear", "nim", "josephus")


@pytest.fixture(scope="module")
def track() -> Track:
    """The CPU track, with the numbers that these tests compute with."""
    real = load_track("cpu-logic")
    gated = [suite for suite in real.heldout.suites if suite.gate_ppm is not None]
    suites = [suite.model_copy(update={"questions": 1000, "gate_ppm": 750_000}) for suite in gated]
    heldout = real.heldout.model_copy(update={"suites": suites, "mean_gate_ppm": 900_000, "control_ppm": 600_000})
    rules = real.verdict.model_copy(update={"runs": 5, "alpha_ppb": 10_000_000})
    budget = real.budget.model_copy(update={"seconds": 600, "reward_queries": 200_000})
    return real.model_copy(update={"heldout": heldout, "verdict": rules, "budget": budget})


def results(*correct: int) -> dict[str, TaskResult]:
    """Of 1,000 questions, in the order of TASKS."""
    return {
        task: TaskResult(questions=1000, correct=right, formatted=1000, truncated=0, tokens=20_000)
        for task, right in zip(TASKS, correct, strict=True)
    }


def run(number: int, wall_ms: int, *correct: int, **other: Any) -> Run:
    fields = {
        "run": number, "seed": number, "started_utc": "2026-11-20T12:00:00Z", "wall_ms": wall_ms, "cpu_ms": 2 * wall_ms,
        "peak_memory_bytes": 10**9, "prompts": 3200, "reward_queries": 25_600, "sampled_tokens": 600_000,
        "weights_sha256": HASH, "evaluate_ms": 9000, "tasks": results(*correct or (860, 940, 990, 990)),
    }  # fmt: skip
    return Run(**{**fields, **other})


def good_runs(walls: list[int]) -> list[Run]:
    """Means 0.944 to 0.946: well past the gate, with some spread."""
    return [run(i + 1, wall, 860 + i, 940, 990, 988 + i % 3) for i, wall in enumerate(walls)]


def reference(*wall_ms: int) -> Reference:
    return Reference(tree_sha256=HASH, wall_ms=list(wall_ms))


BASELINE = (150_000, 152_000, 149_000, 151_000, 153_000)
CONTROL = run(5, 150_000, 400, 300, 300, 100)  # what the base could do before


# ---------------------------------------------------------------- passing


def test_the_first_record_of_a_track_is_the_baseline_itself(track: Track) -> None:
    verdict = judge(track, good_runs(list(BASELINE)), reference(*BASELINE), "full", None, CONTROL)
    assert verdict.valid and verdict.record and verdict.reasons == []
    assert verdict.relative_cost_ppm == Interval(low=1_000_000, mean=1_000_000, high=1_000_000)
    assert verdict.standing is None and verdict.standing_p_ppb is None


def test_gate_numbers_by_hand(track: Track) -> None:
    # means 0.93 0.93 0.94 0.95 0.95: s = 0.01, t = 0.04·√5/0.01 = 8.944 with 4 degrees: p = 0.000432
    runs = [run(i + 1, 100_000, 900 + d, 900 + d, 980 + d, 980 + d) for i, d in enumerate((-10, -10, 0, 10, 10))]
    test = judge(track, runs, reference(*BASELINE), "full", None, CONTROL).gates["mean"]
    assert test.gate_ppm == 900_000
    assert test.accuracy_ppm.mean == 940_000
    assert test.sigma_ppm == 10_000
    assert test.p_ppb == pytest.approx(431_960, abs=500)
    assert test.accuracy_ppm.high - test.accuracy_ppm.mean == pytest.approx(12_417, abs=1)  # 2.776445·0.01/√5


def test_a_gate_for_the_mean_and_one_for_each_task(track: Track) -> None:
    verdict = judge(track, good_runs(list(BASELINE)), reference(*BASELINE), "full", None, CONTROL)
    assert list(verdict.gates) == ["mean", *TASKS]
    assert verdict.gates["linear"].sigma_ppm == 0 and verdict.gates["linear"].p_ppb == 0


def test_no_interval_of_an_accuracy_leaves_0_to_1(track: Track) -> None:
    runs = [run(i + 1, 150_000, d, 940, 990, 1000 - d) for i, d in enumerate((0, 20, 0, 0, 0))]
    gates = judge(track, runs, reference(*BASELINE), "full", None, CONTROL).gates
    assert gates["countdown"].accuracy_ppm == Interval(low=0, mean=4000, high=15_106)  # 0.004 ± 2.776445·0.004
    assert gates["josephus"].accuracy_ppm == Interval(low=984_894, mean=996_000, high=1_000_000)


def test_a_record_must_beat_the_standing_one(track: Track) -> None:
    standing = Standing("2026-11-20_cpu-logic_baseline", list(BASELINE), list(BASELINE))
    faster = judge(
        track, good_runs([wall - 20_000 for wall in BASELINE]), reference(*BASELINE), "full", standing, CONTROL
    )
    assert faster.record and faster.reasons == []
    assert faster.standing == standing.folder and faster.standing_p_ppb == round(1e9 / 252)

    # One of the five is slower than one of the standing five: U = 1, p = 2/252. Two: U = 2, p = 4/252.
    runs = good_runs([140_000, 141_000, 142_000, 143_000, 149_500])
    close = judge(track, runs, reference(*BASELINE), "full", standing, CONTROL)
    assert close.record and close.standing_p_ppb == round(2e9 / 252)
    runs = good_runs([140_000, 141_000, 142_000, 143_000, 150_500])
    same = judge(track, runs, reference(*BASELINE), "full", standing, CONTROL)
    assert same.valid and not same.record
    assert same.reasons == [
        "relative cost is not below that of the standing record 2026-11-20_cpu-logic_baseline at p < 0.01 (p = 0.016)"
    ]


def test_p_equal_to_alpha_is_not_below_it(track: Track) -> None:
    standing = Standing("first", list(BASELINE), list(BASELINE))
    for alpha_ppb, record in ((round(1e9 / 252), False), (round(1e9 / 252) + 1, True)):
        strict = track.model_copy(update={"verdict": track.verdict.model_copy(update={"alpha_ppb": alpha_ppb})})
        verdict = judge(strict, good_runs([100_000] * 5), reference(*BASELINE), "full", standing, CONTROL)
        assert verdict.valid
        assert verdict.record is record


def test_costs_are_compared_relative_to_each_sessions_own_baseline(track: Track) -> None:
    """A machine twice as slow neither makes nor hinders a record."""
    standing = Standing("first", list(BASELINE), list(BASELINE))
    slow = [2 * wall for wall in BASELINE]
    better = judge(
        track, good_runs([wall * 2 - 40_000 for wall in BASELINE]), reference(*slow), "full", standing, CONTROL
    )
    assert better.record
    # On a machine twice as fast the walls halve, and the recipe is no better for it.
    quick = [wall // 2 for wall in BASELINE]
    assert not judge(track, good_runs(quick), reference(*quick), "full", standing, CONTROL).record


def test_relative_cost_has_an_interval_and_one_run_has_none(track: Track) -> None:
    many = judge(
        track, good_runs([75_000, 76_000, 74_500, 75_500, 76_500]), reference(*BASELINE), "full", None, CONTROL
    )
    assert many.relative_cost_ppm.mean == pytest.approx(500_000, abs=100)
    assert 480_000 < many.relative_cost_ppm.low < 500_000 < many.relative_cost_ppm.high < 520_000
    verdict = judge(track, [run(1, 75_000)], reference(150_000), "none", None, CONTROL)
    assert verdict.relative_cost_ppm == Interval(low=500_000, mean=500_000, high=500_000)


# ---------------------------------------------------------------- being refused


def test_one_run_supports_no_test(track: Track) -> None:
    verdict = judge(track, [run(1, 150_000)], reference(150_000), "full", None, CONTROL)
    assert not verdict.valid and not verdict.record
    assert verdict.reasons == ["1 run of the 5 that the track asks for: one run supports no test"]
    assert all(test.p_ppb is None and test.sigma_ppm == 0 for test in verdict.gates.values())
    below = judge(track, [run(1, 150_000, 500, 940, 990, 990)], reference(150_000), "full", None, CONTROL)
    assert below.reasons[1:] == [
        "mean accuracy 0.8550 is not above the gate 0.9000",
        "countdown accuracy 0.5000 is not above the gate 0.7500",
    ]


def test_one_run_is_never_valid_even_where_a_track_asks_for_one(track: Track) -> None:
    lax = track.model_copy(update={"verdict": track.verdict.model_copy(update={"runs": 1})})
    assert not judge(lax, [run(1, 150_000)], reference(150_000), "full", None, CONTROL).valid


def test_four_runs_of_five(track: Track) -> None:
    verdict = judge(track, good_runs([150_000] * 4), reference(*BASELINE), "full", None, CONTROL)
    assert verdict.reasons == ["4 runs of the 5 that the track asks for"]


def test_above_the_gate_by_less_than_the_noise_is_not_past_it(track: Track) -> None:
    # means 0.905 ± 0.01: s = 0.00791, t = 0.005·√5/0.00791 = √2 with 4 degrees: p = 0.115
    runs = [run(i + 1, 150_000, 850 + 4 * d, 880, 940, 950) for i, d in enumerate((-10, -5, 0, 5, 10))]
    verdict = judge(track, runs, reference(*BASELINE), "full", None, CONTROL)
    assert not verdict.valid
    assert verdict.reasons == ["mean accuracy 0.9050 is not above the gate 0.9000 at p < 0.01 (p = 0.12)"]


def test_a_weak_task_is_not_made_up_for_by_the_others(track: Track) -> None:
    runs = [run(i + 1, 150_000, 700 + d, 980, 1000, 1000) for i, d in enumerate((0, 0, 20, -20, 10))]
    verdict = judge(track, runs, reference(*BASELINE), "full", None, CONTROL)
    assert verdict.reasons == ["countdown accuracy 0.7020 is not above the gate 0.7500 at p < 0.01 (p = 1)"]


def test_no_isolation(track: Track) -> None:
    verdict = judge(track, good_runs(list(BASELINE)), reference(*BASELINE), "none", None, CONTROL)
    assert not verdict.valid and verdict.reasons == ["isolation is none"]


def test_over_budget(track: Track) -> None:
    runs = good_runs(list(BASELINE))
    runs[2] = runs[2].model_copy(update={"wall_ms": 612_000})
    assert judge(track, runs, reference(*BASELINE), "full", None, CONTROL).reasons == ["run 3 took 612.0 s of 600"]
    runs[2] = runs[2].model_copy(update={"wall_ms": 600_001})
    assert judge(track, runs, reference(*BASELINE), "full", None, CONTROL).reasons == ["run 3 took 600.1 s of 600"]
    runs[2] = runs[2].model_copy(update={"wall_ms": 600_000})
    assert judge(track, runs, reference(*BASELINE), "full", None, CONTROL).valid
    runs[2] = runs[2].model_copy(update={"reward_queries": 200_001})
    verdict = judge(track, runs, reference(*BASELINE), "full", None, CONTROL)
    assert verdict.reasons == ["run 3 made 200001 reward queries of 200000"]


def test_an_invalid_submission_is_no_record_however_fast(track: Track) -> None:
    standing = Standing("first", [100_000, 101_000, 99_000, 100_000, 102_000], list(BASELINE))
    verdict = judge(
        track, good_runs([10_000, 11_000, 12_000, 13_000, 14_000]), reference(*BASELINE), "none", standing, CONTROL
    )
    assert verdict.standing_p_ppb is not None and verdict.standing_p_ppb < track.verdict.alpha_ppb
    assert not verdict.record and verdict.reasons == ["isolation is none"]


# ---------------------------------------------------------------- numbers from no session


@pytest.mark.parametrize(
    "broken", ["no runs", "no baseline", "twice", "zero", "zero baseline", "missing", "extra", "size", "too right"]
)
def test_numbers_that_fit_no_session_raise(track: Track, broken: str) -> None:
    runs, walls = good_runs(list(BASELINE)), reference(*BASELINE)
    tasks = dict(runs[0].tasks)
    match broken:
        case "no runs":
            runs = []
        case "no baseline":
            walls = reference()
        case "twice":
            runs[1] = runs[0]
        case "zero":
            runs[0] = runs[0].model_copy(update={"wall_ms": 0})
        case "zero baseline":
            walls = reference(0, 150_000)
        case "missing":
            del tasks["nim"]
        case "extra":
            tasks["chess"] = tasks["nim"]
        case "size":
            tasks["nim"] = tasks["nim"].model_copy(update={"questions": 1001})
        case "too right":
            tasks["nim"] = tasks["nim"].model_copy(update={"correct": 1001})
    if runs and tasks != runs[0].tasks:
        runs[0] = runs[0].model_copy(update={"tasks": tasks})
    with pytest.raises(JudgeError):
        judge(track, runs, walls, "full", None, CONTROL)


# ---------------------------------------------------------------- one evaluation


def test_passed_gate_is_strict_on_the_mean_and_on_each_task(track: Track) -> None:
    assert passed_gate(track, results(751, 950, 950, 950))
    assert not passed_gate(track, results(750, 951, 950, 950))  # countdown on its gate, mean above
    assert not passed_gate(track, results(900, 900, 900, 900))  # mean on its gate
    assert passed_gate(track, results(900, 900, 900, 901))
    assert not passed_gate(track, results(1000, 1000, 1000, 599))
    with pytest.raises(JudgeError):
        passed_gate(track, {})


# ---------------------------------------------------------------- for any numbers

run_lists = st.lists(
    st.tuples(st.integers(1, 700_000), st.tuples(*[st.integers(0, 1000)] * 4)), min_size=1, max_size=7
).map(lambda rows: [run(i + 1, wall, *correct) for i, (wall, correct) in enumerate(rows)])
wall_lists = st.lists(st.integers(1, 700_000), min_size=1, max_size=6)


@given(
    run_lists,
    wall_lists,
    st.sampled_from(["full", "none"]),
    st.none() | st.lists(st.integers(15_000, 300_000), min_size=1, max_size=6),
)
def test_a_verdict_explains_itself(
    track: Track, runs: list[Run], walls: list[int], isolation: Any, costs: list[int] | None
) -> None:
    standing = Standing("first", costs, list(BASELINE)) if costs else None
    verdict = judge(track, runs, reference(*walls), isolation, standing, CONTROL)
    assert verdict.record == (not verdict.reasons)
    assert verdict.valid or not verdict.record
    assert (verdict.standing_p_ppb is None) == (standing is None)
    if verdict.valid:
        assert len(runs) >= 5 and isolation == "full"
        assert all(test.p_ppb is not None and test.p_ppb < 10_000_000 for test in verdict.gates.values())
    for interval in (verdict.relative_cost_ppm, *(test.accuracy_ppm for test in verdict.gates.values())):
        assert interval.low <= interval.mean <= interval.high
    # A pure function: again, after a trip through JSON, and with the runs in another order.
    assert Verdict.model_validate_json(dump(verdict)) == verdict
    again = judge(track, runs[::-1], reference(*walls[::-1]), isolation, standing, CONTROL)
    assert again.model_copy(update={"reasons": sorted(again.reasons)}) == verdict.model_copy(
        update={"reasons": sorted(verdict.reasons)}
    )


def test_the_audit_rebuilds_the_same_verdict_from_the_record(track: Track) -> None:
    runs, walls = good_runs([140_000, 141_000, 139_500, 140_500, 142_000]), reference(*BASELINE)
    verdict = judge(track, runs, walls, "full", None, CONTROL)
    record = load(dump(as_record(track, runs, walls, verdict)))
    assert (
        judge(track, record.predicate.runs, record.predicate.reference, record.predicate.isolation, None, CONTROL)
        == verdict
    )
    standing = standing_from(record, "2026-11-20_cpu-logic_faster")
    assert standing.folder == "2026-11-20_cpu-logic_faster"
    assert relative_costs(standing.wall_ms, standing.reference_wall_ms) == pytest.approx(
        [w / 150_993.4 for w in (140_000, 141_000, 139_500, 140_500, 142_000)], rel=1e-6
    )


def as_record(track: Track, runs: list[Run], walls: Reference, verdict: Verdict) -> Record:
    predicate = Predicate(
        track=track.id, track_digest=HASH,
        submission=Submission(
            name="faster", path="submissions/faster", tree_sha256=HASH, title="Faster", change="x", contributors=["A"]
        ),
        commitment=Opening(entry="c-1", commitment_sha256=HASH, root_hex=HASH, nonce_hex=HASH),
        created_utc="2026-11-20T13:00:00Z", signer="tester", isolation="full", isolation_checks={},
        machine=Machine(cpu="x", cores=2, memory_bytes=1, kernel="k", python="3.11", packages={}),
        runs=runs, reference=walls, verdict=verdict, files={},
    )  # fmt: skip
    return Record(_type="https://in-toto.io/Statement/v1", subject=[], predicate=predicate)


def test_judging_needs_no_torch() -> None:
    code = "import sys, harness.frozen.judge; print([m for m in ('scipy', 'numpy', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True)
    assert done.stdout == "[]\n"


def test_with_four_runs_a_side_no_gap_is_wide_enough_for_a_record(track: Track) -> None:
    """Why a track asks for five: the smallest p of 4 against 4 is 1/70."""
    lax = track.model_copy(update={"verdict": track.verdict.model_copy(update={"runs": 4})})
    standing = Standing("first", [100_000, 110_000, 120_000, 130_000], list(BASELINE))
    verdict = judge(lax, good_runs([1000, 1001, 1002, 1003]), reference(*BASELINE), "full", standing, CONTROL)
    assert verdict.valid and not verdict.record
    assert verdict.standing_p_ppb == round(1e9 / 70)


def test_between_sessions_the_noise_of_both_baselines_counts(track: Track) -> None:
    """The same recipe in two sessions whose noisy baselines differ by luck: no record. In one session: one."""
    standing = Standing(
        "first", [100_000, 101_000, 99_500, 100_500, 100_200], [148_000, 151_000, 155_000, 149_000, 146_000]
    )
    runs = good_runs([98_000, 98_500, 97_900, 98_300, 98_100])
    lucky = reference(156_000, 150_000, 147_000, 153_000, 149_000)
    assert not judge(track, runs, lucky, "full", standing, CONTROL).record
    assert judge(track, runs, reference(*standing.reference_wall_ms), "full", standing, CONTROL).record


def test_identical_recipes_seldom_make_a_record(track: Track) -> None:
    """5 runs an arm, 2% noise, two sessions: the chance of a false record stays below the 1% promised."""
    import random

    draw = random.Random(5)
    false = 0
    trials = 500
    for _ in range(trials):
        a, ref_a, b, ref_b = ([round(draw.gauss(100_000, 2_000)) for _ in range(5)] for _ in range(4))
        verdict = judge(track, good_runs(a), reference(*ref_a), "full", Standing("first", b, ref_b), CONTROL)
        false += verdict.record
    assert false / trials < 0.01


# ---------------------------------------------------------------- suites without a gate


def test_a_suite_without_a_gate_is_counted_and_decides_nothing(track: Track) -> None:
    free = track.heldout.suites[0].model_copy(update={"task": "nim-hard", "questions": 10, "gate_ppm": None})
    heldout = track.heldout.model_copy(update={"suites": [*track.heldout.suites, free]})
    wider = track.model_copy(update={"heldout": heldout})
    walls = reference(*BASELINE)

    def with_hard(made: Run, right: int, questions: int = 10) -> Run:
        row = TaskResult(questions=questions, correct=right, formatted=10, truncated=0, tokens=100)
        return made.model_copy(update={"tasks": {**made.tasks, "nim-hard": row}})

    runs, control = good_runs(list(BASELINE)), run(9, 1, 100, 100, 100, 100)
    plain = judge(track, runs, walls, "full", None, control)
    for right in (0, 10):
        verdict = judge(wider, [with_hard(made, right) for made in runs], walls, "full", None, with_hard(control, 10))
        assert verdict == plain
    with pytest.raises(JudgeError, match="holds out"):
        judge(wider, runs, walls, "full", None, with_hard(control, 10))
    with pytest.raises(JudgeError, match="asks 10"):
        judge(wider, [with_hard(made, 1, 9) for made in runs], walls, "full", None, with_hard(control, 10))


# ---------------------------------------------------------------- the control run


def test_a_control_run_that_learnt_as_much_makes_the_result_invalid(track: Track) -> None:
    """At the ceiling of the mean, or at what the runs reach on a task, is not below it; none at all is no evidence."""
    runs, walls = good_runs(list(BASELINE)), reference(*BASELINE)
    fine = judge(track, runs, walls, "full", None, run(5, 1, 599, 599, 599, 599))
    assert fine.valid and fine.record
    assert fine.control_ppm == {"mean": 599_000, **dict.fromkeys(TASKS, 599_000)}
    by_chance = judge(track, runs, walls, "full", None, run(5, 1, 100, 100, 989, 100))
    assert by_chance.valid and by_chance.gates["nim"].gate_ppm < 989_000 < by_chance.gates["nim"].accuracy_ppm.low
    smuggled = judge(track, runs, walls, "full", None, run(5, 1, 100, 100, 990, 100))
    assert not smuggled.valid and not smuggled.record
    assert smuggled.reasons == ["control run: nim accuracy 0.9900 is not below 0.9900, though its scores said nothing"]
    taught = judge(track, runs, walls, "full", None, run(5, 1, 600, 600, 600, 600))
    assert taught.reasons == ["control run: mean accuracy 0.6000 is not below 0.6000, though its scores said nothing"]
    solver = judge(track, runs, walls, "full", None, run(5, 1, 950, 950, 950, 950))
    assert len(solver.reasons) == 3 and solver.reasons[0].startswith("control run: mean accuracy 0.9500")
    without = judge(track, runs, walls, "full", None, None)
    assert not without.valid and without.reasons == ["there is no control run"] and without.control_ppm is None


def test_a_control_run_of_another_examination_is_no_control_run(track: Track) -> None:
    tasks = {name: row for name, row in results(1, 1, 1, 1).items() if name != "nim"}
    with pytest.raises(JudgeError, match="results are for"):
        judge(track, good_runs(list(BASELINE)), reference(*BASELINE), "full", None, run(5, 1, tasks=tasks))
