"""How a long session shows itself: a bar with the time left (one a node of a cluster), lines for what has happened."""

from __future__ import annotations

import copy
import sys
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column

NAME = 36  # characters of the first line, so that the whole bar fits 80 columns; a node and a record's name are longer


class TerminalReporter:
    """A live bar on a terminal; plain lines elsewhere. Everything goes to standard error."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
        self._console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        # What never changes its width comes first; the note stands below the name, where it has the room of both.
        self._progress = Progress(
            BarColumn(bar_width=12),
            TimeElapsedColumn(table_column=Column(min_width=7, no_wrap=True)),
            TextColumn("{task.fields[left]}", table_column=Column(min_width=16, no_wrap=True)),
            TextColumn("{task.description}\n{task.fields[note]}", markup=False),
            console=self._console,
            disable=quiet or not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("", visible=False, note="", left="")
        self._name = ""  # of the node, on a cluster
        self._training = ""  # whose training is shown; empty while something else is
        self._train_seconds: dict[str, float] = {}  # what each one's last training took: the best guess at its next

    def __enter__(self) -> TerminalReporter:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, name: str, run: int, phase: str, total: float) -> None:
        """A phase of one run begins: `total` seconds of budget (train) or questions (evaluate, benchmarks)."""
        self._training = name if phase == "train" else ""
        self._progress.reset(
            self._task,
            description=_shortened(f"{self._name}{name}", f" run {run + 1}: {phase}"),
            total=self._train_seconds.get(self._training, total),
            visible=True,
            note="",
            left=f"of at most {total:.0f} s" if self._training else "",
        )

    def advance(self, done: float, note: str) -> None:
        """`done`: seconds of a training, or questions."""
        if self._training in self._train_seconds:
            left = max(self._train_seconds[self._training] - done, 0)
            self._progress.update(self._task, left=f"about {left:.0f} s left")
        self._progress.update(self._task, completed=done, note=note)

    def finished(self, seconds: float) -> None:
        """The training took this long; the next of the same submission is expected to."""
        self._train_seconds[self._training] = seconds

    def say(self, text: str) -> None:
        if not self._quiet:
            self._progress.console.print(f"{self._name}{text}", markup=False)

    def node(self, name: str) -> TerminalReporter:
        """One for a node of a cluster: a bar of its own, its name before each line."""
        other = copy.copy(self)
        other._task = self._progress.add_task("", visible=False, note="", left="")
        other._name, other._training, other._train_seconds = f"{name}: ", "", {}
        return other


def _shortened(name: str, rest: str) -> str:
    """The name cut so that both fit the line: which run it is is never cut."""
    room = NAME - len(rest)
    return (name if len(name) <= room else f"{name[: room - 1]}…") + rest
