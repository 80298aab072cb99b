"""Tracks: a digest over all that decides a result and over nothing else; clear refusals."""

import hashlib
import re

import pytest
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from harness.tasks import SPLITS, TASKS, sample
from harness.tracks import track as module
from harness.tracks.track import FROZEN, HERE, TrackError, load


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
    for name in [*load("cpu-logic").sources, "verify.py", "tracks/cpu-logic.toml"]:
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((HERE.parent / name).read_bytes())
    monkeypatch.setattr(module, "HERE", tmp_path / "tracks")
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
    assert {"tasks/entailment_choice.py", "tasks/entailment.py", "tasks/yes_no.py"} <= module._task_sources(
        "entailment-choice"
    )
    assert module._task_sources("nim") == {"tasks/nim.py", "tasks/task.py"}


def test_the_digest_ignores_the_rest_and_is_stable(copy):
    before = load("cpu-logic").digest
    path = copy / "verify.py"
    path.write_bytes(path.read_bytes() + b"# one more line\n")
    assert load("cpu-logic").digest == before == load("cpu-logic").digest


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("seconds = 600", "seconds = -1", "budget.seconds"),
        ("seconds = 600", 'seconds = "long"', "budget.seconds"),
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


def test_a_track_without_any_gate_is_refused(copy):
    path = copy / "tracks" / "cpu-logic.toml"
    path.write_text(re.sub(r"^gate_ppm = .*\n", "", path.read_text(), flags=re.M))
    with pytest.raises(TrackError, match="no suite has a gate_ppm"):
        load("cpu-logic")


def test_an_unknown_track_names_those_there_are():
    with pytest.raises(TrackError, match=r"no track 'gpu'; tracks: cpu-deduction, cpu-logic"):
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
