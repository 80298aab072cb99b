"""What an environment refuses, and what hostile or lost connections do to it."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wire import Wire, answer, item, serve

from harness.client import EnvironmentRefused, Run, connect
from harness.environment.server import MAX_RANKS, Environment
from harness.environment.training import EnvironmentFailed
from harness.environment.wire import MAX_FRAME
from harness.frozen.grader import Grader, TokenizerError
from harness.tracks import rules
from harness.tracks.track import Track

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
    with pytest.raises(TokenizerError, match="no usable tokenizer"):
        rules.grader(bare)
    strange = track.model_copy(update={"base": track.base.model_copy(update={"end_token": "<|stop|>"})})
    with pytest.raises(TokenizerError, match=r"no token '<\|stop\|>'"):
        rules.grader(strange)


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
