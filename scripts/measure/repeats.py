"""How repeatable is a recipe? Mean and sigma over the runs of one or more records, and one half over the other.

    nano-r1 verify baseline --runs 20 --ledger runs/repeats/records --key KEY
    python scripts/measure/repeats.py runs/repeats/records/*_cpu-logic_baseline

The halves are the even and the odd runs, so that a drift of the machine falls on both. Their relative cost is
an honest 1.00: how far its interval reaches says what the clock alone can show with that many runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from statistics import mean, stdev

from harness.evaluation import judging
from harness.frozen import stats
from harness.ledger import record
from harness.tracks import track as tracks


def main() -> None:
    items = [record.load((Path(folder) / "record.json").read_bytes()).predicate for folder in sys.argv[1:]]
    if not items or len({(item.track_digest, item.submission.tree_sha256) for item in items}) != 1:
        raise SystemExit("name one or more record folders of one submission on one track")
    track = tracks.load(items[0].track.partition("@")[0])
    runs = [run for item in items for run in item.runs]
    where = ", ".join(sorted({f"{item.machine.cpu}, {item.machine.cores} cores" for item in items}))
    print(f"{items[0].submission.name} on {track.id}: {len(runs)} runs in {len(items)} sessions on {where}")

    def row(name: str, values: list[float], digits: int) -> None:
        low, middle, high = stats.t_interval(values)
        spread = {
            "mean": middle,
            "sigma": stdev(values),
            "low95": low,
            "high95": high,
            "min": min(values),
            "max": max(values),
        }
        print(f"{name:22s} " + "  ".join(f"{label} {value:.{digits}f}" for label, value in spread.items()))

    row("accuracy, mean", [judging.mean_accuracy(track, run.tasks) for run in runs], 4)
    for task in runs[0].tasks:
        row(f"accuracy, {task}", [run.tasks[task].correct / run.tasks[task].questions for run in runs], 4)
    walls = [run.wall_ms / 1000 for run in runs]
    row("wall seconds", walls, 1)
    row("CPU seconds", [run.cpu_ms / 1000 for run in runs], 1)
    row("peak memory, MB", [run.peak_memory_bytes / 1e6 for run in runs], 0)
    row("sampled tokens, 1000", [run.sampled_tokens / 1000 for run in runs], 0)
    row("evaluation seconds", [run.evaluate_ms / 1000 for run in runs], 1)
    low, ratio, high = stats.ratio_interval(walls[0::2], walls[1::2])
    print(f"relative cost of even runs over odd ones: {ratio:.4f} (95% {low:.4f} – {high:.4f})")
    print(f"coefficient of variation of the cost: {stdev(walls) / mean(walls):.4f}")


if __name__ == "__main__":
    main()
