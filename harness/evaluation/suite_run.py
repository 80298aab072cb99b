"""Put a whole suite to a model. Its files are written anew after each part, so that an interrupt loses one at most."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.benchmarks import suites
from harness.evaluation import questions, samples
from harness.evaluation.heldout import key_of
from harness.evaluation.model import Model, check_model

# (label, total): a block within which the number of questions done is shown
Progress = Callable[[str, int], AbstractContextManager[Callable[[float], None]]]


@dataclass(frozen=True)
class SuiteSettings:
    model: str  # folder, or name on the Hub
    suite: str  # or the name of one task or benchmark
    folder: Path  # of results.json and samples.parquet
    questions: int = 256  # at most, of each part
    max_new_tokens: int = 1024
    batch: int = 32
    bare: bool = False  # the question alone, no word on the form of an answer
    seed: int = 0


class SuiteRun:
    """All that can fail is tried before the model is loaded: hours of answers must not be lost to a missing package."""

    def __init__(self, settings: SuiteSettings) -> None:
        """Raises EvaluationError, SuiteError, SourceError."""
        samples.check_installed()
        names = suites.load(settings.suite).parts
        check_model(settings.model)
        samples.check_folder(settings.folder)
        self.settings = settings
        # A suite goes without the sets that nobody pinned; asked for by its own name, such a set says what is missing.
        self.left_out = {name: reason for name in names if (reason := suites.cannot_be_asked(name))}
        self.names = [name for name in names if name not in self.left_out] or names
        key = key_of(settings.seed)
        self._parts = [questions.part(name, key, settings.questions) for name in self.names]
        samples.check_graders(self._parts)
        self.results: list[samples.Result] = []  # of the parts whose answers are in the files
        self.asking = False

    def run(self, progress: Progress) -> None:
        """Load the model; ask, grade and write part by part. Raises EvaluationError for a model that does not load."""
        settings, answers = self.settings, list[samples.Answer]()
        model = Model(settings.model, bare=settings.bare, max_new_tokens=settings.max_new_tokens, seed=settings.seed)
        self.asking = True
        for part in self._parts:
            with progress(f"{part.name}: {len(part.items)} questions", len(part.items)) as advance:
                result, new = samples.ask(
                    model, part, batch=settings.batch, most_tokens=settings.max_new_tokens, on_progress=advance
                )
            answers += new
            samples.write(settings.folder, self.report([*self.results, result]), answers)
            self.results.append(result)

    def report(self, results: Sequence[samples.Result] | None = None) -> dict[str, Any]:
        """What results.json says, of these results or of all."""
        settings = self.settings
        about = {
            "model": settings.model,
            "suite": settings.suite,
            "left_out": self.left_out,
            "seed": settings.seed,
            "bare": settings.bare,
            "max_new_tokens": settings.max_new_tokens,
        }
        return samples.report(about, self.names, self.results if results is None else results)
