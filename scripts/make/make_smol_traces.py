"""Make the warm-up traces of the gpu-smol track: the logic puzzles, thought through in the answer's format.

    python scripts/make/make_smol_traces.py --out harness/models/smol/warmup.jsonl

SmolLM2-135M-Instruct keeps to no format and solves none of the puzzles, so GRPO alone would see no reward. The traces
teach the format and a method each, in short steps of two operands; countdown works backwards from the target. Three
in ten guess or take a short cut, so that something is left to RL. Training-side questions only (`split="train"`), the
tasks in turn; a rerun gives the same file.
"""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path
from typing import Any

from make_logic_base import Steps, josephus, linear, made, nim

from harness import files
from harness.frozen.draw import sample
from harness.tasks import TASKS

SEED = 20261129
KEY = b"nano-r1 smol traces v1"
NAMES = ("countdown", "linear", "nim", "josephus")  # the track's tasks
TRACES = 2000
HASTY = 0.3  # share that guess or take a short cut
GUESS = 0.5  # share of those that guess
GUESS_KEY = b"nano-r1 base model traces v1 guesses"  # of the questions whose answers are the guesses
GIVE_UP = 0.7  # chance that a hasty countdown search stops after a miss
LONGEST = 12  # steps; a countdown search that took longer is left out

# ---------------------------------------------------------------- thinking


def clean(task: str, meta: dict[str, Any], rng: random.Random) -> tuple[Steps, str]:
    """A trace that is right. Returns the thinking steps and the answer."""
    if task == "countdown":
        return _countdown(meta, rng)
    return {"linear": linear, "nim": nim, "josephus": josephus}[task](meta)


def _undo(target: int, last: int) -> list[tuple[str, int, str]]:
    """(step text, what the other two numbers must make, answer with {} for them) for each way to use `last`."""
    ways = [(f"{target}+{last}", target + last, f"{{}}-{last}")]
    if target > last:
        ways.append((f"{target}-{last}", target - last, f"{{}}+{last}"))
    if last > target:
        ways.append((f"{last}-{target}", last - target, f"{last}-{{}}"))
    if target % last == 0:
        ways.append((f"{target}/{last}", target // last, f"{{}}*{last}"))
    if target * last <= 150:
        ways.append((f"{target}*{last}", target * last, f"{{}}/{last}"))
    if last % target == 0:
        ways.append((f"{last}/{target}", last // target, f"{last}/{{}}"))
    return ways


def _countdown(meta: dict[str, Any], rng: random.Random, give_up: float = 0.0) -> tuple[Steps, str]:
    numbers, target = meta["numbers"], meta["target"]
    ways = {
        step: (rest, answer, [n for j, n in enumerate(numbers) if j != i])
        for i, last in enumerate(numbers)
        for step, rest, answer in _undo(target, last)
    }
    order = list(ways)
    rng.shuffle(order)
    steps = []
    for step in order:
        rest, answer, (a, b) = ways[step]
        pair = made(rest, a, b)
        if pair:
            return [*steps, f"{step}={rest}={pair}"], answer.format(f"({pair})")
        steps.append(f"{step}={rest}")
        if rng.random() < give_up:
            op = rng.choice("+-*")
            return steps, answer.format(f"({a}{op}{b})")
    raise AssertionError(f"the search is complete, yet {meta} has no solution")


def hasty(task: str, meta: dict[str, Any], rng: random.Random) -> tuple[Steps, str]:
    """A trace of the bad habit: a bare guess, or a rule half remembered."""
    guess = rng.random() < GUESS
    if task == "countdown":
        if not guess:
            return _countdown(meta, rng, give_up=GIVE_UP)
        a, b, c = rng.sample(meta["numbers"], 3)
        return [], f"({a}{rng.choice('+-*')}{b}){rng.choice('+-*')}{c}"
    if guess:  # of the right size
        other = sample(TASKS[task], GUESS_KEY, "train", rng.randrange(10**9))
        return [], other.target
    if task == "linear":
        return linear(meta, keep_sign=True)  # moved across with the wrong sign
    if task == "nim":
        if meta["misere"] and rng.random() < 0.5:
            return nim(meta, see_rule=False)  # the rule overlooked
        return nim(dict(meta, limit=meta["limit"] - 1))  # modulo the limit, not limit + 1
    return josephus(meta, see_start=False)  # counting from number 1


# ---------------------------------------------------------------- traces


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
