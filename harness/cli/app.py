"""All commands in one list, and the one place where an error becomes a line on the terminal and an exit code.

Exit codes: 0 done and good; 1 done and not good (no record, a failed audit); 2 the request was wrong, and
nothing was changed; 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from harness.cli import audit, evaluate, keys, ledger, submissions, tasks, tracks, verify
from harness.cli.terminal import stop
from harness.errors import NanoR1Error

# ValueErrors and RuntimeErrors of files that a track's digest covers: these cannot derive from NanoR1Error yet.
FROZEN_ERRORS = (
    ("harness.stats", "StatsError"),
    ("harness.checkpoint", "CheckpointError"),
    ("harness.environment", "EnvironmentFailed"),
    ("harness.judge", "JudgeError"),
    ("harness.client", "EnvironmentRefused"),
    ("harness.client", "SaveError"),
    ("harness.engines.vllm", "EngineFailed"),
    ("harness.tasks.clue", "ClueError"),
)

app = typer.Typer(
    help="The GRPO speedrun: verify, reproduce and audit records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(submissions.new)
app.command("check")(submissions.check_command)
app.command()(submissions.train)
app.command("eval")(evaluate.eval_command)
app.command()(evaluate.regrade)
app.command()(verify.verify)
app.command()(verify.reproduce)
app.command()(audit.audit)
app.command()(audit.leaderboard)
app.command("doctor")(audit.doctor_command)
app.command()(keys.keygen)
app.add_typer(tracks.app, name="tracks")
app.add_typer(tasks.app, name="tasks")
app.add_typer(ledger.app, name="ledger")


def main() -> None:
    """Entry point: every expected error becomes one clear line, without a traceback."""
    try:
        app()
    except NanoR1Error as error:
        stop(str(error), error.exit_code)
    except PermissionError as error:
        stop(f"no permission: {error.filename or error}; choose a folder you may write to")
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    except (ValueError, RuntimeError) as error:
        if isinstance(error, frozen_errors()):
            stop(str(error))
        raise


def frozen_errors() -> tuple[type[Exception], ...]:
    """The classes of FROZEN_ERRORS whose modules are loaded: an error of another cannot have been raised."""
    modules = ((sys.modules.get(module), name) for module, name in FROZEN_ERRORS)
    return tuple(getattr(module, name) for module, name in modules if module is not None)
