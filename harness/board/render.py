"""The pages of the board, from the ledger alone.

The same ledger gives the same bytes on any machine: no clock, no absolute path, no locale, no hash order;
every number is an integer of the signed record formatted here. `rendered` is pure and is what the audit
compares with the files on disk; `render` writes.

Everything a submitter wrote (title, change, contributors, file names) is hostile. It meets a page only
through `plain`, which leaves text that no Markdown reader can take for structure, link, mention or markup.
"""

from __future__ import annotations

import hashlib
import os
import re
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness import stats
from harness.board import charts
from harness.errors import NanoR1Error
from harness.ledger import record
from harness.ledger.errors import LedgerError
from harness.ledger.index import read_file
from harness.ledger.state import RecordState
from harness.ledger.store import Ledger, LoggedRecord
from harness.tracks import track as tracks
from harness.tracks.track import Track

TEMPLATES = Path(__file__).resolve().parent / "templates"
NBSP = "\u00a0"  # keeps a figure on one line
TOP = 5  # rows a track has on the front page
CURVES = "curves.jsonl.xz"
LOG = "log.txt.xz"

MARK = f"<!-- {charts.GENERATED} -->"  # in the first lines of all that may be overwritten or deleted


class RenderError(NanoR1Error):
    """The board cannot be rendered or written; the message says which file is in the way."""


# ---------------------------------------------------------------- hostile text

# Characters that are invisible or reorder their neighbours. Written out, not asked of unicodedata,
# whose answer depends on the Python that runs.
_INVISIBLE = re.compile(
    "[\u0000-\u0008\u000e-\u001f\u007f-\u0084\u0086-\u009f\u00ad\u034f\u0600-\u0605\u061c\u070f\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ud800-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f"
    "\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]"
)
# A full stop stays where it cannot begin anything: between digits, and at the end of a word.
_SPECIAL = re.compile(r"[\\`*_{}\[\]<>!|~&:^$]|^[-+=]|(?<=[0-9])\)|\.(?<![0-9]\.(?=[0-9]))(?<![^0-9]\.(?=\s|$))")


def plain(text: str) -> str:
    """One line of Markdown that reads as `text` and is nothing but text, in a table or out of one.

    Punctuation with a meaning becomes a character reference. That is not enough for `@` and `#`, which
    some readers link after they have decoded references: those become their full-width twins.
    """
    visible = " ".join(_INVISIBLE.sub("\ufffd", text).split())
    visible = visible.replace("@", "\uff20").replace("#", "\uff03")
    return _SPECIAL.sub(lambda match: f"&#{ord(match[0])};", visible) or "\ufffd"


# ---------------------------------------------------------------- the ledger


@dataclass(frozen=True)
class Entry:
    """A record of the ledger, with its evidence for the charts."""

    folder: str
    predicate: record.Predicate
    known: RecordState  # whose word it is, and what has become of it
    code: str | None  # the submission's folder beside the ledger, if it is there
    curves: list[list[charts.Post]]  # a list a run; empty if the record has none

    @property
    def track(self) -> str:
        return self.predicate.track.partition("@")[0]


def entries(ledger: Path) -> list[Entry]:
    """The records of the log, oldest first. Raises RenderError; an empty folder is an empty ledger."""
    try:
        return [
            Entry(item.folder, item.record.predicate, item.state, _code(ledger, item), _curves(ledger, item))
            for item in Ledger(ledger).records()
        ]
    except LedgerError as error:
        raise RenderError(f"{ledger}: {error}") from None


def _code(ledger: Path, item: LoggedRecord) -> str | None:
    """A ledger of one's own, such as the quick start's, has no submissions beside it: no link beats a dead one."""
    said = item.record.predicate.submission
    a_baseline = said.path == said.name and said.name.partition("-")[0] == "baseline"
    ours = (a_baseline or said.path == f"submissions/{said.name}") and (ledger.resolve().parent / said.path).is_dir()
    return said.path if ours else None


def _curves(ledger: Path, item: LoggedRecord) -> list[list[charts.Post]]:
    """The curves that the record lists by hash, if it lists any, without the control run's: its scores say nothing.

    Raises LedgerError or RenderError.
    """
    wanted = item.record.predicate.files.get(CURVES)
    if wanted is None:
        return []
    data = read_file(ledger, f"{item.folder}/{CURVES}")
    if hashlib.sha256(data).hexdigest() != wanted:
        raise RenderError(f"{ledger / item.folder / CURVES}: its SHA-256 is not the one in record.json")
    try:
        control = item.record.predicate.control
        return [run for run in charts.read_curves(data) if control is None or run[0].run != control.run]
    except charts.ChartError as error:
        raise RenderError(f"{ledger / item.folder / CURVES}: {error}") from None


# ---------------------------------------------------------------- who stands where


@dataclass(frozen=True)
class Board:
    """One track's records, sorted out. `history` holds the ranked ones, oldest first."""

    track: Track
    ranked: list[Entry]  # official, valid and verified, cheapest first
    history: list[Entry]
    apart: list[tuple[Entry, list[str]]]  # oldest first, each with why it is not ranked
    changed: list[Entry]  # disputed, withdrawn or superseded, oldest first
    standing: Entry | None


def board(track: Track, all_entries: Sequence[Entry]) -> Board:
    mine = [entry for entry in all_entries if entry.track == track.name]
    changed = [entry for entry in mine if entry.known.status != "verified"]
    judged = [(entry, why_apart(entry, track)) for entry in mine if entry.known.status == "verified"]
    logged = [entry for entry, reasons in judged if not reasons]
    stood = [entry for entry in logged if entry.known.stood]  # the log's order decides who stands
    history = sorted(logged, key=lambda entry: entry.predicate.created_utc)
    ranked = sorted(history, key=lambda entry: entry.predicate.verdict.relative_cost_ppm.mean)  # a tie: the older first
    return Board(track, ranked, history, [row for row in judged if row[1]], changed, stood[-1] if stood else None)


def why_apart(entry: Entry, track: Track) -> list[str]:
    """Why a record is not ranked; empty for one that is. The verdict's own reasons stand at the end."""
    one, reasons = entry.predicate, []
    if entry.known.authority == "self-reported":
        reasons.append("self-reported: its key is not listed for that day")
    if entry.known.authority == "revoked":
        reasons.append("its key was revoked")
    if one.track != track.id:
        reasons.append(f"made on another version of the track, which is now at version {track.version}")
    if one.verdict.valid:  # else the verdict itself says so
        if one.isolation != "full":
            reasons.append("made without isolation")
        if len(one.runs) < track.verdict.runs:
            reasons.append(f"{len(one.runs)} of {track.verdict.runs} runs")
    if reasons or not one.verdict.valid:
        reasons += one.verdict.reasons or ([] if reasons else ["not valid"])
    return reasons


# ---------------------------------------------------------------- rows: an entry in words


@dataclass(frozen=True)
class Row:
    """An entry as a page shows it. Every string is Markdown, already safe."""

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
    reasons: str
    status: str
    chart: str | None  # relative to the leaderboard


def row(entry: Entry, rank: str = "", reasons: Sequence[str] = ()) -> Row:
    one = entry.predicate
    said, verdict, runs = one.submission, one.verdict, one.runs
    cost, gate = verdict.relative_cost_ppm, verdict.gates.get("mean")
    chart = f"curves/{entry.folder}.svg" if entry.curves else None
    links = [("code", f"../{entry.code}" if entry.code else None), ("record", f"../records/{entry.folder}/record.json")]
    links += [("log", f"../records/{entry.folder}/{LOG}" if LOG in one.files else None), ("curve", chart)]
    return Row(
        rank=rank,
        name=said.name,
        cost=_cost(cost),
        wall=_mean_sd([run.wall_ms for run in runs], 1000),
        accuracy=_accuracy(gate.accuracy_ppm) if gate else "–",
        queries=_mean([run.reward_queries for run in runs], 1, 0),
        tokens=_mean([run.sampled_tokens for run in runs], 1_000_000, 2) + f"{NBSP}M",
        memory=f"{max((run.peak_memory_bytes for run in runs), default=0) / 2**30:.2f}{NBSP}GiB",
        date=one.created_utc[:10],
        change=f"**{plain(said.title)}** — {plain(said.change)}",
        contributors=", ".join(plain(name) for name in said.contributors) or "–",
        links=" ".join(f"[{word}]({target})" for word, target in links if target),
        runs=str(len(runs)),
        p=f"{verdict.standing_p_ppb / 1e9:.4f}" if verdict.standing_p_ppb is not None else "–",
        record=entry.known.stood,
        reasons="; ".join(plain(reason) for reason in reasons),
        status=_status(entry.known),
        chart=chart,
    )


def _status(known: RecordState) -> str:
    change = known.change
    return f"**{change.status}** under {change.rule}: {plain(change.reason)}" if change else known.status


def why_no_record(entry: Entry) -> list[str]:
    """Why a valid record was none when it was set; empty for one that was."""
    verdict = entry.predicate.verdict
    if verdict.record and not entry.known.stood:
        return [f"tested against {verdict.standing or 'nothing'} on another branch, not against the one that stood"]
    return verdict.reasons


def ranks(ranked: Sequence[Entry]) -> list[str]:
    """1, 2, …; with ≈ where the interval overlaps the row above's: their order is not established."""
    costs = [entry.predicate.verdict.relative_cost_ppm for entry in ranked]
    overlaps = [i > 0 and cost.low <= costs[i - 1].high for i, cost in enumerate(costs)]
    return [f"{i} ≈" if overlap else str(i) for i, overlap in enumerate(overlaps, 1)]


def _cost(cost: record.Interval) -> str:
    if cost.low == cost.high:  # one run has no interval
        return f"{cost.mean / 1e6:.3f}"
    return f"{cost.mean / 1e6:.3f} ({cost.low / 1e6:.3f}–{cost.high / 1e6:.3f})"


def _accuracy(accuracy: record.Interval) -> str:
    if accuracy.low == accuracy.high:
        return f"{accuracy.mean / 1e4:.1f}%"
    half = max(accuracy.high - accuracy.mean, accuracy.mean - accuracy.low)
    return f"{accuracy.mean / 1e4:.1f}%{NBSP}±{NBSP}{half / 1e4:.1f}"


def _mean(values: Sequence[int], unit: int, digits: int) -> str:
    return f"{statistics.mean(values) / unit:,.{digits}f}" if values else "–"


def _mean_sd(values: Sequence[int], unit: int) -> str:
    mean = _mean(values, unit, 1)
    return f"{mean}{NBSP}±{NBSP}{statistics.stdev(values) / unit:.1f}" if len(values) > 1 else mean


# ---------------------------------------------------------------- pages


def rendered(ledger: Path, known: Sequence[Track] | None = None) -> dict[str, bytes]:
    """Every generated file of the board: path relative to leaderboard/ -> content. Raises RenderError.

    `known` are the tracks that it is about; by default, all that the harness has. A provisional one gets a page with
    its first record; until then the front page names it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    known = [tracks.load(name) for name in tracks.names()] if known is None else known
    found = entries(ledger)
    for entry in found:
        if entry.track not in {track.name for track in known}:
            raise RenderError(f"{ledger / entry.folder}: no track {entry.predicate.track!r} in harness/tracks")
    known = sorted(known, key=lambda track: track.name)
    used = {entry.track for entry in found}
    boards = [board(track, found) for track in known if track.status == "measured" or track.name in used]
    boards.sort(key=lambda one: -len(one.ranked))  # the busiest track first
    waiting = [track for track in known if track.status == "provisional" and track.name not in used]

    # No autoescape: it is for HTML. What a row holds is safe Markdown already.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    views = [_view(one) for one in boards]
    front_page = environment.get_template("README.md.j2").render(mark=MARK, boards=views, waiting=waiting)
    pages = {"README.md": front_page.encode()}
    page = environment.get_template("track.md.j2")
    for view in views:
        track = view["track"]
        assert isinstance(track, Track)
        pages[f"{track.name}.md"] = page.render(mark=MARK, **view).encode()
    for one in boards:
        pages |= _charts(one)
    return dict(sorted(pages.items()))


def front(readme: str, page: str) -> str:
    """The project's README with the tables of the board's front page between its markers, each under its track's title.

    Without markers the text is returned as it is. `page` is the rendered leaderboard/README.md.
    """
    begin, found, rest = readme.partition("<!-- board:start -->\n")
    _, closed, end = rest.partition("<!-- board:end -->")
    if not (found and closed):
        return readme
    sections = [section.splitlines() for section in re.split(r"(?m)^## ", page)]
    tables = [(title, [line for line in lines if line.startswith("|")]) for title, *lines in sections[1:]]
    told = "\n\n".join("\n".join([f"**{title}**", "", *table]) for title, table in tables if table)
    return f"{begin}{found}{told or 'No record stands yet.'}\n{closed}{end}"


def _view(one: Board) -> dict[str, object]:
    """What a template sees of a track."""
    rows = [row(entry, rank) for entry, rank in zip(one.ranked, ranks(one.ranked), strict=True)]
    return {
        "track": one.track,
        "gate": charts.percent(one.track.heldout.mean_gate_ppm / 1e6),
        "floors": [(task, charts.percent(gate / 1e6)) for task, gate in one.track.heldout.gates.items()],
        "questions": f"{sum(s.questions for s in one.track.heldout.suites if s.gate_ppm is not None):,}",
        "alpha": f"{one.track.verdict.alpha_ppb / 1e9:g}",
        "rows": rows,
        "reported": [suite.task for suite in one.track.heldout.suites if suite.gate_ppm is None],
        "reports": [(_name(entry), _reports(one.track, entry)) for entry in one.ranked],
        **_fixed(one),
        "top": rows[:TOP],
        "standing": row(one.standing) if one.standing else None,
        "history": [row(entry, reasons=why_no_record(entry)) for entry in one.history],
        "apart": [row(entry, reasons=reasons) for entry, reasons in one.apart],
        "changed": [row(entry) for entry in one.changed],
        "chart": f"curves/{one.track.name}.svg" if any(entry.curves for entry in one.ranked) else None,
    }


def _reports(track: Track, entry: Entry) -> list[str]:
    """Accuracy on each suite without a gate, with its 95% interval over runs."""
    told = []
    for suite in track.heldout.suites:
        if suite.gate_ppm is None:
            each = [run.tasks[suite.task] for run in entry.predicate.runs]
            low, mean, high = stats.t_interval([one.correct / one.questions for one in each])
            low, mean, high = (round(min(max(value, 0), 1) * 1e6) for value in (low, mean, high))
            told.append(_accuracy(record.Interval(low=low, mean=mean, high=high)))
    return told


def _fixed(one: Board) -> dict[str, object]:
    """The fixed benchmarks of all records that have any: their names, and a row of figures a record."""
    shown = [(_name(entry), entry.predicate.benchmarks or {}) for entry in one.ranked]
    shown += [(f"{_name(entry)} (apart)", entry.predicate.benchmarks or {}) for entry, _ in one.apart]
    names = sorted({name for _, scores in shown for name in scores})
    cells = [
        (who, [figure for name in names for figure in _beside(scores.get(name))]) for who, scores in shown if scores
    ]
    return {"fixed": names, "fixed_rows": cells}


def _beside(score: record.BenchmarkScore | None) -> tuple[str, str]:
    """The submission's figure and the control run's."""
    if score is None:
        return "–", "–"
    return _accuracy(score.accuracy_ppm), "–" if score.control_ppm is None else _accuracy(score.control_ppm)


def _charts(one: Board) -> dict[str, bytes]:
    """An SVG for each record with curves, and one for the track if any of its ranked records has."""
    drawn = {}
    for entry in [*one.ranked, *(entry for entry, _ in one.apart), *one.changed]:
        if entry.curves:
            predicate = entry.predicate
            gates = {name: test.gate_ppm / 1e6 for name, test in predicate.verdict.gates.items()}
            done = [_outcome(run, gates) for run in predicate.runs]
            chart = charts.record_chart(predicate.submission.name, predicate.track, entry.curves, gates, done)
            drawn[f"curves/{entry.folder}.svg"] = chart
    with_curves = [entry for entry in one.ranked if entry.curves]
    if with_curves:
        series = [charts.Series(_name(entry), _note(entry), entry.curves) for entry in with_curves]
        chart = charts.track_chart(one.track.id, series, one.track.heldout.mean_gate_ppm / 1e6)
        drawn[f"curves/{one.track.name}.svg"] = chart
    return drawn


def _outcome(run: record.Run, gates: Mapping[str, float]) -> charts.Outcome:
    """Held-out accuracy by gated task and their mean, in which each task weighs the same."""
    each = {
        task: result.correct / result.questions
        for task, result in run.tasks.items()
        if task in gates and result.questions
    }
    mean = {"mean": sum(each.values()) / len(each)} if each else {}
    return charts.Outcome(run.wall_ms / 1000, mean | each)


def _name(entry: Entry) -> str:
    return entry.predicate.submission.name


def _note(entry: Entry) -> str:
    return f"relative cost {_cost(entry.predicate.verdict.relative_cost_ppm)}"


# ---------------------------------------------------------------- writing


def render(ledger: Path, out: Path, known: Sequence[Track] | None = None) -> list[Path]:
    """Write the board into `out`, and its table into the README beside `out` if that has a place for it.

    Generated files that no longer belong to the board are removed. Returns what was written into `out`.

    Each file is replaced in one step, so a reader never meets half a page. A file that does not carry the
    mark of this program is never overwritten or deleted. Raises RenderError, before anything is written if
    the ledger is at fault.
    """
    pages = rendered(ledger, known)
    wanted = {out / name: data for name, data in pages.items()}
    try:
        for path in wanted:
            if (path.is_symlink() or path.exists()) and not _is_ours(path):
                raise RenderError(f"{path} was not generated by `nano-r1 leaderboard`: move it away")
        for path, data in wanted.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _replace(path, data)
        readme = out.parent / "README.md"
        if readme.is_file():
            text = readme.read_text()
            if (fresh := front(text, pages["README.md"].decode())) != text:
                _replace(readme, fresh.encode())
        for path in sorted([*out.glob("*.md"), *out.glob("curves/*.svg")]):
            if path not in wanted and _is_ours(path):
                path.unlink()
    except OSError as error:
        raise RenderError(f"cannot write {error.filename or out}: {error.strerror}") from None
    return list(wanted)


def _is_ours(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(512)


def _replace(path: Path, data: bytes) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
