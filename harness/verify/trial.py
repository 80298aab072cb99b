"""Before a session is announced: is the machine busy, and does each submission start at all?

A broken folder would fail its first run, after minutes of the baseline's, and leave an announcement that has to be
abandoned. So each is started once as in a run, with keys that nothing else follows from, until its first completion is
graded. Nothing is measured, evaluated or kept: a trial says nothing about a result.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import replace
from pathlib import Path

from harness import files, submission
from harness.environment.server import Environment
from harness.isolation import load, sandbox
from harness.submission import Submission
from harness.tracks.track import Track
from harness.verify.clock import Clock
from harness.verify.executor import Interrupted, VerifyError
from harness.verify.journal import session_lock
from harness.verify.local import check_benchmarks, lease_gpus
from harness.verify.node import workspace
from harness.verify.run import sandbox_limits, seen_folders
from harness.verify.session import Verifier, check_submissions

SECONDS = 60  # then a submission that still runs is taken to work: it may load a large model, or warm up on traces


def try_out(track: Track, submissions: list[Submission], verifier: Verifier) -> None:
    """Warn of a busy machine, and start each submission in the sandbox until its first score.

    Raises VerifyError for one that fails, Interrupted when `verifier.cancel` is set.
    """
    track.check_base()
    check_submissions(track, submissions)
    with session_lock(verifier.state):
        check_benchmarks(track)
        if (warning := load.warning(track.hardware.cores)) is not None:
            verifier.reporter.say(warning)
        for item in submissions:
            if item.tree_sha256 == track.baseline.tree_sha256:
                continue
            verifier.reporter.say(f"{item.manifest.name}: a short trial before anything is announced")
            failure, log = _trial(track, item, verifier.cancel)
            if failure is not None:
                path = verifier.state / "trial.log"
                files.write(path, log, private=True)
                raise VerifyError(
                    f"{item.folder} fails a short trial, so nothing was announced: {failure}",
                    advice=f"its log is {path}; `nano-r1 train {item.folder}` runs it without the sandbox",
                )


def _trial(track: Track, item: Submission, cancel: threading.Event) -> tuple[str | None, bytes]:
    """Why the submission failed before its first score, or None; and its log. Raises Interrupted."""
    level, lease, timer, enough = sandbox.isolation().level, lease_gpus(track), Clock(), threading.Event()
    limits = sandbox_limits(track)
    limits = replace(limits, seconds=min(SECONDS, limits.seconds))
    with workspace() as place:
        folder, output = place / "submission", place / "output"
        for path in (folder, output):
            path.mkdir()
        submission.snapshot(item.folder, item.tree_sha256, folder)
        base, weights = seen_folders(track, output, level)
        with Environment(
            track,
            secrets.token_bytes(32),
            secrets.randbits(32),
            place / "socket",
            base=base,
            output=weights,
            clock=timer.elapsed_ms,
        ) as environment:

            def stop_at_first_score(elapsed_ms: int) -> None:
                if cancel.is_set() or environment.totals().reward_queries:
                    enough.set()

            usage = sandbox.run(
                ["train.py"],
                mounts=sandbox.Mounts(folder, track.base_folder, output, place / "socket"),
                limits=limits,
                level=level,
                devices=None if lease is None else lease.sandbox_devices(level),
                hooks=sandbox.Hooks(on_start=timer.start, on_tick=stop_at_first_score, cancel=enough),
                preload=track.budget.preload,
            )
        if cancel.is_set():
            raise Interrupted("nothing was announced")
        scored = environment.totals().reward_queries > 0
        return _failure(usage, scored, limits.seconds, output / "model.safetensors"), usage.log


def _failure(usage: sandbox.Usage, scored: bool, seconds: int, weights: Path) -> str | None:
    if scored or usage.wall_ms >= seconds * 1000:
        return None
    if usage.failure is None and not weights.is_file():
        return "it ended without a score or weights"
    return usage.failure
