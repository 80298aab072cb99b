"""A run's training accuracy against time: the posts of curves.jsonl.xz, and the lines that charts draw of them."""

from __future__ import annotations

import lzma
import statistics
from bisect import bisect_right
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from harness.errors import NanoR1Error, first_problem

WINDOW = 1024  # completions in the trailing window of a curve
MAX_BYTES = 128 * 2**20  # unpacked: refuses a decompression bomb

Point = tuple[float, float]  # seconds, accuracy 0..1


class CurvesError(NanoR1Error):
    """The file holds no curves; the message says which line of it is wrong."""


class Post(BaseModel):
    """One `score` call, as the harness graded it: what a chart needs of a line of curves.jsonl."""

    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)

    run: int = Field(ge=0)
    t_ms: int = Field(ge=0)  # since the run's clock started
    completions: int = Field(ge=0)
    correct: int = Field(ge=0)
    tasks: dict[str, list[int]]  # task -> [completions, correct]


def read_curves(data: bytes) -> list[list[Post]]:
    """The posts of each run, in order of time, from the bytes of a curves.jsonl.xz. Raises CurvesError."""
    unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=256 * 2**20)
    try:
        text = unpacker.decompress(data, max_length=MAX_BYTES)
    except lzma.LZMAError as error:
        raise CurvesError(f"not an xz file: {error}") from None
    if not unpacker.eof or unpacker.unused_data:
        raise CurvesError(f"not one whole xz stream of at most {MAX_BYTES} bytes")
    runs: dict[int, list[Post]] = {}
    for number, line in enumerate(text.splitlines(), 1):
        try:
            post = Post.model_validate_json(line)
        except ValidationError as error:
            raise CurvesError(f"line {number}: {first_problem(error)}") from None
        pairs = [[post.completions, post.correct], *post.tasks.values()]
        if any(len(pair) != 2 or not 0 <= pair[1] <= pair[0] for pair in pairs):
            raise CurvesError(f"line {number}: more correct than completions, or a task without [completions, correct]")
        runs.setdefault(post.run, []).append(post)
    return [sorted(runs[run], key=lambda post: post.t_ms) for run in sorted(runs)]


def smooth(posts: Sequence[Post], task: str | None) -> list[Point]:
    """Accuracy over the trailing WINDOW completions at each post; of one task, or of all (None).

    The window counts the completions of all tasks, so that the panels of one record share their lag.
    """
    answered, right = [0], [0]
    for post in posts:
        pair = (post.completions, post.correct) if task is None else tuple(post.tasks.get(task, (0, 0)))
        answered.append(answered[-1] + pair[0])
        right.append(right[-1] + pair[1])
    points = []
    for end, start in enumerate(window_starts(posts), 1):
        if answered[end] > answered[start]:
            accuracy = (right[end] - right[start]) / (answered[end] - answered[start])
            points.append((posts[end - 1].t_ms / 1000, accuracy))
    return points


def window_starts(posts: Sequence[Post]) -> list[int]:
    """For each post the first of its trailing window: as many whole posts as WINDOW completions hold, at least one."""
    starts, start, held = [], 0, 0
    for end, post in enumerate(posts):
        held += post.completions
        while start < end and held > WINDOW:
            held -= posts[start].completions
            start += 1
        starts.append(start)
    return starts


def at(points: Sequence[Point], seconds: float) -> float:
    """Linear between points; before the first and after the last, their value."""
    after = bisect_right(points, seconds, key=lambda point: point[0])
    if after in (0, len(points)):
        return points[min(after, len(points) - 1)][1]
    (t0, y0), (t1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (seconds - t0) / (t1 - t0)


def median(lines: Sequence[Sequence[Point]], step: float) -> list[Point]:
    """The median line: from where every run has begun to the median end; a finished run holds its last value."""
    lines = [line for line in lines if line]
    if not lines:
        return []
    start = max(line[0][0] for line in lines)
    end = statistics.median(line[-1][0] for line in lines)
    return [(t, statistics.median(at(line, t) for line in lines)) for t in grid(start, end, step)]


def thin(points: Sequence[Point], step: float) -> list[Point]:
    """The same line with a point every `step` seconds, so that a file stays small whatever the run posted."""
    return [(t, at(points, t)) for t in grid(points[0][0], points[-1][0], step)] if points else []


def grid(start: float, end: float, step: float) -> list[float]:
    """start, start + step, … and the end itself."""
    if end <= start:
        return [start]
    return [*(start + i * step for i in range(int((end - start) / step) + 1) if start + i * step < end), end]
