"""An environment whose run began just now, a trainer that speaks to it without our client, and questions."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

from harness.environment.server import Environment
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.track import Track

KEY = b"tests of the environment"


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
