"""`nano-r1 audit` and `nano-r1 leaderboard` where there is no ledger; on one: test_cli_ledger and tests/audit."""

from nano import nano, refused


def test_audit_and_leaderboard_want_a_ledger(tmp_path):
    refused(nano("audit", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("leaderboard", "--ledger", tmp_path / "none"), "not a folder")
    refused(nano("reproduce", tmp_path), "record.json")
