"""What a trainer imports. Standard library only, and nothing else of ours.

    run = connect()
    prompts = run.prompts(32)
    scores = run.score([(prompt.id, token_ids), ...])
    run.save(model)

The harness listens on a Unix socket, named in NANO_R1_SOCKET. Without that variable this is a development
run: `connect` starts an environment of its own, with questions that no verifier will ever draw.

The wire: each message is a 4-byte big-endian length and that many bytes of UTF-8 JSON, one object, at most
16 MiB. A request names its `op`; the reply is {"ok": value} or {"error": text}.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

PROTOCOL = 1
MAX_FRAME = 1 << 24  # bytes
TRACES = 256  # asked for at a time


class EnvironmentRefused(ValueError):
    """The harness would not do what was asked; the message is its answer."""


class SaveError(ValueError):
    """The model cannot be saved as this track's checkpoint; the message names the tensor."""


@dataclass(frozen=True)
class Prompt:
    """One question. `token_ids` has the track's chat template applied and ends where the answer begins."""

    id: str
    task: str
    token_ids: list[int]


@dataclass(frozen=True)
class Trace:
    """One worked example for supervised warm-up: `prompt_ids` as in a Prompt, `token_ids` with the end token."""

    task: str
    prompt_ids: list[int]
    token_ids: list[int]


@dataclass(frozen=True)
class Score:
    """What a completion earned. `correct` implies `formatted`."""

    correct: bool
    formatted: bool


class Run:
    """One rank's connection to the harness. Calls block, and are not meant to be made from several threads.

    base             folder of the base model (read-only)
    output           folder that `save` writes to; the only thing read from it is model.safetensors
    seed             the verifier's; the same on every rank
    budget_seconds   wall time after which the run is killed
    max_new_tokens   longest completion that can be scored, end token included
    end_token_id     ends every completion; a completion without it scores nothing
    pad_token_id     for padding batches; means nothing to the harness
    """

    def __init__(self, connection: socket.socket, rank: int, world: int) -> None:
        self._connection = connection
        asked = time.monotonic()  # before the request: the time left errs on the short side
        hello = self._call(op="hello", protocol=PROTOCOL, rank=rank, world=world)
        self.base = Path(hello["base"])
        self.output = Path(hello["output"])
        self.seed: int = hello["seed"]
        self.budget_seconds: int = hello["budget_seconds"]
        self.max_new_tokens: int = hello["max_new_tokens"]
        self.end_token_id: int = hello["end_token_id"]
        self.pad_token_id: int = hello["pad_token_id"]
        self._deadline: float = asked + self.budget_seconds - hello["elapsed_ms"] / 1000

    def seconds_left(self) -> float:
        """Seconds until the run is killed; negative when a development run is over the track's budget."""
        return self._deadline - time.monotonic()

    def prompts(self, n: int) -> list[Prompt]:
        """The next `n` (at most 4,096) training questions: rank r of w is handed items r, r+w, r+2w, …"""
        return [Prompt(**row) for row in self._call(op="prompts", n=n)]

    def score(self, completions: Sequence[tuple[str, Sequence[int]]]) -> list[Score]:
        """Grade (prompt id, token ids) pairs, at most 8,192 at a time, in their order.

        The ids are plain integers and end with the end token: cut the padding after it. A completion that
        was cut off before it scores False, False.
        """
        rows = [[prompt_id, list(token_ids)] for prompt_id, token_ids in completions]
        return [Score(**row) for row in self._call(op="score", completions=rows)]

    def warmup(self) -> list[Trace]:
        """All of the track's traces for supervised warm-up, the same on every rank; none on a track without."""
        traces: list[Trace] = []
        while rows := self._call(op="warmup", first=len(traces), n=TRACES):
            traces += [Trace(**row) for row in rows]
        return traces

    def save(self, model: torch.nn.Module | Mapping[str, torch.Tensor]) -> Path:
        """Write `output`/model.safetensors: the base's tensor names and dtypes, from a module or a state dict.

        Atomic: readers see the old file or the whole new one. Names that the base's file lacks (a tied
        output head) are left out. On several ranks, call it on one. Raises SaveError.
        """
        import torch
        from safetensors.torch import save_file

        dtypes = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        state = model.state_dict() if isinstance(model, torch.nn.Module) else model
        tensors = {}
        for name, entry in _header(self.base / "model.safetensors").items():
            if name not in state:
                raise SaveError(f"the model has no tensor {name!r} (save what DDP or compile wrapped)")
            tensor, shape = state[name].detach(), tuple(entry["shape"])
            if tuple(tensor.shape) != shape:
                raise SaveError(f"tensor {name!r} has shape {tuple(tensor.shape)}, the base has {shape}")
            # A copy: safetensors refuses tensors that share memory.
            tensors[name] = torch.empty(shape, dtype=dtypes[entry["dtype"]]).copy_(tensor)
        path = self.output / "model.safetensors"
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            save_file(tensors, draft, metadata={"format": "pt"})
            with draft.open("rb") as file:
                os.fsync(file.fileno())
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        return path

    def _call(self, **request: Any) -> Any:
        body = json.dumps(request, separators=(",", ":")).encode()
        if len(body) > MAX_FRAME:
            raise EnvironmentRefused(f"a request of {len(body)} bytes is over {MAX_FRAME}: score fewer at a time")
        try:
            self._connection.sendall(len(body).to_bytes(4, "big") + body)
            reply = json.loads(self._receive(int.from_bytes(self._receive(4), "big")))
        except OSError as error:
            raise EnvironmentRefused(f"the connection to the environment is lost: {error}") from None
        if "error" in reply:
            raise EnvironmentRefused(reply["error"])
        return reply["ok"]

    def _receive(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = self._connection.recv(min(size - len(data), 1 << 20))
            if not part:
                raise ConnectionResetError("closed by the other side")
            data += part
        return bytes(data)


def connect() -> Run:
    """Meet the harness, once a process. Under torchrun every rank connects for itself (RANK, WORLD_SIZE).

    Raises EnvironmentRefused.
    """
    path = os.environ.get("NANO_R1_SOCKET") or _development_environment()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        connection.connect(path)
    except OSError as error:
        connection.close()
        raise EnvironmentRefused(f"no environment listens at {path}: {error.strerror or error}") from None
    try:
        return Run(connection, int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))
    except BaseException:
        connection.close()
        raise


def _development_environment() -> str:
    """Start an environment as a child that ends with this process. Returns its socket's path."""
    folder = tempfile.mkdtemp(prefix="nano-r1-")
    path = f"{folder}/socket"
    root = str(Path(__file__).resolve().parent.parent)
    options = {
        "--socket": path,
        "--track": os.environ.get("NANO_R1_TRACK", "cpu-logic"),
        "--seed": os.environ.get("NANO_R1_SEED", "0"),
        "--output": os.environ.get("NANO_R1_OUTPUT", "runs/dev"),
    }
    child = subprocess.Popen(
        [sys.executable, "-m", "harness.environment", "--dev", *(word for pair in options.items() for word in pair)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is the trainer's: it may want to score and save once more
    )
    stdin, stdout = child.stdin, child.stdout
    assert stdin is not None
    assert stdout is not None

    def stop() -> None:
        stdin.close()  # the child ends when this pipe does, so also when this process is killed
        stdout.close()
        child.wait()
        shutil.rmtree(folder, ignore_errors=True)

    if stdout.readline() != b"ready\n":
        stop()
        raise EnvironmentRefused("the development environment did not start; what it said is above")
    atexit.register(stop)
    return path


def _header(path: Path) -> dict[str, Any]:
    """Names, dtypes and shapes of a safetensors file."""
    with path.open("rb") as file:
        header: dict[str, Any] = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    header.pop("__metadata__", None)
    return header
