"""Plans: what they must never do, which tracks they fit, and refusals."""

from dataclasses import replace

import pytest
from gpu_ranks import load_trainer
from hypothesis import given
from hypothesis import strategies as st
from plan_examples import FOOTPRINT, HARDWARE, TRACK, change, recipes, shapes

from harness.planning.declared import PlanError, base_shape, declared
from harness.planning.plan import check, estimate, plan
from harness.tracks.track import load, names

GPU = [name for name in names() if load(name).hardware.kind == "gpu"]


@given(shapes, recipes, st.integers(1, 2000), st.sampled_from([1, 2, 8]))
def test_dollars_are_gpu_hours_times_the_price(shape, recipe, cents, gpus):
    hardware = change(HARDWARE, usd_per_gpu_hour_cents=cents, gpus=gpus)
    estimated = estimate(TRACK, hardware, shape, recipe, FOOTPRINT, declared())
    assert estimated.gpu_hours == pytest.approx(estimated.seconds * gpus / 3600)
    assert estimated.usd == pytest.approx(estimated.gpu_hours * cents / 100)
    assert estimated.verification_usd == pytest.approx(estimated.verification_gpu_hours * cents / 100)
    runs = TRACK.verdict.runs
    assert (estimated.verification_runs, estimated.verification_evaluations) == (2 * runs + 1, runs + 1)
    asked = (runs + 1) * estimated.evaluation_seconds * gpus / 3600
    assert estimated.verification_gpu_hours == pytest.approx((2 * runs + 1) * estimated.gpu_hours + asked)
    start, overhead = recipe.start_seconds, declared().assumed.overhead  # the start is billed, once
    assert estimated.seconds == pytest.approx(
        start + overhead * (estimated.sampling_seconds + estimated.grading_seconds + estimated.training_seconds)
    )
    twice = estimate(TRACK, hardware, shape, change(recipe, steps=recipe.steps * 2), FOOTPRINT, declared())
    assert twice.seconds - start == pytest.approx(2 * (estimated.seconds - start))
    completions = recipe.steps * recipe.prompts * recipe.group
    assert twice.sampled_tokens == 2 * estimated.sampled_tokens == 2 * completions * recipe.completion_tokens


@given(shapes, recipes)
def test_more_gpus_are_never_slower(shape, recipe):
    times = [estimate(TRACK, change(HARDWARE, gpus=n), shape, recipe, FOOTPRINT, declared()).seconds for n in (1, 2, 8)]
    assert times[0] >= times[1] >= times[2]


@pytest.mark.all  # ten seconds a track
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


def estimated_of(track, recipe=None):
    """The plan of a track whose training takes what plan_examples says, and the recipe that it is of."""
    recipe = recipe or declared().recipes[TRACK.name]
    return estimate(track, track.hardware, base_shape(track), recipe, FOOTPRINT, declared()), track, recipe


@pytest.mark.parametrize(
    ("part", "changes", "words"),
    [
        ("hardware", {"gpu_memory_bytes": 24_000_000_000}, ["27.0 GB a GPU, of which 22.8 GB", "more shards"]),
        ("hardware", {"gpu_memory_bytes": 4_000_000_000}, ["GB a GPU"]),
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
        check(*estimated_of(change(TRACK, **{part: change(getattr(TRACK, part), **changes)})))
    message = str(caught.value)
    assert message.startswith("1xh100-logic@1 does not fit: ") and "\n" not in message
    assert all(word in message for word in words)


def test_what_vllm_takes_is_planned_whether_it_needs_it_or_not():
    estimated, *_ = estimated_of(TRACK)
    assert estimated.memory["vLLM, from its start"] == 0.375 * 80_000_000_000
    assert estimated.memory_bytes == 48_000_000_000 and estimated.concurrent == 256


def test_a_share_that_holds_no_sequence_is_refused():
    small = change(declared().recipes[TRACK.name], vllm_memory=0.04)
    with pytest.raises(
        PlanError, match=r"vLLM gets 3\.2 GB a GPU, which does not hold 3\.1 GB of weights and the cache"
    ):
        check(*estimated_of(TRACK, small))


def test_shards_that_cannot_be_laid_out_are_refused():
    with pytest.raises(PlanError, match="8 shards cannot be laid out over 3 GPUs"):
        plan(change(load("8xh100-logic"), hardware=change(HARDWARE, gpus=3)))


def test_a_plan_that_just_fits_is_not_refused():
    estimated, track, recipe = estimated_of(TRACK)
    check(replace(estimated, usable_bytes=estimated.memory_bytes), track, recipe)
    with pytest.raises(PlanError):
        check(replace(estimated, usable_bytes=estimated.memory_bytes - 1), track, recipe)


@pytest.mark.parametrize("name", GPU)
def test_the_recipe_is_the_baselines(name):
    """What the track's baseline does on its GPUs."""
    track, recipe = load(name), declared().recipes[name]
    trainer = load_trainer(track.baseline.folder)
    shape, gpus = base_shape(track), track.hardware.gpus
    its = trainer.LOGIC if shape.parameters < trainer.SMALL else trainer.LANGUAGE
    its = trainer.LANGUAGE_RANKS if its is trainer.LANGUAGE and gpus > 1 else its
    assert (recipe.steps, recipe.prompts, recipe.group) == (its.steps, its.prompts, its.group)
    assert recipe.completion_tokens <= its.max_new_tokens
    assert (recipe.micro_tokens, recipe.chunk_tokens) == (trainer.MICRO_TOKENS, trainer.LOGIT_TOKENS)
    assert recipe.checkpointing == its.checkpointing
    sharded = gpus > 1 and shape.parameters > trainer.SHARD_ABOVE
    assert recipe.shards == (gpus if sharded else 1)
    assert recipe.vllm_memory == (trainer.VLLM_MEMORY if its.vllm else None)
    assert recipe.vllm_memory is None or recipe.concurrent == trainer.CONCURRENT
