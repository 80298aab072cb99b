"""What a fixed data set becomes: questions with gold answers, and rows that were left out, each with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Literal

from harness.benchmarks.pinned import Row, Source, SourceError, load, unknown
from harness.frozen.format import Sample

Grader = Literal[
    "integer",  # target: canonical digits, such as -3
    "maths",  # target: \boxed{…}, LaTeX
    "choice",  # target: one capital letter; metadata: options
    "clue",  # target: lines `A. Mrs. Peacock`; metadata: solution, {letter: answer}
    "code",  # metadata: form (function, stdin, ioi) and what each needs; see humaneval.py, codeforces.py, ioi.py
]


@dataclass(frozen=True)
class Question(Sample):
    """A sample of a fixed set. The prompt is the bare question: the track's chat template says how to answer."""

    grader: Grader = field(kw_only=True)


@dataclass(frozen=True)
class LeftOut:
    """A row that no grader of ours can decide. Counted by reason and shown, never dropped in silence."""

    reason: str


@dataclass(frozen=True)
class Annex:
    """A data set of its own, without which a benchmark's questions can be shown and not graded: their tests."""

    source: Source
    join: Callable[[Sequence[Question], Iterable[Row]], list[Question | LeftOut]]  # (questions, rows), in their order


@dataclass(frozen=True)
class Benchmark:
    """One fixed set. Of a training set only the prompts ever leave the harness; targets and metadata stay."""

    source: Source
    convert: Callable[[int, Row], Question | LeftOut]  # (number of the row from 0, row)
    role: Literal["benchmark", "training"] = "benchmark"
    samples: int = 1  # answers drawn a question; the score is their mean
    republish: bool = True  # may questions stand in a published file of samples?
    annex: Annex | None = None

    @property
    def name(self) -> str:
        return self.source.name

    @property
    def sources(self) -> list[Source]:
        return [self.source] if self.annex is None else [self.source, self.annex.source]

    @property
    def unknown(self) -> list[str]:
        """What of its data sets would have to be known before it can be asked; of the annex, with its name."""
        beside = [] if self.annex is None else unknown(self.annex.source)
        return [*unknown(self.source), *(f"{what} of {self.sources[-1].name}" for what in beside)]


def stream(benchmark: Benchmark, rows: Iterable[Row] | None = None) -> Iterator[Question | LeftOut]:
    """Every row as a question or as left out, in order; from `rows` if they are given, else loaded and checked."""
    source, seen = benchmark.source, set[str]()
    for number, row in enumerate(load(source) if rows is None else rows):
        try:
            item = benchmark.convert(number, row)
            if isinstance(item, Question) and not (isinstance(item.prompt, str) and item.prompt.strip()):
                raise TypeError(f"the question is {type(item.prompt).__name__} {item.prompt!r:.40}, no text")
        except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
            raise SourceError(
                f"{source.name}: row {number} of {source.repo} is not of the form that its reader knows "
                f"({type(error).__name__}: {error}); correct `convert`, or pin the revision that it was written for"
            ) from None
        if isinstance(item, Question) and item.id in seen:
            item = LeftOut("the question was there already")
        if isinstance(item, Question):
            seen.add(item.id)
        yield item


def complete(benchmark: Benchmark, questions: Sequence[Question]) -> list[Question | LeftOut]:
    """The questions with all that grading them needs, in order. Who needs their words only (`stream`) is spared the
    annex, which may be half a gigabyte. Raises SourceError."""
    if benchmark.annex is None:
        return list(questions)
    return benchmark.annex.join(questions, load(benchmark.annex.source))


def collect(benchmark: Benchmark, rows: Iterable[Row] | None = None) -> tuple[list[Question], Counter[str]]:
    """(questions, how many rows were left out for which reason)."""
    questions, left_out = list[Question](), Counter[str]()
    for item in stream(benchmark, rows):
        if isinstance(item, Question):
            questions.append(item)
        else:
            left_out[item.reason] += 1
    return questions, left_out


def lettered(question: str, options: list[str]) -> str:
    """The question with its options below it, `A. first`, `B. second`, …; at most 26."""
    lines = (f"{letter}. {option}" for letter, option in zip(ascii_uppercase, options, strict=False))
    return f"{question.strip()}\n\n" + "\n".join(lines)
