"""The `nano-r1` command. It parses, shows and exits; what decides lives elsewhere.

Exit codes: 0 done and good; 1 done and not good (no record, a failed audit); 2 the request was wrong, and
nothing was changed; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from harness.errors import NanoR1Error

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from harness.ledger.record import BenchmarkScore, TaskResult, Verdict
    from harness.screen.check import Finding
    from harness.tracks.track import Track
    from harness.verify.session import Where

ROOT = Path(__file__).resolve().parent.parent
DEFAULT_KEY = Path.home() / ".config" / "nano-r1" / "key"

app = typer.Typer(
    help="The GRPO speedrun: verify, reproduce and audit records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

TrackName = Annotated[str, typer.Option("--track", help="Track to use; `nano-r1 tracks` lists them.")]
FoldersTrack = Annotated[
    str | None, typer.Option("--track", help="Track to use. Default: the one that submission.toml names.")
]
LedgerFolder = Annotated[Path, typer.Option("--ledger", help="Folder of the ledger.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Private signing key; `nano-r1 keygen` makes one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]


def main() -> None:
    """Entry point: every expected error becomes one clear line and exit code 2."""
    try:
        app()
    except NanoR1Error as error:
        stop(str(error))
    except ValueError as error:  # of the frozen files, which do not know harness.errors yet
        if type(error).__module__.startswith("harness"):
            stop(str(error))
        raise
    except PermissionError as error:
        stop(f"no permission: {error.filename or error}; choose a folder you may write to")
    except OSError as error:
        stop(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))


def stop(message: str) -> NoReturn:
    """A message may quote a hostile file: nothing in it reaches the terminal as a control sequence."""
    printable = "".join(c if c.isprintable() or c == "\n" else "\ufffd" for c in message)
    sys.stderr.write(f"nano-r1: {printable}\n")
    raise SystemExit(2)


def escape(text: str) -> str:
    from rich.markup import escape as rich_escape

    return rich_escape(text)


def console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


def say_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1, sort_keys=True) + "\n")


# ---------------------------------------------------------------- looking


tracks_app = typer.Typer(help="List the tracks; plan one for GPUs; fetch its base model.")
app.add_typer(tracks_app, name="tracks")
Named = Annotated[str, typer.Argument(metavar="TRACK", help="Its name; `nano-r1 tracks` lists them.")]


@tracks_app.callback(invoke_without_command=True)
def tracks(context: typer.Context, as_json: Json = False) -> None:
    """List the tracks: status, hardware, budget, gate, digest."""
    from harness.tracks import track as module

    if context.invoked_subcommand is not None:
        return
    found = [module.load(name) for name in module.names()]
    digests = {t.name: _digest(t) for t in found}
    if as_json:
        say_json([{**t.model_dump(mode="json"), "id": t.id, "digest": digests[t.name]} for t in found])
        return
    table = _table("track", "status", "hardware", "budget", "runs", "gate", "digest")
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
    from harness.tasks.gym import GymError

    try:
        return track.digest
    except (ClueError, GymError):
        return None


@tracks_app.command("plan")
def tracks_plan(name: Named, as_json: Json = False) -> None:
    """Reckon memory, tokens, GPU-hours and dollars of a GPU track; refuse what cannot fit."""
    from dataclasses import asdict

    from harness.planning import plan as planning
    from harness.tracks import track as module

    found = planning.plan(module.load(name))
    if as_json:
        say_json(asdict(found))
        return
    out, table = console(), _table("on one GPU", "GB", title=f"{found.track}: {found.hardware}")
    for what, count in found.memory.items():
        table.add_row(what, f"{count / 1e9:.2f}")
    table.add_section()
    table.add_row("together", f"{found.memory_bytes / 1e9:.2f}")
    table.add_row("usable", f"{found.usable_bytes / 1e9:.2f}")
    table.add_section()
    table.add_row("the host, at the least", f"{found.host_bytes / 1e9:.2f}")
    out.print(table)
    table = _table("a run", "", title=f"{found.parameters:,} weights, {found.trained:,} of them trained")
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


@tracks_app.command("fetch")
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


def _needs_its_gpus(track: Track) -> None:
    """Stop where a GPU track would be run without the GPUs: nothing that came of it could count."""
    if track.hardware.kind == "gpu" and (here := len(list(Path("/dev").glob("nvidia[0-9]*")))) < track.hardware.gpus:
        stop(
            f"{track.name} runs on {track.hardware.label}, and this machine has {here or 'none'}; "
            f"`nano-r1 tracks plan {track.name}` says what it would take"
        )


# ---------------------------------------------------------------- questions

tasks_app = typer.Typer(help="The questions: generated tasks, fixed benchmarks, suites of them.", no_args_is_help=True)
app.add_typer(tasks_app, name="tasks")


@tasks_app.command("list")
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
        say_json(
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
    table = _table("task", "distinct questions", "suites", title=f"{len(TASKS)} generated tasks")
    for name, task in TASKS.items():
        table.add_row(name, f"{task.distinct:,}", ", ".join(part_of[name]))
    console().print(table)
    table = _table("set", "role", "rows", "from", "suites", title=f"{len(BENCHMARKS)} fixed sets, at pinned commits")
    for name, each in BENCHMARKS.items():
        rows = "not pinned" if each.source.rows is None else f"{each.source.rows:,}"
        table.add_row(name, each.role, rows, escape(each.source.repo), ", ".join(part_of[name]))
    console().print(table)
    for name, why in NOT_PUBLIC.items():
        console().print(f"{name}: {escape(why)}\n")
    table = _table("suite", "parts", "", title=f"{len(found)} suites, for nano-r1 eval --suite")
    for name, suite in found.items():
        table.add_row(name, str(len(suite.parts)), escape(suite.title))
    console().print(table)


@tasks_app.command("show")
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
        say_json({name: [dict(zip(keys, row or (None, None, []), strict=True)) for row in rows]})
        return
    table = _table("question", "a right answer", "answers that score 0", title=name)
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


@tasks_app.command("validate")
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
    with _bar(f"{len(chosen)} tasks", len(chosen), quiet=as_json) as advance:
        for row in validate_all(chosen):
            found.append(row)
            advance(len(found))
    if as_json:
        say_json([asdict(row) for row in found])
    else:
        table = _table("task", "questions", "gold answers right", "attacks right", "best constant", "floor")
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


@tasks_app.command("overlap")
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
        say_json(
            {"training": training, "benchmark": benchmark, "overlap": asdict(withheld(training, benchmark, found))}
        )
        return
    for line in describe(training, benchmark, found):
        console().print(escape(line))


@app.command(name="doctor")
def doctor_command(as_json: Json = False) -> None:
    """Say what this machine can and cannot isolate and meter, by trying."""
    from harness.isolation import doctor, sandbox

    isolation = sandbox.isolation()
    checks = doctor.checks() if isolation.level == "full" else []
    proven = doctor.proven({check.name: check.ok for check in checks})  # what a record made here would say
    if as_json:
        say_json(
            {
                "isolation": proven,
                "reasons": isolation.reasons,
                "checks": {check.name: {"ok": check.ok, "detail": check.detail} for check in checks},
            }
        )
    else:
        out = console()
        if checks:
            table = _table("check", "", "detail")
            for check in checks:
                table.add_row(check.name, "[green]ok[/]" if check.ok else "[red]FAILED[/]", check.detail)
            out.print(table)
        for reason in isolation.reasons:
            out.print(f"- {reason}")
        out.print(f"isolation: [bold]{proven}[/]")
        if isolation.level == "none":
            out.print("Records made here are self-reported. To mend it: [bold]sudo apt-get install bubblewrap[/]")
        elif proven == "none":
            out.print("A check failed: records made here are never valid until it passes.")
    if proven == "none":
        raise typer.Exit(1)


# ---------------------------------------------------------------- making a submission


@app.command()
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


@app.command()
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
        _evaluate(chosen, output / "model.safetensors", seed, as_json=False)


@app.command(name="eval")
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
    _evaluate(chosen, path / "model.safetensors" if path.is_dir() else path, seed, as_json)


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
            with _bar(f"{part.name}: {len(part.items)} questions", len(part.items), quiet=as_json) as advance:
                found, given = examination.examine(model, part, batch=batch, on_progress=advance)
            results.append(found)
            answers += given
            examination.write(folder, examination.report(about, asked, results), answers)
    except BaseException:  # Ctrl-C, or a fault of the machine hours in
        kept = f"the parts that are, and which are missing, stand in {files}" if results else "nothing was written"
        sys.stderr.write(f"nano-r1: not finished; {kept}\n")
        raise
    if as_json:
        say_json(examination.report(about, asked, results))
        return
    table = _table(
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


@app.command()
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
        say_json({**told, "parts": means.to_dict("index")})
    else:
        shown = _table("part", "strict", "lenient", title=escape(str(file)))
        for part, row in means.iterrows():
            shown.add_row(str(part), f"{row['strict']:.4f}", f"{row['lenient']:.4f}")
        console().print(shown)
        for name, count in found.withheld.items():
            console().print(f"{name}: {count} samples not graded again: {examination.WITHHELD}")
        console().print(f"{found.differ} of {len(found.table)} samples are graded otherwise than in the file")
    if found.differ:
        raise typer.Exit(1)


def _evaluate(track: Track, weights: Path, seed: int, as_json: bool) -> None:
    import hashlib

    from harness import checkpoint, judge, stats
    from harness.evaluate import evaluate

    checked = checkpoint.read(weights, track.base_folder / "model.safetensors")
    total = sum(suite.questions for suite in track.heldout.suites)
    with _bar(f"{total} questions", total, quiet=as_json) as advance:
        result = evaluate(track, checked.data, hashlib.sha256(f"eval/{seed}".encode()).digest(), advance)
    passed = judge.passed_gate(track, result.tasks)
    if as_json:
        say_json(
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
    table = _table("task", "accuracy", "95% interval", "gate", "formatted", "truncated", "tokens", title=str(weights))
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


# ---------------------------------------------------------------- screening a submission


@app.command(name="check")
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
            say_json({**asdict(review), "passed": review.passed})
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
        say_json({folder: [asdict(each) for each in found] for folder, found in results.items()})
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


# ---------------------------------------------------------------- records


@app.command()
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
    with _cancellable() as cancel, _where(cluster) as where, TerminalReporter(quiet=as_json) as reporter:
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
        say_json(
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
    table = _table("gate", "accuracy", "95% interval", "needed", "sigma", "p", title=f"{name}: verdict")
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
    table = _table("reported, deciding nothing", "accuracy", "95% interval", "control run", "95% interval")
    for name, score in benchmarks.items():
        cells = [(f"{a.mean / 1e6:.4f}", f"{a.low / 1e6:.4f} – {a.high / 1e6:.4f}") if a else ("none", "")
                 for a in (score.accuracy_ppm, score.control_ppm)]  # fmt: skip
        table.add_row(name, *cells[0], *cells[1])
    out.print(table)


@app.command()
def audit(
    ledger: LedgerFolder = ROOT / "records",
    board: Annotated[Path | None, typer.Option(help="Rendered board. Default: leaderboard beside the ledger.")] = None,
    sample: Annotated[
        int | None, typer.Option(min=0, metavar="K", help="Grade K records again, drawn afresh. Default: all.")
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint that you kept: today's log must go on from it.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Re-check every record offline: signatures, log, questions, grades, statistics, board."""
    import time
    from dataclasses import asdict

    from harness.audit.audit import audit as run_audit
    from harness.ledger.log import Ledger

    if not ledger.is_dir():
        stop(f"{ledger} is not a folder; point --ledger at a ledger")
    pages = board or ledger.resolve().parent / "leaderboard"
    kept = None if checkpoint is None else checkpoint.read_bytes()
    start = time.monotonic()
    count = failed = 0
    for finding in run_audit(Ledger(ledger), pages if pages.is_dir() else None, sample=sample, kept=kept):
        # Each is shown when it is found and then forgotten, so that no ledger is too long.
        if as_json:
            sys.stdout.write(",\n" if count else "[\n")
            sys.stdout.write(json.dumps(asdict(finding), sort_keys=True))
        else:
            mark = typer.style("ok  ", fg="green") if finding.ok else typer.style("FAIL", fg="red", bold=True)
            typer.echo(f"{mark} {finding.check:20s} {finding.file}: {finding.message}")
        count, failed = count + 1, failed + (not finding.ok)
    if as_json:
        sys.stdout.write("\n]\n" if count else "[]\n")
    else:
        typer.echo(f"{count} checks, {failed} failed, {time.monotonic() - start:.1f} s")
    if failed:
        raise typer.Exit(1)


@app.command()
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
    with _cancellable() as cancel, TerminalReporter(quiet=as_json) as reporter:
        try:
            found = run_reproduction(item, runs=runs, state=default_state(), reporter=reporter, cancel=cancel)
        except Interrupted:
            raise typer.Exit(130) from None
    if as_json:
        say_json([{**asdict(row), "agrees": row.agrees} for row in found])
    else:
        table = _table("quantity", "record", "99% prediction interval", "here", "")
        for row in found:
            mark = "[green]agrees[/]" if row.agrees else "[red]differs[/]"
            table.add_row(
                row.quantity, f"{row.recorded:.4f}", f"{row.low:.4f} – {row.high:.4f}", f"{row.found:.4f}", mark
            )
        console().print(table)
    if not all(row.agrees for row in found):
        raise typer.Exit(1)


@app.command()
def leaderboard(
    ledger: LedgerFolder = ROOT / "records",
    out: Annotated[Path | None, typer.Option(help="Folder to write. Default: leaderboard beside the ledger.")] = None,
) -> None:
    """Render the board from the ledger."""
    from harness.board.render import render

    if not ledger.is_dir():
        stop(f"{ledger} is not a folder; point --ledger at a ledger")
    written = render(ledger, out or ledger.resolve().parent / "leaderboard")
    for path in written:
        console().print(str(path), soft_wrap=True)


@app.command()
def keygen(
    identity: Annotated[str, typer.Argument(help="Who signs: letters, digits, dots, dashes.")],
    key: KeyFile = DEFAULT_KEY,
    hours: Annotated[int, typer.Option(min=1, max=24 * 366, help="How long the key may sign, if it is listed.")] = 24,
) -> None:
    """Make a signing key, and print the line that would list it in records/allowed_signers."""
    from harness.ledger.signature import allowed_line, generate

    public = generate(key, identity)
    now = datetime.now(UTC).replace(microsecond=0)
    sys.stderr.write(
        f"wrote {key} (keep it private and delete it after use) and {key}.pub\n"
        "A maintainer makes its records official by adding this line to records/allowed_signers:\n"
    )
    sys.stdout.write(allowed_line(public, identity, now, now + timedelta(hours=hours)).rstrip("\n") + "\n")


# ---------------------------------------------------------------- the ledger: nano-r1 ledger …

ledger_app = typer.Typer(help="Look after a ledger: status of records, merges, interrupted appends.")
app.add_typer(ledger_app, name="ledger", no_args_is_help=True)


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        stop(f"{folder} is not a folder; point --ledger at a ledger")
    return folder


@ledger_app.command()
def show(ledger: LedgerFolder = ROOT / "records", as_json: Json = False) -> None:
    """Sessions, open commitments, and every record with its status and whose word it is."""
    from harness.ledger.log import Ledger

    state = Ledger(_existing(ledger)).state()
    if as_json:
        say_json(
            {
                "sessions": [
                    {
                        "entry": entry,
                        "created_utc": session.commitment.created_utc,
                        "signer": session.commitment.signer,
                        "track": session.commitment.track,
                        "submissions": [each.name for each in session.commitment.submissions],
                        "open": session.open,
                    }
                    for entry, session in state.sessions.items()
                ],
                "records": [
                    {
                        "record": folder,
                        "track": known.track,
                        "signer": known.signer,
                        "authority": known.authority,
                        "status": known.status,
                        "rule": known.change.rule if known.change else None,
                        "reason": known.change.reason if known.change else None,
                        "stands": state.standing(known.track) == folder,
                    }
                    for folder, known in state.records.items()
                ],
            }
        )
        return
    for entry, session in state.sessions.items():
        names = ", ".join(each.name for each in session.commitment.submissions)
        left = f", open: {', '.join(session.open)}" if session.open else ""
        typer.echo(f"session {entry} by {session.commitment.signer} on {session.commitment.track}: {names}{left}")
    for folder, known in state.records.items():
        status = f"{known.status}, stands" if state.standing(known.track) == folder else known.status
        why = f" under {known.change.rule}: {known.change.reason}" if known.change else ""
        typer.echo(f"record {folder} by {known.signer} on {known.track}: {known.authority}, {status}{why}")


@ledger_app.command()
def status(
    record: Annotated[str, typer.Argument(help="Folder of a record, such as 2026-11-20_cpu-logic_lean.")],
    status: Annotated[str, typer.Argument(help="verified, disputed, withdrawn or superseded.")],
    rule: Annotated[str, typer.Option(help="The rule that it follows from: R1 to R13 of CONTRIBUTING.md.")],
    reason: Annotated[str, typer.Option(help="Why, in one line; the board shows it.")],
    ledger: LedgerFolder = ROOT / "records",
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Change what a record counts for, in a signed entry. The latest entry about a record wins."""
    from harness.ledger.log import Ledger, status_change
    from harness.ledger.signature import load_key

    signing = load_key(key)
    change = status_change(Path(record).name, status, rule, reason, signing.identity, datetime.now(UTC))
    path = Ledger(_existing(ledger)).set_status(change, signing)
    console().print(f"{change.record} is {change.status} under {change.rule}: {path}", soft_wrap=True, markup=False)


@ledger_app.command()
def abandon(
    entry: Annotated[str, typer.Argument(help="The announcement, as `nano-r1 ledger show` names it.")],
    reason: Annotated[str, typer.Option(help="Why there will be no record, in one line.")],
    ledger: LedgerFolder = ROOT / "records",
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Close what is open of a session that cannot be resumed: its journal is lost, or its machine is gone."""
    from harness.ledger.log import Ledger
    from harness.ledger.signature import load_key
    from harness.verify import session as verify

    signing, folder = load_key(key), Ledger(_existing(ledger))
    announced = next((each for each in folder.open_commitments() if each.id == entry), None)
    if announced is None:
        stop(f"{entry} is not open in {ledger}; `nano-r1 ledger show --ledger {ledger}` lists what is")
    left = folder.open_submissions(entry)
    verify.abandon(folder, signing, announced, None, reason)
    console().print(f"closed without a record: {', '.join(left)}", soft_wrap=True, markup=False)


@ledger_app.command()
def repair(ledger: LedgerFolder = ROOT / "records") -> None:
    """Finish or drop an append that was interrupted. Each append does this first; it needs no key."""
    from harness.ledger.log import Ledger

    found = Ledger(_existing(ledger)).repair()
    console().print("an interrupted append was cleared up" if found else "nothing to repair")


@ledger_app.command()
def merge(
    theirs: Annotated[str, typer.Option(help="The other side, as git names it: a branch, a commit, MERGE_HEAD.")],
    ledger: LedgerFolder = ROOT / "records",
    key: KeyFile = DEFAULT_KEY,
) -> None:
    """Append the entries of another branch that this log lacks, and sign the checkpoint. Changes no commit."""
    from harness.ledger.history import Git
    from harness.ledger.log import TRUSTED, Ledger
    from harness.ledger.signature import load_key

    signing = load_key(key)
    with Git(_existing(ledger)) as git:
        commit = git.commit(theirs)
        added = Ledger(ledger).merge(git.reader(commit), signing)
        out = console()
        for path in added:
            out.print(f"appended {path}", soft_wrap=True, markup=False)
        out.print(f"{len(added)} new from {theirs}", markup=False)
        for name in TRUSTED:
            here = (ledger / name).read_bytes() if (ledger / name).is_file() else b""
            for line in (git.read(commit, name) or b"").decode(errors="replace").splitlines():
                if line not in here.decode(errors="replace").splitlines():
                    out.print(f"only theirs, add it if you vouch for it: {name}: {line}", soft_wrap=True, markup=False)


# ---------------------------------------------------------------- showing


def _table(*columns: str, title: str | None = None) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, title=title, title_justify="left", title_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


@contextlib.contextmanager
def _bar(label: str, total: int, quiet: bool) -> Iterator[Any]:
    from rich.progress import Progress

    with Progress(disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)


@contextlib.contextmanager
def _cancellable() -> Iterator[threading.Event]:
    """Ctrl-C (and a polite kill) sets an event, so that a session ends in order."""
    cancel = threading.Event()

    def handle(number: int, frame: Any) -> None:
        cancel.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield cancel
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main()
