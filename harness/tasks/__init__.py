"""The generated tasks by name, one file per task. `nano-r1 tasks list` shows them, suites.toml groups them."""

from __future__ import annotations

from harness.frozen.draw import Task
from harness.tasks.aiw import AliceInWonderland
from harness.tasks.aiw_circles import AliceInWonderlandCircles
from harness.tasks.aiw_plus import AliceInWonderlandPlus
from harness.tasks.chain import Chain
from harness.tasks.clue import MurderMystery
from harness.tasks.countdown import Countdown
from harness.tasks.countdown_hard import CountdownHard
from harness.tasks.countdown_large import CountdownLarge
from harness.tasks.entailment import Entailment
from harness.tasks.entailment_choice import EntailmentChoice
from harness.tasks.gym.sets import GYM
from harness.tasks.josephus import Josephus
from harness.tasks.josephus_hard import JosephusHard
from harness.tasks.josephus_large import JosephusLarge
from harness.tasks.linear import Linear
from harness.tasks.linear_hard import LinearHard
from harness.tasks.linear_large import LinearLarge
from harness.tasks.micror1_countdown import MicroR1Countdown
from harness.tasks.micror1_josephus import MicroR1Josephus
from harness.tasks.micror1_linear import MicroR1Linear
from harness.tasks.micror1_nim import MicroR1Nim
from harness.tasks.mini_sudoku import MiniSudoku
from harness.tasks.nim import Nim
from harness.tasks.nim_hard import NimHard
from harness.tasks.nim_large import NimLarge
from harness.tasks.sudoku import Sudoku
from harness.tasks.syllogism import Syllogism
from harness.tasks.syllogism_choice import SyllogismChoice

_REGISTERED: tuple[Task, ...] = (
    # the puzzles of cpu-logic, one size larger, two sizes larger, and microR1's originals
    Countdown(), Linear(), Nim(), Josephus(),
    CountdownLarge(), LinearLarge(), NimLarge(), JosephusLarge(),
    CountdownHard(), LinearHard(), NimHard(), JosephusHard(),
    MicroR1Countdown(), MicroR1Linear(), MicroR1Nim(), MicroR1Josephus(),
    # logic
    Syllogism(), SyllogismChoice(), Chain(), Entailment(), EntailmentChoice(), MurderMystery(),
    # other puzzles
    MiniSudoku(), Sudoku(), AliceInWonderland(), AliceInWonderlandPlus(), AliceInWonderlandCircles(),
    # data sets of reasoning-gym
    *GYM,
)  # fmt: skip


GENERATED: dict[str, Task] = {task.name: task for task in _REGISTERED}

# What questions are drawn from and graded by: the generated tasks, and each training set that a track has named
# (harness.benchmarks.training_sets.register). Whoever means the generated tasks alone says GENERATED.
TASKS: dict[str, Task] = dict(GENERATED)
