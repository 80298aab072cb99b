"""One turn of one trainer, in a process of its own. scripts/gpu_acceptance.py starts it:

python -m acceptance.turn model SHAPE FOLDER           writes random weights and a tokenizer
python -m acceptance.turn turn ARM SHAPE FOLDER WORK   prints JSON: the measured peak, a line per step, memory last
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trainer_modules

from acceptance.work import LEARNING_RATE, SHAPES, Work, rewards, work_prompts


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


def ours(name: str, folder: Path, work: Work, tell: Tell) -> None:
    """baseline-gpu/train.py's main(), but for the harness: its samplers, its policy, its update."""
    import torch
    from transformers import AutoModelForCausalLM

    trainer, shape = trainer_modules.load("baseline-gpu"), SHAPES[name]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    trainer.COMPUTE = torch.bfloat16 if device.type == "cuda" else torch.float32
    trainer.MICRO_TOKENS = work.micro * (work.prompt_tokens + work.new_tokens)
    recipe = trainer.Recipe(
        1 + work.steps, work.prompts, work.group, 1, work.new_tokens, LEARNING_RATE, checkpointing=True
    )
    run = SimpleNamespace(base=folder, end_token_id=shape.vocabulary - 1)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="sdpa")
    if work.vllm is None:
        sampler = trainer.PlainSampler(run, work.new_tokens, shape.vocabulary, 1, device)
    else:
        trainer.VLLM_MEMORY = work.vllm
        sampler = trainer.VLLMSampler(run, work.new_tokens, shape.vocabulary, 1, device)
    torch.manual_seed(0)
    policy = trainer.make_policy(model, shape.vocabulary, recipe, device, shard=False)
    trained = list(policy.parameters())
    optimizer = torch.optim.AdamW(trained, LEARNING_RATE, trainer.BETAS, weight_decay=trainer.WEIGHT_DECAY)
    prompts = [prompt for prompt in work_prompts(shape, work) for _ in range(work.group)]
    few = prompts[:: work.group][:8]
    sampler.load(trainer.full_weights(policy))
    tell({"mismatch": trainer.check_agreement(policy, few, sampler.sample(few), device)})
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
    """What the process of a turn does: lines of JSON, the peak first, then a line per step, memory last."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the trainers print goes where errors go

    def tell(found: dict[str, Any]) -> None:
        print(json.dumps(found), file=out, flush=True)

    tell({"peak": measured_peak()})
    {"ours": ours, "trl": theirs}[arm](name, folder, work, tell)
    tell({"memory": peak_memory()})


if __name__ == "__main__":
    if sys.argv[1] == "model":
        write_model(sys.argv[2], Path(sys.argv[3]))
    else:
        turn(sys.argv[2], sys.argv[3], Path(sys.argv[4]), Work(**json.loads(sys.argv[5])))
