"""A development run: the submission as it is, on this machine, with no sandbox and no claim.

The environment is the real one, so reward and accuracy are what the harness sees; the submission's own
lines are shown beside them and kept in log.txt.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.environment import Environment, development_key
from harness.submission import Submission
from harness.tracks.track import ROOT, Track

ROWS = 12  # of the live table


def train(track: Track, item: Submission, seed: int, output: Path, control: bool, console: Console) -> int:
    """Run train.py, show it live, stop it at the budget. Returns its exit code; files land in `output`.

    `control`: as a verifier's control run, on scores that say nothing.
    """
    output.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with contextlib.ExitStack() as files:
        work = files.enter_context(tempfile.TemporaryDirectory(prefix="nano-r1-"))
        socket = Path(work) / "socket"
        log = files.enter_context((output / "log.txt").open("w"))
        with Environment(
            track,
            development_key(seed),
            seed,
            socket,
            base=str(track.base_folder),
            output=str(output.resolve()),
            clock=lambda: round((time.monotonic() - start) * 1000),
            control=development_key(seed) if control else None,
        ) as environment:
            process = subprocess.Popen(
                [sys.executable, str(item.folder.resolve() / "train.py")],
                env={**os.environ, "NANO_R1_SOCKET": str(socket), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
            last = [""]
            reader = threading.Thread(target=_keep_log, args=(process, log, last, console), daemon=True)
            reader.start()
            try:
                with Live(console=console, refresh_per_second=4, transient=True) as live:
                    while process.poll() is None:
                        time.sleep(0.25)
                        elapsed = time.monotonic() - start
                        if console.is_terminal:
                            live.update(_view(environment, elapsed, track.budget.seconds, last[0]))
                        if elapsed > track.budget.seconds:
                            console.print(f"stopped: over the budget of {track.budget.seconds} s")
                            process.kill()
            finally:
                if process.poll() is None:
                    process.kill()
                process.wait()
            reader.join(timeout=5)
            console.print(_view(environment, time.monotonic() - start, track.budget.seconds, ""))
    return process.returncode


def _keep_log(process: subprocess.Popen[str], log: TextIO, last: list[str], console: Console) -> None:
    assert process.stdout is not None
    for line in process.stdout:  # read to the end whatever happens: a full pipe would stall the submission
        with contextlib.suppress(OSError):  # a full disk; the weights will not fit either, and that is said
            log.write(line)
            log.flush()
        last[0] = line.rstrip("\n")
        if not console.is_terminal:
            console.print(last[0], markup=False, soft_wrap=True)


def _view(environment: Environment, elapsed: float, budget: int, line: str) -> Group:
    """The harness's view: one row a stretch of scored completions."""
    points = environment.curve
    width = max(1, -(-len(points) // ROWS))
    names = sorted({task for point in points for task in point["tasks"]})
    table = Table(box=None, pad_edge=False, title=f"{elapsed:.0f} of {budget} s", title_justify="left")
    for column in ("seconds", "completions", "accuracy", "formatted", "tokens", *names):
        table.add_column(column, justify="right")
    for i in range(0, len(points), width):
        part = points[i : i + width]
        count = sum(p["completions"] for p in part)
        cells = []
        for name in names:
            n = sum(p["tasks"].get(name, (0, 0))[0] for p in part)
            right = sum(p["tasks"].get(name, (0, 0))[1] for p in part)
            cells.append(f"{right / n:.3f}" if n else "")
        table.add_row(
            f"{part[-1]['t_ms'] / 1000:.0f}",
            f"{count:,}",
            f"{sum(p['correct'] for p in part) / count:.3f}",
            f"{sum(p['formatted'] for p in part) / count:.3f}",
            f"{sum(p['tokens'] for p in part) / count:.1f}",
            *cells,
        )
    return Group(table, Text(line[:300]))
