"""Audit a ledger offline: trust nothing that can be recomputed.

Each check yields findings that name the file. No GPU, no network, no torch: signatures, the Merkle tree
and its history in git, submission trees, track digests, questions regenerated from the revealed root,
every stored completion graded again, statistics and verdict recomputed, the board rendered again.
"""

from __future__ import annotations

import json
import lzma
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import doctor, evaluate, judge, submission
from harness.environment import Grader
from harness.keys import commitment, derive, seed_of
from harness.ledger import merkle, record
from harness.ledger.log import Fault, Finding, Ledger, check, leaves, parse_checkpoint
from harness.tracks import track as tracks
from harness.tracks.track import ROOT

MAX_EVIDENCE_BYTES = 1 << 30  # of one decompressed file: a bomb is a finding, not a crash


def audit(ledger: Ledger, board: Path | None, repository: Path = ROOT) -> Iterator[Finding]:
    """Every finding, good and bad, in order.

    `repository` holds the submissions that the records name. `board` None: no leaderboard to compare.
    """
    sound = True
    for finding in check(ledger.folder):
        sound = sound and finding.ok
        yield finding
    try:
        yield from _history(ledger)
        standing: dict[str, judge.Standing] = {}
        for listed in ledger.records():
            predicate = listed.record.predicate
            yield from _record(ledger.folder / listed.folder, listed.record, standing.get(predicate.track), repository)
            if predicate.verdict.record and listed.official:
                standing[predicate.track] = judge.standing_from(listed.record, listed.folder)
    except Fault as fault:  # already found above; what hangs on it cannot be audited
        if sound:
            yield fault.finding
        return
    if board is not None:
        yield from _board(ledger, board)


def _record(folder: Path, item: record.Record, standing: judge.Standing | None, repository: Path) -> Iterator[Finding]:
    """All that one record claims, recomputed. `standing` is the record that stood when it was appended."""
    predicate = item.predicate
    here = f"{folder.name}/record.json"

    def finding(check: str, ok: bool, message: str, file: str = here) -> Finding:
        return Finding(check=check, file=file, ok=ok, message=message)

    # The code that ran is the code in the repository.
    source = repository / predicate.submission.path
    try:
        found = submission.load(source)
        yield finding(
            "submission tree",
            found.tree_sha256 == predicate.submission.tree_sha256,
            f"is {found.tree_sha256[:12]}, the record says {predicate.submission.tree_sha256[:12]}",
            predicate.submission.path,
        )
        manifest, said = found.manifest, predicate.submission
        same = (manifest.title, manifest.change, manifest.contributors) == (said.title, said.change, said.contributors)
        yield finding("submission manifest", same, "title, change and contributors are submission.toml's")
    except submission.SubmissionError as error:
        yield finding("submission tree", False, str(error), predicate.submission.path)

    # The track is the one this harness has.
    try:
        track = tracks.load(predicate.track.partition("@")[0])
    except tracks.TrackError as error:
        yield finding("track digest", False, str(error))
        return
    ok = track.digest == predicate.track_digest and track.id == predicate.track
    yield finding(
        "track digest", ok, f"{predicate.track} is {track.digest[:12]}, the record says {predicate.track_digest[:12]}"
    )
    if not ok:
        return  # another track's questions and grader would say nothing

    # Subjects, keys and seeds follow from the digests and the revealed root.
    root, nonce = bytes.fromhex(predicate.commitment.root_hex), bytes.fromhex(predicate.commitment.nonce_hex)
    tree = predicate.submission.tree_sha256
    yield finding(
        "commitment opened",
        commitment(root, nonce) == predicate.commitment.commitment_sha256,
        "sha256(root ‖ nonce) is the commitment",
    )
    subjects = {s.name: s.digest["sha256"] for s in item.subject}
    wanted = {predicate.submission.name: tree}
    every = [
        *predicate.runs,
        *([predicate.control] if predicate.control else []),
    ]  # the control run's number is the last
    wanted |= {f"run-{run.run}/model.safetensors": run.weights_sha256 for run in every}
    yield finding("subjects", subjects == wanted, "the subjects are the tree and each run's weights")
    seeds = [seed_of(root, tree, i) for i in range(len(every))]
    yield finding(
        "seeds",
        seeds == [run.seed for run in every] and [run.run for run in every] == list(range(len(seeds))),
        "each run's seed follows from the root",
    )

    checks = predicate.isolation_checks
    yield finding(
        "isolation", doctor.proven(checks) == predicate.isolation, f"{predicate.isolation}, with {len(checks)} checks"
    )

    # Every completion, graded again on questions regenerated from the root.
    completions_file, curves_file = f"{folder.name}/completions.jsonl.xz", f"{folder.name}/curves.jsonl.xz"
    try:
        stored = {line["run"]: line["completions"] for line in evidence_lines(folder / "completions.jsonl.xz")}
        grader = Grader(track)
        for run in every:
            samples = evaluate.questions(track, derive(root, "heldout", tree, run.run))
            again = evaluate.tally(track, grader, samples, stored.get(run.run, []))
            total = sum(row.questions for row in again.values())
            yield finding(
                f"run {run.run} re-graded",
                again == run.tasks,
                f"{sum(row.correct for row in again.values())}/{total} right; the record says "
                f"{sum(row.correct for row in run.tasks.values())}",
                completions_file,
            )
        yield finding("completions", len(stored) == len(every), "one set for each run", completions_file)
    except (OSError, ValueError, LookupError, TypeError, lzma.LZMAError) as error:
        yield finding("completions", False, f"cannot be graded: {type(error).__name__}: {error}", completions_file)
    try:
        counted = {run.run: 0 for run in every}
        for point in evidence_lines(folder / "curves.jsonl.xz"):
            counted[point["run"]] += point["completions"]
        same_count = counted == {run.run: run.reward_queries for run in every}
        yield finding("curves", same_count, "the curves add up to the reward queries", curves_file)
    except (OSError, ValueError, LookupError, TypeError, lzma.LZMAError) as error:
        yield finding("curves", False, f"cannot be read: {type(error).__name__}: {error}", curves_file)

    # The verdict is a pure function of the numbers.
    try:
        again_verdict = judge.judge(
            track, predicate.runs, predicate.reference, predicate.isolation, standing, predicate.control
        )
        yield finding("verdict", again_verdict == predicate.verdict, "statistics and verdict recomputed from the runs")
    except judge.JudgeError as error:
        yield finding("verdict", False, f"cannot be recomputed: {error}")
    yield finding(
        "reference",
        predicate.reference.tree_sha256 == track.baseline.tree_sha256,
        "timed against the track's frozen baseline",
    )


def evidence_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The JSON lines of an xz file, at most MAX_EVIDENCE_BYTES of them."""
    with lzma.open(path) as file:
        size = 0
        for line in file:
            size += len(line)
            if size > MAX_EVIDENCE_BYTES:
                raise ValueError(f"{path.name} decompresses to more than {MAX_EVIDENCE_BYTES:,} bytes")
            yield json.loads(line)


def _history(ledger: Ledger) -> Iterator[Finding]:
    """Every checkpoint that git remembers is a prefix of today's log (RFC 6962 consistency)."""
    git = ["git", "-C", str(ledger.folder)]
    found = subprocess.run([*git, "log", "--format=%H", "--", "checkpoint"], capture_output=True, text=True)
    if found.returncode != 0:
        yield Finding(
            check="history", file="checkpoint", ok=True, message="not in a git repository: no history to compare"
        )
        return
    lines = leaves(ledger.entries())
    commits = found.stdout.split()
    for commit in commits:
        shown = subprocess.run([*git, "show", f"{commit}:./checkpoint"], capture_output=True)
        if shown.returncode != 0:
            continue  # the commit that deleted it; the next older one still has it
        size, root = parse_checkpoint(shown.stdout)
        if not merkle.consistent(size, root, lines):
            yield Finding(
                check="history",
                file="index",
                ok=False,
                message=f"rewritten: the checkpoint of commit {commit[:12]} (size {size}) is no prefix of today's log",
            )
            return
    yield Finding(
        check="history",
        file="index",
        ok=True,
        message=f"{len(commits)} checkpoints in git history, each a prefix of today's log",
    )


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
