"""What the commands share on the terminal: output, tables, progress, the way to stop."""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

UNWRAPPED = 10_000  # columns


def stop(message: str, exit_code: int = 2) -> NoReturn:
    """Print one line to standard error and exit.

    A message may quote a hostile file: nothing in it reaches the terminal as a control sequence.
    """
    sys.stderr.write(f"nano-r1: {printable(message)}\n")
    raise SystemExit(exit_code)


def printable(text: str) -> str:
    """The text without control characters: no more than lines."""
    return "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in text)


def console() -> Console:
    """Standard output. Where it is no terminal nothing is wrapped: what reads it wants a row a line."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else UNWRAPPED)


def escape(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True) + "\n")


def make_table(*columns: str, title: str | None = None) -> Table:
    """A table whose cells wrap between words alone; where a row's words do not fit beside each other, a row a block."""
    from harness.cli.word_table import WordTable

    return WordTable(*columns, title=title)


@contextlib.contextmanager
def progress_bar(label: str, total: int, quiet: bool) -> Iterator[Callable[[float], None]]:
    """Yields a function that sets how many of `total` are done. Shows nothing where there is no terminal.

    Until it is called first the bar pulses: something is being done, and nobody knows for how long.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    with Progress(
        TextColumn("{task.description}"),
        BarColumn(bar_width=None),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[unit]}"),
        console=Console(stderr=True),
        disable=quiet or not sys.stderr.isatty(),
        expand=True,
        speed_estimate_period=600,  # seconds; a batch may take minutes
        transient=True,
    ) as progress:
        task = progress.add_task(label, total=None, unit="")
        yield lambda done: progress.update(task, completed=done, total=total, unit="left")


@contextlib.contextmanager
def cancel_on_signal() -> Iterator[threading.Event]:
    """Yields an event that Ctrl-C or SIGTERM sets, so that a session ends in order."""
    cancel = threading.Event()

    def handle(number: int, frame: Any) -> None:
        cancel.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
