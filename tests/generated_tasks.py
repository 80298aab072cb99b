"""The generated tasks beyond the four of cpu-logic, and questions of theirs to test with."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from typing import Any

import pytest

from harness.frozen.draw import Split, Task, sample
from harness.frozen.format import Sample
from harness.tasks import GENERATED as REGISTERED
from harness.tasks.aiw import AliceInWonderland
from harness.tasks.aiw_circles import AliceInWonderlandCircles
from harness.tasks.aiw_plus import AliceInWonderlandPlus
from harness.tasks.chain import Chain
from harness.tasks.clue import MurderMystery
from harness.tasks.countdown_hard import CountdownHard
from harness.tasks.countdown_large import CountdownLarge
from harness.tasks.entailment import Entailment
from harness.tasks.entailment_choice import EntailmentChoice
from harness.tasks.josephus_hard import JosephusHard
from harness.tasks.josephus_large import JosephusLarge
from harness.tasks.linear_hard import LinearHard
from harness.tasks.linear_large import LinearLarge
from harness.tasks.micror1_countdown import MicroR1Countdown
from harness.tasks.micror1_josephus import MicroR1Josephus
from harness.tasks.micror1_linear import MicroR1Linear
from harness.tasks.micror1_nim import MicroR1Nim
from harness.tasks.mini_sudoku import MiniSudoku
from harness.tasks.nim_hard import NimHard
from harness.tasks.nim_large import NimLarge
from harness.tasks.sudoku import Sudoku
from harness.tasks.syllogism import Syllogism
from harness.tasks.syllogism_choice import SyllogismChoice

KEY = b"generated"
CLASSES = [
    CountdownLarge, LinearLarge, NimLarge, JosephusLarge, CountdownHard, LinearHard, NimHard, JosephusHard,
    MicroR1Countdown, MicroR1Linear, MicroR1Nim, MicroR1Josephus,
    Sudoku, MiniSudoku, AliceInWonderland, AliceInWonderlandPlus, AliceInWonderlandCircles, MurderMystery,
    Syllogism, SyllogismChoice, Chain, Entailment, EntailmentChoice,
]  # fmt: skip
PYSAT = pytest.mark.skipif(find_spec("pysat") is None, reason="PySAT is not installed (extra `tasks`)")
TASKS: dict[str, Task] = {cls.name: REGISTERED[cls.name] for cls in CLASSES}
PARITY = {"micror1-nim", "micror1-josephus"}  # look-up tables, kept as they were
SLOW = {  # times fewer draws
    "sudoku": 50, "clue": 20, "mini-sudoku": 2, "countdown-hard": 2, "entailment": 6, "entailment-choice": 4,
}  # fmt: skip


def each(*names: str) -> Any:
    marks = {"clue": [PYSAT, pytest.mark.slow]}
    params = [pytest.param(TASKS[name], id=name, marks=marks.get(name, [])) for name in names or TASKS]
    return pytest.mark.parametrize("task", params)


@cache
def draws(name: str, n: int, split: Split = "train", key: bytes = KEY) -> list[Sample]:
    """`n` questions, or as many fewer as the task is slow."""
    return [sample(TASKS[name], key, split, index) for index in range(max(4, n // SLOW.get(name, 1)))]


def in_any_order(prompt: str) -> str:
    """The question, whatever order its sentences, its lines and the options to choose from stand in."""
    return "|".join(sorted(re.split(r"(?<=[.?]) |\.?\n| ?\(\d\) |\. (?=Answer)", prompt)))
