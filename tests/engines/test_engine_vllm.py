"""vLLM against transformers, with the real vLLM on the CPU: `scripts/test-vllm` installs it and runs these.

The full figures are `scripts/measure/engine_parity.py`'s; these are small enough for every pull request.
"""

import contextlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from harness.engines import transformers, vllm
from harness.evaluation.gated import evaluate, questions
from harness.tracks import rules
from harness.tracks.track import ROOT, load

INSTALLED = importlib.util.find_spec("vllm") is not None
WANTED = os.environ.get("NANO_R1_TEST_VLLM") == "1"  # scripts/test-vllm: not being there is a failure then
needs_vllm = pytest.mark.skipif(not INSTALLED and not WANTED, reason="vLLM is not installed: scripts/test-vllm")


@pytest.fixture(scope="module")
def track():
    real = load("cpu-logic")
    suites = [suite.model_copy(update={"questions": 8}) for suite in real.heldout.suites]
    return real.model_copy(update={"heldout": real.heldout.model_copy(update={"suites": suites})})


@pytest.fixture(scope="module")
def weights(track):
    return (track.base_folder / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def prompts(track):
    grader = rules.grader(track)
    return [grader.prompt_ids(item) for item in questions(track, b"k" * 32)]


@pytest.mark.skipif(not WANTED, reason="scripts/test-vllm only")
def test_this_job_has_the_vllm_that_the_track_files_mean():
    import vllm as real

    assert real.__version__.partition("+")[0] == "0.31.0"


@pytest.mark.skipif(INSTALLED, reason="vLLM is installed here")
def test_without_vllm_the_message_says_what_to_install(track, weights):
    with pytest.raises(vllm.EngineFailed, match=r"scripts/setup\.sh vllm"):
        vllm.generate(track.base_folder, weights, [[5]], end_id=1, max_new_tokens=4, batch=1)


@needs_vllm
def test_both_engines_give_the_same_tokens(track, weights, prompts):
    """Also cut off at the limit, and with progress told up to the last prompt."""
    grader = rules.grader(track)
    for limit in (128, 7):
        seen: list[int] = []
        asked = {"end_id": grader.end_id, "max_new_tokens": limit, "batch": 16}
        ours = transformers.generate(track.base_folder, weights, prompts, **asked)
        assert vllm.generate(track.base_folder, weights, prompts, **asked, on_progress=seen.append) == ours
        assert seen == sorted(set(seen)) and seen[-1] == len(prompts)
        assert limit == 128 or any(ids[-1] != grader.end_id for ids in ours)


@needs_vllm
def test_the_evaluator_takes_either_engine(track, weights):
    other = track.model_copy(update={"sampling": track.sampling.model_copy(update={"engine": "vllm"})})
    found, wanted = (evaluate(each, weights, b"e" * 32) for each in (other, track))
    assert found.completions == wanted.completions and found.tasks == wanted.tasks


@needs_vllm
def test_a_checkpoint_that_lacks_a_tensor_is_an_error_and_not_an_answer(track, weights, prompts):
    tensors = load_tensors(weights)
    del tensors["model.layers.2.mlp.down_proj.weight"]
    with pytest.raises(vllm.EngineFailed, match=r"model\.layers\.2\.mlp\.down_proj"):
        vllm.generate(track.base_folder, save(tensors), prompts[:2], end_id=1, max_new_tokens=4, batch=2)


@needs_vllm
def test_the_caller_can_stop_it(track, weights, prompts):
    """What `on_progress` raises comes out, and no process is left behind."""

    class Stop(Exception):
        pass

    def stop(done: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        vllm.generate(track.base_folder, weights, prompts, end_id=1, max_new_tokens=64, batch=2, on_progress=stop)
    ours = f"PPid:\t{os.getpid()}\n"
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # ended in between
            assert (
                ours not in (process / "status").read_text(encoding="utf-8")
                or b"vllm" not in (process / "cmdline").read_bytes()
            )


ROLLOUTS = """
import json, os, sys
import torch
from transformers import AutoModelForCausalLM
from harness.engines import vllm
from harness.tracks.track import load

track, request = load("cpu-logic"), json.load(sys.stdin)
model = AutoModelForCausalLM.from_pretrained(track.base_folder, dtype=torch.float32, attn_implementation="eager")
engine = vllm.Engine(track.base_folder, rows=64, length=256)
prompts, end_id = request["prompts"], request["end_id"]

@torch.no_grad()
def apart(temperature):
    worst = tokens = 0
    for prompt, outputs in zip(prompts, engine.sample(prompts, n=2, temperature=temperature, end_id=end_id,
                                                      max_new_tokens=24), strict=True):
        assert len(outputs) == 2
        for out in outputs:
            assert len(out.logps) == len(out.token_ids) <= 24 and end_id not in out.token_ids[:-1]
            logits = model(torch.tensor([prompt + out.token_ids])).logits[0, len(prompt) - 1 : -1] / temperature
            wanted = logits.log_softmax(-1).gather(1, torch.tensor(out.token_ids)[:, None])[:, 0]
            worst = max(worst, (wanted - torch.tensor(out.logps)).abs().max().item())
            tokens += len(out.token_ids)
    return worst, tokens

found = {"base": apart(1.0), "cool": apart(0.7)}
torch.manual_seed(0)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))
found["before"] = apart(1.0)
state = model.state_dict()
for name in ("lm_head.weight", "model.norm.weight"):
    try:
        engine.load({key: value for key, value in state.items() if key != name})
    except ValueError as error:
        found[f"without {name}"] = str(error)
try:
    engine.load(state | {"more": state["model.norm.weight"]})
except ValueError as error:
    found["with more"] = str(error)
found["refused"] = apart(1.0)
engine.load(state)
found["after"] = apart(1.0)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.mul_(0.5)
found["own copy"] = apart(1.0)  # vLLM must not see the trainer's tensors change
for parameter in model.parameters():
    parameter.data.mul_(2)
found["again"] = apart(1.0)
print("FOUND" + json.dumps(found))
"""


@needs_vllm
def test_rollouts_have_the_models_log_probs_and_new_weights_reach_the_sampler(track, prompts):
    """A tied head that is left out is refused; refused weights change nothing; taken weights change everything."""
    done = subprocess.run(
        [sys.executable, "-c", ROLLOUTS],
        env={**os.environ, **vllm.ENVIRONMENT, "PYTHONPATH": str(ROOT)},
        input=json.dumps({"prompts": prompts[::4], "end_id": rules.grader(track).end_id}),
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.partition("FOUND")[2])
    for name in ("base", "cool", "after", "again"):
        worst, tokens = found[name]
        assert worst < 1e-4 and tokens > 100, name
    for name in ("before", "refused", "own copy"):
        assert found[name][0] > 0.01, name
    assert "lm_head.weight" in found["without lm_head.weight"]
    assert "model.norm.weight" in found["without model.norm.weight"]
    assert "more" in found["with more"]


@needs_vllm
def test_an_engine_in_a_process_that_was_not_prepared_says_so(track):
    with pytest.raises(vllm.EngineFailed, match="ENVIRONMENT"):
        vllm.Engine(track.base_folder, rows=1, length=8)


# ---------------------------------------------------------------- float32 on a GPU, as far as a CPU can show it

TRITON = ROOT / ".venv-vllm" / "triton"  # scripts/test-vllm puts it there
KERNEL = """
import triton, triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

@triton.jit
def scores(q, k, out):
    i = tl.arange(0, 16)
    at = i[:, None] * 16 + i[None, :]
    tl.store(out + at, tl.dot(tl.load(q + at), tl.load(k + at)))  # as vLLM's attention multiplies: no precision named

source = ASTSource(scores, {"q": "*fp32", "k": "*fp32", "out": "*fp32"}, {})
print(triton.compile(source, target=GPUTarget("cuda", 90, 32)).asm["ptx"])
"""


@pytest.mark.skipif(not TRITON.is_dir() and not WANTED, reason="Triton is not there: scripts/test-vllm")
def test_attention_on_a_gpu_multiplies_in_float32(tmp_path):
    """What the compiler makes of such a product for an H100: no tensor core's TF32, in an environment of ours."""
    (tmp_path / "kernel.py").write_text(KERNEL, encoding="utf-8")  # Triton reads a kernel's source from its file
    found = {}
    for name, variables in {"default": {}, "ours": vllm.ENVIRONMENT}.items():
        path = {"PATH": os.environ["PATH"], "PYTHONPATH": str(TRITON), "TRITON_CACHE_DIR": str(tmp_path / "cache")}
        command = [sys.executable, str(tmp_path / "kernel.py")]
        done = subprocess.run(command, env=path | variables, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr
        found[name] = done.stdout
    assert "tf32" in found["default"] and "fma.rn.f32" not in found["default"]
    assert "tf32" not in found["ours"] and "fma.rn.f32" in found["ours"]


@needs_vllm
def test_vllms_attention_leaves_the_precision_to_tritons_default():
    """If it named one, TRITON_F32_DEFAULT would say nothing about it."""
    kernels = Path(importlib.util.find_spec("vllm").origin).parent / "v1" / "attention" / "ops"
    text = (kernels / "triton_unified_attention.py").read_text(encoding="utf-8")
    assert text.count("tl.dot(") >= 4 and "input_precision" not in text and "allow_tf32" not in text
