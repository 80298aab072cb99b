"""Sweeps of generators that need not be made again: tests/validated.toml says over what each has passed.

A sweep draws hundreds of questions and grades every gold answer and attack, or solves them a second time. It can only
end differently when something that it runs has changed. So an entry is a digest over all of that: the sources of the
task and of what it imports, the versions of the packages that those import, the test's file and the helpers of tests/
that it imports. `scripts/test` leaves out a sweep whose entry is the digest of today; a missing, old or invented entry
is another digest, and the sweep is made. `scripts/test --all` makes all of them and writes the file.
"""

import ast
import contextlib
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

TESTS = Path(__file__).resolve().parent
FILE = TESTS / "validated.toml"
DISTRIBUTIONS = {"pysat": "python-sat"}  # whose name is not that of the module
HEADER = """\
# Which sweeps of which generators have passed, and the digest of all that they ran: see tests/validated.py.
# Written by `scripts/test --all`. An edit by hand only makes `scripts/test` sweep again.

"""


def load(path: Path = FILE) -> dict[str, str]:
    """Digests by test, `file::function[case]`."""
    return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def save(entries: Mapping[str, str], path: Path = FILE) -> None:
    path.write_text(HEADER + "".join(f'"{test}" = "{entries[test]}"\n' for test in sorted(entries)), encoding="utf-8")


def digest(test_file: Path, tasks: Iterable[str]) -> str:
    """SHA-256, in hex and cut to 16 digits, of all that a sweep of these tasks in this file runs."""
    sources = {ROOT / "harness" / source for task in tasks for source in task_sources(task)}
    packages = sorted({package for source in sources for package in packages_of(imports(source))})
    total = hashlib.sha256("".join(f"{package}\n" for package in packages).encode())
    for path in [*sorted(sources), *sorted(helpers(test_file))]:
        data = path.read_bytes()
        total.update(f"{path.name}\0{len(data)}\0".encode() + data)
    return total.hexdigest()[:16]


@cache
def imports(source: Path) -> frozenset[str]:
    """The modules that a file imports, wherever in it and in whatever way."""
    names = set[str]()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        match node:
            case ast.Import():
                names |= {alias.name for alias in node.names}
            case ast.ImportFrom(module=str(name)):
                names.add(name)
            case ast.Call(func=ast.Name("import_module"), args=[ast.Constant(value=str(name)), *_]):
                names.add(name)
    return frozenset(names)


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
    return [path for path in TESTS.rglob("*.py") if not path.is_relative_to(TESTS / "cheats")]


@cache
def packages_of(modules: frozenset[str]) -> frozenset[str]:
    """The distributions that these modules come from and those that they need themselves, each as `name version`."""
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names - {"harness"}
    direct = {DISTRIBUTIONS.get(top, top) for top in tops}
    needed = set[str]()
    for name in direct:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            required = importlib.metadata.requires(name) or []
            needed |= {re.split(r"[^\w.-]", text)[0] for text in required if "extra ==" not in text}
    return frozenset(f"{name} {version(name)}" for name in direct | needed)


def version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "missing"
