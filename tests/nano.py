"""The command as a person meets it: a real process, its exit code, and no traceback whatever they type."""

import os
import sys

from forked import python

from harness.tracks.track import ROOT

NANO = [sys.executable, "-m", "harness.cli"]


def nano(*arguments, cwd=ROOT, **environment):
    """Run `nano-r1` with these arguments on a terminal 200 columns wide; `environment` adds variables."""
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment}
    return python("-m", "harness.cli", *arguments, cwd=cwd, environment=variables)


def refused(done, *words):
    """The command said what was wrong, in these words, and changed nothing."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    for word in words:
        assert word in done.stderr + done.stdout
