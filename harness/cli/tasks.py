"""The questions: list them, show some, validate their graders, count what two sets share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from harness.cli.options import Json
from harness.cli.terminal import console, escape, make_table, print_json, progress_bar, stop
from harness.errors import NoSuchName

if TYPE_CHECKING:
    from harness.benchmarks.suites import Suite

MOST_DRAWN = 1_000_000  # questions, about a gigabyte of them

app = typer.Typer(help="Questions: generated tasks, fixed benchmarks, suites.", no_args_is_help=True)


@app.command("list")
def list_tasks(as_json: Json = False) -> None:
    """List the tasks, benchmarks, training sets and suites."""
    from harness.benchmarks import BENCHMARKS, NOT_PUBLIC
    from harness.benchmarks import suites as module
    from harness.tasks import GENERATED

    suites = module.suites()
    suites_of = {
        part: [name for name, suite in suites.items() if part in suite.parts and name != "all"]
        for part in (*GENERATED, *BENCHMARKS)
    }
    if as_json:
        _print_tasks_json(suites, suites_of)
        return
    table = make_table("task", "distinct questions", "suites", title=f"{len(GENERATED)} generated tasks")
    for name, task in GENERATED.items():
        table.add_row(name, f"{task.distinct:,}", ", ".join(suites_of[name]))
    console().print(table)
    table = make_table(
        "set", "role", "rows", "from", "suites", title=f"{len(BENCHMARKS)} fixed sets, at pinned commits"
    )
    for name, benchmark in BENCHMARKS.items():
        rows = "not pinned" if benchmark.source.rows is None else f"{benchmark.source.rows:,}"
        table.add_row(name, benchmark.role, rows, escape(benchmark.source.repo), ", ".join(suites_of[name]))
    console().print(table)
    for name, reason in NOT_PUBLIC.items():
        console().print(f"{name}: {escape(reason)}\n")
    table = make_table("suite", "parts", "", title=f"{len(suites)} suites, for nano-r1 eval --suite")
    for name, suite in suites.items():
        table.add_row(name, str(len(suite.parts)), escape(suite.title))
    console().print(table)


def _print_tasks_json(suites: dict[str, Suite], suites_of: dict[str, list[str]]) -> None:
    from harness.benchmarks import BENCHMARKS, NOT_PUBLIC
    from harness.tasks import GENERATED

    print_json(
        {
            "tasks": [
                {"task": name, "distinct": task.distinct, "suites": suites_of[name]} for name, task in GENERATED.items()
            ],
            "benchmarks": [
                {
                    "benchmark": name,
                    "role": benchmark.role,
                    "rows": benchmark.source.rows,
                    "repo": benchmark.source.repo,
                    "revision": benchmark.source.revision,
                    "unknown": benchmark.unknown,
                    "suites": suites_of[name],
                }
                for name, benchmark in BENCHMARKS.items()
            ],
            "not_public": NOT_PUBLIC,
            "suites": {name: suite.parts for name, suite in suites.items()},
        }
    )


@app.command()
def show(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A task or a fixed set; `nano-r1 tasks list` names them.")
    ],
    count: Annotated[
        int, typer.Option("--questions", min=1, max=1000, metavar="N", help="How many questions to print.")
    ] = 4,
    track: Annotated[
        str | None, typer.Option(metavar="TRACK", help="Print them as this track does, with its chat template.")
    ] = None,
    attacks: Annotated[
        bool, typer.Option("--attacks", help="Print the attacks too, each an answer that must score 0.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Print questions and right answers.

    The questions are printed as a model gets them.
    """
    from dataclasses import asdict

    from harness.evaluation.examples import examples
    from harness.tracks import track as tracks

    rows = examples(name, count) if track is None else examples(name, count, tracks.load(track).base.template)
    if as_json:
        hidden: dict[str, object] = {"prompt": None, "target": None, "attacks": []}
        print_json({name: [asdict(row) if row else hidden for row in rows]})
        return
    table = make_table("question", "a right answer", *(["answers that score 0"] if attacks else []), title=name)
    for row in rows:
        if row is None:
            table.add_row("(its authors ask that it is not shown)", "")
            continue
        scoring_nothing = "  ".join(repr(_shortened(attack, 32)) for attack in row.attacks) if attacks else ""
        table.add_row(*map(escape, (row.prompt, row.target, *([scoring_nothing] if attacks else []))))
    out = console()
    out.print(table)
    if not attacks:
        count = sum(len(row.attacks) for row in rows if row)
        out.print(f"with --attacks: {count:,} answers to these questions that must score 0")


def _shortened(text: str, limit: int) -> str:
    return text if len(text) < limit else text[: limit - 3] + "…"


@app.command()
def validate(
    names: Annotated[list[str] | None, typer.Argument(metavar="TASK", help="Tasks to validate.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every task, in under ten minutes.")] = False,
    as_json: Json = False,
) -> None:
    """Validate the graders of tasks.

    Every gold answer must score 1 and every attack 0, those of the task and those that all tasks are tried with; the
    exit code is 1 if one does not. The floor is how often the best constant answer is right.
    """
    from dataclasses import asdict

    from harness.tasks import GENERATED
    from harness.tasks.validate import validate_all

    if bool(names) == every:
        stop("name the tasks to validate, or say --all")
    if unknown := [name for name in names or [] if name not in GENERATED]:
        raise NoSuchName("task", unknown[0], GENERATED, listed_by="nano-r1 tasks list")
    chosen = names or list(GENERATED)
    rows = []
    with progress_bar(f"{len(chosen)} tasks", len(chosen), quiet=as_json) as advance:
        for row in validate_all(chosen):
            rows.append(row)
            advance(len(rows))
    wrong = [row.task for row in rows if not row.holds]
    if as_json:
        print_json([asdict(row) for row in rows])
    else:
        table = make_table("task", "questions", "gold answers right", "attacks right", "best constant", "floor")
        for row in rows:
            attacks = f"{row.attacks_right} of {row.attacks:,}"
            constant = escape(_shortened(row.best_constant, 40))
            table.add_row(
                row.task, f"{row.questions:,}", f"{row.gold_right:.1%}", attacks, constant, f"{row.floor:.1%}"
            )
        console().print(table)
        for row in rows:
            if row.tolerates:
                console().print(f"{row.task} takes for the same answer: {', '.join(row.tolerates)}")
            for fault in row.faults:
                console().print(escape(f"{row.task} {_shortened(fault, 400)}"), soft_wrap=True)
        verdict = f"[red]these do not hold: {', '.join(wrong)}[/]" if wrong else "[green]every grader holds[/]"
        console().print(f"{len(rows)} {'task' if len(rows) == 1 else 'tasks'}: {verdict}")
    if wrong:
        raise typer.Exit(1)


@app.command()
def overlap(
    training: Annotated[
        str, typer.Argument(metavar="TRAINING", help="What was trained on, such as gsm8k-train or nim/train.")
    ],
    benchmark: Annotated[
        str, typer.Argument(metavar="BENCHMARK", help="What is held out, such as gsm8k or nim/heldout.")
    ],
    count: Annotated[
        int,
        typer.Option("--questions", min=1, max=MOST_DRAWN, metavar="N", help="How many to draw of a generated task."),
    ] = 10_000,
    as_json: Json = False,
) -> None:
    """Count the questions that two sets share.

    Between fixed sets the shared runs of words (n-grams) are counted too, and examples printed.
    """
    from dataclasses import asdict

    from harness.benchmarks import BENCHMARKS
    from harness.benchmarks import overlap as module

    # Generated questions share their wording by design: only the same question means something there.
    grams = module.GRAMS if {training, benchmark} <= BENCHMARKS.keys() else ()
    shared = module.overlap(module.texts(training, count=count), module.texts(benchmark, count=count), grams)
    if as_json:
        shown = asdict(module.withheld(training, benchmark, shared))
        print_json({"training": training, "benchmark": benchmark, "overlap": shown})
        return
    for line in module.describe(training, benchmark, shared):
        console().print(escape(line))
