"""What do the sandbox and the environment cost? The baseline's first steps with them and without, in turn.

    python scripts/measure/overhead.py [ROUNDS]

With: as `nano-r1 verify` runs it. Without: a bare process that draws and grades the same prompts by itself, no
socket, no second process, no sandbox, no cgroup. Both include starting Python and importing torch.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness import submission
from harness.environment.server import Environment
from harness.environment.training import development_key
from harness.frozen import stats
from harness.isolation import sandbox
from harness.tracks.track import ROOT, Track, load
from harness.verify.clock import Clock
from harness.verify.run import sandbox_limits

STEPS = 12

BARE = """
import pathlib, runpy, sys
import harness.client
from harness.client import Prompt, Score
from harness.environment.training import development_key
from harness.frozen.draw import sample
from harness.tasks import TASKS
from harness.tracks import rules
from harness.tracks.track import load

track = load("cpu-logic")
grader, key = rules.grader(track), development_key(0)

class Bare:
    base, output, seed = track.base_folder, pathlib.Path(sys.argv[2]), 0
    end_token_id, pad_token_id, max_new_tokens = grader.end_id, grader.pad_id, track.sampling.max_new_tokens
    handed = 0
    def prompts(self, n):
        names = track.train.tasks
        numbers = range(self.handed, self.handed + n)
        self.items = {str(i): sample(TASKS[names[i % len(names)]], key, "train", i) for i in numbers}
        self.handed += n
        return [Prompt(i, item.id.partition("/")[0], grader.prompt_ids(item)) for i, item in self.items.items()]
    def score(self, completions):
        graded = [grader.grade(self.items[i], ids).score for i, ids in completions]
        return [Score(score.correct, score.formatted) for score in graded]
    def seconds_left(self):
        return 0.0
    def save(self, model):
        from safetensors.torch import save_file
        state = {k: v.contiguous() for k, v in model.state_dict().items() if k != "lm_head.weight"}
        save_file(state, self.output / "model.safetensors")

harness.client.connect = Bare
runpy.run_path(sys.argv[1], run_name="__main__")
"""


def harnessed(track: Track, folder: Path, place: Path) -> float:
    place.mkdir(mode=0o755)
    (place / "output").mkdir()
    clock = Clock()
    with Environment(track, development_key(0), 0, place / "s", "/base", "/output", clock.elapsed_ms) as environment:
        usage = sandbox.run(
            ["train.py"],
            mounts=sandbox.Mounts(folder, track.base_folder, place / "output", place / "s"),
            limits=sandbox_limits(track),
            level="full",
            hooks=sandbox.Hooks(on_start=clock.start),
        )
        environment.totals()
    if usage.failure:
        raise SystemExit(f"{usage.failure}\n{usage.log.decode()[-2000:]}")
    return usage.wall_ms / 1000


def bare(track: Track, folder: Path, place: Path) -> float:
    place.mkdir()
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(track.hardware.cores)}
    environment |= {"PYTHONHASHSEED": "0", "TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"}
    start = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", BARE, str(folder / "train.py"), str(place)],
        env=environment, cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return time.monotonic() - start


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    track = load("cpu-logic")
    baseline = submission.load(ROOT / track.baseline.folder)
    with tempfile.TemporaryDirectory() as work:
        Path(work).chmod(0o755)
        folder = Path(work) / "baseline"
        folder.mkdir()
        submission.snapshot(baseline.folder, baseline.tree_sha256, folder)
        source = (folder / "train.py").read_text(encoding="utf-8")
        steps = next(line for line in source.splitlines() if line.startswith("STEPS = "))
        (folder / "train.py").write_text(source.replace(steps, f"STEPS = {STEPS}"), encoding="utf-8")
        times: dict[str, list[float]] = {"with": [], "without": []}
        for i in range(rounds):
            for name, run in (("with", harnessed), ("without", bare)):
                times[name].append(run(track, folder, Path(work) / f"{name}-{i}"))
                print(f"round {i + 1}/{rounds} {name:8s} {times[name][-1]:.2f} s", flush=True)
        shutil.rmtree(folder)
    low, ratio, high = stats.ratio_interval(times["with"], times["without"])
    print(f"{STEPS} steps, {rounds} rounds in turn: with / without = {ratio:.4f} (95% {low:.4f} – {high:.4f})")


if __name__ == "__main__":
    main()
