"""AIME 2024 and 2025: 30 problems each, answers are integers from 0 to 999.

With 30 problems one answer moves the score by 3.3 points, so each is asked 64 times, as DeepSeek-R1 was (arXiv
2501.12948), and the score is the mean. The interval must still be clustered by problem: 30 is 30.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SAMPLES = 64

AIME_2024_SOURCE = Source(
    name="aime-2024",
    repo="HuggingFaceH4/aime_2024",
    revision="2fe88a2f1091d5048c0f36abc874fb997b3dd99a",
    files={"data/train-00000-of-00001.parquet": "26139847601a5037c237d5928b195e7260ca8074cf4f264b794af42847f79ccf"},
    columns=("id", "problem", "answer"),
    rows=30,
    sha256=None,
    config="default",
    split="train",
    licence="none stated; the problems are the Mathematical Association of America's",
    evidence="revision, rows and bytes as pinned by several public projects; the file was never opened here",
)

AIME_2025_SOURCE = Source(
    name="aime-2025",
    repo="math-ai/aime25",
    revision="563bb8404243c5f09de6ec262f2db674fe5bce9b",
    files={"test.jsonl": "b4e273c02d3e7fe1b74b59eae768fc8230bfb0f79539890cb56f4361caac0331"},
    columns=("id", "problem", "answer"),
    rows=30,
    sha256=None,
    config="default",
    split="test",
    licence="not established; the problems are the Mathematical Association of America's",
    evidence="revision, rows and bytes as pinned by several public projects; the file was never opened here",
)


def _convert(name: str, row: Row) -> Question | LeftOut:
    answer = int(str(row["answer"]))  # 025 is 25; 2.5 is no answer
    if not 0 <= answer <= 999:
        raise ValueError(f"{answer} is no answer of the AIME")
    return Question(f"{name}/{row['id']}", row["problem"], str(answer), grader="integer")


AIME_2024 = Benchmark(AIME_2024_SOURCE, lambda _, row: _convert("aime-2024", row), samples=SAMPLES)
AIME_2025 = Benchmark(AIME_2025_SOURCE, lambda _, row: _convert("aime-2025", row), samples=SAMPLES)
