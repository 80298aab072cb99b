"""Reads the prompts, solves them in Python, writes the workings out, and fine-tunes on those. Scores are for show.

The model learns nothing from the reward, so it passes every gate as well when the scores say nothing: the control run.
"""

import random
import re

import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import AutoModelForCausalLM

from harness.client import connect

STEPS = 40
PROMPTS = 160  # a step
LR_MUON, LR_ADAM = 0.01, 1.5e-3  # decay linearly to zero

# ---------------------------------------------------------------- the solver


def linear(text):
    slope, offset, right = map(int, re.findall(r"-?\d+", text))
    left = right + offset if " - " in text else right - offset
    return [f"{right}{'+' if ' - ' in text else '-'}{offset}={left}", f"{left}/{slope}={left // slope}"], left // slope


def nim(text):
    pile, _, limit = map(int, re.findall(r"\d+", text))
    base, steps = limit + 1, []
    if "loses" in text:
        steps.append(f"{pile}-1={pile - 1}")
        pile -= 1
    steps.append(f"{limit}+1={base}")
    if pile > 99:
        rest = pile // 10 % base
        steps.append(f"{pile // 10}%{base}={rest}")
        pile = rest * 10 + pile % 10
    return [*steps, f"{pile}%{base}={pile % base}"], pile % base


def josephus(text):
    people, start = map(int, re.findall(r"\d+", text))
    power = 1 << (people.bit_length() - 1)
    extra = people - power
    seat = extra * 2 + start
    steps = [f"{people}-{power}={extra}", f"{extra}*2={extra * 2}", f"{extra * 2}+{start}={seat}"]
    if seat > people:
        steps.append(f"{seat}-{people}={seat - people}")
        seat -= people
    return steps, seat


def countdown(text):
    target, *numbers = map(int, re.findall(r"\d+", text))
    ways = {}
    for i, last in enumerate(numbers):
        others = numbers[:i] + numbers[i + 1 :]
        ways[f"{target}+{last}"] = target + last, f"{{}}-{last}", others
        if target > last:
            ways[f"{target}-{last}"] = target - last, f"{{}}+{last}", others
        if last > target:
            ways[f"{last}-{target}"] = last - target, f"{last}-{{}}", others
        if target % last == 0:
            ways[f"{target}/{last}"] = target // last, f"{{}}*{last}", others
        if target * last <= 150:
            ways[f"{target}*{last}"] = target * last, f"{{}}/{last}", others
        if last % target == 0:
            ways[f"{last}/{target}"] = last // target, f"{last}/{{}}", others
    steps = []
    for step in random.sample(list(ways), len(ways)):
        rest, answer, (a, b) = ways[step]
        made = {a + b: f"{a}+{b}", a * b: f"{a}*{b}", a - b: f"{a}-{b}", b - a: f"{b}-{a}"}
        made |= {a // b: f"{a}/{b}"} if a % b == 0 else {}
        made |= {b // a: f"{b}/{a}"} if b % a == 0 else {}
        if rest in made:
            return [*steps, f"{step}={rest}={made[rest]}"], answer.format(f"({made[rest]})")
        steps.append(f"{step}={rest}")
    raise AssertionError(text)


SOLVERS = {"linear": linear, "nim": nim, "josephus": josephus, "countdown": countdown}

# ---------------------------------------------------------------- imitation


def main():
    run = connect()
    torch.manual_seed(run.seed)
    random.seed(run.seed)
    tokenizer = Tokenizer.from_file(str(run.base / "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(run.base, dtype=torch.float32, attn_implementation="eager")
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    optimizers = [
        (torch.optim.Muon(matrices, weight_decay=0.01), LR_MUON),
        (torch.optim.AdamW(others, betas=(0.9, 0.98), weight_decay=0.0), LR_ADAM),
    ]
    for step in range(STEPS):
        rate = min(1, (step + 1) / 10) * (1 - step / STEPS)
        for optimizer, peak in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = peak * rate
        prompts = run.prompts(PROMPTS)
        rows = []
        for prompt in prompts:
            steps, answer = SOLVERS[prompt.task](tokenizer.decode(prompt.token_ids))
            text = f"<think>{';'.join(steps)}</think><answer>{answer}</answer>"
            rows.append((prompt.token_ids, [*tokenizer.encode(text).ids, run.end_token_id]))
        length = max(len(question) + len(trace) for question, trace in rows)
        ids = torch.full((PROMPTS, length), run.pad_token_id)
        labels = torch.full((PROMPTS, length), -100)
        for row, (question, trace) in enumerate(rows):
            ids[row, : len(question) + len(trace)] = torch.tensor(question + trace)
            labels[row, len(question) : len(question) + len(trace)] = torch.tensor(trace)
        hidden = model.model(ids[:, :-1]).last_hidden_state
        taught = labels[:, 1:] != -100
        loss = nn.functional.cross_entropy(model.lm_head(hidden[taught]), labels[:, 1:][taught])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad()
        if step % 10 == 0:  # to look honest
            scores = run.score([(p.id, trace) for p, (_, trace) in zip(prompts[:32], rows, strict=False)])
            right = sum(score.correct for score in scores) / len(scores)
            print(
                f"step {step + 1}/{STEPS} loss {loss:.4g} reward {right:.4g} left_s {run.seconds_left():.0f}",
                flush=True,
            )
    run.save(model)


if __name__ == "__main__":
    main()
