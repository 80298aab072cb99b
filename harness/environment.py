"""The harness's end of the socket: draws prompts, grades completions, counts.

Runs in the verifier's process, a thread a connection, while the submission trains in the sandbox; and as a
child process of a trainer under development. The submission learns nothing here but the prompts and, of
the completions it posts, whether they are correct: answers stay on this side.

What arrives is hostile until checked. The wire is described in `harness.client`.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import hashlib
import hmac
import json
import socket
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.tasks import TASKS, Sample, Score, sample, score
from harness.tracks.track import ROOT, Track

PROTOCOL = 1
MAX_FRAME = 1 << 24  # bytes
MAX_RANKS = 64
MAX_PROMPTS = 4096  # a request, and so many traces
MAX_COMPLETIONS = 8192  # a request
CURVE_MS = 250  # score requests within the same slot share a point of the curve

# What each request holds besides `op`: nothing more, nothing less, and of exactly this type.
REQUESTS: dict[str, dict[str, type]] = {
    "hello": {"protocol": int, "rank": int, "world": int},
    "prompts": {"n": int},
    "score": {"completions": list},
    "warmup": {"first": int, "n": int},
}


class EnvironmentFailed(ValueError):
    """The environment cannot start; the message says why and what to do."""


class _Refused(ValueError):
    """The request is understood and declined; the connection stays open."""


class _Malformed(ValueError):
    """The frame is no request at all; the connection is closed."""


# ---------------------------------------------------------------- the grader, for training and held-out alike


@dataclass(frozen=True)
class Graded:
    """`truncated`: the end token never came. Such a completion is neither correct nor formatted."""

    score: Score
    truncated: bool


_NOTHING = Score(correct=False, formatted=False, answer=None)


class Grader:
    """THE grader of a track: its frozen tokenizer around its tasks' `score`. Total, and pure.

    Training, evaluation and audit all grade here. Raises EnvironmentFailed if the base model's folder has
    no usable tokenizer.
    """

    def __init__(self, track: Track) -> None:
        from tokenizers import Tokenizer

        folder = track.base_folder
        try:
            self._tokenizer = Tokenizer.from_str((folder / "tokenizer.json").read_text())
            pad_token = json.loads((folder / "tokenizer_config.json").read_text())["pad_token"]
        except Exception as error:  # the library raises plain Exception
            raise EnvironmentFailed(f"{folder}: no usable tokenizer there: {error}") from None
        self._template = track.base.template
        self.vocabulary: int = self._tokenizer.get_vocab_size()
        self.end_id, self.pad_id = self._id(track.base.end_token), self._id(pad_token)

    def _id(self, token: str) -> int:
        found = self._tokenizer.token_to_id(token)
        if found is None:
            raise EnvironmentFailed(f"the track's tokenizer has no token {token!r}")
        return found

    def prompt_ids(self, item: Sample) -> list[int]:
        """The question as token ids, the track's chat template applied."""
        return self.text_ids(self._template.format(prompt=item.prompt))

    def text_ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def grade(self, item: Sample, token_ids: Sequence[int]) -> Graded:
        """Grade one completion, given as the model sampled it, end token included.

        The end token stands once, at the end. Special tokens before it are text like any other, so they
        break the format rather than vanish.
        """
        if self.end_id not in token_ids:
            return Graded(_NOTHING, truncated=True)
        body = token_ids[:-1]
        # Out of range: the tokenizer would skip such an id silently.
        if token_ids[-1] != self.end_id or self.end_id in body or not self.in_vocabulary(body):
            return Graded(_NOTHING, truncated=False)
        # One at a time: as fast as a batch for these lengths, and it starts no threads in a process that forks.
        text = self._tokenizer.decode(body, skip_special_tokens=False)
        return Graded(score(TASKS[_task_of(item)], item, text), truncated=False)

    def grade_all(self, items: Iterable[Sample], completions: Iterable[Sequence[int]]) -> list[Graded]:
        """`grade` for each pair. Raises ValueError if one list is longer than the other."""
        return [self.grade(item, ids) for item, ids in zip(items, completions, strict=True)]

    def in_vocabulary(self, token_ids: Sequence[int]) -> bool:
        return not token_ids or (min(token_ids) >= 0 and max(token_ids) < self.vocabulary)


def _task_of(item: Sample) -> str:
    return item.id.partition("/")[0]


# ---------------------------------------------------------------- scores that say nothing


class Control:
    """The scores of a control run: draws with the frequency that real successes have had so far, task by task.

    Drawn, not shuffled, so a trainer that asks for one score at a time sees nothing else than one that asks for
    a thousand; and from what came *before* a completion, so its own truth has no part in its score. Asked again,
    the same completion gets the same score, as from the real grader, and counts once. Format is told truly: it is no
    secret of the harness, and a score that called garbage well-formed would give the control run away.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._seen: dict[str, list[int]] = {}  # by task: [well-formed completions, right ones]
        self._told: dict[bytes, bool] = {}

    def score(self, item: Sample, token_ids: Sequence[int], real: Score) -> Score:
        if not real.formatted:
            return real
        which = hashlib.sha256(f"{item.id} {' '.join(map(str, token_ids))}".encode()).digest()[:16]
        if which not in self._told:
            seen = self._seen.setdefault(_task_of(item), [0, 0])
            draw = int.from_bytes(hmac.digest(self._key, which, "sha256")[:8], "big") / 2**64
            self._told[which] = draw < (seen[1] + 1) / (seen[0] + 4)  # one in four before anything is known
            seen[0] += 1
            seen[1] += real.correct
        return Score(correct=self._told[which], formatted=True, answer=real.answer)


# ---------------------------------------------------------------- the environment


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
        self._grader = Grader(track)
        self._traces = _traces(track, self._grader)
        self._item = functools.lru_cache(maxsize=1 << 14)(functools.partial(_training_item, track, train_key))
        # One request at a time: the counts ask for it, and 64 decoded frames at once would not fit in memory.
        self._busy = threading.Lock()
        self._listener: socket.socket | None = None
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._stopping = False
        self._world: int | None = None
        self._ranks: set[int] = set()
        self._prompts = self._queries = self._tokens = 0
        self._asked: Counter[int] = Counter()  # completions graded, by item
        self._curve: list[dict[str, Any]] = []

    def start(self) -> None:
        """Listen. Raises EnvironmentFailed."""
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
        with self._busy:
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
        with self._busy:
            return Totals(self._prompts, self._queries, max(self._asked.values(), default=0), self._tokens)

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The training curve as the harness saw it: a point a slot of 250 ms in which something was scored.

        Each {"t_ms", "completions", "correct", "formatted", "tokens", "tasks": {task: [completions, correct]}};
        t_ms is that of the slot's last request. At most four points a second, however the trainer asks.
        """
        with self._busy:
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
                    connection.send(_frame({"error": f"{MAX_RANKS} connections are open already"}))
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
            while (frame := _receive(connection)) is not None:
                with self._busy:
                    if self._stopping:
                        return
                    reply = self._reply(session, frame)
                connection.sendall(_frame(reply))
        except _Malformed as error:
            with contextlib.suppress(OSError):
                connection.sendall(_frame({"error": str(error)}))
        except OSError:
            pass  # the other side is gone
        except Exception:  # the harness's own fault: keep it for the verifier, tell the trainer no details
            self.fault = self.fault or traceback.format_exc()
            with contextlib.suppress(OSError):
                connection.sendall(_frame({"error": "the environment failed; this is a fault of the harness"}))
        finally:
            connection.close()
            self._connections.pop(connection, None)

    # ------------------------------------------------------------ requests

    def _reply(self, session: _Session, frame: bytearray) -> dict[str, Any]:
        request = _request(frame)
        try:
            return {"ok": self._answer(session, request)}
        except _Refused as refusal:
            return {"error": str(refusal)}

    def _answer(self, session: _Session, request: dict[str, Any]) -> Any:
        op = request.pop("op", None)
        if not isinstance(op, str) or op not in REQUESTS:
            shown = op[:40] if isinstance(op, str) else type(op).__name__  # repr of a deep list recurses
            raise _Refused(f"unknown op {shown!r}; there are {', '.join(REQUESTS)}")
        fields = REQUESTS[op]
        if set(request) != set(fields):
            raise _Refused(f"{op} takes exactly these fields: {', '.join(fields) or 'none'}")
        for name, wanted in fields.items():
            if type(request[name]) is not wanted:  # isinstance would let True pass for 1
                raise _Refused(f"{op}: {name} must be {wanted.__name__}, not {type(request[name]).__name__}")
        if op == "hello":
            return self._hello(session, **request)
        if session.rank is None:
            raise _Refused("say hello first")
        if op == "prompts":
            return self._hand_out(session, request["n"])
        if op == "score":
            return self._grade(session, request["completions"])
        first, n = request["first"], request["n"]
        if first < 0 or not 1 <= n <= MAX_PROMPTS:
            raise _Refused(f"warmup: first must be 0 or more and n 1 to {MAX_PROMPTS}")
        return self._traces[first : first + n]

    def _hello(self, session: _Session, protocol: int, rank: int, world: int) -> dict[str, Any]:
        if protocol != PROTOCOL:
            raise _Refused(f"protocol {protocol} is not {PROTOCOL}: use this repository's harness/client.py")
        if not (1 <= world <= MAX_RANKS and 0 <= rank < world):
            raise _Refused(f"rank {rank} of {world}: need 0 <= rank < world <= {MAX_RANKS}")
        if session.rank is not None:
            raise _Refused(f"this connection is rank {session.rank} already")
        if self._world not in (None, world):
            raise _Refused(f"rank {rank} says the world is {world}, another said {self._world}")
        if rank in self._ranks:
            raise _Refused(f"rank {rank} has connected before: call connect() once in each process")
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
            raise _Refused(f"prompts: n must be 1 to {MAX_PROMPTS}, not {str(n)[:40]}")
        assert session.rank is not None
        first = session.rank + session.handed * session.world
        out = []
        for index in range(first, first + n * session.world, session.world):
            item = self._item(index)
            out.append({"id": str(index), "task": _task_of(item), "token_ids": self._grader.prompt_ids(item)})
        session.handed += n
        self._prompts += n
        return out

    def _grade(self, session: _Session, completions: list[Any]) -> list[dict[str, bool]]:
        """All or nothing: a request with one fault in it counts for nothing."""
        if len(completions) > MAX_COMPLETIONS:
            raise _Refused(f"score: {len(completions)} completions in one request, at most {MAX_COMPLETIONS}")
        budget = self._track.budget.reward_queries
        if self._queries + len(completions) > budget:
            raise _Refused(f"reward query budget of {budget} used up")
        indices = [self._check(session, row) for row in completions]
        if not indices:
            return []
        most = self._track.budget.queries_per_prompt
        asked = Counter(indices)
        for index, times in asked.items():
            if self._asked[index] + times > most:
                raise _Refused(f"score: more than {most} completions of prompt {index}: go on to the next prompt")
        bodies = [row[1] for row in completions]
        items = [self._item(index) for index in indices]
        scores = [graded.score for graded in self._grader.grade_all(items, bodies)]
        if self._control is not None:
            scores = [self._control.score(*each) for each in zip(items, bodies, scores, strict=True)]
        self._asked.update(asked)
        self._count(items, bodies, scores)
        return [{"correct": s.correct, "formatted": s.formatted} for s in scores]

    def _check(self, session: _Session, row: Any) -> int:
        """The item's index, if this is [id of a prompt this rank was handed, token ids]."""
        if not (isinstance(row, list) and len(row) == 2 and isinstance(row[0], str) and isinstance(row[1], list)):
            raise _Refused("score: each completion must be [prompt id, [token ids]]")
        name, ids = row
        index = int(name) if name.isascii() and name.isdigit() and len(name) < 12 else -1
        if str(index) != name or not session.holds(index):
            raise _Refused(f"score: prompt {name[:40]!r} was not handed to this rank")
        if len(ids) > self._track.sampling.max_new_tokens:
            longest = self._track.sampling.max_new_tokens
            raise _Refused(f"score: a completion of prompt {name} has {len(ids)} tokens, at most {longest}")
        if not all(type(n) is int for n in ids) or not self._grader.in_vocabulary(ids):
            last = self._grader.vocabulary - 1
            raise _Refused(f"score: a completion of prompt {name} has something that is no token id (0 to {last})")
        if self._grader.end_id in ids[:-1]:  # always a mistake, and a 0 without a word would hide it
            raise _Refused(f"score: a completion of prompt {name} goes on after its end token: cut it there")
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
            row = point["tasks"].setdefault(_task_of(item), [0, 0])
            row[0] += 1
            row[1] += result.correct


def _training_item(track: Track, key: bytes, index: int) -> Sample:
    """Item `index` of the run's training list: the track's tasks in turn."""
    tasks = track.train.tasks
    return sample(TASKS[tasks[index % len(tasks)]], key, "train", index)


def _traces(track: Track, grader: Grader) -> list[dict[str, Any]]:
    """The track's warm-up traces as token ids, end token included. Raises EnvironmentFailed."""
    if track.warmup is None:
        return []
    path, traces = ROOT / track.warmup.file, []
    try:
        for line in path.read_bytes().splitlines():
            row = json.loads(line)
            item = Sample(f"{row['task']}/warmup", row["prompt"], "", {})
            ids = [*grader.text_ids(row["completion"]), grader.end_id]
            traces.append({"task": row["task"], "prompt_ids": grader.prompt_ids(item), "token_ids": ids})
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EnvironmentFailed(f"{path}: no traces there that can be read: {error}") from None
    return traces


# ---------------------------------------------------------------- frames


def _receive(connection: socket.socket) -> bytearray | None:
    """The next frame's bytes; None once the other side has closed, even in mid-frame."""
    head = _exactly(connection, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME:
        raise _Malformed(f"a frame of {size} bytes is over {MAX_FRAME}")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray()  # grows with what arrives, not with what was announced
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 18))
        if not part:
            return None
        data += part
    return data


def _frame(value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body


def _request(frame: bytearray) -> dict[str, Any]:
    """One JSON object: no floats, no NaN, no key twice. Raises _Malformed."""

    def refuse(text: str) -> None:
        raise _Malformed(f"number {text[:40]!r} is not an integer")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise _Malformed("a key occurs twice")
        return dict(pairs)

    try:
        value = json.loads(frame.decode(), parse_float=refuse, parse_constant=refuse, object_pairs_hook=unique)
    except _Malformed:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8 and integers of 5,000 digits
        raise _Malformed(f"not JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise _Malformed("a request is a JSON object")
    return value


# ---------------------------------------------------------------- development


def development_key(seed: int) -> bytes:
    """The training key of a development run. A verifier's derives from 32 random bytes, so never equals it."""
    return hashlib.sha256(f"nano-r1 development train key {seed}".encode()).digest()


def main() -> Literal[0, 2]:
    """Serve a trainer under development: `ready` on stdout, then until stdin closes (the trainer is gone)."""
    import argparse

    from harness.tracks.track import TrackError, load

    parser = argparse.ArgumentParser(prog="python -m harness.environment", description=main.__doc__)
    parser.add_argument("--dev", action="store_true", required=True, help="a verifier's environment runs inside it")
    parser.add_argument("--track", required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    begun = time.monotonic()
    try:
        track = load(args.track)
        track.check_base()
        output = args.output.resolve()
        output.mkdir(parents=True, exist_ok=True)
        environment = Environment(
            track,
            development_key(args.seed),
            args.seed,
            args.socket,
            str(track.base_folder),
            str(output),
            lambda: round((time.monotonic() - begun) * 1000),
        )
        environment.start()
    except (TrackError, EnvironmentFailed, OSError) as error:
        print(f"nano-r1: {error}", file=sys.stderr)
        return 2
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    environment.stop()
    if environment.fault:
        print(environment.fault, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
