"""What scripts write into pages of docs/: a Markdown table, and a section between two comments."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from harness import files


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table. A cell's text stays one cell: its bars and line ends are replaced."""
    lines = [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) for cells in (head, *rows)]
    return [f"| {lines[0]} |", f"|{'---|' * len(head)}", *(f"| {line} |" for line in lines[1:])]


def write_section(page: Path, name: str, text: str) -> None:
    """Put `text` between the page's comments `NAME:start` and `NAME:end`. Raises ValueError if it has not both."""
    start, end = f"<!-- {name}:start -->\n", f"<!-- {name}:end -->"
    before, start_mark, rest = page.read_text(encoding="utf-8").partition(start)
    _, end_mark, after = rest.partition(end)
    if not end_mark:
        raise ValueError(f"{page} has no section between {start.strip()} and {end}")
    files.write(page, f"{before}{start_mark}{text.rstrip()}\n{end_mark}{after}")
