"""Evaluate a model: on a track's held-out questions or on a suite; grade saved samples again."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, TrackName
from harness.cli.terminal import console, escape, make_table, print_json, progress_bar, stop

if TYPE_CHECKING:
    from harness.evaluation.heldout import HeldoutResult
    from harness.evaluation.suite_run import SuiteRun, SuiteSettings
    from harness.tracks.track import Track

app = typer.Typer()


@app.command("eval")
def evaluate(
    model: Annotated[
        Path,
        typer.Option(
            metavar="PATH", help="model.safetensors or its folder. Default: the track's base model.", show_default=False
        ),
    ] = Path(),
    track: TrackName = "cpu-logic",
    seed: Annotated[
        int, typer.Option(min=0, metavar="N", help="Picks the questions; those of a verification are secret.")
    ] = 0,
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Ask this suite, task or benchmark instead of the track's questions. Takes any model."
        ),
    ] = None,
    questions: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --suite: at most this many of each part.")
    ] = 256,
    max_new_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="With --suite: most tokens of one answer.")
    ] = 1024,
    batch: Annotated[int, typer.Option(min=1, metavar="N", help="With --suite: sequences at a time.")] = 32,
    bare: Annotated[
        bool, typer.Option("--bare", help="With --suite: ask the bare question, without the format of the answer.")
    ] = False,
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="With --suite: folder for results.json and samples.parquet.")
    ] = Path("runs/eval"),
    as_json: Json = False,
) -> None:
    """Measure a model's accuracy on held-out questions.

    Prints it task by task, with its 95% interval. With --suite, answers and grades are kept in two files too.
    """
    from harness.tracks import track as tracks

    if suite is not None:
        if model == Path():
            stop("name the model to ask: --model DIR, or its name on the Hub")
        from harness.evaluation.suite_run import SuiteSettings

        settings = SuiteSettings(str(model), suite, out, questions, max_new_tokens, batch, bare, seed)
        _evaluate_on_suite(settings, as_json)
        return
    chosen = tracks.load(track)
    chosen.check_files()
    path = chosen.base_folder if model == Path() else model
    weights = path / "model.safetensors" if path.is_dir() else path
    if not weights.exists():
        stop(f"{weights} does not exist; --model takes a model.safetensors or its folder")
    evaluate_on_track(chosen, weights, seed, as_json)


def evaluate_on_track(track: Track, weights: Path, seed: int, as_json: bool) -> None:
    """Ask the track's held-out questions of a seed, and print what came of it."""
    from harness.evaluation.heldout import evaluate_weights

    total = sum(suite.questions for suite in track.heldout.suites)
    with progress_bar(f"{total} questions", total, quiet=as_json) as advance:
        result = evaluate_weights(track, weights, seed, advance)
    if as_json:
        print_json(
            {
                "track": track.id,
                "weights_sha256": result.weights_sha256,
                "seed": seed,
                "mean_accuracy": result.mean_accuracy,
                "passed_gate": result.passed_gate,
                "evaluate_ms": result.evaluate_ms,
                "tasks": {task: row.model_dump() for task, row in result.tasks.items()},
            }
        )
    else:
        _show_on_track(track, result, str(weights))


def _show_on_track(track: Track, result: HeldoutResult, title: str) -> None:
    from harness.evaluation import heldout, intervals

    gates = track.heldout.gates
    gated = {task: row for task, row in result.tasks.items() if task in gates}
    reported = {task: row for task, row in result.tasks.items() if task not in gates}
    needed = {"mean": track.heldout.mean_gate_ppm, **gates}
    table = make_table("task", "accuracy", "95% interval", "gate", "formatted", "truncated", "tokens", title=title)
    for section in (gated, {"mean": heldout.total(list(gated.values()))}, reported):
        for name, row in section.items():
            low, high = intervals.wilson(row.correct, row.questions)
            gate = f"{needed[name] / 1e6:.2f}" if name in needed else "none"
            accuracy, formatted, truncated = (
                f"{count / row.questions:.4f}" for count in (row.correct, row.formatted, row.truncated)
            )
            tokens = f"{row.tokens / row.questions:.1f}"
            table.add_row(name, accuracy, f"{low:.4f} – {high:.4f}", gate, formatted, truncated, tokens)
        table.add_section()
    out = console()
    out.print(table)
    verdict = "[green]past the gate[/]" if result.passed_gate else "[yellow]not past the gate[/]"
    out.print(f"{verdict} of {track.id} (point estimates, one set of questions), {result.evaluate_ms / 1000:.1f} s")
    for name in track.heldout.report:
        out.print(f"a verification asks {name} too, which gates nothing: nano-r1 eval --model MODEL --suite {name}")


def _evaluate_on_suite(settings: SuiteSettings, as_json: bool) -> None:
    from harness.evaluation.samples import RESULTS, SAMPLES
    from harness.evaluation.suite_run import SuiteRun

    run = SuiteRun(settings)
    files = f"{settings.folder}/{RESULTS} and {settings.folder}/{SAMPLES}"
    try:
        run.run(partial(progress_bar, quiet=as_json))
    except BaseException:  # Ctrl-C, or a fault of the machine hours in
        if run.asking:
            sys.stderr.write(f"nano-r1: not finished; {_kept(run, settings.folder)}\n")
        raise
    if as_json:
        print_json(run.report())
        return
    _show_suite(run, settings.suite)
    console().print(f"{files}; `nano-r1 regrade` grades the samples again", markup=False, soft_wrap=True)


def _kept(run: SuiteRun, folder: Path) -> str:
    """What of an unfinished run stands in its files."""
    from harness.evaluation.samples import RESULTS, SAMPLES

    if run.results:
        parts = f"{len(run.results)} of {len(run.names)} parts are done: these, and which are missing, are in"
        return f"{parts} {folder}/{RESULTS} and {folder}/{SAMPLES}"
    older = (folder / RESULTS).exists()
    return "nothing was written" + (f"; {folder}/{RESULTS} is of an earlier run" if older else "")


def _show_suite(run: SuiteRun, suite: str) -> None:
    from harness.evaluation.samples import WITHHELD

    out = console()
    table = make_table(
        "part", "strict", "95% interval", "lenient", "truncated", "tokens", "questions", "s", title=escape(suite)
    )
    for row in run.results:
        total = "" if row.total is None else f" of {row.total:,}"
        table.add_row(
            row.part,
            f"{row.strict:.4f}",
            f"{row.strict_low:.4f} – {row.strict_high:.4f}",
            f"{row.lenient:.4f}",
            f"{row.truncated:.4f}",
            f"{row.tokens:.1f}",
            f"{row.questions:,}{total} × {row.samples}",
            f"{row.ms / 1000:.1f}",
        )
    out.print(table)
    for name, reason in run.left_out.items():
        out.print(f"{name}: not asked: {escape(reason)}")
    for row in run.results:
        for reason, count in row.left_out.items():
            out.print(f"{row.part}: {count} rows left out: {escape(reason)}")
        if not row.regradable:
            out.print(f"{row.part}: {WITHHELD}")


@app.command()
def regrade(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="samples.parquet, as `nano-r1 eval --suite` writes it.")],
    as_json: Json = False,
) -> None:
    """Grade saved samples again with today's graders.

    Says which parts differ from what the file has; the exit code is 1 if any sample does.
    """
    from harness.evaluation import samples

    if not file.exists():
        stop(f"{file} does not exist; name the samples.parquet that `nano-r1 eval --suite` wrote")
    graded = samples.regrade(file)
    means = graded.table.groupby("part", sort=False)[["strict", "lenient"]].mean()
    if as_json:
        counts = {"differ": graded.differ, "samples": len(graded.table), "withheld": graded.withheld}
        print_json({**counts, "parts": means.to_dict("index")})
    else:
        table = make_table("part", "strict", "lenient", title=escape(str(file)))
        for part, row in means.iterrows():
            table.add_row(str(part), f"{row['strict']:.4f}", f"{row['lenient']:.4f}")
        out = console()
        out.print(table)
        for name, count in graded.withheld.items():
            out.print(f"{name}: {count} samples not graded again: {samples.WITHHELD}")
        out.print(f"{graded.differ} of {len(graded.table)} samples get another grade than in the file")
    if graded.differ:
        raise typer.Exit(1)
