"""Put a suite to any model: answers, grades with their intervals, and samples that can be graded again.

    results.json       one row a part: accuracy and its interval, strict and lenient, truncated, tokens, milliseconds;
                       and which parts are missing still, for both files are written anew after each
    samples.parquet    one row an answer, with all that grading it again needs; of a set that its authors ask not to
                       publish again the scores alone

This is for looking at models. A verification asks its own questions, in harness.evaluate, and only those gate.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, Any

from harness import stats
from harness.answers.forms import FORM, TASK, form
from harness.answers.grade import Grade, GraderError
from harness.answers.pool import PoolError
from harness.benchmarks import BENCHMARKS
from harness.benchmarks.suites import Item, Part, grade, probe
from harness.errors import NanoR1Error
from harness.isolation.sandbox import SandboxError
from harness.tasks import TASKS, Sample

if TYPE_CHECKING:
    import pandas

RESULTS, SAMPLES = "results.json", "samples.parquet"
WITHHELD = (
    "scores alone, which cannot be graded again: its authors ask that no question is published again, and an answer "
    "may quote one"
)
SAMPLING = {"temperature": 0.6, "top_p": 0.95}  # where a question is answered several times (AIME); once means greedily


class ExaminationError(NanoR1Error):
    """A model or a file of samples that cannot be used; the message says what to do."""


def check_installed() -> None:
    """Raises ExaminationError where samples could not be written or read: to be known before hours of answers."""
    for package in ("pandas", "pyarrow"):
        if importlib.util.find_spec(package) is None:
            raise ExaminationError(f"samples are kept with {package}: pip install -c constraints.txt -e '.[tasks]'")


def check_folder(folder: Path) -> None:
    """Make the folder for the files, and try to write there, for the same reason. Raises ExaminationError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ExaminationError(
            f"nothing can be written to the folder {folder} ({error.strerror}); name another with --out"
        ) from None
    for path in (folder / RESULTS, folder / SAMPLES):
        if path.is_dir():
            raise ExaminationError(f"{path} is a folder where a file is to go; name another folder with --out")


def check_graders(parts: Sequence[Part]) -> None:
    """Try every grader that the parts need, for the same reason again. Raises ExaminationError."""
    for part in parts:
        try:
            probe(part)
        except (GraderError, PoolError, SandboxError) as error:
            why = " ".join(str(error).split())
            raise ExaminationError(
                f"{part.name} cannot be graded here, so nothing was asked: {why}; mend that, or ask other parts by name"
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


class Model:
    """A transformers model in a folder, or by name on the Hub, on whatever device torch has.

    `bare`: the question alone, as the CPU track's base was trained on it, without a word on the form of an answer.
    """

    def __init__(self, folder: str, *, bare: bool, max_new_tokens: int, seed: int = 0) -> None:
        import torch

        self.tokenizer, self.model = _load(folder)
        torch.manual_seed(seed)
        if self.tokenizer.pad_token is None:
            self.tokenizer.pad_token = self.tokenizer.eos_token
        self.bare, self.max_new_tokens = bare, max_new_tokens
        end = self.model.generation_config.eos_token_id or self.tokenizer.eos_token_id
        self.end_ids = set(end) if isinstance(end, list) else {end}

    def prompt(self, item: Item) -> str:
        text = (
            item.sample.prompt
            if self.bare
            else f"{item.sample.prompt}\n\n{FORM} {form(item.sample, item.grader)}".rstrip()
        )
        if self.tokenizer.chat_template is None:
            return f"{text}\n"
        messages = [{"role": "user", "content": text}]
        return str(self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

    def answer(self, items: Sequence[Item], samples: int) -> list[list[list[int]]]:
        """For each question `samples` completions as token ids, up to and with the end token."""
        import torch

        texts = [self.prompt(item) for item in items]
        inputs = self.tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        inputs = inputs.to(self.model.device)
        how: dict[str, Any] = {"do_sample": False, "temperature": None, "top_p": None, "top_k": None}
        if samples > 1:
            how = {"do_sample": True, "top_k": 0, **SAMPLING}
        with torch.inference_mode():
            out = self.model.generate(
                **inputs, **how, num_return_sequences=samples, max_new_tokens=self.max_new_tokens,
                pad_token_id=self.tokenizer.pad_token_id,
            )  # fmt: skip
        rows = [self._up_to_the_end(ids) for ids in out[:, inputs["input_ids"].shape[1] :].tolist()]
        return [rows[i * samples : (i + 1) * samples] for i in range(len(items))]

    def _up_to_the_end(self, ids: list[int]) -> list[int]:
        ends = [i for i, token in enumerate(ids) if token in self.end_ids]
        return ids[: ends[0] + 1] if ends else ids

    def text(self, ids: list[int]) -> str:
        body = ids[:-1] if ids and ids[-1] in self.end_ids else ids
        return str(self.tokenizer.decode(body, skip_special_tokens=False))


def _load(folder: str) -> tuple[Any, Any]:
    """(tokenizer, model) as transformers loads them, on whatever device torch has.

    transformers fills weights that are missing, or that the config asks for in another shape, with random numbers, and
    passes over those that the config has no place for: what such a model answers is nobody's score.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            folder, dtype="auto", output_loading_info=True, ignore_mismatched_sizes=True
        )
    except Exception as error:  # of any class: its files are read by whatever code their fields name
        why = " ".join(f"{type(error).__name__}: {error}".split())[:400]
        raise ExaminationError(f"{folder} is no model that transformers can load: {why}") from None
    model, found = loaded
    if unfit := _unfit(found):
        raise ExaminationError(
            f"{folder}: its weights do not fit its config.json: {unfit}; put both there from the same model"
        )
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu").eval()


def _unfit(found: dict[str, Any]) -> str:
    """What transformers reports of weights and config that do not fit, a few names of each kind; empty if they do."""
    told = {
        "missing": sorted(found["missing_keys"]),
        "of another shape": sorted(
            f"{name} {list(here)}, not {list(asked)}" for name, here, asked in found["mismatched_keys"]
        ),
        "without a place": sorted(found["unexpected_keys"]),
    }
    return "; ".join(
        f"{len(names)} {what} ({', '.join(names[:2])}{', …' if names[2:] else ''})"
        for what, names in told.items()
        if names
    )


def examine(
    model: Model, part: Part, *, batch: int, on_progress: Callable[[int], None] = lambda done: None
) -> tuple[Result, list[Answer]]:
    """Ask all questions of a part and grade every answer. `on_progress` hears how many questions are done.

    `batch` sequences at a time, but at least all those of one question.
    """
    start, answers = time.monotonic(), list[Answer]()
    together = max(1, batch // max((item.samples for item in part.items), default=1))
    for first in range(0, len(part.items), together):
        items = part.items[first : first + together]
        for item, rows in zip(items, model.answer(items, items[0].samples), strict=True):
            for number, ids in enumerate(rows):
                text, truncated = model.text(ids), not ids or ids[-1] not in model.end_ids
                answers.append(Answer(item, number, text, len(ids), truncated, grade(item, text)))
        on_progress(first + len(items))
    return result(part, answers, time.monotonic() - start), answers


def result(part: Part, answers: Sequence[Answer], seconds: float) -> Result:
    """The part's row; there is an answer at least."""
    by_question: dict[str, list[Answer]] = {}
    for answer in answers:
        by_question.setdefault(answer.item.sample.id, []).append(answer)
    samples = max(map(len, by_question.values()))
    if samples == 1:
        low, high = stats.wilson(sum(a.grade.strict for a in answers), len(answers))
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
    done = {each.part for each in results}
    missing = [part for part in parts if part not in done]
    return {**about, "complete": not missing, "missing": missing, "parts": [asdict(each) for each in results]}


def write(folder: Path, told: dict[str, Any], answers: Sequence[Answer]) -> None:
    """Both files, each in one step: the samples first, so that what the results count is there, whenever it ends."""
    import pandas

    folder.mkdir(parents=True, exist_ok=True)
    table = pandas.DataFrame([_row(answer) for answer in answers], columns=list(COLUMNS))
    table.attrs = {each.item.part: WITHHELD for each in answers if not each.item.republish}  # the file's metadata
    _replace(folder / SAMPLES, lambda path: table.to_parquet(path, index=False))
    _replace(folder / RESULTS, lambda path: path.write_text(json.dumps(told, indent=2) + "\n"))


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
        "grader": item.grader,
        "sample": answer.number,
        "tokens": answer.tokens,
        "truncated": answer.truncated,
        "strict": answer.grade.strict,
        "lenient": answer.grade.lenient,
        **(text if item.republish else dict.fromkeys(text)),
    }


def _replace(path: Path, fill: Callable[[Path], object]) -> None:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    temporary = Path(name)
    try:
        os.close(handle)
        fill(temporary)
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a power cut takes the new name back
    finally:
        os.close(folder)


@dataclass(frozen=True)
class Regraded:
    """A file of samples, as today's graders see it."""

    table: pandas.DataFrame  # the rows that could be graded anew, with their new grades
    differ: int  # how many of them the file has otherwise
    withheld: dict[str, int]  # how many could not, by part


def regrade(path: Path) -> Regraded:
    """Grade a file's rows anew, except those of sets whose text is kept out. Raises ExaminationError."""
    check_installed()
    import pandas

    try:
        table = pandas.read_parquet(path)
    except (OSError, ValueError) as error:
        raise ExaminationError(f"{path} is not a file of samples: {error}") from None
    if absent := [name for name in COLUMNS if name not in table.columns]:
        raise ExaminationError(f"{path} has no column {', '.join(absent)}: it is not a file of samples")
    kept_out = table["part"].isin([name for name, each in BENCHMARKS.items() if not each.republish])
    withheld = {str(part): int(count) for part, count in table.loc[kept_out, "part"].value_counts().items()}
    table = table[~kept_out]
    if table.empty:
        what = ", ".join(f"{part}: {WITHHELD}" for part in withheld) or "it has no rows"
        raise ExaminationError(f"{path} has nothing to grade again: {what}")
    fresh = [_graded(_item(row), row["completion"]) for row in table.to_dict("records")]
    strict, lenient = [each.strict for each in fresh], [each.lenient for each in fresh]
    differ = int(((table["strict"] != strict) | (table["lenient"] != lenient)).sum())
    return Regraded(table.assign(strict=strict, lenient=lenient), differ, withheld)


def _graded(item: Item, completion: str) -> Grade:
    """Grade a completion; where the row's metadata is not what its grader reads, say which row."""
    try:
        return grade(item, completion)
    except (GraderError, PoolError, SandboxError):  # this machine, or the file's words, and not the metadata's form
        raise
    except Exception as error:
        raise ExaminationError(f"sample {item.sample.id}: its metadata is not a {item.part}'s: {error!r}") from None


def _item(row: dict[str, Any]) -> Item:
    if not all(isinstance(row[name], str) for name in ("id", "part", "grader", "prompt", "completion")):
        raise ExaminationError(f"sample {row['id']!r}: id, part, grader, prompt and completion must be text")
    if row["grader"] == TASK and row["part"] not in TASKS:
        raise ExaminationError(f"sample {row['id']}: there is no task {row['part']!r} that could grade it")
    if row["part"] not in TASKS and row["part"] not in BENCHMARKS:
        raise ExaminationError(f"sample {row['id']}: there is no task or benchmark {row['part']!r}")
    try:
        metadata = json.loads(row["metadata"])
    except (TypeError, ValueError, RecursionError) as error:
        raise ExaminationError(f"sample {row['id']}: its metadata is no JSON: {error}") from None
    if not isinstance(metadata, dict) or not isinstance(row["target"], str):
        raise ExaminationError(f"sample {row['id']}: metadata must be a JSON object, and target text")
    return Item(row["part"], Sample(row["id"], row["prompt"], row["target"], metadata), row["grader"])
