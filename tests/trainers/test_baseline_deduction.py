"""What baseline-deduction adds to the baseline: its loss by hand, its padding, and a warm-up that learns."""

import copy
import math
from types import SimpleNamespace

import pytest
import torch
import trainer_modules
from transformers import AutoModelForCausalLM

from harness.tracks.track import load

train = trainer_modules.load("baseline-deduction")


def test_cross_entropy_is_a_mean_over_tokens_by_hand():
    logp = torch.tensor([[math.log(0.5), math.log(0.25), -100.0], [math.log(0.125), -100.0, -100.0]])
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    # (ln 2 + ln 4 + ln 8) / 3 tokens = 2 ln 2; the mean of the two rows' means would be 2.25 ln 2
    assert train.cross_entropy(logp, mask).item() == pytest.approx(2 * math.log(2))


def test_right_pad_by_hand():
    ids, mask = train.right_pad([[5, 6, 1], [7]], 0)
    assert ids.tolist() == [[5, 6, 1], [7, 0, 0]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


@pytest.fixture(scope="module")
def base():
    folder = load("cpu-deduction").base_folder
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")


def test_a_trace_costs_what_a_plain_forward_pass_says(base):
    """Padding on both sides changes nothing: the batch's loss is that of each trace on its own."""
    rows = [([3, 30, 40, 4], [50, 60, 1]), ([3, 70, 4], [80, 1])]
    prompt_ids, prompt_mask = train.left_pad([prompt for prompt, _ in rows], 0)
    out_ids, out_mask = train.right_pad([out for _, out in rows], 0)
    with torch.no_grad():
        logp = train.chosen(train.forward(base, prompt_ids, prompt_mask, out_ids, out_mask), out_ids)
        alone = []
        for prompt, out in rows:
            logits = base(torch.tensor([prompt + out])).logits[0, len(prompt) - 1 : -1]
            alone += torch.nn.functional.cross_entropy(logits, torch.tensor(out), reduction="none").tolist()
    assert train.cross_entropy(logp, out_mask).item() == pytest.approx(sum(alone) / len(alone), rel=0.01)


def test_the_warm_up_learns_its_traces(base, capsys, monkeypatch):
    monkeypatch.setattr(train, "WARMUP_EPOCHS", 3)
    torch.manual_seed(0)
    traces = [SimpleNamespace(task="t", prompt_ids=[3, 20 + i % 9, 4], token_ids=[50 + i % 9, 1]) for i in range(300)]
    train.warm_up(copy.deepcopy(base), traces, 0)
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 3
    assert losses[-1] < 0.2 * losses[0]


def test_all_else_is_the_baseline():
    """Same names, same code: but for what the docstring adds and what cpu-logic@5 changed."""
    plain = trainer_modules.load("baseline")
    same = ["group_advantages", "clipped_objective", "sequence_mean", "chosen", "left_pad"]
    for name in same:
        assert getattr(plain, name).__code__.co_code == getattr(train, name).__code__.co_code, name
