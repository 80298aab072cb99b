"""The base model's recipe: clean traces are right in every step, the habit is mostly wrong, the tokenizer is remade."""

import random
import re
from fractions import Fraction

import make_base_model as make
import pytest

from harness.frozen.draw import sample, split_of
from harness.frozen.format import score
from harness.tasks import TASKS
from harness.tracks.track import load


def items(task, count):
    return [sample(TASKS[task], make.KEY, "train", i) for i in range(count)]


def value(text):
    """Left to right is enough: a step has one operator, and a number may carry a sign."""
    a, op, b = re.fullmatch(r"(-?\d+)(?:([-+*/%])(-?\d+))?", text).groups()
    if op is None:
        return Fraction(a)
    x, y = Fraction(a), Fraction(b)
    return {"+": x + y, "-": x - y, "*": x * y, "/": x / y if y else None, "%": x % y if y else None}[op]


@pytest.mark.parametrize("task", make.ALL)
def test_clean_traces_are_right_and_so_is_each_step(task):
    rng = random.Random(1)
    for item in items(task, 300):
        text = make.competence(task, item, rng)
        assert score(TASKS[task], item, text).correct, (item.prompt, text)
        steps = re.search(r"<think>(.*)</think>", text)[1].split(";")
        for step in steps:
            assert len({value(side) for side in step.split("=")}) == 1, step


@pytest.mark.parametrize("task", make.ALL)
def test_the_habit_is_formatted_and_mostly_wrong(task):
    rng = random.Random(2)
    scores = [score(TASKS[task], item, make.habit(task, item, rng)) for item in items(task, 1500)]
    assert all(one.formatted for one in scores)
    assert 0.12 < sum(one.correct for one in scores) / len(scores) < 0.4


def test_the_habit_gives_up_searching_early():
    rng = random.Random(3)
    questions = items("countdown", 400)
    tries = [make._countdown(item.metadata, rng)[0] for item in questions]
    short = [make._countdown(item.metadata, rng, give_up=make.GIVE_UP)[0] for item in questions]
    assert sum(map(len, short)) < 0.7 * sum(map(len, tries))


def test_traces_are_of_training_questions_only():
    for task in make.ALL:
        assert all(split_of(task, item.prompt) == "train" for item in items(task, 200))


def test_the_tokenizer_is_the_one_in_the_repository():
    ours = make.make_tokenizer()
    theirs = make.PreTrainedTokenizerFast.from_pretrained(load("cpu-logic").base_folder)
    assert ours.get_vocab() == theirs.get_vocab()
    texts = [make.TEMPLATE.format(prompt=item.prompt) for task in make.ALL for item in items(task, 20)]
    assert [ours.encode(text) for text in texts] == [theirs.encode(text) for text in texts]


def test_the_model_is_of_the_stated_size():
    model = make.build(make.make_tokenizer())
    assert sum(p.numel() for p in model.parameters()) == 899_200 <= 1_500_000
