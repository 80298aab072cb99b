"""Questions of a task or a fixed set as a model gets them, with a right answer and answers that must score 0."""

from __future__ import annotations

from dataclasses import dataclass

from harness.benchmarks import BENCHMARKS, NOT_PUBLIC
from harness.benchmarks.suites import SuiteError
from harness.errors import NoSuchName
from harness.evaluation.questions import Item, part
from harness.tasks import GENERATED

KEY = b"shown by nano-r1 tasks show"


@dataclass(frozen=True)
class Example:
    prompt: str
    target: str
    attacks: list[str]


def examples(name: str, count: int, template: str = "{prompt}") -> list[Example | None]:
    """At most `count` questions, or None for one that its authors ask not to show.
    Raises NoSuchName, SuiteError, SourceError.

    `template`: a track's, into which the question is put.
    """
    if name in NOT_PUBLIC:
        raise SuiteError(f"{name} is {NOT_PUBLIC[name]}")
    if name not in GENERATED and name not in BENCHMARKS:
        raise NoSuchName("task or fixed set", name, [*GENERATED, *BENCHMARKS], listed_by="nano-r1 tasks list")
    return [_example(item, template) if item.republish else None for item in part(name, KEY, count).items]


def _example(item: Item, template: str) -> Example:
    return Example(template.format(prompt=item.question), item.sample.target, item.kind.attacks(item.sample))
