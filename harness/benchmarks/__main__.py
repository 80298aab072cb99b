"""`python -m harness.benchmarks`: what is pinned; `… pin NAME`: fetch NAME and print what to write into its source."""

from __future__ import annotations

import argparse
import sys

from harness.benchmarks import BENCHMARKS, NOT_PUBLIC, Source, SourceError, pin, unknown

SOURCES: dict[str, Source] = {source.name: source for benchmark in BENCHMARKS.values() for source in benchmark.sources}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m harness.benchmarks", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="every data set and what of it is pinned (the default)")
    commands.add_parser("pin", help="fetch a data set and print its pin").add_argument("name", choices=SOURCES)
    chosen = parser.parse_args(arguments)
    if chosen.command == "pin":
        try:
            print(pin(SOURCES[chosen.name]), end="")
        except SourceError as error:
            print(f"{parser.prog}: {error}", file=sys.stderr)
            return 2
        return 0
    for name, source in SOURCES.items():
        missing = unknown(source)
        state = f"not pinned: never seen here ({', '.join(missing)} unknown)" if missing else "pinned"
        rows = "?" if source.rows is None else f"{source.rows:,}"
        print(f"{name:18s} {rows:>8s} rows  {source.repo:40s} {'gated, ' if source.gated else ''}{state}")
    for name, why in NOT_PUBLIC.items():
        print(f"{name:18s} {why}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
