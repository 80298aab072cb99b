"""The prompts that an environment hands out and the scores that it gives, true ones and the control run's."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import Wire, answer, item, serve

from harness.client import Run, connect
from harness.environment.server import Environment
from harness.environment.training import EnvironmentFailed
from harness.frozen.draw import split_of
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.schema import Warmup
from harness.tracks.track import Track

# ---------------------------------------------------------------- prompts


def test_prompts_take_the_tasks_in_turn_with_the_template_applied(
    join: Callable[..., Run], track: Track, grader: Grader
) -> None:
    run = join()
    prompts = run.prompts(5) + run.prompts(3)
    assert [p.id for p in prompts] == [str(i) for i in range(8)]
    assert [p.task for p in prompts] == track.train.tasks * 2
    for i, prompt in enumerate(prompts):
        text = grader._tokenizer.decode(prompt.token_ids, skip_special_tokens=False)
        assert text == track.base.template.format(prompt=item(track, i).prompt)
        assert split_of(prompt.task, item(track, i).prompt) == "train"


def test_ranks_share_the_list_and_a_rerun_draws_the_same(
    join: Callable[..., Run], environment: Environment, track: Track, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = [join(rank, 3) for rank in (2, 0, 1)]
    drawn = {p.id: p for run in ranks for p in run.prompts(4)}
    assert [p.id for p in ranks[0].prompts(2)] == ["14", "17"]  # rank 2 of 3, items 4 and 5
    assert environment.totals().prompts == 14
    with serve(track, place / "again"):
        monkeypatch.setenv("NANO_R1_SOCKET", str(place / "again"))
        monkeypatch.setenv("RANK", "0")
        monkeypatch.setenv("WORLD_SIZE", "1")
        assert connect().prompts(12) == [drawn[str(i)] for i in range(12)]


def test_hello_tells_what_a_trainer_needs(
    join: Callable[..., Run], environment: Environment, track: Track, grader: Grader, place: Path
) -> None:
    time.sleep(0.05)
    run = join()
    assert (run.base, run.output, run.seed) == (track.base_folder, place, 7)
    assert (run.budget_seconds, run.max_new_tokens) == (track.budget.seconds, track.sampling.max_new_tokens)
    assert grader._tokenizer.id_to_token(run.end_token_id) == track.base.end_token
    assert grader._tokenizer.id_to_token(run.pad_token_id) == "<|pad|>"
    assert track.budget.seconds - 5 < run.seconds_left() < track.budget.seconds - 0.04
    assert run.warmup() == []


def test_warmup_hands_every_rank_all_traces(
    track: Track, grader: Grader, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = "<think>so</think><answer>1</answer>"
    rows = [{"task": "nim", "prompt": f"Nim: {n} stones", "completion": right} for n in range(700)]
    file = place / "traces.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    monkeypatch.setattr("harness.environment.server.ROOT", place)
    traces_of = Warmup(file=file.name, sha256=hashlib.sha256(file.read_bytes()).hexdigest())
    warm = track.model_copy(update={"warmup": traces_of})
    with serve(warm, place / "w"):
        monkeypatch.setenv("NANO_R1_SOCKET", str(place / "w"))
        for rank in ("0", "1"):
            monkeypatch.setenv("RANK", rank)
            monkeypatch.setenv("WORLD_SIZE", "2")
            traces = connect().warmup()
            assert len(traces) == 700 and {trace.task for trace in traces} == {"nim"}
            decode = functools.partial(grader._tokenizer.decode, skip_special_tokens=False)
            assert decode(traces[699].prompt_ids) == track.base.template.format(prompt="Nim: 699 stones")
            assert decode(traces[699].token_ids) == rows[699]["completion"] + track.base.end_token
            assert traces[0].token_ids[-1] == grader.end_id
    for broken in ("nonsense", '{"task": "nim"}', '["nim"]', '{"task": "nim", "prompt": 1, "completion": 2}'):
        file.write_text(broken, encoding="utf-8")
        with pytest.raises(EnvironmentFailed, match=r"traces\.jsonl: no traces there that can be read"):
            serve(warm, place / "x")
    file.unlink()
    with pytest.raises(EnvironmentFailed, match="no traces there"):
        serve(warm, place / "x")


# ---------------------------------------------------------------- grading


def test_gold_answers_score_and_attacks_do_not(join: Callable[..., Run], track: Track, grader: Grader) -> None:
    run = join()
    for prompt in run.prompts(8):
        question = item(track, int(prompt.id))
        tries = [question.target, *TASKS[prompt.task].attacks(question)]
        rows = [(prompt.id, answer(grader, text)) for text in tries]
        scores = run.score([row for row in rows if len(row[1]) <= run.max_new_tokens])
        assert scores[0].correct
        assert scores[0].formatted
        assert not any(score.correct for score in scores[1:])


def test_a_completion_ends_with_one_end_token(grader: Grader, track: Track) -> None:
    question = item(track, 1)
    good = answer(grader, question.target)
    graded = grader.grade(question, good)
    assert graded.score.correct
    assert not graded.truncated
    cut = grader.grade(question, good[:-1])
    assert cut.truncated
    assert not cut.score.formatted
    assert grader.grade(question, []).truncated
    pad = grader.pad_id
    for bad in (
        [*good, grader.end_id],
        [*good, pad],
        [grader.end_id, *good],
        [pad, *good],
        [*good[:-1], 10**6, grader.end_id],
    ):
        graded = grader.grade(question, bad)
        assert not graded.score.correct
        assert not graded.score.formatted
        assert not graded.truncated
    assert [g.score.correct for g in grader.grade_all([question] * 2, [good, good[:-1]])] == [True, False]
    with pytest.raises(ValueError, match="zip"):
        grader.grade_all([question], [])


@given(ids=st.lists(st.integers(-5, 2**70) | st.integers(0, 359), max_size=130), end=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_grader_is_total(grader: Grader, track: Track, ids: list[int], end: bool) -> None:
    graded = grader.grade(item(track, len(ids)), [*ids, grader.end_id] if end else ids)
    assert graded.score.formatted or not graded.score.correct
    assert graded.truncated == (grader.end_id not in ids and not end)


def test_it_counts_what_it_grades(
    join: Callable[..., Run], environment: Environment, track: Track, grader: Grader
) -> None:
    run = join()
    prompts = run.prompts(4)
    good = [(p.id, answer(grader, item(track, int(p.id)).target)) for p in prompts]
    for row in good * 20:  # 80 requests, one completion each
        run.score([row])
    time.sleep(0.3)
    run.score([(prompts[0].id, []), (prompts[0].id, answer(grader, "7"))])
    totals = environment.totals()
    assert dataclasses.asdict(totals) == {
        "prompts": 4,
        "reward_queries": 82,
        "most_queries_per_prompt": 22,
        "sampled_tokens": 20 * sum(len(ids) for _, ids in good) + len(answer(grader, "7")),
    }
    curve = environment.curve
    assert 2 <= len(curve) <= 10  # not 81
    assert [point["t_ms"] for point in curve] == sorted(point["t_ms"] for point in curve)
    assert len({point["t_ms"] // 250 for point in curve}) == len(curve)
    assert sum(point["completions"] for point in curve) == 82
    assert sum(point["correct"] for point in curve) == 80
    assert sum(point["formatted"] for point in curve) == 81
    assert sum(point["tokens"] for point in curve) == totals.sampled_tokens
    assert curve[-1]["tasks"] == {prompts[0].task: [2, 0]}


def test_the_budget_of_reward_queries_holds_over_all_ranks(track: Track, grader: Grader, place: Path) -> None:
    poor = track.model_copy(update={"budget": track.budget.model_copy(update={"reward_queries": 5})})
    with (
        serve(poor, place / "s") as environment,
        Wire(place / "s") as first,
        Wire(place / "s") as second,
    ):
        for rank, wire in enumerate((first, second)):
            assert "ok" in wire.hello(rank, 2)
            assert "ok" in wire.ask(op="prompts", n=1)
        assert len(first.ask(op="score", completions=[["0", []]] * 3)["ok"]) == 3
        used_up = {"error": "reward query budget of 5 used up"}
        assert second.ask(op="score", completions=[["1", []]] * 3) == used_up
        assert len(second.ask(op="score", completions=[["1", []]] * 2)["ok"]) == 2
        assert first.ask(op="score", completions=[["0", []]]) == used_up
        assert environment.totals().reward_queries == 5


def test_counts_are_told_while_a_batch_is_graded_and_a_budget_is_not_overdrawn_meanwhile(
    track: Track, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox's watchdog asks for them: it must not wait for a long batch, nor a fault in one leave traces."""
    poor = track.model_copy(update={"budget": track.budget.model_copy(update={"reward_queries": 5})})
    begun, go_on = threading.Event(), threading.Event()
    with serve(poor, place / "s") as environment, Wire(place / "s") as first, Wire(place / "s") as second:
        grade = environment._grader.grade_all

        def slowly(*arguments: Any) -> Any:
            begun.set()
            assert go_on.wait(10)
            return grade(*arguments)

        monkeypatch.setattr(environment._grader, "grade_all", slowly)
        for rank, wire in enumerate((first, second)):
            wire.hello(rank, 2)
            wire.ask(op="prompts", n=1)
        with ThreadPoolExecutor(2) as pool:
            replies = [pool.submit(first.ask, op="score", completions=[["0", []]] * 3)]
            assert begun.wait(10)
            replies.append(pool.submit(second.ask, op="score", completions=[["1", []]] * 3))
            assert (environment.totals().reward_queries, environment.curve) == (0, [])
            go_on.set()
            assert len(replies[0].result()["ok"]) == 3
            assert replies[1].result() == {"error": "reward query budget of 5 used up"}
        assert environment.totals().reward_queries == sum(point["completions"] for point in environment.curve) == 3


def test_a_prompt_may_be_asked_about_so_often_and_no_oftener(track: Track, grader: Grader, place: Path) -> None:
    poor = track.model_copy(update={"budget": track.budget.model_copy(update={"queries_per_prompt": 3})})
    with serve(poor, place / "s") as environment, Wire(place / "s") as wire:
        wire.hello()
        wire.ask(op="prompts", n=2)
        assert len(wire.ask(op="score", completions=[["0", []]] * 2)["ok"]) == 2
        refused = wire.ask(op="score", completions=[["1", []], ["0", []], ["0", []]])
        assert refused == {"error": "score: more than 3 completions of prompt 0: go on to the next prompt"}
        assert environment.totals().reward_queries == 2  # all or nothing
        assert len(wire.ask(op="score", completions=[["1", []]] * 3 + [["0", []]])["ok"]) == 4
        assert (environment.totals().most_queries_per_prompt, environment.totals().reward_queries) == (3, 6)


# ---------------------------------------------------------------- the control run


def controlled(track: Track, grader: Grader, place: Path, name: str, right: float, key: bytes = b"c") -> list[bool]:
    """What a control run tells a trainer that is right so often, in its own order, one completion a request."""
    told = []
    with serve(track, place / name, control=key) as environment, Wire(place / name) as wire:
        wire.hello()
        prompts = wire.ask(op="prompts", n=1600)["ok"]
        linear = [p for p in prompts if p["task"] == "linear"]
        for number, prompt in enumerate(linear):
            target = item(track, int(prompt["id"])).target if number % 10 < 10 * right else "0"
            completion = answer(grader, target)
            told.append(wire.ask(op="score", completions=[[prompt["id"], completion]])["ok"][0]["correct"])
        assert environment.fault is None
    return told


def test_a_control_run_tells_the_frequency_and_not_the_truth(track: Track, grader: Grader, place: Path) -> None:
    told = controlled(track, grader, place, "a", right=0.3)
    truth = [number % 10 < 3 for number in range(len(told))]
    assert len(told) == 400 and 0.2 < sum(told) / len(told) < 0.4  # 0.3 ± 4 sigma
    agree = sum(a == b for a, b in zip(told, truth, strict=True)) / len(told)
    assert abs(agree - (0.3 * 0.3 + 0.7 * 0.7)) < 0.1  # what independent draws agree by chance
    assert 0.9 < sum(controlled(track, grader, place, "b", right=1.0)) / 400 < 1
    assert controlled(track, grader, place, "c", right=0.3) == told  # from its key alone
    assert controlled(track, grader, place, "d", right=0.3, key=b"d") != told


def test_a_control_run_does_not_give_itself_away(track: Track, grader: Grader, place: Path) -> None:
    """Asked twice it says the same, garbage is garbage, and asking often moves no frequency."""
    with serve(track, place / "s", control=b"c") as environment, Wire(place / "s") as wire:
        wire.hello()
        prompts = wire.ask(op="prompts", n=80)["ok"]
        rows = [[p["id"], answer(grader, "0")] for p in prompts]
        first = wire.ask(op="score", completions=rows)["ok"]
        assert wire.ask(op="score", completions=rows)["ok"] == first
        assert all(score["formatted"] for score in first) and any(score["correct"] for score in first)
        garbage = [[p["id"], answer(grader, "0", end=False)] for p in prompts]
        assert wire.ask(op="score", completions=garbage)["ok"] == [{"correct": False, "formatted": False}] * 80
        right = [[p["id"], answer(grader, item(track, int(p["id"])).target)] for p in prompts[:4]]
        wire.ask(op="score", completions=right * 60)  # one truth, told sixty times
        seen = environment._control._seen  # type: ignore[union-attr]
        assert all(counts == [21, 1] for counts in seen.values())
