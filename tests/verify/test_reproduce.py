"""Reproduction: the prediction interval by hand, and what is refused before anything is run."""

import json
import re
import threading

import pytest
from git_repository import git

from harness.cli.verify import _show_comparisons
from harness.isolation.load import Share
from harness.ledger import record
from harness.tracks.track import ROOT
from harness.verify.executor import VerifyError
from harness.verify.journal import RunResult
from harness.verify.reproduce import Comparison, _doubt, compare, reproduce
from harness.verify.schedule import Participant

RECORDS = sorted((ROOT / "records").glob("*/record.json"))
TRIM = ROOT / "records" / "2026-11-21_cpu-logic_trim_3" / "record.json"


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


def participants(own=(1.9, 0.0), reference=(1.9, 0.0)):
    """The baseline and the record's submission, each with a run that (used, others took) so much of its two cores."""
    made = []
    for number, (name, (used, others)) in enumerate((("baseline", reference), ("trim", own))):
        result = RunResult(
            wall_ms=1, run=None, completions=[], curve=[], log=b"", failure=None, share=Share(2, used, others)
        )
        made.append(Participant(number, name, "0" * 64, number == 1, {0: result}))
    return made


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({}, ""),
        ({"own": (1.1, 0.9)}, "trim run 1 was made on 1.1 of 2 cores, while other programs took 0.9 of them"),
        ({"reference": (1.4, 0.6)}, "baseline run 1 was made on 1.4 of 2 cores, while other programs took 0.6 of them"),
        ({"own": (1.0, 0.0)}, "trim run 1 was made on 1.0 of 2 cores, and the record's runs on 1.9"),  # a quota
        ({"own": (1.8, 0.1)}, ""),
    ],
)
def test_a_run_that_did_not_get_its_cores_is_a_doubt_and_no_dispute(shares, words):
    made, predicate = participants(**shares), record.load(TRIM.read_bytes()).predicate
    assert _doubt(made, made[1], predicate) == words
    cost = Comparison("relative cost", 0.43, 0.41, 0.46, 0.79, _doubt(made, made[1], predicate))
    assert not cost.agrees and cost.differs == (not words)
    assert Comparison("relative cost", 0.43, 0.41, 0.46, 0.44, words).agrees


def test_the_table_says_cannot_tell_and_writes_counts_as_counts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    rows = [
        Comparison("mean accuracy", 0.87, 0.84, 0.9, 0.5),
        Comparison("relative cost", 0.4351, 0.41, 0.46, 0.7878, "trim run 1 was made on 1.1 of 2 cores"),
        Comparison("reward queries", 10240.0, 10240.0, 10240.0, 10240.0),
    ]
    _show_comparisons(rows)
    shown = capsys.readouterr().out
    words = {line.split()[0]: line for line in shown.splitlines() if line.strip()}
    assert words["mean"].rstrip().endswith("differs") and "cannot tell" in words["relative"]
    assert "10,240 – 10,240" in words["reward"] and "10240" not in shown and ".0000" not in shown
    assert "cannot tell on this machine whether the relative cost agrees: trim run 1 was made on 1.1 of 2" in shown


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="git knows which commit added a record")
def test_an_old_record_is_named_with_its_version_and_its_commit(tmp_path):
    old = next(path for path in RECORDS if json.loads(path.read_bytes())["predicate"]["track"] == "cpu-logic@1")
    with pytest.raises(VerifyError, match=r"the record is of cpu-logic@1, and this is cpu-logic@") as caught:
        reproduce(record.load(old.read_bytes()), runs=1, state=tmp_path, reporter=None, cancel=threading.Event())
    commit = re.search(r"run `git checkout (\w{12})`, the commit that added it, then reproduce", str(caught.value))[1]
    name = old.relative_to(ROOT).as_posix()
    assert git(ROOT, "ls-tree", "--name-only", commit, name) and not git(ROOT, "ls-tree", f"{commit}^", name)
    assert 'name = "cpu-logic"\nversion = 1\n' in git(ROOT, "show", f"{commit}:harness/tracks/cpu-logic.toml")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: p.update(track_digest="0" * 64), r"the record is of cpu-[a-z@0-9]+ 0{12}, and this is"),
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
