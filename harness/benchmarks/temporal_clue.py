"""Temporal Clue: murder mysteries with people, places and times, one solution each (GitHub: bradhilton/temporal-clue).

A puzzle asks five to eight questions and says in which form to answer: lines such as `A. Mrs. Peacock`. It is right
when every line is; the share of right lines, which its authors report, can be had from the metadata.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="temporal-clue",
    repo="bradhilton/temporal-clue",
    revision="e84cf685d110a77209f3c924365bf6db6bcff683",
    files={"puzzles/test.json": "3b112d8da3367caaa9d964ffe4f73334a552294e51b10ebd91fa9a6cca9ffb87"},
    columns=("num_clues", "prompt", "solution"),
    rows=64,
    sha256="07ed101d8a9513fa268ca98f4170531627b91c8eab422cee4c562d2e3d9c6f22",
    config="puzzles",
    split="test",
    licence="MIT",
    evidence="read from the repository at this commit: rows, bytes and content",
    host="github",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    solution = dict(sorted(row["solution"].items()))
    target = "\n".join(f"{letter}. {answer}" for letter, answer in solution.items())
    metadata = {"solution": solution, "num_clues": row["num_clues"]}
    return Question(f"temporal-clue/{number}", row["prompt"], target, metadata, grader="clue")


BENCHMARK = Benchmark(SOURCE, _convert)
