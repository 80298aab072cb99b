"""Git repositories that tests make: whatever the variables and settings of who runs the tests."""

import subprocess
from pathlib import Path

from harness.ledger.git import command, environment


def git(repository: Path, *arguments: object, fails: bool = False, stdin: str = "") -> str:
    """What a git command printed."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    line = command(repository, *identity, *map(str, arguments))
    done = subprocess.run(line, input=stdin, capture_output=True, encoding="utf-8", env=environment(), check=False)
    assert (done.returncode != 0) is fails, done.stderr
    return done.stdout
