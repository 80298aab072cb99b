"""Make the small base model of the CPU track from random weights, and say how good it is.

    python scripts/make/make_base_model.py --out harness/models/logic-base

A base for RLVR must know the answer format, be able to compute, and still be wrong most of the time.
Supervised training on generated traces gives that, in stages:

1. **Competence.** Clean traces of every task: short, two-operand steps, each result forced by what stands
   before it. Countdown works backwards from the target (`45-3=42;45/3=15=7+8`): pick the number used last,
   undo its operation, see whether the other two make what is left; otherwise try again. A second stage is mostly
   countdown, whose last step (`15=7+8`) is a search in one forward pass and takes longest to learn.
2. **Habit.** Two hundred steps on traces of mixed quality. Most are hasty: a bare guess, a rule half
   remembered (nim modulo the limit, Josephus without the start), a slip in arithmetic, a countdown search
   given up after a try or two. What is left to RL is what is left to it on a large model: prefer the
   careful mode, compute more reliably, and search for longer.

Only training-side questions are used (`split="train"`): the base has met no held-out question. Questions,
order and initial weights follow from SEED. A rerun on other hardware gives other bits, so the
file in the repository, with its hash in the track, is the model.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from bases import (
    TEMPLATE,
    clip_and_step,
    digits_tokenizer,
    generate,
    matrices_and_others,
    random_llama,
    save,
    set_rates,
)
from torch import nn
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from harness.frozen.draw import sample
from harness.frozen.format import Sample, score
from harness.tasks import TASKS

# ---------------------------------------------------------------- constants

SEED = 20261120
KEY = b"nano-r1 base model traces v1"
WIDTH, LAYERS, HEADS, HIDDEN = 128, 4, 4, 384  # 0.9M parameters, 3.6 MB in float32

ALL = {"countdown": 64, "linear": 32, "nim": 48, "josephus": 32}  # sequences a step, by task
SEARCH = {"countdown": 112, "linear": 12, "nim": 12, "josephus": 12}

HASTY = 0.8  # share of habit-stage traces that take a short cut
GUESS = 0.5  # share of those that are a bare guess
SLIP = 0.05  # chance that a step of any habit-stage trace is off by a little
GIVE_UP, GIVE_UP_HASTY = 0.3, 0.7  # chance that a countdown search of the habit stage stops after a miss

# ---------------------------------------------------------------- traces

Steps = list[str]


def clean(task: str, meta: dict, rng: random.Random) -> tuple[Steps, str]:
    """A trace that is right. Returns the thinking steps and the answer."""
    return {"linear": _linear, "nim": _nim, "josephus": _josephus, "countdown": _countdown}[task](meta, rng)


def _linear(meta: dict, rng: random.Random) -> tuple[Steps, str]:
    slope, offset, right = meta["slope"], meta["offset"], meta["right"]
    left = right - offset
    undo = f"{right}-{offset}" if offset > 0 else f"{right}+{-offset}"
    return [f"{undo}={left}", f"{left}/{slope}={left // slope}"], str(left // slope)


def _nim(meta: dict, rng: random.Random) -> tuple[Steps, str]:
    pile, base = meta["pile"], meta["limit"] + 1
    steps = []
    if meta["misere"]:
        steps.append(f"{pile}-1={pile - 1}")
        pile -= 1
    steps.append(f"{meta['limit']}+1={base}")
    if pile > 99:  # long division, one digit at a time
        rest = pile // 10 % base
        steps.append(f"{pile // 10}%{base}={rest}")
        pile = rest * 10 + pile % 10
    steps.append(f"{pile}%{base}={pile % base}")
    return steps, str(pile % base)


def _josephus(meta: dict, rng: random.Random) -> tuple[Steps, str]:
    n, start = meta["n"], meta["start"]
    power = 1 << (n.bit_length() - 1)
    seat = (n - power) * 2 + start
    steps = [f"{n}-{power}={n - power}", f"{n - power}*2={(n - power) * 2}", f"{(n - power) * 2}+{start}={seat}"]
    if seat > n:
        steps.append(f"{seat}-{n}={seat - n}")
        seat -= n
    return steps, str(seat)


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


def _made(rest: int, a: int, b: int) -> str | None:
    """How two numbers make `rest`, if they do."""
    for text, value in ((f"{a}+{b}", a + b), (f"{a}*{b}", a * b), (f"{a}-{b}", a - b), (f"{b}-{a}", b - a)):
        if value == rest:
            return text
    if a == rest * b:
        return f"{a}/{b}"
    return f"{b}/{a}" if b == rest * a else None


def _countdown(meta: dict, rng: random.Random, give_up: float = 0.0) -> tuple[Steps, str]:
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
        pair = _made(rest, a, b)
        if pair:
            return [*steps, f"{step}={rest}={pair}"], answer.format(f"({pair})")
        steps.append(f"{step}={rest}")
        if rng.random() < give_up:
            op = rng.choice("+-*")
            return steps, answer.format(f"({a}{op}{b})")
    raise AssertionError(f"the search is complete, yet {meta} has no solution")


def hasty(task: str, meta: dict, rng: random.Random) -> tuple[Steps, str]:
    """A trace of the bad habit: a bare guess, or a rule half remembered."""
    guess = rng.random() < GUESS
    if task == "countdown":
        if not guess:
            return _countdown(meta, rng, give_up=GIVE_UP_HASTY)
        a, b, c = rng.sample(meta["numbers"], 3)
        return [], f"({a}{rng.choice('+-*')}{b}){rng.choice('+-*')}{c}"
    if guess:  # of the right size
        other = sample(TASKS[task], KEY + b" guesses", "train", rng.randrange(10**9))
        return [], other.target
    if task == "linear":
        wrong = dict(meta, offset=-meta["offset"])  # moved across with the wrong sign
        steps, _ = _linear(wrong, rng)
        left = wrong["right"] - wrong["offset"]
        return [steps[0], f"{left}/{meta['slope']}={round(left / meta['slope'])}"], str(round(left / meta["slope"]))
    if task == "nim":
        if meta["misere"] and rng.random() < 0.5:
            return _nim(dict(meta, misere=False), rng)  # the rule overlooked
        return _nim(dict(meta, limit=meta["limit"] - 1), rng)  # modulo the limit, not limit + 1
    return _josephus(dict(meta, start=1), rng)  # counting from number 1


def slip(steps: Steps, answer: str, rng: random.Random) -> tuple[Steps, str]:
    """The last result off by a little; the answer follows it."""
    if not steps or not answer.lstrip("-").isdigit():
        return steps, answer
    value = int(answer) + rng.choice([-10, -2, -1, 1, 2, 10])
    head, _, _ = steps[-1].rpartition("=")
    return [*steps[:-1], f"{head}={value}"], str(value)


def competence(task: str, item: Sample, rng: random.Random) -> str:
    return _text(*clean(task, item.metadata, rng))


def habit(task: str, item: Sample, rng: random.Random) -> str:
    if rng.random() < HASTY:
        steps, answer = hasty(task, item.metadata, rng)
    elif task == "countdown":
        steps, answer = _countdown(item.metadata, rng, give_up=GIVE_UP)
    else:
        steps, answer = clean(task, item.metadata, rng)
    if rng.random() < 1 - (1 - SLIP) ** len(steps):
        steps, answer = slip(steps, answer, rng)
    return _text(steps, answer)


def _text(steps: Steps, answer: str) -> str:
    return f"<think>{';'.join(steps)}</think><answer>{answer}</answer>"


# ---------------------------------------------------------------- tokenizer


def make_tokenizer() -> PreTrainedTokenizerFast:
    return digits_tokenizer(sample(TASKS[task], KEY, "train", i).prompt for i in range(2000) for task in ALL)


# ---------------------------------------------------------------- training

Trace = Callable[[str, Sample, random.Random], str]


def batch(
    task: str, size: int, start: int, trace: Trace, tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> tuple[torch.Tensor, torch.Tensor]:
    """(ids, labels), each [size, length], right-padded; labels are -100 on the prompt and the padding."""
    rows = []
    for index in range(start, start + size):
        item = sample(TASKS[task], KEY, "train", index)
        prompt = tokenizer.encode(TEMPLATE.format(prompt=item.prompt))
        rows.append((prompt, [*tokenizer.encode(trace(task, item, rng)), tokenizer.eos_token_id]))
    length = max(len(p) + len(c) for p, c in rows)
    ids = torch.full((size, length), tokenizer.pad_token_id)
    labels = torch.full((size, length), -100)
    for row, (p, c) in enumerate(rows):
        ids[row, : len(p) + len(c)] = torch.tensor(p + c)
        labels[row, len(p) : len(p) + len(c)] = torch.tensor(c)
    return ids, labels


@dataclass(frozen=True)
class Stage:
    """Some steps on one kind of trace. Muon (Jordan et al. 2024) on the matrices, AdamW on the rest."""

    name: str
    trace: Trace
    sizes: dict[str, int]
    steps: int
    lr_muon: float
    lr_adam: float
    first: int  # index of the first question


STAGES = [
    Stage("competence", competence, ALL, 2200, 0.02, 3e-3, 0),
    Stage("search", competence, SEARCH, 1000, 0.01, 1.5e-3, 5_000_000),
    Stage("habit", habit, ALL, 200, 0.004, 6e-4, 10_000_000),
]


def train(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, stage: Stage) -> None:
    """One stage with optimizers of its own: linear warm-up, then linear decay to zero."""
    matrices, others = matrices_and_others(model)
    optimizers = [
        torch.optim.Muon(matrices, lr=stage.lr_muon, weight_decay=0.01),
        torch.optim.AdamW(others, lr=stage.lr_adam, betas=(0.9, 0.98), weight_decay=0.0),
    ]
    rng = random.Random(SEED + stage.first)
    total = sum(stage.sizes.values())
    start, index, averages = time.monotonic(), stage.first, {}
    for step in range(stage.steps):
        set_rates(optimizers, (stage.lr_muon, stage.lr_adam), step, stage.steps)
        for task, size in stage.sizes.items():
            ids, labels = batch(task, size, index, stage.trace, tokenizer, rng)
            with torch.autocast("cpu", torch.bfloat16):
                hidden = model.model(ids[:, :-1]).last_hidden_state
                chosen = labels[:, 1:] != -100
                logits = model.lm_head(hidden[chosen])
            loss = nn.functional.cross_entropy(logits.float(), labels[:, 1:][chosen])
            (loss * size / total).backward()
            averages[task] = 0.98 * averages.get(task, loss.item()) + 0.02 * loss.item()
        index += max(stage.sizes.values())
        clip_and_step(model, optimizers)
        if step % 100 == 99:
            losses = " ".join(f"{task} {value:.3f}" for task, value in averages.items())
            seconds = (time.monotonic() - start) / (step + 1)
            print(f"{stage.name} {step + 1}/{stage.steps} {losses} {seconds:.2f} s/step", flush=True)


# ---------------------------------------------------------------- measuring


@torch.no_grad()
def solve(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, task: str, questions: int, samples: int
) -> list[list[str]]:
    """`samples` completions for each question (greedy if 1, temperature 1 otherwise)."""
    items = [sample(TASKS[task], KEY + b" probe", "train", i) for i in range(questions)]
    texts = [TEMPLATE.format(prompt=item.prompt) for item in items for _ in range(samples)]
    options = {"do_sample": True, "top_k": 0, "top_p": 1.0} if samples > 1 else {"do_sample": False}
    done = [text.partition("<|end|>")[0] for text in generate(model, tokenizer, texts, **options)]
    return [done[i : i + samples] for i in range(0, len(done), samples)]


def report(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, questions: int = 32) -> dict[str, dict]:
    """Greedy accuracy, pass@1 and pass@64 a task, on training-side questions."""
    model.eval()
    out = {}
    for task in ALL:
        items = [sample(TASKS[task], KEY + b" probe", "train", i) for i in range(questions)]
        right = lambda item, text: score(TASKS[item.id.split("/")[0]], item, text).correct  # noqa: E731
        greedy = [right(i, g[0]) for i, g in zip(items, solve(model, tokenizer, task, questions, 1), strict=True)]
        many = [
            [right(i, t) for t in g] for i, g in zip(items, solve(model, tokenizer, task, questions, 64), strict=True)
        ]
        out[task] = {
            "greedy": sum(greedy) / questions,
            "pass@1": sum(sum(m) for m in many) / (64 * questions),
            "pass@64": sum(any(m) for m in many) / questions,
        }
        print(f"  {task:10s} " + "  ".join(f"{k} {v:.3f}" for k, v in out[task].items()), flush=True)
    model.train()
    return out


def build(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    return random_llama(tokenizer, WIDTH, LAYERS, HEADS, HIDDEN, "eager")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the base model")
    parser.add_argument(
        "--work", type=Path, required=True, help="folder for the models between the stages; resumes there"
    )
    args = parser.parse_args()
    torch.manual_seed(SEED)
    start = time.monotonic()
    tokenizer = make_tokenizer()
    model = build(tokenizer)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    for stage in STAGES:
        folder = args.out if stage is STAGES[-1] else args.work / stage.name
        if (folder / "model.safetensors").exists():
            model = LlamaForCausalLM.from_pretrained(folder, attn_implementation="eager")
            continue
        train(model, tokenizer, stage)
        save(model, tokenizer, folder)
    result = report(model, tokenizer)
    print(json.dumps({"seconds": round(time.monotonic() - start), "tasks": result}))


if __name__ == "__main__":
    main()
