"""`nano-r1 tracks`: the list, plans, downloads; and what is said where a track, its base or its GPUs are missing."""

import json
from pathlib import Path

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


def test_a_wrong_track_names_the_right_ones(key):
    for arguments in (["verify", "baseline", "--key", key], ["eval"], ["train", "baseline"], ["new", "x"]):
        refused(nano(*arguments, "--track", "gpu-poetry"), "no track 'gpu-poetry'", "cpu-logic")


def test_tracks_fit_into_80_columns():
    tracks = json.loads(nano("tracks", "--json").stdout)
    lines = nano("tracks", COLUMNS="80").stdout.splitlines()
    assert all(len(line) <= 80 for line in lines)
    heads = lines[1].split()
    assert heads == ["track", "status", "hardware", "budget", "runs", "gate", "digest"]
    for track in tracks:
        (row,) = [line.split() for line in lines if line.startswith(f" {track['id']} ")]
        assert row[1] == track["status"] and row[-1] == track["digest"][:8]
