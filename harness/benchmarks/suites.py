"""Suites: named sets of questions that any model can be asked, and how one answer is graded.

A part of a suite is a generated task, whose questions follow from a key, or a fixed benchmark, whose questions are
those of a pinned data set. From here on both look alike.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from harness.answers import by_name
from harness.answers.forms import TASK
from harness.answers.grade import Grade, answer_of, final_part
from harness.benchmarks import BENCHMARKS, LeftOut, Question, complete, stream
from harness.errors import NanoR1Error
from harness.tasks import TASKS, Sample, sample, score

if TYPE_CHECKING:
    import datasets

FILE = Path(__file__).with_suffix(".toml")
# Long enough for every grader to do what it does: to start its processes, or a sandbox.
PROBE = "<think></think><answer>```python\npass\n```</answer>"


class SuiteError(NanoR1Error):
    """A suite that does not exist or cannot be asked; the message says what to do."""


class Suite(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    tasks: list[str] = []
    benchmarks: list[str] = []

    @property
    def parts(self) -> list[str]:
        return [*self.tasks, *self.benchmarks]


@dataclass(frozen=True)
class Item:
    """One question. `grader`: TASK, or the name of one in harness.answers. `samples`: how many answers are drawn."""

    part: str
    sample: Sample
    grader: str
    samples: int = 1
    republish: bool = True  # may its text stand in a file of samples?


@dataclass(frozen=True)
class Part:
    """The questions of one part of a suite, and how many rows were left out for which reason: of the whole benchmark,
    but what only an annex can tell (no tests, too large ones) of those rows that were tried.
    """

    name: str
    items: list[Item]
    left_out: Counter[str] = field(default_factory=Counter)
    total: int | None = None  # questions that a benchmark has, asked or not; a task's are drawn


@cache
def suites() -> dict[str, Suite]:
    """Every suite of suites.toml, and `all`, which has every part once. Raises SuiteError."""
    try:
        found = {name: Suite.model_validate(table) for name, table in tomllib.loads(FILE.read_text()).items()}
    except (ValidationError, tomllib.TOMLDecodeError) as error:
        raise SuiteError(f"{FILE}: {error}") from None
    for name, suite in found.items():
        for parts, known in ((suite.tasks, list(TASKS)), (suite.benchmarks, list(BENCHMARKS))):
            for part in parts:
                if part not in known:
                    raise SuiteError(f"{FILE}: {name} has {part!r}, which does not exist; there are {', '.join(known)}")
    everything = Suite(
        title="Everything",
        tasks=list(dict.fromkeys(part for suite in found.values() for part in suite.tasks)),
        benchmarks=list(dict.fromkeys(part for suite in found.values() for part in suite.benchmarks)),
    )
    return {**found, "all": everything}


def load(name: str) -> Suite:
    """The suite of that name; a part's own name is a suite of that part. Raises SuiteError."""
    if name in suites():
        return suites()[name]
    if name in TASKS:
        return Suite(title=name, tasks=[name])
    if name in BENCHMARKS:
        return Suite(title=name, benchmarks=[name])
    raise SuiteError(f"there is no suite {name!r}; suites: {', '.join(suites())}; any task or benchmark is one too")


def cannot_be_asked(name: str) -> str | None:
    """Why a part of a suite cannot be asked by anyone, whatever the connection; None if it can."""
    missing = BENCHMARKS[name].unknown if name in BENCHMARKS else []
    return f"its {', '.join(missing)} was never pinned" if missing else None


def part(name: str, key: bytes, most: int) -> Part:
    """At most `most` questions of a part: of a task the first that `key` stands for; of a benchmark those whose hash is
    smallest, in its own order. Its first rows would be one subject, or the easy ones.

    Raises harness.benchmarks.SourceError where a data set cannot be had or is not the one that was pinned, and
    SuiteError for a name that is of neither kind.
    """
    if name not in TASKS and name not in BENCHMARKS:
        raise SuiteError(f"{name!r} is no task and no benchmark; `nano-r1 tasks list` names them")
    if name in TASKS:
        drawn = (sample(TASKS[name], key, "heldout", i) for i in range(most))
        return Part(name, [Item(name, each, TASK) for each in drawn])
    benchmark, left_out = BENCHMARKS[name], Counter[str]()

    def kept(rows: Iterable[Question | LeftOut]) -> Iterator[Question]:
        for row in rows:
            if isinstance(row, LeftOut):
                left_out[row.reason] += 1
            else:
                yield row

    rows, tried = stream(benchmark), 0
    questions, found = list(kept(rows if benchmark.annex else map(_gradable, rows))), list[Question]()
    ranked = iter(sorted(questions, key=lambda each: hashlib.sha256(f"{name}/{each.id}".encode()).digest()))
    # Behind an annex what cannot be graded is known once the tests are there: then as many more are taken.
    while len(found) < most and (taken := list(islice(ranked, most - len(found)))):
        tried += len(taken)
        found += kept(map(_gradable, complete(benchmark, taken))) if benchmark.annex else taken
    place = {question.id: number for number, question in enumerate(questions)}
    found.sort(key=lambda each: place[each.id])
    items = [Item(name, each, each.grader, benchmark.samples, benchmark.republish) for each in found]
    return Part(name, items, left_out, len(questions) - (tried - len(found)))


def _gradable(question: Question | LeftOut) -> Question | LeftOut:
    if isinstance(question, LeftOut):
        return question
    reason = by_name.refusal(question.grader, question.metadata)
    return question if reason is None else LeftOut(reason)


def probe(part: Part) -> None:
    """Try each grader that the part needs on a wrong answer: what is missing must not be found out hours later.

    Raises SuiteError if no question can be graded, and PoolError, SandboxError or GraderError if this machine cannot.
    """
    if not part.items:
        raise SuiteError(f"{part.name} has no question that can be graded; left out: {dict(part.left_out)}")
    for item in {(item.grader, item.sample.metadata.get("form")): item for item in part.items}.values():
        grade(item, PROBE)


def grade(item: Item, completion: str) -> Grade:
    """Grade one completion. Total. Lenient looks for a task's answer behind the thought, with or without tags."""
    if item.grader != TASK:
        return by_name.grade(
            item.grader, completion,
            prompt=item.sample.prompt, target=item.sample.target, metadata=item.sample.metadata,
        )  # fmt: skip
    task = TASKS[item.part]
    found = score(task, item.sample, completion)
    if found.correct:
        return Grade(strict=True, lenient=True, answer=found.answer)
    loose = (answer_of(completion) or final_part(completion)).strip()
    lenient = len(loose) <= 200 and task.accepts(item.sample, loose)
    return Grade(strict=False, lenient=lenient, answer=found.answer)


def dataset(name: str, key: bytes, most: int) -> datasets.Dataset:
    """A part's questions as a `datasets.Dataset`: id, prompt, target, metadata (JSON), grader."""
    import json

    import datasets

    rows = [
        {
            "id": item.sample.id,
            "prompt": item.sample.prompt,
            "target": item.sample.target,
            "metadata": json.dumps(item.sample.metadata),
            "grader": item.grader,
        }
        for item in part(name, key, most).items
    ]
    return datasets.Dataset.from_list(rows)
