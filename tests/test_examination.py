"""A suite put to a real model: the CPU track's base, whose accuracy is known, and its samples graded again."""

import dataclasses
import json

import pytest
from test_cli import nano, refused

from harness import examination, suites
from harness.examination import ExaminationError, Model, examine
from harness.tracks.track import ROOT

pandas = pytest.importorskip("pandas")
BASE = str(ROOT / "harness" / "models" / "logic-base")
KEY = b"a key of these tests"


@pytest.fixture(scope="module")
def model():
    return Model(BASE, bare=True, max_new_tokens=128)


@pytest.fixture(scope="module")
def asked(model):
    done = []
    result, answers = examine(model, suites.part("nim", KEY, 24), batch=10, on_progress=done.append)
    assert done == [10, 20, 24]
    return result, answers


def test_the_base_answers_as_the_track_evaluates_it(asked):
    from harness.engines.transformers import generate
    from harness.environment import Grader
    from harness.tracks.track import load

    result, answers = asked
    track = load("cpu-logic")
    grader = Grader(track)
    weights = (track.base_folder / "model.safetensors").read_bytes()
    prompts = [grader.prompt_ids(answer.item.sample) for answer in answers]
    ids = generate(track.base_folder, weights, prompts, end_id=grader.end_id, max_new_tokens=128, batch=24)
    graded = grader.grade_all([answer.item.sample for answer in answers], ids)
    assert [answer.grade.strict for answer in answers] == [each.score.correct for each in graded]
    assert [answer.tokens for answer in answers] == [len(row) for row in ids]
    assert result.strict == sum(each.score.correct for each in graded) / 24
    assert 0 <= result.strict_low <= result.strict <= result.strict_high <= 1 and result.lenient >= result.strict


def test_several_answers_to_a_question_are_a_cluster(model):
    part = suites.part("nim", KEY, 3)
    part = dataclasses.replace(part, items=[dataclasses.replace(item, samples=4) for item in part.items])
    result, answers = examine(model, part, batch=2)
    assert len(answers) == 12 and (result.questions, result.samples) == (3, 4)
    assert [answer.number for answer in answers] == [0, 1, 2, 3] * 3


def test_samples_are_graded_again_and_a_changed_grade_is_seen(asked, tmp_path):
    result, answers = asked
    examination.write(tmp_path, {"model": "base"}, [result], answers)
    told = json.loads((tmp_path / "results.json").read_text())
    assert told["model"] == "base" and told["parts"][0]["strict"] == result.strict
    table, differ = examination.regrade(tmp_path / "samples.parquet")
    assert differ == 0 and len(table) == 24
    table.loc[3, "strict"] = not table.loc[3, "strict"]
    table.to_parquet(tmp_path / "changed.parquet")
    assert examination.regrade(tmp_path / "changed.parquet")[1] == 1
    (tmp_path / "not.parquet").write_text("no")
    with pytest.raises(ExaminationError, match="not a file of samples"):
        examination.regrade(tmp_path / "not.parquet")


def test_a_question_that_may_not_be_published_again_stays_out_of_the_file(asked, tmp_path):
    result, answers = asked
    hidden = [dataclasses.replace(each, item=dataclasses.replace(each.item, republish=False)) for each in answers]
    examination.write(tmp_path, {}, [result], hidden)
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    assert table[["prompt", "target", "metadata"]].isna().all().all()


@pytest.mark.slow
def test_the_command(tmp_path):
    more = ("--bare", "--questions", 4, "--max-new-tokens", 64, "--out", tmp_path)
    done = nano("eval", "--model", BASE, "--suite", "logic", *more)
    assert done.returncode == 0, done.stderr
    assert "josephus" in done.stdout and "4 × 1" in done.stdout
    again = nano("regrade", tmp_path / "samples.parquet")
    assert again.returncode == 0 and "0 of 16 samples are graded otherwise" in again.stdout
    refused(nano("eval", "--suite", "logic"), "--model")
    refused(nano("eval", "--model", BASE, "--suite", "nope"), "no suite 'nope'")
    refused(nano("eval", "--model", tmp_path, "--suite", "nim"), "no model that transformers can load")
