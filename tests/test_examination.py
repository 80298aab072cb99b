"""A suite put to a real model: the CPU track's base, whose accuracy is known, and its samples graded again."""

import dataclasses
import json
import shutil
import sys
from collections import Counter

import pytest
from test_cli import nano, refused

from harness import cli, examination, suites
from harness.benchmarks import BENCHMARKS, collect, stream
from harness.benchmarks.pinned import read
from harness.examination import Answer, ExaminationError, Model, examine
from harness.tracks.track import ROOT

pandas = pytest.importorskip("pandas")
BASE = str(ROOT / "harness" / "models" / "logic-base")
EXCERPT = ROOT / "tests" / "data" / "benchmarks" / "gsm8k_test.jsonl"
KEY = b"a key of these tests"


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Two for so small a model wait for each other as soon as the machine does anything else: minutes, not seconds."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(one_thread):
    return Model(BASE, bare=True, max_new_tokens=128)


@pytest.fixture(scope="module")
def asked(model):
    done = []
    result, answers = examine(model, suites.part("nim", KEY, 12), batch=5, on_progress=done.append)
    assert done == [5, 10, 12]
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
    ids = generate(track.base_folder, weights, prompts, end_id=grader.end_id, max_new_tokens=128, batch=12)
    graded = grader.grade_all([answer.item.sample for answer in answers], ids)
    assert [answer.grade.strict for answer in answers] == [each.score.correct for each in graded]
    assert [answer.tokens for answer in answers] == [len(row) for row in ids]
    assert result.strict == sum(each.score.correct for each in graded) / 12 and result.sampled_with is None
    assert 0 <= result.strict_low <= result.strict <= result.strict_high <= 1 and result.lenient >= result.strict


def test_several_answers_to_a_question_are_a_cluster(model):
    part = suites.part("nim", KEY, 3)
    part = dataclasses.replace(part, items=[dataclasses.replace(item, samples=4) for item in part.items])
    result, answers = examine(model, part, batch=2)
    assert len(answers) == 12 and (result.questions, result.samples) == (3, 4)
    assert result.sampled_with == {"temperature": 0.6, "top_p": 0.95}
    assert [answer.number for answer in answers] == [0, 1, 2, 3] * 3


def test_samples_are_graded_again_and_a_changed_grade_is_seen(asked, tmp_path):
    result, answers = asked
    examination.write(tmp_path, {"model": "base"}, [result], answers)
    told = json.loads((tmp_path / "results.json").read_text())
    assert told["model"] == "base" and told["parts"][0]["strict"] == result.strict
    assert 0 < told["parts"][0]["ms"] < 600_000
    table, differ = examination.regrade(tmp_path / "samples.parquet")
    assert differ == 0 and len(table) == 12
    table.loc[3, "strict"] = not table.loc[3, "strict"]
    table.to_parquet(tmp_path / "changed.parquet")
    assert examination.regrade(tmp_path / "changed.parquet")[1] == 1
    (tmp_path / "not.parquet").write_text("no")
    with pytest.raises(ExaminationError, match="not a file of samples"):
        examination.regrade(tmp_path / "not.parquet")


@pytest.mark.parametrize(
    ("column", "value", "said"),
    [
        ("part", "no-such", "there is no task 'no-such' that could grade it"),
        ("metadata", "{", "its metadata is no JSON"),
        ("metadata", "[]", "metadata must be a JSON object"),
        ("metadata", None, "its metadata is no JSON"),
        ("metadata", "[" * 100_000, "its metadata is no JSON"),
        ("target", None, "target text"),
        ("completion", None, "completion must be text"),
        ("prompt", None, "no benchmark 'nim' to look for it in"),
        ("grader", "judge", "no grader 'judge'"),
    ],
)
def test_a_sample_that_cannot_be_graded_is_one_clear_error(asked, tmp_path, column, value, said):
    result, answers = asked
    examination.write(tmp_path, {}, [result], answers)
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    table.loc[3, column] = value
    table.to_parquet(tmp_path / "spoilt.parquet")
    refused(nano("regrade", tmp_path / "spoilt.parquet"), said)


def test_metadata_of_another_form_is_one_clear_error(tmp_path):
    item = suites.part("countdown", KEY, 1).items[0]
    text = f"<think></think><answer>{item.sample.target}</answer>"
    answer = Answer(item, 0, text, 9, False, suites.grade(item, text))
    examination.write(tmp_path, {}, [], [answer])
    for metadata in ("{}", '{"numbers": 5}'):
        table = pandas.read_parquet(tmp_path / "samples.parquet").assign(metadata=metadata)
        table.to_parquet(tmp_path / "spoilt.parquet")
        with pytest.raises(ExaminationError, match="sample countdown/0: its metadata is not a countdown's"):
            examination.regrade(tmp_path / "spoilt.parquet")


def test_a_result_says_how_many_questions_there_are(asked):
    result, answers = asked
    part = suites.Part("gsm8k", [], Counter(why=3), 1_319)
    found = examination.result(part, answers, 1.0)
    assert (found.questions, found.total, found.left_out) == (12, 1_319, {"why": 3}) and result.total is None


def test_a_model_whose_weights_are_cut_off_is_one_clear_error(tmp_path):
    for path in (ROOT / "harness" / "models" / "logic-base").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(ExaminationError, match="is no model that transformers can load"):
        Model(str(tmp_path), bare=True, max_new_tokens=8)


def spoilt(folder, *, weights=None, **config):
    """The CPU track's base in another folder: weights changed in place by `weights`, config fields set (None: gone)."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    if weights is not None:
        tensors = load_file(folder / "model.safetensors")
        weights(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps({key: value for key, value in told.items() if value is not None}))
    return folder


def run(monkeypatch, *arguments):
    """The command's exit code, in this process."""
    monkeypatch.setattr(sys, "argv", ["nano-r1", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"hidden_size": 256}, "of another shape (model.embed_tokens.weight [360, 128], not [360, 256], "),
        ({"num_hidden_layers": 6}, "18 missing (model.layers.4.input_layernorm.weight, "),
        ({"num_hidden_layers": 2}, "18 without a place (model.layers.2.input_layernorm.weight, "),
        ({"weights": lambda tensors: tensors.pop("model.norm.weight")}, "1 missing (model.norm.weight)"),
        ({"model_type": "nonsense"}, "ValueError: The checkpoint you are trying to load has model type `nonsense`"),
        ({"model_type": None}, "Should have a `model_type` key"),
        ({"hidden_act": "nonsense"}, "KeyError: 'nonsense'"),
        ({"hidden_size": "128"}, "Field 'hidden_size' expected int, got str"),
        ({"dtype": "float33"}, "AttributeError: module 'torch' has no attribute 'float33'"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "ImportError: "),
    ],
)
def test_a_model_that_is_none_is_one_clear_error(tmp_path, monkeypatch, capsys, change, said):
    folder = spoilt(tmp_path / "model", **change)
    code = run(monkeypatch, "eval", "--model", folder, "--suite", "nim", "--out", tmp_path / "out")
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and last.startswith(f"nano-r1: {folder}") and said in last
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(("name", "text"), [("config.json", "[]"), ("tokenizer.json", "{}")])
def test_json_of_another_form_is_no_model(tmp_path, name, text):
    folder = spoilt(tmp_path / "model")
    (folder / name).write_text(text)
    with pytest.raises(ExaminationError, match=r"is no model that transformers can load: (TypeError|KeyError)"):
        Model(str(folder), bare=True, max_new_tokens=8)


def test_a_head_that_is_saved_beside_the_embedding_it_is_tied_to_fits(tmp_path):
    def with_head(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    Model(str(spoilt(tmp_path / "model", weights=with_head)), bare=True, max_new_tokens=8)


def test_sampled_answers_follow_from_the_seed_and_a_batch_is_of_sequences(model):
    part = suites.part("nim", KEY, 3)
    part = dataclasses.replace(part, items=[dataclasses.replace(item, samples=4) for item in part.items])
    asked = []
    first, again, other = (
        [a.completion for a in examine(Model(BASE, bare=True, max_new_tokens=16, seed=s), part, batch=8,
                                       on_progress=asked.append)[1]]
        for s in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other and asked == [2, 3] * 3


def test_a_question_that_may_not_be_published_again_stays_out_of_the_file(asked, tmp_path):
    result, answers = asked
    hidden = [dataclasses.replace(each, item=dataclasses.replace(each.item, republish=False)) for each in answers]
    examination.write(tmp_path, {}, [result], hidden)
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    assert table[["prompt", "target", "metadata"]].isna().all().all()


def test_what_is_not_in_the_file_is_taken_from_its_data_set(asked, tmp_path, monkeypatch):
    """In a file of two parts, of which one may not be published again. Only the download is left out here."""
    benchmark = BENCHMARKS["gsm8k"]
    rows = list(read(EXCERPT, benchmark.source.columns))
    monkeypatch.setattr(examination, "stream", lambda of: stream(of, rows if of is benchmark else ()))
    questions = collect(benchmark, rows)[0][:3]
    secret = [suites.Item("gsm8k", each, each.grader, republish=False) for each in questions]
    texts = [f"<think></think><answer>{questions[0].target}</answer>", "no", "7 or 8"]
    result, answers = asked
    answers = [
        *answers,
        *(Answer(one, 0, text, 9, False, suites.grade(one, text)) for one, text in zip(secret, texts, strict=True)),
    ]
    examination.write(tmp_path, {}, [result], answers)
    assert questions[0].prompt.encode() not in (tmp_path / "samples.parquet").read_bytes()
    table, differ = examination.regrade(tmp_path / "samples.parquet")
    assert differ == 0 and table["strict"].tolist()[-3:] == [True, False, False]
    monkeypatch.setattr(examination, "stream", lambda of: stream(of, rows[:2]))
    with pytest.raises(ExaminationError, match="gsm8k has no question gsm8k/2 any more"):
        examination.regrade(tmp_path / "samples.parquet")


@pytest.mark.slow
def test_the_command(tmp_path):
    more = ("--bare", "--questions", 2, "--max-new-tokens", 32, "--out", tmp_path)
    done = nano("eval", "--model", BASE, "--suite", "logic", *more, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    assert "josephus" in done.stdout and "2 × 1" in done.stdout
    again = nano("regrade", tmp_path / "samples.parquet")
    assert again.returncode == 0 and "0 of 8 samples are graded otherwise" in again.stdout
    refused(nano("eval", "--suite", "logic"), "--model")
    refused(nano("eval", "--model", BASE, "--suite", "nope"), "no suite 'nope'")
    refused(nano("eval", "--model", tmp_path, "--suite", "nim"), "no model that transformers can load")
