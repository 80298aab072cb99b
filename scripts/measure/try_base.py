"""How far a trainer's recipe takes a base that no track has yet: for designing bases.

    python scripts/measure/try_base.py BASE [--track cpu-logic] [--seed 1] [--questions 256] [STEPS=20 …]

Runs the track's baseline in this process, without sandbox or clock, on BASE (a folder with model and tokenizer) and the
track's tasks, its constants changed as told, in float32; then asks held-out questions of a key of its own greedily, by
task, and the same tasks in larger sizes where there are any. Prints the baseline's lines and one line of results, and
writes the weights to BASE/trained. Of one seed and of few questions: it says which design is worth a track, no more.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pass_at_k import complete
from safetensors.torch import save_file

from harness.client import Prompt, Score
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.files import ROOT
from harness.tracks.track import Track, load

SIZES = ("", "-large", "-hard")


class LocalRun:
    """What a trainer uses of `harness.client.Run`, answered in this process. No traces."""

    def __init__(self, base: Path, track: Track, seed: int) -> None:
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

    def score(self, completions: list[tuple[str, list[int]]]) -> list[Score]:
        scores = [self.grader.grade(self._items[name], ids).score for name, ids in completions]
        return [Score(score.correct, score.formatted) for score in scores]

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
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--questions", type=int, default=256)
    args = parser.parse_args()
    track = load(args.track)
    module: Any = trainer(ROOT / track.baseline.folder, dict(pair.split("=") for pair in args.constants))
    module.FAST_BF16 = False
    run = LocalRun(args.base, track, args.seed)
    module.connect = lambda: run
    start = time.monotonic()
    module.main()
    seconds = time.monotonic() - start
    for size in SIZES:
        tasks = [f"{task}{size}" for task in track.heldout.gates if f"{task}{size}" in TASKS]
        found = {task: run.accuracy(task, args.questions) for task in tasks}
        print("; ".join(f"{task} {right:.3f} ({tokens:.1f} tokens)" for task, (right, tokens) in found.items()))
        if not size:
            print(f"mean {sum(right for right, _ in found.values()) / len(found):.4f} after {seconds:.1f} s")


if __name__ == "__main__":
    main()
