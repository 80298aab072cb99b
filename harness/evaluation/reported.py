"""The fixed benchmarks that a track reports: put to each run's model behind its gated questions, and gating nothing.

Everyone knows GSM8K and MATH-500, and so may the base: random rewards alone raised the MATH-500 of Qwen2.5-Math-7B
by 21 points (Shao et al. 2025, arXiv:2506.10947). So no gate hangs on a fixed set. Its score stands in the record with
the control run's beside it, and what the reward itself taught shows in the difference.

A question is asked once, greedily, by the track's engine and within its `max_new_tokens`; the answer counts in exactly
the form that was asked for (strict pass@1). AIME's 64 samples a question are left to `nano-r1 eval --suite`.

A record keeps counts and the SHA-256 of all that was asked, and neither questions nor completions: some sets must not
be shown in public, a completion may quote its question, and those of MMLU-Pro alone would outweigh the ledger.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from functools import cache

from harness.answers.grade import GraderError
from harness.answers.pool import PoolError
from harness.benchmarks import BENCHMARKS, SourceError, suites
from harness.benchmarks.suites import SuiteError
from harness.errors import NanoR1Error
from harness.evaluation import intervals
from harness.evaluation.gated import engine
from harness.evaluation.questions import Item, Part, part, probe
from harness.frozen import stats
from harness.isolation.sandbox import SandboxError
from harness.ledger.record import BenchmarkResult, BenchmarkScore, Interval, Predicate, Run
from harness.tracks import rules
from harness.tracks.track import Track

PPM = 1_000_000


class ReportedError(NanoR1Error):
    """A benchmark that the track reports cannot be asked here; the message says why and what to do."""


# ---------------------------------------------------------------- which, and what they ask


def benchmarks(track: Track) -> tuple[list[str], dict[str, str]]:
    """(those that are asked, in the track's order; why each of the others can be asked by nobody)."""
    named = dict.fromkeys(name for suite in track.heldout.report for name in suites.load(suite).benchmarks)
    left_out = {name: why for name in named if (why := suites.cannot_be_asked(name))}
    return [name for name in named if name not in left_out], left_out


def count(track: Track) -> int:
    """How many questions a run's model is asked. Raises SourceError."""
    return sum(len(questions(name).items) for name in benchmarks(track)[0])


def most(track: Track) -> int:
    """The same without looking at the data: rows that a benchmark leaves out are counted too."""
    return sum(BENCHMARKS[name].source.rows or 0 for name in benchmarks(track)[0])


@cache
def questions(name: str) -> Part:
    """A benchmark's questions, downloaded and checked once a process. Raises SourceError."""
    return part(name, b"", sys.maxsize)


def digest(items: Sequence[Item]) -> str:
    """SHA-256 over all that the score hangs on, a line of JSON a question: id, text, gold answer, grader, metadata."""
    total = hashlib.sha256()
    for item in items:
        row = [item.sample.id, item.question, item.sample.target, item.kind.name, item.sample.metadata]
        total.update(json.dumps(row, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    return total.hexdigest()


def ready(track: Track) -> list[str]:
    """Download every question, and try every grader that will be needed. Returns what to print, a line each.

    At the beginning of a session: what is missing must not be found out behind hours of training. Raises ReportedError.
    """
    asked, left_out = benchmarks(track)
    lines = []
    for name in asked:
        try:
            benchmark = questions(name)
            probe(benchmark)
        except SourceError as error:
            raise ReportedError(
                f"{track.id} reports {name}, whose questions are not here (`nano-r1 tracks fetch {track.name}` "
                f"downloads them): {error}"
            ) from None
        except (SuiteError, PoolError, SandboxError, GraderError) as error:
            raise ReportedError(f"{track.id} reports {name}, which cannot be graded here: {error}") from None
        rows = "".join(f"; {count:,} rows left out: {reason}" for reason, count in benchmark.left_out.items())
        lines.append(f"reported beside the gates: {name}, {len(benchmark.items):,} questions{rows}")
    return lines + [f"not asked: {name}: {why}" for name, why in left_out.items()]


# ---------------------------------------------------------------- asking


def ask(
    track: Track, weights: bytes, on_progress: Callable[[int], None] = lambda done: None
) -> dict[str, BenchmarkResult]:
    """Put every reported benchmark to these (checked) weights, all in one go. Empty where the track reports none."""
    names, _ = benchmarks(track)
    if not names:
        return {}
    generate = engine(track)
    grader = rules.grader(track)
    items = [item for name in names for item in questions(name).items]
    prompts = [grader.text_ids(track.base.template.format(prompt=item.question)) for item in items]
    room = context(track) - track.sampling.max_new_tokens
    fitting = [i for i, prompt in enumerate(prompts) if len(prompt) <= room]
    answers = generate(
        track.base_folder,
        weights,
        [prompts[i] for i in fitting],
        end_id=grader.end_id,
        max_new_tokens=track.sampling.max_new_tokens,
        batch=track.sampling.batch,
        on_progress=on_progress,
    )
    completions = dict(zip(fitting, answers, strict=True))
    results, first = {}, 0
    for name in names:
        benchmark = questions(name)
        rows = [completions.get(i) for i in range(first, first + len(benchmark.items))]
        results[name] = tally(benchmark, rows, grader.text_of)
        first += len(benchmark.items)
    return results


def context(track: Track) -> int:
    """Tokens that the base model was made for; a longer sequence vLLM refuses, and others answer with noise."""
    config = json.loads((track.base_folder / "config.json").read_text(encoding="utf-8"))
    return int(config.get("max_position_embeddings", sys.maxsize))


def tally(
    part: Part, completions: Sequence[list[int] | None], decode: Callable[[list[int]], str | None]
) -> BenchmarkResult:
    """Grade a benchmark's completions, one a question, and count. None: the question did not fit, and is wrong.

    decode: what is graded of a completion, None if its end token never came (Grader.text_of).
    """
    correct = formatted = truncated = tokens = 0
    for item, ids in zip(part.items, completions, strict=True):
        completion = None if ids is None else decode(ids)
        tokens += len(ids or [])
        if completion is None:
            truncated += ids is not None
            continue
        grade = item.grade(completion)
        correct, formatted = correct + grade.strict, formatted + (grade.answer is not None)
    source = BENCHMARKS[part.name].source
    return BenchmarkResult(
        revision=str(source.revision),
        questions_sha256=digest(part.items),
        questions=len(part.items),
        correct=correct,
        formatted=formatted,
        truncated=truncated,
        too_long=sum(ids is None for ids in completions),
        tokens=tokens,
        accuracy_ppm=wilson(correct, len(part.items)),
    )


# ---------------------------------------------------------------- what a record says of it. Pure.


def wilson(correct: int, questions: int) -> Interval:
    low, high = intervals.wilson(correct, questions)
    return _ppm(low, correct / questions, high)


def scores(runs: Sequence[Run], control: Run | None) -> dict[str, BenchmarkScore] | None:
    """Each benchmark's mean over runs with a 95% t-interval (of one run: Wilson's), and the control run's score."""
    if not runs or runs[0].benchmarks is None:
        return None
    means = {}
    for name, first in runs[0].benchmarks.items():
        results = [(run.benchmarks or {})[name] for run in runs]
        low, mean, high = stats.t_interval([result.correct / result.questions for result in results])
        over_runs = _ppm(max(low, 0.0), mean, min(high, 1.0)) if len(runs) > 1 else first.accuracy_ppm
        beside = None if control is None else (control.benchmarks or {})[name].accuracy_ppm
        means[name] = BenchmarkScore(accuracy_ppm=over_runs, control_ppm=beside)
    return means


def flaw(predicate: Predicate) -> str | None:
    """The first thing in a record's benchmarks that its own numbers contradict; None if they hold together."""
    runs = predicate.all_runs
    for run in runs:
        first, results = runs[0].benchmarks or {}, run.benchmarks or {}
        if results.keys() != first.keys():
            return f"run {run.run} was asked other benchmarks than run {runs[0].run}"
        for name, result in results.items():
            where = f"run {run.run}: {name}"
            if _asked(result) != _asked(first[name]):
                return f"{where}: not the questions that run {runs[0].run} was asked"
            if not result.correct <= result.formatted <= result.questions - result.truncated - result.too_long:
                return f"{where}: the counts do not add up"
            if result.accuracy_ppm != wilson(result.correct, result.questions):
                return f"{where}: accuracy or interval do not follow from the counts"
    if predicate.benchmarks != scores(predicate.runs, predicate.control):
        return "the scores do not follow from the runs"
    return None


def _asked(result: BenchmarkResult) -> tuple[str, str, int]:
    return result.revision, result.questions_sha256, result.questions


def _ppm(low: float, mean: float, high: float) -> Interval:
    return Interval(low=round(low * PPM), mean=round(mean * PPM), high=round(high * PPM))
