"""The recipe of cpu-logic's base: careful thinking is right in every step, most thinking is not, drills are true."""

import random
import re
from fractions import Fraction

import make_logic_base as make
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
    x, y = Fraction(a), Fraction(b or 1)
    return {None: x, "+": x + y, "-": x - y, "*": x * y, "/": x / y if y else None, "%": x % y if y else None}[op]


def check(step):
    """`7+8=15`; of a search `78-4=74,22,25` or, with how the two numbers make the rest, `45/3=15,7,8=7+8`."""
    left, rest, *pair = step.split("=")
    assert value(left) == value(rest.split(",")[0]), step
    if pair:
        assert value(pair[0]) == value(rest.split(",")[0]), step
        assert sorted(re.findall(r"\d+", pair[0])) == sorted(rest.split(",")[1:]), step


@pytest.mark.parametrize("size", ["", "-large"])
@pytest.mark.parametrize("puzzle", make.PUZZLES)
def test_careful_thinking_is_right_and_so_is_each_step(puzzle, size):
    rng = random.Random(1)
    for item in items(puzzle + size, 300):
        steps, answer = make.careful(puzzle, item.metadata, rng)
        assert score(TASKS[puzzle + size], item, make.completion(steps, answer)).correct, (item.prompt, steps)
        for step in steps:
            check(step)


@pytest.mark.parametrize("puzzle", make.PUZZLES)
def test_what_people_do_is_formatted_and_mostly_wrong(puzzle):
    rng, asked = random.Random(2), items(puzzle, 1500)
    written = [make.as_people_do(puzzle, item.metadata, rng) for item in asked]
    scores = [score(TASKS[puzzle], item, make.completion(*one)) for item, one in zip(asked, written, strict=True)]
    assert all(one.formatted for one in scores)
    assert 0.3 < sum(one.correct for one in scores) / len(scores) < 0.6


def test_nobody_searches_for_long_and_a_whole_search_fits_the_track():
    rng, tokenizer = random.Random(3), make.make_tokenizer()
    asked = items("countdown", 1000)
    assert max(len(make.as_people_do("countdown", item.metadata, rng)[0]) for item in asked) == make.MOST_TRIES
    whole = [make.completion(*make.careful("countdown", item.metadata, rng)) for item in asked]
    lengths = sorted(len(tokenizer.encode(text)) + 1 for text in whole)
    assert lengths[500] > 40 and lengths[990] < load("cpu-logic").sampling.max_new_tokens


def test_only_training_questions_are_shown():
    rng = random.Random(4)
    for puzzle in make.PUZZLES:
        for _ in range(100):
            prompt, pieces = make.thinking(puzzle, rng)
            question = prompt.removeprefix("<|user|>").removesuffix("<|assistant|>")
            assert "train" in {split_of(name, question) for name in (puzzle, f"{puzzle}-large")}
            assert [learnt for _, learnt in pieces] == [True]


def test_drills_are_true_and_only_their_results_are_learnt():
    rng = random.Random(5)
    for _ in range(300):
        for prompt, pieces in (make.sums(rng, last=True), make.pairs(rng)):
            assert prompt == "" and [learnt for _, learnt in pieces] == [False, True] * (len(pieces) // 2)
        for (asked, _), (result, _) in zip(*[iter(make.sums(rng, last=True)[1])] * 2, strict=True):
            assert value(asked.rstrip("=")) == value(result.rstrip(";"))
        for (asked, _), (result, _) in zip(*[iter(make.pairs(rng)[1])] * 2, strict=True):
            rest, a, b = asked.split(",")
            assert (result != ";") == (make.made(int(rest), int(a), int(b)) is not None)
            assert result == ";" or value(result.strip("=;")) == int(rest)


def test_the_tokenizer_is_the_one_in_the_repository():
    ours = make.make_tokenizer()
    theirs = make.PreTrainedTokenizerFast.from_pretrained(load("cpu-logic").base_folder)
    assert ours.get_vocab() == theirs.get_vocab()
    texts = [make.TEMPLATE.format(prompt=item.prompt) for task in make.PUZZLES for item in items(task, 20)]
    assert [ours.encode(text) for text in texts] == [theirs.encode(text) for text in texts]
