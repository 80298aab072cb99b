"""The digest is over all that decides a result and over nothing else."""

import json
import os
import subprocess
import sys

import pytest

from harness.tracks.digest import FROZEN, task_sources
from harness.tracks.track import ROOT, load, names


@pytest.mark.parametrize(
    "name", [*FROZEN, "engines/transformers.py", "tasks/nim.py", "tasks/nim_hard.py", "tracks/gpu-logic.toml"]
)
def test_the_digest_covers_what_decides(copy, name):
    before = load("gpu-logic").digest
    path = copy / name
    path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert load("gpu-logic").digest != before


def test_the_digest_covers_the_parents_of_a_task_that_is_not_used_itself():
    """`entailment-choice` asks what entailment.py draws: a change there changes what it asks."""
    assert {"tasks/entailment_choice.py", "tasks/entailment.py", "tasks/yes_no.py"} <= task_sources("entailment-choice")
    assert task_sources("nim") == {"tasks/nim.py", "tasks/task.py"}


def test_the_digest_ignores_the_rest_and_is_stable(copy):
    before = load("gpu-logic").digest
    path = copy / "tracks" / "fetch.py"
    path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert load("gpu-logic").digest == before == load("gpu-logic").digest


def test_the_digest_of_a_standing_track_is_over_what_its_records_were_made_by(copy):
    before = {name: load(name).digest for name in ("cpu-logic", "cpu-deduction")}
    assert before["cpu-logic"].startswith("ed8c2b716713") and before["cpu-deduction"].startswith("548738abe401")
    for source in load("cpu-deduction").sources:
        path = copy / source
        path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert {name: load(name).digest for name in before} == before
    kept = copy / "tracks" / "standing" / "judge.py.txt"
    kept.write_bytes(kept.read_bytes() + b"# one more line\n")
    assert all(load(name).digest != digest for name, digest in before.items())


def test_digests_are_the_same_in_another_process_without_weights_or_network(tmp_path):
    """Another hash seed, another machine's empty cache, and no way out."""
    code = (
        "import socket, json\ndef refuse(*_): raise OSError\nsocket.socket.connect = refuse\n"
        "from harness.tracks.track import load, names\n"
        "print(json.dumps({name: load(name).digest for name in names()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "XDG_CACHE_HOME": str(tmp_path)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    digests = json.loads(done.stdout)
    assert digests == {name: load(name).digest for name in names()}
    assert len(set(digests.values())) == len(names())
