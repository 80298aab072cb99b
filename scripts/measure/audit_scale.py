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

from harness import evaluate, judge, submission
from harness.audit.audit import audit
from harness.environment import Grader
from harness.keys import commitment, derive, seed_of
from harness.ledger import record, signature, trust
from harness.ledger.entries import Announced, Commitment, fresh_id
from harness.ledger.index import Entry, make_checkpoint
from harness.ledger.store import Ledger
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


def shape(track: Track, path: str, root: bytes, accuracy: float, chance: random.Random) -> Shape:
    """Answer the questions of all runs, a share of `accuracy` of them rightly, and have the answers graded."""
    from tokenizers import Tokenizer

    source = submission.load(ROOT / path)
    grader, tokenizer = Grader(track), Tokenizer.from_str((track.base_folder / "tokenizer.json").read_text())
    given, results = [], []
    for run in range(track.verdict.runs + 1):  # the last is the control run
        samples = evaluate.questions(track, derive(root, "heldout", source.tree_sha256, run))
        right = (accuracy if run < track.verdict.runs else 0.25) + chance.uniform(-0.01, 0.01)
        completions = []
        for item in samples:
            if chance.random() < right:
                text = f"<think>{'1' * 8}</think><answer>{item.target}</answer>"
                completions.append([*tokenizer.encode(text, add_special_tokens=False).ids, grader.end_id])
            else:
                completions.append([chance.randrange(4, grader.vocabulary) for _ in range(chance.randrange(40))])
        given.append({"run": run, "completions": completions})
        results.append(evaluate.tally(track, grader, samples, completions))
    points = [
        {
            "run": run,
            "t_ms": 1000 * i,
            "completions": 256,
            "correct": 128,
            "formatted": 250,
            "tokens": 8192,
            "tasks": {},
        }
        for run in range(track.verdict.runs + 1)
        for i in range(64)
    ]
    files = {"completions.jsonl.xz": packed(given), "curves.jsonl.xz": packed(points), "log.txt.xz": lzma.compress(b"")}
    return Shape(source, path, results, files)


def shapes(track: Track) -> list[Shape]:
    """One for the baseline and each submission of the track in this repository."""
    chance = random.Random(20261121)
    paths = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("submissions/*/submission.toml"))
    paths = [track.baseline.folder, *paths]
    return [shape(track, path, SHARED_ROOT, 0.9 + 0.01 * (i % 5), chance) for i, path in enumerate(paths)]


def runs(form: Shape, wall_ms: float, started: str, chance: random.Random) -> list[record.Run]:
    made = []
    for run, tasks in enumerate(form.results):
        fields: dict[str, Any] = {
            "run": run,
            "seed": seed_of(SHARED_ROOT, form.source.tree_sha256, run),
            "started_utc": started,
            "wall_ms": round(wall_ms * chance.uniform(0.93, 1.07)),
            "cpu_ms": round(wall_ms * 1.8),
            "peak_memory_bytes": chance.randrange(10**9, 2 * 10**9),
            "prompts": 2048,
            "reward_queries": 16_384,
            "most_queries_per_prompt": 8,
            "sampled_tokens": 524_288,
            "weights_sha256": chance.randbytes(32).hex(),
            "evaluate_ms": 11_000,
            "tasks": tasks,
        }
        made.append(record.Run.model_validate(fields))
    return made


def make(folder: Path, count: int, forms: list[Shape], track: Track) -> None:
    """A ledger of `count` records: a session a day, one record for each shape. Signed once, at the end."""
    chance = random.Random(count)
    (folder / "log").mkdir(parents=True)
    key_file = folder.parent / f"{folder.name}-key"
    public = signature.generate(key_file, "synthetic")
    key = signature.load_key(key_file)
    window = (FIRST_DAY, FIRST_DAY + timedelta(days=20_000))
    (folder / "allowed_signers").write_text(trust.allowed_line(public, key.identity, *window) + "\n")
    entries: list[Entry] = []
    standing: judge.Standing | None = None

    def put(path: str, said: Commitment | record.Record, namespace: str) -> None:
        data = record.dump(said)
        (folder / path).write_bytes(data)
        (folder / f"{path}.sig").write_bytes(signature.sign(key, namespace, data))
        entries.append(Entry(hashlib.sha256(data).hexdigest(), path))

    done = 0
    while done < count:
        day = FIRST_DAY + timedelta(days=done // len(forms))
        moment = day.strftime("%Y-%m-%dT%H:%M:%SZ")
        session = forms[: count - done]
        baseline = [round(120_000 * chance.uniform(0.93, 1.07)) for _ in range(track.verdict.runs)]
        nonce, entry = chance.randbytes(32), fresh_id(day)
        digest = commitment(SHARED_ROOT, nonce)
        announced = [
            Announced(name=form.source.manifest.name, tree_sha256=form.source.tree_sha256) for form in session
        ]
        put(
            f"log/{entry}.json",
            Commitment(
                id=entry, created_utc=moment, signer=key.identity, track=track.id, track_digest=track.digest,
                submissions=announced, runs=track.verdict.runs, commitment_sha256=digest,
            ),
            signature.LOG_NAMESPACE,
        )  # fmt: skip
        for form in session:
            name, tree = form.source.manifest.name, form.source.tree_sha256
            *made, control = runs(form, 120_000 * chance.uniform(0.5, 1.1), moment, chance)
            reference = record.Reference(tree_sha256=track.baseline.tree_sha256, wall_ms=baseline)
            verdict = judge.judge(track, made, reference, "full", standing, control)
            home = f"{day:%Y-%m-%d}_{track.name}_{name}"
            said = form.source.manifest
            subjects = [record.Subject(name=name, digest={"sha256": tree})]
            subjects += [
                record.Subject(name=f"run-{run.run}/model.safetensors", digest={"sha256": run.weights_sha256})
                for run in [*made, control]
            ]
            predicate = record.Predicate(
                track=track.id, track_digest=track.digest, created_utc=moment, signer=key.identity, isolation="full",
                isolation_checks=CHECKS, machine=MACHINE, runs=made, control=control, reference=reference,
                verdict=verdict,
                submission=record.Submission(
                    name=name, path=form.path, tree_sha256=tree, title=said.title, change=said.change,
                    contributors=said.contributors,
                ),
                commitment=record.Commitment(
                    entry=entry, commitment_sha256=digest, root_hex=SHARED_ROOT.hex(), nonce_hex=nonce.hex()
                ),
                files={file: hashlib.sha256(data).hexdigest() for file, data in form.files.items()},
            )  # fmt: skip
            (folder / home).mkdir()
            for file, data in form.files.items():
                (folder / home / file).write_bytes(data)
            put(f"{home}/record.json", record.Record(subject=subjects, predicate=predicate), signature.RECORD_NAMESPACE)
            if verdict.record:
                standing = judge.Standing(home, [run.wall_ms for run in made], baseline)
        done += len(session)
    checkpoint = make_checkpoint(entries)
    (folder / "index").write_text("".join(f"{entry.line}\n" for entry in entries))
    (folder / "checkpoint").write_bytes(checkpoint)
    (folder / "checkpoint.sig").write_bytes(signature.sign(key, signature.LOG_NAMESPACE, checkpoint))


def measure(folder: Path, sample: int) -> dict[str, Any]:
    """Audit, in this process and those that it starts: seconds, peak memory (at most), and what was found."""
    start, findings, failed, graded = time.monotonic(), 0, 0, 0
    for finding in audit.audit(Ledger(folder), None, ROOT, sample=sample):
        findings += 1
        graded += finding.check.endswith("re-graded")
        if not finding.ok:
            failed += 1
            print(f"{finding.check} {finding.file}: {finding.message}", file=sys.stderr)
    own, others = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cores = len(os.sched_getaffinity(0))
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime,
        "peak_mib": (own.ru_maxrss + cores * others.ru_maxrss) / 1024,
        "findings": findings,
        "failed": failed,
        "graded": graded,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("counts", type=int, nargs="*", default=[100, 1000, 10_000])
    parser.add_argument("--sample", type=int, default=3)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.measure:
        print(json.dumps(measure(wanted.measure, wanted.sample)))
        return 0
    track = tracks.load(TRACK)
    forms = shapes(track)
    print("| Records | Audit, s | CPU, s | ms a record | Peak memory, MiB | Checks | Failed |")
    print("|---:|---:|---:|---:|---:|---:|---:|")
    worst = 0
    for count in wanted.counts:
        with tempfile.TemporaryDirectory(prefix="nano-r1-scale-") as place:
            folder = Path(place) / "records"
            make(folder, count, forms, track)
            command = [sys.executable, __file__, "--measure", str(folder), "--sample", str(wanted.sample)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        got = json.loads(done.stdout)
        worst += got["failed"]
        print(
            f"| {count:,} | {got['seconds']:.1f} | {got['cpu_seconds']:.1f} | {1000 * got['seconds'] / count:.1f} "
            f"| {got['peak_mib']:.0f} | {got['findings']:,} | {got['failed']} |",
            flush=True,
        )
    print(f"completions of {wanted.sample} records graded again in each")
    return 1 if worst else 0


if __name__ == "__main__":
    raise SystemExit(main())
