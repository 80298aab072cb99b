"""vLLM behind the engine contract: greedy answers for evaluation, and sampling with log-probs for rollouts.

Two ways in, one engine. `generate` is what the evaluator calls: token ids in, token ids out, the same as in
`harness.engines.transformers`. `Engine` keeps the model loaded, samples, says the log-prob of each token that it
sampled, and takes new weights between rollouts; `scripts/measure/engine_parity.py` holds both against transformers. A
trainer is one file that imports nothing of ours, so it carries its own few lines of this.

`generate` runs vLLM in a process of its own. vLLM replaces functions of torch, and what it holds of a GPU is free
for the next run for certain only when its process has ended.

Weights reach `generate` as checked bytes, and reach vLLM as a file in a private folder, beside the track's
config.json. The other way, random weights first and the real ones through `reload_weights`, would spare the file; but
an exact answer should not hang on that machinery, and `Engine.load`, which needs it, can be held against this way.
Neither way does vLLM notice a linear layer whose weights never came, so names are checked here before it sees any.

float32 on CPU and GPU alike: an evaluation is off the clock, two engines then answer alike, and greedy argmax is as
stable across batches as it gets. Where nobody forbids it a GPU multiplies float32 in TF32, with ten bits of mantissa:
Triton does by default, and there vLLM's attention is written in Triton. Every operation as it is written: no compiler,
no captured graphs.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import NanoR1Error

if TYPE_CHECKING:
    import torch

ROOT = Path(__file__).resolve().parent.parent.parent
MODULE = "harness.engines.vllm"  # run as a module: as a script its folder would hide the real vllm and transformers
CPU_CACHE_BYTES = 1 << 30  # keys and values; on a GPU vLLM takes what is free
INSTALL = "scripts/setup.sh vllm"
SAID = 2000  # characters of vLLM's own words in an error

# What the process that imports vLLM must have been started with.
ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # the engine in this process: it ends with it, and takes tensors as they are
    "VLLM_USE_V2_MODEL_RUNNER": "0",  # the runner measured on CPUs: on GPUs vLLM would take another one
    "TORCH_COMPILE_DISABLE": "1",  # needs no C++ compiler
    "TRITON_F32_DEFAULT": "ieee",  # attention in float32 and not in TF32
    "VLLM_FLOAT32_MATMUL_PRECISION": "highest",  # likewise every linear layer: vLLM hands it to torch
    "NVIDIA_TF32_OVERRIDE": "0",  # and no setting of this machine may turn TF32 on again
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",  # else it reports this machine to its makers
    "DO_NOT_TRACK": "1",
    "VLLM_PLUGINS": "",  # no other package may change what is answered
    "VLLM_LOGGING_LEVEL": "WARNING",
    "TOKENIZERS_PARALLELISM": "false",
}


class EngineFailed(NanoR1Error):
    """vLLM is not there, or did not answer; the message says which and what it said last."""


@dataclass(frozen=True)
class Sampled:
    """A completion, end token included if it came, and for each token the log-prob it was sampled with."""

    token_ids: list[int]
    logps: list[float]


# ---------------------------------------------------------------- a model that stays


class Engine:
    """vLLM with one model in float32, for at most `rows` sequences of `length` tokens at a time.

    `folder` holds config.json and model.safetensors; nothing else in it is read, and no code of it is run. The
    process must have been started with ENVIRONMENT. Raises EngineFailed.
    """

    def __init__(self, folder: Path, *, rows: int, length: int, seed: int = 0) -> None:
        if any(os.environ.get(name) != value for name, value in ENVIRONMENT.items()):
            raise EngineFailed(f"start this process with {MODULE}.ENVIRONMENT: torch reads it as it is imported")
        if importlib.util.find_spec("vllm") is None:
            raise EngineFailed(f"vLLM is not installed here: {INSTALL}")
        import torch
        from safetensors import safe_open
        from transformers import AutoConfig, AutoModelForCausalLM

        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        with torch.device("meta"):
            from_config: Any = AutoModelForCausalLM.from_config
            model = from_config(config, trust_remote_code=False)
        self._names, tied = set(model.state_dict()), set(model.all_tied_weights_keys)
        with safe_open(folder / "model.safetensors", framework="pt") as file:
            _check_names(set(file.keys()), self._names - tied, self._names)

        from vllm import LLM  # seconds, so last

        self._llm = LLM(
            str(folder),
            dtype="float32",
            trust_remote_code=False,
            load_format="safetensors",
            skip_tokenizer_init=True,
            generation_config="vllm",  # not the folder's: no top-k that nobody asked for
            logprobs_mode="processed_logprobs",  # after the temperature: of the distribution sampled from
            enforce_eager=True,
            seed=seed,
            max_num_seqs=rows,
            max_model_len=length,
            **({} if torch.cuda.is_available() else {"kv_cache_memory_bytes": CPU_CACHE_BYTES, "block_size": 32}),
        )

    def greedy(
        self,
        prompts: Sequence[list[int]],
        *,
        end_id: int,
        max_new_tokens: int,
        on_progress: Callable[[int], None] = lambda done: None,
    ) -> list[list[int]]:
        """The likeliest token each time, end token included if it came within `max_new_tokens`."""
        found = self._run(prompts, end_id, on_progress, temperature=0.0, max_tokens=max_new_tokens)
        return [list(outputs[0].token_ids) for outputs in found]

    def sample(
        self, prompts: Sequence[list[int]], *, n: int, temperature: float, end_id: int, max_new_tokens: int
    ) -> list[list[Sampled]]:
        """`n` completions of each prompt, with the log-probs of the distribution that was sampled from."""
        found = self._run(
            prompts, end_id, n=n, temperature=temperature, max_tokens=max_new_tokens, logprobs=0, flat_logprobs=True
        )
        return [[Sampled(list(out.token_ids), list(out.logprobs.logprobs)) for out in outputs] for outputs in found]

    def load(self, weights: Mapping[str, torch.Tensor]) -> None:
        """New weights, by the checkpoint's names: `model.state_dict()`, where tied weights stand under both names.

        Left out, vLLM would go on with the head that it has, and say so only in its log. Raises ValueError if a tensor
        is missing or unknown, and takes none then.
        """
        _check_names(set(weights), self._names, self._names)
        self._llm.collective_rpc("reload_weights", kwargs={"weights_iterator": iter(weights.items())})
        if not self._llm.reset_prefix_cache():  # keys and values of the old weights
            raise EngineFailed("vLLM kept the keys and values of the old weights: is something still being sampled?")

    def _run(
        self,
        prompts: Sequence[list[int]],
        end_id: int,
        on_progress: Callable[[int], None] = lambda done: None,
        **settings: Any,
    ) -> list[list[Any]]:
        """vLLM's outputs, prompt by prompt."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        params = SamplingParams(
            stop_token_ids=[end_id],
            ignore_eos=True,  # the track says what the end is, not the configuration
            detokenize=False,
            output_kind=RequestOutputKind.FINAL_ONLY,
            **settings,
        )
        self._llm.enqueue([{"prompt_token_ids": list(prompt)} for prompt in prompts], params, use_tqdm=False)
        engine, found = self._llm.llm_engine, dict[int, list[Any]]()
        while engine.has_unfinished_requests():  # what `LLM.generate` does, but for a progress bar on the terminal
            if answers := engine.step():
                found |= {int(answer.request_id): answer.outputs for answer in answers}
                on_progress(len(found))
        return [found[number] for number in sorted(found)]  # numbered as they were asked


def _check_names(found: set[str], needed: set[str], known: set[str]) -> None:
    if missing := sorted(needed - found):
        raise ValueError(f"not this model's weights: {', '.join(missing)} missing")
    if unknown := sorted(found - known):
        raise ValueError(f"not this model's weights: {', '.join(unknown)} unknown")


# ---------------------------------------------------------------- the engine contract


def generate(
    folder: Path,
    weights: bytes,
    prompts: list[list[int]],
    *,
    end_id: int,
    max_new_tokens: int,
    batch: int,
    on_progress: Callable[[int], None] = lambda done: None,
) -> list[list[int]]:
    """The greedy completion of each prompt, end token included if it came within `max_new_tokens`.

    `weights` is a checked safetensors file (see harness.frozen.checkpoint); of `folder` only config.json is used.
    At most `batch` sequences at a time. `on_progress` hears how many prompts are done. Raises EngineFailed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise EngineFailed(f"this track's questions are answered by vLLM, which is not installed: {INSTALL}")
    request = {
        "prompts": prompts,
        "end_id": end_id,
        "max_new_tokens": max_new_tokens,
        "rows": batch,
        "length": max(map(len, prompts), default=0) + max_new_tokens,
    }
    with tempfile.TemporaryDirectory(prefix="nano-r1-vllm-") as work, open(f"{work}/said", "w+b") as said:
        place = Path(work)
        (place / "config.json").write_bytes((folder / "config.json").read_bytes())
        (place / "model.safetensors").write_bytes(weights)
        (place / "request.json").write_text(json.dumps(request), encoding="utf-8")
        process = subprocess.Popen(
            [sys.executable, "-m", MODULE, work],
            env={**os.environ, **ENVIRONMENT, "PYTHONPATH": str(ROOT)},
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            encoding="utf-8",
        )
        try:
            assert process.stdout is not None
            for line in process.stdout:
                on_progress(int(line))
            code = process.wait()
        finally:  # on_progress may raise, to stop
            process.kill()
            process.wait()
        if code != 0:
            said.seek(0)
            last = said.read().decode(errors="replace")[-SAID:].strip()
            raise EngineFailed(f"vLLM ended with {code}. Its last words:\n{last}")
        answers: list[list[int]] = json.loads((place / "completions.json").read_text(encoding="utf-8"))
    return answers


def _answer(place: Path) -> None:
    """What the process of `generate` does."""
    progress = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # vLLM logs to standard output, where the counts go
    request = json.loads((place / "request.json").read_text(encoding="utf-8"))
    engine = Engine(place, rows=request["rows"], length=request["length"])
    completions = engine.greedy(
        request["prompts"],
        end_id=request["end_id"],
        max_new_tokens=request["max_new_tokens"],
        on_progress=lambda done: print(done, file=progress, flush=True),
    )
    (place / "completions.json").write_text(json.dumps(completions), encoding="utf-8")


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more
        _answer(Path(sys.argv[1]))
