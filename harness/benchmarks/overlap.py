"""Decontamination: does one set of questions contain another's?

Two measures, for two kinds of set.

    same     Questions with the same normalised text: lower case, punctuation off, words sorted as in
             `harness.frozen.draw.split_of`, so that `from 3, 7 and 8` and `from 8, 3 and 7` are one question. For
             generated tasks, whose questions are short and alike but for their numbers. Sorting makes it an upper
             bound: `3 brothers and 4 sisters` and `4 brothers and 3 sisters` count as one.
    n-grams  Runs of n words that both sets contain: 13, as for GPT-3 (Brown et al., arXiv 2005.14165, appendix C), and
             8, as for PaLM (Chowdhery et al., arXiv 2204.02311), which calls a question contaminated when 70% of its
             8-grams are found. For fixed sets, where texts are long and copies are edited. Single 8-grams are mostly
             stock phrases ("how much money does she have left after"): read the share beside the count. A short
             question inside a long one (AIW's puzzles stand before a page of instructions) covers little of it, so
             questions that contain a whole training question are counted apart.

A text of fewer than n words counts as one gram of its own length. The benchmark is indexed, the training set streamed
past it once, so memory grows with the benchmark alone.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from harness.benchmarks import BENCHMARKS, Question, stream
from harness.errors import NanoR1Error, meant
from harness.frozen.draw import Split, sample
from harness.tasks import GENERATED

GRAMS = (13, 8)
COVERED = 0.7  # the share of its n-grams from which a question counts as covered
DRAWN = 20_000  # questions drawn of a generated task, unless asked otherwise
WITHHELD = "(not shown: its authors ask that no question is published)"

Text = tuple[str, str]  # (id, prompt)


class OverlapError(NanoR1Error):
    """A set of questions that there is not."""


@dataclass(frozen=True)
class Shared:
    """One finding: the n-gram (or the whole normalised text), and a question of each set that has it."""

    training: str  # id
    benchmark: str  # id
    text: str


@dataclass(frozen=True)
class Grams:
    """What the two sets share in runs of n words. Counts are of questions."""

    n: int
    benchmark: int  # questions of the benchmark with at least one n-gram of the training set
    covered: int  # of them, those with at least COVERED of their n-grams
    containing: int  # of them, those that have every n-gram of some one training question: it stands in them
    training: int  # questions of the training set with at least one n-gram of the benchmark
    examples: list[Shared]  # containing ones first, then the most covered; one n-gram each


@dataclass(frozen=True)
class Overlap:
    training: int  # how many questions were looked at
    benchmark: int
    same: int  # benchmark questions whose normalised text is in the training set
    same_examples: list[Shared]
    grams: list[Grams]


def words(text: str) -> list[str]:
    """Lower-case words and numbers in order, for n-grams; punctuation and LaTeX's braces and backslashes fall away."""
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).lower())


def normal(text: str) -> str:
    """The question whatever the order of its words and numbers. Operators stay: `3x + 7` is not `3x - 7`."""
    lowered = unicodedata.normalize("NFKC", text).lower()
    return " ".join(sorted(re.findall(r"[^\W_]+|[^\w\s.,:;?!\"']", lowered)))


def fingerprint(text: str) -> bytes:
    """SHA-256 of the normal form."""
    return hashlib.sha256(normal(text).encode("utf-8", "surrogatepass")).digest()


def overlap(
    training: Iterable[Text], benchmark: Iterable[Text], n: tuple[int, ...] = GRAMS, examples: int = 5
) -> Overlap:
    """How much of `benchmark` is in `training`. Both are read once; `training` is never held."""
    questions = list(benchmark)
    numbers: dict[bytes, list[int]] = defaultdict(list)  # fingerprint -> questions of the benchmark that have it
    for number, (_, prompt) in enumerate(questions):
        numbers[fingerprint(prompt)].append(number)
    indices = [_Index(length, questions) for length in n]

    read = 0
    same: dict[int, str] = {}  # benchmark question -> the first training question like it
    for identity, prompt in training:
        read += 1
        for number in numbers.get(fingerprint(prompt), []):
            same.setdefault(number, identity)
        for index in indices:
            index.add(identity, prompt)

    first = sorted(same)[:examples]
    shared = [Shared(same[number], questions[number][0], normal(questions[number][1])) for number in first]
    return Overlap(read, len(questions), len(same), shared, [index.summary(examples) for index in indices])


class _Index:
    """The n-grams of a benchmark, and which of them the training questions have that were added."""

    def __init__(self, n: int, questions: list[Text]) -> None:
        self._n, self._questions = n, questions
        self._where: dict[str, list[int]] = defaultdict(list)  # n-gram -> benchmark questions that have it
        self._total = [0] * len(questions)
        for number, (_, prompt) in enumerate(questions):
            for gram in _grams(prompt, n):
                self._where[gram].append(number)
                self._total[number] += 1
        self._first: dict[str, str] = {}  # shared n-gram -> the first training question that has it
        self._containing = set[int]()
        self._training = 0

    def add(self, identity: str, prompt: str) -> None:
        """Compare one training question."""
        grams = _grams(prompt, self._n)
        shared = grams & self._where.keys()
        self._training += bool(shared)
        for gram in shared:
            self._first.setdefault(gram, identity)
        if shared and shared == grams:
            self._containing |= set.intersection(*(set(self._where[gram]) for gram in shared))

    def summary(self, examples: int) -> Grams:
        hits: dict[int, list[str]] = defaultdict(list)
        for gram in sorted(self._first):  # sorted: the same examples in every process
            for number in self._where[gram]:
                hits[number].append(gram)
        share = {number: len(grams) / self._total[number] for number, grams in hits.items()}
        most = sorted(hits, key=lambda number: (number not in self._containing, -share[number], number))[:examples]
        return Grams(
            n=self._n,
            benchmark=len(hits),
            covered=sum(value >= COVERED for value in share.values()),
            containing=len(self._containing),
            training=self._training,
            examples=[Shared(self._first[hits[i][0]], self._questions[i][0], hits[i][0]) for i in most],
        )


def _grams(prompt: str, n: int) -> set[str]:
    """Every run of n words, each once."""
    text = words(prompt)
    return {" ".join(text[start : start + n]) for start in range(max(1, len(text) - n + 1))} if text else set()


# ---------------------------------------------------------------- sets by name


def texts(name: str, key: bytes = b"overlap", count: int = DRAWN) -> Iterator[Text]:
    """The questions of a fixed set (`gsm8k-train`), or `count` of a generated task's (`nim/train`, `nim/heldout`).

    Raises OverlapError for a name that there is not, at once; SourceError for a set that cannot be had, once read.
    """
    task, _, split = name.partition("/")
    if name in BENCHMARKS:
        return ((item.id, item.prompt) for item in stream(BENCHMARKS[name]) if isinstance(item, Question))
    if task in GENERATED and split in ("train", "heldout"):
        side: Split = "train" if split == "train" else "heldout"
        return ((f"{name}/{index}", sample(GENERATED[task], key, side, index).prompt) for index in range(count))
    sides = [f"{known}/{side}" for known in GENERATED for side in ("train", "heldout")]
    raise OverlapError(
        f"there is no set of questions {name!r}",
        advice=(f"name its side: {name}/train or {name}/heldout" if name in GENERATED else "")
        or meant(name, [*BENCHMARKS, *sides])
        or f"name a fixed set, or a generated task and its side such as {next(iter(GENERATED))}/train; "
        "`nano-r1 tasks list` lists both",
    )


def describe(training: str, benchmark: str, overlap: Overlap) -> Iterator[str]:
    """What was found between two sets, in lines for a person. Of a set that must not be shown, ids and no text."""
    yield f"{training}, {overlap.training:,} questions, against {benchmark}, {overlap.benchmark:,} questions"
    yield f"  same question: {overlap.same:,} of {benchmark}"
    yield from example_lines(training, benchmark, overlap.same_examples)
    for grams in overlap.grams:
        yield (
            f"  {grams.n} words in a row: {grams.benchmark:,} of {benchmark} ({grams.covered:,} covered to "
            f"{COVERED:.0%} and more, {grams.containing:,} containing a whole question), {grams.training:,} of "
            f"{training}"
        )
        yield from example_lines(training, benchmark, grams.examples)


def withheld(training: str, benchmark: str, overlap: Overlap) -> Overlap:
    """The same without a word of a set whose authors ask that it is not shown: ids and counts stay."""
    if not secret(training, benchmark):
        return overlap

    def without(shared: list[Shared]) -> list[Shared]:
        return [replace(example, text=WITHHELD) for example in shared]

    grams = [replace(counts, examples=without(counts.examples)) for counts in overlap.grams]
    return replace(overlap, same_examples=without(overlap.same_examples), grams=grams)


def secret(training: str, benchmark: str) -> bool:
    """Must the text of either set stay out of what others read?"""
    return any(name in BENCHMARKS and not BENCHMARKS[name].republish for name in (training, benchmark))


def example_lines(training: str, benchmark: str, shared: Iterable[Shared]) -> Iterator[str]:
    """A line an example: both ids, and what they share unless the authors of either set ask that it is not shown."""
    withhold = secret(training, benchmark)
    for example in shared:
        yield f"    {example.training} and {example.benchmark}: {WITHHELD if withhold else example.text}"
