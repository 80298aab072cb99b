"""What the bytes of a submission's files show before anything is parsed: names, characters, layout, packed data."""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import PurePosixPath

from harness.screen.findings import LONG_LINE, RUN, Finding, finding, shown

RUN_BITS = 4.8  # entropy a character: English with punctuation has 4.5, 80 characters of random base64 have 5.4

_STARTUP = {"sitecustomize", "usercustomize", "conftest"}  # found and run without being asked for
_PLAIN_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")


def check_name(name: str, allowed: frozenset[str]) -> Iterator[Finding]:
    """`allowed`: the packages that code of this folder may import."""
    path = PurePosixPath(name)
    if not all(_PLAIN_NAME.fullmatch(part) for part in path.parts):
        yield finding("file-name", name, None, "an unusual file name")
    if any(part.startswith(".") for part in path.parts):
        yield finding("hidden-file", name, None, "a hidden file")
    elif path.suffix not in (".py", ".md", ".toml"):
        yield finding("file-type", name, None, f"{shown(path.suffix) or 'no extension'} is not .py, .md or .toml")
    top = path.parts[0].removesuffix(".py") if path.parts else ""
    if path.suffix == ".py" and (top in sys.stdlib_module_names | allowed | _STARTUP or top == "harness"):
        yield finding("shadowing", name, None, f"`import {top}` would find this file")


# Written out as escapes: nobody should have to trust what they cannot see.
_BIDI = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\xad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200d\u2028\u2029"
    "\u2060-\u2065\u206a-\u206f\u2800\u3164\ue000-\uf8ff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U0010ffff]|\r(?!\n)"
)
_COOKIE = re.compile(r"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*?coding[:=][ \t]*([-\w.]+)")


def check_characters(name: str, text: str) -> Iterator[Finding]:
    for code, pattern in (("bidi-control", _BIDI), ("invisible-character", _INVISIBLE)):
        first = pattern.search(text)
        if first:
            count = len(pattern.findall(text))
            line = text.count("\n", 0, first.start()) + 1
            message = f"U+{ord(first[0]):04X}" + (f", and {count - 1} more in this file" if count > 1 else "")
            yield finding(code, name, line, message)
    cookie = _COOKIE.search(text) if name.endswith(".py") else None
    if cookie and cookie[1].lower().replace("_", "-") not in ("utf-8", "utf8"):
        yield finding("encoding", name, text.count("\n", 0, cookie.start(1)) + 1, f"declares {shown(cookie[1])}")


_WORD = re.compile(rf"\S{{{RUN},}}")
_HEX = re.compile(rf"[0-9a-fA-F]{{{RUN},}}")


def encoded_runs(name: str, text: str) -> tuple[list[Finding], int]:
    """Runs that look encoded, in code, comments and prose alike; and how many characters they have together."""
    findings, total, line, at = [], 0, 1, 0
    for match in _WORD.finditer(text):
        digits = _HEX.search(match[0])
        if not (entropy(match[0]) > RUN_BITS or (digits and len(set(digits[0])) >= 8)):
            continue
        line, at = line + text.count("\n", at, match.start()), match.start()
        total += len(match[0])
        findings.append(finding("data", name, line, f"{len(match[0]):,} characters without a space look encoded"))
    return findings, total


def entropy(data: str | bytes) -> float:
    """Bits a symbol of its empirical distribution, at most log2 of the length."""
    size = len(data)
    return -sum(n / size * math.log2(n / size) for n in Counter(data).values()) if size else 0.0


_FAR_RIGHT = re.compile(r"\S[ \t]{40,}\S")


def check_layout(name: str, text: str) -> Iterator[Finding]:
    """Of a Python file."""
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > LONG_LINE:
            yield finding("layout", name, number, f"a line of {len(line):,} characters")
        if len(line) > 42 and (" " * 40 in line.strip() or "\t" in line.strip()) and _FAR_RIGHT.search(line):
            yield finding("layout", name, number, "code behind 40 spaces or more")
    trailing = sum(len(line) - len(line.rstrip(" \t\r")) for line in lines) - text.count("\r\n")
    if trailing > 100:
        yield finding("layout", name, None, f"{trailing:,} spaces at line ends")
    full = [len(line.strip()) for line in lines if line.strip()]
    mean = sum(full) / len(full) if full else 0.0
    if len(full) >= 40 and not 10 <= mean <= 90:
        yield finding("layout", name, None, f"lines of {mean:.0f} characters on average")
