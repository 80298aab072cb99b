"""Greedy evaluation against transformers' own, and the questions against the keys that name them."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.engines.transformers import generate
from harness.evaluation.gated import evaluate, questions, tally
from harness.frozen.draw import split_of
from harness.tracks import rules
from harness.tracks.track import load


@pytest.fixture(scope="module")
def track():
    real = load("cpu-logic")
    suites = [suite.model_copy(update={"questions": 12}) for suite in real.heldout.suites]
    return real.model_copy(update={"heldout": real.heldout.model_copy(update={"suites": suites})})


@pytest.fixture(scope="module")
def weights(track):
    return (track.base_folder / "model.safetensors").read_bytes()


def test_completions_are_those_of_plain_greedy_decoding(track, weights):
    """Padding, the cache, dropped rows and batching change nothing: each prompt alone, without a cache, agrees."""
    grader = rules.grader(track)
    prompts = [grader.prompt_ids(item) for item in questions(track, b"k" * 32)]
    completions = generate(track.base_folder, weights, prompts, end_id=grader.end_id, max_new_tokens=40, batch=16)
    model = AutoModelForCausalLM.from_pretrained(track.base_folder, dtype=torch.float32, attn_implementation="eager")
    for prompt, completion in list(zip(prompts, completions, strict=True))[::4]:
        ids = list(prompt)
        with torch.no_grad():
            while len(ids) < len(prompt) + 40 and (len(ids) == len(prompt) or ids[-1] != grader.end_id):
                ids.append(int(model(torch.tensor([ids])).logits[0, -1].argmax()))
        assert completion == ids[len(prompt) :]


def test_batch_size_does_not_change_a_token(track, weights):
    grader = rules.grader(track)
    prompts = [grader.prompt_ids(item) for item in questions(track, b"q" * 32)]
    small, large = (
        generate(track.base_folder, weights, prompts, end_id=grader.end_id, max_new_tokens=60, batch=size)
        for size in (5, 48)
    )
    assert small == large


def test_the_key_names_the_questions(track):
    first, again, other = (questions(track, key) for key in (b"a" * 32, b"a" * 32, b"b" * 32))
    assert first == again and {i.prompt for i in first} != {i.prompt for i in other}
    assert len(first) == 12 * len(track.heldout.suites)
    assert all(split_of(item.id.partition("/")[0], item.prompt) == "heldout" for item in first)


def test_the_base_is_between_hopeless_and_good(track, weights):
    """Counts add up, and the base is where RL can begin: it knows the format and is mostly wrong."""
    seen = []
    result = evaluate(track, weights, b"c" * 32, seen.append)
    assert seen[-1] == len(result.completions) == 12 * len(track.heldout.suites)
    assert seen == sorted(seen) and len({*seen}) > 3  # within a batch too: there is one
    assert {row.questions for row in result.tasks.values()} == {12}
    gated = [result.tasks[task] for task in track.heldout.gates]
    assert sum(row.formatted for row in gated) > 40
    assert 0 < sum(row.correct for row in gated) < 30
    assert sum(row.tokens for row in result.tasks.values()) == sum(map(len, result.completions))
    assert tally(track, rules.grader(track), questions(track, b"c" * 32), result.completions) == result.tasks
