"""Audit a ledger offline: trust nothing that can be recomputed.

Each check yields findings that name the file. No GPU, no network, no torch: signatures, the Merkle tree
and its history in git, submission trees, track digests, questions regenerated from the revealed root,
every stored completion graded again, statistics and verdict recomputed, the board rendered again.

It reads the log once, from its beginning, and keeps of a record only what later ones are compared with: ten
thousand records take a thousand times as long as ten, and no more memory.
"""

from __future__ import annotations

import json
import lzma
import random
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from harness import doctor, evaluate, judge, submission
from harness.environment import Grader
from harness.keys import commitment, derive, seed_of
from harness.ledger import record
from harness.ledger.history import Git, GitError, history
from harness.ledger.log import Fault, Finding, Ledger, LedgerError, State, check, read_file
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

MAX_EVIDENCE_BYTES = 1 << 30  # of one decompressed file: a bomb is a finding, not a crash
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, lzma.LZMAError)  # what bad evidence may raise


def audit(
    ledger: Ledger,
    board: Path | None,
    repository: Path = ROOT,
    *,
    sample: int | None = None,
    kept: bytes | None = None,
) -> Iterator[Finding]:
    """Every finding, good and bad, in order.

    `repository` holds the submissions that the records name. `board` None: no leaderboard to compare. `sample`: grade
    the completions of so many records again, drawn afresh each time, and not of all; everything else is checked
    of all. `kept`: a checkpoint that somebody kept, which today's log must go on from.
    """
    try:
        entries = ledger.entries()
    except LedgerError:
        yield from check(ledger.folder)  # which says why
        return
    homes = [entry.home for entry in entries if entry.home != "log"]
    graded = None if sample is None else set(random.SystemRandom().sample(homes, min(sample, len(homes))))
    if graded is not None:
        names = ", ".join(sorted(graded)) or "none"
        yield Finding("sample", "index", True, f"{len(graded)} of {len(homes)} records are graded again: {names}")
    examination = Examination(ledger.folder, repository, graded)
    yield from check(ledger.folder, examination)
    yield from examination.replaced()
    yield from history(ledger.folder, entries, kept)
    if board is not None:
        yield from _board(ledger, board)


class Examination:
    """All that each record claims, recomputed, one record after the other in the order of the log.

    Called by `check` with each sound record. What several records share (a track, its grader, a submission's tree)
    is read once, and the records that ever stood are kept for those that were judged against them.
    """

    def __init__(self, folder: Path, repository: Path, graded: Set[str] | None) -> None:
        self._folder, self._repository, self._graded = folder, repository, graded
        self._tracks: dict[str, Track | tracks.TrackError] = {}
        self._graders: dict[str, Grader] = {}
        self._sources: dict[str, submission.Submission | submission.SubmissionError] = {}
        self._stood: dict[str, judge.Standing] = {}
        self._other: list[tuple[str, str, str, str]] = []  # of another digest than today's: record, check, file, found
        self._state: State | None = None

    def __call__(self, home: str, item: record.Record, state: State) -> Iterator[Finding]:
        self._state = state
        yield from self._source(home, item)
        yield from _keys(home, item)
        yield from _isolation(home, item)
        yield from _curves(self._folder, home, item)
        track = self._track(home, item)
        if isinstance(track, Finding):
            yield track
        elif track is not None:
            yield Finding("track digest", f"{home}/record.json", True, f"{track.id} is {track.digest[:12]}")
            yield from self._completions(home, item, track)
            yield from self._verdict(home, item, track, state)
        if state.records[home].stood:
            self._stood[home] = judge.standing_from(item, home)

    def replaced(self) -> Iterator[Finding]:
        """After the last entry: may the records of another digest than today's be so?

        Their questions and grader are gone with the track, so nothing can be graded; that they are no longer
        shown as results must be said by an entry of the log.
        """
        for home, check, file, found in self._other:
            assert self._state is not None
            change = self._state.records[home].change
            if change is not None and change.status == "superseded":
                message = f"{found}; grading was not repeated: log/{change.id}.json says superseded under {change.rule}"
                yield Finding(check, file, True, message)
            else:
                yield Finding(check, file, False, found)
                if check == "submission tree":
                    yield from _changed(self._repository, file)

    def _source(self, home: str, item: record.Record) -> Iterator[Finding]:
        """The code that ran is the code in the repository."""
        said = item.predicate.submission
        if said.path not in self._sources:
            try:
                self._sources[said.path] = submission.load(self._repository / said.path)
            except submission.SubmissionError as error:
                self._sources[said.path] = error
        source = self._sources[said.path]
        if isinstance(source, submission.SubmissionError):
            yield Finding("submission tree", said.path, False, str(source))
            yield from _changed(self._repository, said.path)
            return
        same = source.tree_sha256 == said.tree_sha256
        message = f"is {source.tree_sha256[:12]}, the record says {said.tree_sha256[:12]}"
        if not same and said.tree_sha256 == item.predicate.reference.tree_sha256:  # a baseline goes with its track
            self._other.append((home, "submission tree", said.path, message))
            return
        yield Finding("submission tree", said.path, same, message)
        if not same:
            yield from _changed(self._repository, said.path)
        manifest = source.manifest
        same = (manifest.title, manifest.change, manifest.contributors) == (said.title, said.change, said.contributors)
        message = "title, change and contributors are submission.toml's"
        yield Finding("submission manifest", f"{home}/record.json", same, message)

    def _track(self, home: str, item: record.Record) -> Track | Finding | None:
        """The track if this harness has it just so, a finding if it has none of that name, None if it has another."""
        name, said = item.predicate.track.partition("@")[0], item.predicate
        if name not in self._tracks:
            try:
                self._tracks[name] = tracks.load(name)
            except tracks.TrackError as error:
                self._tracks[name] = error
        track = self._tracks[name]
        if isinstance(track, tracks.TrackError):
            return Finding("track digest", f"{home}/record.json", False, str(track))
        if (track.id, track.digest) == (said.track, said.track_digest):
            return track
        found = f"{track.id} is {track.digest[:12]}, the record says {said.track} and {said.track_digest[:12]}"
        self._other.append((home, "track digest", f"{home}/record.json", found))
        return None

    def _completions(self, home: str, item: record.Record, track: Track) -> Iterator[Finding]:
        """Every completion, graded again on questions regenerated from the root."""
        if self._graded is not None and home not in self._graded:
            return
        predicate, file = item.predicate, f"{home}/completions.jsonl.xz"
        root, tree = bytes.fromhex(predicate.commitment.root_hex), predicate.submission.tree_sha256
        try:
            if track.id not in self._graders:
                self._graders[track.id] = Grader(track)
            stored = {line["run"]: line["completions"] for line in evidence_lines(self._folder / file)}
            for run in _every(item):
                samples = evaluate.questions(track, derive(root, "heldout", tree, run.run))
                again = evaluate.tally(track, self._graders[track.id], samples, stored.get(run.run, []))
                right, total = (sum(getattr(r, key) for r in again.values()) for key in ("correct", "questions"))
                message = f"{right}/{total} right; the record says {sum(row.correct for row in run.tasks.values())}"
                yield Finding(f"run {run.run} re-graded", file, again == run.tasks, message)
            yield Finding("completions", file, len(stored) == len(_every(item)), "one set for each run")
        except UNREADABLE as error:
            yield Finding("completions", file, False, f"cannot be graded: {type(error).__name__}: {error}")

    def _verdict(self, home: str, item: record.Record, track: Track, state: State) -> Iterator[Finding]:
        """The verdict is a pure function of the numbers, and of the record that stood."""
        predicate, file = item.predicate, f"{home}/record.json"
        said, incumbent = predicate.verdict.standing, state.records[home].incumbent
        standing = None if said is None else self._stood.get(said)
        if said is not None and (standing is None or state.records[said].track != predicate.track):
            yield Finding("verdict", file, False, f"judged against {said}, which never stood before it")
            return
        if said != incumbent:
            message = f"judged on another branch, against {said}: {incumbent} stood here, so it never stands itself"
            yield Finding("standing", file, True, message)
        try:
            again = judge.judge(
                track, predicate.runs, predicate.reference, predicate.isolation, standing, predicate.control
            )
            message = "statistics and verdict recomputed from the runs"
            yield Finding("verdict", file, again == predicate.verdict, message)
        except judge.JudgeError as error:
            yield Finding("verdict", file, False, f"cannot be recomputed: {error}")
        same = predicate.reference.tree_sha256 == track.baseline.tree_sha256
        yield Finding("reference", file, same, "timed against the track's frozen baseline")


def _every(item: record.Record) -> list[record.Run]:
    """The runs and, with the next number, the control run."""
    return [*item.predicate.runs, *([item.predicate.control] if item.predicate.control else [])]


def _keys(home: str, item: record.Record) -> Iterator[Finding]:
    """Subjects, keys and seeds follow from the digests and the revealed root."""
    predicate, file = item.predicate, f"{home}/record.json"
    root, nonce = bytes.fromhex(predicate.commitment.root_hex), bytes.fromhex(predicate.commitment.nonce_hex)
    tree = predicate.submission.tree_sha256
    opened = commitment(root, nonce) == predicate.commitment.commitment_sha256
    yield Finding("commitment opened", file, opened, "sha256(root ‖ nonce) is the commitment")
    subjects = {s.name: s.digest["sha256"] for s in item.subject}
    wanted = {predicate.submission.name: tree}
    wanted |= {f"run-{run.run}/model.safetensors": run.weights_sha256 for run in _every(item)}
    yield Finding("subjects", file, subjects == wanted, "the subjects are the tree and each run's weights")
    seeds = [(i, seed_of(root, tree, i)) for i in range(len(_every(item)))]
    same = seeds == [(run.run, run.seed) for run in _every(item)]
    yield Finding("seeds", file, same, "each run's seed follows from the root")


def _isolation(home: str, item: record.Record) -> Iterator[Finding]:
    checks, level = item.predicate.isolation_checks, item.predicate.isolation
    yield Finding(
        "isolation", f"{home}/record.json", doctor.proven(checks) == level, f"{level}, with {len(checks)} checks"
    )


def _curves(folder: Path, home: str, item: record.Record) -> Iterator[Finding]:
    """What the harness saw of the training adds up."""
    file = f"{home}/curves.jsonl.xz"
    try:
        counted = {run.run: 0 for run in _every(item)}
        for point in json.loads(b"[%s]" % b",".join(_lines(folder / file))):  # at once: five times as fast
            counted[point["run"]] += point["completions"]
        same = counted == {run.run: run.reward_queries for run in _every(item)}
        yield Finding("curves", file, same, "the curves add up to the reward queries")
    except UNREADABLE as error:
        yield Finding("curves", file, False, f"cannot be read: {type(error).__name__}: {error}")


def _changed(repository: Path, path: str) -> Iterator[Finding]:
    """Which files of a submission's folder are not as committed. Nothing where git does not keep the folder."""
    try:
        with Git(repository) as git:
            committed = git.files("HEAD", path)
            if not committed:
                return
            try:
                present = {f"{path}/{name.as_posix()}" for name in submission.tree_files(repository / path)}
            except submission.SubmissionError:
                present = {name for name in committed if (repository / name).is_file()}
            for name in sorted(committed | present):
                try:
                    data = read_file(repository, name) if name in present else None
                except Fault:
                    data = None
                if name not in committed:
                    yield Finding("submission tree", name, False, "not in the commit")
                elif data != git.read("HEAD", name):
                    yield Finding("submission tree", name, False, "missing" if data is None else "not as committed")
    except GitError:
        return


def evidence_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of an xz file, at most MAX_EVIDENCE_BYTES of them."""
    for line in _lines(path):
        yield json.loads(line)


def _lines(path: Path) -> Iterator[bytes]:
    with lzma.open(path) as file:
        size = 0
        for line in file:
            size += len(line)
            if size > MAX_EVIDENCE_BYTES:
                raise ValueError(f"{path.name} decompresses to more than {MAX_EVIDENCE_BYTES:,} bytes")
            yield line


def _board(ledger: Ledger, board: Path) -> Iterator[Finding]:
    """The pages on disk are what the ledger renders to, byte for byte."""
    from leaderboard.charts import ChartError
    from leaderboard.render import RenderError, front, rendered

    try:
        pages = rendered(ledger.folder)
    except (RenderError, ChartError) as error:
        yield Finding(check="board", file=board.name, ok=False, message=f"cannot be rendered: {error}")
        return
    for name, data in pages.items():
        path = board / name
        same = path.is_file() and path.read_bytes() == data
        message = "as rendered from the ledger" if same else "not what the ledger renders to: run `nano-r1 leaderboard`"
        yield Finding(check="board", file=f"{board.name}/{name}", ok=same, message=message)
    stale = {path.relative_to(board).as_posix() for path in board.glob("curves/*.svg")} - pages.keys()
    for name in sorted(stale):
        yield Finding(check="board", file=f"{board.name}/{name}", ok=False, message="belongs to no record")
    readme = board.parent / "README.md"
    if readme.is_file():
        text = readme.read_text()
        same = front(text, pages["README.md"].decode()) == text
        message = "its table is the board's" if same else "its table is not the board's: run `nano-r1 leaderboard`"
        yield Finding(check="board", file="README.md", ok=same, message=message)
