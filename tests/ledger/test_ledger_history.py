"""The log in real git repositories: two branches that each add a record, and pasts that somebody rewrote."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from test_ledger_log import FILES, HOME, NOON, abandonment, against, commitment, list_signers, record

from harness.ledger import signature
from harness.ledger.history import Git, GitError, NoRepository, history
from harness.ledger.log import Finding, Ledger, LedgerError, StatusChange, check, make_checkpoint
from harness.ledger.signature import LOG_NAMESPACE, sign

Keys = dict[str, signature.Key]
Run = Callable[..., str]


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("alice", "bob"):
        signature.generate(folder / name, name)
    return {name: signature.load_key(folder / name) for name in ("alice", "bob")}


@pytest.fixture
def git(tmp_path: Path) -> Run:
    (tmp_path / "repository").mkdir()

    def run(*arguments: str, fails: bool = False) -> str:
        command = ["git", "-C", str(tmp_path / "repository"), "-c", "user.name=t", "-c", "user.email=t@example.org"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True)
        assert (done.returncode != 0) is fails, done.stderr
        return done.stdout

    run("init", "-q", "-b", "main")
    return run


@pytest.fixture
def folder(tmp_path: Path, git: Run, keys: Keys) -> Path:
    """Alice and Bob are listed. On main a session is announced, and committed."""
    folder = tmp_path / "repository" / "records"
    list_signers(folder, keys["alice"], keys["bob"])
    (folder.parent / ".gitignore").write_text("records/.lock\nrecords/.next*\n")
    Ledger(folder).commit(commitment(), keys["alice"])
    commit(git, "announced")
    return folder


def commit(git: Run, message: str) -> None:
    git("add", "-A")
    git("commit", "-qm", message)


def announced(ledger: Ledger, entry: str, key: signature.Key, name: str, standing: str | None = None) -> Path:
    """A session of one submission, answered by a record."""
    ledger.commit(commitment(entry, key.identity, [name]), key)
    claim = record().predicate.commitment.model_dump() | {"entry": entry}
    other = {"commitment": claim, "signer": key.identity, "verdict": against(standing)}
    return ledger.add_record(record(name, **other), FILES, key)


@pytest.fixture
def forked(git: Run, folder: Path, keys: Keys) -> Path:
    """Alice's record on main, Bob's on a branch: each judged against nothing, for nothing stood at the fork."""
    git("checkout", "-qb", "theirs")
    announced(Ledger(folder), "bobs", keys["bob"], "no-kl")
    commit(git, "bob's record")
    Ledger(folder).abandon(abandonment("given-up", "first", "no-kl", "alice"), keys["alice"])
    commit(git, "and a word of alice's on it")
    git("checkout", "-q", "main")
    announced(Ledger(folder), "alices", keys["alice"], "baseline")
    commit(git, "alice's record")
    return folder


def found(folder: Path, kept: bytes | None = None) -> list[Finding]:
    return list(history(folder, Ledger(folder).entries(), kept))


def wrong(folder: Path, kept: bytes | None = None) -> list[tuple[str, str]]:
    bad = [finding for finding in [*check(folder), *found(folder, kept)] if not finding.ok]
    return [(finding.check, finding.file) for finding in bad]


def merge_ledgers(git: Run, folder: Path, key: signature.Key, theirs: str = "theirs") -> list[str]:
    """As docs/ledger.md says."""
    git("merge", "--no-ff", "--no-commit", theirs, fails=True)  # index, checkpoint and checkpoint.sig conflict
    git("checkout", "HEAD", "--", "records")
    with Git(folder) as reader:
        return Ledger(folder).merge(reader.reader(reader.commit("MERGE_HEAD")), key)


# ------------------------------------------------------------------ a merge


def test_a_merge_keeps_all_entries_of_both_sides(git: Run, forked: Path, keys: Keys) -> None:
    ours = [entry.path for entry in Ledger(forked).entries()]
    added = merge_ledgers(git, forked, keys["alice"])
    bobs = "2026-11-20_cpu-logic_no-kl/record.json"
    assert added == ["log/bobs.json", bobs, "log/given-up.json"]
    assert [entry.path for entry in Ledger(forked).entries()] == [*ours, *added]
    commit(git, "merged")
    assert wrong(forked) == []
    assert "2 of merged branches" in next(f.message for f in found(forked) if f.check == "history")
    # Bob's was not tested against Alice's, which now stands before it: it is a result, but it does not stand.
    state = Ledger(forked).state()
    assert state.standing("cpu-logic@1") == HOME
    assert not state.records["2026-11-20_cpu-logic_no-kl"].stood
    with Git(forked) as reader:  # once more: nothing is left to append
        assert Ledger(forked).merge(reader.reader(reader.commit("theirs")), keys["alice"]) == []


def test_a_branch_goes_on_after_a_merge_and_is_merged_again(git: Run, forked: Path, keys: Keys) -> None:
    merge_ledgers(git, forked, keys["alice"])
    commit(git, "merged")
    git("checkout", "-q", "theirs")
    Ledger(forked).commit(commitment("more", "bob"), keys["bob"])
    commit(git, "bob goes on")
    git("checkout", "-q", "main")
    assert merge_ledgers(git, forked, keys["alice"]) == ["log/more.json"]
    commit(git, "merged again")
    assert wrong(forked) == []


def test_without_a_git_merge_the_files_are_brought_too(git: Run, forked: Path, keys: Keys) -> None:
    with Git(forked) as reader:
        Ledger(forked).merge(reader.reader(reader.commit("theirs")), keys["alice"])
    assert wrong(forked) == []
    assert (forked / "2026-11-20_cpu-logic_no-kl" / "train.log").read_bytes() == FILES["train.log"]


def test_two_records_of_one_name_on_one_day_both_stay(git: Run, folder: Path, keys: Keys) -> None:
    git("checkout", "-qb", "theirs")
    announced(Ledger(folder), "bobs", keys["bob"], "baseline")
    commit(git, "bob's")
    git("checkout", "-q", "main")
    announced(Ledger(folder), "alices", keys["alice"], "baseline")
    commit(git, "alice's")
    assert merge_ledgers(git, folder, keys["alice"]) == ["log/bobs.json", f"{HOME}_2/record.json"]
    commit(git, "merged")
    assert wrong(folder) == []
    assert {item.folder: item.known.signer for item in Ledger(folder).records()} == {HOME: "alice", f"{HOME}_2": "bob"}
    # What their branch goes on to say of "their" folder would be read as of ours.
    git("checkout", "-q", "theirs")
    doubt = StatusChange(
        id="doubt", created_utc="2026-11-20T19:00:00Z", signer="bob", record=HOME, status="disputed", rule="R13",
        reason="?",
    )  # fmt: skip
    Ledger(folder).set_status(doubt, keys["bob"])
    commit(git, "bob doubts")
    git("checkout", "-q", "main")
    with Git(folder) as reader, pytest.raises(LedgerError, match=f"speaks of {HOME}, which is another record here"):
        Ledger(folder).merge(reader.reader(reader.commit("theirs")), keys["alice"])
    assert wrong(folder) == []


def test_what_cannot_be_merged_changes_nothing(git: Run, forked: Path, keys: Keys, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in forked.rglob("*") if path.is_file()}
    Ledger(tmp_path / "other").commit(commitment("strange"), keys["alice"])
    with pytest.raises(LedgerError, match="not copies of one"):
        Ledger(forked).merge(lambda name: (tmp_path / "other" / name).read_bytes(), keys["alice"])
    with Git(forked) as reader:
        theirs = reader.reader(reader.commit("theirs"))

        def changed(name: str) -> bytes:
            return theirs(name) if not name.endswith("train.log") else b"other bytes"

        with pytest.raises(LedgerError, match=r"train\.log"):
            Ledger(forked).merge(changed, keys["alice"])
        with pytest.raises(GitError, match="no commit 'nowhere'"):
            reader.commit("nowhere")
        with pytest.raises(LedgerError, match="missing in commit"):
            reader.reader(reader.commit("main"))("nothing")
    assert {path: path.read_bytes() for path in forked.rglob("*") if path.is_file()} == before
    # Both sides closed the same submission: a person must decide which of the two it was.
    Ledger(forked).abandon(abandonment("mine", "first", "no-kl"), keys["alice"])
    with Git(forked) as reader, pytest.raises(LedgerError, match=r"given-up.* closed already"):
        Ledger(forked).merge(reader.reader(reader.commit("theirs")), keys["alice"])


# ------------------------------------------------------------------ what a merge, or anything else, must not lose


def rewrite(folder: Path, key: signature.Key, keep: Callable[[str], bool], reverse: bool = False) -> None:
    """Sign a log of some of today's entries, and remove the files of the others: what a forger with a key would do."""
    entries = [entry for entry in Ledger(folder).entries() if keep(entry.path)]
    for entry in Ledger(folder).entries():
        if not keep(entry.path):
            place = folder / entry.home if entry.home != "log" else folder / entry.path
            shutil.rmtree(place) if place.is_dir() else [Path(f"{place}{end}").unlink() for end in ("", ".sig")]
    entries = entries[::-1] if reverse else entries
    checkpoint = make_checkpoint(entries)
    (folder / "index").write_text("".join(f"{entry.line}\n" for entry in entries))
    (folder / "checkpoint").write_bytes(checkpoint)
    (folder / "checkpoint.sig").write_bytes(sign(key, LOG_NAMESPACE, checkpoint))


def test_an_entry_that_a_merge_dropped_is_found(git: Run, forked: Path, keys: Keys) -> None:
    merge_ledgers(git, forked, keys["alice"])
    rewrite(forked, keys["alice"], lambda path: path != "log/given-up.json")
    commit(git, "merged, but for one")
    assert [finding for finding in check(forked) if not finding.ok] == []  # the folder alone looks sound
    (bad,) = [finding for finding in found(forked) if not finding.ok]
    assert bad.check == "history" and bad.message.startswith("lost: log/given-up.json")


def test_entries_that_a_merge_reordered_are_found(git: Run, folder: Path, keys: Keys) -> None:
    git("checkout", "-qb", "theirs")
    for name in ("x", "y"):
        Ledger(folder).commit(commitment(name, "bob"), keys["bob"])
    commit(git, "bob's")
    git("checkout", "-q", "main")
    Ledger(folder).commit(commitment("mine"), keys["alice"])
    commit(git, "alice's")
    merge_ledgers(git, folder, keys["alice"])
    rewrite(folder, keys["alice"], lambda path: True, reverse=True)
    lines = Ledger(folder).entries()
    ordered = [lines[3], lines[2], lines[0], lines[1]]  # first, mine, y, x
    assert [entry.path for entry in ordered] == ["log/first.json", "log/mine.json", "log/y.json", "log/x.json"]
    checkpoint = make_checkpoint(ordered)
    (folder / "index").write_text("".join(f"{entry.line}\n" for entry in ordered))
    (folder / "checkpoint").write_bytes(checkpoint)
    (folder / "checkpoint.sig").write_bytes(sign(keys["alice"], LOG_NAMESPACE, checkpoint))
    commit(git, "merged, in another order")
    assert [finding.message.partition(":")[0] for finding in found(folder) if not finding.ok] == ["reordered"]


def test_on_the_first_parent_line_a_log_may_only_grow(git: Run, forked: Path, keys: Keys) -> None:
    """The same entries with theirs first: every entry is there, but main's own past is no prefix any more."""
    merge_ledgers(git, forked, keys["alice"])
    entries = Ledger(forked).entries()
    ordered = [entries[0], *entries[3:], *entries[1:3]]
    checkpoint = make_checkpoint(ordered)
    (forked / "index").write_text("".join(f"{entry.line}\n" for entry in ordered))
    (forked / "checkpoint").write_bytes(checkpoint)
    (forked / "checkpoint.sig").write_bytes(sign(keys["alice"], LOG_NAMESPACE, checkpoint))
    commit(git, "merged the wrong way round")
    bad = [finding.message for finding in found(forked) if not finding.ok]
    assert len(bad) == 1 and bad[0].startswith("rewritten")


def test_a_log_cut_short_by_force_is_found_by_who_kept_a_checkpoint(git: Run, forked: Path, keys: Keys) -> None:
    kept = (forked / "checkpoint").read_bytes()
    assert wrong(forked, kept) == []
    git("reset", "-q", "--hard", "HEAD~1")
    Ledger(forked).commit(commitment("instead"), keys["alice"])
    commit(git, "as if nothing had been")
    assert wrong(forked) == []  # git itself remembers nothing of it
    assert wrong(forked, kept) == [("kept checkpoint", "index")]
    assert wrong(forked, b"garbage") == [("kept checkpoint", "checkpoint")]


def test_a_kept_checkpoint_of_a_merged_branch_is_known_by_its_history(git: Run, forked: Path, keys: Keys) -> None:
    git("checkout", "-q", "theirs")
    kept = (forked / "checkpoint").read_bytes()
    git("checkout", "-q", "main")
    assert wrong(forked, kept) == [("kept checkpoint", "index")]
    merge_ledgers(git, forked, keys["alice"])
    commit(git, "merged")
    assert wrong(forked, kept) == []


# ------------------------------------------------------------------ whom to believe


def test_allowed_signers_may_only_grow_and_windows_only_narrow(git: Run, folder: Path, keys: Keys) -> None:
    path = folder / "allowed_signers"
    text = path.read_text()
    narrower = text.replace("20261121120000Z", "20261120230000Z", 1)
    extra = signature.allowed_line(keys["bob"].public, "carol", NOON, NOON + timedelta(hours=1))
    for changed, good in [
        (narrower, True),
        (f"{narrower}# carol joins\n{extra}\n", True),
        (text, False),  # the window is wide again
        (f"{narrower}# carol leaves\n", False),
        (narrower.splitlines()[0] + f"\n{extra}\n", False),  # without bob's line
        (f"{narrower}{extra}\n", True),  # a comment is nobody
        (f"{narrower}{extra}\n".replace("carol", "karol"), False),
    ]:
        path.write_text(changed)
        assert wrong(folder)[-1:] == [("trust", "allowed_signers")]  # not committed yet
        commit(git, "who may sign")
        assert (("trust", "allowed_signers") not in wrong(folder)) is good, changed


def test_a_key_is_revoked_for_good(git: Run, folder: Path, keys: Keys) -> None:
    path = folder / "revoked_keys"
    path.write_text(f"{keys['bob'].public}\n")
    assert wrong(folder) == [("trust", "revoked_keys")]
    commit(git, "revoked")
    assert wrong(folder) == []
    path.unlink()
    commit(git, "pardoned")
    assert wrong(folder) == [("trust", "revoked_keys")]


# ------------------------------------------------------------------ where there is no history to ask


def test_without_git_or_commits_there_is_nothing_to_compare(git: Run, folder: Path, tmp_path: Path, keys: Keys) -> None:
    shutil.copytree(folder, tmp_path / "plain")
    (only,) = found(tmp_path / "plain")
    assert only.ok and only.message.startswith("no history to compare")
    with pytest.raises(NoRepository):
        Git(tmp_path / "plain")
    shutil.rmtree(folder.parent / ".git")
    git("init", "-q")
    assert wrong(folder) == []  # a repository without a commit
    (folder.parent / "other").mkdir()
    commit(git, "all of it")
    Ledger(folder.parent / "other").commit(commitment(), keys["alice"])
    assert wrong(folder.parent / "other") == []  # a ledger that this repository does not keep


def test_a_repository_that_git_refuses_is_not_passed_over(folder: Path) -> None:
    (folder.parent / ".git" / "config").write_text("[core\n")
    (bad,) = [finding for finding in found(folder) if not finding.ok]
    assert "git cannot be asked" in bad.message


def test_one_process_reads_all_commits(git: Run, folder: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        Ledger(folder).commit(commitment(f"s{number}"), keys["alice"])
        commit(git, f"session {number}")
    started: list[list[str]] = []
    real = subprocess.Popen.__init__

    def counting(self: subprocess.Popen[bytes], command: list[str], *rest: object, **options: object) -> None:
        started.append(command)
        real(self, command, *rest, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(subprocess.Popen, "__init__", counting)
    assert "13 checkpoints" in found(folder)[0].message
    assert len(started) < 10
