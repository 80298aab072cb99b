"""Make, try and screen a submission."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.evaluate import evaluate_on_track
from harness.cli.options import ROOT, FoldersTrack, Json, TrackName
from harness.cli.terminal import console, escape, print_json, stop

if TYPE_CHECKING:
    from harness.screen.check import Finding


def new(
    name: Annotated[str, typer.Argument(help="Name of the submission: lower-case letters, digits and dashes.")],
    track: TrackName = "cpu-logic",
) -> None:
    """Start a submission: a copy of the track's baseline under submissions/NAME."""
    import shutil

    from pydantic import TypeAdapter, ValidationError

    from harness.ledger import record
    from harness.tracks import track as module

    chosen = module.load(track)
    try:
        TypeAdapter(record.Name).validate_python(name)
    except ValidationError:
        stop(f"{name!r} is not a name: use lower-case letters, digits and dashes, at most 64")
    folder = Path("submissions") / name
    if folder.exists():
        stop(f"{folder} exists; choose another name, or edit it")
    folder.mkdir(parents=True)
    shutil.copyfile(ROOT / chosen.baseline.folder / "train.py", folder / "train.py")
    (folder / "submission.toml").write_text(
        f'name = "{name}"\ntrack = "{track}"\ntitle = "{name}"\n'
        'change = "what differs from the baseline, in one line"\ncontributors = ["your name"]\n'
    )
    (folder / "README.md").write_text(f"# {name}\n\nWhat changed, why it should help, and what you measured.\n")
    console().print(
        f"{folder}/train.py is the baseline. Change it, then:\n"
        f"  nano-r1 train {folder}      one development run\n"
        f"  nano-r1 verify {folder}     {chosen.verdict.runs} runs in turn with the baseline, and a record"
    )


def train(
    folder: Annotated[Path, typer.Argument(help="Submission to run.")],
    track: FoldersTrack = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run and of its prompts.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the weights and the log.")] = Path("runs/train"),
    evaluate: Annotated[bool, typer.Option(help="Evaluate the weights at the end.")] = True,
    control: Annotated[bool, typer.Option("--control", help="Make it a control run: scores that say nothing.")] = False,
) -> None:
    """One development run: no sandbox, the harness's view of reward and accuracy, live."""
    from harness import development, submission
    from harness.tracks import track as module

    item = submission.load(folder)
    chosen = module.load(track or submission.track_of([item]))  # named, any: a development run claims nothing
    chosen.check_base()
    code = development.train(chosen, item, seed, output, control, console())
    if code != 0:
        stop(f"{folder}/train.py exited with code {code}; its log is {output / 'log.txt'}")
    if evaluate:
        evaluate_on_track(chosen, output / "model.safetensors", seed, as_json=False)


def check_command(
    folders: Annotated[list[Path] | None, typer.Argument(help="Submissions to screen.")] = None,
    against: Annotated[str | None, typer.Option(help="Judge a branch instead: the commit it is to join.")] = None,
    head: Annotated[str, typer.Option(help="The branch, with --against.")] = "HEAD",
    as_json: Json = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown for a pull request.")] = False,
) -> None:
    """Screen submissions without running them; or, with --against, all that a pull request changes."""
    from dataclasses import asdict

    from harness.screen import check, pull_request

    if bool(folders) == (against is not None):
        stop("name submission folders, or a commit with --against")
    if as_json and as_markdown:
        stop("choose one of --json and --markdown")
    if against is not None:
        review = pull_request.review(pull_request.top(Path.cwd()), against, head)
        if as_json:
            print_json({**asdict(review), "passed": review.passed})
        elif as_markdown:
            sys.stdout.write(pull_request.markdown(review))
        else:
            for sentence in review.refusals:
                console().print(f"[bold red]refused[/]  {escape(sentence)}", soft_wrap=True)
            for sentence in review.notes:
                console().print(f"note     {escape(sentence)}", soft_wrap=True)
            _show_findings(review.submissions)
            console().print(f"{len(review.changes)} changed files: [bold]{'passed' if review.passed else 'refused'}[/]")
        raise typer.Exit(0 if review.passed else 1)
    results = {str(folder): check.check(folder) for folder in folders or []}
    if as_json:
        print_json({folder: [asdict(each) for each in found] for folder, found in results.items()})
    elif as_markdown:
        sys.stdout.write(check.markdown(results))
    else:
        _show_findings(results)
    if any(check.errors(found) for found in results.values()):
        raise typer.Exit(1)


def _show_findings(results: Mapping[str, Sequence[Finding]]) -> None:
    from harness.screen import check

    out = console()
    for folder, found in results.items():
        for each in found:
            mark = "[bold red]error[/]  " if each.severity == "error" else "warning"
            where, what = check.place(each), check.shown_line(each.message)
            out.print(mark, escape(f"{where}: {each.code}: {what}. {each.advice}"), soft_wrap=True)
        out.print(f"{escape(check.shown(folder))}: {check.verdict(found)}", soft_wrap=True)
