"""`nano-r1 new` and `nano-r1 train`."""

import pytest
from nano import nano, refused
from pydantic import TypeAdapter, ValidationError

from harness.ledger import record
from harness.submission import load
from harness.tracks.track import ROOT


def test_new_copies_the_baseline(tmp_path):
    done = nano("new", "my-idea", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "submission.toml" in done.stdout and "nano-r1 check submissions/my-idea" in done.stdout
    made = tmp_path / "submissions" / "my-idea"
    assert (made / "train.py").read_bytes() == (ROOT / "baseline" / "train.py").read_bytes()
    assert 'name = "my-idea"' in (made / "submission.toml").read_text(encoding="utf-8")
    assert load(made).manifest.based_on == "baseline"
    done = nano("new", "on-gpus", "--track", "1xh100-smol", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "submissions" / "on-gpus"
    assert (made / "train.py").read_bytes() == (ROOT / "baseline-gpu" / "train.py").read_bytes()
    assert 'track = "1xh100-smol"' in (made / "submission.toml").read_text(encoding="utf-8")
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


def test_train_shows_what_the_harness_saw_and_keeps_log_and_weights(tmp_path):
    folder = tmp_path / "quick"
    folder.mkdir()
    (folder / "submission.toml").write_text(
        'name = "quick"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["a"]\n', encoding="utf-8"
    )
    source = (
        "from safetensors.torch import load_file\nfrom harness.client import connect\nrun = connect()\n"
        "prompts = run.prompts(8)\nrun.score([(p.id, [run.end_token_id]) for p in prompts])\n"
        "print('hello from train')\n"
    )
    (folder / "train.py").write_text(source + "run.save(load_file(run.base / 'model.safetensors'))\n", encoding="utf-8")
    done = nano("train", folder, "--output", tmp_path / "out", "--no-evaluate")
    assert done.returncode == 0, done.stderr
    assert "hello from train" in (tmp_path / "out" / "log.txt").read_text(encoding="utf-8")
    assert (tmp_path / "out" / "model.safetensors").stat().st_size > 3_000_000
    row = next(line.split() for line in done.stdout.splitlines() if line.split()[1:2] == ["8"])
    assert row[2:4] == ["0.000", "0.000"]  # eight completions, none right, none formatted
    (folder / "train.py").write_text("raise SystemExit(7)\n", encoding="utf-8")
    refused(nano("train", folder, "--output", tmp_path / "out", "--no-evaluate"), "exited with code 7", "log.txt")


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
