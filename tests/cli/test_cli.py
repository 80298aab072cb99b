"""The command as a person meets it: real processes, exit codes, and no traceback whatever they type."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from nano import nano, refused
from pydantic import StringConstraints, TypeAdapter, ValidationError

from harness.benchmarks import BENCHMARKS
from harness.cli import submissions
from harness.ledger import record
from harness.submission import load
from harness.tasks import GENERATED
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, names
from harness.tracks.track import load as load_track


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    """Sessions of the person who runs the tests are not looked at."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.fixture
def key(tmp_path):
    assert nano("keygen", "tester", "--key", tmp_path / "key").returncode == 0
    return tmp_path / "key"


def test_help_is_quick_and_names_every_command():
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = nano("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    for command in [
        "tracks",
        "tasks",
        "new",
        "check",
        "train",
        "eval",
        "verify",
        "audit",
        "reproduce",
        "leaderboard",
        "keygen",
        "doctor",
    ]:
        assert command in done.stdout
    assert min(seconds) < 0.6  # of processor time, 0.2 s on an idle core; the suite may run beside other work


def test_help_imports_nothing_heavy():
    heavy = "('torch', 'transformers', 'scipy', 'numpy', 'matplotlib')"
    probe = f"import sys, harness.cli; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


def test_tracks_and_tasks_speak_json():
    tracks = {track["name"]: track for track in json.loads(nano("tracks", "--json").stdout)}
    assert list(tracks) == names()
    assert tracks["cpu-logic"]["id"].startswith("cpu-logic@") and tracks["cpu-logic"]["status"] == "measured"
    assert len({track["digest"] for track in tracks.values()}) == len(tracks)
    assert all(len(track["digest"]) == 64 for track in tracks.values())
    for name in ("countdown", "linear", "nim", "josephus"):
        (row,) = json.loads(nano("tasks", "validate", name, "--json").stdout)
        assert row["task"] == name and row["questions"] == 2000
        assert row["gold_right"] == 1 and row["attacks_right"] == 0 and row["attacks"] > 10_000 and row["floor"] < 0.25


def test_tracks_lists_what_is_provisional():
    shown = nano("tracks").stdout
    for name in names():
        (line,) = [line for line in shown.splitlines() if line.startswith(f" {name}@")]
        assert load_track(name).status in line
    assert "8 × H100-SXM" in shown and "2 CPU cores" in shown


def test_tracks_plan_prints_what_it_assumes():
    found = json.loads(nano("tracks", "plan", "8xh100-open", "--json").stdout)
    assert found["parameters"] == 7_615_616_512 and found["memory_bytes"] == sum(found["memory"].values())
    assert found["memory_bytes"] <= found["usable_bytes"] and found["seconds"] <= found["budget_seconds"]
    shown = nano("tracks", "plan", "8xh100-open").stdout
    for word in ("7,615,616,512 weights", "KV cache", "GPU-hours", "11 runs", "Expected, not measured", "30% of the"):
        assert word in shown
    refused(nano("tracks", "plan", "cpu-logic"), "runs on CPUs", "docs/tracks/cpu-logic.md")
    refused(nano("tracks", "plan", "gpu-poetry"), "no track 'gpu-poetry'")


def test_a_gpu_track_without_its_base_or_its_gpus_is_one_line(tmp_path, key):
    for arguments in (["eval"], ["train", "baseline"]):
        done = nano(*arguments, "--track", "1xh100-logic", XDG_CACHE_HOME=str(tmp_path))
        refused(done, "is missing", "nano-r1 tracks fetch 1xh100-logic")
        assert done.stderr.count("\n") == 1
    refused(nano("tracks", "fetch", "gpu-logic"), "part of this repository")
    if not list(Path("/dev").glob("nvidia[0-9]*")):
        done = nano("verify", "baseline", "--track", "8xh100-math", "--key", key, "--ledger", tmp_path / "records")
        refused(done, "8 × H100-SXM", "this machine has none", "tracks plan 8xh100-math")
        assert done.stderr.count("\n") == 1 and not (tmp_path / "records").exists()


def test_tasks_show_prints_question_answer_and_attacks():
    done = nano("tasks", "show", "countdown")
    assert done.returncode == 0 and "Make" in done.stdout and "each used once" in done.stdout
    rendered = json.loads(nano("tasks", "show", "countdown", "--track", "cpu-logic", "--json").stdout)["countdown"]
    plain = json.loads(nano("tasks", "show", "countdown", "--json").stdout)["countdown"]
    template = tracks.load("cpu-logic").base.template
    assert [row["prompt"] for row in rendered] == [template.format(prompt=row["prompt"]) for row in plain]
    assert all(len(row["attacks"]) > 20 for row in plain)
    refused(nano("tasks", "show", "countdown", "--track", "chess"), "no track 'chess'")
    refused(nano("tasks", "show", "chess"), "no task 'chess'", "countdown")
    refused(nano("tasks", "validate", "chess"), "no task 'chess'")
    refused(nano("tasks", "validate"), "--all")
    refused(nano("tasks", "validate", "nim", "--all"), "--all")


def test_tasks_list_names_every_task_set_and_suite():
    found = json.loads(nano("tasks", "list", "--json").stdout)
    assert [row["task"] for row in found["tasks"]] == list(GENERATED)
    assert all(row["distinct"] > 0 for row in found["tasks"])
    assert {row["benchmark"] for row in found["benchmarks"]} == BENCHMARKS.keys()
    assert found["suites"]["logic"] == ["countdown", "linear", "nim", "josephus"]
    shown = nano("tasks", "list").stdout
    assert all(name in shown for name in (*GENERATED, *BENCHMARKS, "frontiermath", *found["suites"]))


def test_tasks_overlap_finds_the_same_questions_and_only_those():
    both = json.loads(nano("tasks", "overlap", "nim/train", "nim/train", "--questions", 50, "--json").stdout)["overlap"]
    assert both["same"] == both["benchmark"] == 50 and both["grams"] == []
    done = nano("tasks", "overlap", "nim/train", "nim/heldout", "--questions", 50)
    assert done.returncode == 0 and "same question: 0 of nim/heldout" in done.stdout
    refused(nano("tasks", "overlap", "nim/train", "nim"), "no set of questions 'nim'", "gsm8k")


def test_a_wrong_track_names_the_right_ones(key):
    for arguments in (["verify", "baseline", "--key", key], ["eval"], ["train", "baseline"], ["new", "x"]):
        refused(nano(*arguments, "--track", "gpu-poetry"), "no track 'gpu-poetry'", "cpu-logic")


def test_a_broken_submission_is_named(tmp_path, key):
    folder = tmp_path / "mine"
    refused(nano("verify", folder, "--key", key), "not a folder")
    folder.mkdir()
    (folder / "submission.toml").write_text('name = "mine"')
    refused(nano("verify", folder, "--key", key), "no train.py")
    (folder / "train.py").write_text("")
    refused(nano("verify", folder, "--key", key), "submission.toml", "track")
    (folder / "submission.toml").write_text("name = [broken")
    refused(nano("verify", folder, "--key", key), "submission.toml", "not TOML")
    (folder / "submission.toml").write_text(
        'name = "other"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["a"]\n'
    )
    refused(nano("verify", folder, "--key", key), "'other'", "'mine'")
    assert not (tmp_path / "records").exists()


def test_a_missing_or_open_key_is_refused(tmp_path, key):
    refused(nano("verify", "baseline", "--key", tmp_path / "none"), "none", "keygen")
    key.chmod(0o644)
    refused(nano("verify", "baseline", "--key", key), str(key))


def test_keygen_refuses_to_overwrite_and_prints_a_line_for_allowed_signers(tmp_path):
    done = nano("keygen", "ada", "--key", tmp_path / "k", "--hours", 2)
    assert done.returncode == 0 and done.stdout.startswith("ada ") and "ssh-ed25519" in done.stdout
    assert (tmp_path / "k").stat().st_mode & 0o777 == 0o600
    refused(nano("keygen", "ada", "--key", tmp_path / "k"), "k")


def test_a_folder_for_several_tracks_is_asked_which(tmp_path, key):
    for command in (
        ["verify", "baseline-gpu", "--key", key, "--ledger", tmp_path / "records"],
        ["train", "baseline-gpu"],
    ):
        refused(nano(*command), "baseline-gpu: for several tracks", "--track: gpu-logic, 1xh100-logic")
        refused(nano(*command, "--track", "gpu-poetry"), "no track 'gpu-poetry'")
    done = nano("verify", "baseline-gpu", "--track", "cpu-logic", "--key", key, "--ledger", tmp_path / "records")
    refused(done, "for the track 'gpu-logic', '1xh100-logic'", "not 'cpu-logic'")
    assert not (tmp_path / "records").exists()


def test_new_copies_the_baseline(tmp_path):
    done = nano("new", "my-idea", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "submissions" / "my-idea"
    assert (made / "train.py").read_bytes() == (ROOT / "baseline" / "train.py").read_bytes()
    assert 'name = "my-idea"' in (made / "submission.toml").read_text()
    done = nano("new", "on-gpus", "--track", "1xh100-smol", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "submissions" / "on-gpus"
    assert (made / "train.py").read_bytes() == (ROOT / "baseline-gpu" / "train.py").read_bytes()
    assert 'track = "1xh100-smol"' in (made / "submission.toml").read_text()
    refused(nano("new", "my-idea", cwd=tmp_path), "exists")
    refused(nano("new", "My Idea", cwd=tmp_path), "lower-case")


@pytest.mark.parametrize("name", ["a" * 64, "0-9", "a" * 65, "-a", "é", "a_b", "a\n", "../a", ""])
def test_new_takes_the_names_that_a_record_takes(tmp_path, name):
    """One rule: whatever `new` makes is a manifest that loads, and it refuses the rest."""
    done = nano("new", "--", name, cwd=tmp_path)
    try:
        TypeAdapter(record.Name).validate_python(name)
    except ValidationError:
        refused(done, "lower-case")
        assert not (tmp_path / "submissions").exists()
    else:
        assert done.returncode == 0 and load(tmp_path / "submissions" / name).manifest.name == name


def test_the_rule_for_names_stands_in_one_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(record, "Name", Annotated[str, StringConstraints(pattern="^only-this$")])
    with pytest.raises(SystemExit):
        submissions.new("mine")
    assert not (tmp_path / "submissions").exists()
    submissions.new("only-this")
    assert (tmp_path / "submissions" / "only-this" / "train.py").is_file()


def test_no_permission_and_a_full_disk_are_said_plainly(tmp_path, key):
    refused(nano("verify", "baseline", "--runs", 1, "--key", key, "--ledger", "/proc/nano-r1"), "/proc")
    if os.geteuid() == 0:  # a volume with no room
        full = tmp_path / "full"
        full.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", full]).returncode == 0:
            try:
                refused(
                    nano("verify", "baseline", "--runs", 1, "--key", key, "--ledger", full / "records"), "No space left"
                )
                assert not (full / "records" / "index").exists()
            finally:
                subprocess.run(["umount", full], check=True)


def test_eval_refuses_what_is_not_a_checkpoint(tmp_path):
    refused(nano("eval", "--model", tmp_path), "model.safetensors")
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    refused(nano("eval", "--model", tmp_path), "model.safetensors")


def test_audit_and_leaderboard_want_a_ledger(tmp_path):
    refused(nano("audit", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("leaderboard", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("reproduce", tmp_path), "record.json")


@pytest.mark.parametrize("stranger", [Path("/dev/null"), Path("/etc/passwd")])
def test_odd_paths_do_not_trace(stranger, key):
    refused(nano("verify", stranger, "--key", key), str(stranger))


def test_train_shows_what_the_harness_saw_and_keeps_log_and_weights(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "submission.toml").write_text(
        'name = "quick"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["a"]\n'
    )
    source = (
        "from safetensors.torch import load_file\nfrom harness.client import connect\nrun = connect()\n"
        "prompts = run.prompts(8)\nrun.score([(p.id, [run.end_token_id]) for p in prompts])\n"
        "print('hello from train')\n"
    )
    (folder / "train.py").write_text(source + "run.save(load_file(run.base / 'model.safetensors'))\n")
    done = nano("train", folder, "--output", tmp_path / "out", "--no-evaluate")
    assert done.returncode == 0, done.stderr
    assert "hello from train" in (tmp_path / "out" / "log.txt").read_text()
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 3_000_000
    row = next(line.split() for line in done.stdout.splitlines() if line.split()[1:2] == ["8"])
    assert row[2:4] == ["0.000", "0.000"]  # eight completions, none right, none formatted
    (folder / "train.py").write_text("raise SystemExit(7)\n")
    refused(nano("train", folder, "--output", tmp_path / "out", "--no-evaluate"), "exited with code 7", "log.txt")


def test_resume_wants_a_session_that_is_kept_and_no_submissions(key, tmp_path):
    refused(nano("verify", "--resume", "20261121t010203-abcdef", "--key", key), "no session is kept", "kept: none")
    refused(nano("verify", "baseline", "--resume", "20261121t010203-abcdef", "--key", key), "not both")
    refused(nano("verify", "--key", key), "name the submissions")
    assert sorted(path.name for path in (tmp_path / "state" / "nano-r1").iterdir()) == ["lock"]
