"""OpenThoughts-114k: problems in mathematics, code, science and puzzles with traces of DeepSeek-R1 (open-thoughts); its
mathematics. A training set.

The `metadata` part has the reference solution; the answer is its last box. Code, science and puzzles are left out and
counted: their references are tests in several forms, or prose.
"""

from __future__ import annotations

from harness.benchmarks.boxed import boxed
from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="openthoughts",
    repo="open-thoughts/OpenThoughts-114k",
    revision="bd093c3994fd54d2390985b66988ddf282a55eb6",
    files={f"metadata/train-{shard:05}-of-00012.parquet": None for shard in range(12)},
    columns=("problem", "ground_truth_solution", "domain", "source"),
    rows=113_957,
    sha256=None,
    config="metadata",
    split="train",
    licence="Apache-2.0",
    evidence="revision, file names and rows as pinned by several public projects; bytes from no source",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    if row["domain"] != "math":
        return LeftOut(f"domain {row['domain']}")
    answer = boxed(row["ground_truth_solution"] or "")
    if answer is None:
        return LeftOut("the solution has no final answer in a box")
    return Question(
        f"openthoughts/{number}", row["problem"], f"\\boxed{{{answer}}}", {"source": row["source"]}, grader="maths"
    )


TRAIN = Benchmark(SOURCE, _convert, role="training")
