"""What `nano-r1 verify` and `nano-r1 reproduce` refuse before anything is run."""

from pathlib import Path

import pytest
from nano import nano, refused

from harness.cli.verify import _show_verdict
from harness.ledger import record
from harness.tracks.track import ROOT
from harness.verify.close import BoardComparison


def test_a_broken_submission_is_named(tmp_path, key):
    folder = tmp_path / "mine"
    refused(nano("verify", folder, "--key", key), "not a folder")
    folder.mkdir()
    (folder / "submission.toml").write_text('name = "mine"', encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "no train.py")
    (folder / "train.py").write_text("", encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "submission.toml", "track")
    (folder / "submission.toml").write_text("name = [broken", encoding="utf-8")
    refused(nano("verify", folder, "--key", key), "submission.toml", "not TOML")
    (folder / "submission.toml").write_text(
        'name = "other"\ntrack = "cpu-logic"\ntitle = "t"\nchange = "c"\ncontributors = ["a"]\n', encoding="utf-8"
    )
    refused(nano("verify", folder, "--key", key), "'other'", "'mine'")
    assert not (tmp_path / "records").exists()


def test_a_missing_or_open_key_is_refused(tmp_path, key):
    refused(nano("verify", "baseline", "--key", tmp_path / "none"), "none", "keygen")
    key.chmod(0o644)
    refused(nano("verify", "baseline", "--key", key), str(key))


@pytest.mark.parametrize("stranger", [Path("/dev/null"), Path("/etc/passwd")])
def test_odd_paths_do_not_trace(stranger, key):
    refused(nano("verify", stranger, "--key", key), str(stranger))


def test_resume_wants_a_session_that_is_kept_and_no_submissions(key, tmp_path):
    refused(nano("verify", "--resume", "20261121t010203-abcdef", "--key", key), "no session is kept", "kept: none")
    refused(nano("verify", "baseline", "--resume", "20261121t010203-abcdef", "--key", key), "not both")
    refused(nano("verify", "--key", key), "name the submissions")
    assert sorted(path.name for path in (tmp_path / "state" / "nano-r1").iterdir()) == ["lock"]


def verdict_shown(capsys, monkeypatch, runs=None, record_it_says=True, best=None):
    """What is printed of the standing record's verdict, as of one run or of all, at 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    path = ROOT / "records" / "2026-11-21_cpu-logic_trim_3" / "record.json"
    verdict = record.load(path.read_bytes()).predicate.verdict
    gates = {
        name: test.model_copy(update={"p_ppb": None}) if runs == 1 else test for name, test in verdict.gates.items()
    }
    cost = record.Interval(low=1_097_000, mean=1_097_000, high=1_097_000) if runs == 1 else verdict.relative_cost_ppm
    changes = {"gates": gates, "relative_cost_ppm": cost, "record": record_it_says, "standing_p_ppb": None}
    _show_verdict("mine", verdict.model_copy(update=changes), best)
    return capsys.readouterr().out


def test_one_run_has_no_interval(capsys, monkeypatch):
    shown = verdict_shown(capsys, monkeypatch, runs=1)
    assert "wall time over the baseline's 1.097 (one run, so no interval)" in shown and "1.097 – " not in shown
    assert "0.434 (0.408–0.463)" in verdict_shown(capsys, monkeypatch)


def test_a_first_record_of_ones_own_ledger_meets_the_boards(capsys, monkeypatch):
    cost = record.Interval(low=408_000, mean=434_000, high=463_000)
    shown = verdict_shown(capsys, monkeypatch, best=BoardComparison("trim", cost, 960_000_000, False))
    assert "the board's record: trim 0.434 (0.408–0.463); yours would not beat it (p = 0.96)" in shown
    assert "RECORD" not in shown and "valid, no record" in shown
    shown = verdict_shown(capsys, monkeypatch, best=BoardComparison("trim", cost, 1_000_000, True))
    assert "yours would beat it (p = 0.001)" in shown and shown.rstrip().endswith("RECORD")
