"""Look after a ledger: what is in it, the status of records, merges, interrupted appends."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_KEY, RECORDS, ExistingLedger, Json, KeyFile
from harness.cli.terminal import console, print_json, printable, stop
from harness.errors import meant

if TYPE_CHECKING:
    from harness.ledger.state import Session, State

app = typer.Typer(help="Show and maintain a ledger.", no_args_is_help=True)


@app.command()
def show(ledger: ExistingLedger = RECORDS, as_json: Json = False) -> None:
    """List the sessions and the records of a ledger.

    Of a session: what was abandoned and why, and what is still open. Of a record: its status, and whether an official
    key signed it.
    """
    from harness.ledger.store import Ledger

    state = Ledger(ledger).state()
    if as_json:
        _print_state_json(state)
        return
    for entry, session in state.sessions.items():
        announcement = session.announcement
        names = ", ".join(submission.name for submission in announcement.submissions)
        line = f"session {entry} by {announcement.signer} on {announcement.track}: {names}{_endings(session)}"
        typer.echo(printable(line))  # what somebody else's key signed may hold anything
    for folder, record in state.records.items():
        status = f"{record.status}, stands" if state.standing(record.track) == folder else record.status
        reason = f" under {record.change.rule}: {record.change.reason}" if record.change else ""
        typer.echo(
            printable(f"record {folder} by {record.signer} on {record.track}: {record.authority}, {status}{reason}")
        )


def _endings(session: Session) -> str:
    """What has come of it besides records."""
    reasons: dict[str, list[str]] = {}
    for name, abandonment in session.abandoned.items():
        reasons.setdefault(abandonment.reason, []).append(name)
    parts = [f", abandoned: {', '.join(names)} ({reason})" for reason, names in reasons.items()]
    parts += [f", open: {', '.join(session.open)}"] if session.open else []
    return "".join(parts)


def _print_state_json(state: State) -> None:
    print_json(
        {
            "sessions": [
                {
                    "entry": entry,
                    "created_utc": session.announcement.created_utc,
                    "signer": session.announcement.signer,
                    "track": session.announcement.track,
                    "submissions": [submission.name for submission in session.announcement.submissions],
                    "open": session.open,
                    "abandoned": {name: abandonment.reason for name, abandonment in session.abandoned.items()},
                }
                for entry, session in state.sessions.items()
            ],
            "records": [
                {
                    "record": folder,
                    "track": record.track,
                    "signer": record.signer,
                    "authority": record.authority,
                    "status": record.status,
                    "rule": record.change.rule if record.change else None,
                    "reason": record.change.reason if record.change else None,
                    "stands": state.standing(record.track) == folder,
                }
                for folder, record in state.records.items()
            ],
        }
    )


@app.command()
def status(
    record: Annotated[
        str, typer.Argument(metavar="RECORD", help="Folder of a record, such as 2026-11-20_cpu-logic_lean.")
    ],
    status: Annotated[str, typer.Argument(metavar="STATUS", help="verified, disputed, withdrawn or superseded.")],
    rule: Annotated[
        str, typer.Option(metavar="RULE", help="The rule that it follows from: R1 to R13 of CONTRIBUTING.md.")
    ],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why, in one line; the board shows it.")],
    ledger: ExistingLedger = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Change the status of a record.

    Appends a signed entry; the latest entry about a record counts.
    """
    from harness.ledger.entries import status_change
    from harness.ledger.signature import load_key
    from harness.ledger.store import Ledger

    signing_key = load_key(key)
    change = status_change(Path(record).name, status, rule, reason, signing_key.identity, datetime.now(UTC))
    path = Ledger(ledger).set_status(change, signing_key)
    console().print(f"{change.record} is {change.status} under {change.rule}: {path}", soft_wrap=True, markup=False)


@app.command()
def abandon(
    entry: Annotated[str, typer.Argument(metavar="ENTRY", help="The announcement, as `nano-r1 ledger show` names it.")],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why there will be no record, in one line.")],
    ledger: ExistingLedger = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Close a session that cannot be resumed.

    For one whose journal is lost or whose machine is gone. Its open submissions end without a record.
    """
    from harness.ledger.signature import load_key
    from harness.ledger.store import Ledger
    from harness.verify.close import abandon as close_session

    signing_key, store = load_key(key), Ledger(ledger)
    announced = next((announced for announced in store.open_announcements() if announced.id == entry), None)
    if announced is None:
        near = meant(entry, (announced.id for announced in store.open_announcements()))
        stop(f"{entry} is not open in {ledger}; {near or f'`nano-r1 ledger show --ledger {ledger}` lists what is'}")
    names = store.open_submissions(entry)
    close_session(store, signing_key, announced, None, reason)
    console().print(f"closed without a record: {', '.join(names)}", soft_wrap=True, markup=False)


@app.command()
def repair(ledger: ExistingLedger = RECORDS) -> None:
    """Finish or drop an append that was interrupted.

    Every append does this first. It needs no key.
    """
    from harness.ledger.store import Ledger

    repaired = Ledger(ledger).repair()
    console().print("an interrupted append was cleared up" if repaired else "nothing to repair")


@app.command()
def merge(
    theirs: Annotated[
        str, typer.Option(metavar="COMMIT", help="The other side, as git names it: a branch, a commit, MERGE_HEAD.")
    ],
    ledger: ExistingLedger = RECORDS,
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Append the entries of another branch.

    Appends those that this log lacks, and signs the checkpoint. No commit is changed. Keys that only the other
    branch trusts are printed: whether to add them is up to you.
    """
    from harness.ledger.git import Git, NoRepository
    from harness.ledger.merge import merge as merge_logs
    from harness.ledger.merge import trusted_only_there
    from harness.ledger.signature import load_key
    from harness.ledger.store import Ledger

    signing_key, out = load_key(key), console()
    try:
        repository = Git(ledger)
    except NoRepository as error:
        stop(f"{ledger}: {error}; --theirs is read from the git repository around the ledger")
    with repository as git:
        commit = git.commit(theirs)
        appended = merge_logs(Ledger(ledger), git.reader(commit), signing_key)
        for path in appended:
            out.print(f"appended {path}", soft_wrap=True, markup=False)
        out.print(f"{len(appended)} new from {theirs}", markup=False)
        for file, line in trusted_only_there(git, commit, ledger):
            out.print(f"only theirs, add it if you vouch for it: {file}: {line}", soft_wrap=True, markup=False)
