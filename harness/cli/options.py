"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.terminal import stop

RECORDS = Path(__file__).resolve().parents[2] / "records"
DEFAULT_KEY = Path.home() / ".config" / "nano-r1" / "key"


def _check_ledger(folder: Path) -> Path:
    if not folder.is_dir():
        stop(f"{folder} is not a folder; point --ledger at a ledger")
    return folder


TrackName = Annotated[str, typer.Option("--track", metavar="TRACK", help="A track; see `nano-r1 tracks`.")]
SubmissionsTrack = Annotated[
    str | None,
    typer.Option("--track", metavar="TRACK", help="Track to use. Default: the one that submission.toml names."),
]
ExistingLedger = Annotated[
    Path,
    typer.Option(
        "--ledger",
        metavar="FOLDER",
        help="Folder of the ledger. Default: this repository's records.",
        show_default=False,
        callback=_check_ledger,
    ),
]
KeyFile = Annotated[
    Path,
    typer.Option(
        "--key",
        metavar="FILE",
        help="Private signing key. Default: ~/.config/nano-r1/key.",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
