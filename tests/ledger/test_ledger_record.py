"""The record's bytes: one form, integers only, and no second reading of the same file."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.ledger import record as records
from harness.ledger.record import Record, RecordError
from harness.tracks.track import ROOT

H = "0123456789abcdef" * 4
INTERVAL = {"low": 900_000, "mean": 910_000, "high": 920_000}
SAMPLE: dict[str, Any] = {
    "_type": "https://in-toto.io/Statement/v1",
    "subject": [{"name": "submissions/no-kl", "digest": {"sha256": H}}],
    "predicateType": "urn:nano-r1:record:v1",
    "predicate": {
        "track": "cpu-logic@1",
        "track_digest": H,
        "submission": {
            "name": "no-kl", "path": "submissions/no-kl", "tree_sha256": H, "title": "GRPO without KL",
            "change": "the KL term is gone – and é stays é", "contributors": ["Ada"],
        },
        "commitment": {"entry": "20261120t181530-ab12cd", "commitment_sha256": H, "root_hex": H, "nonce_hex": H},
        "created_utc": "2026-11-20T18:15:30Z",
        "signer": "alice",
        "isolation": "full",
        "isolation_checks": {"network": True},
        "machine": {
            "cpu": "a CPU", "cores": 2, "memory_bytes": 2**33, "kernel": "6.1", "python": "3.11.2",
            "packages": {"torch": "2.13.0"},
        },
        "runs": [{
            "run": 0, "seed": 7, "started_utc": "2026-11-20T18:00:00Z", "wall_ms": 120_000, "cpu_ms": 200_000,
            "peak_memory_bytes": 10**9, "prompts": 1600, "reward_queries": 12_800, "sampled_tokens": 400_000,
            "weights_sha256": H, "evaluate_ms": 20_000,
            "tasks": {"nim": {"questions": 1024, "correct": 1000, "formatted": 1020, "truncated": 0, "tokens": 9}},
        }],
        "reference": {"tree_sha256": H, "wall_ms": [130_000]},
        "verdict": {
            "gates": {"mean": {"gate_ppm": 900_000, "accuracy_ppm": INTERVAL, "sigma_ppm": 4000, "p_ppb": None}},
            "relative_cost_ppm": INTERVAL, "standing": None, "standing_p_ppb": None,
            "valid": True, "record": False, "reasons": ["one run supports no test"],
        },
        "files": {"train.log": H},
    },
}  # fmt: skip


def canonical(value: Any) -> bytes:
    return (json.dumps(value, sort_keys=True, indent=1) + "\n").encode()


def changed(path: str, value: Any) -> bytes:
    """The sample's bytes with one field set (or, for a value of ..., removed)."""
    plain = copy.deepcopy(SAMPLE)
    *parents, last = path.split("/")
    place = plain
    for part in parents:
        place = place[int(part)] if isinstance(place, list) else place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return canonical(plain)


def test_a_record_has_exactly_one_byte_form() -> None:
    data = canonical(SAMPLE)
    record = records.load(data)
    assert records.dump(record) == data
    assert record.predicate.submission.change == "the KL term is gone – and é stays é"
    assert data.isascii()
    for other in (
        data[:-1],
        data + b"\n",
        json.dumps(SAMPLE, sort_keys=True).encode(),
        (json.dumps(SAMPLE, indent=1) + "\n").encode(),
        (json.dumps(SAMPLE, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode(),
        data.decode().encode("utf-16"),
        b"\xef\xbb\xbf" + data,
    ):
        with pytest.raises(RecordError):
            records.load(other)


def test_where_a_recipe_comes_from_is_kept_and_older_records_keep_their_bytes() -> None:
    for path in sorted((ROOT / "records").glob("*/record.json")):
        data = path.read_bytes()
        assert records.dump(records.load(data)) == data
    plain = copy.deepcopy(SAMPLE)
    origin = {
        "based_on": "2026-11-21_cpu-logic_trim_3",
        "source": "arXiv:2402.03300v2",
        "techniques": ["no-kl", "muon"],
    }
    plain["predicate"]["submission"] |= origin
    record = records.load(canonical(plain))
    assert records.dump(record) == canonical(plain)
    assert record.predicate.submission.model_dump(include={*origin}) == origin


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("predicate/runs/0/wall_ms", 1.5, "not an integer"),
        ("predicate/runs/0/wall_ms", 120_000.0, "not an integer"),
        ("predicate/runs/0/wall_ms", float("nan"), "not an integer"),
        ("predicate/runs/0/wall_ms", float("inf"), "not an integer"),
        ("predicate/runs/0/wall_ms", -1, "predicate.runs.0.wall_ms"),
        ("predicate/runs/0/wall_ms", 2**53 + 1, "predicate.runs.0.wall_ms"),
        ("predicate/runs/0/wall_ms", "120000", "predicate.runs.0.wall_ms"),
        ("predicate/runs/0/wall_ms", True, "predicate.runs.0.wall_ms"),
        ("predicate/runs/0/wall_ms", None, "predicate.runs.0.wall_ms"),
        ("predicate/runs/0/wall_ms", ..., "predicate.runs.0.wall_ms"),
        ("predicate/verdict/valid", 1, "predicate.verdict.valid"),
        ("predicate/isolation", "some", "predicate.isolation"),
        ("predicate/track_digest", H.upper(), "predicate.track_digest"),
        ("predicate/track_digest", H + "\n", "predicate.track_digest"),
        ("predicate/created_utc", "2026-11-20 18:15:30", "predicate.created_utc"),
        ("predicate/submission/name", "../up", "predicate.submission.name"),
        ("predicate/submission/title", "two\nlines", "predicate.submission.title"),
        ("predicate/submission/title", "\x1b[31m", "predicate.submission.title"),
        ("predicate/submission/based_on", "../up", "predicate.submission.based_on"),
        ("predicate/submission/based_on", None, "not in canonical form"),  # absent, never null
        ("predicate/submission/source", "javascript:x", "predicate.submission.source"),
        ("predicate/submission/source", "https://x.example/a)(b", "predicate.submission.source"),
        ("predicate/submission/techniques", ["Muon"], "predicate.submission.techniques"),
        ("predicate/extra", 1, "predicate.extra"),
        ("_type", "https://in-toto.io/Statement/v2", "_type"),
        ("predicateType", "urn:other", "predicateType"),
    ],
)
def test_each_wrong_value_is_refused_by_name(path: str, value: Any, where: str) -> None:
    with pytest.raises(RecordError, match=where):
        records.load(changed(path, value))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"a": 1, "a": 1}', "duplicate key"),
        (b'{"a": {"b": 1, "b": 2}}', "duplicate key"),
        (b"1e3", "not an integer"),
        (b"-0.0", "not an integer"),
        (b"[NaN]", "not an integer"),
        (b"[-Infinity]", "not an integer"),
        (b"[" * 100_000, "not JSON"),
        (b"9" * 10_000, "not JSON"),
        (b"\xff", "not JSON"),
        (b"", "not JSON"),
        (b"{} {}", "not JSON"),
    ],
)
def test_json_that_readers_could_disagree_about_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(RecordError, match=reason):
        records.strict_json(data)


@given(st.data())
def test_no_two_files_are_the_same_record(data: st.DataObject) -> None:
    whole = canonical(SAMPLE)
    position = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.one_of(st.sampled_from(b' 0159\n"{}[],.-aA\\'), st.integers(0, 255)))
    other = whole[:position] + bytes([byte]) + whole[position + 1 :]
    try:
        record: Record | None = records.load(other)
    except RecordError:
        record = None
    if record is not None and other != whole:
        assert record != records.load(whole)  # a changed byte is a changed record, never a second spelling


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=30,
)


@settings(max_examples=60)
@given(PLAIN)
def test_strict_json_agrees_with_json_and_load_is_total(value: Any) -> None:
    data = canonical(value)
    assert records.strict_json(data) == value
    with pytest.raises(RecordError):
        records.load(data)


@given(PLAIN)
def test_the_writer_writes_what_json_writes(value: Any) -> None:
    assert records.canonical_json(value) + "\n" == canonical(value).decode()


def test_the_writer_refuses_what_has_no_place_in_a_record() -> None:
    with pytest.raises(TypeError, match="float has no place"):
        records.canonical_json({"a": [1.5]})


# ---------------------------------------------------------------- GPUs

USE = {
    "devices": 2, "gpu_ms": 240_000, "release_ms": 3, "readings": 600, "peak_memory_bytes": 7 * 10**10,
    "utilisation_ppm": 870_000, "energy_millijoules": 150_000_000, "energy_by": "counter", "sm_clock_mhz": 1755,
    "memory_clock_mhz": None,
}  # fmt: skip
GPUS = {
    "driver": "580.95.05", "nvml": None, "cuda": "13.0", "libraries": {"nvidia-nccl-cu13": "2.28.9"},
    "devices": [{
        "model": "NVIDIA H100 80GB HBM3", "uuid_sha256": H, "memory_bytes": 85_520_809_984, "max_sm_clock_mhz": 1980,
        "max_memory_clock_mhz": 2619, "power_limit_milliwatts": 700_000, "ecc": True, "mig": False, "persistence": None,
    }],
}  # fmt: skip


def test_what_a_run_took_of_gpus_is_in_the_record_or_left_out() -> None:
    bare = records.load(canonical(SAMPLE))
    assert bare.predicate.machine.gpu is None and bare.predicate.runs[0].gpu is None
    plain = copy.deepcopy(SAMPLE)
    plain["predicate"]["machine"]["gpu"], plain["predicate"]["runs"][0]["gpu"] = GPUS, USE
    record = records.load(canonical(plain))
    assert records.dump(record) == canonical(plain)
    assert record.predicate.runs[0].gpu is not None and record.predicate.runs[0].gpu.memory_clock_mhz is None
    for path, value, where in (
        ("predicate/machine/gpu", None, "not in canonical form"),  # one way only to say that there is none
        ("predicate/runs/0/gpu", None, "not in canonical form"),
        ("predicate/runs/0/gpu", {**USE, "gpu_ms": 240_001}, "gpu_ms is not wall_ms times gpu.devices"),
        ("predicate/runs/0/gpu", {**USE, "energy_by": "guess"}, "energy_by"),
        ("predicate/runs/0/gpu", {**USE, "energy_millijoules": 1.5}, "not an integer"),
        ("predicate/machine/gpu", {**GPUS, "driver": "a\nb"}, "driver"),
    ):
        with pytest.raises(RecordError, match=where):
            records.load(changed(path, value))
