"""Codeforces: contest problems with official tests (open-r1/codeforces, its `verifiable` part), those that comparing
the output decides: exactly, or in any case of letters, or within an error, as the statement says (outputs.py).

Left out and counted: problems with many right outputs (they need a checker program, or the statement says so),
interactive ones, those that read and write files, and those whose tests were published cut short.

metadata: form "stdin"; tests, a list of {input, output}; time_limit_seconds a test and memory_limit_mb, which are meant
for C++ on the contest's machines; any_case and tolerance where the statement allows them. No reference program is
published, so there is no target.
"""

from __future__ import annotations

from harness.benchmarks.outputs import SEVERAL, allowed
from harness.benchmarks.pinned import Row, Source
from harness.benchmarks.question import Benchmark, LeftOut, Question

SOURCE = Source(
    name="codeforces",
    repo="open-r1/codeforces",
    revision="fbe3f6e903ee854eec2e69e9d96d0306cde59baf",
    files={"verifiable/test-00000-of-00001.parquet": None},
    columns=(
        "id", "title", "description", "input_format", "output_format", "note", "examples", "time_limit", "memory_limit",
        "rating", "official_tests", "official_tests_complete", "input_mode", "interaction_format", "generated_checker",
        "executable",
    ),
    rows=None,
    sha256=None,
    config="verifiable",
    split="test",
    licence="CC-BY-4.0",
    evidence="revision as pinned by several public projects, columns from its README; rows and bytes from no source",
)  # fmt: skip


def _convert(number: int, row: Row) -> Question | LeftOut:
    reason = _undecidable(row)
    if reason is not None:
        return LeftOut(reason)
    texts = (row["description"], row["input_format"], row["output_format"], row["note"])
    grading = allowed("\n".join(text for text in texts if text))
    if isinstance(grading, str):
        return LeftOut(grading)
    parts = [row["title"], row["description"]]
    for heading, text in (("Input", row["input_format"]), ("Output", row["output_format"]), ("Note", row["note"])):
        if text:
            parts.append(f"{heading}\n{text}")
    for example in row["examples"] or []:
        parts.append(f"Example input\n{example['input']}\nExample output\n{example['output']}")
    metadata = {
        "form": "stdin",
        "tests": [{"input": test["input"], "output": test["output"]} for test in row["official_tests"]],
        "time_limit_seconds": row["time_limit"],
        "memory_limit_mb": row["memory_limit"],
        "rating": row["rating"],
        **grading,
    }
    return Question(f"codeforces/{row['id']}", "\n\n".join(part.strip() for part in parts), "", metadata, grader="code")


def _undecidable(row: Row) -> str | None:
    if not row["executable"]:
        return "marked as not executable"
    if not row["description"]:
        return "no description"
    if row["generated_checker"]:
        return SEVERAL
    if row["interaction_format"]:
        return "interactive"
    if row["input_mode"] != "stdio":
        return "reads and writes files"
    if not row["official_tests"] or not row["official_tests_complete"]:
        return "tests missing or cut short"
    return None


BENCHMARK = Benchmark(SOURCE, _convert)
