"""The pages of the board, from the ledger alone.

The same ledger gives the same bytes on any machine: no clock, no absolute path, no locale, no hash order;
every number is an integer of the signed record formatted here. `rendered` is pure and is what the audit
compares with the files on disk; `render` writes.

Everything a submitter wrote (title, change, contributors, file names) is hostile. It meets a page only
through `plain`, which leaves text that no Markdown reader can take for structure, link, mention or markup.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness import files
from harness.board import charts
from harness.board.record_page import record_view
from harness.board.rows import benchmark_rows, cost_text, queries_text, row, session_rows, ungated_row
from harness.board.standings import (
    BoardError,
    Standings,
    ranks,
    read_ledger,
    reasons_no_record,
    standings,
    track_name,
)
from harness.ledger.record import Run
from harness.tracks.track import Track, load_all

TEMPLATES = Path(__file__).resolve().parent / "templates"
PARTS = ("curves/*.svg", "records/*.md")  # the files of a board that belong to records, relative to it
TOP = 5  # rows a track has on the front page
MARK = f"<!-- {charts.GENERATED} -->"  # in the first lines of all that may be overwritten or deleted


def rendered(ledger: Path, tracks: Sequence[Track] | None = None) -> dict[str, bytes]:
    """Every generated file of the board: path relative to leaderboard/ -> content. Raises BoardError.

    `tracks`: those that it is about; by default, all that the harness has. A provisional one gets a page with
    its first record or unanswered announcement; until then the front page names it.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    readable, unreadable = (tracks, {}) if tracks is not None else load_all()
    tracks = sorted(readable, key=lambda track: track.name)
    records, sessions = read_ledger(ledger)
    for record in records:
        if record.track in unreadable:
            raise unreadable[record.track]
        if record.track not in {track.name for track in tracks}:
            raise BoardError(f"{ledger / record.folder}: no track {record.predicate.track!r} in harness/tracks")
    used = {record.track for record in records}
    used |= {track_name(session) for session in sessions if session.abandoned or session.open}
    waiting = [track for track in tracks if track.status == "provisional" and track.name not in used]
    boards = [standings(track, records, sessions) for track in tracks if track not in waiting]
    boards.sort(key=lambda board: -len(board.ranked))  # the busiest track first

    # No autoescape: it is for HTML. What a row holds is safe Markdown already.
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=True,
    )  # fmt: skip
    views = [_view(board) for board in boards]
    front_page = environment.get_template("README.md.j2").render(mark=MARK, boards=views, waiting=waiting)
    pages = {"README.md": front_page.encode()}
    page, record_page = environment.get_template("track.md.j2"), environment.get_template("record.md.j2")
    for board, view in zip(boards, views, strict=True):
        pages[f"{board.track.name}.md"] = page.render(mark=MARK, **view).encode()
        for record in board.all_records:
            pages[record.page] = record_page.render(mark=MARK, **record_view(record, board.track)).encode()
        pages |= _charts(board)
    return dict(sorted(pages.items()))


def front(readme: str, page: str) -> str:
    """The project's README with the tables of the board's front page between its markers, each under its track's title.

    Without markers the text is returned as it is. `page` is the rendered leaderboard/README.md.
    """
    before, start, rest = readme.partition("<!-- board:start -->\n")
    _, end, after = rest.partition("<!-- board:end -->")
    if not (start and end):
        return readme
    sections = [section.splitlines() for section in re.split(r"(?m)^## ", page)]
    tables = [(title, [line for line in lines if line.startswith("|")]) for title, *lines in sections[1:]]
    text = "\n\n".join("\n".join([f"**{title}**", "", *table]) for title, table in tables if table)
    return f"{before}{start}{text or 'No record stands yet.'}\n{end}{after}"


def _view(board: Standings) -> dict[str, object]:
    """What a template sees of a track."""
    track = board.track
    costs = [record.predicate.verdict.relative_cost_ppm for record in board.ranked]
    rows = [row(record, rank) for record, rank in zip(board.ranked, ranks(costs), strict=True)]
    queries = [record.queries for record in board.by_queries]
    fixed, fixed_rows = benchmark_rows(board)
    return {
        "track": track,
        "gate": charts.percent(track.heldout.mean_gate_ppm / 1e6),
        "floors": [(task, charts.percent(gate / 1e6)) for task, gate in track.heldout.gates.items()],
        "questions": f"{sum(suite.questions for suite in track.heldout.suites if suite.gate_ppm is not None):,}",
        "alpha": f"{track.verdict.alpha_ppb / 1e9:g}",
        "rows": rows,
        "by_queries": [
            (row(record, rank), queries_text(interval))
            for record, rank, interval in zip(board.by_queries, ranks(queries), queries, strict=True)
        ],
        "origins": [row for row in rows if (row.origin, row.source, row.techniques) != ("–",) * 3],
        "reported": [suite.task for suite in track.heldout.suites if suite.gate_ppm is None],
        "reports": [(record.name, ungated_row(board, record)) for record in board.ranked],
        "fixed": fixed,
        "fixed_rows": fixed_rows,
        "top": rows[:TOP],
        "standing": row(board.standing) if board.standing else None,
        "history": [row(record, reasons=reasons_no_record(record)) for record in board.history],
        "apart": [row(record, reasons=reasons) for record, reasons in board.apart],
        "changed": [row(record) for record in board.changed],
        "announced": len(board.sessions),
        "unanswered": session_rows(board),
        "chart": f"curves/{track.name}.svg" if any(record.curves for record in board.ranked) else None,
    }


def _charts(board: Standings) -> dict[str, bytes]:
    """An SVG for each record with curves, and one for the track if any of its ranked records has."""
    drawings = {}
    for record in board.all_records:
        if record.curves:
            predicate = record.predicate
            gates = {name: test.gate_ppm / 1e6 for name, test in predicate.verdict.gates.items()}
            outcomes = [_outcome(run, gates) for run in predicate.runs]
            chart = charts.record_chart(record.name, predicate.track, record.curves, gates, outcomes)
            drawings[f"curves/{record.folder}.svg"] = chart
    series = [
        charts.Series(
            record.name, f"relative cost {cost_text(record.predicate.verdict.relative_cost_ppm)}", record.curves
        )
        for record in board.ranked
        if record.curves
    ]
    if series:
        chart = charts.track_chart(board.track.id, series, board.track.heldout.mean_gate_ppm / 1e6)
        drawings[f"curves/{board.track.name}.svg"] = chart
    return drawings


def _outcome(run: Run, gates: Mapping[str, float]) -> charts.Outcome:
    """Held-out accuracy by gated task and their mean, in which each task weighs the same."""
    accuracies = {
        task: result.correct / result.questions
        for task, result in run.tasks.items()
        if task in gates and result.questions
    }
    mean = {"mean": sum(accuracies.values()) / len(accuracies)} if accuracies else {}
    return charts.Outcome(run.wall_ms / 1000, mean | accuracies)


# ---------------------------------------------------------------- writing


def render(ledger: Path, out: Path, tracks: Sequence[Track] | None = None) -> list[Path]:
    """Write the board into `out`, and its table into the README beside `out` if that has a place for it.

    Generated files that no longer belong to the board are removed. Returns what was written into `out`.

    Each file is replaced in one step, so a reader never meets half a page. A file that does not carry the
    mark of this program is never overwritten or deleted. Raises BoardError, before anything is written if
    the ledger is at fault.
    """
    pages = {out / name: data for name, data in rendered(ledger, tracks).items()}
    try:
        for path in pages:
            if (path.is_symlink() or path.exists()) and not _is_generated(path):
                raise BoardError(f"{path} was not generated by `nano-r1 leaderboard`: move it away")
        for path, data in pages.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            files.write(path, data)
        readme = out.parent / "README.md"
        if readme.is_file():
            text = readme.read_text(encoding="utf-8")
            if (fresh := front(text, pages[out / "README.md"].decode())) != text:
                files.write(readme, fresh)
        for path in sorted([*out.glob("*.md"), *(path for glob in PARTS for path in out.glob(glob))]):
            if path not in pages and _is_generated(path):
                path.unlink()
    except OSError as error:
        raise BoardError(f"cannot write {error.filename or out}: {error.strerror}") from None
    return list(pages)


def _is_generated(path: Path) -> bool:
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return MARK.encode() in file.read(512)
