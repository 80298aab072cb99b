"""Serve a trainer under development: `ready` on stdout, then until stdin closes (the trainer is gone)."""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from pathlib import Path
from typing import Literal

from harness.environment.server import Environment
from harness.environment.training import development_key
from harness.errors import NanoR1Error
from harness.frozen.errors import FrozenError
from harness.tracks.track import load


def main() -> Literal[0, 2]:
    parser = argparse.ArgumentParser(prog="python -m harness.environment", description=__doc__)
    parser.add_argument("--dev", action="store_true", required=True, help="a verifier's environment runs inside it")
    parser.add_argument("--track", required=True)
    parser.add_argument("--socket", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    begun = time.monotonic()
    try:
        track = load(args.track)
        track.check_base()
        output = args.output.resolve()
        output.mkdir(parents=True, exist_ok=True)
        environment = Environment(
            track,
            development_key(args.seed),
            args.seed,
            args.socket,
            str(track.base_folder),
            str(output),
            lambda: round((time.monotonic() - begun) * 1000),
        )
        environment.start()
    except (NanoR1Error, FrozenError, OSError) as error:
        print(f"nano-r1: {error}", file=sys.stderr)
        return 2
    print("ready", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.buffer.read()
    environment.stop()
    if environment.fault:
        print(environment.fault, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
