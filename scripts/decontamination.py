"""The table of docs/decontamination.md: every training set against every benchmark that can be had here.

    python scripts/decontamination.py                      from the Hub and GitHub, or their caches
    python scripts/decontamination.py --data ../shared/data    five of the sets from whole local copies

A set that cannot be had gets a line that says why. Each training set is read once a benchmark, streamed.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from harness.benchmarks import BENCHMARKS, Question, SourceError, stream
from harness.benchmarks.pinned import check, read
from harness.overlap import HEADER, Text, overlap, row, texts
from harness.tasks import TASKS

LOCAL = {
    "gsm8k": "gsm8k_test.jsonl",
    "gsm8k-train": "gsm8k_train.jsonl",
    "humaneval": "HumanEval.jsonl.gz",
    "temporal-clue": "temporal_clue_test.json",
    "aiw": "aiw_prompts.json",
}


def prompts(name: str, folder: Path | None) -> Iterator[Text]:
    """Of a local copy, checked like a downloaded one, if there is one; else as `texts` has it."""
    path = folder / LOCAL[name] if folder is not None and name in LOCAL else None
    if path is None or not path.is_file():
        return texts(name)
    benchmark = BENCHMARKS[name]
    check(benchmark.source, read(path, benchmark.source.columns))
    items = stream(benchmark, read(path, benchmark.source.columns))
    return ((item.id, item.prompt) for item in items if isinstance(item, Question))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder with whole local copies")
    folder = parser.parse_args().data

    training = [name for name, each in BENCHMARKS.items() if each.role == "training"]
    asked = [name for name, each in BENCHMARKS.items() if each.role == "benchmark"]
    pairs = [(a, b) for a in training for b in asked] + [(f"{task}/train", f"{task}/heldout") for task in TASKS]
    missing: dict[str, str] = {}
    found = {}
    print(HEADER)
    for a, b in pairs:
        if a in missing or b in missing:
            continue
        start, name = time.monotonic(), b
        try:
            benchmark = list(prompts(b, folder))
            name = a
            found[a, b] = overlap(prompts(a, folder), benchmark, examples=3)
        except SourceError as error:
            missing[name] = str(error)
            continue
        print(row(a, b, found[a, b]), flush=True)
        print(f"{a} against {b}: {time.monotonic() - start:.1f} s", file=sys.stderr)
    print("\nExamples\n")
    for (a, b), each in found.items():
        for shared in each.same_examples:
            print(f"- {a} against {b}, same: `{shared.training}`, `{shared.benchmark}`: {shared.text}")
        for grams in each.grams:
            for shared in grams.examples:
                print(f"- {a} against {b}, {grams.n} words: `{shared.training}`, `{shared.benchmark}`: {shared.text}")
    print("\nNot looked at\n")
    for name, why in missing.items():
        print(f"- {why if why.startswith(name) else f'{name}: {why}'}")


if __name__ == "__main__":
    main()
