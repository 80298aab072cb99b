"""Make a submission, try it, screen it."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.evaluate import evaluate_on_track
from harness.cli.options import Json, SubmissionsTrack, TrackName
from harness.cli.terminal import console, escape, make_table, print_json, stop

if TYPE_CHECKING:
    from harness.screen.findings import Finding

app = typer.Typer()


@app.command()
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower-case letters, digits and dashes.")],
    track: TrackName = "cpu-logic",
) -> None:
    """Start a submission: copy a track's baseline.

    The copy goes to submissions/NAME, with a submission.toml and a README.md to fill in.
    """
    from harness.tracks import track as tracks
    from harness.verify.new_submission import copy_baseline

    chosen = tracks.load(track)
    folder = copy_baseline(chosen, name, Path("submissions"))
    console().print(
        f"{folder}/train.py is the baseline. Change it, say in submission.toml and README.md what you changed, then:\n"
        f"  nano-r1 check {folder}      what would be refused, in a second\n"
        f"  nano-r1 train {folder}      one development run\n"
        f"  nano-r1 verify {folder}     {chosen.verdict.runs} runs in turn with the baseline, and a record",
        soft_wrap=True,
    )


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Submission to run.")],
    track: SubmissionsTrack = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Seed of the run and of its prompts.")] = 0,
    output: Annotated[Path, typer.Option(metavar="FOLDER", help="Where the weights and the log go.")] = Path(
        "runs/train"
    ),
    seconds: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Stop after so many seconds. Default: the track's budget."),
    ] = None,
    evaluate: Annotated[bool, typer.Option(help="Evaluate the weights at the end.")] = True,
    control: Annotated[
        bool, typer.Option("--control", help="Make a control run, whose scores are unrelated to the completions.")
    ] = False,
) -> None:
    """Make one development run of a submission.

    There is no sandbox. Reward and accuracy are shown as the harness measures them, while the run goes on; Ctrl-C and
    --seconds end it, and what was measured stays on the screen.
    """
    from harness import submission
    from harness.environment import development
    from harness.tracks import track as tracks

    loaded = submission.load(folder)
    # A track that is named may be any: a development run claims nothing.
    chosen = tracks.load(track or submission.track_of([loaded]))
    chosen.check_base()
    finished = development.train(chosen, loaded, seed, output, control, console(), seconds)
    if finished and evaluate:
        evaluate_on_track(chosen, output / "model.safetensors", seed, as_json=False)


@app.command()
def power(
    track: Annotated[str, typer.Argument(metavar="TRACK", help="A track; see `nano-r1 tracks`.")] = "cpu-logic",
    sigma: Annotated[
        float | None,
        typer.Option(metavar="S", help="Standard deviation of a run's mean accuracy, as 0.013. Default: the track's."),
    ] = None,
    cost_sigma: Annotated[
        float | None,
        typer.Option(metavar="S", help="That of its wall time, over the mean, as 0.05. Default: the track's."),
    ] = None,
    chance: Annotated[float, typer.Option(min=0.5, max=0.999, metavar="P", help="Of passing.")] = 0.9,
    as_json: Json = False,
) -> None:
    """Say how many runs a claim needs.

    For each number of runs: how far above the gate a recipe's true accuracy must lie, and how far below the standing
    record its true cost, to pass with a given chance.
    """
    from dataclasses import asdict

    from harness.planning import power as planning
    from harness.tracks import track as tracks

    chosen = tracks.load(track)
    found = planning.power(chosen, planning.noise_of(chosen, sigma, cost_sigma), chance)
    if as_json:
        print_json(asdict(found))
        return
    out, noise = console(), found.noise
    out.print(
        f"{found.track}: a run's mean accuracy scatters by {noise.sigma * 100:.2f} points, of which drawing its "
        f"questions alone makes {found.question_sigma * 100:.2f}, and its wall time by {noise.cost_sigma:.1%}.",
        soft_wrap=True,
    )
    table = make_table("runs", "points above the gate", "of the record's cost")
    for row in found.rows:
        mark = " (the track's)" if row.runs == chosen.verdict.runs else ""
        cost = "no test can pass" if row.relative_cost is None else f"{row.relative_cost:.3f}"
        table.add_row(f"{row.runs}{mark}", f"{row.margin * 100:.2f}", cost)
    out.print(table)
    out.print(
        f"True accuracy at least so far above the gate, and true cost at most so much of a standing record's of "
        f"another session, pass at p < {found.alpha:g} with a chance of {chance:.0%}.",
        soft_wrap=True,
    )


@app.command()
def check(
    folders: Annotated[
        list[Path] | None, typer.Argument(metavar="FOLDER", help="Submissions to screen.", show_default=False)
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(metavar="COMMIT", help="Judge a branch instead: the commit that it is to be merged into."),
    ] = None,
    head: Annotated[str, typer.Option(metavar="COMMIT", help="The branch, with --against.")] = "HEAD",
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,
) -> None:
    """Screen submissions without running them.

    With --against, judge all that a pull request changes. The exit code is 1 if anything is refused.
    """
    if bool(folders) == (against is not None):
        stop("name submission folders, or a commit with --against")
    if as_json and as_markdown:
        stop("choose one of --json and --markdown")
    if against is not None:
        passed = _check_branch(against, head, as_json, as_markdown)
    else:
        passed = _check_folders(folders or [], as_json, as_markdown)
    if not passed:
        raise typer.Exit(1)


def _check_branch(against: str, head: str, as_json: bool, as_markdown: bool) -> bool:
    from dataclasses import asdict

    from harness.screen import pull_request

    review = pull_request.review(pull_request.top(Path.cwd()), against, head)
    if as_json:
        print_json({**asdict(review), "passed": review.passed})
    elif as_markdown:
        sys.stdout.write(pull_request.markdown(review))
    else:
        out = console()
        for sentence in review.refusals:
            out.print(f"[bold red]refused[/]  {escape(sentence)}", soft_wrap=True)
        for sentence in review.notes:
            out.print(f"note     {escape(sentence)}", soft_wrap=True)
        _show_findings(review.submissions)
        out.print(f"{pull_request.changed_files(review)}: [bold]{'passed' if review.passed else 'refused'}[/]")
    return review.passed


def _check_folders(folders: Sequence[Path], as_json: bool, as_markdown: bool) -> bool:
    from dataclasses import asdict

    from harness.screen.check import check as screen
    from harness.screen.findings import errors, markdown

    results = {str(folder): screen(folder) for folder in folders}
    if as_json:
        print_json({folder: [asdict(finding) for finding in findings] for folder, findings in results.items()})
    elif as_markdown:
        sys.stdout.write(markdown(results))
    else:
        _show_findings(results)
        _show_origins(results)
    return not any(errors(findings) for findings in results.values())


def _show_findings(results: Mapping[str, Sequence[Finding]]) -> None:
    from harness.screen.findings import place, shown, shown_line, verdict

    out = console()
    for folder, findings in results.items():
        for finding in findings:
            mark = "[bold red]error[/]  " if finding.severity == "error" else "warning"
            line = f"{place(finding)}: {finding.code}: {shown_line(finding.message)}. {finding.advice}"
            out.print(mark, escape(line), soft_wrap=True)
        out.print(f"{escape(shown(folder))}: {verdict(findings)}", soft_wrap=True)


def _show_origins(folders: Iterable[str]) -> None:
    """What each manifest says of where its recipe comes from; nothing where it cannot be read: a finding says why."""
    from harness.screen.findings import shown, shown_line
    from harness.submission import SubmissionError, read_manifest

    for folder in folders:
        with contextlib.suppress(SubmissionError, OSError):
            if origins := read_manifest(Path(folder)).origins:
                console().print(f"{escape(shown(folder))}: {escape(shown_line(origins))}", soft_wrap=True)
