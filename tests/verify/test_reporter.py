"""The reporter says what happened, once, and shows nothing where it was told to be quiet."""

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
