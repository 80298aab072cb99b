"""scripts/attack/mutate_ledger.py: each kind of change, four times, is noticed by the audit and its file named."""

from collections import Counter

import mutate_ledger as mutate


def test_every_change_is_noticed_and_its_file_named():
    outcomes = mutate.campaign(seed=20261121, count=4 * len(mutate.KINDS))
    assert Counter(outcome.kind for outcome in outcomes) == dict.fromkeys(mutate.KINDS, 4)
    assert [outcome for outcome in outcomes if not (outcome.noticed and outcome.named)] == []
    assert len({name for outcome in outcomes for name in outcome.files}) > 30


def test_the_files_that_say_whom_to_believe_are_among_those_changed(tmp_path):
    """A narrower window, a new key or a comment would pass for a maintainer's edit, if git did not remember."""
    repository = tmp_path / "repository"
    mutate.copy_repository(repository)
    names = mutate.targets(repository)
    assert "records/allowed_signers" in names and "submissions/lean/train.py" in names and "baseline/train.py" in names
    path = repository / "records" / "allowed_signers"
    text = path.read_text(encoding="utf-8")
    for changed in (text.replace("20261120191500Z", "20261120191400Z"), f"# hello\n{text}", f"{text}\n", ""):
        path.write_text(changed, encoding="utf-8")
        assert mutate.examine(repository, ("records/allowed_signers",)) == (True, True)
        path.write_text(text, encoding="utf-8")
    (repository / "records" / "revoked_keys").write_text("# nobody\n", encoding="utf-8")
    assert mutate.examine(repository, ("records/revoked_keys",)) == (True, True)
