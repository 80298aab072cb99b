"""Do training and held-out questions ever meet? Draws many of both sides of each generated task and compares them.

    python scripts/measure/disjoint.py --page                        all tasks, 100,000 questions a side
    python scripts/measure/disjoint.py --page --task nim --task aiw  these; the page keeps its rows of the others
    python scripts/measure/disjoint.py --n 50                        fewer: the last line says what the whole takes

`--page` writes docs/measured/disjoint.md.

All tasks together take hours, so the page is written anew after each one, and what was drawn for it is kept under
runs/disjoint: the same command resumes there, unless tasks, packages or the normal form were changed since.

The two sides are drawn with two keys, as a verifier's are, in two processes. Questions are compared by their normal
form (harness/benchmarks/overlap.py: case, punctuation and the order of words aside). Exits with 1 if any meet.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import multiprocessing
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from harness import files
from harness.benchmarks.overlap import fingerprint
from harness.frozen.draw import SPLITS, Split, sample
from harness.tasks import GENERATED

ROOT = Path(__file__).parents[2]
PAGE, KEPT = ROOT / "docs" / "measured" / "disjoint.md", ROOT / "runs" / "disjoint"
QUESTIONS = 100_000  # a side
FORM = 32  # bytes of a normal form's digest
PIECE = 2_000  # questions that a process draws before it reports


@dataclass
class Drawn:
    """What some questions of one side of a task are: their normal forms, and seconds of the processor."""

    task: str
    split: Split
    forms: set[bytes]
    seconds: float


def draw(which: tuple[str, Split, range], folder: Path | None) -> Drawn:
    """Some questions, or what the folder keeps of them."""
    name, split, indices = which
    if folder is None:
        return draw_anew(name, split, indices)
    file = folder / f"{name} {split} {indices.start}-{indices.stop} {source()}"
    if file.exists():
        seconds, forms = struct.unpack("<d", (kept := file.read_bytes())[:8])[0], kept[8:]
        return Drawn(name, split, {forms[i : i + FORM] for i in range(0, len(forms), FORM)}, seconds)
    drawn = draw_anew(name, split, indices)
    folder.mkdir(parents=True, exist_ok=True)
    files.write(file, struct.pack("<d", drawn.seconds) + b"".join(sorted(drawn.forms)))
    return drawn


@functools.cache
def source() -> str:
    """All that a question's normal form hangs on, as a few digits."""
    sources = [
        *sorted((ROOT / "harness" / "tasks").rglob("*.py")),
        ROOT / "harness" / "benchmarks" / "overlap.py",
        ROOT / "constraints.txt",
    ]
    return hashlib.sha256(b"".join(file.read_bytes() for file in sources)).hexdigest()[:12]


def draw_anew(name: str, split: Split, indices: range) -> Drawn:
    task, key = GENERATED[name], f"disjoint, {split}".encode()
    sample(task, key, split, 0)  # imports and files are read here, off the clock
    start = time.process_time()
    forms = {fingerprint(sample(task, key, split, i).prompt) for i in indices}
    return Drawn(name, split, forms, time.process_time() - start)


HEAD = ["task", "questions a side", "distinct, training", "distinct, held out", "in both", "processor seconds"]


def page(rows: dict[str, list[str]]) -> str:
    """The page, its rows in the order of the tasks."""
    ordered = [rows[name] for name in GENERATED if name in rows]
    missing = [name for name in GENERATED if name not in rows]
    lines = [f"| {' | '.join(cells)} |" for cells in (HEAD, ["---", *["---:"] * 5], *ordered)]
    return f"""\
# Training and held-out questions

Training questions and as many held-out ones of each generated task, drawn with two keys and compared by their normal
form: case, punctuation and the order of words aside. Written by `scripts/measure/disjoint.py --page` on two cores of an
AMD EPYC, shared. Not drawn yet: {", ".join(missing) or "none"}.

{chr(10).join(lines)}
"""


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of a page, by task; of a task that is gone nothing is kept."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[0]: row for row in cells if row[0] in GENERATED and len(row) == len(HEAD)}


def measured(names: list[str], n: int, kept: Path | None) -> Iterator[list[str]]:
    """A row of the table for each task, as it is done."""
    pieces = [range(start, min(start + PIECE, n)) for start in range(0, n, PIECE)]
    work = [(name, split, piece) for name in names for split in SPLITS for piece in pieces]
    forms = {(name, split): set[bytes]() for name in names for split in SPLITS}
    seconds, left = dict.fromkeys(names, 0.0), dict.fromkeys(names, len(SPLITS) * len(pieces))
    with multiprocessing.get_context("spawn").Pool(2) as pool, Progress(console=Console(stderr=True)) as progress:
        bar = progress.add_task("questions", total=len(work) * len(pieces[0]))
        for part in pool.imap_unordered(functools.partial(draw, folder=kept), work):
            progress.advance(bar, len(pieces[0]))
            name = part.task
            forms[name, part.split] |= part.forms
            seconds[name] += part.seconds
            left[name] -= 1
            if not left[name]:
                train, heldout = (forms.pop((name, split)) for split in SPLITS)
                numbers = [f"{count:,}" for count in (n, len(train), len(heldout), len(train & heldout))]
                yield [name, *numbers, f"{seconds[name]:,.1f}"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", action="append", metavar="NAME", help="this one; may be given several times")
    parser.add_argument("--n", type=int, default=QUESTIONS, help="questions of each side")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.name}")
    arguments = parser.parse_args()
    names = arguments.task or list(GENERATED)
    if unknown := [name for name in names if name not in GENERATED]:
        parser.error(f"there is no task {', '.join(unknown)}; tasks: {', '.join(GENERATED)}")
    if arguments.n < 1:
        parser.error("--n must be at least 1")
    rows = []
    for row in measured(names, arguments.n, KEPT if arguments.page else None):
        rows.append(row)
        if arguments.page:
            before = rows_of(PAGE.read_text(encoding="utf-8")) if PAGE.exists() else {}
            files.write(PAGE, page(before | {row[0]: row}))
    table = Table(*HEAD)
    for row in rows:
        table.add_row(*row)
    Console().print(table)
    total = sum(float(row[-1].replace(",", "")) for row in rows)
    whole = total * QUESTIONS / arguments.n / 3600
    print(f"{total:,.0f} s of processor time; {QUESTIONS:,} questions a side would take {whole:.1f} hours of one core")
    return 1 if any(row[-2] != "0" for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
