"""A small ledger of real, signed records for the tests of the board."""

from __future__ import annotations

import functools
import hashlib
import json
import lzma
import math
import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from harness.board.render import rendered
from harness.ledger import record, signature, trust
from harness.ledger.entries import AnnouncedSubmission, Announcement
from harness.ledger.store import Ledger
from harness.tracks.track import load

TASKS = ["countdown", "josephus", "linear", "nim"]
HEX = "0" * 64
TRACK = load("cpu-logic")


@functools.cache
def curves(runs: int, seconds: float, seed: int) -> bytes:
    """Five hundred posts or so of a model that learns, a little differently in each run."""
    draw, lines = random.Random(seed), []
    for run in range(runs):
        end = seconds * draw.uniform(0.95, 1.05)
        for step in range(1, 101):
            tasks = {}
            for i, task in enumerate(TASKS):
                chance = 0.17 + 0.78 / (1 + math.exp(-(step - 35 - 9 * i) / 8)) * (1 - 0.03 * i)
                tasks[task] = [64, sum(draw.random() < chance for _ in range(64))]
            correct = sum(pair[1] for pair in tasks.values())
            post: dict[str, Any] = {
                "run": run,
                "t_ms": int(end * 10 * step) + 4000,
                "completions": 256,
                "correct": correct,
            }
            post |= {"formatted": 250, "tokens": 6000, "tasks": tasks}
            lines.append(json.dumps(post) + "\n")
    return lzma.compress("".join(lines).encode())


def make_record(
    name: str = "baseline", cost: float = 1.0, day: int = 1, runs: int = TRACK.verdict.runs, **changes: Any
) -> record.Record:
    """A valid record of that relative cost. `changes` replace fields of the predicate, submission or verdict."""
    seconds = 150 * cost
    results = {
        task: record.TaskResult(questions=1024, correct=950, formatted=1020, truncated=1, tokens=30000)
        for task in TASKS
    }
    reported = [suite.task for suite in TRACK.heldout.suites if suite.gate_ppm is None]
    results |= {task: results["nim"].model_copy(update={"correct": 512 + day}) for task in reported}
    made = [
        record.Run(
            run=i, seed=i, started_utc=f"2026-01-{day:02}T00:00:00Z", wall_ms=int(seconds * 1000) + 4700 + 900 * i,
            cpu_ms=200_000, peak_memory_bytes=900_000_000 + i, prompts=3200, reward_queries=25_600,
            sampled_tokens=614_400, weights_sha256=HEX, evaluate_ms=20_000, tasks=results,
        )
        for i in range(runs)
    ]  # fmt: skip
    ppm, spread = int(cost * 1e6), 20_000 if runs > 1 else 0
    gate = record.GateTest(
        gate_ppm=900_000, accuracy_ppm=record.Interval(low=924_000, mean=927_734, high=931_000), sigma_ppm=3000, p_ppb=9
    )
    verdict: dict[str, Any] = {
        "gates": {"mean": gate} | {task: gate.model_copy(update={"gate_ppm": 750_000}) for task in TASKS},
        "relative_cost_ppm": record.Interval(low=ppm - spread, mean=ppm, high=ppm + spread),
        "standing": None, "standing_p_ppb": None, "valid": True, "record": True, "reasons": [],
    }  # fmt: skip
    submission: dict[str, Any] = {
        "name": name, "path": "baseline" if name == "baseline" else f"submissions/{name}", "tree_sha256": HEX,
        "title": f"The {name}", "change": "one thing", "contributors": ["Ada Lovelace"],
    }  # fmt: skip
    predicate: dict[str, Any] = {
        "track": TRACK.id, "track_digest": HEX, "created_utc": f"2026-01-{day:02}T01:00:00Z", "signer": "verifier",
        "isolation": "full", "isolation_checks": {}, "runs": made, "files": {},
        "commitment": record.Opening(entry="c-1", commitment_sha256=HEX, root_hex=HEX, nonce_hex=HEX),
        "machine": record.Machine(cpu="any", cores=2, memory_bytes=2**33, kernel="Linux 6", python="3", packages={}),
        "reference": record.Reference(tree_sha256=HEX, wall_ms=[150_000] * runs),
    }  # fmt: skip
    submission |= {field: changes.pop(field) for field in ("based_on", "source", "techniques") if field in changes}
    for field, value in changes.items():
        next(part for part in (verdict, submission, predicate) if field in part)[field] = value
    return record.Record(
        subject=[record.Subject(name=name, digest={"sha256": HEX})],
        predicate=record.Predicate(
            submission=record.Submission(**submission), verdict=record.Verdict(**verdict), **predicate
        ),
    )  # fmt: skip


class BoardLedger:
    """A real ledger with one listed signer, and a key that nobody listed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ledger = Ledger(folder)
        folder.mkdir()
        keys = folder.parent / "keys"
        line = signature.generate(keys / "listed", "verifier")
        signature.generate(keys / "unlisted", "somebody")
        self.listed, self.unlisted = signature.load_key(keys / "listed"), signature.load_key(keys / "unlisted")
        window = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        (folder / "allowed_signers").write_text(trust.allowed_line(line, "verifier", *window) + "\n", encoding="utf-8")
        self.sessions = 0

    def add(
        self,
        made: record.Record,
        *,
        official: bool = True,
        curve: bytes | None = None,
        against: str | None = "standing",
    ) -> Path:
        """Announce, sign and append the record. `curve`: its curves.jsonl.xz. `against`: judged against what stands."""
        key = self.listed if official else self.unlisted
        files = {} if curve is None else {"curves.jsonl.xz": curve, "log.txt.xz": lzma.compress(b"step 1\n")}
        predicate = made.predicate
        self.sessions += 1
        secret = {"root_hex": f"{self.sessions:064x}", "nonce_hex": HEX}
        digest = hashlib.sha256(bytes.fromhex("".join(secret.values()))).hexdigest()
        opened = record.Opening(entry=f"s{self.sessions}", commitment_sha256=digest, **secret)
        promise = Announcement(
            id=opened.entry,
            created_utc=predicate.created_utc,
            signer=key.identity,
            track=predicate.track,
            track_digest=predicate.track_digest,
            submissions=[
                AnnouncedSubmission(name=predicate.submission.name, tree_sha256=predicate.submission.tree_sha256)
            ],
            runs=len(predicate.runs),
            commitment_sha256=digest,
        )
        self.ledger.announce(promise, key)
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        opponent = self.ledger.standing(predicate.track) if against == "standing" else against
        verdict = predicate.verdict.model_copy(update={"standing": opponent})
        predicate = predicate.model_copy(update={"files": hashes, "commitment": opened, "signer": key.identity})
        predicate = predicate.model_copy(update={"verdict": verdict})
        return self.ledger.add_record(made.model_copy(update={"predicate": predicate}), files, key)


def page(ledger: BoardLedger) -> str:
    return rendered(ledger.folder)["cpu-logic.md"].decode().replace("\u00a0", " ")


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}", 1)[1].split("\n## ", 1)[0]
