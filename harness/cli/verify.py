"""Verify submissions, resume a session, reproduce a record."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_KEY, RECORDS, Json, KeyFile, SubmissionsTrack
from harness.cli.terminal import cancel_on_signal, console, escape, make_table, print_json, stop
from harness.errors import meant_beside

if TYPE_CHECKING:
    from harness.ledger.record import BenchmarkScore, Interval, Verdict
    from harness.verify.close import BoardComparison, Outcome
    from harness.verify.executor import Executor
    from harness.verify.reporter import TerminalReporter
    from harness.verify.reproduce import Comparison

app = typer.Typer()


@app.command()
def verify(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Submissions; several share one set of baseline runs."),
    ] = None,
    track: SubmissionsTrack = None,
    runs: Annotated[
        int | None,
        typer.Option(min=1, max=100, metavar="N", help="Runs of each submission. Default: the track's number."),
    ] = None,
    ledger: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder of the ledger.")] = Path("runs/records"),
    key: KeyFile = DEFAULT_KEY,
    resume: Annotated[
        str | None,
        typer.Option(metavar="ENTRY", help="Resume this session, which was killed, instead of naming submissions."),
    ] = None,
    control: Annotated[
        bool, typer.Option("--control/--no-control", help="Without the control run no result is valid.")
    ] = True,
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Make the runs on the nodes of this Ray cluster: HOST:PORT, or auto."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Verify submissions and record the result.

    Tries each for a moment, announces the session, runs them in the sandbox in turn with the baseline, judges, signs,
    and appends to the ledger. The exit code is 1 if a submission gets no record.
    """
    from harness import submission
    from harness.ledger.signature import load_key
    from harness.ledger.store import Ledger
    from harness.tracks import track as tracks
    from harness.verify import session, trial
    from harness.verify.journal import default_state
    from harness.verify.local import check_gpus

    if bool(folders) == (resume is not None):
        stop("name the submissions to verify, or a session to resume (--resume ENTRY), not both")
    if resume is not None and not control:
        stop("--no-control is for the start of a session: this one is resumed as it was announced")
    submissions = [submission.load(folder) for folder in folders or []]
    chosen = tracks.load(track or submission.track_of(submissions)) if submissions else None
    if chosen is not None and cluster is None:  # the nodes of a cluster are asked later
        check_gpus(chosen)
    signing_key, store = load_key(key), Ledger(ledger)
    with _executor(cluster) as executor, _session(as_json) as (reporter, cancel):
        verifier = session.Verifier(store, signing_key, default_state(), reporter, cancel, executor)
        if chosen is not None:
            if cluster is None:
                trial.try_out(chosen, submissions, verifier)
            outcomes = session.verify(chosen, submissions, verifier, runs=runs or chosen.verdict.runs, control=control)
        else:
            assert resume is not None
            outcomes = session.resume(resume, verifier)
    _show_outcomes(outcomes, ledger, as_json)
    if any(outcome.verdict is None for outcome in outcomes):
        raise typer.Exit(1)


@contextlib.contextmanager
def _session(quiet: bool) -> Iterator[tuple[TerminalReporter, threading.Event]]:
    """A reporter, and an event that Ctrl-C sets; a session that was interrupted ends the command with code 130."""
    from harness.verify.executor import Interrupted
    from harness.verify.reporter import TerminalReporter

    with cancel_on_signal() as cancel, TerminalReporter(quiet=quiet) as reporter:
        try:
            yield reporter, cancel
        except Interrupted as error:
            if str(error):
                reporter.say(
                    f"interrupted: {error}. Nothing else was written; the next `nano-r1 verify` starts afresh."
                )
            raise typer.Exit(130) from None


def _executor(cluster: str | None) -> contextlib.AbstractContextManager[Executor]:
    """What makes a session's runs: this machine, or the cluster at this address."""
    from harness.verify.cluster import ClusterExecutor
    from harness.verify.local import LocalExecutor

    return contextlib.nullcontext(LocalExecutor()) if cluster is None else ClusterExecutor(cluster)


def _outcome_json(outcome: Outcome, ledger: Path) -> dict[str, object]:
    from dataclasses import asdict

    best = _board_record(outcome, ledger)
    return {
        "name": outcome.name,
        "record": str(outcome.folder) if outcome.folder else None,
        "reason": outcome.reason,
        "log": str(outcome.log) if outcome.log else None,
        "verdict": outcome.verdict.model_dump(mode="json") if outcome.verdict else None,
        "board": asdict(best) | {"relative_cost_ppm": best.relative_cost_ppm.model_dump()} if best else None,
        "benchmarks": {name: score.model_dump() for name, score in (outcome.benchmarks or {}).items()},
    }


def _board_record(outcome: Outcome, ledger: Path) -> BoardComparison | None:
    """How a record of another ledger compares with the one that stands on the board, this repository's."""
    from harness.ledger.errors import LedgerError
    from harness.ledger.store import Ledger
    from harness.verify.close import compare_with_board

    if outcome.folder is None or ledger.resolve() == RECORDS:
        return None
    try:
        return compare_with_board(outcome.folder, Ledger(RECORDS))
    except LedgerError as error:  # the record is made and signed: a damaged board does not undo it
        console().print(f"the board's record cannot be read: {error}", markup=False, soft_wrap=True)
        return None


def _show_outcomes(outcomes: Sequence[Outcome], ledger: Path, as_json: bool) -> None:
    if as_json:
        print_json([_outcome_json(outcome, ledger) for outcome in outcomes])
        return
    out = console()
    for outcome in outcomes:
        if outcome.verdict is None:
            log = f"; its log is {outcome.log}" if outcome.log else ""
            out.print(f"[bold red]{outcome.name}: no record.[/] {escape((outcome.reason or '') + log)}", soft_wrap=True)
        else:
            _show_verdict(outcome.name, outcome.verdict, _board_record(outcome, ledger))
            _show_benchmarks(outcome.benchmarks or {})
            out.print(f"signed: {outcome.folder}/record.json", soft_wrap=True)


def _show_verdict(name: str, verdict: Verdict, best: BoardComparison | None) -> None:
    from harness.board.rows import cost_text

    table = make_table("gate", "accuracy", "95% interval", "needed", "sigma", "p", title=f"{name}: verdict")
    for gate, test in verdict.gates.items():
        several = test.p_ppb is not None
        table.add_row(
            gate,
            f"{test.accuracy_ppm.mean / 1e6:.4f}",
            _interval(test.accuracy_ppm) if several else "one run",
            f"> {test.gate_ppm / 1e6:.2f}",
            f"{test.sigma_ppm / 1e6:.4f}" if several else "",
            f"{test.p_ppb / 1e9:.2g}" if test.p_ppb is not None else "",
        )
    out = console()
    out.print(table)
    one_run = all(test.p_ppb is None for test in verdict.gates.values())
    cost = cost_text(verdict.relative_cost_ppm) + (" (one run, so no interval)" if one_run else "")
    out.print(f"wall time over the baseline's {cost}")
    if verdict.standing_p_ppb is not None:
        out.print(f"against {verdict.standing}: p = {verdict.standing_p_ppb / 1e9:.3g} (one-sided Mann-Whitney)")
    if verdict.control_ppm is not None:
        learned = ", ".join(f"{task} {value / 1e6:.3f}" for task, value in verdict.control_ppm.items())
        out.print(f"control run, on scores that say nothing: {learned}")
    for reason in verdict.reasons:
        out.print(f"- {reason}", markup=False)
    if best is not None:
        would = "would beat it" if best.beaten else "would not beat it"
        out.print(
            f"the board's record: {best.name} {cost_text(best.relative_cost_ppm)}; yours {would} "
            f"(p = {best.p_ppb / 1e9:.3g})",
            soft_wrap=True,
        )
    is_record = verdict.record and (best is None or best.beaten)
    label = "RECORD" if is_record else "valid, no record" if verdict.valid else "not valid as an official result"
    out.print(f"[bold]{label}[/]")


def _show_benchmarks(benchmarks: Mapping[str, BenchmarkScore]) -> None:
    if not benchmarks:
        return
    table = make_table("reported, deciding nothing", "accuracy", "95% interval", "control run", "95% interval")
    for name, score in benchmarks.items():
        cells = [
            (f"{accuracy.mean / 1e6:.4f}", _interval(accuracy)) if accuracy else ("none", "")
            for accuracy in (score.accuracy_ppm, score.control_ppm)
        ]
        table.add_row(name, *cells[0], *cells[1])
    console().print(table)


def _interval(accuracy: Interval) -> str:
    return f"{accuracy.low / 1e6:.4f} – {accuracy.high / 1e6:.4f}"


@app.command()
def reproduce(
    record_folder: Annotated[Path, typer.Argument(metavar="RECORD", help="Folder of a record.")],
    runs: Annotated[int, typer.Option(min=1, max=100, metavar="N", help="Runs to make.")] = 1,
    as_json: Json = False,
) -> None:
    """Run a record's submission again and compare.

    Runs it in turn with the baseline; the exit code is 1 if a quantity is outside the 99% prediction interval of the
    record's own runs, and 2 if this machine cannot tell, since it was busy. Writes no record.
    """
    from dataclasses import asdict

    from harness.ledger import record
    from harness.tracks import track as tracks
    from harness.tracks.files import restore
    from harness.verify.journal import default_state
    from harness.verify.local import check_gpus
    from harness.verify.reproduce import reproduce as run_reproduction

    path = record_folder / "record.json"
    if not path.is_file():
        advice = "" if record_folder.is_dir() else meant_beside(record_folder)
        stop(f"{path} is missing; {advice or 'name a folder under records/'}")
    try:
        loaded = record.load(path.read_bytes())
    except record.RecordError as error:
        stop(f"{path}: {error}; {restore(path, 'name another record')}")
    check_gpus(tracks.load(loaded.predicate.track.partition("@")[0]))
    with _session(as_json) as (reporter, cancel):
        rows = run_reproduction(loaded, runs=runs, state=default_state(), reporter=reporter, cancel=cancel)
    if as_json:
        print_json([{**asdict(row), "agrees": row.agrees, "differs": row.differs} for row in rows])
    else:
        _show_comparisons(rows)
    if any(row.differs for row in rows):
        raise typer.Exit(1)
    if not all(row.agrees for row in rows):
        raise typer.Exit(2)


def _show_comparisons(rows: Sequence[Comparison]) -> None:
    out, table = console(), make_table("quantity", "record", "99% prediction interval", "here", "")
    for row in rows:
        mark = "[green]agrees[/]" if row.agrees else "[red]differs[/]" if row.differs else "[yellow]cannot tell[/]"
        figures = [f"{value:,.0f}" if row.recorded >= 100 else f"{value:.4f}" for value in row.values]
        table.add_row(row.quantity, figures[0], f"{figures[1]} – {figures[2]}", figures[3], mark)
    out.print(table)
    for row in rows:
        if not row.agrees and row.doubt:
            out.print(f"cannot tell on this machine whether the {row.quantity} agrees: {row.doubt}", soft_wrap=True)
