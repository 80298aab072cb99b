"""`nano-r1 audit` and `nano-r1 leaderboard` where there is no ledger; on one: test_cli_ledger and tests/audit."""

from importlib.metadata import version

from nano import nano, refused


def test_audit_and_leaderboard_want_a_ledger(tmp_path):
    refused(nano("audit", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("leaderboard", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("reproduce", tmp_path), "record.json")


def test_a_misspelt_name_gets_the_right_one(tmp_path):
    (tmp_path / "records" / "2026-11-21_cpu-logic_trim").mkdir(parents=True)
    for arguments, words in (
        (["tasks", "show", "nimm"], "did you mean nim?"),
        (["tasks", "validate", "Nim"], "did you mean nim?"),
        (["tracks", "plan", "gpu-logik"], "did you mean gpu-logic"),
        (["eval", "--suite", "logik", "--model", tmp_path], "did you mean logic?"),
        (["train", "submissions/no-wast"], "did you mean no-waste?"),
        (["reproduce", tmp_path / "records" / "2026-11-21_cpu-logic_trin"], "did you mean 2026-11-21_cpu-logic_trim?"),
    ):
        done = nano(*arguments)
        refused(done, words)
        assert len(done.stderr) < 250


def test_the_version():
    assert nano("--version").stdout == f"nano-r1 {version('nano-r1')}\n"
