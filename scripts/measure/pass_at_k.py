"""pass@k of models on a track's gated tasks: does training make a model better, or only surer of what it could do?

    python scripts/measure/pass_at_k.py [--track cpu-logic] [--questions 128] [--samples 256] MODEL…

A MODEL is a folder with `model.safetensors`, of the shape of the track's base; without one, the base itself. Asks
training-side questions of a key of its own, so nothing held out is seen. `greedy` is one greedy completion a question;
pass@1, 2, 4 … come from `samples` completions at temperature 1 (Chen et al. 2021, equation 1, unbiased), each with the
standard error over questions. Prints a table in Markdown a model, and at which k the first model is above the second:
Yue et al. 2025 ("Does Reinforcement Learning Really Incentivize Reasoning Capacity in LLMs Beyond the Base Model?",
arXiv:2504.13837) found a base above its trained model from some k on.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import fmean, stdev

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModelForCausalLM

from harness.engines.transformers import KVCache
from harness.evaluation.intervals import pass_at_k, wilson
from harness.frozen.draw import sample
from harness.frozen.grader import Grader
from harness.tasks import TASKS
from harness.tracks.rules import grader
from harness.tracks.track import Track, load

KEY = b"nano-r1 pass@k"
ROWS = 512  # completions sampled at a time


def read(folder: Path, track: Track) -> torch.nn.Module:
    """The track's model with these weights, in float32."""
    config = AutoConfig.from_pretrained(track.base_folder, local_files_only=True)
    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    missing, unexpected = model.load_state_dict(load_file(folder / "model.safetensors"), strict=False)
    if unexpected or set(missing) - set(model.all_tied_weights_keys):
        raise SystemExit(
            f"{folder}: the weights do not fit {track.base_folder}: {missing} missing, {unexpected} unknown"
        )
    return model.float().eval().requires_grad_(False)


@torch.inference_mode()
def complete(
    model: torch.nn.Module, prompts: list[list[int]], end_id: int, longest: int, greedy: bool
) -> list[list[int]]:
    """One completion a prompt, end token included if it came: greedy, or sampled at temperature 1."""
    rows, width, config = len(prompts), max(map(len, prompts)), model.config
    length = torch.tensor([len(prompt) for prompt in prompts])
    ids = torch.tensor([[end_id] * (width - len(prompt)) + prompt for prompt in prompts])
    real = torch.arange(width + longest) >= (width - length)[:, None]  # [rows, width + longest]
    heads, lowest = config.num_key_value_heads, torch.finfo(torch.float32).min
    cache = KVCache(config.num_hidden_layers, rows, heads, width + longest, config.head_dim, torch.empty(0))
    allowed = torch.ones(width, width, dtype=torch.bool).tril() & real[:, None, :width]
    positions = (torch.arange(width) - (width - length)[:, None]).clamp(min=0)
    done: list[list[int]] = [[] for _ in prompts]
    alive = torch.arange(rows)
    for step in range(longest):
        bias = torch.where(allowed, 0.0, lowest)[:, None]
        hidden = model.model(
            ids, attention_mask=bias, position_ids=positions, past_key_values=cache, use_cache=True
        ).last_hidden_state
        logits = model.lm_head(hidden[:, -1])
        token = logits.argmax(-1) if greedy else torch.multinomial(logits.softmax(-1), 1)[:, 0]
        for row, value in zip(alive.tolist(), token.tolist(), strict=True):
            done[row].append(value)
        kept = (token != end_id).nonzero()[:, 0]
        if not len(kept):
            break
        if len(kept) < len(alive):
            cache.keep(kept)
            alive, token, real, length = alive[kept], token[kept], real[kept], length[kept]
        ids, positions = token[:, None], (length + step)[:, None]
        allowed = real[:, None, : width + step + 1]
    return done


def right(
    model: torch.nn.Module, track: Track, checks: Grader, task: str, questions: int, samples: int
) -> tuple[list[int], float]:
    """(right completions of each question, mean tokens a completion); one sample is a greedy one."""
    items = [item for i in range(questions) for item in [sample(TASKS[task], KEY, "train", i)] * samples]
    correct, tokens = [0] * questions, 0
    for first in range(0, len(items), ROWS):
        some = items[first : first + ROWS]
        prompts = [checks.prompt_ids(item) for item in some]
        made = complete(model, prompts, checks.end_id, track.sampling.max_new_tokens, samples == 1)
        tokens += sum(map(len, made))
        for at, graded in enumerate(checks.grade_all(some, made), first):
            correct[at // samples] += graded.score.correct
    return correct, tokens / len(items)


def mean_and_error(values: list[float]) -> str:
    return f"{fmean(values):.3f} ± {stdev(values) / len(values) ** 0.5:.3f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", type=Path, metavar="MODEL")
    parser.add_argument("--track", default="cpu-logic")
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument("--samples", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    track = load(args.track)
    checks, ks = grader(track), [2**i for i in range(args.samples.bit_length())]
    curves: list[dict[str, list[float]]] = []
    for folder in args.models or [track.base_folder]:
        model = read(folder, track)
        print(f"\n{folder}\n\n| task | greedy (95%) | tokens | {' | '.join(f'pass@{k}' for k in ks)} |")
        print(f"|---|---:|---:|{'---:|' * len(ks)}")
        curves.append({})
        for task in track.heldout.gates:
            greedy, _ = right(model, track, checks, task, args.questions, 1)
            counts, tokens = right(model, track, checks, task, args.questions, args.samples)
            by_k = [[pass_at_k(args.samples, n, k) for n in counts] for k in ks]
            curves[-1][task] = [fmean(values) for values in by_k]
            low, high = wilson(sum(greedy), args.questions)
            shown = " | ".join(map(mean_and_error, by_k))
            print(f"| {task} | {fmean(greedy):.3f} ({low:.3f}–{high:.3f}) | {tokens:.1f} | {shown} |", flush=True)
    for task in curves[0] if len(curves) > 1 else ():
        above = [k for k, a, b in zip(ks, curves[0][task], curves[1][task], strict=True) if a > b]
        print(
            f"\n{task}: the first is above the second at " + (f"k = {', '.join(map(str, above))}" if above else "no k")
        )


if __name__ == "__main__":
    main()
