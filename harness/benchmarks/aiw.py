"""AIW, Alice in Wonderland: "Alice has 4 brothers and 1 sister. How many sisters does Alice's brother have?"

The authors' own prompts with all variations (Nezhurina et al., arXiv 2406.02061; LAION-AI/AIW on GitHub).

Left out and counted: a few prompts with letters for numbers, or that ask for a program, and so have no integer as
their answer, and four that are conversations of several turns. Nine stand there twice, under two ids. Some answers are
JSON numbers (3.0) and some are strings ("3"). The generated task `aiw` asks in the same words, so a model that trained
on it has seen this form of question.
"""

from __future__ import annotations

from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="aiw-paper",
    repo="LAION-AI/AIW",
    revision="4d5d079b773ae6ab7d2eb852971ea3fda0ea1ce8",
    files={"prompts/prompts.json": "33aad0d2e5e5332e19076df9dd903fd395a339fb50d62040b2bb0ab8e5986d5c"},
    columns=("id", "prompt", "right_answer"),
    rows=826,
    sha256="eed0ab5ea92f7e061d1622cbae71fddada2a66a101950b7d5c00b625ff4d47aa",
    config="prompts",
    split="all",
    licence="Apache-2.0",
    evidence="read from the repository at this commit: rows, bytes and content",
    host="github",
)


def _convert(number: int, row: Row) -> Question | LeftOut:
    if isinstance(row["prompt"], list):
        return LeftOut("several turns")
    answer = row["right_answer"]
    if answer in (None, "null"):
        return LeftOut("the answer is no integer")
    if float(answer) != int(float(answer)):
        raise ValueError(f"{answer} is no count")
    return Question(f"aiw-paper/{row['id']}", row["prompt"], str(int(float(answer))), grader="integer")


BENCHMARK = Benchmark(SOURCE, _convert)
