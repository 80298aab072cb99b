"""Syllogisms and entailments against all worlds and all assignments, and how many there are."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from typing import Any

import numpy as np
import pytest
from generated_tasks import TASKS, draws, each, in_any_order
from task_helpers import every_question

from harness.frozen.draw import Task
from harness.tasks import entailment, syllogism, yes_no
from harness.tasks.chain import Chain
from harness.tasks.entailment import Entailment
from harness.tasks.entailment_choice import EntailmentChoice, versions
from harness.tasks.syllogism import Syllogism
from harness.tasks.syllogism_choice import SyllogismChoice, choices, meaning

BARBARA_AND_THE_REST = """
1 all all all, 1 no all no, 1 all some some, 1 no some some-not, 1 all all some, 1 no all some-not,
2 no all no, 2 all no no, 2 no some some-not, 2 all some-not some-not, 2 no all some-not, 2 all no some-not,
3 all some some, 3 some all some, 3 no some some-not, 3 some-not all some-not, 3 all all some, 3 no all some-not,
4 all no no, 4 some all some, 4 no some some-not, 4 all all some, 4 no all some-not, 4 all no some-not
"""  # figure, major premise, minor premise, conclusion: the 24 valid moods, no group being empty


def test_the_valid_moods_are_the_textbooks() -> None:
    subject, middle, predicate = 0, 1, 2
    figures = {
        1: ((middle, predicate), (subject, middle)),
        2: ((predicate, middle), (subject, middle)),
        3: ((middle, predicate), (middle, subject)),
        4: ((predicate, middle), (middle, subject)),
    }
    valid = [
        f"{figure} {major} {minor} {conclusion}"
        for (figure, (first, second)), major, minor, conclusion in itertools.product(
            figures.items(), syllogism.TEXT, syllogism.TEXT, syllogism.TEXT
        )
        if syllogism.follows(((major, *first), (minor, *second)), (conclusion, subject, predicate), 3)
    ]
    assert sorted(valid) == sorted(re.split(r",\s*", BARBARA_AND_THE_REST.strip()))


def told(text: str) -> list[tuple[str, str, str]]:
    """Statements read off an English text."""
    found = re.findall(r"\b(all|no|some) ([A-Z]) are (not )?([A-Z])\b", text, re.IGNORECASE)
    return [(kind.lower() + ("-not" if negated else ""), a, b) for kind, a, negated, b in found]


def follows_by_worlds(premises: list[tuple[str, str, str]], conclusion: tuple[str, str, str]) -> bool:
    """In every world: which of the 2**n kinds of thing exist. A thing is the set of groups that it belongs to."""
    groups = sorted({name for _, *names in premises for name in names})
    things = [{g for i, g in enumerate(groups) if r >> i & 1} for r in range(1 << len(groups))]
    worlds = np.arange(1 << len(things))  # bit i: thing i exists

    def any_thing(having: set[str], lacking: set[str]) -> Any:
        return worlds & sum(1 << i for i, thing in enumerate(things) if having <= thing and not lacking & thing) != 0

    def true(kind: str, a: str, b: str) -> Any:
        some, some_not = any_thing({a, b}, set()), any_thing({a}, {b})
        return {"all": ~some_not, "no": ~some, "some": some, "some-not": some_not}[kind]

    possible = np.all([*(any_thing({g}, set()) for g in groups), *(true(*premise) for premise in premises)], axis=0)
    assert possible.any()
    return bool(true(*conclusion)[possible].all())


@pytest.mark.sweep("syllogism")
def test_syllogisms_by_all_worlds() -> None:
    sizes = Counter[int]()
    for one in draws("syllogism", 300):
        premises, conclusion = map(told, one.prompt.split("Does it follow that"))
        assert follows_by_worlds(premises, *conclusion) == (one.target == "yes")
        sizes[len(premises) + 1] += 1
    assert min(sizes[3], sizes[4]) > 100 and len(sizes) == 2


@pytest.mark.sweep("syllogism-choice")
def test_one_argument_of_a_syllogism_choice_proves_the_conclusion() -> None:
    for one in draws("syllogism-choice", 150):
        question, listed = one.prompt.split("? (1) ")
        (conclusion,) = told(question)
        arguments = [told(argument) for argument in re.split(r" \(\d\) ", listed)]
        assert len({frozenset(argument) for argument in arguments}) == 4
        assert len({str(sorted(kind for kind, _, _ in argument)) for argument in arguments}) == 1
        right = [str(i) for i, premises in enumerate(arguments, 1) if follows_by_worlds(premises, conclusion)]
        assert right == [one.target]


def python_of(sentence: str) -> str:
    """A sentence as a Python expression over single letters."""
    literal = r"(not-)?([A-Z])"
    text = re.sub(r"^Not-", "not-", sentence.strip())
    text = text[0].lower() + text[1:] if text.startswith("If ") else text
    for pattern, python in (
        (rf"if {literal} then {literal}", "(not ({0})) or ({1})"),
        (rf"{literal} or {literal}", "({0}) or ({1})"),
        (rf"{literal} if and only if {literal}", "({0}) == ({1})"),
        (literal, "{0}"),
    ):
        if match := re.fullmatch(pattern, text):
            groups = match.groups()
            return python.format(*(("not " if groups[i] else "") + groups[i + 1] for i in range(0, len(groups), 2)))
    raise AssertionError(sentence)


def entailed(premises: list[str], conclusion: str) -> bool:
    """By trying all assignments with Python's own operators."""
    letters = sorted(set(re.findall(r"\b[A-Z]\b", " ".join([*premises, conclusion]))))
    worlds = [dict(zip(letters, row, strict=True)) for row in itertools.product((False, True), repeat=len(letters))]
    possible = [world for world in worlds if all(eval(premise, {}, world) for premise in premises)]
    assert possible
    return all(eval(conclusion, {}, world) for world in possible)


@pytest.mark.sweep("entailment")
def test_entailment_by_all_assignments() -> None:
    for one in draws("entailment", 600):
        text, conclusion = re.fullmatch(r"(.+)\. Does it follow that (.+)\? Answer yes or no\.", one.prompt).groups()  # type: ignore[union-attr]
        premises, wanted = [python_of(sentence) for sentence in text.split(". ")], python_of(conclusion)
        assert entailed(premises, wanted) == (one.target == "yes")
        assert not any(entailed([premise], wanted) for premise in premises)
        assert set(re.findall(r"\b[A-Z]\b", wanted)) <= set(re.findall(r"\b[A-Z]\b", " ".join(premises)))


@pytest.mark.sweep("chain")
def test_every_link_of_a_chain_is_needed() -> None:
    for one in draws("chain", 1500):
        text, conclusion = re.fullmatch(r"(.+)\. Does it follow that (.+)\? Answer yes or no\.", one.prompt).groups()  # type: ignore[union-attr]
        premises, wanted = [python_of(sentence) for sentence in text.split(". ")], python_of(conclusion)
        assert len(premises) == len(one.metadata["kinds"]) + one.metadata["given"]
        assert entailed(premises, wanted) == (one.target == "yes")
        assert not any(entailed(premises[:i] + premises[i + 1 :], wanted) for i in range(len(premises)))


@pytest.mark.sweep("entailment-choice")
def test_one_conclusion_of_an_entailment_choice_follows() -> None:
    for one in draws("entailment-choice", 400):
        text, listed = re.fullmatch(r"(.+)\. Which follows\? (.+)\. Answer with its number\.", one.prompt).groups()  # type: ignore[union-attr]
        premises = [python_of(sentence) for sentence in text.split(". ")]
        options = [python_of(option) for option in re.split(r" ?\(\d\) ", listed)[1:]]
        assert len(options) == len(set(options)) == 4
        assert [str(i) for i, option in enumerate(options, 1) if entailed(premises, option)] == [one.target]


@each("syllogism", "chain", "entailment")
@pytest.mark.sweep
def test_neither_size_nor_conclusion_nor_kinds_of_premises_tell_yes_from_no(task: Task) -> None:
    groups: dict[str, Counter[str]] = {}
    for one in draws(task.name, 6000):
        groups.setdefault(str(one.metadata), Counter())[one.target] += 1
    assert len(groups) >= 9
    statistic = sum((answers["yes"] - answers["no"]) ** 2 / answers.total() for answers in groups.values())
    # Chi-square of fair coins, and four standard deviations.
    assert statistic < len(groups) + 4 * math.sqrt(2 * len(groups))


@pytest.mark.sweep("syllogism", "syllogism-choice")
def test_distinct_of_the_syllogisms(monkeypatch: pytest.MonkeyPatch) -> None:
    forms = {size: sum(len(m.valid) + len(m.invalid) for m in syllogism.moods() if m.size == size) for size in (3, 4)}
    assert forms == {3: 48, 4: 160}
    assert sum(number * math.perm(20, size) for size, number in forms.items()) == Syllogism.distinct
    monkeypatch.setattr(yes_no, "LETTERS", "BCDF")
    prompts = {in_any_order(prompt) for prompt in every_question(TASKS["syllogism"], 11)}
    assert len(prompts) == forms[3] * math.perm(4, 3) + forms[4] * math.perm(4, 4)


def test_distinct_of_syllogism_choice() -> None:
    """A valid form and three others that differ in what they say, by the names of the terms."""
    count = 0
    for mood in choices():
        sizes = Counter(meaning(form) for form in mood.invalid).values()
        wrong = sum(math.prod(three) for three in itertools.combinations(sizes, 3))
        count += len(mood.valid) * wrong * math.perm(20, mood.size)
    assert count == SyllogismChoice.distinct


def test_distinct_of_entailment_is_less_than_there_are() -> None:
    """Every chain `if L1 then L2, if L2 then L3, if L3 then L4`, with any signs, is a question of both."""
    for signs in itertools.product((False, True), repeat=4):
        literals = list(enumerate(signs))
        chain = [("if", (literals[i], literals[i + 1])) for i in range(3)]
        conclusion = ("if", (literals[0], literals[3]))
        assert entailment.entails(chain, conclusion, 4) is True
        options = versions("if", 0, 3)
        assert [option for option in options if entailment.entails(chain, option, 4)] == [conclusion]
        assert all(entailment.entails(chain, option, 4) is not None for option in options)
        # And a no that differs in one sign only, so that `entailment` can ask it.
        assert entailment.entails([*chain[:2], ("if", (literals[2], (3, not signs[3])))], conclusion, 4) is False
    assert math.perm(20, 4) * 2**4 == Entailment.distinct == EntailmentChoice.distinct


def test_distinct_of_chain_is_less_than_there_are() -> None:
    """The letters of `if A then B, if B then C, …`, four of them: in any order of telling another question each."""
    assert math.perm(20, 5) == Chain.distinct
