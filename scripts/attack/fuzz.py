"""Throw corrupted input at the three doors through which a submission's bytes come in.

    python scripts/attack/fuzz.py checkpoint     200,000 safetensors files to harness.frozen.checkpoint.read
    python scripts/attack/fuzz.py frames         200,000 frames to a real environment on its socket
    python scripts/attack/fuzz.py graders        100,000 completions of each puzzle of cpu-logic to its score, and
                                                 123,300 to the graders of the fixed benchmarks

Inputs are made from good ones by changes that know the grammar, and follow from the seed. Each verdict is compared with
a second opinion that shares no code with the harness (see fuzzing/); where there is none, a grader must not find one
completion right for two answers. A different verdict, an exception, a hang or memory that grows is a finding, and makes
the exit code 1. Ctrl-C shows what was done so far.
"""

from __future__ import annotations

import argparse
import sys

from fuzzing.checkpoint import checkpoint_cases
from fuzzing.frames import frame_cases
from fuzzing.graders import grader_cases
from fuzzing.graders import total as grader_total
from fuzzing.tally import Tally, drive
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

DOORS = {
    "checkpoint": (checkpoint_cases, 200_000),
    "frames": (frame_cases, 200_000),
    "graders": (grader_cases, 100_000),
}


def show(console: Console, name: str, tally: Tally, seed: int) -> None:
    outcomes = sorted({outcome for counts in tally.outcomes.values() for outcome in counts})
    table = Table("kind", *outcomes, box=None, pad_edge=False)
    for kind, counts in sorted(tally.outcomes.items()):
        table.add_row(kind, *(f"{counts[outcome]:,}" if counts[outcome] else "" for outcome in outcomes))
    console.print(table)
    for finding in tally.findings[:20]:
        console.print(finding, markup=False, style="red", soft_wrap=True)
    seconds, kind = tally.slowest
    console.print(
        f"{name}, seed {seed}: {tally.done:,} in {tally.seconds:.0f} s "
        f"({tally.done / max(tally.seconds, 1e-9):,.0f} a second), slowest {1000 * seconds:.1f} ms ({kind}), "
        f"memory {tally.grown / (1 << 20):+.1f} MiB, {len(tally.findings)} findings",
        soft_wrap=True,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("door", choices=DOORS)
    parser.add_argument("--count", type=int, help="how many (graders: of each puzzle, and a share of each kind)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    cases, usual = DOORS[args.door]
    count = usual if args.count is None else args.count
    total = grader_total(count) if args.door == "graders" else count
    console, tally = Console(), Tally()
    columns = TextColumn(args.door), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task(args.door, total=total)

        def advance(done: int) -> None:
            if done % 100 == 0:
                progress.update(bar, completed=done)

        try:
            drive(tally, cases(count, args.seed, tally), total, advance)
            interrupted = False
        except KeyboardInterrupt:
            interrupted = True
    show(console, args.door, tally, args.seed)
    if interrupted:
        console.print("interrupted")
        return 130
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
