"""docs/gpu-acceptance.md, and what is computed for it from the turns of the trainers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pages

from acceptance.work import ARMS, SHAPES, Work, step_flops
from harness.frozen import stats
from harness.planning.declared import Shape

CPU_SAMPLER = "each its own loop, float32, one thread, CPU time beside other work (it says nothing about a GPU)"


def rates(made: dict[str, Any], work: Work) -> dict[str, float]:
    """Of one turn: tokens a second. A trained token is any that the loss's passes see, the prompt's among them."""
    rollout, train = (sum(step[phase] for step in made["steps"]) for phase in ("rollout", "train"))
    sampled = sum(step["sampled"] for step in made["steps"])
    trained = sampled + len(made["steps"]) * work.rows * work.prompt_tokens
    return {"rollout": sampled / rollout, "train": trained / train, "step": sampled / (rollout + train)}


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """By trainer the means over its turns; ours over TRL's with 95% intervals where both have turns."""
    work, shape = Work(**found["work"]), Shape(**found["shape"])
    decode, train = step_flops(shape, work)
    trained = work.rows * (work.prompt_tokens + work.new_tokens)
    out: dict[str, Any] = {}
    by_arm = {arm: [rates(made, work) for made in turns] for arm, turns in found["turns"].items() if turns}
    peak = max((made["peak"] for turns in found["turns"].values() for made in turns), default=0.0)
    for arm, rows in by_arm.items():
        mean = {phase: sum(row[phase] for row in rows) / len(rows) for phase in rows[0]}
        used = [made["memory"] for made in found["turns"][arm]]
        memory = {kind: max(usage[kind] for usage in used) for kind in used[0]}
        out[arm] = mean | {
            "turns": len(rows),
            "memory": memory,
            "rollout_share": mean["rollout"] * decode / (work.rows * work.new_tokens) / peak,
            "train_share": mean["train"] * train / trained / peak,
        }
    ratio = {}
    if set(by_arm) == set(ARMS):
        for phase in ("rollout", "train", "step"):
            ratio[phase] = stats.ratio_interval(*([row[phase] for row in by_arm[arm]] for arm in ARMS))
    return out | {"peak": peak, "ratio": ratio}


def label(here: dict[str, Any]) -> str:
    """A machine in one line."""
    cores = f"{here['cores']} cores of {here['cpu']}"
    if here.get("gpu") is None:
        return f"{cores}, no GPU"
    return f"{here['gpu']['devices'][0]['model']} (driver {here['gpu']['driver']}), {cores}"


def page(results: dict[str, Any]) -> str:
    """docs/gpu-acceptance.md: each part's figures, the command and the machine, or why there are none."""
    out = [
        "# What a GPU has to show",
        "",
        "Written by `scripts/gpu_acceptance.py --page` from [gpu-acceptance.json](gpu-acceptance.json). How the work",
        "is made equal and what is counted stands in the script's docstring.",
    ]
    done = [entry for entry in results.values() if "skipped" not in entry]
    if not any(entry["machine"].get("gpu") for entry in done):
        out += [
            "",
            "**Provisional: nothing on this page was measured on a GPU.** What a CPU shows is that the script works.",
        ]
    out += ["", "## Two sharded updates on all GPUs, in the sandbox", ""]
    out += section(results.get("ranks"), ranks_rows)
    out += ["", "## gpu-logic, verified end to end", ""]
    out += section(results.get("verify"), verify_rows)
    out += ["", "## Throughput, beside TRL's GRPOTrainer", ""]
    for name in SHAPES:
        entry = results.get(f"throughput {name}")
        if name == "tiny" and entry is None:
            continue
        out += [f"### {name}: {SHAPES[name].parameters:,} parameters", "", *section(entry, throughput_rows), ""]
    out += ["## Engines", "", *section(results.get("parity"), parity_rows)]
    return "\n".join(out) + "\n"


def section(entry: dict[str, Any] | None, rows: Callable[[dict[str, Any]], list[str]]) -> list[str]:
    if entry is None:
        return ["Provisional: not run on a GPU."]
    where = f"`{entry['command']}`, {entry['utc']}, on {label(entry['machine'])}"
    if "skipped" in entry:
        return [f"Provisional: not run on a GPU. {where}: {entry['skipped']}."]
    packages = ", ".join(f"{name} {number}" for name, number in entry["machine"]["packages"].items())
    return [*rows(entry["found"]), "", f"{where}; {packages}."]


def ranks_rows(found: dict[str, Any]) -> list[str]:
    return pages.table(
        ["", ""],
        [
            ["Model", f"{found['shape']}: {found['parameters']:,} parameters, {found['sharded']} tensors, all sharded"],
            ["Ranks", f"{found['ranks']} on {found['device']}, {found['backend'] or 'alone'}; {found['compute']}"],
            ["Isolation", found["isolation"]],
            ["Seconds of each update", ", ".join(f"{seconds:.1f}" for seconds in found["seconds"])],
            ["Seconds from the sandbox's start to its end", f"{found['wall_seconds']:.0f}"],
            ["Norm of each gradient", ", ".join(f"{norm:.4f}" for norm in found["norms"])],
            [
                "How much likelier the rewarded rows are, nats a token, before and after each",
                ", ".join(f"{margin:.5f}" for margin in found["margins"]),
            ],
            ["Peak memory reserved on a GPU", f"{found['peak_memory_bytes'] / 1e9:.1f} GB"],
        ],
    )


def verify_rows(found: dict[str, Any]) -> list[str]:
    def listed(values: list[Any], form: str) -> str:
        return ", ".join("never" if value is None else format(value, form) for value in values)

    return pages.table(
        ["", ""],
        [
            ["Valid", f"{found['valid']}; {'; '.join(found['reasons']) or 'no reason against it'}"],
            ["Mean accuracy of each run", listed(found["accuracy"], ".4f")],
            [
                f"Gate {found['gate']:.2f}: seconds of each run, from the sandbox's start to its end",
                listed(found["wall"], ".1f"),
            ],
            ["Seconds until the training accuracy of a rollout was at the gate", listed(found["first_at_gate"], ".1f")],
            ["The whole session, seconds", f"{found['seconds']:.0f}"],
        ],
    )


def over(low: float, ratio: float, high: float) -> str:
    """A ratio with its interval; of a single turn there is none."""
    return f"{ratio:.2f}" + (f" (95% {low:.2f} – {high:.2f})" if low < high else ", one turn alone")


def throughput_rows(found: dict[str, Any]) -> list[str]:
    work, totals = Work(**found["work"]), found["summary"]
    sampler = "vLLM" if work.vllm is not None else CPU_SAMPLER
    out = [
        f"{work.prompts} prompts × {work.group} completions, {work.prompt_tokens} + {work.new_tokens} tokens, "
        f"micro-batches of {work.micro}, one update; {sampler}; {work.steps} steps a turn.",
        "",
    ]
    rows = []
    for arm in found["turns"]:
        if arm in totals:
            s = totals[arm]
            memory = s["memory"].get("allocated", s["memory"]["resident"])
            rows.append(
                [
                    ARMS[arm], str(s["turns"]), f"{s['rollout']:,.0f} ({s['rollout_share']:.2%})",
                    f"{s['train']:,.0f} ({s['train_share']:.2%})", f"{s['step']:,.0f}", f"{memory / 1e9:.2f} GB",
                ]
            )  # fmt: skip
    if totals["ratio"]:
        ratio = {phase: over(*interval) for phase, interval in totals["ratio"].items()}
        rows.append(["ours over TRL's", "", ratio["rollout"], ratio["train"], ratio["step"], ""])
    out += ["Tokens a second, and their FLOPs as a share of the peak:", ""]
    out += pages.table(["", "turns", "sampling", "training", "a whole step, by tokens sampled", "peak memory"], rows)
    out += ["", f"Measured peak: {totals['peak'] / 1e12:.2f} TFLOPS."] if totals["peak"] else [""]
    out += [f"{ARMS[arm]} failed: {words}." for arm, words in found["failed"].items()]
    return [*out, f"Nothing to compare with: {found['alone']}."] if found["alone"] else out


def parity_rows(found: dict[str, Any]) -> list[str]:
    tokens, sync, speed = (found[step] for step in ("tokens", "sync", "speed"))
    return pages.table(
        ["", ""],
        [
            ["Engines agree within the limits", str(found["agree"])],
            ["Greedy tokens equal", f"{tokens['same']:,} of {tokens['prompts']:,}"],
            ["Largest difference of a log-prob", f"{max(row['largest'] for row in tokens['logps'].values()):.1e}"],
            ["The same after each of ten updates", f"{max(row['after'] for row in sync['updates']):.1e}"],
            ["vLLM over transformers, tokens a second", over(*speed["ratio"])],
        ],
    )
