"""The page of one record: what its recipe is, what it cost, and when its training was how near to the gate."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import geometric_mean

from harness.board.charts import percent
from harness.board.curves import WINDOW
from harness.board.rows import queries_text, row
from harness.board.standings import BoardRecord, reasons_apart
from harness.board.targets import Target, targets
from harness.ledger.techniques import TECHNIQUES
from harness.tracks.track import Track


@dataclass(frozen=True)
class TargetRow:
    """Every string is Markdown, already safe."""

    share: str
    accuracy: str
    runs: str
    cost: str  # wall time over the baseline's whole runs, as a relative cost is
    wall: str
    queries: str


def record_view(record: BoardRecord, track: Track) -> dict[str, object]:
    """What the template sees of a record. `track`: as it is today."""
    reasons = reasons_apart(record, track) if record.state.status == "verified" else []
    predicate = record.predicate
    gate = predicate.verdict.gates.get("mean")
    reached = targets(record.curves, gate.gate_ppm) if gate and record.curves else []
    baseline = geometric_mean(predicate.reference.wall_ms)
    return {
        "row": row(record, reasons=reasons, up="../"),
        "track": predicate.track,
        "track_page": f"../{record.track}.md",
        "gate": percent(gate.gate_ppm / 1e6) if gate else "–",
        "queries": queries_text(record.queries),
        "techniques": [(name, TECHNIQUES.get(name, "")) for name in predicate.submission.techniques or []],
        "window": f"{WINDOW:,}",
        "targets": [_target_row(target, len(record.curves), baseline) for target in reached],
    }


def _target_row(target: Target, runs: int, baseline_ms: float) -> TargetRow:
    wall, queries = target.wall_ms, target.queries
    return TargetRow(
        share=f"{target.share}%",
        accuracy=percent(target.accuracy_ppm / 1e6),
        runs=f"{target.reached} of {runs}",
        cost="–" if wall is None else f"{wall / baseline_ms:.3f}",
        wall="–" if wall is None else f"{wall / 1000:.1f}",
        queries="–" if queries is None else f"{queries:,.0f}",
    )
