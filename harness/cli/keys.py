"""Make a signing key."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.options import DEFAULT_KEY

app = typer.Typer()


@app.command()
def keygen(
    identity: Annotated[str, typer.Argument(metavar="IDENTITY", help="Who signs: letters, digits, dots, dashes.")],
    key: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="Where the private half goes; the public half goes to FILE.pub. Default: ~/.config/nano-r1/key.",
            show_default=False,
        ),
    ] = DEFAULT_KEY,
    hours: Annotated[
        int, typer.Option(min=1, max=24 * 366, metavar="N", help="How long the key may sign, once it is listed.")
    ] = 24,
) -> None:
    """Make a signing key.

    Prints the line that a maintainer adds to records/allowed_signers, which makes this key's records official.
    """
    from harness.ledger.signature import generate
    from harness.ledger.trust import allowed_line

    public = generate(key, identity)
    now = datetime.now(UTC).replace(microsecond=0)
    sys.stderr.write(
        f"wrote {key} (keep it private and delete it after use) and {key}.pub\n"
        "A maintainer makes its records official by adding this line to records/allowed_signers:\n"
    )
    sys.stdout.write(allowed_line(public, identity, now, now + timedelta(hours=hours)).rstrip("\n") + "\n")
