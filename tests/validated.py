"""Sweeps of generators that need not be made again: tests/validated.toml says over what each has passed.

A sweep draws hundreds of questions and grades every gold answer and attack, or solves them a second time. It can only
end differently when something that it runs has changed. So an entry is a digest over all of that: the sources of the
task and of what it imports, the versions of the packages that those import, the test's file and the helpers of tests/
that it imports. `scripts/test` leaves out a sweep whose entry is the digest of today; a missing, old or invented entry
is another digest, and the sweep is made. `scripts/test --all` makes all of them and writes the file.
"""

import ast
import hashlib
import importlib.metadata
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path

from harness.tracks.digest import task_sources
from harness.tracks.files import ROOT

FILE = ROOT / "tests" / "validated.toml"
HEADER = """\
# Which sweeps of which generators have passed, and the digest of all that they ran: see tests/validated.py.
# Written by `scripts/test --all`. An edit by hand only makes `scripts/test` sweep again.

"""


def load(path: Path = FILE) -> dict[str, str]:
    """Digests by test, `file::function[case]`."""
    return tomllib.loads(path.read_text()) if path.exists() else {}


def save(entries: Mapping[str, str], path: Path = FILE) -> None:
    path.write_text(HEADER + "".join(f'"{test}" = "{entries[test]}"\n' for test in sorted(entries)))


def digest(test_file: Path, tasks: Iterable[str]) -> str:
    """SHA-256, in hex and cut to 16 digits, of all that a sweep of these tasks in this file runs."""
    sources = {ROOT / "harness" / source for task in tasks for source in task_sources(task)}
    packages = sorted({package for source in sources for package in packages_of(imports(source))})
    total = hashlib.sha256("".join(f"{package}\n" for package in packages).encode())
    for path in [*sorted(sources), *sorted(helpers(test_file))]:
        data = path.read_bytes()
        total.update(f"{path.relative_to(ROOT)}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:16]


@cache
def imports(source: Path) -> frozenset[str]:
    """The modules that a file imports, wherever in it."""
    nodes = list(ast.walk(ast.parse(source.read_text())))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return frozenset(plain | {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module})


@cache
def helpers(test_file: Path) -> frozenset[Path]:
    """The file, and those of tests/ that it imports, and so on."""
    covered, files = set[Path](), [test_file]
    while files:
        covered.add(file := files.pop())
        wanted = {name.rpartition(".")[2] for name in imports(file)}
        files += [path for path in everything_in_tests() if path.stem in wanted and path not in covered]
    return frozenset(covered)


@cache
def everything_in_tests() -> list[Path]:
    folder = ROOT / "tests"
    return [path for path in folder.rglob("*.py") if not path.is_relative_to(folder / "cheats")]


@cache
def packages_of(modules: frozenset[str]) -> frozenset[str]:
    """The distributions that these modules come from and those that they need themselves, each as `name version`."""
    by_module = importlib.metadata.packages_distributions()
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"harness"}
    direct = {name for top in tops for name in by_module.get(top, [f"{top} (missing)"])}
    needed = {
        re.split(r"[^\w.-]", requirement)[0]
        for name in direct
        if "(missing)" not in name
        for requirement in importlib.metadata.requires(name) or []
        if "extra ==" not in requirement
    }
    return frozenset(f"{name} {version(name)}" for name in direct | needed)


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
