"""The harness's end of the socket: draws prompts, grades completions, counts.

Runs in the verifier's process, a thread a connection, while the submission trains in the sandbox; and as a
child process of a trainer under development. The submission learns nothing here but the prompts and, of
the completions it posts, whether they are correct: answers stay on this side.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import socket
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.environment import training, wire
from harness.environment.training import EnvironmentFailed
from harness.environment.wire import MAX_COMPLETIONS, MAX_PROMPTS, PROTOCOL, RequestRefused
from harness.frozen.control import Control
from harness.frozen.format import Sample, Score
from harness.tracks import rules
from harness.tracks.track import ROOT, Track

MAX_RANKS = 64
CURVE_MS = 250  # score requests within the same slot share a point of the curve


@dataclass(frozen=True)
class Totals:
    """What a run has used: distinct prompts handed out, completions graded, tokens of those completions."""

    prompts: int
    reward_queries: int
    most_queries_per_prompt: int
    sampled_tokens: int


@dataclass
class _Session:
    """One connection. Rank r of w has been handed the items r, r+w, …, r+(handed-1)w."""

    rank: int | None = None
    world: int = 0
    handed: int = 0

    def holds(self, index: int) -> bool:
        return self.rank is not None and index in range(self.rank, self.rank + self.handed * self.world, self.world)


class Environment:
    """Serves one training run on a Unix socket, from `start` to `stop`.

    `base` and `output` are those folders as the trainer sees them. `clock` gives the milliseconds that the
    run has used of its budget. `control` makes it a control run: the key of its scores. `fault` is the
    traceback of the harness's own first error, None if all is well.
    """

    def __init__(
        self,
        track: Track,
        train_key: bytes,
        seed: int,
        socket_path: Path,
        base: str,
        output: str,
        clock: Callable[[], int],
        control: bytes | None = None,
    ) -> None:
        self.fault: str | None = None
        self._control = None if control is None else Control(control)
        self._track, self._seed, self._path, self._clock = track, seed, socket_path, clock
        self._folders = {"base": base, "output": output}
        self._grader, self._ids = rules.grader(track), rules.model_ids(track)
        self._traces = training.traces(ROOT / track.warmup.file, self._grader) if track.warmup else []
        self._item = functools.lru_cache(maxsize=1 << 14)(functools.partial(training.question, track, train_key))
        # One request at a time, graded before the next is looked at: so nobody overdraws a budget that another uses up,
        # and 64 decoded frames at once would not fit in memory.
        self._turn = threading.Lock()
        # What it has counted. Held for moments, never while something is graded: the sandbox's watchdog asks for it.
        self._counts = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = False
        self._world: int | None = None
        self._ranks: set[int] = set()
        self._prompts = self._queries = self._tokens = 0
        self._asked: Counter[int] = Counter()  # completions graded, by item
        self._curve: list[dict[str, Any]] = []

    def start(self) -> None:
        """Listen. Raises harness.environment.training.EnvironmentFailed."""
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(self._path))
            self._path.chmod(0o666)  # the sandbox's user connects
            listener.listen(MAX_RANKS)
        except OSError as error:
            listener.close()
            raise EnvironmentFailed(f"cannot listen at {self._path}: {error.strerror or error}") from None
        self._listener = listener
        self._acceptor = threading.Thread(target=self._accept, args=(listener,), daemon=True)
        self._acceptor.start()

    def stop(self) -> None:
        """Close every connection and the socket. After it the totals and the curve stand still."""
        with self._turn:
            self._stopping = True
        if self._listener is None:
            return
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
        self._acceptor.join()
        self._listener.close()
        self._listener = None
        for connection, thread in list(self._connections.items()):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)  # wakes recv() and sendall()
            thread.join()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Environment:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def totals(self) -> Totals:
        with self._counts:
            return Totals(self._prompts, self._queries, max(self._asked.values(), default=0), self._tokens)

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The training curve as the harness saw it: a point a slot of 250 ms in which something was scored.

        Each {"t_ms", "completions", "correct", "formatted", "tokens", "tasks": {task: [completions, correct]}};
        t_ms is that of the slot's last request. At most four points a second, however the trainer asks.
        """
        with self._counts:
            return copy.deepcopy(self._curve)

    # ------------------------------------------------------------ connections

    def _accept(self, listener: socket.socket) -> None:
        while not self._stopping:
            try:
                connection, _ = listener.accept()
            except OSError:
                time.sleep(0.05)  # stopping, or out of file descriptors: look again
                continue
            if len(self._connections) >= MAX_RANKS:
                connection.setblocking(False)
                with contextlib.suppress(OSError):
                    connection.send(wire.frame({"error": f"{MAX_RANKS} connections are open already"}))
                connection.close()
                continue
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._connections[connection] = thread
            try:
                thread.start()
            except RuntimeError:  # no more threads to be had
                del self._connections[connection]
                connection.close()

    def _serve(self, connection: socket.socket) -> None:
        session = _Session()
        try:
            while (body := wire.receive(connection)) is not None:
                with self._turn:
                    if self._stopping:
                        return
                    reply = self._reply(session, body)
                connection.sendall(wire.frame(reply))
        except wire.MalformedFrame as error:
            with contextlib.suppress(OSError):
                connection.sendall(wire.frame({"error": str(error)}))
        except OSError:
            pass  # the other side is gone
        except Exception:  # the harness's own fault: keep it for the verifier, tell the trainer no details
            self.fault = self.fault or traceback.format_exc()
            with contextlib.suppress(OSError):
                connection.sendall(wire.frame({"error": "the environment failed; this is a fault of the harness"}))
        finally:
            connection.close()
            self._connections.pop(connection, None)

    # ------------------------------------------------------------ requests

    def _reply(self, session: _Session, body: bytearray) -> dict[str, Any]:
        request = wire.parse(body)
        try:
            return {"ok": self._answer(session, *wire.checked(request))}
        except RequestRefused as refusal:
            return {"error": str(refusal)}

    def _answer(self, session: _Session, op: str, request: dict[str, Any]) -> Any:
        if op == "hello":
            return self._hello(session, **request)
        if session.rank is None:
            raise RequestRefused("say hello first")
        if op == "prompts":
            return self._hand_out(session, request["n"])
        if op == "score":
            return self._grade(session, request["completions"])
        first, n = request["first"], request["n"]
        if first < 0 or not 1 <= n <= MAX_PROMPTS:
            raise RequestRefused(f"warmup: first must be 0 or more and n 1 to {MAX_PROMPTS}")
        return self._traces[first : first + n]

    def _hello(self, session: _Session, protocol: int, rank: int, world: int) -> dict[str, Any]:
        if protocol != PROTOCOL:
            raise RequestRefused(f"protocol {protocol} is not {PROTOCOL}: use this repository's harness/client.py")
        if not (1 <= world <= MAX_RANKS and 0 <= rank < world):
            raise RequestRefused(f"rank {rank} of {world}: need 0 <= rank < world <= {MAX_RANKS}")
        if session.rank is not None:
            raise RequestRefused(f"this connection is rank {session.rank} already")
        if self._world not in (None, world):
            raise RequestRefused(f"rank {rank} says the world is {world}, another said {self._world}")
        if rank in self._ranks:
            raise RequestRefused(f"rank {rank} has connected before: call connect() once in each process")
        self._world, session.rank, session.world = world, rank, world
        self._ranks.add(rank)
        return {
            **self._folders,
            "seed": self._seed,
            "budget_seconds": self._track.budget.seconds,
            "elapsed_ms": self._clock(),
            "max_new_tokens": self._track.sampling.max_new_tokens,
            "end_token_id": self._grader.end_id,
            "pad_token_id": self._grader.pad_id,
        }

    def _hand_out(self, session: _Session, n: int) -> list[dict[str, Any]]:
        if not 1 <= n <= MAX_PROMPTS:
            raise RequestRefused(f"prompts: n must be 1 to {MAX_PROMPTS}, not {str(n)[:40]}")
        assert session.rank is not None
        first = session.rank + session.handed * session.world
        out = []
        for index in range(first, first + n * session.world, session.world):
            item = self._item(index)
            out.append({"id": str(index), "task": item.task, "token_ids": self._grader.prompt_ids(item)})
        session.handed += n
        with self._counts:
            self._prompts += n
        return out

    def _grade(self, session: _Session, completions: list[Any]) -> list[dict[str, bool]]:
        """All or nothing: a request with one fault in it counts for nothing. Counted when all of it is graded."""
        if len(completions) > MAX_COMPLETIONS:
            raise RequestRefused(f"score: {len(completions)} completions in one request, at most {MAX_COMPLETIONS}")
        budget = self._track.budget.reward_queries
        if self._queries + len(completions) > budget:
            raise RequestRefused(f"reward query budget of {budget} used up")
        indices = [self._check(session, row) for row in completions]
        if not indices:
            return []
        most = self._track.budget.queries_per_prompt
        asked = Counter(indices)
        for index, times in asked.items():
            if self._asked[index] + times > most:
                raise RequestRefused(f"score: more than {most} completions of prompt {index}: go on to the next prompt")
        bodies = [row[1] for row in completions]
        items = [self._item(index) for index in indices]
        scores = [graded.score for graded in self._grader.grade_all(items, bodies)]
        if self._control is not None:
            scores = [self._control.score(*each) for each in zip(items, bodies, scores, strict=True)]
        with self._counts:
            self._asked.update(asked)
            self._count(items, bodies, scores)
        return [{"correct": s.correct, "formatted": s.formatted} for s in scores]

    def _check(self, session: _Session, row: Any) -> int:
        """The item's index, if this is [id of a prompt this rank was handed, token ids]."""
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], list)):
            raise RequestRefused("score: each completion must be [prompt id, [token ids]]")
        name, ids = row
        index = int(name) if name.isascii() and name.isdigit() and len(name) < 12 else -1
        if str(index) != name or not session.holds(index):
            raise RequestRefused(f"score: prompt {name[:40]!r} was not handed to this rank")
        if len(ids) > self._track.sampling.max_new_tokens:
            longest = self._track.sampling.max_new_tokens
            raise RequestRefused(f"score: a completion of prompt {name} has {len(ids)} tokens, at most {longest}")
        if not all(type(n) is int and 0 <= n < self._ids for n in ids):
            last = self._ids - 1
            raise RequestRefused(
                f"score: a completion of prompt {name} has something that is no token id (0 to {last})"
            )
        if self._grader.end_id in ids[:-1]:  # always a mistake, and a 0 without a word would hide it
            raise RequestRefused(f"score: a completion of prompt {name} goes on after its end token: cut it there")
        return index

    def _count(self, items: list[Sample], bodies: list[list[int]], scores: list[Score]) -> None:
        tokens, now = sum(map(len, bodies)), self._clock()
        self._queries += len(items)
        self._tokens += tokens
        if not self._curve or self._curve[-1]["t_ms"] // CURVE_MS != now // CURVE_MS:
            self._curve.append({"t_ms": now, "completions": 0, "correct": 0, "formatted": 0, "tokens": 0, "tasks": {}})
        point = self._curve[-1]
        point["t_ms"] = now
        point["completions"] += len(items)
        point["correct"] += sum(s.correct for s in scores)
        point["formatted"] += sum(s.formatted for s in scores)
        point["tokens"] += tokens
        for item, result in zip(items, scores, strict=True):
            row = point["tasks"].setdefault(item.task, [0, 0])
            row[0] += 1
            row[1] += result.correct
