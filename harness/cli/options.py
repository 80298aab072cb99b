"""Options that several commands take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parent.parent.parent
RECORDS = ROOT / "records"
DEFAULT_KEY = Path.home() / ".config" / "nano-r1" / "key"

TrackName = Annotated[str, typer.Option("--track", help="Track to use; `nano-r1 tracks` lists them.")]
FoldersTrack = Annotated[
    str | None, typer.Option("--track", help="Track to use. Default: the one that submission.toml names.")
]
LedgerFolder = Annotated[Path, typer.Option("--ledger", help="Folder of the ledger.")]
KeyFile = Annotated[Path, typer.Option("--key", help="Private signing key; `nano-r1 keygen` makes one.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a script.")]
