"""A suite put to a real model: the CPU track's base, whose accuracy is known, and its samples graded again."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from hub_standin import Hub
from nano import NANO, nano, refused

from harness import cli
from harness.answers.grade import GraderError
from harness.answers.pool import PoolError
from harness.benchmarks import suites
from harness.evaluation import questions, samples, suite_run
from harness.evaluation.heldout import evaluate_weights
from harness.evaluation.model import EvaluationError, Model, check_model
from harness.evaluation.questions import Item, Part, kind_of
from harness.evaluation.samples import Answer, ask
from harness.frozen.format import Sample
from harness.isolation.sandbox import SandboxError
from harness.tracks import track as tracks
from harness.tracks.track import ROOT

pandas = pytest.importorskip("pandas")
BASE = str(ROOT / "harness" / "models" / "logic-base")
SECRET, GOLD = "a question that must never stand in a public file", 86_420_975
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
    result, answers = ask(model, questions.part("nim", KEY, 12), batch=5, on_progress=done.append)
    assert done == [5, 10, 12]
    return result, answers


def test_the_base_answers_as_the_track_evaluates_it(asked):
    from harness.engines.transformers import generate
    from harness.tracks import rules
    from harness.tracks.track import load

    result, answers = asked
    track = load("cpu-logic")
    grader = rules.grader(track)
    weights = (track.base_folder / "model.safetensors").read_bytes()
    prompts = [grader.prompt_ids(answer.item.sample) for answer in answers]
    ids = generate(track.base_folder, weights, prompts, end_id=grader.end_id, max_new_tokens=128, batch=12)
    graded = grader.grade_all([answer.item.sample for answer in answers], ids)
    assert [answer.grade.strict for answer in answers] == [each.score.correct for each in graded]
    assert [answer.tokens for answer in answers] == [len(row) for row in ids]
    assert result.strict == sum(each.score.correct for each in graded) / 12 and result.sampled_with is None
    assert 0 <= result.strict_low <= result.strict <= result.strict_high <= 1 and result.lenient >= result.strict


def test_several_answers_to_a_question_are_a_cluster(model):
    part = questions.part("nim", KEY, 3)
    part = dataclasses.replace(part, items=[dataclasses.replace(item, samples=4) for item in part.items])
    result, answers = ask(model, part, batch=2)
    assert len(answers) == 12 and (result.questions, result.samples) == (3, 4)
    assert result.sampled_with == {"temperature": 0.6, "top_p": 0.95}
    assert [answer.number for answer in answers] == [0, 1, 2, 3] * 3


def test_samples_are_graded_again_and_a_changed_grade_is_seen(asked, tmp_path):
    result, answers = asked
    samples.write(tmp_path, samples.report({"model": "base"}, ["nim", "linear"], [result]), answers)
    told = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert told["model"] == "base" and told["parts"][0]["strict"] == result.strict
    assert told["complete"] is False and told["missing"] == ["linear"]
    assert 0 < told["parts"][0]["ms"] < 600_000
    again = samples.regrade(tmp_path / "samples.parquet")
    assert again.differ == 0 and again.withheld == {} and len(again.table) == 12
    table = again.table
    table.loc[3, "strict"] = not table.loc[3, "strict"]
    table.to_parquet(tmp_path / "changed.parquet")
    assert samples.regrade(tmp_path / "changed.parquet").differ == 1
    (tmp_path / "not.parquet").write_text("no", encoding="utf-8")
    with pytest.raises(EvaluationError, match="not a file of samples"):
        samples.regrade(tmp_path / "not.parquet")


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
        ("prompt", None, "prompt and completion must be text"),
        ("grader", "judge", "no grader 'judge'"),
    ],
)
def test_a_sample_that_cannot_be_graded_is_one_clear_error(asked, tmp_path, column, value, said):
    samples.write(tmp_path, {}, asked[1])
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    table.loc[3, column] = value
    table.to_parquet(tmp_path / "corrupted.parquet")
    refused(nano("regrade", tmp_path / "corrupted.parquet"), said)


def test_metadata_of_another_form_is_one_clear_error(tmp_path):
    item = questions.part("countdown", KEY, 1).items[0]
    text = f"<think></think><answer>{item.sample.target}</answer>"
    answer = Answer(item, 0, text, 9, False, item.grade(text))
    samples.write(tmp_path, {}, [answer])
    for metadata in ("{}", '{"numbers": 5}'):
        table = pandas.read_parquet(tmp_path / "samples.parquet").assign(metadata=metadata)
        table.to_parquet(tmp_path / "corrupted.parquet")
        with pytest.raises(EvaluationError, match="sample countdown/0: its metadata is not a countdown's"):
            samples.regrade(tmp_path / "corrupted.parquet")


def test_a_result_says_how_many_questions_there_are(asked):
    result, answers = asked
    part = Part("gsm8k", [], Counter(why=3), 1_319)
    found = samples.summary(part, answers, 1.0)
    assert (found.questions, found.total, found.left_out) == (12, 1_319, {"why": 3}) and result.total is None


def test_a_model_whose_weights_are_cut_off_is_one_clear_error(tmp_path):
    for path in (ROOT / "harness" / "models" / "logic-base").iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    with pytest.raises(EvaluationError, match="is no model that transformers can load"):
        Model(str(tmp_path), bare=True, max_new_tokens=8)


def corrupted(folder, *, weights=None, **config):
    """The CPU track's base in another folder: weights changed in place by `weights`, config fields set (None: gone)."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(BASE, folder, dirs_exist_ok=True)
    if weights is not None:
        tensors = load_file(folder / "model.safetensors")
        weights(tensors)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    told = json.loads((folder / "config.json").read_text(encoding="utf-8")) | config
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in told.items() if value is not None}), encoding="utf-8"
    )
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
    folder = corrupted(tmp_path / "model", **change)
    code = run(monkeypatch, "eval", "--model", folder, "--suite", "nim", "--out", tmp_path / "out")
    last = capsys.readouterr().err.splitlines()[-1]
    assert code == 2 and last.startswith(f"nano-r1: {folder}") and said in last
    assert not (tmp_path / "out" / "results.json").exists()


@pytest.mark.parametrize(("name", "text"), [("config.json", "[]"), ("tokenizer.json", "{}")])
def test_json_of_another_form_is_no_model(tmp_path, name, text):
    folder = corrupted(tmp_path / "model")
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(EvaluationError, match=r"is no model that transformers can load: (TypeError|KeyError)"):
        Model(str(folder), bare=True, max_new_tokens=8)


# The ends of DeepSeek-R1's, QwQ's and Qwen3's templates, of one that opens no thought, and of one that speaks of it.
TEMPLATES = {
    "opened": ("<|user|>{{ messages[0].content }}<|assistant|>{{ '<think>\\n' }}", "<think>\n"),
    "opened on demand": (
        "<|user|>{{ messages[0].content }}{% if add_generation_prompt %}<|assistant|><think>{% endif %}", "<think>"
    ),
    "closed": ("<|user|>{{ messages[0].content }}<|assistant|><think>\n\n</think>\n\n", "<think>\n\n</think>"),
    "none": ("<|user|>{{ messages[0].content }}<|assistant|>", ""),
    "spoken of": ("Use <think> and </think>. {{ messages[0].content }} Use <think> tags.<|assistant|>", ""),
}  # fmt: skip


@pytest.mark.parametrize(("template", "prefill"), TEMPLATES.values(), ids=list(TEMPLATES))
def test_a_thought_that_the_template_opens_belongs_to_the_completion(tmp_path, template, prefill):
    folder = corrupted(tmp_path / "model")
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    opened = Model(str(folder), bare=False, max_new_tokens=8)
    assert opened.prefill == prefill
    item = Item("gsm8k", Sample("gsm8k/0", "3 + 4?", "7", {}), kind_of("gsm8k", "integer"))

    def grade(completion):
        ids = opened.tokenizer.encode(completion, add_special_tokens=False)
        return item.grade(opened.text([*ids, next(iter(opened.end_ids))]))

    thought = {"<think>": "3 + 4</think>", "": "<think>3 + 4</think>"}.get(prefill.strip(), "")
    assert grade(f"{thought}<answer>7</answer>").strict and not grade(f"{thought}<answer>8</answer>").lenient
    if prefill.strip() == "<think>":  # numbers met on the way are no answer
        assert not grade("3 + 4 = 7").lenient and not grade("the answer is 7").lenient


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "{tmp}/none",
            "there is no folder {tmp}/none; --model takes a folder, or a model's name on the Hub, owner/name",
        ),
        ("none", "there is no folder none; --model takes a folder, or a model's name on the Hub"),
        ("./a/b", "there is no folder a/b, and "),
        ("a/b/c", "there is no folder a/b/c; --model takes"),
        ("{tmp}", "{tmp} has no config.json; with --suite, name a folder that holds a whole model"),
        ("{tmp}/model.safetensors", "{tmp}/model.safetensors is a file; with --suite, name the folder"),
        (
            "owner/name",
            "there is no folder owner/name, and http://127.0.0.1:9 cannot be asked for a model of that name",
        ),
    ],
)
def test_a_model_that_is_not_there_is_one_sentence(tmp_path, monkeypatch, capsys, caplog, name, said):
    """Before anything is asked, and offline after one try of the Hub, where transformers makes six a file."""
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(questions, "part", lambda *_: pytest.fail("questions were drawn first"))
    (tmp_path / "model.safetensors").write_bytes(b"")
    name, said = (text.format(tmp=tmp_path) for text in (name, said))
    start = time.monotonic()
    assert run(monkeypatch, "eval", "--model", name, "--suite", "nim", "--out", tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert told.startswith(f"nano-r1: {said}") and told.count("\n") == 1 and not caplog.records
    assert time.monotonic() - start < 20 and not (tmp_path / "out").exists()


def test_a_name_that_the_hub_does_not_know_is_one_sentence(monkeypatch):
    with Hub() as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(EvaluationError, match=f"no folder owner/name, and {hub.url} has no public model of that"):
            check_model("owner/name")


def test_the_bar_moves_before_the_first_batch_ends(model):
    seen = []
    ask(model, questions.part("nim", KEY, 4), batch=4, most_tokens=128, on_progress=seen.append)
    assert len(seen) > 20 and 0 < seen[0] < 0.1 and seen == sorted(seen) and seen[-1] == 4


def test_another_models_weights_are_told_from_weights_that_are_broken(tmp_path):
    track = tracks.load("cpu-logic")
    other = ROOT / "harness" / "models" / "deduction-base" / "model.safetensors"
    with pytest.raises(EvaluationError, match=rf"^{other} is another model than cpu-logic@\d+ trains: .*--suite"):
        evaluate_weights(track, other, 0, lambda done: None)
    cut = tmp_path / "model.safetensors"
    cut.write_bytes((track.base_folder / "model.safetensors").read_bytes()[:-10])
    with pytest.raises(EvaluationError, match=f"^{cut} cannot be evaluated: is .* bytes long; header and tensors make"):
        evaluate_weights(track, cut, 0, lambda done: None)


def test_a_head_that_is_saved_beside_the_embedding_it_is_tied_to_fits(tmp_path):
    def with_head(tensors):
        tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()

    Model(str(corrupted(tmp_path / "model", weights=with_head)), bare=True, max_new_tokens=8)


def test_sampled_answers_follow_from_the_seed_and_a_batch_is_of_sequences(model):
    part = questions.part("nim", KEY, 3)
    part = dataclasses.replace(part, items=[dataclasses.replace(item, samples=4) for item in part.items])
    asked = []
    first, again, other = (
        [a.completion for a in ask(Model(BASE, bare=True, max_new_tokens=16, seed=s), part, batch=8,
                                       on_progress=asked.append)[1]]
        for s in (1, 1, 2)
    )  # fmt: skip
    assert first == again != other and asked == [2, 3] * 3


def gated(count=3):
    """Answers to questions in the form of HLE's, the first of them right; the real ones are nobody's to show."""
    for number in range(count):
        sample = Sample(f"hle/q{number}", f"{SECRET} {number}", str(GOLD + number), {"category": SECRET})
        item = Item("hle", sample, kind_of("hle", "integer"), republish=False)
        text = f"<think>{SECRET}</think><answer>{GOLD}</answer>"
        yield Answer(item, 0, text, 9, False, item.grade(text))


def test_of_a_set_not_to_be_published_again_the_file_has_scores_alone(asked, tmp_path):
    result, answers = asked
    secret = list(gated())
    found = samples.summary(Part("hle", []), secret, 1.0)
    samples.write(tmp_path, samples.report({}, [], [result, found]), [*answers, *secret])
    assert (result.regradable, found.regradable) == (True, False)
    for path in tmp_path.iterdir():
        assert SECRET not in path.read_bytes().decode(errors="replace")
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    assert table.attrs == {"hle": samples.WITHHELD}
    rows = table[table["part"] == "hle"]
    texts = ["prompt", "target", "metadata", "completion", "answer", "why"]
    assert rows[texts].isna().all().all() and str(GOLD) not in rows.to_json()
    assert rows["id"].tolist() == ["hle/q0", "hle/q1", "hle/q2"] and rows["strict"].tolist() == [True, False, False]


def test_scores_alone_are_not_graded_again_and_that_is_said(asked, tmp_path):
    samples.write(tmp_path, {}, [*asked[1], *gated()])
    again = samples.regrade(tmp_path / "samples.parquet")
    assert (len(again.table), again.differ, again.withheld) == (12, 0, {"hle": 3})
    done = nano("regrade", tmp_path / "samples.parquet")
    assert done.returncode == 0 and "0 of 12 samples get another grade" in done.stdout
    assert "hle: 3 samples not graded again: scores alone" in done.stdout
    assert json.loads(nano("regrade", "--json", tmp_path / "samples.parquet").stdout)["withheld"] == {"hle": 3}
    samples.write(tmp_path, {}, list(gated()))
    refused(nano("regrade", tmp_path / "samples.parquet"), "nothing to grade again", "hle: scores alone")


def test_the_table_says_of_how_many_and_what_cannot_be_graded_again(tmp_path, monkeypatch, capsys):
    secret = list(gated())
    part = Part("hle", [each.item for each in secret], Counter({"the question has a picture": 7}), 2_000)
    monkeypatch.setattr(questions, "part", lambda *_: part)
    monkeypatch.setattr(suite_run, "Model", lambda *_, **__: None)
    monkeypatch.setattr(samples, "ask", lambda *_, **__: (samples.summary(part, secret, 1.0), secret))
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "hle", "--out", tmp_path) == 0
    told = capsys.readouterr().out
    assert "3 of 2,000 × 1" in told and "hle: 7 rows left out: the question has a picture" in told
    assert f"hle: {samples.WITHHELD}" in told and SECRET not in told and str(GOLD) not in told
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "hle", "--out", tmp_path, "--json") == 0
    assert json.loads(capsys.readouterr().out) == json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- before it is asked, and while


class NeverLoaded:
    def __init__(self, *_, **__):
        raise AssertionError("a model was loaded, which takes long, before what is quick to know")


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda out: out.write_text("", encoding="utf-8"), "(File exists)"),
        (lambda out: out.parent.joinpath("file").write_text("", encoding="utf-8"), "(Not a directory)"),
        (lambda out: (out / "results.json").mkdir(parents=True), "results.json is a folder where a file is to go"),
        (lambda out: (out / "samples.parquet").mkdir(parents=True), "samples.parquet is a folder where a file"),
    ],
)
def test_where_nothing_can_be_written_nothing_is_asked(tmp_path, monkeypatch, capsys, prepare, said):
    monkeypatch.setattr(suite_run, "Model", NeverLoaded)
    out = tmp_path / "out"
    prepare(out)
    given = tmp_path / "file" / "out" if (tmp_path / "file").exists() else out
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "nim", "--out", given) == 2
    told = capsys.readouterr().err
    assert str(given) in told and said in told and "--out" in told and told.count("\n") == 1


def test_a_folder_that_may_not_be_written_to_is_one_clear_error(tmp_path, monkeypatch):
    def refuse(*_, **__):  # root may write anywhere
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(samples.tempfile, "NamedTemporaryFile", refuse)
    with pytest.raises(EvaluationError, match=rf"to the folder {tmp_path} \(Permission denied\); name another"):
        samples.check_folder(tmp_path)


def test_every_grader_is_tried_before_the_first_question(tmp_path, monkeypatch, capsys):
    """Here by a real grader on a question that it cannot know how to grade, in the last part."""
    real = questions.part

    def part(name, key, most):
        program = Item("humaneval", Sample("humaneval/0", "Write.", "", {}), kind_of("humaneval", "code"))
        return Part(name, [program]) if name == "linear" else real(name, key, most)

    monkeypatch.setattr(questions, "part", part)
    monkeypatch.setattr(suite_run, "Model", NeverLoaded)
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "logic", "--out", tmp_path) == 2
    told = capsys.readouterr().err
    assert told.startswith("nano-r1: linear cannot be graded here, so nothing was asked: ") and "fix that" in told
    assert told.count("\n") == 1 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [PoolError("no\nprocesses"), SandboxError("no\nsandbox"), GraderError("no\nform")])
def test_a_grader_that_a_machine_lacks_is_named_with_its_part_in_one_line(monkeypatch, error):
    def lacking(part):
        raise error

    monkeypatch.setattr(samples, "probe", lacking)
    why = " ".join(str(error).split())
    with pytest.raises(EvaluationError, match=f"^nim cannot be graded here, so nothing was asked: {why}; fix that"):
        samples.check_graders([questions.part("nim", KEY, 1)])


def test_a_part_without_a_question_is_known_before_the_first():
    empty = Part("hle", [], Counter(pictures=2), 0)
    with pytest.raises(suites.SuiteError, match=r"hle has no question that can be graded; left out: {'pictures': 2}"):
        samples.check_graders([questions.part("nim", KEY, 1), empty])


@pytest.mark.parametrize(
    ("error", "code"), [(KeyboardInterrupt(), 130), (GraderError("no form"), 2), (OSError(28, "No space left"), 2)]
)
def test_what_is_done_stays_done_when_a_late_part_fails(asked, tmp_path, monkeypatch, capsys, error, code):
    result, answers = asked
    states = []

    def examine_but_the_third(model, part, **_):
        states.append(_told(tmp_path))
        if len(states) == 3:
            raise error
        given = [dataclasses.replace(each, item=dataclasses.replace(each.item, part=part.name)) for each in answers]
        return dataclasses.replace(result, part=part.name), given

    monkeypatch.setattr(suite_run, "Model", lambda *_, **__: None)
    monkeypatch.setattr(samples, "ask", examine_but_the_third)
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "logic", "--out", tmp_path) == code
    names = suites.load("logic").parts
    assert [state.get("missing") for state in states] == [None, names[1:], names[2:]]
    told = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert told == states[-1] and told["complete"] is False and len(told["parts"]) == 2
    table = pandas.read_parquet(tmp_path / "samples.parquet")
    assert table["part"].unique().tolist() == names[:2] and len(table) == 24
    assert f"missing, are in {tmp_path}/results.json and {tmp_path}/samples.parquet" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["results.json", "samples.parquet"]


def test_files_of_an_earlier_run_stay_until_a_part_is_done(asked, tmp_path, monkeypatch, capsys):
    samples.write(tmp_path, {"model": "another", "complete": True}, asked[1])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(suite_run, "Model", lambda *_, **__: None)
    monkeypatch.setattr(samples, "ask", interrupted)
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "nim", "--out", tmp_path) == 130
    assert f"not finished; nothing was written; {tmp_path}/results.json is of an earlier" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_part_that_could_not_be_written_is_not_said_to_be(asked, tmp_path, monkeypatch, capsys):
    result, answers = asked

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(suite_run, "Model", lambda *_, **__: None)
    monkeypatch.setattr(samples, "ask", lambda *_, **__: (result, answers))
    monkeypatch.setattr(samples, "write", full)
    assert run(monkeypatch, "eval", "--model", BASE, "--suite", "nim", "--out", tmp_path) == 2
    assert "not finished; nothing was written\n" in capsys.readouterr().err


@pytest.mark.all
@pytest.mark.slow
def test_ctrl_c_in_a_real_run_keeps_the_parts_that_are_done(tmp_path):
    command = [*NANO, "eval", "--model", BASE, "--suite", "logic", "--bare", "--questions", "64", "--batch", "8"]
    process = subprocess.Popen(
        [*command, "--out", str(tmp_path)], cwd=ROOT, stderr=subprocess.PIPE, encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a job in the background ignores it
    )  # fmt: skip
    try:
        while process.poll() is None and not _told(tmp_path).get("parts"):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
    finally:
        process.kill()
    told = _told(tmp_path)
    assert process.returncode == 130 and "Traceback" not in error and "not finished" in error
    assert told["parts"][0]["questions"] == 64 and told["missing"] and not told["complete"]
    again = samples.regrade(tmp_path / "samples.parquet")
    assert (len(again.table), again.differ) == (64 * len(told["parts"]), 0)


def _told(folder):
    path = folder / "results.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


@pytest.mark.slow
def test_the_command(tmp_path):
    more = ("--bare", "--questions", 2, "--max-new-tokens", 32, "--out", tmp_path)
    done = nano("eval", "--model", BASE, "--suite", "logic", *more, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    told = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert told["complete"] is True and told["missing"] == [] and len(told["parts"]) == 4
    assert "josephus" in done.stdout and "2 × 1" in done.stdout
    again = nano("regrade", tmp_path / "samples.parquet")
    assert again.returncode == 0 and "0 of 8 samples get another grade" in again.stdout
    refused(nano("eval", "--suite", "logic"), "--model")
    refused(nano("eval", "--model", BASE, "--suite", "nope"), "no suite 'nope'")
    refused(nano("eval", "--model", tmp_path, "--suite", "nim"), "has no config.json")
