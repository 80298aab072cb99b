"""A table for narrow terminals that never breaks a word: names and digests are there to be copied."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console, ConsoleOptions, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text


class WordTable(Table):
    """Wraps cells between words. Where a row's longest words do not fit beside each other, each row becomes a block."""

    def __init__(self, *columns: str, title: str | None) -> None:
        super().__init__(
            *columns,
            box=SIMPLE_HEAD,
            title=title,
            title_justify="left",
            title_style="bold",
            pad_edge=False,
            collapse_padding=True,
        )

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        wide = options.update(width=sum(len(str(cell)) for column in self.columns for cell in column.cells) + 1000)
        cells = [[column.header, *column.cells] for column in self.columns]
        sizes = [[Measurement.get(console, wide, cell) for cell in column] for column in cells]
        least = [max(size.minimum for size in column) for column in sizes]
        widths = [max(size.maximum for size in column) for column in sizes]
        between = super().__rich_measure__(console, wide).maximum - sum(widths)
        if sum(least) + between > options.max_width:
            yield from self._blocks(console)
            return
        while sum(widths) + between > options.max_width:  # of the columns that can still wrap, the widest yields
            widest = max((width, i) for i, width in enumerate(widths) if width > least[i])[1]
            widths[widest] -= 1
        for column, width in zip(self.columns, widths, strict=True):
            column.width = width
        yield from super().__rich_console__(console, options)

    def _blocks(self, console: Console) -> RenderResult:
        """A row as a block: its first cell, and below it the other columns by their names."""
        if self.title:
            yield Text.assemble((str(self.title), "bold"))
        names = [str(column.header) for column in self.columns]
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield Text(" ").append_text(console.render_str(str(cells[0])))
            for name, cell in zip(names[1:], cells[1:], strict=True):
                if str(cell):
                    yield Text(f"   {name}: " if name else "   ").append_text(console.render_str(str(cell)))
        yield Text()
