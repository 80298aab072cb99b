"""The traces of gpu-smol are those that the script makes."""

import json

import make_smol_traces as make

from harness.tracks.track import ROOT


def test_the_committed_traces_are_those_of_the_seed():
    committed = (ROOT / "harness" / "models" / "smol" / "warmup.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line) for line in committed.splitlines()] == make.warmup()
