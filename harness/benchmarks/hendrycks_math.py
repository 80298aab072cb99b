"""MATH: competition problems (Hendrycks et al., arXiv 2103.03874), test and training set, and MATH-500.

The gold answer is the last `\\boxed` of the worked solution. MATH-500 is 500 of the 5,000 test problems (Lightman et
al., arXiv 2305.20050). The other 4,500 stand in the training split of that paper (PRM800K), which therefore overlaps
MATH; the training set here is the original one of 7,500.

hendrycks/competition_math, where MATH first was, is disabled; this copy has the original rows and splits.
"""

from __future__ import annotations

from harness.benchmarks.boxed import boxed
from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

_REPO = "DigitalLearningGmbH/MATH-lighteval"
_REVISION = "0530c78699ea5e8eb5530600900e1f328b48acad"
_EVIDENCE = "revision, row counts and bytes as pinned by several public projects; the files were never opened here"

TEST_SOURCE = Source(
    name="math",
    repo=_REPO,
    revision=_REVISION,
    files={"data/test-00000-of-00001.parquet": "7dca8d6e41af88ecf82f2b5f36eb5530e083aaaa86ee325f62bd5c31535178c6"},
    columns=("problem", "level", "type", "solution"),
    rows=5_000,
    sha256=None,
    config="default",
    split="test",
    licence="MIT",
    evidence=_EVIDENCE,
)

TRAIN_SOURCE = Source(
    name="math-train",
    repo=_REPO,
    revision=_REVISION,
    files={"data/train-00000-of-00001.parquet": "eca6e667f4305dd5e5ba09b4fd55e7f3174a0fbe361cdfd4c44758b593a76933"},
    columns=("problem", "level", "type", "solution"),
    rows=7_500,
    sha256=None,
    config="default",
    split="train",
    licence="MIT",
    evidence=_EVIDENCE,
)

MATH_500_SOURCE = Source(
    name="math-500",
    repo="HuggingFaceH4/MATH-500",
    revision="6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be",
    files={"test.jsonl": "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132"},
    columns=("problem", "answer", "subject", "level", "unique_id"),
    rows=500,
    sha256=None,
    config="default",
    split="test",
    licence="MIT",
    evidence=(
        "revision and bytes as pinned by several public projects; the bytes are those of math_splits/test.jsonl in "
        "openai/prm800k (its Git LFS pointer at 7ecc794703b2877f63226f2477a49b34f9b25163 has the same SHA-256)"
    ),
)


def _convert(name: str, number: int, row: Row) -> Question | LeftOut:
    answer = boxed(row["solution"])
    if answer is None:
        return LeftOut("the solution has no final answer in a box")
    metadata = {"level": row["level"], "subject": row["type"]}
    return Question(f"{name}/{number}", row["problem"], f"\\boxed{{{answer}}}", metadata, grader="maths")


def _convert_500(number: int, row: Row) -> Question | LeftOut:
    metadata = {"level": row["level"], "subject": row["subject"]}
    return Question(
        f"math-500/{row['unique_id']}", row["problem"], f"\\boxed{{{row['answer']}}}", metadata, grader="maths"
    )


TEST = Benchmark(TEST_SOURCE, lambda number, row: _convert("math", number, row))
TRAIN = Benchmark(TRAIN_SOURCE, lambda number, row: _convert("math-train", number, row), role="training")
MATH_500 = Benchmark(MATH_500_SOURCE, _convert_500)
