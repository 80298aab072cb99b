"""The questions of a suite's parts, how they are asked and how an answer is graded.

A part is a generated task, whose questions follow from a key, or a fixed benchmark, whose questions are those of a
pinned data set. From here on both look alike.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from harness.answers.choice import Choice
from harness.answers.clue import Clue
from harness.answers.code import Code
from harness.answers.generated import Generated
from harness.answers.grade import Grade, GraderError
from harness.answers.integer import Integer
from harness.answers.kind import Kind
from harness.answers.maths import Maths
from harness.benchmarks import BENCHMARKS, LeftOut, Question, complete, stream
from harness.benchmarks.suites import SuiteError
from harness.evaluation import programs
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.tasks import GENERATED

if TYPE_CHECKING:
    import datasets

# Of fixed benchmarks, by the name that a question carries; a generated question is graded by its task (Generated).
KINDS: dict[str, Kind] = {kind.name: kind for kind in (Integer(), Maths(), Choice(), Clue(), Code(programs.run))}
# Long enough for every grader to do what it does: to start its processes, or a sandbox.
PROBE = "<think></think><answer>```python\npass\n```</answer>"


@dataclass(frozen=True)
class Item:
    """One question. `samples`: how many answers are drawn."""

    part: str
    sample: Sample
    kind: Kind
    samples: int = 1
    republish: bool = True  # may its text stand in a file of samples?

    @property
    def question(self) -> str:
        """With the form of its answer. A track's chat template says where the answer goes."""
        return self.kind.question(self.sample)

    def grade(self, completion: str) -> Grade:
        """Total. Raises GraderError, PoolError or SandboxError where this question, or machine, has no grader."""
        return self.kind.grade(self.sample, completion)


@dataclass(frozen=True)
class Part:
    """The questions of one part of a suite, and how many rows were left out for which reason: of the whole benchmark,
    but what only an annex can tell (no tests, too large ones) of those rows that were tried.
    """

    name: str
    items: list[Item]
    left_out: Counter[str] = field(default_factory=Counter)
    total: int | None = None  # questions that a benchmark has, asked or not; a task's are drawn


def kind_of(part: str, name: str) -> Kind:
    """The kind of the answers to a part's question that carries the name of a grader. Raises GraderError."""
    if name == Generated.name and part in GENERATED:
        return Generated(GENERATED[part])
    if name not in KINDS:
        raise GraderError(f"there is no grader {name!r} for {part}; there are {', '.join(KINDS)}")
    return KINDS[name]


def part(name: str, key: bytes, most: int) -> Part:
    """At most `most` questions of a part: of a task the first that `key` stands for; of a benchmark those whose hash is
    smallest, in its own order. Its first rows would be one subject, or the easy ones.

    Raises harness.benchmarks.SourceError where a data set cannot be had or is not the one that was pinned, and
    SuiteError for a name that is of neither kind.
    """
    if name not in GENERATED and name not in BENCHMARKS:
        raise SuiteError(f"{name!r} is no task and no benchmark; `nano-r1 tasks list` names them")
    if name in GENERATED:
        task = GENERATED[name]
        return Part(name, [Item(name, sample(task, key, "heldout", i), Generated(task)) for i in range(most)])
    benchmark, left_out = BENCHMARKS[name], Counter[str]()

    def kept(rows: Iterable[Question | LeftOut]) -> Iterator[Question]:
        for row in rows:
            if isinstance(row, LeftOut):
                left_out[row.reason] += 1
            else:
                yield row

    rows, tried = stream(benchmark), 0
    questions, chosen = list(kept(rows if benchmark.annex else map(_gradable, rows))), list[Question]()
    ranked = iter(sorted(questions, key=lambda row: hashlib.sha256(f"{name}/{row.id}".encode()).digest()))
    # Behind an annex what cannot be graded is known once the tests are there: then as many more are taken.
    while len(chosen) < most and (taken := list(islice(ranked, most - len(chosen)))):
        tried += len(taken)
        chosen += kept(map(_gradable, complete(benchmark, taken))) if benchmark.annex else taken
    place = {question.id: number for number, question in enumerate(questions)}
    chosen.sort(key=lambda question: place[question.id])
    items = [Item(name, row, kind_of(name, row.grader), benchmark.samples, benchmark.republish) for row in chosen]
    return Part(name, items, left_out, len(questions) - (tried - len(chosen)))


def _gradable(question: Question | LeftOut) -> Question | LeftOut:
    if isinstance(question, LeftOut):
        return question
    reason = KINDS[question.grader].refusal(question)
    return question if reason is None else LeftOut(reason)


def probe(part: Part) -> None:
    """Try each grader that the part needs on a wrong answer: what is missing must not be found out hours later.

    Raises SuiteError if no question can be graded, and PoolError, SandboxError or GraderError if this machine cannot.
    """
    if not part.items:
        raise SuiteError(f"{part.name} has no question that can be graded; left out: {dict(part.left_out)}")
    for item in {(item.kind.name, item.sample.metadata.get("form")): item for item in part.items}.values():
        item.grade(PROBE)


def dataset(name: str, key: bytes, most: int) -> datasets.Dataset:
    """A part's questions as a `datasets.Dataset`: id, prompt, target, metadata (JSON), grader."""
    import datasets

    rows = [
        {
            "id": item.sample.id,
            "prompt": item.sample.prompt,
            "target": item.sample.target,
            "metadata": json.dumps(item.sample.metadata),
            "grader": item.kind.name,
        }
        for item in part(name, key, most).items
    ]
    return datasets.Dataset.from_list(rows)
