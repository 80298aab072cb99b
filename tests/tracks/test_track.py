"""The tracks that there are: each loads, is whole, and needs little to be read."""

import hashlib
import subprocess
import sys
from statistics import fmean

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from harness.audit.tracks import check_tracks
from harness.benchmarks import suites
from harness.board.render import rendered
from harness.cli import main
from harness.frozen.draw import SPLITS, sample
from harness.screen.check import check
from harness.tasks import TASKS
from harness.tracks.measured import false_claim, recorded
from harness.tracks.track import ROOT, TrackError, load, load_all, names

GPU = [name for name in names() if load(name).hardware.kind == "gpu"]


def test_a_track_that_is_no_text_is_refused(copy):
    (copy / "tracks" / "cpu-logic.toml").write_bytes(b'name = "\xff"\n')
    with pytest.raises(TrackError, match=r"cpu-logic\.toml: .*decode"):
        load("cpu-logic")


def test_a_track_that_cannot_be_read_stops_no_other(copy, monkeypatch, capsys):
    here = names()
    (copy / "tracks" / "broken.toml").write_text("name = ", encoding="utf-8")
    (copy / "tracks" / "empty.toml").write_text("", encoding="utf-8")
    (copy / "tracks" / "folder.toml").mkdir()
    toml = (copy / "tracks" / "cpu-logic.toml").read_text(encoding="utf-8")
    odd = toml.replace('name = "cpu-logic"', 'name = "odd"').replace('"nim"', '"chess"')
    (copy / "tracks" / "odd.toml").write_text(odd, encoding="utf-8")
    tracks, unreadable = load_all()
    assert [track.name for track in tracks] == here and list(unreadable) == ["broken", "empty", "folder", "odd"]
    assert all(f"{name}.toml" in str(error) for name, error in unreadable.items())
    monkeypatch.setattr("sys.argv", ["nano-r1", "tracks"])
    with pytest.raises(SystemExit) as ended:
        main()
    told = capsys.readouterr()
    assert ended.value.code == 1, told.err
    assert all(f"{name}@" in told.out for name in here)
    assert [line.partition(".toml")[0].rpartition("/")[2] for line in told.err.splitlines()] == list(unreadable)
    assert isinstance(check(ROOT / "submissions" / "trim"), list) and rendered(ROOT / "records")


def test_a_measured_track_has_a_record_and_a_copy_of_it_has_none(copy, monkeypatch, capsys):
    measured = [track for track in load_all()[0] if track.status == "measured"]
    assert measured and [claim for track in measured if (claim := false_claim(track, recorded()))] == []
    toml = (copy / "tracks" / "cpu-logic.toml").read_text(encoding="utf-8")
    (copy / "tracks" / "mine.toml").write_text(toml.replace('name = "cpu-logic"', 'name = "mine"'), encoding="utf-8")
    newer = toml.replace("alpha_ppb = ", "alpha_ppb = 1", 1)
    assert newer != toml
    (copy / "tracks" / "cpu-logic.toml").write_text(newer, encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["nano-r1", "tracks"])
    with pytest.raises(SystemExit) as ended:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1 and len(lines) == 2
    for line, name in zip(lines, ("cpu-logic@", "mine@"), strict=True):
        assert line.startswith(f"nano-r1: {name}") and 'says status = "measured", and records/ has no record' in line
    results = check_tracks(recorded())  # as the audit of the repository does
    assert {result.file for result in results if not result.ok} == {"cpu-logic.toml", "mine.toml"}


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


def test_the_tracks_for_gpus_are_there_and_say_that_they_were_never_measured():
    assert set(GPU) == {
        "1xh100-logic", "8xh100-logic", "1xh100-smol", "1xh100-deduction", "8xh100-math", "8xh100-open", "gpu-logic",
        "gpu-smol",
    }  # fmt: skip
    assert all(load(name).status == "provisional" for name in GPU)


@pytest.mark.parametrize("name", GPU)
def test_a_track_for_gpus_is_whole(name):
    track = load(name)
    assert track.verdict.runs >= 5  # with four, no rank test reaches p < 0.01
    assert sum(suite.questions for suite in track.heldout.suites if suite.gate_ppm is not None) >= 4096
    assert track.heldout.control_ppm < track.heldout.mean_gate_ppm
    assert fmean(track.heldout.gates.values()) <= track.heldout.mean_gate_ppm
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
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8")
    assert done.stdout == "[]\n", done.stderr
