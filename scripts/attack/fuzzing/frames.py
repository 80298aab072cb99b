"""Corrupted sessions with a real harness.environment.server, on its real socket, several connections at once.

The second opinion is a model of the protocol: from the bytes of each frame it says whether they are granted, refused or
end the connection, what comes back, and what a run must have counted in the end.
"""

from __future__ import annotations

import contextlib
import functools
import json
import random
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from fuzzing.checkpoint import ODD
from fuzzing.graders import answer_of, opinion
from fuzzing.tally import Tally
from harness.client import EnvironmentRefused, Run
from harness.environment import server, wire
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.tasks import TASKS
from harness.tracks.track import Track, load

REPLY_SECONDS = 60.0  # a hang is for ever; a reply on a machine that does other things can take ten

# ---------------------------------------------------------------- the second opinion

KEY, RUN_SEED = b"frames of the fuzz", 7
CLOSED, REFUSED, SILENCE = "closed", "refused", "silence"  # replies that are not a value
UNEXPLAINED = "not closed with a reason"  # an error that says why comes before the end


class Model:
    """The protocol and the counts of a run, computed independently of harness.environment.server."""

    def __init__(self, track: Track, tokenizer: Tokenizer, control: bool) -> None:
        self.track, self.tokenizer, self.control = track, tokenizer, control
        self.vocabulary, self.end = tokenizer.get_vocab_size(), tokenizer.token_to_id(track.base.end_token)
        self.world: int | None = None
        self.ranks: set[int] = set()
        self.prompts = self.queries = self.tokens = 0
        self.asked: Counter[int] = Counter()  # completions scored, by item

    def totals(self) -> server.Totals:
        return server.Totals(self.prompts, self.queries, max(self.asked.values(), default=0), self.tokens)

    def item(self, index: int) -> Sample:
        tasks = self.track.train.tasks
        return _item(tasks[index % len(tasks)], index)

    def answer(self, peer: Peer, body: bytes) -> Any:
        """CLOSED, REFUSED, or (a part of) the value that must come back; then it has been counted."""
        match _strict(body):
            case None:
                return CLOSED
            case {"op": str("hello"), "protocol": int(p), "rank": int(r), "world": int(w), **more} if _whole(p, r, w):
                taken = peer.rank is not None or r in self.ranks or self.world not in (None, w)
                if more or p != 1 or not 0 <= r < w <= 64 or taken:
                    return REFUSED
                self.world, peer.rank = w, r
                self.ranks.add(r)
                return {"seed": RUN_SEED, "end_token_id": self.end}
            case {"op": str("prompts"), "n": int(n), **more} if _whole(n) and peer.rank is not None and not more:
                if not 1 <= n <= 4096 or self.world is None:
                    return REFUSED
                new = [peer.rank + self.world * (len(peer.handed) + i) for i in range(n)]
                peer.handed += new
                peer.names |= {str(index): index for index in new}
                self.prompts += n
                return [{"id": str(i), "task": self.track.train.tasks[i % len(self.track.train.tasks)]} for i in new]
            case {"op": str("score"), "completions": list(rows), **more} if peer.rank is not None and not more:
                allowed = min(8192, self.track.budget.reward_queries - self.queries)
                if len(rows) > allowed or not all(self._fits(peer, row) for row in rows):
                    return REFUSED
                asked = self.asked + Counter(peer.names[name] for name, _ in rows)
                if rows and max(asked.values()) > self.track.budget.queries_per_prompt:
                    return REFUSED
                self.asked = asked
                self.queries += len(rows)
                self.tokens += sum(len(ids) for _, ids in rows)
                return [self._score(peer.names[name], ids) for name, ids in rows]
            case {"op": str("warmup"), "first": int(first), "n": int(n), **more} if peer.rank is not None and not more:
                return [] if _whole(first, n) and first >= 0 and 1 <= n <= 4096 else REFUSED
        return REFUSED

    def _fits(self, peer: Peer, row: Any) -> bool:
        match row:
            case [str(name), list(ids)] if name in peer.names and len(ids) <= self.track.sampling.max_new_tokens:
                return _whole(*ids) and all(0 <= n < self.vocabulary for n in ids) and self.end not in ids[:-1]
        return False

    def _score(self, index: int, ids: list[int]) -> dict[str, bool]:
        if not ids or ids[-1] != self.end:
            return {"correct": False, "formatted": False}
        text = self.tokenizer.decode(ids[:-1], skip_special_tokens=False)
        correct, formatted = opinion(self.item(index), text)
        # In a control run the truth of a well-formed answer must have no part in its score.
        return {"formatted": True} if self.control and formatted else {"correct": correct, "formatted": formatted}


@functools.lru_cache(maxsize=1 << 14)
def _item(task: str, index: int) -> Sample:
    return sample(TASKS[task], KEY, "train", index)


def _whole(*values: Any) -> bool:
    return all(type(value) is int for value in values)


def _strict(body: bytes) -> dict[str, Any] | None:
    """The request, if the bytes are one JSON object in UTF-8 with integers only and no key twice."""

    def no(_: object) -> None:
        raise ValueError

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs) if len(dict(pairs)) == len(pairs) else no(pairs)  # type: ignore[return-value]

    try:
        value = json.loads(str(body, "utf-8"), parse_float=no, parse_constant=no, object_pairs_hook=once)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def covers(expected: Any, got: Any) -> bool:
    """Is `got` what was expected? A dict may hold more."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(key in got and covers(value, got[key]) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(covers, expected, got))
    return type(expected) is type(got) and expected == got


class Peer:
    """A connection of ours."""

    def __init__(self, path: Path) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(REPLY_SECONDS)
        self.socket.connect(str(path))
        self.rank: int | None = None
        self.handed: list[int] = []
        self.names: dict[str, int] = {}  # prompt id -> index

    def reply(self) -> Any:
        """The next reply, CLOSED at the end, SILENCE after REPLY_SECONDS without one."""
        try:
            head = self._exactly(4)
            return json.loads(self._exactly(int.from_bytes(head, "big")))
        except TimeoutError:
            return SILENCE
        except (OSError, EOFError):  # closed by them, or by us after an earlier answer
            return CLOSED

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self.socket.recv(min(size - len(data), 1 << 18))
            if not part:
                raise EOFError
            data += part
        return bytes(data)


# ---------------------------------------------------------------- good and corrupted

WORLDS = [2, 3, 8, 64, 64, 64]
IDS = ["0{}", " {}", "{} ", "+{}", "-{}", "{}.0", "{}\x00", "{}\n", "no {}", "9" * 11, "9" * 12, "9" * 99, "", "\ud800"]
VALUES = [
    *ODD, '"hello"', '"score"', '"prompts"', '["hello"]', "64", "65", "4096", "4097", "-9223372036854775809", '"٣"',
    '"' + "x" * 100_000 + '"', "[" * 200 + "]" * 200, "[" * 5000 + "]" * 5000, '{"a":' * 5000 + "1" + "}" * 5000,
    "9" * 4300, "-" + "9" * 4300,
]  # fmt: skip


@dataclass(frozen=True)
class Frame:
    kind: str
    sent: bytes
    body: bytes | None  # as the environment will read it; None: it never gets all of it
    then: str = "wait"  # for the reply; or "shut" our side and wait for the end; or "leave" without looking


def good_request(rng: random.Random, peer: Peer, model: Model) -> dict[str, Any]:
    op = rng.choices(["prompts", "score", "warmup", "hello"], [3, 6, 0.3, 0.3])[0]
    if op == "hello" or (peer.rank is None and rng.random() < 0.8):
        world = model.world or rng.choice(WORLDS)
        free = sorted(set(range(world)) - model.ranks)[:-1]  # the last one is for the honest trainer at the end
        return {"op": "hello", "protocol": 1, "rank": rng.choice(free or [0]), "world": world}
    if op == "prompts" or (op == "score" and not peer.handed):
        return {"op": "prompts", "n": 4096 if rng.random() < 0.0005 else rng.randint(1, 8)}
    if op == "warmup":
        return {"op": "warmup", "first": rng.randint(0, 9), "n": rng.randint(1, 4096)}
    rows = [_good_row(rng, rng.choice(peer.handed), model) for _ in range(rng.choice([0, 1, 1, 2, 2, 8]))]
    return {"op": "score", "completions": rows}


def _good_row(rng: random.Random, index: int, model: Model) -> list[Any]:
    """[id, token ids]: right, near the grammar, or any tokens; with and without the end token."""
    item = model.item(index)
    way = rng.randrange(3)
    if way == 2:
        ids = [n for n in rng.choices(range(model.vocabulary), k=rng.randrange(100)) if n != model.end]
    else:
        text = f"<think></think><answer>{item.target if way == 0 else answer_of(rng, item)}</answer>"
        text = text.encode(errors="replace").decode()
        ids = [n for n in model.tokenizer.encode(text, add_special_tokens=False).ids[:127] if n != model.end]
    return [str(index), [*ids, *([model.end] if rng.random() < 0.9 else [])]]


def corrupted_json(rng: random.Random, request: dict[str, Any]) -> bytes:
    """Values of another type or size, keys gone, added, twice; also what only the text can say."""
    texts: list[str] = []

    def odd_value() -> str:
        texts.append(rng.choice(VALUES))
        return f"@{len(texts) - 1}@"

    for _ in range(rng.choice([1, 1, 1, 2])):
        places: list[tuple[Any, Any]] = []
        inner: list[Any] = [request]
        while inner:
            value = inner.pop()
            if isinstance(value, dict | list):
                places += [(value, key) for key in (value if isinstance(value, dict) else range(len(value)))]
                inner += value.values() if isinstance(value, dict) else value
        if not places:
            break
        holder, key = rng.choice(places)
        change = rng.randrange(6)
        if change == 0:
            del holder[key]
        elif change == 1 and isinstance(holder, dict):
            holder[rng.choice(["x", "", "OP", "op ", "n", "rank", "completions", "__class__", "self"])] = odd_value()
        elif change == 2 and isinstance(holder, dict):
            holder[f"{key}\u200b"] = holder.pop(key)
        else:
            holder[key] = odd_value()
    text = json.dumps(request, ensure_ascii=rng.random() < 0.5)
    for number, value in enumerate(texts):
        text = text.replace(f'"@{number}@"', value)
    if rng.random() < 0.1:
        text = '{"op": "warmup", ' + text[1:]
    return text.encode("utf-8", "surrogatepass")


def corrupted_rows(rng: random.Random, peer: Peer, model: Model) -> bytes:
    """A request to score in which one row's id or tokens are wrong, in one of the ways that look right."""
    rows = [_good_row(rng, rng.choice(peer.handed or [0]), model) for _ in range(rng.choice([1, 1, 3]))]
    row = rng.choice(rows)
    name, ids = row
    change = rng.randrange(4)
    if change == 0:
        scripts = ["٠١٢٣٤٥٦٧٨٩", "०१२३४५६७८९", "０１２３４５６７８９", "⁰¹²³⁴⁵⁶⁷⁸⁹"]
        other = name.translate(dict(zip(map(ord, "0123456789"), rng.choice(scripts), strict=True)))
        row[0] = rng.choice(
            [str(int(name) + rng.choice([1, 2, 64])), other, rng.choice(IDS).format(name), int(name), None, [name]]
        )
    elif change == 1:
        odd_tokens = [
            model.vocabulary,
            model.vocabulary - 1,
            -1,
            1 << 31,
            1 << 64,
            True,
            False,
            "1",
            None,
            [1],
            {},
            0.5,
        ]
        ids.insert(rng.randrange(len(ids) + 1), rng.choice([*odd_tokens, model.end]))
    elif change == 2:
        row[1] = rng.choice([[], [model.end] * 2, [5] * 128, [5] * 129, [5] * 10_000, {}, "55", 5, None, [ids]])
    else:
        rows[0] = rng.choice([[*row, 1], [name], [ids, name], {name: ids}, name, [], None])
        if rng.random() < 0.02:
            rows = [[name, [model.end]]] * rng.choice([8192, 8193])
    return json.dumps({"op": "score", "completions": rows}).encode("utf-8", "surrogatepass")


def corrupted_bytes(rng: random.Random, body: bytes) -> bytes:
    data = bytearray(body)
    change = rng.randrange(6)
    if change == 0:
        for _ in range(rng.choice([1, 2, 8])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif change == 1:
        at = rng.randrange(len(data))
        data[at : at + rng.choice([0, 1, 5])] = rng.choice(
            [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\x00", b"\xf8\x88\x80\x80\x80"]
        )
    elif change == 2:
        del data[rng.randrange(len(data)) :]
    elif change == 3:
        data[:] = rng.choice(
            [b"", b"{}", b"[]", b"null", b"0", b'"op"', rng.randbytes(40), b"\xef\xbb\xbf" + data, data + data]
        )
    elif change == 4:
        data[:] = data.decode().encode(rng.choice(["utf-16", "utf-16-be", "utf-32"]))
    else:
        for _ in range(rng.choice([1, 2])):
            data[rng.randrange(len(data))] = rng.choice(b'{}[]",:\\0123456789-.eE \n')
    return bytes(data)


def large_body(rng: random.Random, peer: Peer, body: bytes) -> bytes:
    """As many bytes as a frame may have, or one more."""
    size = wire.MAX_FRAME
    name = str((peer.handed or [0])[0]).encode()
    many = b'{"op":"score","completions":['
    heads_and_fill = [
        (body, b" ", b""), (b"", b"[", b""), (many, b"0,", b"0]}"), (b'{"op":"', b"x", b'"}'),
        (many + b'["' + name + b'",[', b"5,", b"5]]]}"), (many, b'["' + name + b'",[]],', b"[]]}"), (b"", b" ", b""),
    ]  # fmt: skip
    head, fill, tail = rng.choice(heads_and_fill)
    room = size - len(head) - len(tail)
    return head + fill * (room // len(fill)) + tail + b" " * (room % len(fill)) + rng.choice([b"", b"", b" "])


def frame_for(rng: random.Random, peer: Peer, model: Model) -> Frame:
    body = json.dumps(good_request(rng, peer, model)).encode()
    way = rng.random()
    if way < 0.0004:
        body = large_body(rng, peer, body)
        return Frame("16 MiB", _framed(body), body if len(body) <= wire.MAX_FRAME else b"")
    if way < 0.35:
        return Frame("good", _framed(body), body)
    if way < 0.6:
        body = corrupted_json(rng, json.loads(body))
        return Frame("corrupted JSON", _framed(body), body)
    if way < 0.75:
        body = corrupted_rows(rng, peer, model)
        return Frame("corrupted rows", _framed(body), body)
    if way < 0.9:
        body = corrupted_bytes(rng, body)
        return Frame("corrupted bytes", _framed(body), body)
    if way < 0.92:
        return Frame("good, then gone", _framed(body), body, "leave")
    if way < 0.95:
        return Frame("half a frame", _framed(body)[: rng.randrange(len(body) + 4)], None, rng.choice(["shut", "leave"]))
    if way < 0.97:
        return Frame("length too long", _framed(body, len(body) + rng.choice([1, 9, 1 << 20])), None, "shut")
    if way < 0.985:
        size = rng.randrange(len(body))
        return Frame("length too short", _framed(body, size), body[:size])
    return Frame("length over the limit", _framed(body, rng.choice([wire.MAX_FRAME + 1, 1 << 31, (1 << 32) - 1])), b"")


def _framed(body: bytes, size: int | None = None) -> bytes:
    return (len(body) if size is None else size).to_bytes(4, "big") + body


def volley(rng: random.Random, peers: list[Peer], model: Model, tally: Tally, single: bool) -> int:
    """Some frames on some connections at once, then their replies. Returns how many frames."""
    strangers = [peer for peer in peers if peer.rank is None]  # who is first to say hello matters, so one at a time
    chosen = strangers[:1] or rng.sample(peers, 1 if single else rng.randint(1, len(peers)))
    waiting: list[tuple[Peer, Frame, Any]] = []
    full = False  # a frame that no socket buffer holds goes last: else both ends might wait for the other to read
    begun = time.perf_counter()
    for peer in chosen:
        for number in range(0 if full else rng.choice([1, 1, 2, 4])):
            frame = frame_for(rng, peer, model)
            full = len(frame.sent) > 100_000
            if (full and waiting) or (number and frame.then == "leave"):  # which would leave earlier frames unread
                break
            expected = SILENCE if frame.body is None else model.answer(peer, frame.body)
            with contextlib.suppress(BrokenPipeError):  # a frame too large is refused while it comes
                peer.socket.sendall(frame.sent)
            if frame.then == "shut":
                peer.socket.shutdown(socket.SHUT_WR)
                expected = CLOSED
            waiting.append((peer, frame, expected))
            if expected == CLOSED or frame.then == "leave" or full:
                break
    for peer, frame, expected in waiting:
        if frame.then == "leave":
            peer.socket.close()
            peers.remove(peer)
            tally.note(frame.kind, "unread", 0.0)
            continue
        got = peer.reply()
        if expected == CLOSED and frame.then == "wait":
            got = peer.reply() if isinstance(got, dict) and set(got) == {"error"} else UNEXPLAINED
        outcome = got if isinstance(got, str) else REFUSED if set(got) == {"error"} else "granted"
        tally.note(frame.kind, outcome, time.perf_counter() - begun)
        agreed = (
            outcome == expected
            if isinstance(expected, str)
            else outcome == "granted" and covers(expected, got.get("ok"))
        )
        if not agreed:
            tally.findings.append(
                f"{frame.kind}: expected {str(expected)[:200]}, got {str(got)[:200]}: {frame.sent[:300]!r}"
            )
        if outcome in (CLOSED, SILENCE) and peer in peers:
            peer.socket.close()
            peers.remove(peer)
    return len(waiting)


def honest(path: Path, model: Model) -> str | None:
    """What goes wrong for a trainer with our client after that. Without a free rank or budget it is refused."""
    world = model.world or 1
    rank = next((rank for rank in range(world) if rank not in model.ranks), None)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(REPLY_SECONDS)
        connection.connect(str(path))
        try:
            run = Run(connection, rank or 0, world)
            prompts = run.prompts(4)
            model.prompts += 4
            rows = []
            for prompt in prompts:
                text = f"<think></think><answer>{model.item(int(prompt.id)).target}</answer>"
                rows.append((prompt.id, [*model.tokenizer.encode(text, add_special_tokens=False).ids, model.end]))
            scores = run.score(rows)
        except EnvironmentRefused as refusal:
            spent = model.queries + 4 > model.track.budget.reward_queries
            return None if rank is None or spent else f"an honest trainer was refused: {refusal}"
    model.queries += 4
    model.asked.update(int(prompt.id) for prompt in prompts)
    model.tokens += sum(len(ids) for _, ids in rows)
    right = all(score.formatted and (score.correct or model.control) for score in scores)
    return None if right else "an honest trainer's right answers were graded wrong"


def session(
    rng: random.Random, track: Track, tokenizer: Tokenizer, path: Path, frames: int, tally: Tally
) -> Generator[None, None, None]:
    """One environment from start to stop; at most about `frames` frames."""
    tight = rng.random() < 0.2  # a budget that is used up on the way
    limits = {"reward_queries": rng.randrange(200), "queries_per_prompt": rng.randint(1, 9)} if tight else {}
    track = track.model_copy(update={"budget": track.budget.model_copy(update=limits)})
    control = b"draws" if rng.random() < 0.3 else None
    model, begun, threads = Model(track, tokenizer, control is not None), time.monotonic(), threading.active_count()
    before, sent = len(tally.findings), 0
    served = server.Environment(
        track, KEY, RUN_SEED, path, "/base", "/output", lambda: round((time.monotonic() - begun) * 1000), control
    )
    with served:
        peers: list[Peer] = []
        while sent < frames and len(tally.findings) == before:
            if sent > 100 and len(model.ranks) > (model.world or 64) - 2:
                break  # who connects now learns that its rank is taken, and little else
            while len(peers) < 4:
                peers.append(Peer(path))
            count = volley(rng, peers, model, tally, single=tight)
            sent += count
            for _ in range(count):
                yield
        for peer in peers:
            peer.socket.close()
        if len(tally.findings) == before and (problem := honest(path, model)):
            tally.findings.append(problem)
        deadline = time.monotonic() + REPLY_SECONDS
        while threading.active_count() > threads + 1 and time.monotonic() < deadline:  # the one that accepts stays
            time.sleep(0.001)
        if threading.active_count() > threads + 1:
            tally.findings.append(f"{threading.active_count() - threads - 1} threads serve connections that are closed")
        totals, curve = served.totals(), served.curve
    if threading.active_count() > threads:
        tally.findings.append("a thread outlives the environment")
    if served.fault is not None:
        tally.findings.append(f"the environment failed: {served.fault}")
    expected = model.totals()
    scored = sum(point["completions"] for point in curve), sum(point["tokens"] for point in curve)
    if len(tally.findings) == before and (totals != expected or scored != (model.queries, model.tokens)):
        tally.findings.append(f"counted {totals} and {scored} on the curve, should be {expected}")


def frame_cases(count: int, seed: int, tally: Tally) -> Generator[None, None, None]:
    track = load("cpu-logic")
    tokenizer = Tokenizer.from_file(str(track.base_folder / "tokenizer.json"))
    with tempfile.TemporaryDirectory(prefix="fuzz-") as name:
        number = 0
        while tally.done < count:
            rng = random.Random(f"frames/{seed}/{number}")
            yield from session(rng, track, tokenizer, Path(name) / "s", min(300, count - tally.done), tally)
            number += 1
