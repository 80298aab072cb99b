"""The questions: generated tasks, fixed benchmarks, suites of them."""

from __future__ import annotations

from typing import Annotated

import typer

from harness.cli.options import Json
from harness.cli.terminal import console, escape, make_table, print_json, progress_bar, stop

app = typer.Typer(help="The questions: generated tasks, fixed benchmarks, suites of them.", no_args_is_help=True)


@app.command("list")
def tasks_list(as_json: Json = False) -> None:
    """List the generated tasks, the fixed benchmarks and training sets, and the suites."""
    from harness.benchmarks import BENCHMARKS, NOT_PUBLIC
    from harness.benchmarks.suites import suites
    from harness.tasks import TASKS

    found = suites()
    part_of = {
        part: [name for name, suite in found.items() if part in suite.parts and name != "all"]
        for part in (*TASKS, *BENCHMARKS)
    }
    if as_json:
        print_json(
            {
                "tasks": [
                    {"task": name, "distinct": task.distinct, "suites": part_of[name]} for name, task in TASKS.items()
                ],
                "benchmarks": [
                    {
                        "benchmark": name,
                        "role": each.role,
                        "rows": each.source.rows,
                        "repo": each.source.repo,
                        "revision": each.source.revision,
                        "unknown": each.unknown,
                        "suites": part_of[name],
                    }
                    for name, each in BENCHMARKS.items()
                ],
                "not_public": NOT_PUBLIC,
                "suites": {name: suite.parts for name, suite in found.items()},
            }
        )
        return
    table = make_table("task", "distinct questions", "suites", title=f"{len(TASKS)} generated tasks")
    for name, task in TASKS.items():
        table.add_row(name, f"{task.distinct:,}", ", ".join(part_of[name]))
    console().print(table)
    table = make_table(
        "set", "role", "rows", "from", "suites", title=f"{len(BENCHMARKS)} fixed sets, at pinned commits"
    )
    for name, each in BENCHMARKS.items():
        rows = "not pinned" if each.source.rows is None else f"{each.source.rows:,}"
        table.add_row(name, each.role, rows, escape(each.source.repo), ", ".join(part_of[name]))
    console().print(table)
    for name, why in NOT_PUBLIC.items():
        console().print(f"{name}: {escape(why)}\n")
    table = make_table("suite", "parts", "", title=f"{len(found)} suites, for nano-r1 eval --suite")
    for name, suite in found.items():
        table.add_row(name, str(len(suite.parts)), escape(suite.title))
    console().print(table)


@app.command("show")
def tasks_show(
    name: Annotated[str, typer.Argument(help="A task or a fixed set; `nano-r1 tasks list` names them.")],
    count: Annotated[int, typer.Option("--questions", min=1, help="How many questions to print.")] = 4,
    track: Annotated[str | None, typer.Option(help="Render them as this track does, chat template and all.")] = None,
    as_json: Json = False,
) -> None:
    """Print questions as a model gets them, their gold answers, and answers that must score 0."""
    from harness.answers.attacks import attacks
    from harness.answers.forms import asked
    from harness.benchmarks import suites
    from harness.tasks import TASKS
    from harness.tracks import track as module

    template = "{prompt}" if track is None else module.load(track).base.template

    def shown(item: suites.Item) -> tuple[str, str, list[str]] | None:
        """(question, gold answer, attacks), or None where its authors ask that it is not shown."""
        if not item.republish:
            return None
        tried = TASKS[name].attacks(item.sample) if name in TASKS else attacks(item.grader, item.sample)
        return template.format(prompt=asked(item.sample, item.grader)), item.sample.target, tried

    rows = [shown(item) for item in suites.part(_part(name), b"shown by nano-r1 tasks show", count).items]
    if as_json:
        keys = ("prompt", "target", "attacks")
        print_json({name: [dict(zip(keys, row or (None, None, []), strict=True)) for row in rows]})
        return
    table = make_table("question", "a right answer", "answers that score 0", title=name)
    for row in rows:
        if row is None:
            table.add_row("(its authors ask that it is not shown)", "", "")
            continue
        prompt, target, tried = row
        short = (repr(a if len(a) < 32 else a[:29] + "…") for a in tried)
        table.add_row(escape(prompt), escape(target), escape("  ".join(short)))
    console().print(table)


def _part(name: str) -> str:
    from harness.benchmarks import BENCHMARKS, NOT_PUBLIC
    from harness.tasks import TASKS

    if name in NOT_PUBLIC:
        stop(f"{name} is {NOT_PUBLIC[name]}")
    if name not in TASKS and name not in BENCHMARKS:
        stop(f"there is no task {name!r}; tasks: {', '.join(TASKS)}; fixed sets: {', '.join(BENCHMARKS)}")
    return name


@app.command("validate")
def tasks_validate(
    names: Annotated[list[str] | None, typer.Argument(help="Tasks to validate.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every task, in under ten minutes.")] = False,
    as_json: Json = False,
) -> None:
    """Grade gold answers, which must all score, and attacks, which must not; exit code 1 if one does otherwise."""
    from dataclasses import asdict

    from harness.tasks import TASKS
    from harness.tasks.validate import validate_all

    if bool(names) == every:
        stop("name the tasks to validate, or say --all")
    if unknown := [name for name in names or [] if name not in TASKS]:
        stop(f"there is no task {unknown[0]!r}; tasks: {', '.join(TASKS)}")
    chosen, found = names or list(TASKS), []
    with progress_bar(f"{len(chosen)} tasks", len(chosen), quiet=as_json) as advance:
        for row in validate_all(chosen):
            found.append(row)
            advance(len(found))
    if as_json:
        print_json([asdict(row) for row in found])
    else:
        table = make_table("task", "questions", "gold answers right", "attacks right", "best constant", "floor")
        for row in found:
            attacks = f"{row.attacks_right} of {row.attacks:,}"
            constant = row.best_constant if len(row.best_constant) < 40 else row.best_constant[:39] + "…"
            table.add_row(
                row.task, f"{row.questions:,}", f"{row.gold_right:.1%}", attacks, escape(constant), f"{row.floor:.1%}"
            )
        console().print(table)
    wrong = [row.task for row in found if row.gold_right < 1 or row.attacks_right]
    if not as_json:
        told = f"[red]these do not hold: {', '.join(wrong)}[/]" if wrong else "[green]every grader holds[/]"
        console().print(f"{len(found)} tasks: {told}")
    if wrong:
        raise typer.Exit(1)


@app.command("overlap")
def tasks_overlap(
    training: Annotated[str, typer.Argument(help="What was trained on, such as gsm8k-train or nim/train.")],
    benchmark: Annotated[str, typer.Argument(help="What is held out, such as gsm8k or nim/heldout.")],
    count: Annotated[int, typer.Option("--questions", min=1, help="Of a generated task.")] = 10_000,
    as_json: Json = False,
) -> None:
    """Count the questions that two sets share, and between fixed sets the runs of words too, with examples."""
    from dataclasses import asdict

    from harness.benchmarks import BENCHMARKS
    from harness.benchmarks.overlap import GRAMS, describe, overlap, texts, withheld

    # Generated questions share their wording by design: only the same question means something there.
    n = GRAMS if {training, benchmark} <= BENCHMARKS.keys() else ()
    found = overlap(texts(training, count=count), texts(benchmark, count=count), n)
    if as_json:
        print_json(
            {"training": training, "benchmark": benchmark, "overlap": asdict(withheld(training, benchmark, found))}
        )
        return
    for line in describe(training, benchmark, found):
        console().print(escape(line))
