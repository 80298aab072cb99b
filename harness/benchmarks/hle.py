"""Humanity's Last Exam: 2,500 questions at the frontier of knowledge (Phan et al., arXiv 2501.14249); a subset.

Its authors let a language model judge free answers. A judge would be one more thing to trust, so what needs one is
left out and counted: questions with a picture, and exact-match questions whose answer is not a plain integer. What
remains is decided by one letter or by digits, and its score is not comparable with published HLE scores.

Gated; its authors ask that it is not published again, so that it stays out of training data.
"""

from __future__ import annotations

import re

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="hle",
    repo="cais/hle",
    revision="5a81a4c7271a2a2a312b9a690f0c2fde837e4c29",
    files={"data/test-00000-of-00001.parquet": "6d0ee0602e8aea6b159509577e884f48ecac7b8e3f6822a35f51335a446c726a"},
    columns=("id", "question", "image", "answer", "answer_type", "category"),
    rows=2_500,
    sha256=None,
    config="default",
    split="test",
    licence="MIT, with the request not to publish it again",
    evidence="revision, rows and bytes as pinned by several public projects; the file was never opened here",
    gated=True,
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    if row["image"]:
        return LeftOut("the question has a picture")
    answer, metadata = row["answer"].strip(), {"category": row["category"]}
    if row["answer_type"] == "multipleChoice":
        if not re.fullmatch("[A-Z]", answer):
            return LeftOut("a multiple-choice answer that is not one letter")
        return Question(f"hle/{row['id']}", row["question"], answer, metadata, grader="choice")
    if row["answer_type"] != "exactMatch":
        raise ValueError(f"answer_type {row['answer_type']!r}")
    if not re.fullmatch(r"-?[1-9][0-9]{0,8}|0", answer, re.ASCII):
        return LeftOut("an answer in words or symbols needs a model as its judge")
    return Question(f"hle/{row['id']}", row["question"], answer, metadata, grader="integer")


BENCHMARK = Benchmark(SOURCE, _convert, republish=False)
