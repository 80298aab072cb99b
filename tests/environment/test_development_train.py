"""Development runs: how each of them ends, and what stands on the screen then."""

import io
import os
import re
import signal
import threading
from dataclasses import dataclass, field

import pytest
from rich.console import Console

from harness import submission
from harness.environment import development
from harness.environment.development import DevelopmentError, RunInterrupted, step_after
from harness.tracks.track import load

STEPS = """
import time
from harness.client import connect
run = connect()
for step in range(40):
    run.score([(prompt.id, [run.end_token_id]) for prompt in run.prompts(8)])
    print(f"step {step + 1}/40 reward 0", flush=True)
    time.sleep(3 if step else 0)
"""


def folder_of(place, code):
    folder = place / "mine"
    folder.mkdir()
    (folder / "train.py").write_text(code, encoding="utf-8")
    (folder / "submission.toml").write_text(
        'name = "mine"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["ada"]\n', encoding="utf-8"
    )
    return submission.load(folder)


def train(place, code, budget=600, preload=(), **other):
    """Returns (what it returned, what it printed at 80 columns, the error that it raised)."""
    track = load("cpu-logic")
    track = track.model_copy(
        update={"budget": track.budget.model_copy(update={"seconds": budget, "preload": [*preload]})}
    )
    console = Console(file=io.StringIO(), width=80)
    finished = error = None
    try:
        finished = development.train(track, folder_of(place, code), 0, place / "out", False, console, **other)
    except DevelopmentError as raised:
        error = raised
    return finished, console.file.getvalue(), error


def rows(printed):
    """The rows of the table, without its title and head."""
    return [line.split() for line in printed.splitlines() if re.match(r"^ +\d+ +[\d,]+ +\d\.\d{3}", line)]


def test_the_budget_is_named_with_the_step_and_the_share_of_the_cores(tmp_path):
    _, printed, error = train(tmp_path, STEPS, budget=3)
    assert re.search(r"^stopped at the budget of 3 s in step \d of 40, on \d\.\d of 2 cores", str(error))
    assert "code -9" not in str(error) and "log.txt" in str(error) and error.exit_code == 2
    assert rows(printed)


def test_a_time_of_ones_own_is_no_error_and_keeps_the_table(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").write_text("of an earlier run", encoding="utf-8")
    finished, printed, error = train(tmp_path, STEPS, seconds=3)
    assert error is None and finished is False and rows(printed)
    assert re.search(r"stopped after 3 s as asked in step \d of 40", printed)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_ctrl_c_keeps_the_table(tmp_path):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a worker of the test run ignores it
    threading.Timer(5, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        _, printed, error = train(tmp_path, STEPS, budget=60)
    finally:
        signal.signal(signal.SIGINT, before)
    assert isinstance(error, RunInterrupted) and error.exit_code == 130 and rows(printed)
    assert re.match(r"interrupted after \d s in step \d of 40; its log is ", str(error))


@pytest.mark.parametrize(
    ("log", "step"),
    [
        ("step 15/40 reward 0.1\n", " in step 16 of 40"),
        ("step 1/40\nwarm-up\nstep 40/40 loss 1\n", " in step 40 of 40"),
        ("Step: 3 of 9, step 3 of 9", " in step 4 of 9"),
        ("steps 3/9 footstep 3/9 step x/9 step " + "9" * 4_000 + "/9", ""),
        ("", ""),
    ],
)
def test_the_step_is_read_from_the_log(log, step):
    assert step_after(log) == step


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos.kill(os.getpid(), 9)", "was killed by SIGKILL, as the kernel does when memory runs out"),
        ("import os\nos.kill(os.getpid(), 15)", "was killed by SIGTERM"),
        ("import nothing_of_that_name", "exited with code 1: ModuleNotFoundError: No module named 'nothing_of_that"),
    ],
)
def test_a_failure_says_what_happened(tmp_path, code, words):
    _, _, error = train(tmp_path, code)
    assert words in str(error)


def test_modules_are_imported_off_the_clock_as_in_a_verification(tmp_path):
    code = "import sys\nfrom harness.client import connect\nprint('colorsys' in sys.modules, sys.argv, sys.path[0])\n"
    code += "print(connect().seconds_left() > 599)"
    _, printed, error = train(tmp_path, code, preload=["colorsys", "harness.client"])
    folder, log = tmp_path / "mine", (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")
    assert error is None and "the track's modules are imported off the clock, in 0." in printed
    assert log == f"True ['{folder / 'train.py'}'] {folder}\nTrue\n"


def test_modules_that_cannot_be_imported_are_named(tmp_path):
    _, _, error = train(tmp_path, "", preload=["nothing_of_that_name"])
    why = "ModuleNotFoundError: No module named 'nothing_of_that_name'"
    assert str(error) == f"the track's modules could not be imported: cannot import 'nothing_of_that_name': {why}"


def test_no_weights_are_not_evaluated(tmp_path):
    finished, printed, error = train(tmp_path, "print('done')")
    assert error is None and finished is False and "saved no weights" in printed


@dataclass
class Seen:
    """What a view is drawn of."""

    tasks: list[str]
    curve: list[dict[str, object]] = field(init=False)

    def __post_init__(self):
        counts = {task: [25_600, 25_600] for task in self.tasks}
        point = {"completions": 102_400, "correct": 102_400, "formatted": 102_400, "tokens": 12_800_000}
        self.curve = [{**point, "t_ms": 599_000 + n, "tasks": counts} for n in range(30)]


@pytest.mark.parametrize(
    "tasks",
    [
        ["countdown", "josephus", "linear", "nim"],
        ["entailment", "syllogism"],
        ["gym-knights-knaves", "gym-calendar", "countdown", "linear", "nim", "josephus", "sudoku", "mini-sudoku"],
    ],
)
def test_the_live_view_fits_eighty_columns_with_every_word_whole(tasks):
    console = Console(file=io.StringIO(), width=80)
    console.print(development._view(Seen(tasks), 599, 600, "step 16/40 " + "x" * 200, 80))
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 80 and lines[0].rstrip() == "599 of 600 s"
    words = " ".join(lines[:-1]).replace(",", " ").split()
    assert {"seconds", "completions", "accuracy", "formatted", "tokens", *tasks} <= set(words)
    assert "…" not in "".join(lines[:-1]) and len(rows("\n".join(lines))) == 10
