"""The reporter says what happened, once, and shows nothing where it was told to be quiet."""

import io

import pytest
from rich.console import Console

from harness.verify.reporter import TerminalReporter


def test_lines_go_to_standard_error_as_they_are(capsys):
    with TerminalReporter() as reporter:
        reporter.begin("mine", 0, "train", 600)
        reporter.advance(3.0, "512 completions")
        reporter.finished(90.0)
        reporter.begin("mine", 1, "train", 600)
        reporter.advance(30.0, "[bold]not markup[/]")
        reporter.say("mine run 1: [0.91]")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "mine run 1: [0.91]\n"  # no bar where there is no terminal


def test_quiet_is_quiet(capsys):
    with TerminalReporter(quiet=True) as reporter:
        reporter.begin("mine", 0, "evaluate", 4096)
        reporter.say("anything")
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def frame(monkeypatch, name, phase, total, done, note, node=None):
    """The live view, drawn once on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    reporter = TerminalReporter()
    shown = reporter if node is None else reporter.node(node)
    shown.begin(name, 7, phase, total)
    shown.advance(done, note)
    console = Console(file=io.StringIO(), width=80)
    console.print(reporter._progress.get_renderable())
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize(
    ("phase", "total", "done", "note", "left"),
    [
        ("train", 10_800, 9_999, "200,000 completions, 0.512 right lately", "of at most 10800 s"),
        ("train", 600, 30, "starting", "of at most 600 s"),
        ("evaluate", 5_120, 4_608, "4608/5120 questions", ""),
        ("benchmarks", 13_190, 1_319, "1319/13190 questions", ""),
    ],
)
@pytest.mark.parametrize("name", ["mine", "a-name-of-sixty-four-characters-" + "x" * 32])
def test_the_live_view_fits_eighty_columns(monkeypatch, name, phase, total, done, note, left):
    first, second = frame(monkeypatch, name, phase, total, done, note)
    assert max(len(first), len(second)) <= 80
    assert first.endswith(f" run 8: {phase}") and second.strip() == note and left in first
    assert "0:00:00" in first or "-:--:--" in first  # the time that has passed, whole
    assert name[:10] in first and (len(name) > 30) == ("…" in first)


def test_on_a_cluster_the_node_comes_first(monkeypatch):
    first, _ = frame(monkeypatch, "no-waste-without-kl", "train", 600, 3, "starting", node="0123456789ab")
    assert "0123456789ab: no-waste… run 8: train" in first and len(first) <= 80
