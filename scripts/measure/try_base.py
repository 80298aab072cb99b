"""How far a trainer's recipe takes a base that no track has yet: for designing bases.

    python scripts/measure/try_base.py BASE [STEPS=20 …] [--track cpu-logic] [--trainer FOLDER] [--seeds 1 2 …]

Runs the trainer, the track's baseline if none is named, in this process, without sandbox or clock, on BASE (a folder
with model and tokenizer, and warmup.jsonl where the track has traces) and the track's tasks, its constants changed as
told; then asks held-out questions of a key of its own greedily, by task, and the tasks that are reported. Prints the
trainer's lines, a line of results a seed, and the spread over seeds; writes the last seed's weights to BASE/trained.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import time
from pathlib import Path
from statistics import fmean, stdev
from types import ModuleType
from typing import Any

import torch
from pass_at_k import complete
from safetensors.torch import save_file

from harness.client import Prompt, Score, Trace
from harness.environment.training import traces
from harness.frozen.control import Control
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.files import ROOT
from harness.tracks.track import Track, load


class LocalRun:
    """What a trainer uses of `harness.client.Run`, answered in this process."""

    def __init__(self, base: Path, track: Track, seed: int, control: bool) -> None:
        self.control = Control(f"try a base {seed}".encode()) if control else None
        self.base, self.seed, self.budget_seconds = base, seed, track.budget.seconds
        self.grader = Grader(base, track.base.template, track.base.end_token, TASKS)
        self.end_token_id, self.pad_token_id = self.grader.end_id, self.grader.pad_id
        self.max_new_tokens = track.sampling.max_new_tokens
        self._begun, self._items = time.monotonic(), dict[str, Sample]()
        self._tasks, self._counter = track.train.tasks, itertools.count()

    def prompts(self, n: int) -> list[Prompt]:
        out = []
        for index in itertools.islice(self._counter, n):
            name = self._tasks[index % len(self._tasks)]
            item = sample(TASKS[name], f"try a base {self.seed}".encode(), "train", index)
            self._items[str(index)] = item
            out.append(Prompt(str(index), name, self.grader.prompt_ids(item)))
        return out

    def warmup(self) -> list[Trace]:
        return [Trace(**row) for row in traces(self.base / "warmup.jsonl", self.grader)]

    def score(self, completions: list[tuple[str, list[int]]]) -> list[Score]:
        scores = []
        for name, ids in completions:
            score = self.grader.grade(self._items[name], ids).score
            if self.control is not None:
                score = self.control.score(self._items[name], ids, score)
            scores.append(Score(score.correct, score.formatted))
        return scores

    def seconds_left(self) -> float:
        return self.budget_seconds - (time.monotonic() - self._begun)

    def save(self, model: torch.nn.Module) -> None:
        self.model = model.eval().requires_grad_(False)
        (self.base / "trained").mkdir(exist_ok=True)
        kept = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}  # tied
        save_file(kept, self.base / "trained" / "model.safetensors", metadata={"format": "pt"})

    def accuracy(self, task: str, questions: int) -> tuple[float, float]:
        """Greedy accuracy on held-out questions, and mean tokens a completion."""
        items = [sample(TASKS[task], b"try a base", "heldout", i) for i in range(questions)]
        made = complete(
            self.model, [self.grader.prompt_ids(item) for item in items], self.end_token_id, self.max_new_tokens, True
        )
        right = sum(graded.score.correct for graded in self.grader.grade_all(items, made))
        return right / questions, sum(map(len, made)) / questions


def trainer(folder: Path, constants: dict[str, str]) -> ModuleType:
    """The folder's train.py as a module, with constants of its own types changed."""
    spec = importlib.util.spec_from_file_location("tried", folder / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, value in constants.items():
        if not hasattr(module, name):
            raise SystemExit(f"{folder / 'train.py'} has no constant {name}")
        setattr(module, name, type(getattr(module, name))(float(value)))
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("base", type=Path)
    parser.add_argument("constants", nargs="*", metavar="NAME=VALUE")
    parser.add_argument("--track", default="cpu-logic")
    parser.add_argument("--trainer", type=Path, help="folder with a train.py; the track's baseline if not told")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--questions", type=int, default=256)
    parser.add_argument(
        "--control", action="store_true", help="train on the scores of a control run, which say nothing"
    )
    args = parser.parse_args()
    track, means = load(args.track), list[float]()
    for seed in args.seeds:
        module: Any = trainer(
            args.trainer or ROOT / track.baseline.folder, dict(pair.split("=") for pair in args.constants)
        )
        run = LocalRun(args.base, track, seed, args.control)
        module.connect = lambda run=run: run
        start = time.monotonic()
        module.main()
        seconds = time.monotonic() - start
        found = {suite.task: run.accuracy(suite.task, args.questions) for suite in track.heldout.suites}
        means.append(fmean(found[task][0] for task in track.heldout.gates))
        print(f"seed {seed}: mean {means[-1]:.4f} after {seconds:.1f} s", flush=True)
        print("; ".join(f"{task} {right:.3f} ({tokens:.1f} tokens)" for task, (right, tokens) in found.items()))
    if len(means) > 1:
        print(f"{len(means)} seeds: mean {fmean(means):.4f}, sigma {stdev(means):.4f}")


if __name__ == "__main__":
    main()
