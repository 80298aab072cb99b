"""Do training and held-out questions ever meet? Draws many of both sides of each generated task and compares them.

    python scripts/disjoint.py --page                   all tasks, 100,000 questions a side; writes docs/disjoint.md
    python scripts/disjoint.py --task nim --task aiw    these, on the terminal
    python scripts/disjoint.py --n 50                   fewer: the last column says what the whole would take

The two sides are drawn with two keys, as a verifier's are, in two processes. Questions are compared by their normal
form (harness/overlap.py: case, punctuation and the order of words aside). Exits with 1 if any meet.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness.overlap import fingerprint
from harness.tasks import SPLITS, TASKS, Split, sample

PAGE = Path(__file__).parent.parent / "docs" / "disjoint.md"
QUESTIONS = 100_000  # a side
PIECE = 2_000  # questions that a process draws before it reports


@dataclass
class Drawn:
    """What some questions of one side of a task are: their normal forms, and seconds of the processor."""

    task: str
    split: Split
    forms: set[bytes]
    seconds: float


def draw(which: tuple[str, Split, range]) -> Drawn:
    name, split, indices = which
    task, key = TASKS[name], f"disjoint, {split}".encode()
    sample(task, key, split, 0)  # imports and files are read here, off the clock
    start = time.process_time()
    forms = {fingerprint(sample(task, key, split, i).prompt) for i in indices}
    return Drawn(name, split, forms, time.process_time() - start)


def page(rows: list[list[str]], n: int) -> str:
    head = ["task", "distinct, training", "distinct, held out", "in both", "processor seconds", "ms a question"]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---", *["---:"] * 5], *rows)]
    return f"""\
# Training and held-out questions

{n:,} training questions and {n:,} held-out ones of each generated task, drawn with two keys and compared by their
normal form: case, punctuation and the order of words aside. Written by `scripts/disjoint.py --page` on two cores of an
AMD EPYC, shared.

{chr(10).join(lines)}
"""


def measured(names: list[str], n: int) -> list[list[str]]:
    """A row of the table for each task."""
    pieces = [range(start, min(start + PIECE, n)) for start in range(0, n, PIECE)]
    work = [(name, split, piece) for name in names for split in SPLITS for piece in pieces]
    forms = {(name, split): set[bytes]() for name in names for split in SPLITS}
    seconds, left = dict.fromkeys(names, 0.0), dict.fromkeys(names, len(SPLITS) * len(pieces))
    rows: dict[str, list[str]] = {}
    with multiprocessing.get_context("spawn").Pool(2) as pool, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("questions", total=len(work) * len(pieces[0]))
        for part in pool.imap_unordered(draw, work):
            progress.advance(bar, len(pieces[0]))
            name = part.task
            forms[name, part.split] |= part.forms
            seconds[name] += part.seconds
            left[name] -= 1
            if not left[name]:
                train, heldout = (forms.pop((name, split)) for split in SPLITS)
                numbers = [f"{len(train):,}", f"{len(heldout):,}", f"{len(train & heldout):,}"]
                rows[name] = [name, *numbers, f"{seconds[name]:,.1f}", f"{seconds[name] * 500 / n:.2f}"]
                progress.console.print(" ".join(rows[name]))
    return [rows[name] for name in names]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", metavar="NAME", help="this one; may be given several times")
    parser.add_argument("--n", type=int, default=QUESTIONS, help="questions of each side")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    names = arguments.task or list(TASKS)
    if unknown := [name for name in names if name not in TASKS]:
        parser.error(f"there is no task {', '.join(unknown)}; tasks: {', '.join(TASKS)}")
    if arguments.n < 1:
        parser.error("--n must be at least 1")
    rows = measured(names, arguments.n)
    table = Table("task", "training", "held out", "in both", "seconds", "ms a question")
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    total = sum(float(row[4].replace(",", "")) for row in rows)
    whole = total * QUESTIONS / arguments.n / 3600
    print(f"{total:,.0f} s of processor time; {QUESTIONS:,} questions a side would take {whole:.1f} hours of one core")
    if arguments.page:
        PAGE.write_text(page(rows, arguments.n))
    return 1 if any(row[3] != "0" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
