"""Text is UTF-8 in any locale: in a Latin-1 one a tokenizer lost its spaces, and a board its dashes in GB18030."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from harness.tracks.track import ROOT

SOURCES = [path for room in ("harness", "scripts", "tests") for path in sorted((ROOT / room).rglob("*.py"))]
CHEATS = ROOT / "tests" / "cheats"  # run in a sandbox, whose locale is UTF-8
PROGRAMS = {"run", "Popen", "check_output", "check_call", "call"}


def without_encoding(tree: ast.AST) -> Iterator[ast.Call]:
    """The calls that read or write text in the encoding of the locale."""
    for call in ast.walk(tree):
        if not isinstance(call, ast.Call) or any(word.arg in ("encoding", None) for word in call.keywords):
            continue
        owner = ""
        if isinstance(call.func, ast.Attribute):
            name, owner = call.func.attr, ast.unparse(call.func.value)
        elif isinstance(call.func, ast.Name):
            name = call.func.id
        else:
            continue
        words = {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in ("read_text", "write_text"):
            yield call
        elif name in PROGRAMS and owner == "subprocess":
            if "True" in (words.get("text"), words.get("universal_newlines")):
                yield call
        elif name == "TextIOWrapper" or (name in ("open", "fdopen") and _is_text(call, owner, name, words)):
            yield call


def _is_text(call: ast.Call, owner: str, name: str, words: dict[str, str]) -> bool:
    if owner == "os" and name == "open":
        return False
    packed = owner in ("gzip", "lzma", "bz2")
    method = bool(owner) and not packed and name == "open"
    place = 0 if method else 1
    modes = [ast.unparse(argument) for argument in call.args[place : place + 1]] + [words.get("mode", "")]
    mode = next(filter(None, modes), "'rb'" if packed else "'r'")
    return mode[:1] in "'\"" and "b" not in mode and (not packed or "t" in mode)


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("path.read_text()", True),
        ("path.read_text(encoding='utf-8')", False),
        ("path.write_text(text, newline='')", True),
        ("open(name)", True),
        ("open(name, 'rb')", False),
        ("open(name, mode='a')", True),
        ("path.open()", True),
        ("path.open('xb')", False),
        ("os.open(name, os.O_RDONLY)", False),
        ("os.fdopen(descriptor, 'w')", True),
        ("gzip.open(name, 'rt')", True),
        ("gzip.open(name)", False),
        ("subprocess.run(line, text=True)", True),
        ("subprocess.run(line, text=True, encoding='utf-8')", False),
        ("subprocess.run(line)", False),
    ],
)
def test_what_reads_text_in_the_locale_is_known(source: str, found: bool) -> None:
    assert bool([*without_encoding(ast.parse(source))]) is found


def test_every_text_file_is_read_and_written_as_utf_8() -> None:
    found: dict[str, list[int]] = {}
    for path in SOURCES:
        if not path.is_relative_to(CHEATS):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            found |= {str(path.relative_to(ROOT)): [call.lineno for call in without_encoding(tree)]}
    assert {name: lines for name, lines in found.items() if lines} == {}
