"""What the recipe of gpu-smol does on a CPU: sampler against trainer, the warm-up at several learning rates, GRPO.

    nano-r1 tracks fetch gpu-smol
    nice -n 19 python scripts/measure/smol.py               every step that has no figures yet, one core
    nice -n 19 python scripts/measure/smol.py mismatch 1e-4 some of them, again
    nice -n 19 python scripts/measure/smol.py --traces 2000 --epochs 2    as the recipe has it: hours
    python scripts/measure/smol.py --page                   none; the figures go into docs/measured/smol.md

With PYTHONPATH=. and .venv-vllm/bin/python, `mismatch` samples with a real vLLM on the CPU.

Steps, each leaving its figures in runs/smol/: `mismatch`, a learning rate of the warm-up each (0: the base as it is),
and `grpo`, rollouts after the warm-up that are rewarded for their form alone: after so small a warm-up nearly all are
wrong, and groups without a right answer teach nothing. An interrupted measurement starts again with the step that it
was in. Everything is baseline-gpu-warmup/train.py's: policy, samplers, log-probs, losses and `warm_up`. What is
smaller than on a GPU stands in the constants below and in the page.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages
import trainer_modules

from harness.engines import vllm
from harness.evaluation import intervals

os.environ.update(vllm.ENVIRONMENT)  # before torch is imported

import torch
from transformers import AutoModelForCausalLM

from harness import files
from harness.environment.training import development_key
from harness.evaluation.gated import questions, tally
from harness.frozen.draw import sample
from harness.frozen.format import Sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks import rules
from harness.tracks.track import ROOT, Track, load

train = trainer_modules.load("baseline-gpu-warmup")
PLACE = ROOT / "runs" / "smol"
PAGE = ROOT / "docs" / "measured" / "smol.md"

RATES = ("0", "1e-5", "1e-4", "1e-3")  # of the warm-up
TRACES, EPOCHS, ROWS = 64, 1, 16  # traces, passes over them, and traces an update: four updates
GRPO_WARMUP, GRPO_STEPS, GRPO_PROMPTS = (
    1e-4,
    8,
    8,
)  # of the warm-up before it; rollouts; questions of each, in groups of 8
QUESTIONS = 8  # held out, of each of the four tasks
SAMPLED, LONGEST = 16, 48  # prompts of the mismatch; tokens of a completion at most, the track has 160
DEVICE = torch.device("cpu")


def small(track: Track) -> Track:
    """The gated suites, with a few questions each."""
    suites = [suite.model_copy(update={"questions": QUESTIONS}) for suite in track.heldout.suites if suite.gate_ppm]
    return track.model_copy(update={"heldout": track.heldout.model_copy(update={"suites": suites})})


def policy_of(track: Track) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(track.base_folder, dtype="auto", attn_implementation="sdpa")
    recipe = replace(train.LANGUAGE, checkpointing=False)  # memory is no question here
    return train.make_policy(model, model.config.vocab_size, recipe, DEVICE)


# ---------------------------------------------------------------- the steps


def rollouts(track: Track, policy: Any, prompts: list[list[int]], seed: int = 0) -> tuple[str, list[Any]]:
    """The sampler's name, and a completion of each prompt at temperature 1, as the trainer would draw it."""
    kind = train.VLLMSampler if find_spec("vllm") else train.PlainSampler
    run = SimpleNamespace(base=track.base_folder, end_token_id=rules.grader(track).end_id)
    sampler = kind(run, LONGEST, policy.model.config.vocab_size, DEVICE)
    sampler.load(policy.model.state_dict().items())
    torch.manual_seed(seed)
    return kind.__name__, sampler.sample(prompts)


def mismatch(track: Track) -> dict[str, Any]:
    """Log-probs of what the base samples for held-out prompts: the sampler's against the trainer's, in nats a token."""
    grader, policy, computes = rules.grader(track), policy_of(track), train.COMPUTE
    prompts = [grader.prompt_ids(item) for item in questions(track, development_key(7))]
    prompts = prompts[:: len(prompts) // SAMPLED][:SAMPLED]
    name, drawn = rollouts(track, policy, prompts)
    rows = [train.Row(p + ids, len(p), logps, 0.0) for p, (ids, logps) in zip(prompts, drawn, strict=True)]
    sampled = torch.tensor([value for row in rows for value in row.logps])
    figures: dict[str, Any] = {"sampler": name, "sampler_computes": _name(computes), "tokens": len(sampled)}
    for train.COMPUTE in (torch.bfloat16, torch.float32):  # the trainer's; the sampler has drawn
        with torch.no_grad():
            moved = policy(*train.collate(rows, DEVICE)) - sampled
        size = moved.abs()
        figures[_name(train.COMPUTE)] = {
            "mean": size.mean().item(),
            "median": size.median().item(),
            "p99": size.quantile(0.99).item(),
            "largest": size.max().item(),
            "ratio": moved.exp().mean().item(),  # of the importance ratio: 1 in expectation
        }
    train.COMPUTE = computes
    return figures


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def warmed_up(track: Track, rate: float, count: int, epochs: int) -> dict[str, Any]:
    """The base after the first `count` traces at this rate, and what its rollouts are worth."""
    grader, policy = rules.grader(track), policy_of(track)
    start = time.monotonic()
    if rate:
        train.WARMUP_EPOCHS, train.WARMUP_ROWS = epochs, ROWS
        train.warm_up(policy, traces(track, grader, count), rate, 0, DEVICE)
    trained = time.monotonic()
    items = questions(track, development_key(11))
    _, drawn = rollouts(track, policy, [grader.prompt_ids(item) for item in items])
    found = tally(track, grader, items, [ids for ids, _ in drawn])
    return {
        "rate": rate,
        "traces": count * epochs if rate else 0,
        "train_s": trained - start,
        "sample_s": time.monotonic() - trained,
        "tasks": {name: result.model_dump() for name, result in found.items()},
    }


def grpo(track: Track) -> dict[str, Any]:
    """The recipe's optimisation (16 minibatches, its ramp and rate), a short warm-up before it: a row a rollout."""
    grader, policy, recipe = rules.grader(track), policy_of(track), train.LANGUAGE
    train.WARMUP_EPOCHS, train.WARMUP_ROWS = EPOCHS, ROWS
    train.warm_up(policy, traces(track, grader, TRACES), GRPO_WARMUP, 0, DEVICE)
    adam = torch.optim.AdamW(policy.parameters(), recipe.learning_rate, train.BETAS, weight_decay=train.WEIGHT_DECAY)
    shuffle, steps = torch.Generator().manual_seed(0), []
    for step in range(GRPO_STEPS):
        start = time.monotonic()
        for parameter_group in adam.param_groups:
            parameter_group["lr"] = recipe.rate(step)
        names = [track.train.tasks[i % len(track.train.tasks)] for i in range(GRPO_PROMPTS)]
        asked = [sample(TASKS[name], bytes(32), "train", step * GRPO_PROMPTS + i) for i, name in enumerate(names)]
        items = [item for item in asked for _ in range(recipe.group)]
        prompts = [grader.prompt_ids(item) for item in items]
        _, drawn = rollouts(track, policy, prompts, seed=step)
        sampled = time.monotonic()
        graded = [grader.grade(item, ids) for item, (ids, _) in zip(items, drawn, strict=True)]
        rewards = torch.tensor([float(one.score.formatted) for one in graded])
        advantages, live = train.group_advantages(rewards.view(-1, recipe.group))
        rows = [
            train.Row(prompt + ids, len(prompt), logps, value)
            for prompt, (ids, logps), value in zip(prompts, drawn, advantages.flatten().tolist(), strict=True)
            if value
        ]
        sums, norms = torch.zeros(2), []
        for indices in torch.randperm(len(rows), generator=shuffle).chunk(recipe.minibatches) if rows else []:
            share = [rows[i] for i in indices]
            sums += train.accumulate(policy, share, len(items) / recipe.minibatches, DEVICE)
            norms.append(torch.nn.utils.clip_grad_norm_(policy.parameters(), train.MAX_GRAD_NORM).item())
            adam.step()
            adam.zero_grad()
        figures = {
            "rate": recipe.rate(step),
            "formatted": rewards.mean().item(),
            "correct": sum(one.score.correct for one in graded) / len(graded),
            "live_groups": int(live.sum()),
            "updates": len(norms),
            "grad_norm": sum(norms) / max(1, len(norms)),
            "clipped": (sums[1] / sums[0].clamp(min=1)).item(),
            "sample_s": sampled - start,
            "learn_s": time.monotonic() - sampled,
        }
        print(json.dumps(figures), flush=True)
        steps.append(figures)
    return {"steps": steps, "traces": TRACES * EPOCHS, "warmup_rate": GRPO_WARMUP, "group": recipe.group}


def traces(track: Track, grader: Grader, count: int) -> list[Any]:
    """The first traces of the track, as `run.warmup()` hands them out."""
    assert track.warmup is not None
    rows = []
    for line in (ROOT / track.warmup.file).read_text(encoding="utf-8").splitlines()[:count]:
        trace = json.loads(line)
        prompt = grader.prompt_ids(Sample(f"{trace['task']}/warmup", trace["prompt"], "", {}))
        rows.append(train.Row([*prompt, *grader.text_ids(trace["completion"]), grader.end_id], len(prompt), [], 0.0))
    return rows


# ---------------------------------------------------------------- the page


def page() -> str:
    lines = pages.table(
        ("sampler, computing in", "trainer in", "tokens", "mean", "median", "99%", "largest", "mean ratio"),
        [
            (
                f"{figures['sampler']}, {figures['sampler_computes']}",
                trainer,
                str(figures["tokens"]),
                *(f"{figures[trainer][name]:.4f}" for name in ("mean", "median", "p99", "largest", "ratio")),
            )
            for path in sorted(PLACE.glob("mismatch-*.json"))
            for figures in [json.loads(path.read_text(encoding="utf-8"))]
            for trainer in ("bfloat16", "float32")
        ],
    )
    found = [json.loads(path.read_text(encoding="utf-8")) for path in PLACE.glob("rate-*.json")]
    rows = [
        (f"{figures['rate']:g}" if figures["rate"] else "none: the base", str(figures["traces"]), *_shares(figures))
        for figures in sorted(found, key=lambda figures: (figures["traces"], figures["rate"]))
    ]
    head = ("learning rate", "traces", "well-formed", "right", "right, by task", "cut off")
    lines += ["", *pages.table(head, rows)]
    path = PLACE / "grpo.json"
    if path.is_file():
        head = ("rollout", "learning rate", "well-formed", "groups that teach", "updates", "gradient norm", "clipped")
        rows = [
            (
                str(number + 1),
                f"{step['rate']:.1e}",
                f"{step['formatted']:.2f}",
                f"{step['live_groups']} of {GRPO_PROMPTS}",
                str(step["updates"]),
                f"{step['grad_norm']:.2f}",
                f"{step['clipped']:.4f}",
            )
            for number, step in enumerate(json.loads(path.read_text(encoding="utf-8"))["steps"])
        ]
        lines += ["", *pages.table(head, rows)]
    return "\n".join(lines)


def _shares(figures: dict[str, Any]) -> list[str]:
    tasks = figures["tasks"]

    def share(name: str) -> str:
        count = sum(task[name] for task in tasks.values())
        low, high = intervals.wilson(count, total)
        return f"{count / total:.2f} ({low:.2f}–{high:.2f})"

    total = sum(task["questions"] for task in tasks.values())
    each = ", ".join(str(tasks[name]["correct"]) for name in ("countdown", "linear", "nim", "josephus"))
    return [share("formatted"), share("correct"), each, str(sum(task["truncated"] for task in tasks.values()))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", help="mismatch, learning rates or grpo; without any: what has no figures")
    parser.add_argument("--traces", type=int, default=TRACES)
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    parser.add_argument("--page", action="store_true", help="write docs/measured/smol.md's tables, measure nothing")
    args = parser.parse_args()
    if args.page:
        pages.write_section(PAGE, "smol", page())
        return
    track = load("gpu-smol")
    track.check_base()
    track = small(track)
    torch.set_num_threads(1)
    PLACE.mkdir(parents=True, exist_ok=True)
    others = {"mismatch": mismatch, "grpo": grpo}  # than a learning rate
    for step in args.steps or ("mismatch", *RATES, "grpo"):
        if step == "mismatch":
            name = f"mismatch-{'vllm' if find_spec('vllm') else 'transformers'}"
        elif step == "grpo":
            name = step
        else:
            name = f"rate-{step}-{args.traces}x{args.epochs}" if float(step) else "rate-0"
        path = PLACE / f"{name}.json"
        if path.is_file() and not args.steps:
            continue
        start = time.process_time()
        figures = others[step](track) if step in others else warmed_up(track, float(step), args.traces, args.epochs)
        files.write(path, json.dumps({**figures, "cpu_s": time.process_time() - start}, indent=1) + "\n")
        print(name, json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
