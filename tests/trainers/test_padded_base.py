"""A base whose output head has more rows than its tokenizer has tokens, as Qwen2.5's: ids there are no token.

Here the padding is likelier than the most likely tokens, so whoever samples or decodes without a mask meets it at once.
"""

import hashlib
import json
import lzma
import re
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import sessions
import tiny
import torch
from gpu_ranks import BASE, CPU, train
from gpu_runs import small_copy, verify
from needs import needs_sandbox
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM
from wire import serve

from harness.client import EnvironmentRefused, connect
from harness.engines import transformers
from harness.evaluation.gated import questions
from harness.tracks import rules
from harness.tracks.track import load

TOKENS, ROWS = 360, 384  # the base's, and the padded head's
QUESTIONS = [[3, 10, 20, 30, 4]] * 3 + [[3, 40, 4]] * 3


def make_base(folder):
    """The base of cpu-logic, its embedding padded with rows that win against the tokens that it likes."""
    shutil.copytree(BASE, folder)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": ROWS}), encoding="utf-8")
    tensors = load_file(folder / "model.safetensors")
    embedding = tensors["model.embed_tokens.weight"]
    often = rules.grader(load("cpu-logic")).text_ids("0123456789+-*()=<think></think><answer>")[: ROWS - TOKENS]
    padding = 1.5 * embedding[torch.tensor(often + often)[: ROWS - TOKENS]]
    tensors["model.embed_tokens.weight"] = torch.cat([embedding, padding])
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "model.safetensors").chmod(0o644)  # the sandbox's user reads it
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return make_base(tmp_path_factory.mktemp("padded") / "base")


@pytest.fixture
def track(base):
    real = load("cpu-logic")
    return real.model_copy(update={"base": real.base.model_copy(update={"folder": str(base)})})


def test_held_out_answers_with_padding_are_wrong_and_not_an_error(track, base):
    """The engine decodes greedily, without a mask; training, evaluation and audit grade with one grader."""
    grader = rules.grader(track)
    items = questions(track, b"k" * 32)[::512]
    prompts = [grader.prompt_ids(item) for item in items]
    weights = (base / "model.safetensors").read_bytes()
    answers = transformers.generate(base, weights, prompts, end_id=grader.end_id, max_new_tokens=32, batch=16)
    padded = [i for i, ids in enumerate(answers) if max(ids) >= TOKENS]
    assert padded
    graded = grader.grade_all(items, answers)
    assert not any(graded[i].score.correct or graded[i].score.formatted for i in padded)
    ended = grader.grade(items[0], [TOKENS, ROWS - 1, grader.end_id])
    assert not ended.score.correct and not ended.score.formatted and not ended.truncated


@pytest.fixture
def run(track, monkeypatch):
    with tempfile.TemporaryDirectory(prefix="nr1-") as place:  # short, as the path of a socket has to be
        socket = Path(place) / "s"
        with serve(track, socket, base=track.base_folder, output=Path(place)):
            monkeypatch.setenv("NANO_R1_SOCKET", str(socket))
            yield connect()


def test_a_completion_with_padding_is_graded_wrong_and_the_others_as_they_are(run):
    (prompt,) = run.prompts(1)
    scores = run.score([(prompt.id, [TOKENS, run.end_token_id]), (prompt.id, [ROWS - 1]), (prompt.id, [5])])
    assert not any(score.correct or score.formatted for score in scores)


def test_what_no_model_of_the_track_can_sample_is_refused(run):
    (prompt,) = run.prompts(1)
    for wrong in (ROWS, -1, 10**9):
        with pytest.raises(EnvironmentRefused, match="no token id"):
            run.score([(prompt.id, [wrong, run.end_token_id])])


def test_the_baseline_samples_no_padding(base):
    policy_model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    policy = train.make_policy(policy_model, TOKENS, train.Recipe(1, 2, 4, 1, 24, 1e-3), CPU, shard=False)
    run = SimpleNamespace(base=base, end_token_id=1)
    torch.manual_seed(0)
    drawn = {}
    for tokens in (TOKENS, ROWS):
        sampler = train.PlainSampler(run, 24, tokens, 1, CPU)
        sampler.load(train.full_weights(policy))
        drawn[tokens] = sampler.sample(QUESTIONS)
    assert max(max(ids) for ids, _ in drawn[ROWS]) >= TOKENS  # without the mask it would
    assert max(max(ids) for ids, _ in drawn[TOKENS]) < TOKENS
    assert train.check_agreement(policy, QUESTIONS, drawn[TOKENS], CPU) < 1e-3


@pytest.fixture
def readable():
    """A folder that the sandbox's user may enter; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="nr1-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@needs_sandbox
@pytest.mark.slow
@pytest.mark.all  # its parts are tested above
def test_a_padded_base_is_trained_evaluated_and_audited(tmp_path, readable):
    """The baseline in the real verifier and its sandbox; the held-out answers of its model hold padding."""
    tiny.build_place(tmp_path, 0.1)
    base = make_base(readable / "base")
    path = tmp_path / "harness" / "tracks" / "cpu-logic.toml"
    text, count = re.subn(r'^folder = "harness/models/logic-base"$', f'folder = "{base}"', read(path), flags=re.M)
    assert count == 1
    for name in ("config.json", "model.safetensors"):
        digest = hashlib.sha256((base / name).read_bytes()).hexdigest()
        text, count = re.subn(rf'^"{name}" = "\w+"$', f'"{name}" = "{digest}"', text, flags=re.M)
        assert count == 1
    path.write_text(text, encoding="utf-8")
    small_copy(tmp_path, "padded", LOGIC="Recipe(1, 2, 4, 1, 24, 4e-4)")
    predicate, log = verify(tmp_path, "padded")
    assert log.count("step 1/1") == 2, log  # the run and the control run
    assert all((run.prompts, run.reward_queries) == (2, 8) for run in (predicate.runs[0], predicate.control))

    (evidence,) = (tmp_path / "records").glob("*/completions.jsonl.xz")
    answers = [json.loads(line)["completions"] for line in lzma.decompress(evidence.read_bytes()).splitlines()]
    assert any(token >= TOKENS for completions in answers for ids in completions for token in ids)
    code, said = sessions.command(tmp_path, "audit", "--ledger", tmp_path / "records", "--json")
    findings = json.loads(said)
    assert "run 1 re-graded" in {finding["check"] for finding in findings}, code
    elsewhere = {"board", "submission tree"}  # of this repository, which has neither this record nor its submission
    assert {finding["check"] for finding in findings if not finding["ok"]} <= elsewhere


def read(path):
    return path.read_text(encoding="utf-8")
