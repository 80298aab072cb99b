"""A data set of reasoning-gym (Stojanovski et al. 2025, version 0.1.25) as a task.

What is taken over is the generators, not the habits around them. Items there are seeded with `Random(seed + index)`, so
that seed 1 and seed 2 share 599 of 600 questions: here each draw is a data set of size 1, and its seed is a 32-bit fold
of the question's own HMAC stream. Verifiers there give part of the points, evaluate what the model wrote, or accept the
question as its answer: here an answer is put into its form's canonical shape and compared with the gold answer, and
where several answers are right a rule of a few lines checks the answer against the question. Each prompt ends with what
an answer looks like.

Drawing needs the package, in exactly this version, since another may draw other questions; grading does not.
"""

from __future__ import annotations

import copy
import importlib.metadata
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from harness.errors import NanoR1Error
from harness.frozen.draw import Stream
from harness.frozen.format import Sample
from harness.tasks.gym.forms import Facts, Form
from harness.tasks.gym.rules import Rule

VERSION = "0.1.25"
INSTALL = f"pip install 'reasoning-gym=={VERSION}'"
TRIES = 1000  # draws of one question before a data set is called broken

Edit = Callable[[str, str, Facts], tuple[str, str] | None]  # (question, answer, facts) to (question, answer)


class GymError(NanoR1Error):
    """reasoning-gym is missing, of another version or draws nothing usable; the message says what to do."""


def as_drawn(question: str, answer: str, facts: Facts) -> tuple[str, str] | None:
    return question, answer


@dataclass(eq=False)
class Gym:
    """A data set as a task. `edit` corrects a question and its answer, or returns None to have another one drawn."""

    dataset: str
    form: Form | Rule
    distinct: int  # at least; scripts/measure/audit_gym.py counts them
    config: Facts = field(default_factory=dict)
    edit: Edit = as_drawn
    choices: tuple[str, ...] = ()  # where only a few answers are possible
    ask: str | None = None  # instead of the form's
    name: str = field(init=False)
    modules = (
        "harness.tasks.gym.sets",
        "harness.tasks.gym.edits",
    )  # decide too: for a track's digest

    def __post_init__(self) -> None:
        self.name = "gym-" + self.dataset.replace("_", "-")

    def draw(self, stream: Stream) -> tuple[str, str, Facts]:
        for _ in range(TRIES):
            seed = stream.integer(0, 65535) << 16 | stream.integer(0, 65535)
            item = draw_item(self.dataset, seed, tuple(self.config.items()))
            facts = item["metadata"]
            edited = self.edit(item["question"], str(item["answer"]), facts)
            if edited is None:
                continue
            question, answer = (text.translate(_ASCII) for text in edited)
            prompt = f"{question.strip()}\n{self.form.ask if self.ask is None else self.ask}".strip()
            if prompt.isascii() and _USABLE.fullmatch(answer):
                return prompt, answer, {"seed": seed, **self.form.facts(facts)}
        raise GymError(f"{self.name} drew {TRIES} times and nothing was usable: report it")

    @property
    def tolerates(self) -> tuple[str, ...]:
        """What harness.tasks.attacks leaves out."""
        return ("another case",) if isinstance(self.form, Form) and self.form.any_case else ()

    def accepts(self, sample: Sample, answer: str) -> bool:
        return self.form.accepts(sample, answer)

    def attacks(self, sample: Sample) -> list[str]:
        gold = sample.target
        near = self.form.near_misses(sample) + [choice for choice in self.choices if choice.lower() != gold.lower()]
        wide = "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in gold)
        return [
            *near, "", " ", f"{gold} or {near[0]}", f"{near[0]}, {gold}", f"{gold} {gold}", f"{gold}\n{gold}", wide,
            f"I guess {gold}", f"answer: {gold}", f"\\boxed{{{gold}}}", f"**{gold}**", f"`{gold}`", f"{gold}.",
            f"{gold}!", f"({gold})", f"= {gold}", f"{gold} = {gold}", f"{gold}\u200b", f"\u00a0{gold}", f"{gold}\x00",
            f"{gold}\n", f"\n{gold}", ", ".join([*self.choices, *near, gold])[:200], " ".join(map(str, range(60))),
            "9" * 200, "(" * 200, "9**9**9**9", "__import__('os').getcwd()", "None", "nan", "inf", "[]", "{}", "\x00",
            sample.prompt[:200], sample.prompt[-200:],
        ]  # fmt: skip


_ASCII = str.maketrans({"×": "*", "÷": "/", "°": " degrees", "∫": ""})
_USABLE = re.compile(r"(?=[^ \n])[ -;=?-~\n]{1,200}(?<=[^ \n])")  # fits between the tags of an answer, and is one


def draw_item(dataset: str, seed: int, config: tuple[tuple[str, Any], ...]) -> Facts:
    """The one item of a data set of size 1 with this seed: its question, answer and metadata.

    Some data sets read a whole book at their start, so each is made once and copied; the tests compare the two ways.
    """
    items = copy.copy(generator(dataset, config))
    items.config, items.seed = replace(items.config, seed=seed), seed
    item: Facts = items[0]
    return item


@cache
def generator(dataset: str, config: tuple[tuple[str, Any], ...]) -> Any:
    return factory()(dataset, size=1, seed=0, **dict(config))


@cache
def factory() -> Callable[..., Any]:
    """reasoning_gym.create_dataset, of the pinned version. Raises GymError."""
    try:
        installed = importlib.metadata.version("reasoning-gym")
    except importlib.metadata.PackageNotFoundError:
        raise GymError(f"gym tasks draw with reasoning-gym, which is missing: {INSTALL}") from None
    if installed != VERSION:
        raise GymError(f"gym tasks draw with reasoning-gym {VERSION}, and {installed} is installed: {INSTALL}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # of a package that it imports
        import reasoning_gym  # type: ignore[import-untyped, import-not-found, unused-ignore]
    return reasoning_gym.create_dataset  # type: ignore[no-any-return, unused-ignore]
