"""Re-check every record, render the board, examine this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RECORDS, Json, LedgerFolder
from harness.cli.terminal import console, make_table, print_json, stop


def audit(
    ledger: LedgerFolder = RECORDS,
    board: Annotated[Path | None, typer.Option(help="Rendered board. Default: leaderboard beside the ledger.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Grade K records again, drawn afresh. Default: all.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that you kept: today's log must go on from it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Re-check every record offline: signatures, log, questions, grades, statistics, board."""
    import time
    from dataclasses import asdict

    from harness.audit.audit import audit as run_audit
    from harness.ledger.log import Ledger

    if not ledger.is_dir():
        stop(f"{ledger} is not a folder; point --ledger at a ledger")
    pages = board or ledger.resolve().parent / "leaderboard"
    kept = None if checkpoint is None else checkpoint.read_bytes()
    start = time.monotonic()
    count = failed = 0
    for finding in run_audit(Ledger(ledger), pages if pages.is_dir() else None, sample=sample, kept=kept):
        # Each is shown when it is found and then forgotten, so that no ledger is too long.
        if as_json:
            sys.stdout.write(",\n" if count else "[\n")
            sys.stdout.write(json.dumps(asdict(finding), sort_keys=True))
        else:
            mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red", bold=True)
            typer.echo(f"{mark} {finding.check:20s} {finding.file}: {finding.message}")
        count, failed = count + 1, failed + (not finding.ok)
    if as_json:
        sys.stdout.write("\n]\n" if count else "[]\n")
    else:
        typer.echo(f"{count} checks, {failed} failed, {time.monotonic() - start:.1f} s")
    if failed:
        raise typer.Exit(1)


def leaderboard(
    ledger: LedgerFolder = RECORDS,
    out: Annotated[Path | None, typer.Option(help="Folder to write. Default: leaderboard beside the ledger.")] = None,
) -> None:
    """Render the board from the ledger."""
    from harness.board.render import render

    if not ledger.is_dir():
        stop(f"{ledger} is not a folder; point --ledger at a ledger")
    written = render(ledger, out or ledger.resolve().parent / "leaderboard")
    for path in written:
        console().print(str(path), soft_wrap=True)


def doctor_command(as_json: Json = False) -> None:
    """Say what this machine can and cannot isolate and meter, by trying."""
    from harness.isolation import doctor, sandbox

    isolation = sandbox.isolation()
    checks = doctor.checks() if isolation.level == "full" else []
    proven = doctor.proven({check.name: check.ok for check in checks})  # what a record made here would say
    if as_json:
        print_json(
            {
                "isolation": proven,
                "reasons": isolation.reasons,
                "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in checks},
            }
        )
    else:
        out = console()
        if checks:
            table = make_table("check", "", "detail")
            for check in checks:
                table.add_row(check.name, "[green]ok[/]" if check.ok else "[red]FAILED[/]", check.detail)
            out.print(table)
        for reason in isolation.reasons:
            out.print(f"- {reason}")
        out.print(f"isolation: [bold]{proven}[/]")
        if isolation.level == "none":
            out.print("Records made here are self-reported. To mend it: [bold]sudo apt-get install bubblewrap[/]")
        elif proven == "none":
            out.print("A check failed: records made here are never valid until it passes.")
    if proven == "none":
        raise typer.Exit(1)
