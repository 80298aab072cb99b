"""How busy a machine is: seen with programs of our own that compute on the cores."""

import os
import subprocess
import sys
import time

import pytest

from harness.isolation import load
from harness.isolation.load import Load, Share

SPIN = "while True: pass"


@pytest.fixture
def spinners():
    """A program that computes on each of the cores that a run of two cores begins on."""
    cores = sorted(os.sched_getaffinity(0))[:2]
    started = [subprocess.Popen(["taskset", "-c", str(core), sys.executable, "-c", SPIN]) for core in cores]
    yield len(cores)
    for process in started:
        process.kill()
        process.wait()


def test_others_are_seen_and_said(spinners):
    watched = Load(spinners)
    time.sleep(1)
    share = watched.share(cpu_ms=0)
    assert share.busy and share.others > 0.7 * spinners and share.others <= spinners
    assert str(share).startswith(f"on 0.0 of {spinners} cores, while other programs took ")


def test_what_a_run_would_get_is_what_is_left(spinners):
    assert load.free_cores(spinners, seconds=0.5) < 0.8 * spinners
    assert "this machine is busy: a run would get " in load.warning(spinners)


def test_the_runs_own_time_is_no_other_programs(spinners):
    """All that was computed is the run's, by its own word: nobody else took anything."""
    watched = Load(spinners)
    time.sleep(0.5)
    share = watched.share(cpu_ms=spinners * 600)
    assert not share.busy and "other programs" not in str(share)


def test_a_share_in_words():
    assert str(Share(2, 1.93, 0.05)) == "on 1.9 of 2 cores"
    assert str(Share(2, 1.1, 0.9)) == "on 1.1 of 2 cores, while other programs took 0.9 of them"
    assert [Share(2, 1.0, others).busy for others in (0.2, 0.21)] == [False, True]
