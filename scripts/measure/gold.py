"""How soon cpu-logic's gate can be reached at all: supervised steps on careful thinking, which no recipe may use.

    python scripts/measure/gold.py [--base FOLDER] [--rows 64] [--lr 2e-3] [--every 5] [--updates 60]

Rule R3 forbids it in a submission: the traces come from a solver. It says how much room a track leaves below the
baseline's cost. Every so many updates it prints the seconds spent on training so far and the greedy accuracy on
training-side questions of a key of its own. The rate rises over five updates and stays.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from pathlib import Path

import torch
from pass_at_k import complete
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.frozen.draw import sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.files import ROOT
from harness.tracks.track import load

sys.path.insert(0, str(ROOT / "scripts" / "make"))
import bases
import make_logic_base as make

KEY = b"nano-r1 gold"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    track = load("cpu-logic")
    parser.add_argument("--base", type=Path, default=track.base_folder)
    parser.add_argument("--rows", type=int, default=64)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--every", type=int, default=5)
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--questions", type=int, default=256)
    args = parser.parse_args()
    torch.manual_seed(0)
    rng = random.Random(0)
    grader = Grader(args.base, track.base.template, track.base.end_token, TASKS)
    tokenizer = AutoTokenizer.from_pretrained(args.base)
    model = AutoModelForCausalLM.from_pretrained(args.base, dtype=torch.float32, attn_implementation="eager")
    optimizer = torch.optim.AdamW(model.parameters(), args.lr, (0.9, 0.95), weight_decay=0.0)
    asked = {
        task: [sample(TASKS[task], KEY, "train", i) for i in range(args.questions)] for task in track.heldout.gates
    }
    seconds, index = 0.0, 0
    for update in range(1, args.updates + 1):
        begun, rows = time.monotonic(), []
        for _ in range(args.rows):
            task = make.PUZZLES[index % len(make.PUZZLES)]
            item = sample(TASKS[task], KEY + b" traces", "train", index)
            text = make.completion(*make.careful(task, item.metadata, rng))
            start = grader.prompt_ids(item)
            some, learnt = bases.encode(tokenizer, [(text, True)])
            rows.append(([*start, *some, grader.end_id], [*[-100] * len(start), *learnt, grader.end_id]))
            index += 1
        ((ids, labels),) = bases.padded(rows, args.rows, grader.pad_id, rng)
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(1.0, update / 5)
        bases.loss_of(model, ids, labels).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        seconds += time.monotonic() - begun
        if update % args.every == 0:
            found = {}
            for task, items in asked.items():
                made = complete(model, [grader.prompt_ids(item) for item in items], grader.end_id, 128, True)
                found[task] = sum(one.score.correct for one in grader.grade_all(items, made)) / len(items)
            each = " ".join(f"{task} {value:.3f}" for task, value in found.items())
            mean = sum(found.values()) / len(found)
            print(f"{update} updates, {seconds:.1f} s: mean {mean:.3f} {each}", flush=True)


if __name__ == "__main__":
    main()
