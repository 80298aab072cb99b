"""The socket between a trainer and the harness, from both ends."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import checkpoint
from harness.client import EnvironmentRefused, Run, SaveError, connect
from harness.environment import MAX_FRAME, MAX_RANKS, Environment, EnvironmentFailed, Grader, development_key
from harness.tasks import TASKS, Sample, sample, split_of
from harness.tracks.schema import Warmup
from harness.tracks.track import ROOT, Track, load

KEY = b"tests of the environment"


@pytest.fixture(scope="session")
def track(tmp_path_factory: pytest.TempPathFactory) -> Track:
    """The CPU track; while its base model is not there, with a tokenizer made on the spot."""
    track = load("cpu-logic")
    if (track.base_folder / "tokenizer.json").exists():
        return track
    sys.path.insert(0, str(ROOT / "scripts"))
    from make_base_model import make_tokenizer

    folder = tmp_path_factory.mktemp("base")
    make_tokenizer().save_pretrained(folder)
    return track.model_copy(update={"base": track.base.model_copy(update={"folder": str(folder)})})


@pytest.fixture(scope="session")
def grader(track: Track) -> Grader:
    return Grader(track)


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder with a short name (socket paths have at most 107 bytes) that every user may enter."""
    folder = Path(tempfile.mkdtemp(prefix="nr1-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def serve(
    track: Track,
    path: Path,
    base: Path = Path("/base"),
    output: Path = Path("/output"),
    control: bytes | None = None,
) -> Environment:
    """An environment whose run began just now."""
    begun = time.monotonic()
    clock = lambda: round((time.monotonic() - begun) * 1000)  # noqa: E731
    return Environment(track, KEY, 7, path, str(base), str(output), clock, control)


@pytest.fixture
def environment(track: Track, place: Path) -> Iterator[Environment]:
    with serve(track, place / "s", base=track.base_folder, output=place) as environment:
        yield environment
        assert environment.fault is None


@pytest.fixture
def join(environment: Environment, place: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Connect as rank r of w, by the client's real way in."""

    def join(rank: int = 0, world: int = 1) -> Run:
        monkeypatch.setenv("NANO_R1_SOCKET", str(place / "s"))
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(world))
        return connect()

    return join


class Wire:
    """A trainer that does not use our client."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(str(path))

    def send(self, body: bytes, announced: int | None = None) -> None:
        size = len(body) if announced is None else announced
        self.socket.sendall(size.to_bytes(4, "big") + body)

    def receive(self) -> Any:
        """The next reply; None once closed."""
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            try:
                part = self.socket.recv(1 << 20)
            except ConnectionResetError:  # closed with bytes of ours unread
                part = b""
            if not part:
                return None
            data += part
        return json.loads(data[4:])

    def ask(self, **request: Any) -> Any:
        self.send(json.dumps(request).encode())
        return self.receive()

    def hello(self, rank: int = 0, world: int = 1) -> Any:
        return self.ask(op="hello", protocol=1, rank=rank, world=world)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()


def item(track: Track, index: int) -> Sample:
    tasks = track.train.tasks
    return sample(TASKS[tasks[index % len(tasks)]], KEY, "train", index)


def answer(grader: Grader, text: str, end: bool = True) -> list[int]:
    ids = grader._tokenizer.encode(f"<think>so</think><answer>{text}</answer>", add_special_tokens=False).ids
    return [*ids, grader.end_id] if end else list(ids)


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
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr("harness.environment.ROOT", place)
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
        file.write_text(broken)
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


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"op": "answers"}, "unknown op"),
        ({"op": ["score"]}, "unknown op 'list'"),
        ({}, "unknown op"),
        ({"op": "prompts"}, "exactly these fields: n"),
        ({"op": "prompts", "n": 1, "split": "heldout"}, "exactly these fields"),
        ({"op": "prompts", "n": True}, "n must be int, not bool"),
        ({"op": "prompts", "n": "1"}, "n must be int"),
        ({"op": "prompts", "n": 0}, "1 to 4096"),
        ({"op": "prompts", "n": 4097}, "1 to 4096"),
        ({"op": "prompts", "n": -(10**4000)}, "1 to 4096"),
        ({"op": "warmup", "n": 1}, "exactly these fields: first, n"),
        ({"op": "warmup", "first": -1, "n": 1}, "0 or more"),
        ({"op": "warmup", "first": 0, "n": 4097}, "1 to 4096"),
        ({"op": "warmup", "first": 0, "n": 0}, "1 to 4096"),
        ({"op": "hello", "protocol": 1, "rank": 0, "world": 1}, "rank 0 already"),
        ({"op": "hello", "protocol": 2, "rank": 0, "world": 1}, "protocol 2"),
        ({"op": "score", "completions": {}}, "must be list"),
        ({"op": "score", "completions": [["0", []]] * 8193}, "at most 8192"),
        ({"op": "score", "completions": [["0"]]}, "must be [prompt id"),
        ({"op": "score", "completions": [[0, []]]}, "must be [prompt id"),
        ({"op": "score", "completions": ["0"]}, "must be [prompt id"),
        ({"op": "score", "completions": [["0", "1"]]}, "must be [prompt id"),
        ({"op": "score", "completions": [["1", []]]}, "'1' was not handed to this rank"),
        ({"op": "score", "completions": [["00", []]]}, "was not handed"),
        ({"op": "score", "completions": [["-1", []]]}, "was not handed"),
        ({"op": "score", "completions": [["٠", []]]}, "was not handed"),
        ({"op": "score", "completions": [["", []]]}, "was not handed"),
        ({"op": "score", "completions": [["9" * 5000, []]]}, "was not handed"),
        ({"op": "score", "completions": [["0", [True]]]}, "no token id"),
        ({"op": "score", "completions": [["0", ["1"]]]}, "no token id"),
        ({"op": "score", "completions": [["0", [[]]]]}, "no token id"),
        ({"op": "score", "completions": [["0", [-1]]]}, "no token id"),
        ({"op": "score", "completions": [["0", [10**4000]]]}, "no token id"),
        ({"op": "score", "completions": [["0", [9] * 1000]]}, "has 1000 tokens"),
    ],
)
def test_a_wrong_request_is_refused_and_counts_for_nothing(
    environment: Environment, place: Path, request_: dict[str, Any], message: str
) -> None:
    with Wire(place / "s") as wire:
        assert "say hello first" in wire.ask(op="prompts", n=1)["error"]
        assert "ok" in wire.hello()
        assert len(wire.ask(op="prompts", n=1)["ok"]) == 1
        assert message in wire.ask(**request_)["error"]
        assert wire.ask(op="score", completions=[["0", []]])["ok"] == [{"correct": False, "formatted": False}]
        assert environment.totals().reward_queries == 1
        assert environment.totals().prompts == 1


def test_padding_after_the_end_token_is_said_not_scored(
    join: Callable[..., Run], grader: Grader, environment: Environment
) -> None:
    run = join()
    (prompt,) = run.prompts(1)
    with pytest.raises(EnvironmentRefused, match="goes on after its end token"):
        run.score([(prompt.id, [*answer(grader, "1"), run.pad_token_id])])
    assert environment.totals().reward_queries == 0


def test_the_vocabulary_is_the_limit(join: Callable[..., Run], grader: Grader) -> None:
    run = join()
    (prompt,) = run.prompts(1)
    run.score([(prompt.id, [grader.vocabulary - 1])])
    with pytest.raises(EnvironmentRefused, match="no token id"):
        run.score([(prompt.id, [grader.vocabulary])])


def test_ranks_must_agree_and_come_once(join: Callable[..., Run], place: Path) -> None:
    first = join(0, 2)
    assert [p.id for p in first.prompts(1)] == ["0"]
    for rank, world, message in [
        (0, 2, "rank 0 has connected before"),
        (1, 3, "the world is 3, another said 2"),
        (2, 2, "need 0 <= rank < world"),
        (-1, 2, "need 0 <= rank"),
        (0, 65, "world <= 64"),
    ]:
        with pytest.raises(EnvironmentRefused, match=message):
            join(rank, world)
    second = join(1, 2)
    assert [p.id for p in second.prompts(1)] == ["1"]
    with pytest.raises(EnvironmentRefused, match="'0' was not handed to this rank"):
        second.score([("0", [])])
    first._connection.close()
    with pytest.raises(EnvironmentRefused, match="connected before"):
        join(0, 2)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"hello"',
        b"null",
        b"\xff\xfe",
        b'{"op":"prompts","n":1.0}',
        b'{"op":"prompts","n":NaN}',
        b'{"op":"prompts","n":1,"n":2}',
        b'{"op":"prompts","n":' + b"9" * 6000 + b"}",
        b"[" * 1_000_000,
        b'{"a":' * 100_000,
        b'{"op":"score","completions":' + b"[" * 900 + b"]" * 900 + b"} x",
    ],
    ids=lambda body: body[:12].decode("latin-1"),
)
def test_a_malformed_frame_is_answered_and_ends_the_connection(
    environment: Environment, place: Path, body: bytes
) -> None:
    with Wire(place / "s") as wire:
        assert "ok" in wire.hello()
        wire.send(body)
        assert "error" in wire.receive()
        assert wire.receive() is None
    with Wire(place / "s") as other:  # and the next one is served
        assert "connected before" in other.hello()["error"]


def test_frames_end_at_16_mib(environment: Environment, place: Path, join: Callable[..., Run]) -> None:
    with Wire(place / "s") as wire:
        wire.send(b"", announced=MAX_FRAME + 1)
        assert "over 16777216" in wire.receive()["error"]
        assert wire.receive() is None
    with Wire(place / "s") as wire:
        wire.send(b" " * (MAX_FRAME - 2) + b"{}")
        assert "unknown op" in wire.receive()["error"]
    run = join()
    with pytest.raises(EnvironmentRefused, match="score fewer at a time"):
        run.score([("0", list(range(300))) for _ in range(20_000)])
    assert len(run.prompts(1)) == 1


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)
requests = st.fixed_dictionaries(
    {"op": st.sampled_from(["hello", "prompts", "score", "warmup"]) | json_values},
    optional={
        "protocol": st.just(1) | json_values,
        "rank": st.integers(0, 3) | json_values,
        "world": st.just(4) | json_values,
        "n": st.integers(-1, 5) | json_values,
        "completions": st.lists(st.tuples(st.sampled_from(["0", "1", "2"]), st.lists(st.integers(0, 400))))
        | json_values,
    },
)


@given(
    frames=st.lists(requests.map(lambda r: json.dumps(r).encode()) | st.binary(max_size=60), max_size=5),
    cut=st.integers(0, 30),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_bytes_break_it(environment: Environment, place: Path, frames: list[bytes], cut: int) -> None:
    """Whatever is sent, each request gets one reply or the end, and the environment goes on serving."""
    with Wire(place / "s") as wire:
        for frame in frames:
            try:
                wire.send(frame)
            except BrokenPipeError:
                break
            reply = wire.receive()
            assert reply is None or set(reply) in ({"ok"}, {"error"})
        stream = b"".join(len(f).to_bytes(4, "big") + f for f in frames)
        with contextlib.suppress(BrokenPipeError):
            wire.socket.sendall(stream[:cut])  # and then it hangs up in the middle
    assert environment.fault is None
    with Wire(place / "s") as other:
        assert "unknown op" in other.ask(op="?")["error"]


# ---------------------------------------------------------------- connections


def test_connections_are_capped_and_given_back(environment: Environment, place: Path) -> None:
    silent = [Wire(place / "s") for _ in range(MAX_RANKS)]
    with Wire(place / "s") as late:
        assert "64 connections" in late.receive()["error"]
        assert late.receive() is None
    for wire in silent:
        wire.socket.close()
    for _ in range(100):
        with Wire(place / "s") as again:
            try:
                reply = again.ask(op="?")
            except OSError:
                reply = None
            if reply and "unknown op" in reply["error"]:
                return
        time.sleep(0.05)
    pytest.fail("the closed connections were never given back")


def test_stop_is_prompt_whatever_the_trainer_does(track: Track, place: Path) -> None:
    threads = set(threading.enumerate())
    environment = serve(track, place / "s")
    environment.start()
    silent, partial, deaf, busy = (Wire(place / "s") for _ in range(4))
    partial.socket.sendall(b"\x00\x00\x10\x00half a frame")
    deaf.hello(0, 2)
    for _ in range(40):  # replies it never reads: the thread sits in sendall
        deaf.send(b'{"op":"prompts","n":400}')
    busy.hello(1, 2)
    busy.send(b'{"op":"prompts","n":4096}')
    time.sleep(0.1)
    begun = time.monotonic()
    environment.stop()
    assert time.monotonic() - begun < 10  # on a machine that does other work too; for ever is what it must not take
    assert set(threading.enumerate()) <= threads
    assert not (place / "s").exists()
    before = environment.totals()
    for wire in (silent, partial, deaf, busy):
        wire.socket.close()
    environment.stop()  # twice does no harm
    assert environment.totals() == before
    assert environment.fault is None


def test_a_lost_environment_is_said_plainly(track: Track, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NANO_R1_SOCKET", str(place / "s"))
    with pytest.raises(EnvironmentRefused, match="no environment listens at"):
        connect()
    with serve(track, place / "s"):
        run = connect()
    with pytest.raises(EnvironmentRefused, match="connection to the environment is lost"):
        run.prompts(1)


def test_a_socket_that_cannot_be_made(track: Track, place: Path) -> None:
    for path in (place / "missing" / "s", place / ("long" * 40), place):
        with pytest.raises(EnvironmentFailed, match="cannot listen at"):
            serve(track, path).start()


def test_a_base_without_a_tokenizer(track: Track, place: Path) -> None:
    bare = track.model_copy(update={"base": track.base.model_copy(update={"folder": str(place)})})
    with pytest.raises(EnvironmentFailed, match="no usable tokenizer"):
        Grader(bare)
    strange = track.model_copy(update={"base": track.base.model_copy(update={"end_token": "<|stop|>"})})
    with pytest.raises(EnvironmentFailed, match=r"no token '<\|stop\|>'"):
        Grader(strange)


def test_another_user_may_connect(environment: Environment, place: Path) -> None:
    assert stat.S_IMODE((place / "s").stat().st_mode) == 0o666
    if os.getuid() != 0:
        pytest.skip("becoming another user takes root")
    code = f"import socket; socket.socket(socket.AF_UNIX).connect({str(place / 's')!r})"
    subprocess.run(["/usr/bin/python3", "-c", code], user=65534, group=65534, extra_groups=[], check=True)


def test_several_ranks_at_once(
    join: Callable[..., Run], environment: Environment, grader: Grader, track: Track
) -> None:
    runs = [join(rank, 4) for rank in range(4)]
    results: dict[int, list[bool]] = {}

    def work(rank: int) -> None:
        right = []
        for _ in range(5):
            prompts = runs[rank].prompts(8)
            rows = [(p.id, answer(grader, item(track, int(p.id)).target)) for p in prompts]
            right += [score.correct for score in runs[rank].score(rows)]
        results[rank] = right

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {rank: [True] * 40 for rank in range(4)}
    assert environment.totals().reward_queries == environment.totals().prompts == 160


# ---------------------------------------------------------------- saving


@pytest.fixture
def small(track: Track, place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run whose base has a tied embedding in bfloat16 and a float32 norm."""
    import torch
    from safetensors.torch import save_file

    base, output = place / "base", place / "output"
    base.mkdir()
    output.mkdir()
    weights = {"embed.weight": torch.zeros(6, 4, dtype=torch.bfloat16), "norm.weight": torch.ones(4)}
    save_file(weights, base / "model.safetensors", metadata={"format": "pt"})
    monkeypatch.setenv("NANO_R1_SOCKET", str(place / "s"))
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with serve(track, place / "s", base=base, output=output):
        yield connect()


def test_save_writes_what_the_strict_reader_accepts(small: Run) -> None:
    import torch
    from safetensors.torch import load
    from torch import nn

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.norm = nn.Embedding(6, 4), nn.LayerNorm(4, bias=False)
            self.head = nn.Linear(4, 6, bias=False)
            self.head.weight = self.embed.weight  # tied: the base's file has no head.weight

    model = Model()
    path = small.save(model)
    assert path == small.output / "model.safetensors"
    checked = checkpoint.read(path, small.base / "model.safetensors")
    saved = load(checked.data)
    assert saved["embed.weight"].dtype == torch.bfloat16
    assert torch.equal(saved["embed.weight"], model.embed.weight.detach().bfloat16())
    assert torch.equal(saved["norm.weight"], model.norm.weight)
    assert [p.name for p in small.output.iterdir()] == ["model.safetensors"]
    shared = torch.randn(28)  # a dict of views into one buffer, one of them not contiguous
    state = {"embed.weight": shared[:24].view(4, 6).T, "norm.weight": shared[24:]}
    small.save(state)
    again = load(checkpoint.read(path, small.base / "model.safetensors").data)
    assert torch.equal(again["embed.weight"], state["embed.weight"].bfloat16())


def test_save_refuses_what_does_not_fit_and_leaves_the_old_file(small: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    good = {"embed.weight": torch.ones(6, 4), "norm.weight": torch.ones(4)}
    before = small.save(good).read_bytes()
    with pytest.raises(SaveError, match=r"'embed.weight' has shape \(4, 6\), the base has \(6, 4\)"):
        small.save({**good, "embed.weight": torch.ones(4, 6)})
    with pytest.raises(SaveError, match=r"no tensor 'norm.weight'"):
        small.save({"module.norm.weight": torch.ones(4), "embed.weight": torch.ones(6, 4)})

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        small.save({**good, "norm.weight": torch.zeros(4)})
    assert [p.name for p in small.output.iterdir()] == ["model.safetensors"]
    assert (small.output / "model.safetensors").read_bytes() == before


def test_the_client_needs_the_standard_library_only() -> None:
    code = (
        "import sys, harness.client\n"
        "ours = sorted(m for m in sys.modules if m.startswith('harness'))\n"
        "assert ours == ['harness', 'harness.client'], ours\n"
        "assert not {'torch', 'numpy', 'safetensors', 'tokenizers', 'pydantic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


# ---------------------------------------------------------------- development


def development(place: Path, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NANO_R1_SOCKET", "RANK", "WORLD_SIZE")}
    env = {**kept, "PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(place / "out"), **variables}
    return subprocess.run([sys.executable, "-c", code], env=env, cwd=place, capture_output=True, text=True, timeout=60)


needs_base = pytest.mark.skipif(
    not (load("cpu-logic").base_folder / "tokenizer.json").exists(), reason="the track's base model is not there yet"
)


@needs_base
def test_connect_starts_a_development_environment_and_ends_it(place: Path) -> None:
    code = (
        "from harness.client import connect\n"
        "run = connect()\n"
        "prompts = run.prompts(4)\n"
        "print(run.seed, run.output, run.base, len(prompts), run.score([(prompts[0].id, [])])[0].correct)\n"
        "print(sorted(p.token_ids for p in prompts))\n"
    )
    first, second, other = (development(place, code, NANO_R1_SEED=seed) for seed in ("5", "5", "6"))
    assert first.returncode == 0, first.stderr
    assert first.stderr == ""
    assert first.stdout.splitlines()[0] == f"5 {place / 'out'} {load('cpu-logic').base_folder} 4 False"
    assert first.stdout == second.stdout
    assert first.stdout.splitlines()[1] != other.stdout.splitlines()[1]


@needs_base
def test_the_development_environment_outlives_nobody(place: Path) -> None:
    """A trainer that is killed cannot stop its environment; the environment notices by itself."""
    code = (
        "import os, signal, glob\n"
        "from harness.client import connect\n"
        "run = connect()\n"
        "print(run._connection.getpeername(), flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = development(place, code)
    path = done.stdout.strip()
    assert path.endswith("/socket"), done.stderr
    for _ in range(100):
        if not Path(path).exists():
            shutil.rmtree(Path(path).parent)
            return
        time.sleep(0.05)
    pytest.fail("the development environment is still there")


def test_a_development_environment_that_cannot_start_says_why(place: Path) -> None:
    done = development(place, "from harness.client import connect; connect()", NANO_R1_TRACK="cpu-magic")
    assert "nano-r1: there is no track 'cpu-magic'; tracks: " in done.stderr and "cpu-logic" in done.stderr
    assert "EnvironmentRefused: the development environment did not start" in done.stderr
    assert "TrackError" not in done.stderr  # the child's message, without a traceback


def test_development_keys_differ_by_seed() -> None:
    assert len({development_key(seed) for seed in range(100)}) == 100
