"""Tracks: a digest over all that decides a result and over nothing else; clear refusals."""

import hashlib
import json
import os
import re
import subprocess
import sys

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from harness.benchmarks import suites
from harness.tasks import SPLITS, TASKS, sample
from harness.tracks import files
from harness.tracks.digest import FROZEN, task_sources
from harness.tracks.files import TRACKS
from harness.tracks.track import ROOT, TrackError, load, names


def test_the_base_model_is_the_one_the_track_names():
    track = load("cpu-logic")
    track.check_base()
    present = {path.name for path in track.base_folder.iterdir() if path.suffix != ".md"}
    assert present == set(track.base.files)
    size = (track.base_folder / "model.safetensors").stat().st_size
    assert size <= 4_000_000


def test_a_changed_or_missing_base_is_refused(tmp_path):
    track = load("cpu-logic")
    base = track.base.model_copy(update={"folder": str(tmp_path), "files": {"config.json": "0" * 64}})
    moved = track.model_copy(update={"base": base})
    with pytest.raises(TrackError, match="is missing"):
        moved.check_base()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(TrackError, match="SHA-256 differs"):
        moved.check_base()


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """The hashed sources in a folder where they can be changed."""
    for name in [*load("cpu-logic").sources, "tracks/fetch.py", "tracks/cpu-logic.toml"]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((TRACKS.parent / name).read_bytes())
    monkeypatch.setattr(files, "TRACKS", tmp_path / "tracks")
    return tmp_path


@pytest.mark.parametrize(
    "name", [*FROZEN, "engines/transformers.py", "tasks/nim.py", "tasks/nim_hard.py", "tracks/cpu-logic.toml"]
)
def test_the_digest_covers_what_decides(copy, name):
    before = load("cpu-logic").digest
    path = copy / name
    path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert load("cpu-logic").digest != before


def test_the_digest_covers_the_parents_of_a_task_that_is_not_used_itself():
    """`entailment-choice` asks what entailment.py draws: a change there changes what it asks."""
    assert {"tasks/entailment_choice.py", "tasks/entailment.py", "tasks/yes_no.py"} <= task_sources("entailment-choice")
    assert task_sources("nim") == {"tasks/nim.py", "tasks/task.py"}


def test_the_digest_ignores_the_rest_and_is_stable(copy):
    before = load("cpu-logic").digest
    path = copy / "tracks" / "fetch.py"
    path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert load("cpu-logic").digest == before == load("cpu-logic").digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds = 600", "seconds = -1", "budget.seconds"),
        ("seconds = 600", 'seconds = "long"', "budget.seconds"),
        ('name = "cpu-logic"', 'name = "other"', "name is 'other', and the file's is 'cpu-logic'"),
        ("control_ppm = 600_000", "control_ppm = 990_000", "control_ppm is above mean_gate_ppm"),
        ("mean_gate_ppm", 'report = ["nope"]\nmean_gate_ppm', "no suite 'nope'"),
        ("mean_gate_ppm", 'report = ["gym-40"]\nmean_gate_ppm', "'gym-40' has no fixed benchmark to report"),
        ('task = "nim"', 'suite = "maths"', "suite 'maths' has no generated task"),
        ('task = "nim"', 'suite = "logic"', "a task stands twice"),
        ('task = "nim"', 'task = "chess"', "chess"),
        ('task = "nim"', 'task = "linear"', "stands twice"),
        ("mean_gate_ppm = ", "mean_gate = 1\nmean_gate_ppm = ", "mean_gate"),
        ("version = ", "version = [", "cpu-logic.toml"),
    ],
)
def test_a_wrong_number_is_refused_with_a_reason(copy, old, new, message):
    path = copy / "tracks" / "cpu-logic.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(TrackError, match=message):
        load("cpu-logic")


def test_a_suite_stands_for_its_tasks(copy):
    path, before = copy / "tracks" / "cpu-logic.toml", load("cpu-logic").heldout.suites
    text = path.read_text()
    path.write_text(text[: text.index("[sampling]")] + '[[heldout.suites]]\nsuite = "deduction"\nquestions = 7\n\n'
                    + text[text.index("[sampling]") :])  # fmt: skip
    added = [suite for suite in load("cpu-logic").heldout.suites if suite not in before]
    assert [(suite.task, suite.questions, suite.gate_ppm) for suite in added] == [
        (task, 7, None) for task in suites.load("deduction").tasks
    ]


def test_a_track_that_is_no_text_is_refused(copy):
    (copy / "tracks" / "cpu-logic.toml").write_bytes(b'name = "\xff"\n')
    with pytest.raises(TrackError, match=r"cpu-logic\.toml: .*decode"):
        load("cpu-logic")


def test_a_track_without_any_gate_is_refused(copy):
    path = copy / "tracks" / "cpu-logic.toml"
    path.write_text(re.sub(r"^gate_ppm = .*\n", "", path.read_text(), flags=re.M))
    with pytest.raises(TrackError, match="no suite has a gate_ppm"):
        load("cpu-logic")


def test_an_unknown_track_names_those_there_are():
    with pytest.raises(TrackError, match=r"no track 'gpu'; tracks: .*cpu-logic, gpu-logic"):
        load("gpu")


def test_the_chat_template_is_the_tokenizers_own_and_digits_stand_alone():
    track = load("cpu-logic")
    tokenizer = PreTrainedTokenizerFast.from_pretrained(track.base_folder)
    plain = Tokenizer.from_file(str(track.base_folder / "tokenizer.json"))
    for task in track.train.tasks:
        for split in SPLITS:
            prompt = sample(TASKS[task], hashlib.sha256(b"template").digest(), split, 0).prompt
            message = [{"role": "user", "content": prompt}]
            ours = track.base.template.format(prompt=prompt)
            assert tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True) == ours
            ids = plain.encode(ours).ids
            assert plain.decode(ids, skip_special_tokens=False) == ours
            digits = [plain.decode([i]) for i in ids if any(c.isdigit() for c in plain.decode([i]))]
            assert digits == [c for c in prompt if c.isdigit()]


# ---------------------------------------------------------------- tracks for GPUs

GPU = [name for name in names() if load(name).hardware.kind == "gpu"]


def test_the_tracks_for_gpus_are_there_and_say_that_they_were_never_measured():
    assert set(GPU) == {
        "1xh100-logic", "8xh100-logic", "1xh100-smol", "1xh100-deduction", "8xh100-math", "8xh100-open", "gpu-logic",
    }  # fmt: skip
    assert all(load(name).status == "provisional" for name in GPU)


@pytest.mark.parametrize("name", GPU)
def test_a_track_for_gpus_is_whole(name):
    track = load(name)
    assert track.verdict.runs >= 5  # with four, no rank test reaches p < 0.01
    assert sum(suite.questions for suite in track.heldout.suites if suite.gate_ppm is not None) >= 4096
    assert track.heldout.control_ppm < track.heldout.mean_gate_ppm
    assert max(track.heldout.gates.values()) <= track.heldout.mean_gate_ppm
    assert {*track.heldout.gates, *track.train.sets} == {*track.train.tasks}  # what is gated can be trained on
    assert all(suites.load(suite).benchmarks for suite in track.heldout.report)
    assert track.base.template.count("{prompt}") == 1 and track.base.template.format(prompt="{x}").count("{x}") == 1
    assert track.packages["torch"] == "2.13.0" and ("vllm" in track.packages) == (track.sampling.engine == "vllm")
    assert not track.base.unknown
    assert set(track.packages) <= {"torch", "transformers", "vllm"}  # what a submission may import: no solver


def test_gpu_logic_is_cpu_logic_on_a_gpu():
    gpu, cpu = load("gpu-logic"), load("cpu-logic")
    assert (gpu.base, gpu.train, gpu.heldout, gpu.sampling) == (cpu.base, cpu.train, cpu.heldout, cpu.sampling)


@pytest.mark.parametrize(
    ("read", "unused"),
    [
        ("load('cpu-logic')", "harness.isolation harness.answers torch numpy"),
        ("[load(name) for name in names()]", "harness.isolation torch numpy datasets"),
    ],
)
def test_reading_a_track_loads_no_sandbox_no_grader_and_no_heavy_package(read, unused):
    code = (
        f"import sys\nfrom harness.tracks.track import load, names\n{read}\n"
        f"print([name for name in {unused.split()} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


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
        text=True,
    )
    assert done.returncode == 0, done.stderr
    digests = json.loads(done.stdout)
    assert digests == {name: load(name).digest for name in names()}
    assert len(set(digests.values())) == len(names())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('kind = "gpu"', 'kind = "tpu"', "hardware.*'cpu', 'gpu'"),
        ('kind = "gpu"', 'kind = "cpu"', "hardware.cpu"),
        ("gpus = 1", "gpus = 0", "hardware.gpu.gpus: .*greater than 0"),
        ("usd_per_gpu_hour_cents = 269", "usd_per_gpu_hour_cents = 2.69", "usd_per_gpu_hour_cents"),
        ("usd_per_gpu_hour_cents = 269", "", "usd_per_gpu_hour_cents: Field required"),
        ("seconds = 7200", "seconds = 7200\ninit_seconds = 300", "budget.init_seconds: Extra inputs"),
        ("989aa7980e4cf806f80c7fef2b1adb7bc71aa306", "main", "base.revision"),
        ('revision = "', 'folder = "x"\nrevision = "', "a folder, or a repo"),
        ('repo = "Qwen/', 'repo = "../Qwen/', "base.repo"),
        ('"config.json" = "98', '"config.json" = "zz', "base.files.config.json"),
        ('"config.json" = ', '"../config.json" = ', "base.files"),
        ('engine = "vllm"', 'engine = "llama.cpp"', "sampling.engine"),
        ("gate_ppm = 500_000", "gate_ppm = 1_500_000", "gate_ppm"),
    ],
)
def test_a_wrong_number_of_a_gpu_track_is_refused_with_a_reason(tmp_path, monkeypatch, old, new, message):
    text = (TRACKS / "1xh100-logic.toml").read_text()
    assert old in text
    (tmp_path / "1xh100-logic.toml").write_text(text.replace(old, new, 1))
    monkeypatch.setattr(files, "TRACKS", tmp_path)
    with pytest.raises(TrackError, match=message) as caught:
        load("1xh100-logic")
    assert "\n" not in str(caught.value)


def test_a_base_whose_hash_is_unknown_cannot_be_measured(tmp_path, monkeypatch):
    text = (TRACKS / "1xh100-logic.toml").read_text()
    text = re.sub(r'"model.safetensors" = "\w+"', '"model.safetensors" = "unknown"', text)
    path = tmp_path / "1xh100-logic.toml"
    path.write_text(text)
    monkeypatch.setattr(files, "TRACKS", tmp_path)
    assert load("1xh100-logic").base.unknown == ["model.safetensors"]
    path.write_text(text.replace('status = "provisional"', 'status = "measured"'))
    with pytest.raises(TrackError, match=r"model.safetensors is unknown.*provisional.*tracks fetch 1xh100-logic"):
        load("1xh100-logic")
