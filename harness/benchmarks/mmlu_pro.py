"""MMLU-Pro: knowledge and reasoning in 14 fields, up to ten options (Wang et al., arXiv 2406.01574).

The options stand in the published order under A to J, so that letters mean what they mean in everybody's logs.
"""

from __future__ import annotations

from string import ascii_uppercase

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question, lettered

SOURCE = Source(
    name="mmlu-pro",
    repo="TIGER-Lab/MMLU-Pro",
    revision="b189ec765aa7ed75c8acfea42df31fdae71f97be",
    files={"data/test-00000-of-00001.parquet": "0e24a191921c2f453518a537a8b2117bd137e7714d4ef1565e9ba06c1ecb9ad8"},
    columns=("question_id", "question", "options", "answer", "answer_index", "category"),
    rows=12_032,
    sha256=None,
    config="default",
    split="test",
    licence="MIT",
    evidence="revision, rows and bytes as pinned by several public projects; the file was never opened here",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    options, answer = list(row["options"]), row["answer"]
    letters = list(ascii_uppercase[: len(options)])
    if not 2 <= len(options) <= 10 or answer not in letters or letters.index(answer) != row["answer_index"]:
        raise ValueError(f"{len(options)} options, answer {answer!r}, answer_index {row['answer_index']}")
    metadata = {"options": options, "category": row["category"]}
    return Question(
        f"mmlu-pro/{row['question_id']}", lettered(row["question"], options), answer, metadata, grader="choice"
    )


BENCHMARK = Benchmark(SOURCE, _convert)
