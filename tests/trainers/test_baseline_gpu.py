"""The GPU baseline on a CPU: its losses by hand, two gloo ranks against one process, its samplers."""

import math
import re
import subprocess
import sys
from types import SimpleNamespace

import forked
import pytest
import torch
from gpu_ranks import (
    BASE,
    CPU,
    VOCABULARY,
    fixed_rows,
    gradient,
    gradients,
    largest_difference,
    load_trainer,
    make_policy,
    on_policy_rows,
    ranked,
    ranked_bfloat16,
    train,
    update,
)
from gpu_runs import ON_CPU, needs_vllm
from hypothesis import given
from hypothesis import strategies as st
from torch.multiprocessing import start_processes

from harness.planning.declared import base_shape
from harness.tracks.track import ROOT, load, names

# ---------------------------------------------------------------- losses


def test_group_advantages_are_z_scores_and_groups_without_variance_are_dead():
    advantages, live = train.group_advantages(torch.tensor([[1.0, 0.0, 0.0], [0.1, 0.1 + 1e-6, 0.1]]))
    # mean 1/3, sample standard deviation sqrt(1/3): (2/3)/0.57735 = 1.1547, (-1/3)/0.57735 = -0.57735
    assert advantages[0].tolist() == pytest.approx([1.1547, -0.57735, -0.57735], abs=1e-3)
    assert live.tolist() == [True, False]  # the second's standard deviation is 6e-7, and not 0


def test_clipped_objective_clips_where_it_would_help_and_has_a_bound_where_the_advantage_is_negative():
    logp = torch.tensor([1.5, 0.5, 1.0, 50.0]).log().expand(2, 4).clone().requires_grad_()
    advantages = torch.tensor([[1.0], [-2.0]]).expand(2, 4)
    objective, clipped = train.clipped_objective(logp, torch.zeros(2, 4), advantages)
    # A = 1: min(1.5, 1.2) = 1.2; min(0.5, 0.8) = 0.5; 1; min(50, 1.2) = 1.2.
    # A = -2: min(-3, -2.4) = -3; min(-1, -1.6) = -1.6; -2; min(-100, -2.4) = -100, and 3 x -2 = -6 at the least.
    assert objective[0].tolist() == pytest.approx([1.2, 0.5, 1.0, 1.2])
    assert objective[1].tolist() == pytest.approx([-3.0, -1.6, -2.0, -6.0])
    assert clipped.tolist() == [[True, False, False, True], [False, True, False, True]]
    objective.sum().backward()  # ratio x A where nothing is clipped, else 0
    assert logp.grad[0].tolist() == pytest.approx([0.0, 0.5, 1.0, 0.0])
    assert logp.grad[1].tolist() == pytest.approx([-3.0, 0.0, -2.0, 0.0])


def test_token_weights_are_the_mean_over_tokens_then_over_completions():
    # [[3, 5, -], [1, -, -]]: ((3 + 5) / 2 + 1) / 2 = 2.5, not (3 + 5 + 1) / 3; with two dropped rows half of that
    values = torch.tensor([3.0, 5.0, 1.0])
    assert (values * train.token_weights(torch.tensor([2, 1]), 2)).sum().item() == pytest.approx(2.5)
    assert (values * train.token_weights(torch.tensor([2, 1]), 4)).sum().item() == pytest.approx(1.25)


def test_chunked_log_probs_equal_the_plain_ones_with_gradients(monkeypatch):
    monkeypatch.setattr(train, "LOGIT_TOKENS", 7)  # 20 = 7 + 7 + 6
    torch.manual_seed(0)
    targets, weights = torch.randint(50, (20,)), torch.randn(20) / 20  # as in a mean
    results = []
    for chunked in (True, False):
        torch.manual_seed(1)
        head, hidden = torch.nn.Linear(8, 50, bias=False), torch.randn(20, 8, requires_grad=True)
        plain = (head(hidden).float() / train.TEMPERATURE).log_softmax(-1).gather(1, targets[:, None])[:, 0]
        values = train.log_probs(head, hidden, targets, 50) if chunked else plain
        (values * weights).sum().backward()
        results.append((values.detach(), hidden.grad, head.weight.grad))
    for ours, theirs in zip(*results, strict=True):
        assert (ours - theirs).abs().max().item() < 1e-6


def test_logits_never_exist_for_more_than_the_chunk(monkeypatch):
    monkeypatch.setattr(train, "LOGIT_TOKENS", 7)
    head, sizes = torch.nn.Linear(8, 50), []
    head.register_forward_hook(lambda module, args, output: sizes.append(len(output)))
    targets = torch.zeros(20, dtype=torch.long)
    train.log_probs(head, torch.randn(20, 8, requires_grad=True), targets, 50).sum().backward()
    assert sizes == [7, 7, 6] * 2 or sorted(sizes) == [6, 6, 7, 7, 7, 7]  # and once more in the backward pass


def test_rows_that_only_pad_the_head_have_no_probability():
    torch.manual_seed(0)
    head, hidden = torch.nn.Linear(8, 50), torch.randn(40, 8)
    values = train.log_probs(head, hidden.repeat_interleave(40, 0), torch.arange(40).repeat(40), 40).view(40, 40)
    assert values.exp().sum(1).tolist() == pytest.approx([1.0] * 40, abs=1e-5)  # of 40 tokens alone


# ---------------------------------------------------------------- who trains on which rows


@given(st.lists(st.integers(1, 2000), max_size=80), st.integers(1, 9))
def test_a_balanced_split_covers_all_rows_once_and_is_bounded(lengths, bins):
    split = train.balanced(lengths, bins)
    assert len(split) == bins and sorted(i for share in split for i in share) == list(range(len(lengths)))
    heaviest = max(sum(lengths[i] for i in share) for share in split)
    assert heaviest <= sum(lengths) / bins + max(lengths, default=0)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60), st.integers(1, 5), st.integers(1, 1000))
def test_micro_batches_cover_all_rows_once_within_the_limit_and_are_as_many_on_each_rank(lengths, ranks, most):
    split = train.micro_batches(lengths, ranks, most)
    assert sorted(i for share in split for micro in share for i in micro) == list(range(len(lengths)))
    assert len({len(share) for share in split}) == 1 and len(split) == ranks
    for micro in (micro for share in split for micro in share):
        assert len(micro) <= 1 or len(micro) * max(lengths[i] for i in micro) <= most


# ---------------------------------------------------------------- the policy and the samplers


def one_process(checkpointing=False):
    policy = make_policy(checkpointing=checkpointing)
    sums = train.accumulate(policy, fixed_rows(), 16.0, 0, 1, CPU)
    return gradients(policy), sums


def test_the_gradient_is_that_of_the_plain_formula():
    """Row by row, without padding, chunks or micro-batches: mean over tokens, then over 16 completions."""
    policy = make_policy()
    loss = torch.zeros(())
    for row in fixed_rows():
        logits = policy.model(torch.tensor([row.ids])).logits[0].log_softmax(-1)
        logp = logits[row.start - 1 : -1].gather(1, torch.tensor(row.ids[row.start :])[:, None])[:, 0]
        ratio = (logp - torch.tensor(row.logps)).exp()
        surrogate = torch.minimum(ratio * row.advantage, ratio.clamp(0.8, 1.2) * row.advantage)
        if row.advantage < 0:
            surrogate = surrogate.clamp(min=3 * row.advantage)
        loss = loss - surrogate.mean() / 16
    loss.backward()
    difference, relative = largest_difference(one_process()[0], gradients(policy))
    assert difference < 1e-5 and relative < 1e-5


@pytest.mark.parametrize("checkpointing", [False, True])
def test_micro_batches_do_not_change_the_gradient(monkeypatch, checkpointing):
    whole, sums = one_process()
    monkeypatch.setattr(train, "MICRO_TOKENS", 90)
    monkeypatch.setattr(train, "LOGIT_TOKENS", 10)
    assert len(train.micro_batches([len(row.ids) for row in fixed_rows()], 1, 90)[0]) > 4
    split, split_sums = one_process(checkpointing)
    difference, relative = largest_difference(split, whole)
    assert difference < 1e-5 and relative < 1e-5
    assert split_sums.tolist() == pytest.approx(sums.tolist(), rel=1e-4)


@pytest.fixture(scope="module")
def two_ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    forked.start_server()  # which has torch loaded
    start_processes(ranked, (2, str(folder)), nprocs=2, start_method="forkserver")
    return torch.load(folder / "results")


@pytest.mark.slow
@pytest.mark.parametrize("shard", [False, True], ids=["whole", "sharded"])
def test_two_ranks_give_one_process_gradients(two_ranks, shard):
    lengths = [len(row.ids) for row in fixed_rows()]
    assert [] in train.micro_batches(lengths, 2, 90)[1]  # a pass that counts for nothing is among them
    actual, weights, norm, sharded, sums = two_ranks[shard]
    expected, expected_weights, expected_norm, _, expected_sums = update(0, 1, False)
    difference, relative = largest_difference(actual, expected)
    print(
        f"sharded {shard}: off by {difference:.2e}, {relative:.2e} of the largest; norm {norm:.4f}, {expected_norm:.4f}"
    )
    assert difference < 1e-5 and relative < 1e-5
    assert norm == pytest.approx(expected_norm, rel=1e-5)
    assert set(sharded) == {shard}
    assert sums == pytest.approx(expected_sums, rel=1e-4)
    assert largest_difference(weights, expected_weights)[0] < 1e-5


@pytest.mark.slow
@pytest.mark.all
def test_eight_ranks_in_bfloat16_give_one_process_gradient(tmp_path):
    """FSDP2 gathers in bfloat16 what autocast rounds, and no more; the gradients are summed in float32.

    Not against float32: on these weights rounding itself turns the gradient (cosine 0.96).
    """
    rows, ranks = on_policy_rows(), 8
    torch.save(rows, tmp_path / "rows")
    forked.start_server()
    start_processes(ranked_bfloat16, (ranks, str(tmp_path)), nprocs=ranks, start_method="forkserver")
    found, expected = torch.load(tmp_path / "gradient"), gradient(rows, torch.bfloat16)
    cosine = torch.nn.functional.cosine_similarity(found, expected, dim=0).item()
    print(f"cosine {cosine:.6f}, norm {found.norm():.5f} of {expected.norm():.5f}")
    assert cosine > 0.998 and found.norm() / expected.norm() == pytest.approx(1, abs=0.02)
    assert not torch.equal(found, expected)  # it was bfloat16


def plain_sampler(longest=24):
    run = SimpleNamespace(base=BASE, end_token_id=1)
    torch.manual_seed(5)
    return train.PlainSampler(run, longest, VOCABULARY, 1, CPU)


QUESTIONS = [[3, 10, 20, 30, 4]] * 3 + [[3, 40, 4]] * 3


def agreement(policy, sampler):
    """What the loop asks before each update."""
    sampler.load(train.full_weights(policy))
    return train.check_agreement(policy, QUESTIONS, sampler.sample(QUESTIONS), CPU)


def test_sampler_keeps_the_log_probs_of_the_policy_and_ends_at_the_end_token():
    policy, sampler = make_policy(), plain_sampler()
    sampler.load(train.full_weights(policy))
    completions = sampler.sample(QUESTIONS)
    for prompt, (ids, logps) in zip(QUESTIONS, completions, strict=True):
        assert len(ids) == len(logps) <= 24 and 1 not in ids[:-1] and (ids[-1] == 1 or len(ids) == 24)
        with torch.no_grad():
            ours = policy(*train.collate([train.Row(prompt + ids, len(prompt), logps, 0.0)], CPU))
        assert ours.tolist() == pytest.approx(logps, abs=2e-4)


def test_sampler_and_trainer_agree():
    assert agreement(make_policy(), plain_sampler()) < 1e-3


@pytest.mark.parametrize(("off", "said"), [(0.05, None), (0.2, "warning"), (0.5, "stop"), (math.nan, "stop")])
def test_a_small_disagreement_warns_and_a_large_one_stops_the_run(capsys, off, said):
    policy, sampler = make_policy(), plain_sampler()
    sampler.load(train.full_weights(policy))
    drawn = [(ids, [value - off for value in logps]) for ids, logps in sampler.sample(QUESTIONS)]
    if said == "stop":
        with pytest.raises(SystemExit, match=r"sampler and trainer disagree by (0\.5|nan) nats a token"):
            train.check_agreement(policy, QUESTIONS, drawn, CPU)
    else:
        assert train.check_agreement(policy, QUESTIONS, drawn, CPU) == pytest.approx(off, abs=1e-3)
        out = capsys.readouterr().out
        assert out.startswith("warning: sampler and trainer disagree by 0.2 nats a token") if said else out == ""


def test_the_plain_sampler_never_samples_what_only_pads_the_head():
    """Here the head is padded by everything but the first 100 ids, which take most of the probability."""
    run = SimpleNamespace(base=BASE, end_token_id=1)
    sampler, policy = train.PlainSampler(run, 24, 100, 1, CPU), make_policy()
    policy.vocabulary = 100
    assert agreement(policy, sampler) < 1e-3  # the trainer leaves them out too
    drawn = [token for ids, _ in sampler.sample(QUESTIONS) for token in ids]
    assert max(drawn) < 100
    assert max(token for ids, _ in plain_sampler().sample(QUESTIONS) for token in ids) >= 100


def test_vllm_is_started_only_where_the_track_names_it():
    """The recipe says so by the base's size, as a trainer does not see the track's file."""
    for track in map(load, names()):
        if track.baseline.folder.startswith("baseline-gpu"):
            trainer, shape = load_trainer(track.baseline.folder), base_shape(track)
            recipe = trainer.LOGIC if shape.parameters < trainer.SMALL else trainer.LANGUAGE
            assert recipe.vllm == (track.sampling.engine == "vllm") == ("vllm" in track.packages), track.name


def test_the_learning_rate_of_a_language_model_rises_and_stays_and_the_logic_bases_falls():
    for recipe in (train.LANGUAGE, train.LANGUAGE_RANKS):
        assert recipe.minibatches == 16 and 2e-6 <= recipe.learning_rate <= 5e-6 and 0 < recipe.ramp < recipe.steps / 10
    rates = [train.LANGUAGE.rate(step) / train.LANGUAGE.learning_rate for step in range(7)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 1, 1, 1])
    assert [train.LOGIC.rate(step) for step in (0, 20, 39)] == pytest.approx([4e-4, 2e-4, 1e-5])


@pytest.mark.all
def test_torch_and_vllm_are_told_before_they_are_imported():
    """vLLM sets the number of compile processes itself, but when torch has read it."""
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "scripts")!r}]
import trainer_modules
trainer_modules.load("baseline-gpu")
import os, torch
import torch._inductor.config
print(torch._inductor.config.compile_threads, torch._dynamo.config.disable, os.environ["PYTORCH_ALLOC_CONF"])
"""
    line = [sys.executable, "-c", script]
    done = subprocess.run(line, env={"PATH": ""}, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["1", "True", "expandable_segments:True"]


@pytest.mark.parametrize("lost", ["lm_head.weight", "model.layers.2.mlp.up_proj.weight"])
def test_a_tensor_that_never_arrives_stops_the_run(monkeypatch, lost):
    """The engine starts from random weights, so a synchronisation that loses one tensor cannot pass."""
    policy, sampler = make_policy(), plain_sampler()
    sampler.model.lm_head.weight = torch.nn.Parameter(sampler.model.lm_head.weight.detach().clone())  # untie
    take = sampler.model.load_state_dict

    def lose(state):
        take({name: tensor for name, tensor in state.items() if name != lost}, strict=False)

    monkeypatch.setattr(sampler.model, "load_state_dict", lose)
    with pytest.raises(SystemExit, match=r"disagree by .* nats a token"):
        agreement(policy, sampler)


@needs_vllm
@pytest.mark.slow
def test_vllm_gives_the_trainers_log_probs_after_each_update_and_a_lost_head_stops_the_run():
    """The real engine. It starts from random weights, so agreement means that all arrived."""
    script = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "scripts")!r}, {str(ROOT / "tests")!r}]
import torch
import gpu_ranks as tests
from types import SimpleNamespace
train = tests.train
run = SimpleNamespace(base=tests.BASE, end_token_id=1)
tokens = 300  # the rest of the base's 360 pads the head here
sampler = train.VLLMSampler(run, 24, tokens, 1, tests.CPU)
policy = tests.make_policy()
policy.vocabulary = tokens
questions = {QUESTIONS}

def check():
    return train.check_agreement(policy, questions, sampler.sample(questions), tests.CPU)

sampler.load(pair for pair in train.full_weights(policy) if pair[0] != "lm_head.weight")
try:
    check()
except SystemExit as error:
    print("refused:", error)
for update in range(5):
    sampler.load(train.full_weights(policy))
    print("differs by", check())
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
drawn = []
for seed in (1, 1, 2):  # as each rank does, after the engine has set its own seed
    torch.manual_seed(seed)
    drawn.append(sampler.sample(questions))
assert drawn[0] == drawn[1] != drawn[2]
for ids, logps in sampler.sample(questions * 20):
    assert len(ids) == len(logps) <= 24 and 1 not in ids[:-1] and (ids[-1] == 1 or len(ids) == 24)
    assert max(ids) < tokens
config = sampler.llm.llm_engine.vllm_config
assert config.scheduler_config.max_num_seqs == train.CONCURRENT
sampler.llm.llm_engine.engine_core.shutdown()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], env=ON_CPU, capture_output=True, encoding="utf-8", timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr, done.stderr[-4000:]
    assert re.search(r"^refused: sampler and trainer disagree by .* nats a token", done.stdout, re.MULTILINE), (
        done.stdout
    )
    differences = [float(line.split()[-1]) for line in done.stdout.splitlines() if line.startswith("differs by")]
    print("vLLM and the trainer differ by", differences)
    assert len(differences) == 5 and max(differences) < 1e-5
