"""A record as a row of a page: figures of the signed integers, and hostile text made plain."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from harness.board.markdown import plain
from harness.board.standings import BoardRecord, Standings
from harness.frozen import stats
from harness.ledger.record import BenchmarkScore, Interval
from harness.ledger.state import RecordState

NBSP = "\u00a0"  # keeps a figure on one line
LOG = "log.txt.xz"


@dataclass(frozen=True)
class Row:
    """Every string is Markdown, already safe."""

    rank: str
    name: str
    cost: str
    wall: str
    accuracy: str
    queries: str
    tokens: str
    memory: str
    date: str
    change: str
    contributors: str
    links: str
    runs: str
    p: str  # against the record that stood then
    record: bool
    origin: str  # what it is based on
    source: str
    techniques: str
    reasons: str
    status: str
    chart: str | None  # relative to the leaderboard


def row(record: BoardRecord, rank: str = "", reasons: Sequence[str] = (), *, up: str = "") -> Row:
    """`up`: the way from the page's folder to the leaderboard, such as "../"."""
    predicate = record.predicate
    submission, verdict, runs = predicate.submission, predicate.verdict, predicate.runs
    gate = verdict.gates.get("mean")
    chart = f"{up}curves/{record.folder}.svg" if record.curves else None
    return Row(
        rank=rank,
        name=submission.name,
        cost=cost_text(verdict.relative_cost_ppm),
        wall=_mean_sd([run.wall_ms for run in runs], 1000),
        accuracy=accuracy_text(gate.accuracy_ppm) if gate else "–",
        queries=f"{record.queries.mean:,}",
        tokens=_mean([run.sampled_tokens for run in runs], 1_000_000, 2) + f"{NBSP}M",
        memory=f"{max((run.peak_memory_bytes for run in runs), default=0) / 2**30:.2f}{NBSP}GiB",
        date=predicate.created_utc[:10],
        change=f"**{plain(submission.title)}** — {plain(submission.change)}",
        contributors=", ".join(plain(name) for name in submission.contributors) or "–",
        links=_links(record, up),
        runs=str(len(runs)),
        p=f"{verdict.standing_p_ppb / 1e9:.4f}" if verdict.standing_p_ppb is not None else "–",
        record=record.state.stood,
        origin=_link(submission.based_on, record.origin, up),
        source=_source(submission.source),
        techniques=", ".join(submission.techniques or []) or "–",
        reasons="; ".join(plain(reason) for reason in reasons),
        status=_status(record.state),
        chart=chart,
    )


def _links(record: BoardRecord, up: str) -> str:
    home = f"{up}../records/{record.folder}"
    links = [
        ("page", None if up else record.page),
        ("code", f"{up}../{record.code}" if record.code else None),
        ("record", f"{home}/record.json"),
        ("log", f"{home}/{LOG}" if LOG in record.predicate.files else None),
        ("curve", f"{up}curves/{record.folder}.svg" if record.curves else None),
    ]
    return " ".join(f"[{word}]({target})" for word, target in links if target)


def _link(name: str | None, target: str | None, up: str) -> str:
    if name is None:
        return "–"
    return f"[{plain(name)}]({up}{target})" if target else plain(name)


def _source(source: str | None) -> str:
    """A paper or a page as a link. Its form (harness.ledger.record.Source) leaves nothing that could end the link."""
    if source is None:
        return "–"
    paper = source.removeprefix("arXiv:")
    target = source if paper == source else f"https://arxiv.org/abs/{paper}"
    return f"[{plain(source.removeprefix('https://'))}]({target})"


def ungated_row(standings: Standings, record: BoardRecord) -> list[str]:
    """Accuracy on each suite without a gate, with its 95% interval over runs."""
    cells = []
    for suite in standings.track.heldout.suites:
        if suite.gate_ppm is None:
            results = [run.tasks[suite.task] for run in record.predicate.runs]
            interval = stats.t_interval([result.correct / result.questions for result in results])
            low, mean, high = (round(min(max(value, 0), 1) * 1e6) for value in interval)
            cells.append(accuracy_text(Interval(low=low, mean=mean, high=high)))
    return cells


def benchmark_rows(standings: Standings) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """The names of the fixed benchmarks that any record has; and of each record that has some, its name and figures."""
    scored = [(record.name, record.predicate.benchmarks or {}) for record in standings.ranked]
    scored += [(f"{record.name} (apart)", record.predicate.benchmarks or {}) for record, _ in standings.apart]
    names = sorted({name for _, scores in scored for name in scores})
    rows = [
        (record, [cell for name in names for cell in _score_and_control(scores.get(name))])
        for record, scores in scored
        if scores
    ]
    return names, rows


def _score_and_control(score: BenchmarkScore | None) -> tuple[str, str]:
    """The submission's figure and the control run's."""
    if score is None:
        return "–", "–"
    return accuracy_text(score.accuracy_ppm), "–" if score.control_ppm is None else accuracy_text(score.control_ppm)


@dataclass(frozen=True)
class SessionRow:
    """Submissions of a session that have no record, all for one reason. Every string is Markdown, already safe."""

    date: str
    entry: str
    track: str
    names: str
    runs: str
    signer: str
    ended: str  # the day of the abandonment, and why


def session_rows(standings: Standings) -> list[SessionRow]:
    """What was announced and has no record: abandoned, or still open."""
    rows = []
    for session in standings.unanswered:
        announcement = session.announcement
        endings: dict[str, list[str]] = {}
        for name, entry in session.abandoned.items():
            endings.setdefault(f"abandoned on {entry.created_utc[:10]}: {plain(entry.reason)}", []).append(name)
        if session.open:
            endings["still open"] = session.open
        rows += [
            SessionRow(
                date=announcement.created_utc[:10],
                entry=f"[{announcement.id}](../records/log/{announcement.id}.json)",
                track=plain(announcement.track),
                names=", ".join(names),
                runs=str(announcement.runs),
                signer=plain(announcement.signer),
                ended=ending,
            )
            for ending, names in endings.items()
        ]
    return rows


def _status(state: RecordState) -> str:
    change = state.change
    return f"**{change.status}** under {change.rule}: {plain(change.reason)}" if change else state.status


# ---------------------------------------------------------------- figures


def cost_text(cost: Interval) -> str:
    if cost.low == cost.high:  # one run has no interval
        return f"{cost.mean / 1e6:.3f}"
    return f"{cost.mean / 1e6:.3f} ({cost.low / 1e6:.3f}–{cost.high / 1e6:.3f})"


def queries_text(queries: Interval) -> str:
    if queries.low == queries.high:  # the same in every run
        return f"{queries.mean:,}"
    return f"{queries.mean:,} ({queries.low:,}–{queries.high:,})"


def accuracy_text(accuracy: Interval) -> str:
    if accuracy.low == accuracy.high:
        return f"{accuracy.mean / 1e4:.1f}%"
    half = max(accuracy.high - accuracy.mean, accuracy.mean - accuracy.low)
    return f"{accuracy.mean / 1e4:.1f}%{NBSP}±{NBSP}{half / 1e4:.1f}"


def _mean(values: Sequence[int], unit: int, digits: int) -> str:
    return f"{statistics.mean(values) / unit:,.{digits}f}" if values else "–"


def _mean_sd(values: Sequence[int], unit: int) -> str:
    mean = _mean(values, unit, 1)
    return f"{mean}{NBSP}±{NBSP}{statistics.stdev(values) / unit:.1f}" if len(values) > 1 else mean
