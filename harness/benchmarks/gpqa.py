"""GPQA-diamond: graduate-level science with four options (Rein et al., arXiv 2311.12022).

The file lists the right option first, so the order shown comes from a hash of the record's id: the same for everyone
and every time, and no position pays. Its authors ask that no question be shown in public, in plain text or pictures,
so it is gated and its questions stay out of every file that is published.
"""

from __future__ import annotations

from string import ascii_uppercase

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question, lettered
from harness.frozen.draw import Stream

_RIGHT = "Correct Answer"
_WRONG = ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")

SOURCE = Source(
    name="gpqa-diamond",
    repo="Idavidrein/gpqa",
    revision="633f5ee89ab8ad4522a9f850766b73f62147ffdd",
    files={"gpqa_diamond.csv": "41d1213cd7a4998605a26c2798500652572007161b3a92817ba46b35befcd305"},
    columns=("Record ID", "Question", _RIGHT, *_WRONG),
    rows=198,
    sha256=None,
    config="gpqa_diamond",
    split="train",
    licence="CC-BY-4.0, with the request not to reveal examples online",
    evidence="revision, rows and bytes as pinned by several public projects; the file was never opened here",
    gated=True,
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    options = [row[column].strip() for column in (_RIGHT, *_WRONG)]
    order, stream = list(range(4)), Stream(b"gpqa-diamond", f"{row['Record ID']}/")
    for i in (3, 2, 1):  # Fisher-Yates
        j = stream.integer(0, i)
        order[i], order[j] = order[j], order[i]
    shown = [options[i] for i in order]
    return Question(
        f"gpqa-diamond/{row['Record ID']}",
        lettered(row["Question"], shown),
        ascii_uppercase[order.index(0)],
        {"options": shown},
        grader="choice",
    )


BENCHMARK = Benchmark(SOURCE, _convert, republish=False)
