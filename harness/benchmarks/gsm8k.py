"""GSM8K: grade-school word problems whose answer is an integer (Cobbe et al., arXiv 2110.14168). Test and training set.

The gold answer stands after `####` at the end of the worked solution, sometimes with a thousands comma.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

_REPO = "openai/gsm8k"
_REVISION = "740312add88f781978c0658806c59bc2815b9866"
_EVIDENCE = (
    "revision and bytes as pinned by several public projects; rows and content from openai/grade-school-math's own "
    "train.jsonl and test.jsonl, from which the Hub's Parquet files were made"
)

TEST_SOURCE = Source(
    name="gsm8k",
    repo=_REPO,
    revision=_REVISION,
    files={"main/test-00000-of-00001.parquet": "ee7b8da9e381df27b9e3f7758a159ab2bdaa4dbaa910546cbbc47e0cb44e4f59"},
    columns=("question", "answer"),
    rows=1_319,
    sha256="176818e0349688ae3031a37f2fe8f454e7575635b88232abfc6b3387320e6605",
    config="main",
    split="test",
    licence="MIT",
    evidence=_EVIDENCE,
)

TRAIN_SOURCE = Source(
    name="gsm8k-train",
    repo=_REPO,
    revision=_REVISION,
    files={"main/train-00000-of-00001.parquet": "ea82612ea9582142387730c793eb67d3b12849002bc0b7fa6f8efafa7351419d"},
    columns=("question", "answer"),
    rows=7_473,
    sha256="37a62873b589a3c35f35f4e3e34d2e054679c86d05ed1330ad4f3367ea76bfd0",
    config="main",
    split="train",
    licence="MIT",
    evidence=_EVIDENCE,
)


def _convert(name: str, number: int, row: Row) -> Question | LeftOut:
    _, mark, answer = row["answer"].rpartition("####")
    if not mark:
        raise ValueError("no `####` in the answer")
    return Question(f"{name}/{number}", row["question"], str(int(answer.replace(",", ""))), grader="integer")


TEST = Benchmark(TEST_SOURCE, lambda number, row: _convert("gsm8k", number, row))
TRAIN = Benchmark(TRAIN_SOURCE, lambda number, row: _convert("gsm8k-train", number, row), role="training")
