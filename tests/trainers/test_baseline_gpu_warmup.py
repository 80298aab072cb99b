"""What baseline-gpu-warmup adds to the GPU baseline: the gradient of imitation, a warm-up that learns, a whole run."""

import os
import subprocess
import sys

import pytest
import torch
from gpu_ranks import BASE, CPU, VOCABULARY, base_model, fixed_rows, largest_difference, load_trainer
from gpu_runs import small_copy
from safetensors.torch import load_file

from harness.tracks.track import ROOT

train = load_trainer("baseline-gpu-warmup")
original = load_trainer("baseline-gpu")


def make_policy(checkpointing=False):
    recipe = train.Recipe(1, 2, 4, 1, 24, 1e-3, 1e-3, checkpointing=checkpointing)
    return train.make_policy(base_model(), VOCABULARY, recipe, CPU)


def gradients(policy):
    return {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_gradient_of_imitation_is_that_of_the_plain_formula(monkeypatch, checkpointing):
    """Row by row: mean over a trace's tokens, then over the traces."""
    policy, loss = make_policy(), torch.zeros(())
    rows = fixed_rows(train.Row)
    for row in rows:
        logits = policy.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        logp = logits[row.start - 1 : -1].gather(1, torch.tensor(row.ids[row.start :])[:, None])
        loss = loss - logp.mean() / len(rows)
    loss.backward()
    monkeypatch.setattr(train, "MICRO_TOKENS", 90)
    imitating = make_policy(checkpointing)
    total = train.imitate(imitating, rows, CPU)
    difference, relative = largest_difference(gradients(imitating), gradients(policy))
    assert difference < 1e-5 and relative < 1e-5
    assert total == pytest.approx(loss.item(), rel=1e-5)


def test_the_warm_up_learns_its_traces(monkeypatch, capsys):
    monkeypatch.setattr(train, "WARMUP_EPOCHS", 4)
    traces = [train.Row([3, 20 + i % 9, 4, 50 + i % 9, 1], 3, [], 0.0) for i in range(160)]
    train.warm_up(make_policy(), traces, 3e-3, 0, CPU)
    losses = [float(line.split()[3]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 4
    assert losses[-1] < 0.2 * losses[0]


def test_the_gradient_of_a_minibatch_is_the_one_of_the_gpu_baseline(monkeypatch):
    """And every row is in one micro-batch, within the limit."""
    monkeypatch.setattr(train, "MICRO_TOKENS", 90)
    lengths = [len(row.ids) for row in fixed_rows()]
    batches = train.micro_batches(lengths, 90)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 90 for batch in batches)
    ours, reference = make_policy(), make_policy()
    sums = train.accumulate(ours, fixed_rows(train.Row), 16.0, CPU)
    expected = original.accumulate(reference, fixed_rows(), 16.0, 0, 1, CPU)
    assert largest_difference(gradients(ours), gradients(reference))[0] < 1e-5
    assert sums.tolist() == pytest.approx(expected.tolist(), rel=1e-4)


def test_the_losses_are_copies_of_the_gpu_baselines():
    losses = []
    for name in ("baseline-gpu", "baseline-gpu-warmup"):
        text = (ROOT / name / "train.py").read_text(encoding="utf-8")
        losses.append(text[text.index("# ---------------------------------------------------------------- losses") :])
    end = "# ---------------------------------------------------------------- the policy"
    assert len({text[: text.index(end)] for text in losses}) == 1


@pytest.mark.slow
@pytest.mark.all  # the parts of it are tested above
def test_a_run_imitates_the_traces_and_then_trains(tmp_path):
    """A development run on the traces and the base of cpu-deduction."""
    item = small_copy(
        tmp_path, "warm", "baseline-gpu-warmup", ("1xh100-deduction", "cpu-deduction"),
        LOGIC="Recipe(2, 4, 4, 2, 48, 3e-3, 4e-4, checkpointing=False)", WARMUP_EPOCHS=1,
    )  # fmt: skip
    variables = {"PYTHONPATH": str(ROOT), "NANO_R1_OUTPUT": str(tmp_path / "out"), "NANO_R1_TRACK": "cpu-deduction"}
    environment = {**os.environ, **variables}
    command = [sys.executable, str(item.folder / "train.py")]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", timeout=900, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line[0].isdigit()] == ["warm-up", "step", "step"], done.stdout
    base = load_file(BASE.parent / "deduction-base" / "model.safetensors")
    saved = load_file(tmp_path / "out" / "model.safetensors")
    assert {k: (v.shape, v.dtype) for k, v in saved.items()} == {k: (v.shape, v.dtype) for k, v in base.items()}
    assert any(not torch.equal(saved[name], base[name]) for name in base)
