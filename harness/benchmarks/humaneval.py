"""HumanEval: 164 Python functions to complete from a signature and a docstring (Chen et al., arXiv 2107.03374).

metadata: form "function"; stub, the prompt of the data set; test, a program that defines `check(candidate)`; and
entry_point, the name of the function that is handed to it. The target is a whole program: stub and canonical body.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

_FILE = "openai_humaneval/test-00000-of-00001.parquet"

SOURCE = Source(
    name="humaneval",
    repo="openai/openai_humaneval",
    revision="7dce6050a7d6d172f3cc5c32aa97f52fa1a2e544",
    files={_FILE: "2f2871a15fbc95b6c683043359f4ed8e144c5a1c4f24f25f66bc51f598dfcfb6"},
    columns=("task_id", "prompt", "canonical_solution", "test", "entry_point"),
    rows=164,
    sha256="9345bdf84c12086d808c671a8f61f2fa89353e1c147804ec9c2223102d7dadc3",
    config="openai_humaneval",
    split="test",
    licence="MIT",
    evidence=(
        "revision, rows and bytes as pinned by several public projects; content from openai/human-eval's own "
        "HumanEval.jsonl.gz, not compared with the Hub's Parquet file, which was never opened here"
    ),
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    stub = row["prompt"]
    metadata = {"form": "function", "stub": stub, "test": row["test"], "entry_point": row["entry_point"]}
    return Question(
        f"humaneval/{row['task_id'].removeprefix('HumanEval/')}",
        f"Complete this Python function.\n\n```python\n{stub.strip()}\n```",
        stub + row["canonical_solution"],
        metadata,
        grader="code",
    )


BENCHMARK = Benchmark(SOURCE, _convert)
