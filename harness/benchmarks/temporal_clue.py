"""Temporal Clue: murder mysteries with people, places and times, one solution each (bradhilton/temporal-clue on GitHub).

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
    files={"puzzles/test.json": "CLUE-FILE"},
    columns=("num_clues", "prompt", "solution"),
    rows=64,
    sha256="CLUE",
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
