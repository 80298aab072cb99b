"""What is traced of training: against arithmetic, against a trace of all layers, and against the baseline itself."""

import pytest
from plan_examples import RECIPE, SMALL, change

from harness.planning.declared import base_shape, declared
from harness.planning.footprint import FEW, measure, trace
from harness.tracks.track import load

TINY = change(SMALL, width=16, layers=FEW + 3)
SMALL_RECIPE = change(RECIPE, micro_tokens=120, chunk_tokens=64)  # three rows of 10 and 30 tokens


@pytest.mark.parametrize("shards", [pytest.param(1, marks=pytest.mark.all), 8])
def test_a_few_layers_tell_what_all_would(shards):
    """Weights, gradients and Adam by hand too: 4, 4 and 8 bytes a weight and GPU, and a step count a tensor."""
    recipe = change(SMALL_RECIPE, shards=shards)
    followed, traced = measure(TINY, recipe, 30), trace(TINY, recipe, 30)
    assert followed.memory == max(traced.moments, key=lambda moment: sum(moment.values()))
    assert followed.tensors == traced.tensors == 12 * TINY.layers + 2
    assert followed.sharded == traced.sharded == (traced.tensors if shards > 1 else 0)
    memory, padded = followed.memory, 0.15 if shards > 1 else 0.01  # the four rows of a key's matrix to eight
    assert memory["weights"] == memory["gradients"] == pytest.approx(4 * TINY.parameters / shards, rel=padded)
    assert memory["Adam"] == pytest.approx(8 * TINY.parameters / shards + 4 * traced.tensors, rel=padded)
    assert (memory["gathered layers"] > 0) == (shards > 1)


def test_what_is_not_recomputed_is_kept():
    shape = change(TINY, layers=FEW)
    recomputed = trace(shape, SMALL_RECIPE, 30).moments[-1]["activations and logits"]
    kept = trace(shape, change(SMALL_RECIPE, checkpointing=False), 30).moments[-1]["activations and logits"]
    assert kept > 1.2 * recomputed


@pytest.mark.all  # a minute: 36 layers
def test_3b_over_eight_gpus_is_sharded_whole():
    track, recipe = load("8xh100-logic"), declared().recipes["8xh100-logic"]
    shape, longest = base_shape(track), track.sampling.max_new_tokens
    followed, traced = measure(shape, recipe, longest), trace(shape, recipe, longest)
    assert (traced.sharded, traced.tensors) == (followed.sharded, followed.tensors) == (434, 434)
    assert [followed.memory] == traced.moments
