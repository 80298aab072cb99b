"""The command line as a whole: the groups of commands, and the one place where an error becomes a line.

Exit codes: 0 done and good; 1 done and not good (no record, a failed audit); 2 the request was wrong, and
nothing was changed; 130 interrupted.
"""

from __future__ import annotations

import locale
import os
import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from harness.cli import audit, evaluate, keys, ledger, submissions, tasks, tracks, verify
from harness.cli.terminal import stop
from harness.errors import NanoR1Error
from harness.frozen.errors import FrozenError

# Of harness.client, which imports nothing of ours.
CLIENT_ERRORS = (("harness.client", "EnvironmentRefused"), ("harness.client", "SaveError"))

app = typer.Typer(
    help="The GRPO speedrun: make, verify, reproduce and audit records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain text: half the time to start, and no frame that takes a third of 80 columns
)
for group in (submissions, evaluate, verify, audit, keys):
    app.add_typer(group.app)
app.add_typer(tracks.app, name="tracks")
app.add_typer(tasks.app, name="tasks")
app.add_typer(ledger.app, name="ledger")


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"nano-r1 {version('nano-r1')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    """The GRPO speedrun: make, verify, reproduce and audit records."""


def main() -> None:
    """Entry point: every expected error becomes one clear line, without a traceback."""
    use_utf8()
    try:
        exit_code = app(prog_name="nano-r1", standalone_mode=False)
    except NanoR1Error as error:
        stop(str(error), error.exit_code)
    except FrozenError as error:
        stop(str(error))
    except typer.TyperException as error:
        stop_at_usage(error)
    except PermissionError as error:
        stop(f"no permission: {error.filename or error}; choose a folder you may write to")
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))
    except (ValueError, RuntimeError) as error:
        if (type(error).__module__, type(error).__name__) not in CLIENT_ERRORS:
            raise
        stop(str(error))
    raise SystemExit(exit_code or 0)


def use_utf8() -> None:
    """Read and write files as UTF-8, in this process and those that it starts, also where the locale is another.

    Python's UTF-8 mode can only be had from the start, so in such a locale the command starts again. The terminal
    still gets its own encoding.
    """
    encoding = locale.getencoding()
    if encoding.lower() in ("utf-8", "utf8"):
        return
    if not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper) and stream.isatty():
            stream.reconfigure(encoding=encoding, errors="replace")


def stop_at_usage(error: typer.TyperException) -> None:
    """A command line that cannot be parsed: say what is wrong with it, and where its options are listed."""
    message = error.format_message()
    if message.startswith("Usage:"):  # a group without a command: its help
        sys.stderr.write(f"{message}\n")
        raise SystemExit(2)
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "nano-r1"
    stop(f"{message[:1].lower()}{message[1:].rstrip('.')}; see `{command} --help`")
