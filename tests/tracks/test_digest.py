"""The digest is over all that decides a result and over nothing else."""

import json
import os
import re
import subprocess
import sys

from harness.tracks.digest import FROZEN, task_sources
from harness.tracks.files import TRACKS
from harness.tracks.track import ROOT, load, names

# One comparison, operator or constant in each part, and what it is turned into.
CHANGES = {
    "answer format": ("len(blocks[2]) > longest", "len(blocks[2]) >= longest"),
    "draw of questions": ("value < limit", "value <= limit"),
    "keys": (">> 1", ">> 2"),
    "grader": ("max(body) < self.vocabulary", "max(body) <= self.vocabulary"),
    "control scores": ("seen[0] + 4", "seen[0] + 3"),
    "reader of weights": ("if at != total:", "if at < total:"),
    "evaluation": ("row[1] += graded.score.correct", "row[1] += graded.score.formatted"),
    "statistics": ("if total <= observed", "if total < observed"),
    "judge": ("value * PPM >= most[name]", "value * PPM > most[name]"),
    "errors": ("(ValueError)", "(RuntimeError)"),
}


def edit(path, old, new):
    text = path.read_text(encoding="utf-8")
    assert text.count(old) == 1, (path, old)
    path.write_text(text.replace(old, new), encoding="utf-8")


def test_a_comparison_changed_in_any_frozen_file_changes_the_digest(copy):
    before, seen = load("gpu-logic").digest, set()
    assert CHANGES.keys() == FROZEN.keys()
    for role, (old, new) in CHANGES.items():
        path = copy / FROZEN[role]
        kept = path.read_bytes()
        edit(path, old, new)
        seen.add(load("gpu-logic").digest)
        path.write_bytes(kept)
    assert len(seen - {before}) == len(FROZEN) and load("gpu-logic").digest == before


def test_prose_and_the_text_of_an_error_change_no_digest(copy):
    before = load("gpu-logic").digest
    for source in FROZEN.values():
        path = copy / source
        text = re.sub(r'^"""', '"""Another word. ', path.read_text(encoding="utf-8"))
        path.write_text(f"{text}# one more line\n", encoding="utf-8")
    edit(copy / FROZEN["reader of weights"], "it must be a regular file", "which it should not be")
    edit(copy / FROZEN["judge"], "a run of 0 ms was never metered", "a run of {0} ms")
    edit(copy / FROZEN["grader"], '"""THE grader of a track.', '"""The grader.')
    assert load("gpu-logic").digest == before


def test_the_digest_covers_the_engine_the_tasks_and_the_toml(copy):
    seen = {load("gpu-logic").digest}
    for name, old, new in (
        ("engines/transformers.py", "left <= 0.75", "left <= 0.5"),
        ("tasks/nim.py", "% (", "% -("),
        ("tasks/nim_hard.py", "class NimHard", "limit = 1\n\n\nclass NimHard"),
        ("tracks/gpu-logic.toml", "max_new_tokens = ", "max_new_tokens = 1"),
    ):
        text = (copy / name).read_text(encoding="utf-8")
        assert old in text, name
        (copy / name).write_text(text.replace(old, new, 1), encoding="utf-8")
        seen.add(load("gpu-logic").digest)
    assert len(seen) == 5


def test_what_the_toml_says_beside_the_rules_changes_no_digest(copy):
    before = load("gpu-logic").digest
    path = copy / "tracks" / "gpu-logic.toml"
    edit(path, 'title = "Four', 'title = "4')
    edit(path, "[budget]\n", "# A comment.\n\n[noise]\nsigma_ppm = 9_000\ncost_sigma_ppm = 40_000\n\n[budget]\n")
    assert load("gpu-logic").digest == before
    edit(path, "gate_ppm = 740_000", "gate_ppm = 740_001")
    assert load("gpu-logic").digest != before


def test_the_room_is_covered_whole_and_the_socket_server_not_at_all():
    assert {f"frozen/{path.name}" for path in (TRACKS.parent / "frozen").glob("*.py")} == {*FROZEN.values()} | {
        "frozen/__init__.py"
    }
    covered = {source for name in names() for source in load(name).sources}
    assert {*FROZEN.values()} < covered and not [source for source in covered if source.startswith("environment/")]
    assert not {"errors.py", "tasks/attacks.py", "benchmarks/remote.py"} & covered


def test_the_digest_covers_the_parents_of_a_task_that_is_not_used_itself():
    """`entailment-choice` asks what entailment.py draws: a change there changes what it asks."""
    assert {"tasks/entailment_choice.py", "tasks/entailment.py", "tasks/yes_no.py"} <= task_sources("entailment-choice")
    assert {"tasks/nim.py", "frozen/draw.py", "frozen/format.py"} <= task_sources("nim")
    assert "tasks/countdown.py" not in task_sources("nim")


def test_a_file_that_moved_is_the_same_part(copy, monkeypatch):
    before = load("gpu-logic").digest
    (copy / "frozen" / "judge.py").rename(copy / "elsewhere.py")
    monkeypatch.setitem(FROZEN, "judge", "elsewhere.py")
    assert load("gpu-logic").digest == before


def test_the_digest_of_a_standing_track_is_over_what_its_records_were_made_by(copy):
    before = load("cpu-deduction").digest
    assert before.startswith("548738abe401")
    edit(copy / FROZEN["judge"], *CHANGES["judge"])
    edit(copy / "tasks" / "syllogism.py", "class Mood", "limit = 1\n\n\nclass Mood")
    assert load("cpu-deduction").digest == before
    kept = copy / "tracks" / "standing" / "judge.py.txt"
    kept.write_bytes(kept.read_bytes() + b"# one more line\n")
    assert load("cpu-deduction").digest != before


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
