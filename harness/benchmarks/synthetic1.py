"""SYNTHETIC-1's verifiable mathematics: 777 thousand problems with answers (PrimeIntellect/verifiable-math-problems),
the tasks from which SYNTHETIC-1's traces were drawn. A training set.
"""

from __future__ import annotations

import ast
import json
from typing import Any

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="synthetic-1-math",
    repo="PrimeIntellect/verifiable-math-problems",
    revision="c23de43ea4cb5c785c37b0eb5bf575a9fe802210",
    files={f"data/train-{shard:05}-of-00003.parquet": None for shard in range(3)},
    columns=("problem_id", "prompt", "verification_info", "source", "task_type"),
    rows=None,
    sha256=None,
    config="default",
    split="train",
    licence="not established",
    evidence=(
        "the commit that uploaded the data and its files from the Hub's own pages; rows only rounded (777k), bytes "
        "from no source"
    ),
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    if row["task_type"] != "verifiable_math":
        return LeftOut(f"task of type {row['task_type']}")
    truth = _information(row["verification_info"])["ground_truth"]
    answer = "" if truth is None else str(truth).strip()
    if not answer:
        return LeftOut("no answer")
    return Question(
        f"synthetic-1-math/{row['problem_id']}",
        row["prompt"],
        f"\\boxed{{{answer}}}",
        {"source": row["source"]},
        grader="maths",
    )


def _information(text: str) -> dict[str, Any]:
    """A dictionary, as JSON or as Python wrote it: both are met in the sets of this collection."""
    try:
        information = json.loads(text)
    except ValueError:
        try:
            information = ast.literal_eval(text)  # literals only; nothing is run
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(
                f"verification_info is neither JSON nor a Python literal ({type(error).__name__})"
            ) from None
    if not isinstance(information, dict):
        raise ValueError(f"verification_info is {type(information).__name__}, not a dictionary")
    return information


TRAIN = Benchmark(SOURCE, _convert, role="training")
