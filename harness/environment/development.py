"""A development run: the submission as it is, on this machine, with no sandbox and no claim.

The environment is the real one, so reward and accuracy are what the harness sees; the submission's own
lines are shown beside them and kept in log.txt.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from harness import files
from harness.environment.server import Environment
from harness.environment.training import development_key
from harness.errors import NanoR1Error
from harness.isolation import preload
from harness.isolation.load import Load
from harness.submission import Submission
from harness.tracks.track import ROOT, Track

ROWS = 12  # of the live table
_STEP = re.compile(r"\bstep +([0-9]{1,9}) *(?:/|of) *([0-9]{1,9})\b")  # as the baselines print it when a step is done


class DevelopmentError(NanoR1Error):
    """A development run cannot start or has failed; the message says where to look."""


class RunInterrupted(DevelopmentError):
    """Ctrl-C."""

    exit_code = 130


def train(
    track: Track,
    submission: Submission,
    seed: int,
    output: Path,
    control: bool,
    console: Console,
    seconds: int | None = None,
) -> bool:
    """Run train.py and show it live. Files land in `output`. Returns whether there are weights to evaluate.

    Raises DevelopmentError if it fails, is interrupted or, where `seconds` is not given, meets the track's budget. The
    table of what the harness saw is printed however it ends. `control`: as a verifier's control run, on scores that are
    unrelated to the completions.
    """
    try:
        output.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise DevelopmentError(f"{error.filename} is not a folder; name another with --output") from None
    weights = output / "model.safetensors"
    weights.unlink(missing_ok=True)  # an earlier run's are not to be evaluated as this one's
    limit = seconds or track.budget.seconds
    start = time.monotonic()
    with contextlib.ExitStack() as stack:
        work = stack.enter_context(tempfile.TemporaryDirectory(prefix="nano-r1-", dir=files.socket_parent()))
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
        with _started(submission, Path(work) / "socket", track.budget.preload, console) as (process, imports_cpu_ms):
            start, load, before = time.monotonic(), Load(track.hardware.cores), _cpu_ms()
            reader = LogReader(process, log, console)
            ended = _watch(process, environment, (start, limit), reader, console)
        elapsed, share = time.monotonic() - start, load.share(_cpu_ms() - before - imports_cpu_ms)
        reader.join(timeout=5)
        console.print(_view(environment, elapsed, limit, "", console.width))
    log_file = output / "log.txt"
    if ended == "interrupted":
        raise RunInterrupted(f"interrupted after {elapsed:.0f} s{reader.step}; its log is {log_file}")
    if ended == "stopped":
        if seconds is None:
            raise DevelopmentError(f"stopped at the budget of {limit} s{reader.step}, {share}; its log is {log_file}")
        console.print(f"stopped after {limit} s as asked{reader.step}, {share}", soft_wrap=True)
        return False
    if process.returncode != 0:
        why = _ending(process.returncode, reader.last.strip())
        raise DevelopmentError(f"{submission.folder / 'train.py'} {why}; its log is {log_file}")
    if not weights.is_file():
        console.print("it saved no weights: a train.py ends with run.save(model)")
    return weights.is_file()


def _watch(
    process: subprocess.Popen[str],
    environment: Environment,
    time_limit: tuple[float, float],
    reader: LogReader,
    console: Console,
) -> Literal["ended", "stopped", "interrupted"]:
    """Show the run until it ends, is over its time (start, seconds) or Ctrl-C is pressed: then end it."""
    start, limit = time_limit
    try:
        with Live(console=console, refresh_per_second=4, transient=True) as live:
            while process.poll() is None:
                time.sleep(0.25)
                elapsed = time.monotonic() - start
                if console.is_terminal:
                    live.update(_view(environment, elapsed, limit, reader.last, console.width))
                if elapsed > limit:
                    process.kill()
                    process.wait()
                    return "stopped"
    except KeyboardInterrupt:
        process.kill()
        process.wait()
        return "interrupted"
    return "ended"


def _cpu_ms() -> int:
    """Of all processes that this one started and that have ended."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round((usage.ru_utime + usage.ru_stime) * 1000)


def _ending(returncode: int, last_line: str) -> str:
    """How it failed: by a signal that nobody here sent, or with an exit code and what it printed last."""
    if returncode < 0:
        name = signal.Signals(-returncode).name
        return f"was killed by {name}" + (", as the kernel does when memory runs out" if name == "SIGKILL" else "")
    return f"exited with code {returncode}" + (f": {last_line[:200]}" if last_line else "")


@contextlib.contextmanager
def _started(
    submission: Submission, socket: Path, modules: list[str], console: Console
) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The submission's process, and the milliseconds of CPU time that it has imported the track's modules in.

    Its clock starts now. Whatever ends the block, the process has ended too.
    """
    imports = preload.Imports(modules, str(ROOT)) if modules else None
    process = subprocess.Popen(
        [sys.executable, str(submission.folder.resolve() / "train.py")],
        env={**os.environ, "NANO_R1_SOCKET": str(socket), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        | (imports.variables if imports else {}),
        pass_fds=[imports.descriptor] if imports else [],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
    )
    try:
        yield process, _import(imports, process, console) if imports else 0
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _import(imports: preload.Imports, process: subprocess.Popen[str], console: Console) -> int:
    """Let the process import, then run train.py. Milliseconds of CPU time. Raises DevelopmentError."""
    begun = time.monotonic()
    try:
        cpu_ms = imports.wait()
    except KeyboardInterrupt:
        raise RunInterrupted("interrupted before the clock started") from None
    if cpu_ms is None:
        process.kill()
        last = (process.communicate()[0].strip().splitlines() or [f"not within {preload.SECONDS} s"])[-1]
        raise DevelopmentError(f"the track's modules could not be imported: {last[:500]}")
    console.print(f"the track's modules are imported off the clock, in {time.monotonic() - begun:.1f} s")
    imports.go()
    return cpu_ms


class LogReader(threading.Thread):
    """Copies what a process prints into its log; without a terminal, shows it too. `last` is its latest line.

    `step`: where the run is by its own word, ` in step 16 of 40` once it printed `step 15/40`; empty if it never did.
    """

    def __init__(self, process: subprocess.Popen[str], log: TextIO, console: Console) -> None:
        super().__init__(daemon=True)
        self.last = self.step = ""
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
            self.step = step_after(line) or self.step
            if not self._console.is_terminal:
                self._console.print(self.last, markup=False, soft_wrap=True)


def step_after(log: str) -> str:
    """Where a run is by its own word: ` in step 16 of 40` once it has printed `step 15/40`, else nothing."""
    printed = _STEP.findall(log)
    if not printed:
        return ""
    done, steps = map(int, printed[-1])
    return f" in step {min(done + 1, steps)} of {steps}"


def _view(environment: Environment, elapsed: float, budget: float, line: str, width: int) -> Group:
    """The harness's view: a row for each stretch of scored completions, no wider than the terminal.

    Where a column for each task has no room, the tasks stand below, over the last stretch.
    """
    points = environment.curve
    length = max(1, -(-len(points) // ROWS))
    stretches = [points[start : start + length] for start in range(0, len(points), length)]
    tasks = sorted({task for point in points for task in point["tasks"]})
    title = f"{elapsed:.0f} of {budget:.0f} s"
    table = _table(stretches, tasks, title)
    parts: list[RenderableType] = [table]
    if _width(table) > width:
        late = (f"{task} {accuracy}" for task in tasks if (accuracy := _accuracy(stretches[-1], task)))
        parts = [_table(stretches, [], title), Text(f"accuracy of late: {', '.join(late)}")]
    if line:
        parts.append(Text(line, no_wrap=True, overflow="ellipsis"))
    return Group(*parts)


def _table(stretches: list[list[dict[str, Any]]], tasks: list[str], title: str) -> Table:
    table = Table(box=None, pad_edge=False, collapse_padding=True, title=title, title_justify="left")
    for column in ("seconds", "completions", "accuracy", "formatted", "tokens", *tasks):
        table.add_column(column, justify="right", no_wrap=True)
    for stretch in stretches:
        count = sum(point["completions"] for point in stretch)
        table.add_row(
            f"{stretch[-1]['t_ms'] / 1000:.0f}",
            f"{count:,}",
            f"{sum(point['correct'] for point in stretch) / count:.3f}",
            f"{sum(point['formatted'] for point in stretch) / count:.3f}",
            f"{sum(point['tokens'] for point in stretch) / count:.1f}",
            *(_accuracy(stretch, task) for task in tasks),
        )
    return table


def _accuracy(stretch: list[dict[str, Any]], task: str) -> str:
    """Of a task over a stretch of points; empty if nothing of it was scored there."""
    counts = [point["tasks"].get(task, (0, 0)) for point in stretch]
    completions, correct = (sum(column) for column in zip(*counts, strict=True))
    return f"{correct / completions:.3f}" if completions else ""


def _width(table: Table) -> int:
    """Characters that it needs to show every cell whole."""
    wide = Console(width=10_000, file=io.StringIO())
    return table.__rich_measure__(wide, wide.options).maximum
