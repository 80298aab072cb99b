"""The leaderboard: its pages, and the table in the README, are what the ledger renders to, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from harness.board.render import PARTS, front, rendered
from harness.errors import NanoR1Error
from harness.ledger.errors import CheckResult
from harness.ledger.store import Ledger


def check_pages(ledger: Ledger, board: Path) -> Iterator[CheckResult]:
    """`board`: the folder of the pages; a README.md beside it holds the front page's table."""
    try:
        pages = rendered(ledger.folder)
    except NanoR1Error as error:
        yield CheckResult("board", board.name, False, f"cannot be rendered: {error}")
        return
    for name, data in pages.items():
        path = board / name
        same = path.is_file() and path.read_bytes() == data
        message = "as rendered from the ledger" if same else "not what the ledger renders to: run `nano-r1 leaderboard`"
        yield CheckResult("board", f"{board.name}/{name}", same, message)
    there = {path.relative_to(board).as_posix() for glob in PARTS for path in board.glob(glob)}
    stale = there - pages.keys()
    for name in sorted(stale):
        yield CheckResult("board", f"{board.name}/{name}", False, "belongs to no record")
    readme = board.parent / "README.md"
    if readme.is_file():
        text = readme.read_text(encoding="utf-8")
        same = front(text, pages["README.md"].decode()) == text
        message = "its table is the board's" if same else "its table is not the board's: run `nano-r1 leaderboard`"
        yield CheckResult("board", "README.md", same, message)
