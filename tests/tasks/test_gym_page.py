"""docs/gym.md speaks of all 106 data sets, and agrees with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gym_questions import BY_NAME, every_task, needs_gym

from harness.tasks import TASKS
from harness.tasks.gym import task as gym
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import Gym

ROOT = Path(__file__).parents[2]
pytestmark = needs_gym


def table() -> list[list[str]]:
    lines = (ROOT / "docs" / "gym.md").read_text(encoding="utf-8").split("\n")
    return [
        [cell.strip(" `") for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if line.startswith("| `")
    ]


def test_the_page_speaks_of_every_data_set_and_agrees_with_the_code() -> None:
    gym.factory()
    from reasoning_gym.factory import DATASETS

    page = {row[0]: row for row in table()}
    assert page.keys() == DATASETS.keys() and len(table()) == 106
    assert {name for name, row in page.items() if row[1] == "in"} == BY_NAME.keys()
    assert all(row[2] for row in page.values())
    for name, task in BY_NAME.items():
        assert page[name][4] == f"{task.distinct:,} of 12,000" and task.distinct > 10_000
        assert float(page[name][5]) < 50 and float(page[name][3].rpartition(" ")[2].rstrip("%")) <= 51
    assert len(GYM) >= 40 and {task.name for task in GYM} <= TASKS.keys()


def test_the_script_has_a_reason_for_each_that_is_left_out() -> None:
    import audit_gym

    left_out = {row[0]: row[2] for row in table() if row[1] == "out"}
    assert left_out == audit_gym.LEFT_OUT
    row = audit_gym.of_task(BY_NAME["dice"], 300)
    assert row.task and 250 < row.distinct <= row.draws == 300 and 0 < row.share < 0.2 and row.draw_ms > 0


@pytest.mark.long
@pytest.mark.timeout(1200)
@every_task
def test_distinct_is_what_is_counted(task: Gym) -> None:
    import audit_gym

    assert audit_gym.of_task(task).distinct == task.distinct
