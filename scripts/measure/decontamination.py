"""Writes docs/decontamination.md: every training set against every benchmark that can be had here.

    python scripts/measure/decontamination.py                          from the Hub and GitHub, or their caches
    python scripts/measure/decontamination.py --data ../shared/data    five of the sets from whole local copies

Prints the page. Fixed training sets are streamed past each benchmark. Of each generated task some training questions
are compared with its own held-out ones and with every fixed benchmark. Local copies are checked like downloaded ones. A
set that cannot be had gets a line that says why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.benchmarks import BENCHMARKS, NOT_PUBLIC, Question, SourceError, stream, unknown
from harness.benchmarks.overlap import COVERED, GRAMS, Overlap, Text, example_lines, overlap, texts
from harness.benchmarks.pinned import check
from harness.benchmarks.rows import read
from harness.tasks import GENERATED

DRAWS = 2_000  # questions of each side of a generated task

LOCAL = {
    "gsm8k": "gsm8k_test.jsonl",
    "gsm8k-train": "gsm8k_train.jsonl",
    "humaneval": "HumanEval.jsonl.gz",
    "temporal-clue": "temporal_clue_test.json",
    "aiw-paper": "aiw_prompts.json",
}

INTRODUCTION = f"""\
# Decontamination

What the training sets share with the benchmarks, counted in questions. Written by `scripts/measure/decontamination.py`; for
any two sets: `nano-r1 tasks overlap A B`. How it is measured:
[`harness/benchmarks/overlap.py`](../harness/benchmarks/overlap.py).

- **same**: questions of the benchmark whose normalised text (case, punctuation and the order of words aside) is in the
  training set.
- **{GRAMS[0]} words, {GRAMS[1]} words**: questions of the benchmark that share a run of so many words with the
  training set.
- **covered**: those of them for which at least {COVERED:.0%} of all their runs are found; **containing**: those that
  have all runs of one training question. These are the numbers to worry about: single runs are mostly stock phrases.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with whole local copies")
    parser.add_argument("--draws", type=int, default=DRAWS, help="questions of each side of a generated task, at most")
    arguments = parser.parse_args()

    asked, missing = {}, dict[str, str]()
    for name in (name for name, each in BENCHMARKS.items() if each.role == "benchmark"):
        try:
            asked[name] = list(prompts(name, arguments.data))
        except SourceError as error:
            missing[name] = why_not(name, error)

    print(INTRODUCTION)
    found = dict[tuple[str, str], Overlap]()
    print("## Fixed training sets\n")
    print(
        "| training set | questions | benchmark | questions | same |"
        + "".join(f" {n} words | covered | containing |" for n in GRAMS)
    )
    print("|---|---:|---|---:|---:|" + "---:|---:|---:|" * len(GRAMS))
    for name in (name for name, each in BENCHMARKS.items() if each.role == "training"):
        for against, questions in asked.items():
            start = time.monotonic()
            try:
                one = found[name, against] = overlap(prompts(name, arguments.data), questions, examples=3)
            except SourceError as error:
                missing[name] = why_not(name, error)
                break
            cells = [f"`{name}`", f"{one.training:,}", f"`{against}`", f"{one.benchmark:,}", f"{one.same:,}"]
            cells += [f"{count:,}" for g in one.grams for count in (g.benchmark, g.covered, g.containing)]
            print(f"| {' | '.join(cells)} |", flush=True)
            print(f"{name} against {against}: {time.monotonic() - start:.1f} s", file=sys.stderr)

    print("\n## Generated tasks\n")
    print(
        "- **drawn**: so many training questions, and as many held-out ones.\n"
        "- **held out**: `same` against the task's own held-out questions; it must be 0.\n"
        f"- **fixed**: against the benchmarks above: `same`; of which benchmark how many are covered by {GRAMS[1]} "
        "words or contain a whole question.\n\n"
        "What was drawn is a sample. The three tasks of AIW ask in the words of its paper, with more numbers: a model "
        "that trained on them knows the form of `aiw-paper`, and met some of its very puzzles.\n"
    )
    print("| task | distinct | drawn | held out | fixed, same | fixed, covered or containing |")
    print("|---|---:|---:|---:|---:|---|")
    for name, task in GENERATED.items():
        start = time.monotonic()
        training = list(texts(f"{name}/train", count=arguments.draws))
        own = overlap(training, texts(f"{name}/heldout", count=arguments.draws), ())
        fixed = {against: overlap(training, questions, examples=3) for against, questions in asked.items()}
        same, shared = sum(one.same for one in fixed.values()), []
        for against, one in fixed.items():
            runs = one.grams[-1]
            if one.same or runs.covered or runs.containing:
                found[name, against] = one
                shared.append(f"`{against}` {runs.covered:,} or {runs.containing:,}")
        counts = [f"{number:,}" for number in (task.distinct, arguments.draws, own.same, same)]
        cells = [f"`{name}`", *counts, ", ".join(shared) or "none"]
        print(f"| {' | '.join(cells)} |", flush=True)
        print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr)

    print("\n## Examples\n")
    for (name, against), one in found.items():
        for title, shared in [("same", one.same_examples), *((f"{g.n} words", g.examples) for g in one.grams)]:
            for line in example_lines(name, against, shared):
                print(f"- {title}: {line.strip()}")
    print("\n## Not looked at\n")
    for name, why in [*missing.items(), *NOT_PUBLIC.items()]:
        print(f"- `{name}`: {why}")


def prompts(name: str, folder: Path | None) -> Iterator[Text]:
    """Of a local copy, checked like a downloaded one, if there is one; else as `texts` has it."""
    path = folder / LOCAL[name] if folder is not None and name in LOCAL else None
    if path is None or not path.is_file():
        return texts(name)
    benchmark = BENCHMARKS[name]
    check(benchmark.source, read(path, benchmark.source.columns))
    items = stream(benchmark, read(path, benchmark.source.columns))
    return ((item.id, item.prompt) for item in items if isinstance(item, Question))


def why_not(name: str, error: SourceError) -> str:
    """For the page; the error itself, which tells of this machine, goes to the terminal."""
    print(error, file=sys.stderr)
    source = BENCHMARKS[name].source
    if unknown(source):
        return f"not pinned: never seen here; {source.evidence}"
    return f"pinned, and could not be fetched from {source.page} where this page was written"


if __name__ == "__main__":
    main()
