"""Verify submissions, resume a session, reproduce a record."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_KEY, Json, KeyFile, SubmissionsTrack
from harness.cli.terminal import cancel_on_signal, console, escape, make_table, print_json, stop

if TYPE_CHECKING:
    from harness.ledger.record import BenchmarkScore, Interval, Verdict
    from harness.verify.close import Outcome
    from harness.verify.executor import Executor
    from harness.verify.reporter import TerminalReporter

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

    Runs them in the sandbox in turn with the baseline, judges, signs, and appends to the ledger. The exit code is 1 if
    a submission gets no record.
    """
    from harness import submission
    from harness.ledger.signature import load_key
    from harness.ledger.store import Ledger
    from harness.tracks import track as tracks
    from harness.verify import session
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
            outcomes = session.verify(chosen, submissions, verifier, runs=runs or chosen.verdict.runs, control=control)
        else:
            assert resume is not None
            outcomes = session.resume(resume, verifier)
    if as_json:
        print_json([_outcome_json(outcome) for outcome in outcomes])
    else:
        _show_outcomes(outcomes)
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


def _outcome_json(outcome: Outcome) -> dict[str, object]:
    return {
        "name": outcome.name,
        "record": str(outcome.folder) if outcome.folder else None,
        "reason": outcome.reason,
        "verdict": outcome.verdict.model_dump(mode="json") if outcome.verdict else None,
        "benchmarks": {name: score.model_dump() for name, score in (outcome.benchmarks or {}).items()},
    }


def _show_outcomes(outcomes: Sequence[Outcome]) -> None:
    out = console()
    for outcome in outcomes:
        if outcome.verdict is None:
            out.print(f"[bold red]{outcome.name}: no record.[/] {escape(outcome.reason or '')}")
        else:
            _show_verdict(outcome.name, outcome.verdict)
            _show_benchmarks(outcome.benchmarks or {})
            out.print(f"signed: {outcome.folder}/record.json", soft_wrap=True)


def _show_verdict(name: str, verdict: Verdict) -> None:
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
    cost = verdict.relative_cost_ppm
    out.print(f"wall time over the baseline's {cost.mean / 1e6:.3f} ({cost.low / 1e6:.3f} – {cost.high / 1e6:.3f})")
    if verdict.standing_p_ppb is not None:
        out.print(f"against {verdict.standing}: p = {verdict.standing_p_ppb / 1e9:.3g} (one-sided Mann-Whitney)")
    if verdict.control_ppm is not None:
        learned = ", ".join(f"{task} {value / 1e6:.3f}" for task, value in verdict.control_ppm.items())
        out.print(f"control run, on scores that say nothing: {learned}")
    for reason in verdict.reasons:
        out.print(f"- {reason}", markup=False)
    label = "RECORD" if verdict.record else "valid, no record" if verdict.valid else "not valid as an official result"
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
    record's own runs. Writes no record.
    """
    from dataclasses import asdict

    from harness.ledger import record
    from harness.tracks import track as tracks
    from harness.verify.journal import default_state
    from harness.verify.local import check_gpus
    from harness.verify.reproduce import reproduce as run_reproduction

    path = record_folder / "record.json"
    if not path.is_file():
        stop(f"{path} is missing; name a folder under records/")
    try:
        loaded = record.load(path.read_bytes())
    except record.RecordError as error:
        stop(f"{path}: {error}; restore it with git")
    check_gpus(tracks.load(loaded.predicate.track.partition("@")[0]))
    with _session(as_json) as (reporter, cancel):
        rows = run_reproduction(loaded, runs=runs, state=default_state(), reporter=reporter, cancel=cancel)
    if as_json:
        print_json([{**asdict(row), "agrees": row.agrees} for row in rows])
    else:
        table = make_table("quantity", "record", "99% prediction interval", "here", "")
        for row in rows:
            mark = "[green]agrees[/]" if row.agrees else "[red]differs[/]"
            interval = f"{row.low:.4f} – {row.high:.4f}"
            table.add_row(row.quantity, f"{row.recorded:.4f}", interval, f"{row.measured:.4f}", mark)
        console().print(table)
    if not all(row.agrees for row in rows):
        raise typer.Exit(1)
