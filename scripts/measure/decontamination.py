"""Prints docs/measured/decontamination.md: every training set against every benchmark that can be had here.

    python scripts/measure/decontamination.py                          from the Hub and GitHub, or their caches
    python scripts/measure/decontamination.py --data ../shared/data    five of the sets from whole local copies

Fixed training sets are streamed past each benchmark. Of each generated task some training questions are compared with
its own held-out ones and with every fixed benchmark. Local copies are checked like downloaded ones. A set that cannot
be had gets a line that says why.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.benchmarks import BENCHMARKS, NOT_PUBLIC, TRAINING_SETS, Question, SourceError, stream, unknown
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

What the training sets share with the benchmarks, counted in questions. Written by
`scripts/measure/decontamination.py`; for any two sets: `nano-r1 tasks overlap A B`. How it is measured:
[`harness/benchmarks/overlap.py`](../../harness/benchmarks/overlap.py).

- **same**: questions of the benchmark whose normalised text (case, punctuation and the order of words aside) is in the
  training set.
- **{GRAMS[0]} words, {GRAMS[1]} words**: questions of the benchmark that share a run of so many words with the
  training set.
- **covered**: those of them for which at least {COVERED:.0%} of all their runs are found; **containing**: those that
  have all runs of one training question. These are the numbers to worry about: single runs are mostly stock phrases.
"""

GENERATED_TASKS = f"""\
## Generated tasks

- **drawn**: so many training questions, and as many held-out ones.
- **held out**: `same` against the task's own held-out questions; it must be 0.
- **fixed**: against the benchmarks above: `same`; of which benchmark how many are covered by {GRAMS[1]} words or
  contain a whole question.

What was drawn is a sample. The three tasks of AIW ask in the words of its paper, with more numbers: a model that
trained on them knows the form of `aiw-paper`, and met some of its very puzzles.
"""

Overlaps = dict[tuple[str, str], Overlap]  # by training set and benchmark


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with whole local copies")
    parser.add_argument("--draws", type=int, default=DRAWS, help="questions of each side of a generated task, at most")
    arguments = parser.parse_args()

    benchmarks, missing = {}, dict[str, str]()
    for name in (name for name in BENCHMARKS if name not in TRAINING_SETS):
        try:
            benchmarks[name] = list(prompts(name, arguments.data))
        except SourceError as error:
            missing[name] = reason_missing(name, error)

    print(INTRODUCTION)
    overlaps = fixed_sets(benchmarks, arguments.data, missing)
    overlaps |= generated_tasks(benchmarks, arguments.draws)
    print("\n## Examples\n")
    for (training, benchmark), shared in overlaps.items():
        titled = [("same", shared.same_examples), *((f"{grams.n} words", grams.examples) for grams in shared.grams)]
        for title, examples in titled:
            for line in example_lines(training, benchmark, examples):
                print(f"- {title}: {line.strip()}")
    print("\n## Not looked at\n")
    for name, reason in [*missing.items(), *NOT_PUBLIC.items()]:
        print(f"- `{name}`: {reason}")


def fixed_sets(benchmarks: dict[str, list[Text]], folder: Path | None, missing: dict[str, str]) -> Overlaps:
    """Print the table of the fixed training sets; those that cannot be had go into `missing`."""
    columns = "".join(f" {n} words | covered | containing |" for n in GRAMS)
    print("## Fixed training sets\n")
    print(f"| training set | questions | benchmark | questions | same |{columns}")
    print("|---|---:|---|---:|---:|" + "---:|---:|---:|" * len(GRAMS))
    overlaps: Overlaps = {}
    for name in TRAINING_SETS:
        for benchmark, questions in benchmarks.items():
            start = time.monotonic()
            try:
                shared = overlaps[name, benchmark] = overlap(prompts(name, folder), questions, examples=3)
            except SourceError as error:
                missing[name] = reason_missing(name, error)
                break
            cells = [f"`{name}`", f"{shared.training:,}", f"`{benchmark}`", f"{shared.benchmark:,}", f"{shared.same:,}"]
            cells += [f"{count:,}" for g in shared.grams for count in (g.benchmark, g.covered, g.containing)]
            print(f"| {' | '.join(cells)} |", flush=True)
            print(f"{name} against {benchmark}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    return overlaps


def generated_tasks(benchmarks: dict[str, list[Text]], draws: int) -> Overlaps:
    """Print the table of the generated tasks. Returns their overlaps with benchmarks, where there are any."""
    print(f"\n{GENERATED_TASKS}")
    print("| task | distinct | drawn | held out | fixed, same | fixed, covered or containing |")
    print("|---|---:|---:|---:|---:|---|")
    overlaps: Overlaps = {}
    for name, task in GENERATED.items():
        start = time.monotonic()
        training = list(texts(f"{name}/train", count=draws))
        own = overlap(training, texts(f"{name}/heldout", count=draws), ())
        same, contaminated = 0, []
        for benchmark, questions in benchmarks.items():
            shared = overlap(training, questions, examples=3)
            same, runs = same + shared.same, shared.grams[-1]
            if shared.same or runs.covered or runs.containing:
                overlaps[name, benchmark] = shared
                contaminated.append(f"`{benchmark}` {runs.covered:,} or {runs.containing:,}")
        counts = [f"{number:,}" for number in (task.distinct, draws, own.same, same)]
        print(f"| {' | '.join([f'`{name}`', *counts, ', '.join(contaminated) or 'none'])} |", flush=True)
        print(f"{name}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    return overlaps


def prompts(name: str, folder: Path | None) -> Iterator[Text]:
    """Of a local copy, checked like a downloaded one, if there is one; else as `texts` has it."""
    path = folder / LOCAL[name] if folder is not None and name in LOCAL else None
    if path is None or not path.is_file():
        return texts(name)
    benchmark = BENCHMARKS[name]
    check(benchmark.source, read(path, benchmark.source.columns))
    items = stream(benchmark, read(path, benchmark.source.columns))
    return ((item.id, item.prompt) for item in items if isinstance(item, Question))


def reason_missing(name: str, error: SourceError) -> str:
    """For the page; the error itself, which tells of this machine, goes to the terminal."""
    print(error, file=sys.stderr)
    source = BENCHMARKS[name].source
    if unknown(source):
        return f"not pinned: never seen here; {source.evidence}"
    return f"pinned, and could not be fetched from {source.page} where this page was written"


if __name__ == "__main__":
    main()
