"""The promises of task.py, kept by every generated task beyond the four of cpu-logic.

Solvers of their own and counts of their questions are in test_number_tasks.py, test_logic_tasks.py, test_sudoku.py,
test_task_aiw.py and test_task_clue.py.
"""

from __future__ import annotations

import json
import math
import os
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from generated_tasks import KEY, PARITY, PYSAT, SLOW, TASKS, draws, each, in_any_order
from hypothesis import given, settings
from hypothesis import strategies as st
from task_helpers import PIECES, completion

from harness.frozen.draw import HELDOUT_SHARE, SPLITS, Stream, Task, sample, split_of
from harness.frozen.format import Sample, score

# ---------------------------------------------------------------- gold and attacks


@each()
@pytest.mark.sweep
def test_gold_scores_1_and_every_attack_0(task: Task) -> None:
    for one in (*draws(task.name, 300), *draws(task.name, 300, "heldout")):
        gold = score(task, one, completion(one.target))
        assert gold.correct and gold.formatted and gold.answer == one.target
        attacks = task.attacks(one)
        assert len(attacks) > 20
        for attack in attacks:
            assert not score(task, one, completion(attack)).correct, (one, attack)


@each()
def test_a_question_is_plain_text_and_its_metadata_plain_json(task: Task) -> None:
    for one in draws(task.name, 300):
        assert one.prompt.isascii() and "<" not in one.prompt and len(one.target) <= 200
        assert json.loads(json.dumps(one.metadata)) == one.metadata


# ---------------------------------------------------------------- how many questions there are


def test_only_the_parity_tasks_are_look_up_tables() -> None:
    assert {name for name, task in TASKS.items() if task.distinct <= 10_000} == PARITY


@each(*(name for name in TASKS if name not in PARITY))
@pytest.mark.sweep
def test_the_questions_drawn_are_spread_over_all_of_them(task: Task) -> None:
    prompts = [one.prompt for one in draws(task.name, 2000)]
    assert len(set(prompts)) > 0.97 * len(prompts)


# ---------------------------------------------------------------- what a constant earns

BEST_CONSTANT = {
    "countdown-large": 0.01, "linear-large": 0.014, "nim-large": 0.19, "josephus-large": 0.01,
    "countdown-hard": 0.01, "linear-hard": 0.01, "nim-hard": 0.05, "josephus-hard": 0.01, "micror1-countdown": 0.01,
    "micror1-linear": 0.07, "micror1-nim": 0.55, "micror1-josephus": 0.25, "sudoku": 0.2, "mini-sudoku": 0.02,
    "aiw": 0.03, "aiw-plus": 0.06, "aiw-circles": 0.04, "clue": 0.02, "syllogism": 0.5, "syllogism-choice": 0.25,
    "chain": 0.5, "entailment": 0.5, "entailment-choice": 0.25,
}  # fmt: skip


@each()
@pytest.mark.sweep
def test_no_constant_answer_pays(task: Task) -> None:
    drawn = draws(task.name, 2000, "heldout")
    _, hits = Counter(one.target for one in drawn).most_common(1)[0]
    if len(drawn) > 100:
        best = BEST_CONSTANT[task.name]
        assert hits / len(drawn) < best + 4 * math.sqrt(best / len(drawn))
    else:
        assert hits <= 2


# ---------------------------------------------------------------- keys and splits


def normalised(one: Sample) -> str:
    """The question, whatever order its numbers and statements stand in."""
    if numbers := one.metadata.get("numbers"):
        return f"{sorted(numbers)} {one.metadata['target']}"
    counts = r"has (\d+ [a-z ]+) and (s?he) also has (\d+ [a-z ]+)\."
    return in_any_order(re.sub(counts, lambda has: f"{has[2]} has {sorted(has.group(1, 3))}.", one.prompt))


@each()
@pytest.mark.sweep
def test_training_and_heldout_questions_never_meet(task: Task) -> None:
    train = {normalised(one) for one in draws(task.name, 2000, "train", b"one key")}
    heldout = {normalised(one) for one in draws(task.name, 2000, "heldout")}
    assert train and heldout and train.isdisjoint(heldout)
    if task.name in PARITY:  # all of them met
        assert len(train) + len(heldout) == task.distinct
        assert len(heldout) >= 10


@each()
@pytest.mark.long
@pytest.mark.timeout(7200)
def test_training_and_heldout_questions_never_meet_in_100_000_draws_where_a_draw_is_quick(task: Task) -> None:
    n = {"sudoku": 5_000, "clue": 20_000}.get(task.name, 100_000)
    train = {normalised(sample(task, b"one key", "train", i)) for i in range(n)}
    assert all(normalised(sample(task, b"another", "heldout", i)) not in train for i in range(n))


@each(*(name for name in TASKS if name not in {*PARITY, "sudoku"}))
@pytest.mark.sweep
def test_about_a_quarter_of_all_questions_is_held_out(task: Task) -> None:
    n = 2000 // SLOW.get(task.name, 1)
    sides = Counter(split_of(task.name, task.draw(Stream(KEY, f"{i}/"))[0]) for i in range(n))
    assert sides["heldout"] / n == pytest.approx(1 / HELDOUT_SHARE, abs=4 * math.sqrt(0.1875 / n))


@each(*(name for name in TASKS if name not in PARITY))
@pytest.mark.sweep
def test_keys_and_indices_give_different_questions(task: Task) -> None:
    one, other = (draws(task.name, 300, "train", key) for key in (b"seed 1", b"seed 2"))
    assert sum(a.prompt == b.prompt for a, b in zip(one, other, strict=True)) < 5
    assert len({a.prompt for a in one} & {b.prompt for b in other}) < 10


DIGEST = """
import hashlib, sys
from harness.frozen.draw import sample
from harness.tasks import TASKS
for name in sys.argv[2:]:
    rows = (sample(TASKS[name], b"golden", s, i) for s in ("train", "heldout") for i in range(int(sys.argv[1])))
    text = "\\n".join(f"{r.id}|{r.prompt}|{r.target}|{sorted(r.metadata.items())}" for r in rows)
    print(name, hashlib.sha256(text.encode()).hexdigest())
"""
GOLDEN = {
    "countdown-large": "a05ff123fdeecf9b1048f938bbe396bf20ac0808dc3ba4737ef1e2c82501af2b",
    "linear-large": "e5155fd618e257732360e764cbc2d54b1fa031e8234f6c92d9879459accaa8f8",
    "nim-large": "b4b3b28ce0580ece0555cbfcd8c6c99153acd91c1b3fcaa8cb5c91f0c6f2998a",
    "josephus-large": "325fd02ec5c6c98d3fdfe5a5d457c6a5e9d7dd08ee86882b7f5b3e88433ef88f",
    "countdown-hard": "bb46637d6677b67113cfb94cd48cfcf42b340292edf2d3da84817314d7b64ad4",
    "linear-hard": "bbe8628dab1ffbf87ab92c14a7ad5215677e3c9d66c219d2563924fade7224a4",
    "nim-hard": "bc0a8e24a3bc088b097546afa398329a3867f3329425627febc5777ec2e52de9",
    "josephus-hard": "fb787453aac81b4180b908e638685da6d0fdd6d1ec49d6d59e1f8d0196a90ec7",
    "micror1-countdown": "aff4628ae82d96f79dd42c6013de3ad04d54540705f5b07fae4dda4e4386aaa5",
    "micror1-linear": "ec836a1365099b677b9ee64ff8fd0a34a0c59f408e7f72d787aebf0f43a88b2f",
    "micror1-nim": "11e67f2e4e47ff9aacad645a343bc187eb3f2f562e793ecc76fa531a5a4d3eb3",
    "micror1-josephus": "a2d8d6b4d911d627e9f35bf52c59b00fc42ec4fc4a9fbf52088915af43d14c18",
    "sudoku": "3696f58a7599a03cb03837a9d7ae7ae42945dcf6db4342cfd0d9d9962b5e2a6d",
    "mini-sudoku": "391eeb7c9b90970af4610bb6cf25517428115baf064a366e5e429f2ec7cf2d76",
    "aiw": "7214f2d9d45128297b78629323f8d18aa8e6f38ca50821bd5c42a79e93d30a4e",
    "aiw-plus": "5b68f395506fd1d8e91502dead702fdc2cc80c79a25978698c997ae69635a7c8",
    "aiw-circles": "b252d93385e73420a05a45e04da4dab52071ffc2aa7ef8ff8cdc39fb48d25089",
    "clue": "8f0817edcf35df0c2b5742999f4406f745b281c4b2a07877160eb2108f208f62",
    "syllogism": "45880278943ab178dcca776de88ff4592b9216818b45e4fc22e589b5358d1d3b",
    "syllogism-choice": "6c4b3f3a26228561cdb5ec5e0dbb1cdb5c7039135c3f41fe5b6427cfd342d02a",
    "chain": "33de82c7fb71f9dcd68156b92ea980e21b66e11d20ae324fcf05183fac4dfe71",
    "entailment": "2ae4a781a1da18afc43f2b8db3f30e0236cf9c18a414080069910211ccb3279c",
    "entailment-choice": "e9b39ea397080b095a6b2f12880ea3e3a0b7928630f5df015bed5d2fa98e7adf",
}


def digests(seed: str, count: int, *names: str) -> dict[str, str]:
    """Of `count` questions a split, by a process of its own with that hash seed."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", DIGEST, str(count), *names]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=True)
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.parametrize("seed", ["0", "random"])
def test_the_same_questions_in_another_process(seed: str) -> None:
    """A change here is a new version of every track that uses the task, and cuts off the old records."""
    golden = {name: digest for name, digest in GOLDEN.items() if name != "clue"}
    assert set(GOLDEN) == set(TASKS)
    assert digests(seed, 20, *golden) == golden


@PYSAT
@pytest.mark.slow
@pytest.mark.parametrize("seed", ["0", "random"])
def test_the_same_puzzles_in_another_process(seed: str) -> None:
    """With any SAT solver, too: it only says whether a puzzle has one solution."""
    assert digests(seed, 20, "clue") == {"clue": GOLDEN["clue"]}


# ---------------------------------------------------------------- the graders are total

WORDS = [
    *PIECES, "yes", "no", "Yes", "NO", ", ", "Ms Amber", "axe", "hall", "9 pm", "greed", "1", "2", "1234", "\u017f",
    "\u0130",
]  # fmt: skip
pieces = st.lists(st.sampled_from(WORDS), max_size=60).map("".join)


@pytest.fixture(scope="module")
def one_of_each() -> dict[str, Sample]:
    names = [name for name in TASKS if name != "clue"]
    puzzle = Sample("clue/0", "Clues", "Ms Amber, axe, hall, 9 pm, greed", {"clues": 9})
    return {**{name: sample(TASKS[name], KEY, "heldout", 1) for name in names}, "clue": puzzle}


texts = st.one_of(st.text(max_size=300), pieces, pieces.map(completion), st.text(max_size=60).map(completion))


def check_total(name: str, one: Sample, text: str) -> None:
    start = time.process_time()
    result = score(TASKS[name], one, text)
    assert time.process_time() - start < 0.05
    assert result.formatted or not result.correct
    if result.correct and "numbers" not in one.metadata:
        assert result.answer is not None and re.sub(" *, *", ", ", result.answer.lower()) == one.target.lower()


@pytest.mark.parametrize("name", TASKS)
@given(text=texts)
def test_score_never_raises_and_never_hangs(one_of_each: dict[str, Sample], name: str, text: str) -> None:
    check_total(name, one_of_each[name], text)


@pytest.mark.long
@pytest.mark.parametrize("name", TASKS)
@settings(max_examples=6000)
@given(text=texts)
def test_score_never_raises_and_never_hangs_on_100_000_texts(
    one_of_each: dict[str, Sample], name: str, text: str
) -> None:
    check_total(name, one_of_each[name], text)


@pytest.mark.parametrize("name", TASKS)
def test_bombs_are_graded_at_once(one_of_each: dict[str, Sample], name: str) -> None:
    for bomb in ("(" * 200, "1" * 200, "," * 200, " " * 200, "9**9**9**9", "1+" * 19 + "1", "yes" * 66, "\ud800" * 200):
        start = time.process_time()
        assert not score(TASKS[name], one_of_each[name], completion(bomb)).correct
        assert time.process_time() - start < 0.05


def test_yes_in_any_case_is_yes() -> None:
    for name in ("syllogism", "chain", "entailment"):
        yes = Sample("", "", "yes", {})
        assert all(TASKS[name].accepts(yes, answer) for answer in ("yes", "Yes", "YES"))
        assert not any(TASKS[name].accepts(yes, answer) for answer in ("no", "ye\u017f", "yes.", "y"))
        assert TASKS[name].accepts(Sample("", "", "no", {}), "No")


def test_every_split_of_every_task_ends(one_of_each: dict[str, Sample]) -> None:
    """A task of few questions still has some on either side, so `sample` always finds one."""
    for name in PARITY:
        for split in SPLITS:
            assert {one.prompt for one in draws(name, 400, split)}
