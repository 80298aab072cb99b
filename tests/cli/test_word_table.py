"""Tables on terminals of several widths, and where there is none: no word is broken, nothing is left out."""

import json
import os
import pty
import subprocess

import pytest
from nano import NANO, nano
from rich.console import Console

from harness.cli.terminal import make_table
from harness.tracks.track import ROOT

NAMES = ["gym-complex-arithmetic", "a1b2c3d4" * 8, "6,670,903,752,021,072,936,960"]


def rendered(width, *rows, title=None):
    table = make_table("task", "digest", "distinct questions", title=title)
    for row in rows:
        table.add_row(*row)
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return capture.get()


@pytest.mark.parametrize("width", [200, 130, 100, 80, 66])
def test_no_word_is_broken_and_no_cell_left_out(width):
    shown = rendered(width, NAMES, ["nim", "0" * 8, "11,575 or more of them"], title="all of them")
    assert all(len(line) <= width for line in shown.splitlines())
    assert {*NAMES, "nim", "0" * 8, "11,575", "more"} <= set(shown.split())


def test_the_widest_column_that_can_wrap_does():
    shown = rendered(40, ["nim", "abcdef01", "one two three four five six seven eight"])
    assert "nim   abcdef01" in shown and "seven" in shown and len(shown.splitlines()) < 9


def test_rows_that_do_not_fit_become_blocks():
    shown = rendered(66, NAMES)
    assert f"digest: {NAMES[1]}" in " ".join(shown.split()) and "distinct questions: 6,670" in shown


def terminal(width, *arguments):
    """What a command prints on a terminal that wide."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(width), "NO_COLOR": "1", "TERM": "dumb"}
    with subprocess.Popen([*NANO, *arguments], stdout=theirs, cwd=ROOT, env=environment) as process:
        os.close(theirs)
        parts = []
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # Linux: its last writer is gone
                break
            if not part:
                break
            parts.append(part)
    os.close(ours)
    assert process.returncode == 0
    return b"".join(parts).decode()


@pytest.mark.parametrize("width", [80, pytest.param(60, marks=pytest.mark.all)])
def test_tracks_keep_names_and_digests_whole(width):
    shown = terminal(width, "tracks")
    assert all(len(line) <= width for line in shown.splitlines())
    for track in json.loads(nano("tracks", "--json").stdout):
        assert {track["id"], track["status"], track["digest"][:8]} <= set(shown.split())


def test_where_there_is_no_terminal_nothing_is_wrapped():
    lines = nano("tasks", "show", "nim", "--attacks", COLUMNS="60").stdout.splitlines()
    assert sum("the last stone" in line and "how many first?" in line for line in lines) == 4
