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
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness.environment import Environment, development_key
from harness.errors import NanoR1Error
from harness.submission import Submission
from harness.tracks.track import ROOT, Track

ROWS = 12  # of the live table


class DevelopmentError(NanoR1Error):
    """A development run cannot start or has failed; the message says where to look."""


def train(track: Track, submission: Submission, seed: int, output: Path, control: bool, console: Console) -> None:
    """Run train.py, show it live, stop it at the budget. Files land in `output`. Raises DevelopmentError if it fails.

    `control`: as a verifier's control run, on scores that are unrelated to the completions.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DevelopmentError(f"{error.filename} is not a folder; name another with --output") from None
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="nano-r1-"))
        log = stack.enter_context((output / "log.txt").open("w", encoding="utf-8"))
        environment = stack.enter_context(
            Environment(
                track,
                development_key(seed),
                seed,
                Path(work) / "socket",
                base=str(track.base_folder),
                output=str(output.resolve()),
                clock=lambda: round((time.monotonic() - start) * 1000),
                control=development_key(seed) if control else None,
            )
        )
        with _started(submission, Path(work) / "socket") as process:
            reader = LogReader(process, log, console)
            with Live(console=console, refresh_per_second=4, transient=True) as live:
                while process.poll() is None:
                    time.sleep(0.25)
                    elapsed = time.monotonic() - start
                    if console.is_terminal:
                        live.update(_view(environment, elapsed, track.budget.seconds, reader.last))
                    if elapsed > track.budget.seconds:
                        console.print(f"stopped: over the budget of {track.budget.seconds} s")
                        process.kill()
        reader.join(timeout=5)
        console.print(_view(environment, time.monotonic() - start, track.budget.seconds, ""))
    if process.returncode != 0:
        program, log_file = submission.folder / "train.py", output / "log.txt"
        raise DevelopmentError(f"{program} exited with code {process.returncode}; its log is {log_file}")


@contextlib.contextmanager
def _started(submission: Submission, socket: Path) -> Iterator[subprocess.Popen[str]]:
    """The submission's process; whatever ends the block, the process has ended too."""
    process = subprocess.Popen(
        [sys.executable, str(submission.folder.resolve() / "train.py")],
        env={**os.environ, "NANO_R1_SOCKET": str(socket), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


class LogReader(threading.Thread):
    """Copies what a process prints into its log; without a terminal, shows it too. `last` is its latest line."""

    def __init__(self, process: subprocess.Popen[str], log: TextIO, console: Console) -> None:
        super().__init__(daemon=True)
        self.last = ""
        self._process, self._log, self._console = process, log, console
        self.start()

    def run(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:  # to the end, whatever happens: a full pipe would stall the submission
            # A full disk: the weights will not fit either, and that is reported. A closed log: the run is over, and
            # only a process that outlived it still prints.
            with contextlib.suppress(OSError, ValueError):
                self._log.write(line)
                self._log.flush()
            self.last = line.rstrip("\n")
            if not self._console.is_terminal:
                self._console.print(self.last, markup=False, soft_wrap=True)


def _view(environment: Environment, elapsed: float, budget: int, line: str) -> Group:
    """The harness's view: a row for each stretch of scored completions."""
    points = environment.curve
    width = max(1, -(-len(points) // ROWS))
    tasks = sorted({task for point in points for task in point["tasks"]})
    table = Table(box=None, pad_edge=False, title=f"{elapsed:.0f} of {budget} s", title_justify="left")
    for column in ("seconds", "completions", "accuracy", "formatted", "tokens", *tasks):
        table.add_column(column, justify="right")
    for start in range(0, len(points), width):
        stretch = points[start : start + width]
        count = sum(point["completions"] for point in stretch)
        cells = []
        for task in tasks:
            counts = [point["tasks"].get(task, (0, 0)) for point in stretch]
            completions, correct = (sum(column) for column in zip(*counts, strict=True))
            cells.append(f"{correct / completions:.3f}" if completions else "")
        table.add_row(
            f"{stretch[-1]['t_ms'] / 1000:.0f}",
            f"{count:,}",
            f"{sum(point['correct'] for point in stretch) / count:.3f}",
            f"{sum(point['formatted'] for point in stretch) / count:.3f}",
            f"{sum(point['tokens'] for point in stretch) / count:.1f}",
            *cells,
        )
    return Group(table, Text(line[:300]))
