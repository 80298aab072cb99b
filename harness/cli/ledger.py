"""Look after a ledger."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DEFAULT_KEY, RECORDS, Json, KeyFile, LedgerFolder
from harness.cli.terminal import console, print_json, stop

app = typer.Typer(help="Look after a ledger: status of records, merges, interrupted appends.", no_args_is_help=True)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        stop(f"{folder} is not a folder; point --ledger at a ledger")
    return folder


@app.command()
def show(ledger: LedgerFolder = RECORDS, as_json: Json = False) -> None:
    """Sessions, open commitments, and every record with its status and whose word it is."""
    from harness.ledger.log import Ledger

    state = Ledger(_existing(ledger)).state()
    if as_json:
        print_json(
            {
                "sessions": [
                    {
                        "entry": entry,
                        "created_utc": session.commitment.created_utc,
                        "signer": session.commitment.signer,
                        "track": session.commitment.track,
                        "submissions": [each.name for each in session.commitment.submissions],
                        "open": session.open,
                    }
                    for entry, session in state.sessions.items()
                ],
                "records": [
                    {
                        "record": folder,
                        "track": known.track,
                        "signer": known.signer,
                        "authority": known.authority,
                        "status": known.status,
                        "rule": known.change.rule if known.change else None,
                        "reason": known.change.reason if known.change else None,
                        "stands": state.standing(known.track) == folder,
                    }
                    for folder, known in state.records.items()
                ],
            }
        )
        return
    for entry, session in state.sessions.items():
        names = ", ".join(each.name for each in session.commitment.submissions)
        left = f", open: {', '.join(session.open)}" if session.open else ""
        typer.echo(f"session {entry} by {session.commitment.signer} on {session.commitment.track}: {names}{left}")
    for folder, known in state.records.items():
        status = f"{known.status}, stands" if state.standing(known.track) == folder else known.status
        why = f" under {known.change.rule}: {known.change.reason}" if known.change else ""
        typer.echo(f"record {folder} by {known.signer} on {known.track}: {known.authority}, {status}{why}")


@app.command()
def status(
    record: Annotated[str, typer.Argument(help="Folder of a record, such as 2026-11-20_cpu-logic_lean.")],
    status: Annotated[str, typer.Argument(help="verified, disputed, withdrawn or superseded.")],
    rule: Annotated[str, typer.Option(help="The rule that it follows from: R1 to R13 of CONTRIBUTING.md.")],
    reason: Annotated[str, typer.Option(help="Why, in one line; the board shows it.")],
    ledger: LedgerFolder = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Change what a record counts for, in a signed entry. The latest entry about a record wins."""
    from harness.ledger.log import Ledger, status_change
    from harness.ledger.signature import load_key

    signing = load_key(key)
    change = status_change(Path(record).name, status, rule, reason, signing.identity, datetime.now(UTC))
    path = Ledger(_existing(ledger)).set_status(change, signing)
    console().print(f"{change.record} is {change.status} under {change.rule}: {path}", soft_wrap=True, markup=False)


@app.command()
def abandon(
    entry: Annotated[str, typer.Argument(help="The announcement, as `nano-r1 ledger show` names it.")],
    reason: Annotated[str, typer.Option(help="Why there will be no record, in one line.")],
    ledger: LedgerFolder = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Close what is open of a session that cannot be resumed: its journal is lost, or its machine is gone."""
    from harness.ledger.log import Ledger
    from harness.ledger.signature import load_key
    from harness.verify import session as verify

    signing, folder = load_key(key), Ledger(_existing(ledger))
    announced = next((each for each in folder.open_commitments() if each.id == entry), None)
    if announced is None:
        stop(f"{entry} is not open in {ledger}; `nano-r1 ledger show --ledger {ledger}` lists what is")
    left = folder.open_submissions(entry)
    verify.abandon(folder, signing, announced, None, reason)
    console().print(f"closed without a record: {', '.join(left)}", soft_wrap=True, markup=False)


@app.command()
def repair(ledger: LedgerFolder = RECORDS) -> None:
    """Finish or drop an append that was interrupted. Each append does this first; it needs no key."""
    from harness.ledger.log import Ledger

    found = Ledger(_existing(ledger)).repair()
    console().print("an interrupted append was cleared up" if found else "nothing to repair")


@app.command()
def merge(
    theirs: Annotated[str, typer.Option(help="The other side, as git names it: a branch, a commit, MERGE_HEAD.")],
    ledger: LedgerFolder = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Append the entries of another branch that this log lacks, and sign the checkpoint. Changes no commit."""
    from harness.ledger.history import Git
    from harness.ledger.log import TRUSTED, Ledger
    from harness.ledger.signature import load_key

    signing = load_key(key)
    with Git(_existing(ledger)) as git:
        commit = git.commit(theirs)
        added = Ledger(ledger).merge(git.reader(commit), signing)
        out = console()
        for path in added:
            out.print(f"appended {path}", soft_wrap=True, markup=False)
        out.print(f"{len(added)} new from {theirs}", markup=False)
        for name in TRUSTED:
            here = (ledger / name).read_bytes() if (ledger / name).is_file() else b""
            for line in (git.read(commit, name) or b"").decode(errors="replace").splitlines():
                if line not in here.decode(errors="replace").splitlines():
                    out.print(f"only theirs, add it if you vouch for it: {name}: {line}", soft_wrap=True, markup=False)
