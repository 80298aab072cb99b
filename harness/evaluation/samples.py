"""A suite put to any model: answers, grades with their intervals, and samples that can be graded again.

    results.json       one row a part: accuracy and its interval, strict and lenient, truncated, tokens, milliseconds;
                       and which parts are missing still, for both files are written anew after each
    samples.parquet    one row an answer, with all that grading it again needs; of a set that its authors ask not to
                       publish again the scores alone

This is for looking at models. A verification asks its own questions, in harness.evaluation.gated, and only those gate.
"""

from __future__ import annotations

import importlib.util
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from harness import files
from harness.answers.generated import Generated
from harness.answers.grade import Grade, GraderError
from harness.answers.pool import PoolError
from harness.benchmarks import BENCHMARKS
from harness.evaluation import intervals
from harness.evaluation.model import SAMPLING, EvaluationError, Model
from harness.evaluation.questions import Item, Part, kind_of, probe
from harness.frozen import stats
from harness.frozen.format import Sample
from harness.isolation.sandbox import SandboxError
from harness.tasks import GENERATED

if TYPE_CHECKING:
    import pandas

RESULTS, SAMPLES = "results.json", "samples.parquet"
WITHHELD = (
    "scores alone, which cannot be graded again: its authors ask that no question is published again, and an answer "
    "may quote one"
)


def check_installed() -> None:
    """Raises EvaluationError where samples could not be written or read: to be known before hours of answers."""
    for package in ("pandas", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise EvaluationError(f"samples are kept with {package}: scripts/setup.sh tasks")


def check_folder(folder: Path) -> None:
    """Make the folder for the files, and try to write there, for the same reason. Raises EvaluationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise EvaluationError(
            f"nothing can be written to the folder {folder} ({error.strerror}); name another with --out"
        ) from None
    for path in (folder / RESULTS, folder / SAMPLES):
        if path.is_dir():
            raise EvaluationError(f"{path} is a folder where a file is to go; name another folder with --out")


def check_graders(parts: Sequence[Part]) -> None:
    """Try every grader that the parts need, for the same reason again. Raises EvaluationError."""
    for part in parts:
        try:
            probe(part)
        except (GraderError, PoolError, SandboxError) as error:
            why = " ".join(str(error).split())
            raise EvaluationError(
                f"{part.name} cannot be graded here, so nothing was asked: {why}; fix that, or ask other parts by name"
            ) from None


@dataclass(frozen=True)
class Answer:
    """One completion of one question, graded. `tokens` counts the end token; `truncated`: it never came."""

    item: Item
    number: int
    completion: str
    tokens: int
    truncated: bool
    grade: Grade


@dataclass(frozen=True)
class Result:
    """A part's accuracy. The interval is Wilson's where each question was asked once, else a t-interval over the
    questions' means: several answers to one question are a cluster, not so many independent trials."""

    part: str
    questions: int
    total: int | None  # questions that a benchmark has, asked or not; a task's are drawn
    samples: int  # a question
    sampled_with: dict[str, float] | None  # None: one greedy answer a question
    strict: float
    strict_low: float
    strict_high: float
    lenient: float
    truncated: float
    tokens: float  # an answer
    ms: int  # of wall time, grading included
    regradable: bool  # does samples.parquet have what grading again needs?
    left_out: dict[str, int]  # rows that cannot be asked, by reason: of all; for the want of tests, of those tried


def ask(
    model: Model,
    part: Part,
    *,
    batch: int,
    most_tokens: int = 0,
    on_progress: Callable[[float], None] = lambda done: None,
) -> tuple[Result, list[Answer]]:
    """Ask all questions of a part and grade every answer. `on_progress` is told how many questions are done; given the
    `most_tokens` of an answer, also how much of a batch is: so much of its questions as its longest answer has of them.

    `batch` sequences at a time, but at least all those of one question.
    """
    start, answers = time.monotonic(), list[Answer]()
    together = max(1, batch // max((item.samples for item in part.items), default=1))
    for first in range(0, len(part.items), together):
        items = part.items[first : first + together]

        def on_step(tokens: int, first: int = first, count: int = len(items)) -> None:
            if most_tokens:
                on_progress(first + count * tokens / most_tokens)

        for item, rows in zip(items, model.answer(items, items[0].samples, on_step), strict=True):
            for number, ids in enumerate(rows):
                text, truncated = model.text(ids), not ids or ids[-1] not in model.end_ids
                answers.append(Answer(item, number, text, len(ids), truncated, item.grade(text)))
        on_progress(first + len(items))
    return summary(part, answers, time.monotonic() - start), answers


def summary(part: Part, answers: Sequence[Answer], seconds: float) -> Result:
    """The part's row; there is an answer at least."""
    by_question: dict[str, list[Answer]] = {}
    for answer in answers:
        by_question.setdefault(answer.item.sample.id, []).append(answer)
    samples = max(map(len, by_question.values()))
    if samples == 1:
        low, high = intervals.wilson(sum(a.grade.strict for a in answers), len(answers))
    else:
        low, _, high = stats.t_interval([mean(a.grade.strict for a in group) for group in by_question.values()])
    return Result(
        part=part.name,
        questions=len(by_question),
        total=part.total,
        samples=samples,
        sampled_with=SAMPLING if samples > 1 else None,
        strict=mean(a.grade.strict for a in answers),
        strict_low=max(low, 0.0),
        strict_high=min(high, 1.0),
        lenient=mean(a.grade.lenient for a in answers),
        truncated=mean(a.truncated for a in answers),
        tokens=mean(a.tokens for a in answers),
        ms=round(seconds * 1000),
        regradable=all(a.item.republish for a in answers),
        left_out=dict(part.left_out),
    )


# ---------------------------------------------------------------- files

COLUMNS = (
    "part", "id", "grader", "sample", "tokens", "truncated", "strict", "lenient",
    "prompt", "target", "metadata", "completion", "answer", "why",
)  # fmt: skip


def report(about: dict[str, Any], parts: Sequence[str], results: Sequence[Result]) -> dict[str, Any]:
    """What results.json says. `about`: model, suite, seed and settings; `parts`: all that the suite asks."""
    done = {result.part for result in results}
    missing = [part for part in parts if part not in done]
    return {**about, "complete": not missing, "missing": missing, "parts": [asdict(result) for result in results]}


def write(folder: Path, results: dict[str, Any], answers: Sequence[Answer]) -> None:
    """Both files, each in one step: the samples first, so that what the results count is there, whenever it ends."""
    import pandas

    folder.mkdir(parents=True, exist_ok=True)
    table = pandas.DataFrame([_row(answer) for answer in answers], columns=list(COLUMNS))
    table.attrs = {answer.item.part: WITHHELD for answer in answers if not answer.item.republish}  # the file's metadata
    with files.replacing(folder / SAMPLES) as file:
        table.to_parquet(file, index=False)
    files.write(folder / RESULTS, json.dumps(results, indent=2) + "\n")


def _row(answer: Answer) -> dict[str, Any]:
    """Of a set that must not be published again no text stays: a completion may quote its question, and an answer that
    is right is the gold one."""
    item = answer.item
    text = {
        "prompt": item.sample.prompt,
        "target": item.sample.target,
        "metadata": json.dumps(item.sample.metadata),
        "completion": answer.completion,
        "answer": answer.grade.answer,
        "why": answer.grade.why,
    }
    return {
        "part": item.part,
        "id": item.sample.id,
        "grader": item.kind.name,
        "sample": answer.number,
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "strict": answer.grade.strict,
        "lenient": answer.grade.lenient,
        **(text if item.republish else dict.fromkeys(text)),
    }


# ---------------------------------------------------------------- grading again


@dataclass(frozen=True)
class Regraded:
    """A file of samples, as today's graders see it."""

    table: pandas.DataFrame  # the rows that could be graded anew, with their new grades
    differ: int  # how many of them the file has otherwise
    withheld: dict[str, int]  # how many could not, by part


def regrade(path: Path) -> Regraded:
    """Grade a file's rows anew, except those of sets whose text is kept out. Raises EvaluationError."""
    check_installed()
    import pandas

    try:
        table = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{path} is not a file of samples: {error}") from None
    if absent := [name for name in COLUMNS if name not in table.columns]:
        raise EvaluationError(f"{path} has no column {', '.join(absent)}: it is not a file of samples")
    kept_out = table["part"].isin([name for name, benchmark in BENCHMARKS.items() if not benchmark.republish])
    withheld = {str(part): int(count) for part, count in table.loc[kept_out, "part"].value_counts().items()}
    table = table[~kept_out]
    if table.empty:
        what = ", ".join(f"{part}: {WITHHELD}" for part in withheld) or "it has no rows"
        raise EvaluationError(f"{path} has nothing to grade again: {what}")
    fresh = [_graded(_item(row), row["completion"]) for row in table.to_dict("records")]
    strict, lenient = [grade.strict for grade in fresh], [grade.lenient for grade in fresh]
    differ = int(((table["strict"] != strict) | (table["lenient"] != lenient)).sum())
    return Regraded(table.assign(strict=strict, lenient=lenient), differ, withheld)


def _graded(item: Item, completion: str) -> Grade:
    """Grade a completion; where the row's metadata is not what its grader reads, say which row."""
    try:
        return item.grade(completion)
    except (GraderError, PoolError, SandboxError):  # this machine, or the file's words, and not the metadata's form
        raise
    except Exception as error:
        raise EvaluationError(f"sample {item.sample.id}: its metadata is not a {item.part}'s: {error!r}") from None


def _item(row: dict[str, Any]) -> Item:
    if not all(isinstance(row[name], str) for name in ("id", "part", "grader", "prompt", "completion")):
        raise EvaluationError(f"sample {row['id']!r}: id, part, grader, prompt and completion must be text")
    if row["grader"] == Generated.name and row["part"] not in GENERATED:
        raise EvaluationError(f"sample {row['id']}: there is no task {row['part']!r} that could grade it")
    if row["part"] not in GENERATED and row["part"] not in BENCHMARKS:
        raise EvaluationError(f"sample {row['id']}: there is no task or benchmark {row['part']!r}")
    try:
        metadata = json.loads(row["metadata"])
    except (TypeError, ValueError, RecursionError) as error:
        raise EvaluationError(f"sample {row['id']}: its metadata is no JSON: {error}") from None
    if not isinstance(metadata, dict) or not isinstance(row["target"], str):
        raise EvaluationError(f"sample {row['id']}: metadata must be a JSON object, and target text")
    sample = Sample(row["id"], row["prompt"], row["target"], metadata)
    return Item(row["part"], sample, kind_of(row["part"], row["grader"]))
