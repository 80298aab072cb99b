"""Questions of the gym tasks, for their tests."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any

import pytest

from harness.frozen.draw import Split, sample
from harness.frozen.format import Sample
from harness.tasks import TASKS
from harness.tasks.gym.sets import GYM
from harness.tasks.gym.task import Gym, draw_item

INSTALLED = importlib.util.find_spec("reasoning_gym") is not None
needs_gym = pytest.mark.skipif(not INSTALLED, reason="reasoning-gym is not installed (extra `tasks`)")
BY_NAME = {task.dataset: task for task in GYM}
KEY = b"gym"
every_task = pytest.mark.parametrize("task", GYM, ids=lambda task: task.name)


@cache
def draws(name: str, n: int, split: Split = "train", key: bytes = KEY) -> list[Sample]:
    return [sample(BY_NAME[name], key, split, index) for index in range(n)]


def metadata(question: Sample) -> dict[str, Any]:
    """What reasoning-gym says of this question, besides."""
    task = TASKS[question.id.partition("/")[0]]
    assert isinstance(task, Gym)
    return draw_item(task.dataset, question.metadata["seed"], tuple(task.config.items()))["metadata"]
