"""List the tracks, plan one for GPUs, download its base model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json
from harness.cli.terminal import console, escape, make_table, print_json

if TYPE_CHECKING:
    from harness.tracks.track import Track

app = typer.Typer(help="List the tracks; plan one for GPUs; fetch its base model.")

Named = Annotated[str, typer.Argument(metavar="TRACK", help="Its name; `nano-r1 tracks` lists them.")]


@app.callback(invoke_without_command=True)
def tracks(context: typer.Context, as_json: Json = False) -> None:
    """List the tracks: status, hardware, budget, gate, digest."""
    from harness.tracks import track as module

    if context.invoked_subcommand is not None:
        return
    found = [module.load(name) for name in module.names()]
    digests = {t.name: _digest(t) for t in found}
    if as_json:
        print_json([{**t.model_dump(mode="json"), "id": t.id, "digest": digests[t.name]} for t in found])
        return
    table = make_table("track", "status", "hardware", "budget", "runs", "gate", "digest")
    table.columns[0].no_wrap = table.columns[1].no_wrap = True  # names are copied
    for t in found:
        gates = sorted(t.heldout.gates.values())
        spread = f"{gates[0] / 1e6:.2f}" if gates[0] == gates[-1] else f"{gates[0] / 1e6:.2f} to {gates[-1] / 1e6:.2f}"
        table.add_row(
            t.id,
            t.status if t.status == "measured" else f"[yellow]{t.status}[/]",
            t.hardware.label,
            f"{t.budget.seconds:,} s",
            str(t.verdict.runs),
            f"{t.heldout.mean_gate_ppm / 1e6:.2f}, each {spread}",
            (digests[t.name] or "not here")[:12],
        )
    console().print(table)
    if any(digest is None for digest in digests.values()):
        console().print("not here: what draws its questions is not installed; pip install -e '.[tasks]'", markup=False)


def _digest(track: Track) -> str | None:
    """None where the package that draws its questions is not installed."""
    from harness.tasks.clue import ClueError
    from harness.tasks.gym.task import GymError

    try:
        return track.digest
    except (ClueError, GymError):
        return None


@app.command("plan")
def tracks_plan(name: Named, as_json: Json = False) -> None:
    """Reckon memory, tokens, GPU-hours and dollars of a GPU track; refuse what cannot fit."""
    from dataclasses import asdict

    from harness.planning import plan as planning
    from harness.tracks import track as module

    found = planning.plan(module.load(name))
    if as_json:
        print_json(asdict(found))
        return
    out, table = console(), make_table("on one GPU", "GB", title=f"{found.track}: {found.hardware}")
    for what, count in found.memory.items():
        table.add_row(what, f"{count / 1e9:.2f}")
    table.add_section()
    table.add_row("together", f"{found.memory_bytes / 1e9:.2f}")
    table.add_row("usable", f"{found.usable_bytes / 1e9:.2f}")
    table.add_section()
    table.add_row("the host, at the least", f"{found.host_bytes / 1e9:.2f}")
    out.print(table)
    table = make_table("a run", "", title=f"{found.parameters:,} weights, {found.trained:,} of them trained")
    table.add_row("tokens sampled", f"{found.sampled_tokens / 1e6:,.1f} M")
    table.add_row("tokens trained on", f"{found.trained_tokens / 1e6:,.1f} M")
    table.add_row("completions graded", f"{found.reward_queries:,}")
    table.add_row("start", f"{found.start_seconds:,} s")
    table.add_row("sampling", f"{found.sampling_seconds:,.0f} s")
    table.add_row("training", f"{found.training_seconds:,.0f} s")
    table.add_row("wall", f"{found.seconds:,.0f} s of {found.budget_seconds:,} s")
    table.add_row("cost", f"{found.gpu_hours:.2f} GPU-hours, ${found.usd:,.2f}")
    table.add_row(
        "a verification", f"{found.verification_gpu_hours:.1f} GPU-hours, ${found.verification_usd:,.2f}: "
        f"{found.verification_runs} runs, and {found.evaluation_seconds:,.0f} s of questions after "
        f"{found.verification_evaluations} of them"
    )  # fmt: skip
    out.print(table)
    out.print("Expected, not measured, if:")
    for line in found.assumptions:
        out.print(f"- {escape(line)}", soft_wrap=True)


@app.command("fetch")
def tracks_fetch(name: Named) -> None:
    """Bring a track's base model, what it trains on and what it reports, each checked against what is pinned."""
    from harness.benchmarks import training_sets
    from harness.evaluation import reported
    from harness.tracks import fetch
    from harness.tracks import track as module

    track = module.load(name)
    asked, left_out = reported.benchmarks(track)
    unknown = {}
    if track.base.repo is not None or not (asked or track.train.sets):
        unknown = fetch.fetch(track, lambda line: console().print(escape(line), soft_wrap=True))
        console().print(f"{track.base_folder}", soft_wrap=True, markup=False)
    for file, sha256 in unknown.items():
        console().print(f'not listed yet, for [base.files]: "{file}" = "{sha256}"', soft_wrap=True, markup=False)
    for each in track.train.sets:
        console().print(f"{each}: {training_sets.ready(each):,} questions", soft_wrap=True, markup=False)
    for each in asked:
        console().print(f"{each}: {len(reported.questions(each).items):,} questions", soft_wrap=True, markup=False)
    for each, why in left_out.items():
        console().print(f"{each}: not asked: {why}", soft_wrap=True, markup=False)
