"""GeneralThought-195K of General Reasoning (gr.inc): questions of many fields with reference answers and the traces of
several models, one row a trace. A training set: the questions whose reference is a number or stands in a box.

Left out and counted: other references, which need a model as their judge; questions inside a conversation; and each
further trace of a question that was there already.
"""

from __future__ import annotations

import re

from harness.benchmarks.boxed import boxed
from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,9}|/[1-9][0-9]{0,8})?", re.ASCII)

SOURCE = Source(
    name="general-reasoning",
    repo="GeneralReasoning/GeneralThought-195K",
    revision=None,
    files={f"traces_20250303_095419_part{part}.parquet": None for part in range(1, 9)},
    columns=("question_id", "question", "reference_answer", "prev_messages", "task", "question_source"),
    rows=None,
    sha256=None,
    config="default",
    split="train",
    licence="MIT; each question has a licence of its own in question_license",
    evidence=(
        "file names and commits from the Hub's own pages (the newest is 5b28bac, of which they show only seven "
        "digits); rows only rounded (195K), bytes from no source"
    ),
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    if row["prev_messages"] is not None and len(row["prev_messages"]) > 0:
        return LeftOut("inside a conversation")
    reference = (row["reference_answer"] or "").strip()
    answer = reference if _NUMBER.fullmatch(reference) else boxed(reference)
    if answer is None:
        return LeftOut("a reference in words or symbols needs a model as its judge")
    metadata = {"task": row["task"], "source": row["question_source"]}
    return Question(
        f"general-reasoning/{row['question_id']}", row["question"], f"\\boxed{{{answer}}}", metadata, grader="maths"
    )


TRAIN = Benchmark(SOURCE, _convert, role="training")
