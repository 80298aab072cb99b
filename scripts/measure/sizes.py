"""How large is the code? Lines by room, the largest files, functions and parameter lists; exit 1 above a limit.

    python scripts/measure/sizes.py                 the table, as Markdown
    python scripts/measure/sizes.py --against REV   and the lines at another commit beside it

The limits hold for all but harness/client.py, whose bytes never change.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from harness.ledger import git
from harness.tracks.track import ROOT

CLIENT = "harness/client.py"
MAX_FILE, MAX_FUNCTION, MAX_PARAMETERS = 450, 60, 8  # lines, lines, and a function's parameters


@dataclass(frozen=True)
class Function:
    place: str  # file:line name
    lines: int
    parameters: int


def functions(path: str, source: str) -> list[Function]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            takes = node.args
            count = len(takes.posonlyargs) + len(takes.args) + len(takes.kwonlyargs)
            names = [argument.arg for argument in (takes.posonlyargs + takes.args)[:1]]
            count -= names in (["self"], ["cls"])
            is_command = any("command" in ast.unparse(decorator) for decorator in node.decorator_list)
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            # A command's parameters are its options: typer reads them off the signature.
            found.append(Function(f"{path}:{node.lineno} {node.name}", lines, 0 if is_command else count))
    return found


def python_files(revision: str | None = None) -> dict[str, str]:
    """Each tracked Python file's text, submissions, records and the cheats' programs aside."""
    command = ["ls-files", "-z"] if revision is None else ["ls-tree", "-r", "-z", "--name-only", revision]
    listed = git.run(ROOT, *command).decode().split("\0")
    kept = [
        name
        for name in listed
        if name.endswith(".py") and not name.startswith(("submissions/", "records/", "tests/cheats/"))
    ]
    if revision is None:
        return {name: (ROOT / name).read_text(encoding="utf-8") for name in kept if (ROOT / name).is_file()}
    return {name: git.run(ROOT, "show", f"{revision}:{name}").decode() for name in kept}


def room(path: str) -> str:
    parts = path.split("/")
    if parts[0] in ("harness", "scripts") and len(parts) > 2:
        return "/".join(parts[:2])
    return parts[0] if len(parts) > 1 else "."


def violations(files: dict[str, str]) -> list[str]:
    """What stands above a limit, a line each, in harness/ and in the trainers; empty if nothing does."""
    found = []
    for path, source in files.items():
        lines = source.count("\n")
        if not path.startswith(("harness/", "baseline")) or path == CLIENT:
            continue
        if lines > MAX_FILE:
            found.append(f"{path}: {lines} lines, more than {MAX_FILE}")
        if not path.startswith("harness/"):
            continue  # a trainer is read top to bottom: its functions are as long as its story
        for each in functions(path, source):
            if each.lines > MAX_FUNCTION:
                found.append(f"{each.place}: {each.lines} lines, more than {MAX_FUNCTION}")
            if each.parameters > MAX_PARAMETERS:
                found.append(f"{each.place}: {each.parameters} parameters, more than {MAX_PARAMETERS}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", metavar="REV", help="a commit to compare with")
    options = parser.parse_args()
    files = python_files()
    now = Counter[str]()
    for path, source in files.items():
        now[room(path)] += source.count("\n")
    before = Counter[str]()
    if options.against:
        for path, source in python_files(options.against).items():
            before[room(path)] += source.count("\n")
    print("| room | lines |" + (f" at {options.against} |" if options.against else ""))
    print("|---|---:|" + ("---:|" if options.against else ""))
    for name in sorted({*now, *before}):
        print(f"| {name} | {now[name]:,} |" + (f" {before[name]:,} |" if options.against else ""))
    print(f"| all | {now.total():,} |" + (f" {before.total():,} |" if options.against else ""))
    ours = {path: source for path, source in files.items() if path.startswith("harness/") and path != CLIENT}
    print("\nLargest files of harness/:")
    for path, source in sorted(ours.items(), key=lambda item: -item[1].count("\n"))[:10]:
        print(f"    {source.count(chr(10)):4} {path}")
    every = [each for path, source in ours.items() for each in functions(path, source)]
    print("Longest functions:")
    for each in sorted(every, key=lambda each: -each.lines)[:10]:
        print(f"    {each.lines:4} {each.place}")
    print("Most parameters:")
    for each in sorted(every, key=lambda each: -each.parameters)[:5]:
        print(f"    {each.parameters:4} {each.place}")
    if found := violations(files):
        raise SystemExit("\n" + "\n".join(found))


if __name__ == "__main__":
    main()
