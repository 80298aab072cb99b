"""The baseline's losses against numbers worked out by hand, and its sampler against its own forward pass."""

import math

import pytest
import torch
import trainer_modules
from transformers import AutoModelForCausalLM

from harness.tracks.track import load

train = trainer_modules.load("baseline")


def test_group_advantages_are_z_scores():
    advantages = train.group_advantages(torch.tensor([[1.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    # mean 1/3, sample standard deviation sqrt(1/3): (2/3)/0.57735 = 1.1547, (-1/3)/0.57735 = -0.57735
    assert advantages[0].tolist() == pytest.approx([1.1547, -0.57735, -0.57735], abs=1e-3)
    assert advantages[1].tolist() == [0.0, 0.0, 0.0]  # a group without variance teaches nothing


def test_clipped_objective_clips_only_where_it_would_help():
    old = torch.zeros(2, 3)
    logp = torch.tensor([[math.log(1.5), math.log(0.5), 0.0], [math.log(1.5), math.log(0.5), 0.0]])
    objective, clipped = train.clipped_objective(logp, old, torch.tensor([1.0, -2.0]))
    # A = 1: min(1.5, 1.2) = 1.2; min(0.5, 0.8) = 0.5; 1.   A = -2: min(-3, -2.4) = -3; min(-1, -1.6) = -1.6; -2.
    assert objective[0].tolist() == pytest.approx([1.2, 0.5, 1.0])
    assert objective[1].tolist() == pytest.approx([-3.0, -1.6, -2.0])
    assert clipped.tolist() == [[True, False, False], [False, True, False]]


def test_kl_k3_by_hand():
    logp, ref = torch.tensor([[0.0, -1.0, -2.0]]), torch.tensor([[0.0, -2.0, -1.0]])
    # delta = ref - logp = 0, -1, 1: e^0 - 0 - 1 = 0; e^-1 + 1 - 1 = 0.36788; e - 1 - 1 = 0.71828
    assert train.kl_k3(logp, ref)[0].tolist() == pytest.approx([0.0, 0.36788, 0.71828], abs=1e-5)


def test_a_token_that_the_policy_gave_up_counts_at_most_ten_in_the_kl_and_has_no_gradient():
    logp = torch.tensor([[-2.0, -5.0, -200.0]], requires_grad=True)
    kl = train.kl_k3(logp, torch.zeros(1, 3))
    kl.sum().backward()
    assert 4 < kl[0, 0] < kl[0, 1] == kl[0, 2] < 10
    assert logp.grad[0, 0] < -5 and logp.grad[0, 1:].tolist() == [0.0, 0.0]  # 1 - e^2 = -6.4


def test_sequence_mean_weighs_completions_not_tokens():
    values = torch.tensor([[3.0, 5.0, 100.0], [1.0, 100.0, 100.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert train.sequence_mean(values, mask).item() == pytest.approx((4.0 + 1.0) / 2)  # not (3 + 5 + 1) / 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_pretrained(
        load("cpu-logic").base_folder, dtype=torch.float32, attn_implementation="eager"
    )


def test_sampler_keeps_the_log_probs_of_the_policy(model):
    """Left padding, the growing cache and the end mask: the same numbers as one full forward pass."""
    prompts = [[3, 10, 20, 30, 4], [3, 40, 4], [3, 50, 60, 4]]
    prompt_ids, prompt_mask = train.left_pad(prompts, 0)
    torch.manual_seed(1)
    out_ids, logp, mask = train.rollout(model, prompt_ids, prompt_mask, end_id=1)
    for row, prompt in enumerate(prompts):
        length = int(mask[row].sum())
        with torch.no_grad():
            full = model(torch.tensor([prompt + out_ids[row, :length].tolist()])).logits[0].log_softmax(-1)
        expected = full[len(prompt) - 1 : -1].gather(1, out_ids[row, :length, None])[:, 0]
        assert logp[row, :length].tolist() == pytest.approx(expected.tolist(), abs=2e-4)
        ids = out_ids[row].tolist()
        assert mask[row].tolist() == [1] * length + [0] * (len(ids) - length)
        assert ids[length - 1] == 1 or length == len(ids)
        assert 1 not in ids[: length - 1]


def test_trainer_forward_agrees_with_the_sampler(model):
    """bfloat16 autocast in the trainer against float32 in the sampler: close enough for a ratio near 1."""
    prompt_ids, prompt_mask = train.left_pad([[3, 10, 20, 30, 4], [3, 40, 4]], 0)
    torch.manual_seed(2)
    out_ids, logp, mask = train.rollout(model, prompt_ids, prompt_mask, end_id=1)
    with torch.no_grad():
        logps = train.forward(model, prompt_ids, prompt_mask, out_ids, mask)
    difference = (train.chosen(logps, out_ids) - logp)[mask.bool()].abs()
    assert logps.shape == (2, out_ids.shape[1], model.config.vocab_size)
    assert difference.mean() < 0.05
