"""Verify submissions, resume a session, reproduce a record."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import DEFAULT_KEY, FoldersTrack, Json, KeyFile, LedgerFolder
from harness.cli.terminal import cancel_on_signal, console, escape, make_table, print_json, stop

if TYPE_CHECKING:
    from rich.console import Console

    from harness.ledger.record import BenchmarkScore, Verdict
    from harness.tracks.track import Track
    from harness.verify.session import Where


def _needs_its_gpus(track: Track) -> None:
    """Stop where a GPU track would be run without the GPUs: nothing that came of it could count."""
    if track.hardware.kind == "gpu" and (here := len(list(Path("/dev").glob("nvidia[0-9]*")))) < track.hardware.gpus:
        stop(
            f"{track.name} runs on {track.hardware.label}, and this machine has {here or 'none'}; "
            f"`nano-r1 tracks plan {track.name}` says what it would take"
        )


def verify(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Submissions; several share one set of baseline runs.")
    ] = None,
    track: FoldersTrack = None,
    runs: Annotated[int | None, typer.Option(min=1, max=100, help="Runs each. Default: the track's number.")] = None,
    ledger: LedgerFolder = Path("runs/records"),
    key: KeyFile = DEFAULT_KEY,
    resume: Annotated[
        str | None,
        typer.Option(metavar="ENTRY", help="Go on with this session, which was killed; no submissions then."),
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
    """Run submissions in the sandbox in turn with the baseline, judge, sign, append to the ledger."""
    from harness import submission
    from harness.ledger.log import Ledger
    from harness.ledger.signature import load_key
    from harness.tracks import track as module
    from harness.verify.journal import default_state
    from harness.verify.reporter import TerminalReporter
    from harness.verify.session import Interrupted
    from harness.verify.session import resume as resume_verification
    from harness.verify.session import verify as run_verification

    if bool(folders) == (resume is not None):
        stop("name the submissions to verify, or a session to go on with (--resume ENTRY), not both")
    if resume is not None and not control:
        stop("--no-control is for the beginning of a session: this one goes on as it was announced")
    items = [submission.load(folder) for folder in folders or []]
    chosen = module.load(track or submission.track_of(items)) if items else None  # a killed session has its own
    if chosen is not None and cluster is None:  # else its nodes are asked
        _needs_its_gpus(chosen)
    signing, log, state = load_key(key), Ledger(ledger), default_state()
    with cancel_on_signal() as cancel, _where(cluster) as where, TerminalReporter(quiet=as_json) as reporter:
        try:
            if chosen is not None:
                outcomes = run_verification(
                    chosen, items, runs=runs or chosen.verdict.runs, ledger=log, key=signing, state=state,
                    reporter=reporter, cancel=cancel, control=control, where=where,
                )  # fmt: skip
            else:
                assert resume is not None
                outcomes = resume_verification(
                    resume, ledger=log, key=signing, state=state, reporter=reporter, cancel=cancel, where=where
                )
        except Interrupted as error:
            reporter.say(f"interrupted: {error}. Nothing else was written; the next `nano-r1 verify` starts afresh.")
            raise typer.Exit(130) from None
    if as_json:
        print_json(
            [
                {
                    "name": o.name,
                    "record": str(o.folder) if o.folder else None,
                    "reason": o.reason,
                    "verdict": o.verdict.model_dump(mode="json") if o.verdict else None,
                    "benchmarks": {name: score.model_dump() for name, score in (o.benchmarks or {}).items()},
                }
                for o in outcomes
            ]
        )
    else:
        out = console()
        for outcome in outcomes:
            if outcome.verdict is None:
                out.print(f"[bold red]{outcome.name}: no record.[/] {escape(outcome.reason or '')}")
            else:
                _show_verdict(out, outcome.name, outcome.verdict)
                _show_benchmarks(out, outcome.benchmarks or {})
                out.print(f"signed: {outcome.folder}/record.json", soft_wrap=True)
    if any(outcome.verdict is None for outcome in outcomes):
        raise typer.Exit(1)


def _where(cluster: str | None) -> contextlib.AbstractContextManager[Where]:
    """Where a session's runs are made."""
    from harness.verify.session import HERE

    if cluster is None:
        return contextlib.nullcontext(HERE)
    from harness.verify.cluster import Cluster

    return Cluster(cluster)


def _show_verdict(out: Console, name: str, verdict: Verdict) -> None:
    table = make_table("gate", "accuracy", "95% interval", "needed", "sigma", "p", title=f"{name}: verdict")
    for gate, test in verdict.gates.items():
        a = test.accuracy_ppm
        table.add_row(
            gate,
            f"{a.mean / 1e6:.4f}",
            f"{a.low / 1e6:.4f} – {a.high / 1e6:.4f}" if test.p_ppb is not None else "one run",
            f"> {test.gate_ppm / 1e6:.2f}",
            f"{test.sigma_ppm / 1e6:.4f}" if test.p_ppb is not None else "",
            f"{test.p_ppb / 1e9:.2g}" if test.p_ppb is not None else "",
        )
    out.print(table)
    cost = verdict.relative_cost_ppm
    out.print(f"wall time over the baseline's {cost.mean / 1e6:.3f} ({cost.low / 1e6:.3f} – {cost.high / 1e6:.3f})")
    if verdict.standing_p_ppb is not None:
        out.print(f"against {verdict.standing}: p = {verdict.standing_p_ppb / 1e9:.3g} (one-sided Mann-Whitney)")
    if verdict.control_ppm is not None:
        learned = ", ".join(f"{name} {value / 1e6:.3f}" for name, value in verdict.control_ppm.items())
        out.print(f"control run, on scores that say nothing: {learned}")
    for reason in verdict.reasons:
        out.print(f"- {reason}", markup=False)
    label = "RECORD" if verdict.record else "valid, no record" if verdict.valid else "not valid as an official result"
    out.print(f"[bold]{label}[/]")


def _show_benchmarks(out: Console, benchmarks: Mapping[str, BenchmarkScore]) -> None:
    if not benchmarks:
        return
    table = make_table("reported, deciding nothing", "accuracy", "95% interval", "control run", "95% interval")
    for name, score in benchmarks.items():
        cells = [(f"{a.mean / 1e6:.4f}", f"{a.low / 1e6:.4f} – {a.high / 1e6:.4f}") if a else ("none", "")
                 for a in (score.accuracy_ppm, score.control_ppm)]  # fmt: skip
        table.add_row(name, *cells[0], *cells[1])
    out.print(table)


def reproduce(
    record_folder: Annotated[Path, typer.Argument(metavar="RECORD", help="Folder of a record.")],
    runs: Annotated[int, typer.Option(min=1, max=100, help="Runs to make.")] = 1,
    as_json: Json = False,
) -> None:
    """Run a record's submission again, in turn with the baseline, and say whether it agrees. Writes no record."""
    from dataclasses import asdict

    from harness.ledger import record
    from harness.tracks import track as module
    from harness.verify.journal import default_state
    from harness.verify.reporter import TerminalReporter
    from harness.verify.reproduce import reproduce as run_reproduction
    from harness.verify.session import Interrupted

    path = record_folder / "record.json"
    if not path.is_file():
        stop(f"{path} is missing; name a folder under records/")
    item = record.load(path.read_bytes())
    _needs_its_gpus(module.load(item.predicate.track.partition("@")[0]))
    with cancel_on_signal() as cancel, TerminalReporter(quiet=as_json) as reporter:
        try:
            found = run_reproduction(item, runs=runs, state=default_state(), reporter=reporter, cancel=cancel)
        except Interrupted:
            raise typer.Exit(130) from None
    if as_json:
        print_json([{**asdict(row), "agrees": row.agrees} for row in found])
    else:
        table = make_table("quantity", "record", "99% prediction interval", "here", "")
        for row in found:
            mark = "[green]agrees[/]" if row.agrees else "[red]differs[/]"
            table.add_row(
                row.quantity, f"{row.recorded:.4f}", f"{row.low:.4f} – {row.high:.4f}", f"{row.found:.4f}", mark
            )
        console().print(table)
    if not all(row.agrees for row in found):
        raise typer.Exit(1)
