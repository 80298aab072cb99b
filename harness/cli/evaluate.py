"""Evaluate a model: on a track's questions or on a suite; grade saved samples again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json, TrackName
from harness.cli.terminal import console, escape, make_table, print_json, progress_bar, stop

if TYPE_CHECKING:
    from harness.ledger.record import TaskResult
    from harness.tracks.track import Track


def eval_command(
    model: Annotated[Path, typer.Option(help="model.safetensors or its folder. Default: the base model.")] = Path(),
    track: TrackName = "cpu-logic",
    seed: Annotated[int, typer.Option(min=0, help="Names the questions; a verification draws secret ones.")] = 0,
    suite: Annotated[
        str | None, typer.Option(help="Ask this suite, task or benchmark instead of the track's; any model then.")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="With --suite: at most so many of each part.")] = 256,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="With --suite: of one answer.")] = 1024,
    batch: Annotated[int, typer.Option(min=1, help="With --suite: questions at a time.")] = 32,
    bare: Annotated[
        bool, typer.Option("--bare", help="With --suite: the question alone, no word on the form.")
    ] = False,
    out: Annotated[Path, typer.Option(help="With --suite: where results.json and samples.parquet go.")] = Path(
        "runs/eval"
    ),
    as_json: Json = False,
) -> None:
    """Accuracy of a model on held-out questions, with its interval, task by task."""
    from harness.tracks import track as module

    if suite is not None:
        if model == Path():
            stop("name the model to ask: --model DIR, or its name on the Hub")
        _examine(str(model), suite, questions, max_new_tokens, batch, bare, seed, out, as_json)
        return
    chosen = module.load(track)
    chosen.check_files()
    path = chosen.base_folder if model == Path() else model
    evaluate_on_track(chosen, path / "model.safetensors" if path.is_dir() else path, seed, as_json)


def _examine(
    name: str,
    suite: str,
    most: int,
    max_new_tokens: int,
    batch: int,
    bare: bool,
    seed: int,
    folder: Path,
    as_json: bool,
) -> None:
    import hashlib

    from harness.benchmarks import suites
    from harness.evaluation import examination

    examination.check_installed()
    chosen = suites.load(suite)
    examination.check_folder(folder)
    key = hashlib.sha256(f"eval/{seed}".encode()).digest()
    # A suite goes without the sets that nobody pinned; asked for by its own name, such a set says what is missing.
    left_out = {name: reason for name in chosen.parts if (reason := suites.cannot_be_asked(name))}
    asked = [name for name in chosen.parts if name not in left_out] or chosen.parts
    parts = [suites.part(each, key, most) for each in asked]  # all of them, before the first is asked
    examination.check_graders(parts)
    model = examination.Model(name, bare=bare, max_new_tokens=max_new_tokens, seed=seed)
    about = {"model": name, "suite": suite, "left_out": left_out, "seed": seed, "bare": bare}
    about["max_new_tokens"] = max_new_tokens
    results, answers = list[examination.Result](), list[examination.Answer]()
    files = f"{folder}/{examination.RESULTS} and {folder}/{examination.SAMPLES}"
    try:
        for part in parts:
            with progress_bar(f"{part.name}: {len(part.items)} questions", len(part.items), quiet=as_json) as advance:
                found, given = examination.examine(model, part, batch=batch, on_progress=advance)
            results.append(found)
            answers += given
            examination.write(folder, examination.report(about, asked, results), answers)
    except BaseException:  # Ctrl-C, or a fault of the machine hours in
        kept = f"the parts that are, and which are missing, stand in {files}" if results else "nothing was written"
        sys.stderr.write(f"nano-r1: not finished; {kept}\n")
        raise
    if as_json:
        print_json(examination.report(about, asked, results))
        return
    table = make_table(
        "part", "strict", "95% interval", "lenient", "truncated", "tokens", "questions", "s", title=escape(suite)
    )
    for row in results:
        of = "" if row.total is None else f" of {row.total:,}"
        table.add_row(
            row.part, f"{row.strict:.4f}", f"{row.strict_low:.4f} – {row.strict_high:.4f}", f"{row.lenient:.4f}",
            f"{row.truncated:.4f}", f"{row.tokens:.1f}", f"{row.questions:,}{of} × {row.samples}",
            f"{row.ms / 1000:.1f}",
        )  # fmt: skip
    console().print(table)
    for skipped, why in left_out.items():
        console().print(f"{skipped}: not asked: {escape(why)}")
    for row in results:
        for reason, count in row.left_out.items():
            console().print(f"{row.part}: {count} rows left out: {escape(reason)}")
        if not row.regradable:
            console().print(f"{row.part}: {examination.WITHHELD}")
    console().print(f"{files}; `nano-r1 regrade` grades the samples again", markup=False, soft_wrap=True)


def regrade(
    file: Annotated[Path, typer.Argument(help="samples.parquet, as `nano-r1 eval --suite` writes it.")],
    as_json: Json = False,
) -> None:
    """Grade saved samples again with today's graders, and say what differs."""
    from harness.evaluation import examination

    found = examination.regrade(file)
    means = found.table.groupby("part", sort=False)[["strict", "lenient"]].mean()
    if as_json:
        told = {"differ": found.differ, "samples": len(found.table), "withheld": found.withheld}
        print_json({**told, "parts": means.to_dict("index")})
    else:
        shown = make_table("part", "strict", "lenient", title=escape(str(file)))
        for part, row in means.iterrows():
            shown.add_row(str(part), f"{row['strict']:.4f}", f"{row['lenient']:.4f}")
        console().print(shown)
        for name, count in found.withheld.items():
            console().print(f"{name}: {count} samples not graded again: {examination.WITHHELD}")
        console().print(f"{found.differ} of {len(found.table)} samples are graded otherwise than in the file")
    if found.differ:
        raise typer.Exit(1)


def evaluate_on_track(track: Track, weights: Path, seed: int, as_json: bool) -> None:
    import hashlib

    from harness import checkpoint, judge, stats
    from harness.evaluate import evaluate

    checked = checkpoint.read(weights, track.base_folder / "model.safetensors")
    total = sum(suite.questions for suite in track.heldout.suites)
    with progress_bar(f"{total} questions", total, quiet=as_json) as advance:
        result = evaluate(track, checked.data, hashlib.sha256(f"eval/{seed}".encode()).digest(), advance)
    passed = judge.passed_gate(track, result.tasks)
    if as_json:
        print_json(
            {
                "track": track.id,
                "weights_sha256": checked.sha256,
                "seed": seed,
                "mean_accuracy": judge.mean_accuracy(track, result.tasks),
                "passed_gate": passed,
                "evaluate_ms": result.evaluate_ms,
                "tasks": {task: row.model_dump() for task, row in result.tasks.items()},
            }
        )
        return
    gates = track.heldout.gates
    rows = {task: row for task, row in result.tasks.items() if task in gates}
    reported = {task: row for task, row in result.tasks.items() if task not in gates}
    wanted = {"mean": track.heldout.mean_gate_ppm, **gates}
    table = make_table(
        "task", "accuracy", "95% interval", "gate", "formatted", "truncated", "tokens", title=str(weights)
    )
    for part in (rows, {"mean": _sum(list(rows.values()))}, reported):
        for name, row in part.items():
            low, high = stats.wilson(row.correct, row.questions)
            gate = f"{wanted[name] / 1e6:.2f}" if name in wanted else "none"
            table.add_row(name, *_accuracy_cells(row, low, high), gate, *_format_cells(row))
        table.add_section()
    out = console()
    out.print(table)
    verdict = "[green]past the gate[/]" if passed else "[yellow]not past the gate[/]"
    out.print(f"{verdict} of {track.id} (point estimates, one set of questions), {result.evaluate_ms / 1000:.1f} s")
    for name in track.heldout.report:
        out.print(f"a verification asks {name} too, which gates nothing: nano-r1 eval --model MODEL --suite {name}")


def _sum(rows: list[TaskResult]) -> TaskResult:
    from harness.ledger.record import TaskResult

    keys = TaskResult.model_fields
    return TaskResult(**{key: sum(getattr(row, key) for row in rows) for key in keys})


def _accuracy_cells(row: TaskResult, low: float, high: float) -> list[str]:
    return [f"{row.correct / row.questions:.4f}", f"{low:.4f} – {high:.4f}"]


def _format_cells(row: TaskResult) -> list[str]:
    return [
        f"{row.formatted / row.questions:.4f}",
        f"{row.truncated / row.questions:.4f}",
        f"{row.tokens / row.questions:.1f}",
    ]
