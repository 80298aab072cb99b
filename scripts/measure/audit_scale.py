#!/usr/bin/env python3
"""How long does an audit take, and how much memory, when there are a hundred, a thousand, ten thousand records?

    scripts/measure/audit_scale.py 100 1000 10000 --sample 3

Makes ledgers of so many records and audits each in a process of its own: all signatures, the Merkle tree, evidence
hashes, curves, seeds, statistics and verdicts, and every completion of SAMPLE records drawn afresh.

The records are synthetic but nothing in them is a stub. Each is signed, answers a commitment of its own session, and
carries real completions: gold answers and noise, as token ids, to the questions that follow from its root, graded by
the track's grader. Only making those is slow, so all sessions share one root, and a submission's records with it the
questions and the file of completions; nonces, commitments, times, verdicts and signatures are their own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import lzma
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness import submission
from harness.audit.audit import audit
from harness.evaluation import gated, judging
from harness.frozen.judge import Standing
from harness.frozen.keys import commitment, derive, seed_of
from harness.ledger import record, signature, trust
from harness.ledger.entries import AnnouncedSubmission, Announcement, fresh_id
from harness.ledger.index import Entry, sign_head
from harness.ledger.store import Ledger
from harness.tracks import rules
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

TRACK = "cpu-logic"
FIRST_DAY = datetime(2030, 1, 1, tzinfo=UTC)
SHARED_ROOT = hashlib.sha256(b"one root for all synthetic sessions").digest()
CHECKS = {"sandbox_starts": True, "network_refused": True}
MACHINE = record.Machine(cpu="synthetic", cores=2, memory_bytes=2**34, kernel="Linux", python="3.11", packages={})


@dataclass(frozen=True)
class Shape:
    """What the records of one submission share."""

    source: submission.Submission
    path: str
    results: list[dict[str, record.TaskResult]]  # a run each, the control run last
    files: dict[str, bytes]


def packed(lines: Iterable[dict[str, Any]]) -> bytes:
    return lzma.compress("".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode(), preset=6)


def shape(track: Track, path: str, accuracy: float, rng: random.Random) -> Shape:
    """Answer the questions of all runs, a share of `accuracy` of them rightly, and have the answers graded."""
    from tokenizers import Tokenizer

    source = submission.load(ROOT / path)
    grader = rules.grader(track)
    tokenizer = Tokenizer.from_str((track.base_folder / "tokenizer.json").read_text(encoding="utf-8"))
    answers, results, points = [], [], []
    for run in range(track.verdict.runs + 1):  # the last is the control run
        samples = gated.questions(track, derive(SHARED_ROOT, "heldout", source.tree_sha256, run))
        share = (accuracy if run < track.verdict.runs else 0.25) + rng.uniform(-0.01, 0.01)
        completions = []
        for sample in samples:
            if rng.random() < share:
                text = f"<think>{'1' * 8}</think><answer>{sample.target}</answer>"
                completions.append([*tokenizer.encode(text, add_special_tokens=False).ids, grader.end_id])
            else:
                completions.append([rng.randrange(4, grader.vocabulary) for _ in range(rng.randrange(40))])
        answers.append({"run": run, "completions": completions})
        results.append(gated.tally(track, grader, samples, completions))
        counts = {"completions": 256, "correct": 128, "formatted": 250, "tokens": 8192, "tasks": {}}
        points += [{"run": run, "t_ms": 1000 * step, **counts} for step in range(64)]
    files = {"completions.jsonl.xz": packed(answers), "curves.jsonl.xz": packed(points), "log.txt.xz": packed([])}
    return Shape(source, path, results, files)


def shapes(track: Track) -> list[Shape]:
    """One for the baseline and each submission of the track in this repository."""
    rng = random.Random(20261121)
    paths = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("submissions/*/submission.toml"))
    paths = [path for path in paths if track.name in submission.load(ROOT / path).manifest.every_track]
    return [shape(track, path, 0.9 + 0.01 * (i % 5), rng) for i, path in enumerate([track.baseline.folder, *paths])]


def runs(form: Shape, wall_ms: float, started: str, rng: random.Random) -> list[record.Run]:
    """All runs of a record, the control run last."""
    return [
        record.Run(
            run=run, seed=seed_of(SHARED_ROOT, form.source.tree_sha256, run), started_utc=started, tasks=tasks,
            wall_ms=round(wall_ms * rng.uniform(0.93, 1.07)), cpu_ms=round(wall_ms * 1.8),
            peak_memory_bytes=rng.randrange(10**9, 2 * 10**9), prompts=2048, reward_queries=16_384,
            most_queries_per_prompt=8, sampled_tokens=524_288, weights_sha256=rng.randbytes(32).hex(),
            evaluate_ms=11_000,
        )
        for run, tasks in enumerate(form.results)
    ]  # fmt: skip


class SyntheticLedger:
    """Writes a ledger without checking it entry by entry. Its checkpoint is signed once, by `close`."""

    def __init__(self, folder: Path, track: Track, rng: random.Random) -> None:
        (folder / "log").mkdir(parents=True)
        key_file = folder.parent / f"{folder.name}-key"
        public = signature.generate(key_file, "synthetic")
        self.folder, self.track, self.rng, self.key = folder, track, rng, signature.load_key(key_file)
        line = trust.allowed_line(public, self.key.identity, FIRST_DAY, FIRST_DAY + timedelta(days=20_000))
        (folder / "allowed_signers").write_text(f"{line}\n", encoding="utf-8")
        self.entries: list[Entry] = []
        self.standing: Standing | None = None

    def add_session(self, forms: list[Shape], day: datetime) -> None:
        """A commitment, and one record for each shape."""
        track, nonce, moment = self.track, self.rng.randbytes(32), day.strftime("%Y-%m-%dT%H:%M:%SZ")
        announcement = Announcement(
            id=fresh_id(day), created_utc=moment, signer=self.key.identity, track=track.id, track_digest=track.digest,
            submissions=[
                AnnouncedSubmission(name=form.source.manifest.name, tree_sha256=form.source.tree_sha256)
                for form in forms
            ],
            runs=track.verdict.runs, commitment_sha256=commitment(SHARED_ROOT, nonce),
        )  # fmt: skip
        self._write(f"log/{announcement.id}.json", announcement, signature.LOG_NAMESPACE)
        walls = [round(120_000 * self.rng.uniform(0.93, 1.07)) for _ in range(track.verdict.runs)]
        reference = record.Reference(tree_sha256=track.baseline.tree_sha256, wall_ms=walls)
        opened = record.Opening(
            entry=announcement.id, commitment_sha256=announcement.commitment_sha256, root_hex=SHARED_ROOT.hex(),
            nonce_hex=nonce.hex(),
        )  # fmt: skip
        for form in forms:
            self._add_record(form, day, moment, reference, opened)

    def _add_record(
        self, form: Shape, day: datetime, moment: str, reference: record.Reference, opened: record.Opening
    ) -> None:
        track, manifest, tree = self.track, form.source.manifest, form.source.tree_sha256
        every_run = runs(form, 120_000 * self.rng.uniform(0.5, 1.1), moment, self.rng)
        *own, control = every_run
        verdict = judging.judge(track, own, reference, "full", self.standing, control)
        digests = {manifest.name: tree} | {f"run-{run.run}/model.safetensors": run.weights_sha256 for run in every_run}
        predicate = record.Predicate(
            track=track.id, track_digest=track.digest, created_utc=moment, signer=self.key.identity, isolation="full",
            isolation_checks=CHECKS, machine=MACHINE, runs=own, control=control, reference=reference,
            verdict=verdict, commitment=opened,
            submission=record.Submission(
                name=manifest.name, path=form.path, tree_sha256=tree, title=manifest.title, change=manifest.change,
                contributors=manifest.contributors,
            ),
            files={file: hashlib.sha256(data).hexdigest() for file, data in form.files.items()},
        )  # fmt: skip
        subjects = [record.Subject(name=name, digest={"sha256": digest}) for name, digest in digests.items()]
        home = f"{day:%Y-%m-%d}_{track.name}_{manifest.name}"
        (self.folder / home).mkdir()
        for file, data in form.files.items():
            (self.folder / home / file).write_bytes(data)
        statement = record.Record(subject=subjects, predicate=predicate)
        self._write(f"{home}/record.json", statement, signature.RECORD_NAMESPACE)
        if verdict.record:
            self.standing = judging.standing_from(statement, home)

    def _write(self, path: str, content: Announcement | record.Record, namespace: str) -> None:
        data = record.dump(content)
        (self.folder / path).write_bytes(data)
        (self.folder / f"{path}.sig").write_bytes(signature.sign(self.key, namespace, data))
        self.entries.append(Entry(hashlib.sha256(data).hexdigest(), path))

    def close(self) -> None:
        for name, data in sign_head(self.entries, self.key).items():
            (self.folder / name).write_bytes(data)


def make(folder: Path, count: int, forms: list[Shape], track: Track) -> None:
    """A ledger of `count` records: a session a day, one record for each shape."""
    ledger = SyntheticLedger(folder, track, random.Random(count))
    for day, start in enumerate(range(0, count, len(forms))):
        ledger.add_session(forms[: count - start], FIRST_DAY + timedelta(days=day))
    ledger.close()


def measure(folder: Path, sample: int) -> dict[str, Any]:
    """Audit, in this process and those that it starts: seconds, peak memory (at most), and the number of checks."""
    start, checks, failed = time.monotonic(), 0, 0
    for result in audit(Ledger(folder), None, ROOT, sample=sample):
        checks += 1
        if not result.ok:
            failed += 1
            print(f"{result.check} {result.file}: {result.message}", file=sys.stderr)
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = len(os.sched_getaffinity(0))
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        "peak_mib": (own.ru_maxrss + cores * others.ru_maxrss) / 1024,
        "checks": checks,
        "failed": failed,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.sample)))
        return 0
    track = tracks.load(TRACK)
    forms = shapes(track)
    print("| Records | Audit, s | CPU, s | ms a record | Peak memory, MiB | Checks | Failed |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    failed = 0
    for count in options.counts:
        with tempfile.TemporaryDirectory(prefix="nano-r1-scale-") as place:
            folder = Path(place) / "records"
            make(folder, count, forms, track)
            command = [sys.executable, __file__, "--measure", str(folder), "--sample", str(options.sample)]
            process = subprocess.run(command, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        figures = json.loads(process.stdout)
        failed += figures["failed"]
        each_ms = 1000 * figures["seconds"] / count
        print(
            f"| {count:,} | {figures['seconds']:.1f} | {figures['cpu_seconds']:.1f} | {each_ms:.1f} "
            f"| {figures['peak_mib']:.0f} | {figures['checks']:,} | {figures['failed']} |",
            flush=True,
        )
    print(f"completions of {options.sample} records graded again in each")
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
