"""`nano-r1 tracks`: the list, plans, downloads; and what is said where a track, its base or its GPUs are missing."""

import json
from pathlib import Path

import pytest
from nano import nano, refused

from harness.tracks.track import load, names


def test_tracks_speak_json():
    tracks = {track["name"]: track for track in json.loads(nano("tracks", "--json").stdout)}
    assert list(tracks) == names()
    assert tracks["cpu-logic"]["id"].startswith("cpu-logic@") and tracks["cpu-logic"]["status"] == "measured"
    assert len({track["digest"] for track in tracks.values()}) == len(tracks)
    assert all(len(track["digest"]) == 64 for track in tracks.values())


def test_tracks_lists_what_is_provisional():
    shown = nano("tracks").stdout
    for name in names():
        (line,) = [line for line in shown.splitlines() if line.startswith(f" {name}@")]
        assert load(name).status in line
    assert "8 × H100-SXM" in shown and "2 CPU cores" in shown


def test_tracks_plan_prints_what_it_assumes():
    shown = nano("tracks", "plan", "gpu-logic").stdout
    for word in ("899,200 weights", "KV cache", "grading", "GPU-hours", "11 runs", "not measured", "20% of the"):
        assert word in shown
    refused(nano("tracks", "plan", "cpu-logic"), "runs on CPUs", "docs/tracks/cpu-logic.md")
    refused(nano("tracks", "plan", "gpu-poetry"), "no track 'gpu-poetry'")


@pytest.mark.all  # ten seconds
def test_tracks_plan_counts_what_vllm_takes():
    found = json.loads(nano("tracks", "plan", "8xh100-open", "--json").stdout)
    assert found["parameters"] == 7_615_616_512 and found["sharded"] == found["tensors"] == 339
    assert found["memory"]["vLLM, from its start"] == 30_000_000_000
    assert found["memory_bytes"] == sum(found["memory"].values()) <= found["usable_bytes"]
    assert found["grading_seconds"] > 1000 and found["seconds"] <= found["budget_seconds"]


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


def test_a_wrong_track_names_the_right_ones(key):
    for arguments in (["verify", "baseline", "--key", key], ["eval"], ["train", "baseline"], ["new", "x"]):
        refused(nano(*arguments, "--track", "gpu-poetry"), "no track 'gpu-poetry'", "cpu-logic")
