#!/usr/bin/env python3
"""How many stored completions does an audit grade in a second, and what does one of them cost?

    scripts/measure/grading_rate.py [--rounds 3]

First, in this process, the newest record of each track whose records are graded again: CPU time of a completion, by
stage. Then the audit of the whole ledger, with one process and with one on each core: seconds, CPU seconds of all
processes, and completions of all runs a second of either. Each the median of so many rounds, and least and most. Where
other work takes a share of the cores, the CPU seconds tell more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.audit.audit import audit
from harness.audit.evidence import COMPLETIONS, read_lines
from harness.evaluation import gated
from harness.frozen.format import score
from harness.frozen.keys import derive
from harness.ledger import record
from harness.ledger.record import Predicate
from harness.ledger.store import Ledger
from harness.tasks import TASKS
from harness.tracks import rules
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track

RECORDS = ROOT / "records"


def graded() -> dict[Path, Predicate]:
    """The records whose completions an audit grades again, oldest first."""
    found = {path.parent: record.load(path.read_bytes()).predicate for path in sorted(RECORDS.glob("*/record.json"))}
    today = {track.digest for track in tracks.load_all()[0]}
    return {folder: predicate for folder, predicate in found.items() if predicate.track_digest in today}


def questions_of(predicate: Predicate) -> int:
    return sum(row.questions for run in predicate.all_runs for row in run.tasks.values())


def stages(folder: Path, predicate: Predicate, track: Track) -> list[float]:
    """CPU seconds of unpacking, drawing the questions, decoding and scoring."""
    grader, root = rules.grader(track), bytes.fromhex(predicate.commitment.root_hex)
    clock, spent = time.process_time, [0.0] * 4
    start = clock()
    stored = [json.loads(line)["completions"] for line in read_lines(folder / COMPLETIONS)]
    spent[0] = clock() - start
    for run, completions in zip(predicate.all_runs, stored, strict=True):
        start = clock()
        samples = gated.questions(track, derive(root, "heldout", predicate.submission.tree_sha256, run.run))
        drawn = clock()
        texts = [grader.text_of(ids) for ids in completions]
        decoded = clock()
        for sample, text in zip(samples, texts, strict=True):
            score(TASKS[sample.task], sample, text or "")
        spent = [spent[0], spent[1] + drawn - start, spent[2] + decoded - drawn, spent[3] + clock() - decoded]
    return spent


def spread(values: Sequence[float], digits: int = 1) -> str:
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = range(parser.parse_args().rounds)
    records = graded()
    print("| track | completions | unpack, µs | draw, µs | decode, µs | score, µs | a CPU second |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for folder, predicate in {predicate.track: (folder, predicate) for folder, predicate in records.items()}.values():
        count, track = questions_of(predicate), tracks.load(predicate.track.partition("@")[0])
        took = [stages(folder, predicate, track) for _ in rounds]
        each = [spread([1e6 * seconds / count for seconds in stage]) for stage in zip(*took, strict=True)]
        rate = spread([count / sum(seconds) for seconds in took], 0)
        print(f"| {track.id} | {count:,} | {' | '.join(each)} | {rate} |", flush=True)
    count = sum(map(questions_of, records.values()))
    print(f"\n{len(records)} records with {count:,} completions:\n")
    print("| processes | audit, s | CPU, s | completions a second | a CPU second |")
    print("|---:|---:|---:|---:|---:|")
    cores = os.sched_getaffinity(0)
    for used in ({min(cores)}, cores):
        os.sched_setaffinity(0, used)
        seconds, cpu = [], []
        for _ in rounds:
            start, cpu_start = time.monotonic(), sum(os.times()[:4])
            failed = [result for result in audit(Ledger(RECORDS), None) if not result.ok]
            seconds.append(time.monotonic() - start)
            cpu.append(sum(os.times()[:4]) - cpu_start)
            if failed:
                print(f"{failed[0].check} {failed[0].file}: {failed[0].message}", file=sys.stderr)
                return 1
        rates = (spread([count / each for each in took], 0) for took in (seconds, cpu))
        print(f"| {len(used)} | {spread(seconds)} | {spread(cpu)} | {' | '.join(rates)} |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
