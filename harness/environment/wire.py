"""What is said over the socket: frames and requests. All of it is hostile until checked.

The wire is described in `harness.client`.
"""

from __future__ import annotations

import json
import socket
from typing import Any

PROTOCOL = 1
MAX_FRAME = 1 << 24  # bytes
MAX_PROMPTS = 4096  # a request, and so many traces
MAX_COMPLETIONS = 8192  # a request

# What each request holds besides `op`: nothing more, nothing less, and of exactly this type.
REQUESTS: dict[str, dict[str, type]] = {
    "hello": {"protocol": int, "rank": int, "world": int},
    "prompts": {"n": int},
    "score": {"completions": list},
    "warmup": {"first": int, "n": int},
}


class RequestRefused(ValueError):
    """The request is understood and declined; the connection stays open."""


class MalformedFrame(ValueError):
    """The frame is no request at all; the connection is closed."""


def receive(connection: socket.socket) -> bytearray | None:
    """The next frame's bytes; None once the other side has closed, even in mid-frame. Raises MalformedFrame."""
    head = _exactly(connection, 4)
    if head is None:
        return None
    size = int.from_bytes(head, "big")
    if size > MAX_FRAME:
        raise MalformedFrame(f"a frame of {size} bytes is over {MAX_FRAME}")
    return _exactly(connection, size)


def _exactly(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray()  # grows with what arrives, not with what was announced
    while len(data) < size:
        part = connection.recv(min(size - len(data), 1 << 18))
        if not part:
            return None
        data += part
    return data


def frame(value: dict[str, Any]) -> bytes:
    body = json.dumps(value, separators=(",", ":")).encode()
    return len(body).to_bytes(4, "big") + body


def parse(body: bytearray) -> dict[str, Any]:
    """One JSON object: no floats, no NaN, no key twice. Raises MalformedFrame."""

    def refuse(text: str) -> None:
        raise MalformedFrame(f"number {text[:40]!r} is not an integer")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) != len(pairs):
            raise MalformedFrame("a key occurs twice")
        return dict(pairs)

    try:
        value = json.loads(body.decode(), parse_float=refuse, parse_constant=refuse, object_pairs_hook=unique)
    except MalformedFrame:
        raise
    except (ValueError, RecursionError) as error:  # ValueError: also bad UTF-8 and integers of 5,000 digits
        raise MalformedFrame(f"not JSON: {str(error)[:120]}") from None
    if not isinstance(value, dict):
        raise MalformedFrame("a request is a JSON object")
    return value


def checked(request: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """(op, its fields), all there and of the right types. Raises RequestRefused."""
    op = request.pop("op", None)
    if not isinstance(op, str) or op not in REQUESTS:
        shown = op[:40] if isinstance(op, str) else type(op).__name__  # repr of a deep list recurses
        raise RequestRefused(f"unknown op {shown!r}; there are {', '.join(REQUESTS)}")
    fields = REQUESTS[op]
    if set(request) != set(fields):
        raise RequestRefused(f"{op} takes exactly these fields: {', '.join(fields) or 'none'}")
    for name, wanted in fields.items():
        if type(request[name]) is not wanted:  # isinstance would let True pass for 1
            raise RequestRefused(f"{op}: {name} must be {wanted.__name__}, not {type(request[name]).__name__}")
    return op, request
