"""Re-check every record, render the board, examine this machine."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import RECORDS, ExistingLedger, Json
from harness.cli.terminal import console, escape, make_table, print_json, stop

app = typer.Typer()


@app.command()
def audit(
    ledger: ExistingLedger = RECORDS,
    board: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="The rendered board. Default: leaderboard beside the ledger."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option(min=0, metavar="K", help="Grade K records again, chosen at random. Default: all."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="A checkpoint that you kept: today's log must be a continuation of it."),
    ] = None,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print the checks that pass too.")] = False,
    as_json: Json = False,
) -> None:
    """Re-check every record, offline.

    Signatures, log, questions, grades, statistics, board. Prints what fails; the exit code is 1 if any check does.
    """
    from dataclasses import asdict

    from harness.audit.audit import audit as run_audit
    from harness.ledger.store import Ledger

    pages = board or ledger.resolve().parent / "leaderboard"
    if checkpoint is not None and not checkpoint.is_file():
        stop(f"{checkpoint} is not a file; --checkpoint takes a records/checkpoint that you kept")
    kept = None if checkpoint is None else checkpoint.read_bytes()
    start = time.monotonic()
    count = failed = 0
    for result in run_audit(Ledger(ledger), pages if pages.is_dir() else None, sample=sample, kept=kept):
        # Each is shown when it is found and then forgotten, so that no ledger is too long.
        if as_json:
            sys.stdout.write(",\n" if count else "[\n")
            sys.stdout.write(json.dumps(asdict(result), sort_keys=True))
        elif verbose or not result.ok:
            mark = typer.style("ok  ", fg="green") if result.ok else typer.style("FAIL", fg="red", bold=True)
            typer.echo(f"{mark} {result.check:20s} {result.file}: {result.message}")
        count, failed = count + 1, failed + (not result.ok)
    if as_json:
        sys.stdout.write("\n]\n" if count else "[]\n")
    else:
        typer.echo(f"{count} checks, {failed} failed, {time.monotonic() - start:.1f} s")
    if failed:
        raise typer.Exit(1)


@app.command()
def leaderboard(
    ledger: ExistingLedger = RECORDS,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Where it goes. Default: leaderboard beside the ledger.")
    ] = None,
    top: Annotated[
        str | None, typer.Option(metavar="TRACK", help="Print a track's ranked records here; write nothing.")
    ] = None,
) -> None:
    """Render the board from the ledger."""
    if top is not None:
        _print_ranked(ledger, top)
        return

    from harness.board.render import render

    for path in render(ledger, out or ledger.resolve().parent / "leaderboard"):
        console().print(str(path), soft_wrap=True)


def _print_ranked(ledger: Path, name: str) -> None:
    from harness.board.rows import accuracy_text, cost_text
    from harness.board.standings import read_ledger, standings
    from harness.tracks.track import load

    board = standings(load(name), *read_ledger(ledger))
    if not board.ranked:
        console().print(f"{board.track.id}: no ranked record in {ledger} yet", markup=False)
        return
    table = make_table("", "submission", "relative cost (95%)", "accuracy", "what changed")
    for rank, record in enumerate(board.ranked, 1):
        verdict = record.predicate.verdict
        cost, accuracy = cost_text(verdict.relative_cost_ppm), accuracy_text(verdict.gates["mean"].accuracy_ppm)
        table.add_row(str(rank), escape(record.name), cost, accuracy, escape(record.predicate.submission.change))
    console().print(table)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Try what this machine can isolate and meter.

    The exit code is 1 where no valid record can be made.
    """
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
                table.add_row(check.name, "[green]ok[/]" if check.ok else "[red]FAILED[/]", escape(check.detail))
            out.print(table)
        for reason in isolation.reasons:
            out.print(f"- {reason}", markup=False, soft_wrap=True)
        out.print(f"isolation: [bold]{proven}[/]")
        if isolation.level == "none":
            out.print("Records made here are self-reported.")
        elif proven == "none":
            out.print("A check failed: records made here are never valid until it passes.")
    if proven == "none":
        raise typer.Exit(1)
