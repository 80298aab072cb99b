"""Audit a ledger offline: trust nothing that can be recomputed.

Each check yields findings that name the file. No GPU, no network, no torch: signatures, the Merkle tree
and its history in git, submission trees, track digests, questions regenerated from the revealed root,
every stored completion graded again, statistics and verdict recomputed, the board rendered again.

It reads the log once, from its beginning, and keeps of a record only what later ones are compared with: ten
thousand records take a thousand times as long as ten, and little more memory. What follows from a record alone is
recomputed on all cores.
"""

from __future__ import annotations

import json
import lzma
import os
import random
import re
import shutil
import signal
import tempfile
from collections import deque
from collections.abc import Iterator, Set
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType
from typing import Any

from harness import evaluate, judge, submission
from harness.environment import Grader
from harness.evaluation import reported
from harness.isolation import doctor, gpu
from harness.keys import commitment, derive, seed_of
from harness.ledger import record
from harness.ledger.history import Git, GitError, NoRepository, history
from harness.ledger.log import Fault, Finding, Ledger, LedgerError, State, check, read_file
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

MAX_EVIDENCE_BYTES = 1 << 30  # of one decompressed file: a bomb is a finding, not a crash
UNREADABLE = (OSError, EOFError, ValueError, LookupError, TypeError, lzma.LZMAError)  # what bad evidence may raise

GRADING = 500  # to grade a record's completions takes as long as to recompute the rest of so many records
ALONE = 900  # records' worth of work that are done before other processes have started
BATCH, WINDOW = 16, 32  # records that a process is given at once, and such batches under way


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
    graded = set(homes if sample is None else random.SystemRandom().sample(homes, min(sample, len(homes))))
    if sample is not None:
        names = ", ".join(sorted(graded)) or "none"
        yield Finding("sample", "index", True, f"{len(graded)} of {len(homes)} records are graded again: {names}")
    work = len(homes) + GRADING * len(graded)
    processes = len(os.sched_getaffinity(0)) if work > ALONE else 1
    with Examination(ledger.folder, repository, graded, processes) as examination:
        yield from check(ledger.folder, examination)
        yield from examination.rest()
    yield from history(ledger.folder, entries, kept)
    if board is not None:
        yield from _board(ledger, board)


# ---------------------------------------------------------------- all records, in the order of the log


@dataclass(frozen=True)
class Job:
    """A record, and what the log says of it that the record alone does not."""

    home: str
    item: record.Record
    opponent: judge.Standing | None  # the record that it names as the standing one, if that ever stood before it
    incumbent: str | None  # the record that stood
    today: bool  # its track is just what this harness has: the questions and the grader are those that it met
    graded: bool  # grade its completions again


class Examination:
    """What `check` calls with each sound record: it puts that into context, and has it recomputed."""

    def __init__(self, folder: Path, repository: Path, graded: Set[str], processes: int) -> None:
        self._graded, self._examiner = graded, Examiner(folder, repository)
        self._stood: dict[tuple[str, str], judge.Standing] = {}  # (track id, folder) of each that ever stood
        self._other: list[tuple[str, str, record.Submission, str]] = []  # (folder, track id, …) of another digest
        self._state: State | None = None
        self._batch: list[Job] = []
        self._under_way: deque[Future[list[Finding]]] = deque()
        self._pool = None
        if processes > 1:
            # Not forked: what the process that audits has loaded may have threads.
            self._pool = ProcessPoolExecutor(
                processes, mp_context=get_context("spawn"), initializer=_begin, initargs=(folder, repository)
            )

    def __enter__(self) -> Examination:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def __call__(self, home: str, item: record.Record, state: State) -> Iterator[Finding]:
        self._state = state
        said, known = item.predicate, state.records[home]
        found = self._examiner.other_track(said)
        if found is not None:
            self._other.append((home, said.track, said.submission, found))
        opponent = self._stood.get((said.track, said.verdict.standing or ""))
        job = Job(home, item, opponent, known.incumbent, found is None, home in self._graded)
        if known.stood:
            self._stood[said.track, home] = judge.standing_from(item, home)
        if self._pool is None:
            yield from self._examiner.examine(job)
            return
        self._batch.append(job)
        if len(self._batch) == BATCH or job.graded:
            self._hand_out()
        if len(self._under_way) > WINDOW:
            yield from self._under_way.popleft().result()

    def rest(self) -> Iterator[Finding]:
        """After the last entry: what is still under way, and whether records of another track may be so."""
        self._hand_out()
        while self._under_way:
            yield from self._under_way.popleft().result()
        for home, track_id, said, found in self._other:
            assert self._state is not None
            change = self._state.records[home].change
            if change is not None and change.status in ("superseded", "withdrawn"):  # no result any more
                entry = f"log/{change.id}.json says {change.status} under {change.rule}"
                message = f"{found}. Grading was not repeated, since the track moved on: {entry}"
                yield Finding("track digest", f"{home}/record.json", True, message)
                yield from self._examiner.source(home, track_id, said, self._examiner.track(track_id))
            else:
                yield Finding("track digest", f"{home}/record.json", False, found)
                yield from self._examiner.source(home, track_id, said)

    def _hand_out(self) -> None:
        if self._batch and self._pool is not None:
            self._under_way.append(self._pool.submit(_examine, self._batch))
            self._batch = []


_examiner: Examiner  # of this process, where it is one that `Examination` started


def _begin(folder: Path, repository: Path) -> None:
    global _examiner
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that hands out
    _examiner = Examiner(folder, repository)


def _examine(jobs: list[Job]) -> list[Finding]:
    return [finding for job in jobs for finding in _examiner.examine(job)]


# ---------------------------------------------------------------- one record


class Examiner:
    """All that a record claims, recomputed. What several records share (a track, a grader, a folder) is read once."""

    def __init__(self, folder: Path, repository: Path) -> None:
        self._folder, self._repository = folder, repository
        self._tracks: dict[str, Track | tracks.TrackError] = {}
        self._graders: dict[str, Grader] = {}
        self._sources: dict[str, submission.Submission | submission.SubmissionError] = {}
        self._remembered: dict[tuple[str, str], tuple[submission.Submission | None, bool, str]] = {}

    def examine(self, job: Job) -> Iterator[Finding]:
        item, home = job.item, job.home
        yield from _keys(home, item)
        yield from _isolation(home, item)
        yield from _cluster(home, item)
        yield from _curves(self._folder, home, item)
        yield from _benchmarks(home, item)
        if not job.today:
            return  # another track's questions and grader would say nothing
        track = self.track(item.predicate.track)
        assert isinstance(track, Track)
        yield Finding("track digest", f"{home}/record.json", True, f"{track.id} is {track.digest[:12]}")
        yield from self.source(home, track.id, item.predicate.submission)
        if job.graded:
            yield from self._completions(home, item, track)
        yield from _hardware(home, item, track)
        yield from _asked(home, item, track)
        yield from _verdict(job, track)

    def other_track(self, said: record.Predicate) -> str | None:
        """None if the record's track is just what this harness has; else in what it differs."""
        track = self.track(said.track)
        if isinstance(track, tracks.TrackError):
            return str(track)
        if (track.id, track.digest) == (said.track, said.track_digest):
            return None
        return f"{track.id} is {track.digest[:12]}, the record says {said.track} and {said.track_digest[:12]}"

    def track(self, track_id: str) -> Track | tracks.TrackError:
        """The track of that name as it is today, whatever its version."""
        name = track_id.partition("@")[0]
        if name not in self._tracks:
            try:
                self._tracks[name] = tracks.load(name)
            except tracks.TrackError as error:
                self._tracks[name] = error
        return self._tracks[name]

    def source(
        self, home: str, track_id: str, said: record.Submission, successor: Track | tracks.TrackError | None = None
    ) -> Iterator[Finding]:
        """The code that ran is the code in the repository, and it is for the track.

        `successor`: the track that replaced the record's. Its frozen baseline may stand where the old one stood; then
        git must remember the old one.
        """
        if not re.fullmatch(r"(submissions/)?[a-z0-9][a-z0-9-]{0,63}", said.path):
            yield Finding("submission tree", f"{home}/record.json", False, f"{said.path!r} is no submission's folder")
            return
        if said.path not in self._sources:
            try:
                self._sources[said.path] = submission.load(self._repository / said.path)
            except submission.SubmissionError as error:
                self._sources[said.path] = error
        source: submission.Submission | submission.SubmissionError | None = self._sources[said.path]
        tree = source.tree_sha256 if isinstance(source, submission.Submission) else None
        found, same = (f"is {tree[:12]}" if tree else str(source)), tree == said.tree_sha256
        frozen = successor.baseline if isinstance(successor, Track) else None
        if not same and frozen is not None and (said.path, tree) == (frozen.folder, frozen.tree_sha256):
            key = (said.path, said.tree_sha256)
            if key not in self._remembered:
                self._remembered[key] = _remembered(self._repository, *key)
            source, same, where = self._remembered[key]
            found = f"{found}, the baseline of today; {where}"
        yield Finding("submission tree", said.path, same, f"{found}, the record says {said.tree_sha256[:12]}")
        if not same:
            yield from _changed(self._repository, said.path)
        if isinstance(source, submission.Submission):
            manifest = source.manifest
            wrote = (manifest.title, manifest.change, manifest.contributors)
            same = (said.title, said.change, said.contributors) == wrote
            same = same and track_id.partition("@")[0] in manifest.every_track
            message = "track, title, change and contributors are submission.toml's"
            yield Finding("submission manifest", f"{home}/record.json", same, message)

    def _completions(self, home: str, item: record.Record, track: Track) -> Iterator[Finding]:
        """Every completion, graded again on questions regenerated from the root."""
        predicate, file = item.predicate, f"{home}/completions.jsonl.xz"
        root, tree, runs = bytes.fromhex(predicate.commitment.root_hex), predicate.submission.tree_sha256, _runs(item)
        try:
            if track.id not in self._graders:
                self._graders[track.id] = Grader(track)
            stored = {line["run"]: line["completions"] for line in evidence_lines(self._folder / file)}
            for run in runs:
                samples = evaluate.questions(track, derive(root, "heldout", tree, run.run))
                again = evaluate.tally(track, self._graders[track.id], samples, stored.get(run.run, []))
                right, total = (sum(getattr(r, key) for r in again.values()) for key in ("correct", "questions"))
                message = f"{right}/{total} right; the record says {sum(row.correct for row in run.tasks.values())}"
                yield Finding(f"run {run.run} re-graded", file, again == run.tasks, message)
            yield Finding("completions", file, len(stored) == len(runs), "one set for each run")
        except UNREADABLE as error:
            yield Finding("completions", file, False, f"cannot be graded: {type(error).__name__}: {error}")


def _runs(item: record.Record) -> list[record.Run]:
    """All runs of the evaluated weights; the control run, where there is one, has the last number."""
    return [*item.predicate.runs, *([item.predicate.control] if item.predicate.control else [])]


def _keys(home: str, item: record.Record) -> Iterator[Finding]:
    """Subjects, keys and seeds follow from the digests and the revealed root."""
    predicate, file, runs = item.predicate, f"{home}/record.json", _runs(item)
    root, nonce = bytes.fromhex(predicate.commitment.root_hex), bytes.fromhex(predicate.commitment.nonce_hex)
    tree = predicate.submission.tree_sha256
    opened = commitment(root, nonce) == predicate.commitment.commitment_sha256
    yield Finding("commitment opened", file, opened, "sha256(root ‖ nonce) is the commitment")
    subjects = {s.name: s.digest["sha256"] for s in item.subject}
    wanted = {predicate.submission.name: tree}
    wanted |= {f"run-{run.run}/model.safetensors": run.weights_sha256 for run in runs}
    yield Finding("subjects", file, subjects == wanted, "the subjects are the tree and each run's weights")
    seeds = [(i, seed_of(root, tree, i)) for i in range(len(runs))]
    same = seeds == [(run.run, run.seed) for run in runs]
    yield Finding("seeds", file, same, "each run's seed follows from the root")


def _isolation(home: str, item: record.Record) -> Iterator[Finding]:
    checks, level = item.predicate.isolation_checks, item.predicate.isolation
    yield Finding(
        "isolation", f"{home}/record.json", doctor.proven(checks) == level, f"{level}, with {len(checks)} checks"
    )


def _cluster(home: str, item: record.Record) -> Iterator[Finding]:
    """Of a session on several machines: each run has one, and what a lost one was at was made on another."""
    predicate, said = item.predicate, item.predicate.cluster
    if said is None:
        return
    same = (len(said.runs), len(said.reference)) == (len(_runs(item)), len(predicate.reference.wall_ms))
    lost = [each for each in said.lost if each.submission == predicate.submission.name]
    same = same and all(each.run < len(said.runs) and said.runs[each.run] != each.node for each in lost)
    message = f"made on {len({*said.runs, *said.reference})} machines; {len(said.lost)} lost, their runs made elsewhere"
    yield Finding("cluster", f"{home}/record.json", same, message)


def _hardware(home: str, item: record.Record, track: Track) -> Iterator[Finding]:
    """On a GPU track: made on the GPUs that it asks for, and every run metered on all of them."""
    asked, made_on = track.hardware, item.predicate.machine.gpu
    if asked.kind != "gpu":
        return
    here = [] if made_on is None else made_on.devices
    same = len(here) == asked.gpus and all(
        gpu.fits(asked.gpu, asked.gpu_memory_bytes, each.model, each.memory_bytes, each.mig) for each in here
    )
    metered = all(run.gpu is not None and run.gpu.devices == asked.gpus for run in _runs(item))
    message = f"{', '.join(each.model for each in here) or 'no GPU'}; the track is for {asked.gpus} x {asked.gpu}"
    yield Finding("hardware", f"{home}/record.json", same and metered, message)


def _benchmarks(home: str, item: record.Record) -> Iterator[Finding]:
    """Of fixed benchmarks a record keeps counts, neither questions nor completions: what follows from those holds."""
    predicate = item.predicate
    if predicate.benchmarks is None and all(run.benchmarks is None for run in _runs(item)):
        return
    flaw = reported.flaw(predicate)
    message = flaw or "counts, accuracies and intervals of the fixed benchmarks recomputed; completions are not kept"
    yield Finding("benchmarks", f"{home}/record.json", flaw is None, message)


def _asked(home: str, item: record.Record, track: Track) -> Iterator[Finding]:
    """The benchmarks are the track's. One that was pinned since is not missed: pins are no part of a track."""
    asked, left_out = reported.benchmarks(track)
    said = (item.predicate.benchmarks or {}).keys()
    if asked or said:
        message = f"{', '.join(said) or 'none'}; the track reports {', '.join([*asked, *left_out]) or 'none'}"
        yield Finding("benchmarks", f"{home}/record.json", bool(said) and said <= {*asked, *left_out}, message)


def _curves(folder: Path, home: str, item: record.Record) -> Iterator[Finding]:
    """What the harness saw of the training adds up."""
    file, runs = f"{home}/curves.jsonl.xz", _runs(item)
    try:
        counted = {run.run: 0 for run in runs}
        for point in json.loads(b"[%s]" % b",".join(_lines(folder / file))):  # at once: several times as fast
            counted[point["run"]] += point["completions"]
        same = counted == {run.run: run.reward_queries for run in runs}
        yield Finding("curves", file, same, "the curves add up to the reward queries")
    except UNREADABLE as error:
        yield Finding("curves", file, False, f"cannot be read: {type(error).__name__}: {error}")


def _verdict(job: Job, track: Track) -> Iterator[Finding]:
    """The verdict is a pure function of the numbers, and of the record that stood."""
    predicate, file = job.item.predicate, f"{job.home}/record.json"
    said = predicate.verdict.standing
    if said is not None and job.opponent is None:
        yield Finding("verdict", file, False, f"judged against {said}, which never stood before it")
        return
    if said != job.incumbent:
        message = f"judged on another branch, against {said}: {job.incumbent} stood here, so it never stands itself"
        yield Finding("standing", file, True, message)
    try:
        again = judge.judge(
            track, predicate.runs, predicate.reference, predicate.isolation, job.opponent, predicate.control
        )
        message = "statistics and verdict recomputed from the runs"
        yield Finding("verdict", file, again == predicate.verdict, message)
    except judge.JudgeError as error:
        yield Finding("verdict", file, False, f"cannot be recomputed: {error}")
    same = predicate.reference.tree_sha256 == track.baseline.tree_sha256
    yield Finding("reference", file, same, "timed against the track's frozen baseline")


# ---------------------------------------------------------------- a submission's folder, and what git remembers of it


def _remembered(repository: Path, path: str, tree: str) -> tuple[submission.Submission | None, bool, str]:
    """The submission as it was when its tree had this digest, if git remembers it; whether that is well; and a word.

    Where there is no history to ask, nothing can be compared, and nothing is held against the record.
    """
    try:
        with Git(repository) as git, tempfile.TemporaryDirectory(prefix="nano-r1-audit-") as place:
            folder = Path(place) / path
            for commit in git.commits(path):
                shutil.rmtree(folder, ignore_errors=True)
                for name in git.files(commit, path):
                    (Path(place) / name).parent.mkdir(parents=True, exist_ok=True)
                    (Path(place) / name).write_bytes(git.read(commit, name) or b"")
                try:
                    source = submission.load(folder)
                except submission.SubmissionError:
                    continue
                if source.tree_sha256 == tree:
                    return source, True, f"in commit {commit[:12]} it was {tree[:12]}"
            if git.shallow or not git.has_commits:
                return None, True, "no history of it here, so what it was cannot be compared"
            return None, False, "git remembers no such tree"
    except NoRepository as error:
        return None, True, f"no history of it here ({error}), so what it was cannot be compared"
    except GitError as error:
        return None, False, f"git cannot be asked: {error}"


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
        left = MAX_EVIDENCE_BYTES
        while line := file.readline(left + 1):  # never more: the whole bomb may be one line
            left -= len(line)
            if left < 0:
                raise ValueError(f"{path.name} decompresses to more than {MAX_EVIDENCE_BYTES:,} bytes")
            yield line


def _board(ledger: Ledger, board: Path) -> Iterator[Finding]:
    """The pages on disk are what the ledger renders to, byte for byte."""
    from harness.board.charts import ChartError
    from harness.board.render import RenderError, front, rendered

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
