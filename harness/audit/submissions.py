"""The submission of a record: its folder in the repository, and what git remembers of it."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness import submission
from harness.ledger.errors import CheckResult, FileError
from harness.ledger.git import Git, GitError, NoRepository
from harness.ledger.index import read_file
from harness.ledger.record import Submission as RecordedSubmission
from harness.submission import Submission, SubmissionError
from harness.tracks.schema import Baseline

# What a record repeats of its submission's manifest.
_COPIED = ("title", "change", "contributors", "based_on", "source", "techniques")


@dataclass(frozen=True)
class Memory:
    """The submission of a digest that git remembers, if it does; and whether its absence is a failure."""

    submission: Submission | None
    ok: bool
    message: str


class SubmissionAudit:
    """Checks the submissions of records one at a time; each folder is read once."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self._present: dict[str, Submission | SubmissionError] = {}
        self._memories: dict[tuple[str, str], Memory] = {}

    def check(
        self, folder: str, track_id: str, recorded: RecordedSubmission, new_baseline: Baseline | None = None
    ) -> Iterator[CheckResult]:
        """The folder in the repository has the recorded digest, and its submission.toml says what the record says.

        folder, track_id, recorded: of the record. new_baseline: that of the version that replaced the record's track.
        It may stand where the recorded one stood; then git must remember that.
        """
        file = f"{folder}/record.json"
        if not re.fullmatch(r"(submissions/)?[a-z0-9][a-z0-9-]{0,63}", recorded.path):
            yield CheckResult("submission tree", file, False, f"{recorded.path!r} is no submission's folder")
            return
        present = self._load(recorded.path)
        source = present if isinstance(present, Submission) else None
        tree = source.tree_sha256 if source else None
        same, message = tree == recorded.tree_sha256, f"is {tree[:12]}" if tree else str(present)
        replaced = new_baseline and (recorded.path, tree) == (new_baseline.folder, new_baseline.tree_sha256)
        if not same and replaced:
            memory = self._remember(recorded.path, recorded.tree_sha256)
            source, same, message = memory.submission, memory.ok, f"{message}, the baseline of today; {memory.message}"
        message = f"{message}, the record says {recorded.tree_sha256[:12]}"
        yield CheckResult("submission tree", recorded.path, same, message)
        if not same:
            yield from _changed_files(self._repository, recorded.path)
        if source is not None:
            manifest = source.manifest
            same = track_id.partition("@")[0] in manifest.every_track and (
                all(getattr(recorded, field) == getattr(manifest, field) for field in _COPIED)
            )
            message = f"track, {', '.join(_COPIED)} are submission.toml's"
            yield CheckResult("submission manifest", file, same, message)

    def _load(self, path: str) -> Submission | SubmissionError:
        if path not in self._present:
            try:
                self._present[path] = submission.load(self._repository / path)
            except SubmissionError as error:
                self._present[path] = error
        return self._present[path]

    def _remember(self, path: str, tree: str) -> Memory:
        if (path, tree) not in self._memories:
            self._memories[path, tree] = _search_history(self._repository, path, tree)
        return self._memories[path, tree]


def _search_history(repository: Path, path: str, tree: str) -> Memory:
    """The submission as it was when its tree had this digest.

    Where there is no history to ask, nothing can be compared, and nothing is held against the record.
    """
    try:
        with Git(repository) as git, tempfile.TemporaryDirectory(prefix="nano-r1-audit-") as temporary:
            folder = Path(temporary) / path
            for commit in git.commits(path):
                shutil.rmtree(folder, ignore_errors=True)
                for name in git.files(commit, path):
                    (Path(temporary) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(temporary) / name).write_bytes(git.read(commit, name) or b"")
                try:
                    source = submission.load(folder)
                except SubmissionError:
                    continue
                if source.tree_sha256 == tree:
                    return Memory(source, True, f"in commit {commit[:12]} it was {tree[:12]}")
            if git.shallow or not git.has_commits:
                return Memory(None, True, "no history of it here, so what it was cannot be compared")
            return Memory(None, False, "git remembers no such tree")
    except NoRepository as error:
        return Memory(None, True, f"no history of it here ({error}), so what it was cannot be compared")
    except GitError as error:
        return Memory(None, False, f"git cannot be asked: {error}")


def _changed_files(repository: Path, path: str) -> Iterator[CheckResult]:
    """Which files of a submission's folder are not as committed. Nothing where git does not keep the folder."""
    try:
        with Git(repository) as git:
            committed = git.files("HEAD", path)
            if not committed:
                return
            try:
                present = {f"{path}/{name.as_posix()}" for name in submission.tree_files(repository / path)}
            except SubmissionError:
                present = {name for name in committed if (repository / name).is_file()}
            for name in sorted(committed | present):
                try:
                    data = read_file(repository, name) if name in present else None
                except FileError:
                    data = None
                if name not in committed:
                    yield CheckResult("submission tree", name, False, "not in the commit")
                elif data != git.read("HEAD", name):
                    message = "missing" if data is None else "not as committed"
                    yield CheckResult("submission tree", name, False, message)
    except GitError:
        return
