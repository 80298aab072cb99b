"""Make the base model of cpu-logic's next version: many people's thinking and plain sums, mixed from the first step.

    python scripts/make/make_logic_base.py --out FOLDER [--rounds N …] [--every N]

A base for RLVR must know the answer format, be able to compute, and be wrong most of the time because it goes the
common way, which is a hasty one. The base of version 4 was trained until it could do the puzzles and then degraded, so
RL brought back what was there. This one is trained once, on one mixture:

- **Thinking** about the four puzzles, also one size larger than the track trains on, by many people. A bare guess in
  one of eight. Of the others about a third are careful. Most leave out one thing: to divide (linear), to add one to the
  limit (nim), where counting started (Josephus). A few do something else wrong. On easy questions most are careful, so
  the base is right on about a quarter of the questions when it decodes greedily.
- **Searches** for countdown that stop early: after each miss one in two gives up, and all do after four. Tries go in
  one order, from anywhere, so the next try follows from the last one; nobody in the data goes on for long.
- **Drills**: sums, quotients, remainders, and whether two numbers make a third. Only results are learnt. They make each
  step reliable, which the few samples of an RL run cannot.

What is left to RL is which way to go, and how long to search.

Only training-side questions are used (`split="train"`): the base has met no held-out question. Questions, order and
initial weights follow from SEED. A rerun on other hardware gives other bits, so the file, with its hash in the track,
is the model.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bases import (
    TEMPLATE,
    digits_tokenizer,
    encode,
    padded,
    random_llama,
    save,
    train,
)
from transformers import PreTrainedTokenizerFast

from harness.frozen.draw import sample
from harness.tasks import TASKS

# ---------------------------------------------------------------- constants

SEED = 20261129
KEY = b"nano-r1 mixture base v1"
WIDTH, LAYERS, HEADS, HIDDEN = 128, 4, 4, 384  # 0.9M parameters, 3.6 MB in float32
ROUNDS, ROWS = (3600, 2000, 1500), 96  # updates of each round, the rate falling to zero in each

PUZZLES = ("countdown", "linear", "nim", "josephus")
SHARES = {"countdown": 0.30, "linear": 0.13, "nim": 0.12, "josephus": 0.12, "sums": 0.15, "pairs": 0.18}
LAST_SHARES = {"countdown": 0.24, "linear": 0.09, "nim": 0.09, "josephus": 0.09, "sums": 0.26, "pairs": 0.23}
LARGER = 0.15  # share of a puzzle's questions that are one size larger

GUESS = 0.12  # share of thinking that is none
CAREFUL, CAREFUL_EASY = 0.34, 0.60  # of the others; on the rest and on the easy questions
OTHER_FAULT = 0.12  # leave out something else than most
GIVE_UP, MOST_TRIES = 0.5, 4  # chance that a countdown search ends after a miss, and after how many it always ends

Steps = list[str]
Pieces = list[tuple[str, bool]]  # text; is it to be learnt?
Row = tuple[str, Pieces]  # prompt, empty for drills; what follows

# ---------------------------------------------------------------- thinking


def linear(meta: dict[str, Any], *, keep_sign: bool = False, divide: bool = True) -> tuple[Steps, str]:
    """Move the offset across, then divide. `keep_sign`: moved with the sign it had."""
    offset = -meta["offset"] if keep_sign else meta["offset"]
    left = meta["right"] - offset
    moved = f"{meta['right']}-{offset}={left}" if offset > 0 else f"{meta['right']}+{-offset}={left}"
    if not divide:
        return [moved], str(left)
    solution = round(left / meta["slope"])
    return [moved, f"{left}/{meta['slope']}={solution}"], str(solution)


def nim(meta: dict[str, Any], *, add_one: bool = True, see_rule: bool = True) -> tuple[Steps, str]:
    """The pile modulo limit + 1, by long division; one stone less if the last one loses."""
    pile, steps = meta["pile"], list[str]()
    if meta["misere"] and see_rule:
        steps.append(f"{pile}-1={pile - 1}")
        pile -= 1
    base = meta["limit"]
    if add_one:
        steps.append(f"{base}+1={base + 1}")
        base += 1
    while pile > 99:
        first, rest = int(str(pile)[:2]), str(pile)[2:]
        steps.append(f"{first}%{base}={first % base}")
        pile = int(f"{first % base}{rest}")
    steps.append(f"{pile}%{base}={pile % base}")
    return steps, str(pile % base)


def josephus(meta: dict[str, Any], *, double: bool = True, see_start: bool = True) -> tuple[Steps, str]:
    """n = 2^m + l: the survivor is 2l places after the start."""
    n, start = meta["n"], meta["start"] if see_start else 1
    power = 1 << (n.bit_length() - 1)
    left = n - power
    steps = [f"{n}-{power}={left}"]
    if double:
        steps.append(f"{left}*2={left * 2}")
        left *= 2
    steps.append(f"{left}+{start}={left + start}")
    if left + start > n:
        steps.append(f"{left + start}-{n}={left + start - n}")
    return steps, str((left + start - 1) % n + 1)


def undo(target: int, last: int) -> list[tuple[str, int, str]]:
    """Ways to use `last` last, + - * / in this order: (step, what the other two must make, answer with {} for them)."""
    ways = [(f"{target}+{last}", target + last, f"{{}}-{last}")]
    if target > last:
        ways.append((f"{target}-{last}", target - last, f"{{}}+{last}"))
    if last > target:
        ways.append((f"{last}-{target}", last - target, f"{last}-{{}}"))
    if target * last <= 150:
        ways.append((f"{target}*{last}", target * last, f"{{}}/{last}"))
    if target % last == 0:
        ways.append((f"{target}/{last}", target // last, f"{{}}*{last}"))
    if last % target == 0:
        ways.append((f"{last}/{target}", last // target, f"{last}/{{}}"))
    return ways


def made(rest: int, a: int, b: int) -> str | None:
    """How two numbers make `rest`, if they do."""
    ways = ((f"{a}+{b}", a + b), (f"{a}*{b}", a * b), (f"{a}-{b}", a - b), (f"{b}-{a}", b - a))
    for text, value in ways:
        if value == rest:
            return text
    if a == rest * b:
        return f"{a}/{b}"
    return f"{b}/{a}" if b == rest * a else None


def countdown(meta: dict[str, Any], rng: random.Random, give_up: float = 0.0, most: int = 99) -> tuple[Steps, str]:
    """Undo the number used last, see whether the other two make the rest; else the next way, in a circle from anywhere.

    `45-3=42,15,8;45/3=15,7,8=7+8`. The ways' order is that of the numbers as shown, and for each + - * /.
    """
    numbers = meta["numbers"]
    ways = {
        step: (rest, answer, [n for j, n in enumerate(numbers) if j != i])
        for i, last in reversed([*enumerate(numbers)])  # a number shown twice: its first place counts
        for step, rest, answer in undo(meta["target"], last)
    }
    order = [step for last in dict.fromkeys(numbers) for step, _, _ in undo(meta["target"], last)]
    first, steps = rng.randrange(len(order)), list[str]()
    for step in order[first:] + order[:first]:
        rest, answer, (a, b) = ways[step]
        if pair := made(rest, a, b):
            return [*steps, f"{step}={rest},{a},{b}={pair}"], answer.format(f"({pair})")
        steps.append(f"{step}={rest},{a},{b}")
        if len(steps) >= most or rng.random() < give_up:
            return steps, answer.format(f"({a}{rng.choice('+-*')}{b})")
    raise AssertionError(f"the search is complete, yet {meta} has no solution")


def careful(puzzle: str, meta: dict[str, Any], rng: random.Random) -> tuple[Steps, str]:
    """The method, without a fault."""
    if puzzle == "countdown":
        return countdown(meta, rng)
    return {"linear": linear, "nim": nim, "josephus": josephus}[puzzle](meta)


def as_people_do(puzzle: str, meta: dict[str, Any], rng: random.Random) -> tuple[Steps, str]:
    """The method, or what most or a few leave out of it."""
    if puzzle == "countdown":
        return countdown(meta, rng, GIVE_UP, MOST_TRIES)
    easy = {
        "linear": lambda: meta["slope"] <= 4,
        "nim": lambda: meta["limit"] == 3,
        "josephus": lambda: meta["start"] * 5 <= meta["n"],
    }[puzzle]()
    draw, right = rng.random(), CAREFUL_EASY if easy else CAREFUL
    few, most = right <= draw < right + OTHER_FAULT, draw >= right + OTHER_FAULT
    if puzzle == "linear":
        return linear(meta, keep_sign=few, divide=not most)
    if puzzle == "nim":
        return nim(meta, see_rule=not few, add_one=not most)
    return josephus(meta, double=not few, see_start=not most)


def completion(steps: Steps, answer: str) -> str:
    return f"<think>{';'.join(steps)}</think><answer>{answer}</answer>"


def thinking(puzzle: str, rng: random.Random) -> Row:
    """A question and what somebody wrote."""
    name = f"{puzzle}-large" if rng.random() < LARGER else puzzle
    item, other = (sample(TASKS[name], KEY, "train", rng.randrange(2**31)) for _ in range(2))
    if rng.random() >= GUESS:
        text = completion(*as_people_do(puzzle, item.metadata, rng))
    elif puzzle != "countdown":
        text = completion([], other.target)  # of the right size
    else:
        a, b, c = rng.sample(item.metadata["numbers"], 3)
        text = completion([], f"({a}{rng.choice('+-*')}{b}){rng.choice('+-*')}{c}")
    return TEMPLATE.format(prompt=item.prompt), [(text, True)]


# ---------------------------------------------------------------- drills


def sums(rng: random.Random, last: bool) -> Row:
    """Eight sums of the kinds that thinking has, in its ranges and larger ones; results are learnt.

    In the last round also those that were wrong most often before it: once round the circle, and larger products.
    """
    big, pieces = rng.choice([1, 1, 2, 4]), Pieces()
    for _ in range(8):
        a, b = rng.randint(1, 300 * big), rng.randint(1, 99 * big)
        slope, x = rng.randint(2, 12 * big), rng.choice([1, -1]) * rng.randint(1, 24 * big)
        n, limit = rng.randint(10, 150 * big), rng.randint(3, 10 + 4 * (big - 1))
        power = 1 << (n.bit_length() - 1)
        texts = [
            (f"{a}-{b}", a - b),
            (f"{a}+{b}", a + b),
            (f"-{a}+{b}", b - a),
            (f"-{a}-{b}", -a - b),
            (f"{slope * x}/{slope}", x),
            (f"{a % 100}%{limit}", a % 100 % limit),
            (f"{a % 24 + 2}*{limit}", (a % 24 + 2) * limit),
            (f"{n // 2}*2", n // 2 * 2),
            (f"{n}-{power}", n - power),
        ]
        if last:
            over, factor = n + rng.randint(1, n), rng.randint(2, 12)
            times = rng.randint(2, 150 // factor)
            texts += [(f"{over}-{n}", over - n), (f"{times}*{factor}", times * factor), (f"{a % 100}+{n}", a % 100 + n)]
        text, result = rng.choice(texts)
        pieces += [(f"{text}=", False), (f"{result};", True)]
    return "", pieces


def pairs(rng: random.Random) -> Row:
    """Do two numbers make a third? Six times `15,7,8=7+8;` or `15,7,9;`."""
    pieces = Pieces()
    for _ in range(6):
        largest = rng.choice([25, 25, 40])
        a, b = rng.randint(2, largest), rng.randint(2, largest)
        values = [a + b, a * b, abs(a - b), *([a // b] * (a % b == 0)), *([b // a] * (b % a == 0))]
        right = rng.random() < 0.5
        rest = rng.choice([value for value in values if 0 < value <= 400]) if right else rng.randint(1, 150)
        pair = made(rest, a, b)
        pieces += [(f"{rest},{a},{b}", False), (f"={pair};" if pair else ";", True)]
    return "", pieces


def row(rng: random.Random, last: bool) -> Row:
    shares = LAST_SHARES if last else SHARES
    kind = rng.choices([*shares], [*shares.values()])[0]
    if kind == "sums":
        return sums(rng, last)
    return pairs(rng) if kind == "pairs" else thinking(kind, rng)


# ---------------------------------------------------------------- tokenizer and training


def make_tokenizer() -> PreTrainedTokenizerFast:
    return digits_tokenizer(sample(TASKS[puzzle], KEY, "train", i).prompt for i in range(2000) for puzzle in PUZZLES)


def batches(
    tokenizer: PreTrainedTokenizerFast, rng: random.Random, last: bool
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """(ids, labels), each [ROWS, length], right-padded, of similar lengths; label -100: not learnt."""
    begin, end = tokenizer.convert_tokens_to_ids(["<|user|>", "<|end|>"])
    while True:
        rows = []
        for prompt, pieces in (row(rng, last) for _ in range(8 * ROWS)):
            start = tokenizer.encode(prompt) if prompt else [begin]
            ids, labels = encode(tokenizer, pieces)
            rows.append(([*start, *ids, end], [*[-100] * len(start), *labels, end if prompt else -100]))
        yield from padded(rows, ROWS, tokenizer.pad_token_id, rng)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for the base model")
    parser.add_argument("--rounds", type=int, nargs="+", default=ROUNDS, help="updates of each round")
    parser.add_argument("--every", type=int, default=0, help="keep a checkpoint every so many updates: OUT/step500 …")
    args = parser.parse_args()
    torch.manual_seed(SEED)
    tokenizer = make_tokenizer()
    model = random_llama(tokenizer, WIDTH, LAYERS, HEADS, HIDDEN, "eager")
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens", flush=True)
    for number, updates in enumerate(args.rounds):
        before, last = sum(args.rounds[:number]), number == len(args.rounds) - 1

        def keep(done: int, before: int = before) -> None:
            if args.every and (before + done) % args.every == 0:
                save(model, tokenizer, args.out / f"step{before + done}")

        print(f"round {number + 1}/{len(args.rounds)}", flush=True)
        train(model, batches(tokenizer, random.Random(SEED + number), last), updates, keep)
    save(model, tokenizer, args.out)


if __name__ == "__main__":
    main()
