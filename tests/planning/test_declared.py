"""Shapes against published counts and real models; refusals of what plan.toml may not say."""

import json

import pytest
import torch
from plan_examples import TRACK
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from harness.planning import declared as module
from harness.planning.declared import PlanError, base_shape, declared, shape_of
from harness.planning.plan import plan
from harness.tracks.track import load, names

GPU = [name for name in names() if load(name).hardware.kind == "gpu"]


@pytest.mark.parametrize(
    ("repo", "parameters"),
    [  # as the Hub counts them, or half the bytes that the index of the shards says
        ("Qwen/Qwen2.5-1.5B-Instruct", 1_543_714_304),
        ("Qwen/Qwen2.5-1.5B", 1_543_714_304),
        ("Qwen/Qwen2.5-3B-Instruct", 3_085_938_688),
        ("Qwen/Qwen2.5-7B", 7_615_616_512),
        ("Qwen/Qwen3-0.6B", 596_049_920),
        ("HuggingFaceTB/SmolLM2-360M-Instruct", 361_821_120),
    ],
)
def test_a_shape_has_as_many_weights_as_the_model_that_was_published(repo, parameters):
    assert declared().shapes[repo].parameters == parameters


def test_the_shape_of_a_base_that_lies_here_is_read_from_it():
    track = load("gpu-logic")
    shape = base_shape(track)
    assert shape.parameters == 899_200
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(track.base_folder))
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("kind", [LlamaConfig, Qwen2Config, Qwen3Config])
@pytest.mark.parametrize("tied", [True, False])
def test_weights_are_counted_as_transformers_makes_them(kind, tied):
    config = kind(
        num_hidden_layers=3, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=80,
        vocab_size=97, tie_word_embeddings=tied,
        head_dim=16 if kind is Qwen2Config else 24,  # the heads of Qwen2 always share the width
    )  # fmt: skip
    shape = shape_of(json.loads(config.to_json_string(use_diff=False)))
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    assert shape.parameters == sum(parameter.numel() for parameter in model.parameters())


def test_another_architecture_is_refused():
    with pytest.raises(PlanError, match="model_type is 'gpt2'"):
        shape_of({"model_type": "gpt2"})
    with pytest.raises(PlanError, match="not that of a llama: 'num_hidden_layers'"):
        shape_of({"model_type": "llama"})
    with pytest.raises(PlanError, match="is no JSON object"):
        shape_of([])
    sizes = {"num_hidden_layers": 1, "hidden_size": 8, "num_attention_heads": 0, "num_key_value_heads": 1}
    with pytest.raises(PlanError, match="not that of a llama: "):
        shape_of({"model_type": "llama", **sizes})


def test_a_fetched_base_must_have_the_shape_that_is_written_down(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert base_shape(TRACK).layers == 28  # not fetched: from plan.toml
    TRACK.base_folder.mkdir(parents=True)
    written = {
        "model_type": "qwen2", "num_hidden_layers": 28, "hidden_size": 1536, "num_attention_heads": 12,
        "num_key_value_heads": 2, "intermediate_size": 8960, "vocab_size": 151_936, "tie_word_embeddings": True,
    }  # fmt: skip
    (TRACK.base_folder / "config.json").write_text(json.dumps(written), encoding="utf-8")
    assert base_shape(TRACK) == declared().shapes["Qwen/Qwen2.5-1.5B-Instruct"]
    (TRACK.base_folder / "config.json").write_text(json.dumps({**written, "num_hidden_layers": 27}), encoding="utf-8")
    with pytest.raises(PlanError, match="describes another model"):
        base_shape(TRACK)
    (TRACK.base_folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(PlanError, match=r"config\.json"):
        base_shape(TRACK)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("training_mfu = 0.20", "training_mfu = 20", "assumed.training_mfu"),
        ("overhead = 1.25", "overhead = 0.5", "assumed.overhead"),
        ("layers = 28", "layers = 0", "layers"),
        ("group = 8", "group = -8", "group"),
        ("steps = 40", "steps = 40\nsteps_too = 1", "steps_too"),
        ("[assumed]", "[assumed", "plan.toml"),
    ],
)
def test_a_wrong_number_in_plan_toml_is_refused(tmp_path, monkeypatch, old, new, message):
    text = module.FILE.read_text(encoding="utf-8")
    assert old in text
    (tmp_path / "plan.toml").write_text(text.replace(old, new, 1), encoding="utf-8")
    monkeypatch.setattr(module, "FILE", tmp_path / "plan.toml")
    declared.cache_clear()
    try:
        with pytest.raises(PlanError, match=message):
            plan(TRACK)
    finally:
        declared.cache_clear()


def test_every_recipe_and_shape_belongs_to_a_track():
    assert set(declared().recipes) == set(GPU)
    assert set(declared().shapes) == {load(name).base.source for name in GPU if load(name).base.folder is None}
