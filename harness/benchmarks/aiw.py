"""AIW, Alice in Wonderland: "Alice has 4 brothers and 1 sister. How many sisters does Alice's brother have?", the authors'
own prompts with all variations (Nezhurina et al., arXiv 2406.02061; LAION-AI/AIW on GitHub).

A few prompts have letters for numbers, or ask for a program, and so have no integer as their answer: left out. Some
answers are JSON numbers (3.0) and some are strings ("3"). The generated task `aiw` asks in the same words, so a model that
trained on it has seen this form of question.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="aiw-paper",
    repo="LAION-AI/AIW",
    revision="4d5d079b773ae6ab7d2eb852971ea3fda0ea1ce8",
    files={"prompts/prompts.json": "AIW-FILE"},
    columns=("id", "prompt", "right_answer"),
    rows=826,
    sha256="AIW",
    config="prompts",
    split="all",
    licence="Apache-2.0",
    evidence="read from the repository at this commit: rows, bytes and content",
    host="github",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    answer = row["right_answer"]
    if answer in (None, "null"):
        return LeftOut("the answer is no integer")
    if float(answer) != int(float(answer)):
        raise ValueError(f"{answer} is no count")
    return Question(f"aiw-paper/{row['id']}", row["prompt"], str(int(float(answer))), grader="integer")


BENCHMARK = Benchmark(SOURCE, _convert)
