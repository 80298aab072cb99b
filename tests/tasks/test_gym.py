"""reasoning-gym's data sets as tasks: gold answers, attacks, second solvers, seeds and versions."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import itertools
import json
import math
import os
import random
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gym_questions import BY_NAME, KEY, draws, every_task, metadata, needs_gym
from gym_solvers import SOLVERS, written
from task_helpers import completion

from harness.frozen.draw import SPLITS, Stream, sample
from harness.frozen.format import Sample, score
from harness.tasks.gym import edits, forms, rules, sets
from harness.tasks.gym import task as gym
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import VERSION, Gym, GymError, draw_item

ROOT = Path(__file__).parents[2]
pytestmark = needs_gym


# ---------------------------------------------------------------- gold and attacks


def hold(task: Gym, n: int) -> None:
    for question in (*draws(task.dataset, n), *draws(task.dataset, n, "heldout")):
        gold = score(task, question, completion(question.target))
        assert gold.correct and gold.answer == question.target, question
        attacks = task.attacks(question)
        assert len(set(attacks)) > 20
        for attack in attacks:
            assert not score(task, question, completion(attack)).correct, (question, attack)


@every_task
@pytest.mark.sweep
def test_gold_scores_1_and_every_attack_0(task: Gym) -> None:
    hold(task, 25)


@pytest.mark.long
@pytest.mark.timeout(1200)
@every_task
def test_gold_scores_1_and_every_attack_0_often(task: Gym) -> None:
    hold(task, 2000)


@every_task
def test_a_question_is_plain_text_that_says_what_an_answer_looks_like(task: Gym) -> None:
    for question in draws(task.dataset, 25):
        assert question.prompt.isascii() and question.prompt == question.prompt.strip() and len(question.prompt) < 2000
        assert json.loads(json.dumps(question.metadata)) == question.metadata
        assert re.search(
            r"[Aa]nswer|[Pp]rovide|[Rr]eturn|[Gg]ive|[Rr]espond|[Ss]tate|[Rr]eply|Write|Name|[Oo]utput",
            question.prompt,
        )
        assert question.prompt.endswith(task.form.ask if task.ask is None else task.ask)


@every_task
@pytest.mark.sweep
def test_no_constant_answer_pays(task: Gym) -> None:
    asked = draws(task.dataset, 200)
    best, _ = Counter(question.target for question in asked).most_common(1)[0]
    floor = 0.5 if task.choices == sets.BOTH else 0.35
    right = sum(task.accepts(question, best) for question in asked)
    assert right / len(asked) < floor + 4 * math.sqrt(floor / len(asked))


# ---------------------------------------------------------------- second solvers


def test_every_task_has_a_second_solver() -> None:
    assert SOLVERS.keys() == BY_NAME.keys()


@every_task
@pytest.mark.sweep
def test_gold_answers_by_a_second_solver(task: Gym) -> None:
    solved(task, 60)


@pytest.mark.long
@pytest.mark.timeout(1200)
@every_task
def test_gold_answers_by_a_second_solver_often(task: Gym) -> None:
    solved(task, 3000)


def solved(task: Gym, n: int) -> None:
    for question in draws(task.dataset, n):
        answer = SOLVERS[task.dataset](question)
        assert answer in (True, question.target), (question, answer)


# ---------------------------------------------------------------- seeds, processes and threads


def test_neighbouring_keys_and_indices_share_no_question() -> None:
    """reasoning-gym's own seeds do: item i of seed 1 is item i - 1 of seed 2."""
    create = gym.factory()
    ones, twos = (create("spiral_matrix", size=60, seed=seed) for seed in (1, 2))
    assert sum(ones[i]["question"] == twos[i - 1]["question"] for i in range(1, 60)) == 59
    a, b = (
        {question.prompt for question in draws("spiral_matrix", 200, "train", key)} for key in (b"seed 1", b"seed 2")
    )
    assert len(a) == len(b) == 200 and a.isdisjoint(b)


@every_task
def test_a_copy_of_a_data_set_draws_what_a_new_one_draws(task: Gym) -> None:
    create, config = gym.factory(), tuple(task.config.items())
    for seed in (0, 5, 2**32 - 1):
        ours, theirs = draw_item(task.dataset, seed, config), create(task.dataset, size=1, seed=seed, **task.config)[0]
        assert (ours["question"], ours["answer"]) == (theirs["question"], theirs["answer"])


@every_task
@pytest.mark.sweep
def test_training_and_heldout_questions_never_meet_and_differ(task: Gym) -> None:
    train, heldout = ({question.prompt for question in draws(task.dataset, 25, split)} for split in SPLITS)
    assert train.isdisjoint(heldout) and len(train) + len(heldout) >= 48


def questions(task: Gym) -> list[tuple[str, str, dict[str, Any]]]:
    return [task.draw(Stream(KEY, f"{task.name}/{i}/")) for i in range(4)]


def test_draws_depend_on_no_other_draw_and_touch_no_global_generator() -> None:
    before = [questions(task) for task in GYM]
    random.seed(1)
    np.random.seed(1)
    states = random.getstate(), np.random.get_state()[1].tolist()
    after = [questions(task) for task in reversed(GYM)][::-1]
    assert after == before
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states


def test_threads_draw_the_same_questions() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(questions, GYM * 2)) == [questions(task) for task in GYM] * 2


DIGEST = """
import hashlib
from harness.frozen.draw import sample
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import draw_item
rows = (sample(task, b"golden", split, i) for task in GYM for split in ("train", "heldout") for i in range(3))
print(hashlib.sha256("\\n".join(f"{r.id}|{r.prompt}|{r.target}|{r.metadata}" for r in rows).encode()).hexdigest())
for name in ("isomorphic_strings", "polynomial_multiplication", "ransom_note"):
    questions = "|".join(draw_item(name, seed, ())["question"] for seed in range(9))
    print(hashlib.sha256(questions.encode()).hexdigest())
"""


def python(code: str, *, paths: tuple[Path, ...] = (), **environment: str) -> subprocess.CompletedProcess[str]:
    where = {"PYTHONPATH": os.pathsep.join(map(str, [*paths, ROOT]))}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env={**os.environ, **where, **environment}, capture_output=True, encoding="utf-8")


def test_the_same_questions_with_another_hash_seed() -> None:
    first, second = (python(DIGEST, PYTHONHASHSEED=seed) for seed in ("0", "12345"))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    rows = (sample(task, b"golden", split, i) for task in GYM for split in SPLITS for i in range(3))
    here = hashlib.sha256("\n".join(f"{r.id}|{r.prompt}|{r.target}|{r.metadata}" for r in rows).encode()).hexdigest()
    (ours, *left_out), (again, *otherwise) = first.stdout.split(), second.stdout.split()
    assert ours == again == here
    assert len(left_out) == 3 and not set(left_out) & set(otherwise), "why these three are left out"


# ---------------------------------------------------------------- versions


def test_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    other = tmp_path / "reasoning_gym-0.1.24.dist-info"
    other.mkdir()
    (other / "METADATA").write_text("Metadata-Version: 2.1\nName: reasoning-gym\nVersion: 0.1.24\n", encoding="utf-8")
    show = "import sys; from harness.cli import main; sys.argv[1:] = ['tasks', 'show', 'gym-dice']; main()"
    done = python(show, paths=(tmp_path,))
    assert done.returncode == 2 and done.stdout == ""
    assert f"reasoning-gym {VERSION}, and 0.1.24 is installed: pip install 'reasoning-gym=={VERSION}'" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_package_a_draw_says_so_and_grading_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    question = draws("dice", 1)[0]

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    for cached in (gym.factory, gym.generator):
        cached.cache_clear()
    with pytest.raises(GymError, match=f"reasoning-gym, which is missing: pip install 'reasoning-gym=={VERSION}'"):
        BY_NAME["dice"].draw(Stream(KEY, ""))
    assert BY_NAME["dice"].accepts(question, question.target) and len(BY_NAME["dice"].attacks(question)) > 20


def test_a_data_set_that_never_fits_is_an_error_and_no_endless_loop() -> None:
    never = Gym("chain_sum", forms.INTEGER, 0, edit=lambda question, answer, facts: None)
    with pytest.raises(GymError, match="gym-chain-sum drew 1000 times"):
        never.draw(Stream(KEY, ""))


def test_tasks_are_known_before_the_package_is_imported() -> None:
    done = python("import sys, harness.tasks; assert 'reasoning_gym' not in sys.modules and 'sympy' not in sys.modules")
    assert done.returncode == 0, done.stderr


# ---------------------------------------------------------------- what its own verifiers do


def theirs(dataset: str, question: Sample, answer: str) -> float:
    task = BY_NAME[dataset]
    made = gym.factory()(dataset, size=1, seed=question.metadata["seed"], **task.config)
    return float(made.score_answer(answer, made[0]))


def test_an_answer_in_the_words_that_the_question_asks_for_is_right() -> None:
    """`Format your answer like: "Emma is a angel/devil"`: so `a angel` is what it asks for, and `an angel` English."""
    knights, asked = BY_NAME["knights_knaves"], draws("knights_knaves", 100)
    assert any(" an " in question.target for question in asked)
    for question in asked:
        form = re.search(r'answer like: "(.*)"\)', question.prompt)
        assert form is not None
        honest = [part.rpartition(" ")[2] for part in question.target.split(", and ")]
        literal = ", and ".join(
            f"{part.rpartition(' ')[0]} {word}" for part, word in zip(form[1].split(", and "), honest, strict=True)
        )
        assert knights.accepts(question, literal), (literal, question.target)
        assert not knights.accepts(question, form[1])


def test_a_date_has_one_reading() -> None:
    """Written with the month's name, and where no year is given the question says whether it has a February 29."""
    asked = draws("calendar_arithmetic", 300)
    assert not [question.prompt for question in asked if re.search(r"\d/\d", question.prompt)]
    for date in (datetime.date(2022, 4, 7), datetime.date(2022, 12, 31)):
        edited = edits.dated(f"Name the day for {date:%m/%d/%Y}. Reply.", "Monday", {})
        assert edited == (f"Name the day for {date:%B} {date.day}, 2022. Reply.", "Monday")
    undated = [q for q in asked if "first_day" in metadata(q)]
    assert len(undated) > 20 and all(q.prompt.startswith("The year is not a leap year. ") for q in undated)


def test_every_right_survo_is_right() -> None:
    """Its verifier takes one filling of those that fit."""
    create, several = gym.factory(), 0
    for seed in range(300):
        made = create("survo", size=1, seed=seed)
        facts = made[0]["metadata"]
        question = Sample("", "", made[0]["answer"], rules.SURVO.facts(facts))
        for numbers_used in set(itertools.permutations(facts["candidate_numbers"])):
            left = list(numbers_used)
            filled = [[cell or left.pop() for cell in row] for row in facts["puzzle"]]
            other = written(filled)
            if filled != facts["solution"] and BY_NAME["survo"].accepts(question, other):
                assert all(sum(line[:-1]) == line[-1] for line in [*filled, *map(list, zip(*filled, strict=True))])
                assert made.score_answer(other, made[0]) == 0.0
                several += 1
    assert several


def test_nothing_for_a_longer_path_a_list_of_letters_or_another_base() -> None:
    path = draws("shortest_path", 1)[0]
    longer = rules.near_path(path.metadata, path.target)[0]
    assert theirs("shortest_path", path, longer) == 0.5 and not BY_NAME["shortest_path"].accepts(path, longer)
    text = draws("string_insertion", 1)[0]
    program = f"[letter for letter in '{text.target}']"
    assert theirs("string_insertion", text, program) == 0.1, "it evaluates what the model wrote"
    assert not BY_NAME["string_insertion"].accepts(text, program)
    bits = draws("bitwise_arithmetic", 1)[0]
    plain = str(int(bits.target, 16))
    assert theirs("bitwise_arithmetic", bits, plain) == 1.0, "a decimal number, where hexadecimal is asked for"
    assert not BY_NAME["bitwise_arithmetic"].accepts(bits, plain)


def test_what_made_us_leave_some_out() -> None:
    create = gym.factory()
    halting = create("game_of_life_halting", size=1, seed=1)
    assert halting.score_answer("banana", halting[0]) == 1.0
    logic = create("propositional_logic", size=1, seed=1)
    assert logic.score_answer(" ∧ ".join(f"({p})" for p in logic[0]["metadata"]["premises"]), logic[0]) == 1.0
    concave = [create("simple_geometry", size=1, seed=seed)[0] for seed in range(50)]
    assert any("convex" in question["question"] and int(question["answer"]) > 180 for question in concave)
