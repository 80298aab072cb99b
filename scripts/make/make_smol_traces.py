"""Make the warm-up traces of the gpu-smol track: the logic puzzles, thought through in the answer's format.

    python scripts/make/make_smol_traces.py --out harness/models/smol/warmup.jsonl

SmolLM2-135M-Instruct keeps to no format and solves none of the puzzles, so GRPO alone would see no reward. The traces
teach the format and a method each: the steps that scripts/make/make_base_model.py teaches the base of cpu-logic. Three
in ten guess or take a short cut, so that something is left to RL. Training-side questions only (`split="train"`), the
tasks in turn; a rerun gives the same file.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

from make_base_model import clean, hasty

from harness import files
from harness.frozen.draw import sample
from harness.tasks import TASKS

SEED = 20261129
KEY = b"nano-r1 smol traces v1"
NAMES = ("countdown", "linear", "nim", "josephus")  # the track's tasks
TRACES = 2000
HASTY = 0.3  # share that guess (half of them: make_base_model.GUESS) or take a short cut
LONGEST = 12  # steps; a countdown search that took longer is left out


def warmup() -> list[dict[str, str]]:
    rng = random.Random(SEED)
    rows: list[dict[str, str]] = []
    index = 0
    while len(rows) < TRACES:
        task = NAMES[len(rows) % len(NAMES)]
        item = sample(TASKS[task], KEY, "train", index)
        index += 1
        steps, answer = (hasty if rng.random() < HASTY else clean)(task, item.metadata, rng)
        if len(steps) <= LONGEST:
            completion = f"<think>{'; '.join(steps)}</think><answer>{answer}</answer>"
            rows.append({"task": task, "prompt": item.prompt, "completion": completion})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    files.write(args.out, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in warmup()))


if __name__ == "__main__":
    main()
