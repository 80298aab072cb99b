"""Reproduction: the prediction interval by hand, and what is refused before anything is run."""

import json
import threading

import pytest

from harness.ledger import record
from harness.tracks.track import ROOT
from harness.verify.executor import VerifyError
from harness.verify.reproduce import Comparison, compare, reproduce

RECORDS = sorted((ROOT / "records").glob("*/record.json"))


def test_the_prediction_interval_by_hand():
    # Five runs, mean 3, s = 1.5811; t(0.995, 4) = 4.6041; one new run: 4.6041 · 1.5811 · sqrt(1/5 + 1) = 7.9746
    comparison = compare("x", [1.0, 2.0, 3.0, 4.0, 5.0], [10.9])
    assert (comparison.recorded, comparison.measured) == (3.0, 10.9)
    assert (comparison.low, comparison.high) == pytest.approx((3 - 7.9746, 3 + 7.9746), abs=1e-3)
    assert comparison.agrees
    assert not compare("x", [1.0, 2.0, 3.0, 4.0, 5.0], [11.0]).agrees
    # More new runs, a narrower interval: sqrt(1/5 + 1/5).
    assert compare("x", [1.0, 2.0, 3.0, 4.0, 5.0], [8.0] * 5).high == pytest.approx(3 + 4.6041, abs=1e-3)


def test_a_quantity_without_spread_must_be_equal():
    assert compare("queries", [20480.0] * 5, [20480.0]).agrees
    assert not compare("queries", [20480.0] * 5, [20481.0]).agrees
    assert Comparison("q", 1, 1, 1, 1).agrees


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(track_digest="0" * 64), "the record is of another cpu-"),
        (lambda p: p["submission"].update(tree_sha256="0" * 64), "not what was recorded"),
        (lambda p: p.update(runs=p["runs"][:1]), "one run"),
    ],
)
def test_another_problem_is_refused_before_it_is_run(change, message, tmp_path):
    value = json.loads(RECORDS[-1].read_bytes())
    change(value["predicate"])
    item = record.Record.model_validate_json(json.dumps(value))
    with pytest.raises(VerifyError, match=message):
        reproduce(item, runs=1, state=tmp_path, reporter=None, cancel=threading.Event())
