"""What a plan starts from: the numbers of plan.toml, and the shapes of models."""

from __future__ import annotations

import json
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError

from harness.errors import NanoR1Error, first_problem
from harness.tracks.schema import Part, Positive, Track

FILE = Path(__file__).with_name("plan.toml")

Share = Annotated[float, Field(gt=0, le=1)]


class PlanError(NanoR1Error):
    """The track cannot be planned, or the plan does not fit; the message says by how much and what to change."""


class Assumed(Part):
    training_mfu: Share
    decode_mbu: Share
    decode_mfu: Share
    decode_step_seconds: Annotated[float, Field(ge=0)]
    grade_seconds: Annotated[float, Field(ge=0)]
    grade_token_seconds: Annotated[float, Field(ge=0)]
    overhead: Annotated[float, Field(ge=1)]
    usable_memory: Share


class Chip(Part):
    fp32_flops: Positive
    bf16_flops: Positive
    bandwidth_bytes: Positive


class Shape(Part):
    """A decoder-only transformer with gated MLPs and grouped-query attention: Llama, Qwen2, Qwen3."""

    layers: Positive
    width: Positive
    heads: Positive
    kv_heads: Positive
    head_width: Positive
    intermediate: Positive
    vocabulary: Positive
    tied: bool
    qkv_bias: bool = False
    qk_norm: bool = False

    @property
    def block(self) -> int:
        """Weights of one layer's matrices."""
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        return self.width * (2 * q + 2 * kv) + 3 * self.width * self.intermediate

    @property
    def embedding(self) -> int:
        return self.vocabulary * self.width

    @property
    def parameters(self) -> int:
        """All weights; tied embeddings once."""
        small = 2 * self.width
        small += (self.heads + 2 * self.kv_heads) * self.head_width if self.qkv_bias else 0
        small += 2 * self.head_width if self.qk_norm else 0
        return self.layers * (self.block + small) + self.width + self.embedding * (1 if self.tied else 2)

    @property
    def multiplied(self) -> int:
        """Weights that every token is multiplied with: the look-up in the embedding is none, the head is."""
        return self.layers * self.block + self.embedding

    @property
    def kv_values(self) -> int:
        """Numbers that one token leaves in the KV cache."""
        return 2 * self.layers * self.kv_heads * self.head_width


class Recipe(Part):
    """See harness/planning/plan.toml."""

    start_seconds: Positive
    steps: Positive
    prompts: Positive
    group: Positive
    prompt_tokens: Positive
    completion_tokens: Positive
    shards: Positive
    micro_tokens: Positive
    chunk_tokens: Positive
    checkpointing: bool
    vllm_memory: Share | None = None
    concurrent: Positive
    bytes_per_weight: Positive
    measured_mfu: Share | None = None

    @property
    def completions(self) -> int:
        """A step's, over all GPUs."""
        return self.prompts * self.group

    def training_mfu(self, assumed: Assumed) -> float:
        return self.measured_mfu or assumed.training_mfu


class Declared(Part):
    assumed: Assumed
    chips: dict[str, Chip]
    shapes: dict[str, Shape]
    recipes: dict[str, Recipe]


@cache
def declared() -> Declared:
    """The numbers of harness/planning/plan.toml. Raises PlanError."""
    try:
        return Declared.model_validate(tomllib.loads(FILE.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise PlanError(f"{FILE}: {first_problem(error)}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{FILE}: {error}") from None


def shape_of(config: object) -> Shape:
    """The shape that a config.json of a Llama, Qwen2 or Qwen3 describes. Raises PlanError."""
    if not isinstance(config, dict):
        raise PlanError("config.json is no JSON object")
    kind = config.get("model_type")
    if kind not in ("llama", "qwen2", "qwen3"):
        raise PlanError(f"config.json: model_type is {kind!r}, and only llama, qwen2 and qwen3 can be planned")
    try:
        return Shape.model_validate(
            {
                "layers": config["num_hidden_layers"],
                "width": config["hidden_size"],
                "heads": config["num_attention_heads"],
                "kv_heads": config["num_key_value_heads"],
                "head_width": config.get("head_dim")
                or int(str(config["hidden_size"])) // int(str(config["num_attention_heads"])),
                "intermediate": config["intermediate_size"],
                "vocabulary": config["vocab_size"],
                "tied": config["tie_word_embeddings"],
                "qkv_bias": kind == "qwen2",
                "qk_norm": kind == "qwen3",
            }
        )
    except (KeyError, ValueError, ZeroDivisionError) as error:
        raise PlanError(f"config.json is not that of a {kind}: {str(error).partition(chr(10))[0]}") from None


def base_shape(track: Track) -> Shape:
    """From the base model's config.json where it lies here, else as plan.toml has it; they must agree."""
    path, listed = track.base_folder / "config.json", declared().shapes.get(track.base.source)
    try:
        shape = shape_of(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
    except ValueError as error:
        raise PlanError(f"{path}: {error}") from None
    if shape is not None and listed is not None and shape != listed:
        raise PlanError(f"{path} describes another model than {FILE} does for {track.base.source}: correct the latter")
    shape = shape or listed
    if shape is None:
        raise PlanError(f"{FILE} has no shape for {track.base.source}, and it was not fetched: add one, or fetch it")
    return shape
