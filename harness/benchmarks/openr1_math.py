"""OpenR1-Math-220k, its default part: 93,733 problems of NuminaMath 1.5 with answers (open-r1). A training set.

Left out and counted: proofs, and answers that were not found. The model's reasoning traces stay in the file.
"""

from __future__ import annotations

import re

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="openr1-math",
    repo="open-r1/OpenR1-Math-220k",
    revision="e4e141ec9dea9f8326f4d347be56105859b2bd68",
    files={f"data/train-{shard:05}-of-00010.parquet": None for shard in range(10)},
    columns=("uuid", "problem", "answer", "question_type", "source"),
    rows=93_733,
    sha256=None,
    config="default",
    split="train",
    licence="Apache-2.0",
    evidence="revision and rows as pinned by public projects, columns from its README; bytes from no source",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    answer = (row["answer"] or "").strip()
    if row["question_type"] == "proof":
        return LeftOut("a proof")
    if not answer or answer.lower() in ("notfound", "proof"):
        return LeftOut("no answer")
    identity, metadata = f"openr1-math/{row['uuid']}", {"source": row["source"]}
    if row["question_type"] == "MCQ" and re.fullmatch("[A-Z]", answer):
        return Question(identity, row["problem"], answer, metadata, grader="choice")
    return Question(identity, row["problem"], f"\\boxed{{{answer}}}", metadata, grader="maths")


TRAIN = Benchmark(SOURCE, _convert, role="training")
