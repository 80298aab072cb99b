"""A new submission is a copy of the baseline, under a name that a record can have."""

from typing import Annotated

import pytest
from pydantic import StringConstraints

from harness.ledger import record
from harness.submission import SubmissionError
from harness.tracks.track import load
from harness.verify.new_submission import copy_baseline


def test_the_rule_for_names_stands_in_one_place(tmp_path, monkeypatch):
    monkeypatch.setattr(record, "Name", Annotated[str, StringConstraints(pattern="^only-this$")])
    with pytest.raises(SubmissionError):
        copy_baseline(load("cpu-logic"), "mine", tmp_path / "submissions")
    assert not (tmp_path / "submissions").exists()
    copy_baseline(load("cpu-logic"), "only-this", tmp_path / "submissions")
    assert (tmp_path / "submissions" / "only-this" / "train.py").is_file()
