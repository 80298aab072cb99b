"""List the tracks, plan one for GPUs, download what it needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json
from harness.cli.terminal import console, escape, make_table, print_json, stop

if TYPE_CHECKING:
    from harness.planning.plan import Plan
    from harness.tracks.track import Track

app = typer.Typer(help="List the tracks; plan one for GPUs; download its base model.")

Name = Annotated[str, typer.Argument(metavar="TRACK", help="A track; see `nano-r1 tracks`.")]


@app.callback(invoke_without_command=True)
def list_tracks(context: typer.Context, as_json: Json = False) -> None:
    """List the tracks; plan one for GPUs; download its base model.

    Without a command: every track's status, hardware, budget, gate and digest.
    """
    if context.invoked_subcommand is not None:
        return
    from harness.tracks import track as module
    from harness.tracks.measured import false_claim, recorded

    tracks, unreadable = module.load_all()
    digests = {track.name: _digest(track) for track in tracks}
    faults = [str(error) for error in unreadable.values()]
    made = recorded()
    faults += filter(None, (false_claim(track, made) for track in tracks if digests[track.name]))
    if as_json:
        print_json(
            [{**track.model_dump(mode="json"), "id": track.id, "digest": digests[track.name]} for track in tracks]
        )
        _stop_at(faults)
        return
    table = make_table("track", "status", "hardware", "budget", "runs", "gate: mean/each", "digest")
    for track in tracks:
        gates = [f"{gate / 1e6:.2f}" for gate in sorted(track.heldout.gates.values())]
        table.add_row(
            track.id,
            track.status if track.status == "measured" else f"[yellow]{track.status}[/]",
            track.hardware.label,
            f"{track.budget.seconds:,} s",
            str(track.verdict.runs),
            f"{track.heldout.mean_gate_ppm / 1e6:.2f}/{'–'.join(dict.fromkeys((gates[0], gates[-1])))}",
            (digests[track.name] or "not here")[:8],
        )
    console().print(table)
    if None in digests.values():
        console().print("not here: what draws its questions is not installed; scripts/setup.sh tasks", markup=False)
    _stop_at(faults)


def _stop_at(faults: list[str]) -> None:
    """Say what is wrong with some tracks, behind the list of the others."""
    if faults:
        stop("\nnano-r1: ".join(faults), exit_code=1)


def _digest(track: Track) -> str | None:
    """None where the package that draws its questions is not installed."""
    from harness.tasks.clue import ClueError
    from harness.tasks.gym.task import GymError

    try:
        return track.digest
    except (ClueError, GymError):
        return None


@app.command()
def plan(name: Name, as_json: Json = False) -> None:
    """Estimate the memory and cost of a GPU track.

    Prints memory, tokens, GPU-hours and dollars, and what they assume. A track that cannot fit is refused.
    """
    from dataclasses import asdict

    from harness.planning import plan as planning
    from harness.tracks import track as module

    estimate = planning.plan(module.load(name))
    if as_json:
        print_json(asdict(estimate))
        return
    _show_memory(estimate)
    _show_cost(estimate)
    out = console()
    out.print("Expected, not measured, if:")
    for line in estimate.assumptions:
        out.print(f"- {escape(line)}")


def _show_memory(estimate: Plan) -> None:
    table = make_table("on one GPU", "GB", title=f"{estimate.track}: {estimate.hardware}")
    for part, size in estimate.memory.items():
        table.add_row(part, f"{size / 1e9:.2f}")
    table.add_section()
    table.add_row("all at once", f"{estimate.memory_bytes / 1e9:.2f}")
    table.add_row("usable", f"{estimate.usable_bytes / 1e9:.2f}")
    table.add_section()
    table.add_row("the host, at least", f"{estimate.host_bytes / 1e9:.2f}")
    console().print(table)


def _show_cost(estimate: Plan) -> None:
    sharded = f", {estimate.sharded} of {estimate.tensors} tensors sharded" if estimate.sharded else ""
    table = make_table("a run", "", title=f"{estimate.parameters:,} weights, all of them trained{sharded}")
    table.add_row("tokens sampled", f"{estimate.sampled_tokens / 1e6:,.1f} M")
    table.add_row("tokens trained on", f"{estimate.trained_tokens / 1e6:,.1f} M")
    table.add_row("completions graded", f"{estimate.reward_queries:,}")
    table.add_row("start", f"{estimate.start_seconds:,} s")
    table.add_row("sampling", f"{estimate.sampling_seconds:,.0f} s")
    table.add_row("grading", f"{estimate.grading_seconds:,.0f} s")
    table.add_row("training", f"{estimate.training_seconds:,.0f} s")
    table.add_row("wall", f"{estimate.seconds:,.0f} s of {estimate.budget_seconds:,} s")
    table.add_row("cost", f"{estimate.gpu_hours:.2f} GPU-hours, ${estimate.usd:,.2f}")
    table.add_row(
        "a verification",
        f"{estimate.verification_gpu_hours:,.1f} GPU-hours, ${estimate.verification_usd:,.2f}: "
        f"{estimate.verification_runs} runs, and {estimate.evaluation_seconds:,.0f} s of questions after "
        f"{estimate.verification_evaluations} of them",
    )
    console().print(table)


@app.command()
def fetch(name: Name) -> None:
    """Download all that a track needs.

    That is its base model, what it trains on and what it reports. Each file is checked against its pinned hash.
    """
    from harness.evaluation.download import download
    from harness.tracks import track as module

    download(module.load(name), lambda line: console().print(escape(line), soft_wrap=True))
