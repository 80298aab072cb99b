"""Plans: shapes against published counts and real models, formulas by hand, and what a plan must never do."""

import json
from dataclasses import replace

import pytest
import torch
from gpu_ranks import load_trainer
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from harness.planning import declared as module
from harness.planning.declared import Chip, PlanError, Recipe, Shape, base_shape, declared, shape_of
from harness.planning.plan import check, estimate, plan
from harness.planning.roofline import evaluation_seconds, forward_flops, memory, sampling_seconds, training_seconds
from harness.tracks.track import load, names

GPU = [name for name in names() if load(name).hardware.kind == "gpu"]

SMALL = Shape(
    layers=2, width=8, heads=2, kv_heads=1, head_width=4, intermediate=16, vocabulary=32, tied=True, qkv_bias=True
)
RECIPE = Recipe(
    start_seconds=7, steps=2, prompts=4, group=8, prompt_tokens=10, completion_tokens=20, shards=1,
    micro_tokens=64, chunk_tokens=16, concurrent=8, bytes_per_weight=2,
)  # fmt: skip
CHIP = Chip(fp32_flops=10**11, bf16_flops=10**12, bandwidth_bytes=10**9)
TRACK, HARDWARE = load("1xh100-logic"), load("1xh100-logic").hardware

shapes = st.builds(
    Shape, layers=st.integers(1, 64), width=st.integers(64, 8192), heads=st.integers(1, 64),
    kv_heads=st.integers(1, 16), head_width=st.sampled_from([32, 64, 128]), intermediate=st.integers(64, 32_768),
    vocabulary=st.integers(256, 200_000), tied=st.booleans(), qkv_bias=st.booleans(), qk_norm=st.booleans(),
)  # fmt: skip
recipes = st.builds(
    Recipe, start_seconds=st.integers(1, 1000), steps=st.integers(1, 500), prompts=st.integers(1, 1024),
    group=st.integers(2, 64), prompt_tokens=st.integers(1, 1024), completion_tokens=st.integers(1, 4096),
    shards=st.just(1), micro_tokens=st.integers(1024, 65_536),
    chunk_tokens=st.integers(256, 8192), concurrent=st.integers(1, 1024), bytes_per_weight=st.sampled_from([2, 4]),
)  # fmt: skip


def change(part, **changes):
    return part.model_copy(update=changes)


# ---------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    ("repo", "parameters"),
    [  # as the Hub counts them, or half the bytes that the index of the shards says
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120),
    ],
)
def test_a_shape_has_as_many_weights_as_the_model_that_was_published(repo, parameters):
    assert declared().shapes[repo].parameters == parameters


def test_the_shape_of_a_base_that_lies_here_is_read_from_it():
    track = load("gpu-logic")
    shape = base_shape(track)
    assert shape.parameters == 899_200
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(track.base_folder))
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, Qwen3Config])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_counted_as_transformers_makes_them(kind, tied):
    config = kind(
        num_hidden_layers=3, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
        vocab_size=97, tie_word_embeddings=tied,
        head_dim=16 if kind is Qwen2Config else 24,  # the heads of Qwen2 always share the width
    )  # fmt: skip
    shape = shape_of(json.loads(config.to_json_string(use_diff=False)))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_another_architecture_is_refused():
    with pytest.raises(PlanError, match="model_type is 'gpt2'"):
        shape_of({"model_type": "gpt2"})
    with pytest.raises(PlanError, match="not that of a llama: 'num_hidden_layers'"):
        shape_of({"model_type": "llama"})
    with pytest.raises(PlanError, match="is no JSON object"):
        shape_of([])
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 0, "num_key_value_heads": 1}
    with pytest.raises(PlanError, match="not that of a llama: "):
        shape_of({"model_type": "llama", **sizes})


def test_a_fetched_base_must_have_the_shape_that_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base_shape(TRACK).layers == 28  # not fetched: from plan.toml
    TRACK.base_folder.mkdir(parents=True)
    written = {
        "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 1536, "num_attention_heads": 12,
        "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151_936, "tie_word_embeddings": True,
    }  # fmt: skip
    (TRACK.base_folder / "config.json").write_text(json.dumps(written))
    assert base_shape(TRACK) == declared().shapes["Qwen/Qwen2.5-1.5B-Instruct"]
    (TRACK.base_folder / "config.json").write_text(json.dumps({**written, "num_hidden_layers": 27}))
    with pytest.raises(PlanError, match="describes another model"):
        base_shape(TRACK)
    (TRACK.base_folder / "config.json").write_text("{")
    with pytest.raises(PlanError, match=r"config\.json"):
        base_shape(TRACK)


# ---------------------------------------------------------------- formulas, by hand


def test_the_formulas_by_hand():
    # q and o: 2·8·8; k and v: 2·8·4; three of 8·16 in the MLP
    assert SMALL.block == 128 + 64 + 384 == 576
    assert SMALL.multiplied == 2 * 576 + 32 * 8 == 1408
    assert SMALL.parameters == 1408 + 2 * (2 * 8 + (2 + 2) * 4) + 8 == 1480
    assert SMALL.kv_values == 2 * 2 * 1 * 4
    assert forward_flops(SMALL, 5, 7) == 5 * (2 * 1408 + 4 * 2 * 8 * 7)
    assert memory(SMALL, RECIPE, 30) == {
        "weights": 2960, "gathered layers": 0, "master weights": 5920, "gradients": 5920, "Adam": 11_840,
        "activations": 64 * (16 + 6 * 8 + 16 + 8 + 64) * 2, "logits": 2 * 16 * 32 * 4,
        "sampler's weights": 2960, "KV cache": 8 * 40 * 16 * 2,
    }  # fmt: skip


def test_time_by_hand():
    assumed = change(declared().assumed, training_mfu=0.5, decode_mbu=0.5, decode_mfu=0.5, decode_step_seconds=0)
    length, tokens = 30, 32 * 30
    assert training_seconds(SMALL, RECIPE, CHIP, assumed, gpus=1) == 3 * forward_flops(SMALL, tokens, length / 2) / 5e11
    # 32 sequences in four waves of 8, each of 30 steps that read 2,960 bytes; 640 tokens that read 20 cached ones each
    read = 4 * 30 * 2960 + 640 * 20 * 16 * 2
    prefill = forward_flops(SMALL, 320, 5) / 5e11
    options = {"gpus": 1, "completions": 32, "longest": 30}
    assert sampling_seconds(SMALL, RECIPE, CHIP, assumed, **options) == pytest.approx(prefill + read / 5e8)
    slow = change(assumed, decode_step_seconds=0.01)
    assert sampling_seconds(SMALL, RECIPE, CHIP, slow, **options) == pytest.approx(prefill + 4 * 30 * 0.01)
    fast = change(CHIP, bandwidth_bytes=10**15)  # then arithmetic is what takes time
    whole = prefill + forward_flops(SMALL, 640, 20) / 5e11
    assert sampling_seconds(SMALL, RECIPE, fast, assumed, **options) == pytest.approx(whole)
    # 500 questions in two waves of the track's batch of 256, 512 steps each, a tenth of the FLOPs, 4 bytes a weight
    read = 2 * 512 * 1480 * 4 + 500 * 20 * 20 * 16 * 4
    seconds = forward_flops(SMALL, 5000, 5) / 5e10 + read / 5e8
    assert evaluation_seconds(TRACK, SMALL, RECIPE, CHIP, assumed, 500) == pytest.approx(seconds)


# ---------------------------------------------------------------- what a plan must never do


@given(shapes, recipes, st.sampled_from(["layers", "width", "intermediate", "vocabulary"]), st.integers(1, 4096))
def test_memory_grows_with_the_model(shape, recipe, what, longest):
    larger = change(shape, **{what: getattr(shape, what) * 2})
    assert larger.parameters > shape.parameters
    assert sum(memory(larger, recipe, longest).values()) > sum(memory(shape, recipe, longest).values())


@given(shapes, recipes, st.integers(1, 4096))
def test_memory_grows_with_the_batch_and_the_cache(shape, recipe, longest):
    before = memory(shape, recipe, longest)
    assert memory(shape, change(recipe, micro_tokens=recipe.micro_tokens * 2), longest)["activations"] == (
        2 * before["activations"]
    )
    twice = memory(shape, change(recipe, concurrent=recipe.concurrent * 2), longest)
    assert twice["KV cache"] == 2 * before["KV cache"]
    assert memory(shape, recipe, longest + 1)["KV cache"] > before["KV cache"]


@given(shapes, recipes, st.sampled_from([2, 4, 8]), st.integers(1, 4096))
def test_sharding_divides_what_is_sharded_and_nothing_else(shape, recipe, shards, longest):
    single, sharded = (memory(shape, change(recipe, shards=n), longest) for n in (1, shards))
    for name in ("weights", "master weights", "gradients", "Adam"):
        assert sharded[name] == -(-single[name] // shards)
    for name in ("activations", "logits", "sampler's weights", "KV cache"):
        assert sharded[name] == single[name]
    assert single["gathered layers"] == 0 < sharded["gathered layers"]


@given(shapes, recipes, st.integers(1, 2000), st.sampled_from([1, 2, 8]))
def test_dollars_are_gpu_hours_times_the_price(shape, recipe, cents, gpus):
    hardware = change(HARDWARE, usd_per_gpu_hour_cents=cents, gpus=gpus)
    estimated = estimate(TRACK, hardware, shape, recipe, declared())
    assert estimated.gpu_hours == pytest.approx(estimated.seconds * gpus / 3600)
    assert estimated.usd == pytest.approx(estimated.gpu_hours * cents / 100)
    assert estimated.verification_usd == pytest.approx(estimated.verification_gpu_hours * cents / 100)
    runs = TRACK.verdict.runs
    assert (estimated.verification_runs, estimated.verification_evaluations) == (2 * runs + 1, runs + 1)
    asked = (runs + 1) * estimated.evaluation_seconds * gpus / 3600
    assert estimated.verification_gpu_hours == pytest.approx((2 * runs + 1) * estimated.gpu_hours + asked)
    start, overhead = recipe.start_seconds, declared().assumed.overhead  # the start is billed, once
    assert estimated.seconds == pytest.approx(
        start + overhead * (estimated.sampling_seconds + estimated.training_seconds)
    )
    twice = estimate(TRACK, hardware, shape, change(recipe, steps=recipe.steps * 2), declared())
    assert twice.seconds - start == pytest.approx(2 * (estimated.seconds - start))
    completions = recipe.steps * recipe.prompts * recipe.group
    assert twice.sampled_tokens == 2 * estimated.sampled_tokens == 2 * completions * recipe.completion_tokens


@given(shapes, recipes)
def test_more_gpus_are_never_slower(shape, recipe):
    times = [estimate(TRACK, change(HARDWARE, gpus=n), shape, recipe, declared()).seconds for n in (1, 2, 8)]
    assert times[0] >= times[1] >= times[2]


# ---------------------------------------------------------------- the tracks, and refusals


@pytest.mark.parametrize("name", GPU)
def test_the_plan_of_each_gpu_track_fits(name):
    estimated = plan(load(name))
    assert estimated.memory_bytes <= estimated.usable_bytes and estimated.seconds <= estimated.budget_seconds
    assert estimated.gpu_hours > 0 and estimated.assumptions


def test_what_has_no_plan_says_why():
    with pytest.raises(PlanError, match=r"cpu-logic runs on CPUs.*docs/tracks/cpu-logic\.md"):
        plan(load("cpu-logic"))
    with pytest.raises(PlanError, match="no chip 'H900'; chips: H100-SXM"):
        plan(change(TRACK, hardware=change(HARDWARE, gpu="H900")))
    with pytest.raises(PlanError, match="no recipe for mine"):
        plan(change(TRACK, name="mine"))
    with pytest.raises(PlanError, match="no shape for someone/else"):
        plan(change(TRACK, base=change(TRACK.base, repo="someone/else")))


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("hardware", {"gpu_memory_bytes": 24_000_000_000}, ["a GPU, of which 21.6 GB are usable", "more shards"]),
        ("budget", {"seconds": 60}, ["300 of them to start", "the budget is 60 s"]),
        ("budget", {"reward_queries": 1000}, ["153,600 completions to grade", "the budget is 1,000"]),
        ("budget", {"queries_per_prompt": 4}, ["8 completions a prompt", "at most 4"]),
        ("budget", {"output_bytes": 1_000_000_000}, ["weights of 3.1 GB", "output is 1.0 GB"]),
        ("budget", {"memory_bytes": 1_000_000_000}, ["9.3 GB of the host's memory", "the budget is 1.0 GB"]),
        ("sampling", {"max_new_tokens": 200}, ["completions of 250 tokens on average", "allows 200"]),
    ],
)
def test_a_plan_that_cannot_fit_is_refused_in_one_sentence(part, changes, words):
    with pytest.raises(PlanError) as caught:
        plan(change(TRACK, **{part: change(getattr(TRACK, part), **changes)}))
    message = str(caught.value)
    assert message.startswith("1xh100-logic@1 does not fit: ") and "\n" not in message
    assert all(word in message for word in words)


def test_shards_that_cannot_be_laid_out_are_refused():
    with pytest.raises(PlanError, match="8 shards cannot be laid out over 1 GPUs"):
        estimate(TRACK, HARDWARE, SMALL, change(RECIPE, shards=8), declared())


def test_a_plan_that_just_fits_is_not_refused():
    recipe = declared().recipes[TRACK.name]
    estimated = plan(TRACK)
    check(replace(estimated, usable_bytes=estimated.memory_bytes), TRACK, recipe)
    with pytest.raises(PlanError):
        check(replace(estimated, usable_bytes=estimated.memory_bytes - 1), TRACK, recipe)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("training_mfu = 0.30", "training_mfu = 30", "assumed.training_mfu"),
        ("overhead = 1.25", "overhead = 0.5", "assumed.overhead"),
        ("layers = 28", "layers = 0", "layers"),
        ("group = 8", "group = -8", "group"),
        ("steps = 40", "steps = 40\nsteps_too = 1", "steps_too"),
        ("[assumed]", "[assumed", "plan.toml"),
    ],
)
def test_a_wrong_number_in_plan_toml_is_refused(tmp_path, monkeypatch, old, new, message):
    text = module.FILE.read_text()
    assert old in text
    (tmp_path / "plan.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(module, "FILE", tmp_path / "plan.toml")
    declared.cache_clear()
    try:
        with pytest.raises(PlanError, match=message):
            plan(TRACK)
    finally:
        declared.cache_clear()


@pytest.mark.parametrize("name", GPU)
def test_the_recipe_is_the_baselines(name):
    """What the track's baseline does on its GPUs, and its engine's share of one leaves room for the rest."""
    track, recipe = load(name), declared().recipes[name]
    trainer = load_trainer(track.baseline.folder)
    shape, gpus = base_shape(track), track.hardware.gpus
    its = trainer.LOGIC if shape.parameters < trainer.SMALL else trainer.LANGUAGE
    its = trainer.LANGUAGE_RANKS if its is trainer.LANGUAGE and gpus > 1 else its
    assert (recipe.steps, recipe.prompts, recipe.group) == (its.steps, its.prompts, its.group)
    assert recipe.completion_tokens <= its.max_new_tokens
    assert (recipe.micro_tokens, recipe.chunk_tokens) == (trainer.MICRO_TOKENS, trainer.LOGIT_TOKENS)
    sharded = gpus > 1 and shape.parameters > trainer.SHARD_ABOVE
    assert recipe.shards == (gpus if sharded else 1)

    estimated = plan(track)
    engine = trainer.VLLM_MEMORY * track.hardware.gpu_memory_bytes
    sampler = estimated.memory["sampler's weights"] + estimated.memory["KV cache"]
    assert sampler <= engine
    assert estimated.memory_bytes - sampler + engine <= estimated.usable_bytes


def test_every_recipe_and_shape_belongs_to_a_track():
    assert set(declared().recipes) == set(GPU)
    assert set(declared().shapes) == {load(name).base.repo for name in GPU} - {None}
