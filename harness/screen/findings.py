"""What the static screen can find: its rules, a finding, and how findings are sorted, cut and shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from harness.board.markdown import plain

Severity = Literal["error", "warning"]

# What is long, dense or much. The baseline and the recorded submissions stay under half of each.
MAX_SOURCE = 60_000  # bytes of Python in a folder; more is an error and is not parsed: a check takes a second
MAX_PACKED = 2_048  # bytes that look like data, in a folder
RUN = 80  # characters without a space
TABLE = 48  # constants in one list, tuple, set or dict
BIG_INTEGER = 128  # bits
LONG_LINE = 160  # characters
MUCH = 4  # times the baseline's information: bytes after compression
ROWS = 50  # of a table, errors first; a comment on GitHub holds 65,536 characters
SHOWN = 10  # findings of one code; the last one says how many more there are


@dataclass(frozen=True)
class Rule:
    severity: Severity
    meaning: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """`file` is relative to the folder, "." for the folder itself; `line` counts from 1. Both may be hostile text."""

    code: str
    severity: Severity
    file: str
    line: int | None
    message: str
    advice: str


RULES: dict[str, Rule] = {
    # -- errors: the folder
    "files": Rule("error", "A link, a device, too many files or too many bytes.", "Keep plain source files only."),
    "file-name": Rule(
        "error",
        "A file name with more than ASCII letters, digits, dots, dashes and underscores, or a dash first.",
        "Rename it.",
    ),
    "hidden-file": Rule("error", "A file or folder whose name starts with a dot.", "Remove it."),
    "file-type": Rule("error", "Something else than .py, .md and .toml.", "Remove it: a recipe is source code."),
    "not-text": Rule("error", "A file that is not UTF-8.", "Remove it, or save it as UTF-8."),
    "bidi-control": Rule(
        "error",
        "A character that reorders the text around it, so that a reviewer reads another program than Python does.",
        "Remove it.",
    ),
    "invisible-character": Rule(
        "error", "A control, zero-width or private character, or a lone carriage return.", "Remove it, or write \\u…."
    ),
    "encoding": Rule("error", "A declared source encoding other than UTF-8.", "Remove the declaration."),
    "manifest": Rule(
        "error", "submission.toml is missing, malformed or does not fit the folder.", "Correct submission.toml."
    ),
    "template": Rule(
        "error", "A line that `nano-r1 new` wrote for you to replace.", "Say what changed and who you are."
    ),
    "too-large": Rule(
        "error", f"More than {MAX_SOURCE:,} bytes of Python, which is not screened.", "Keep it to one readable file."
    ),
    "packed-data": Rule(
        "error",
        f"More than {MAX_PACKED:,} bytes of the folder look like data: dense strings, runs, tables, numbers.",
        "Remove them (R2). The `data` warnings say where they are.",
    ),
    "copied": Rule(
        "error", "train.py equals another submission's, except for comments and spaces.", "Change it, or drop it."
    ),
    # -- errors: the code
    "syntax": Rule("error", "Python cannot parse the file.", "Fix that line."),
    "non-ascii-name": Rule(
        "error", "A name in the code with a letter outside ASCII, which may look like another.", "Write beta, not β."
    ),
    "foreign-import": Rule(
        "error", "A package that the track does not have.", "Use Python's library and the track's packages (R7)."
    ),
    "harness-import": Rule(
        "error", "Something of the harness besides the public names of harness.client.", "Import only `connect`."
    ),
    "shadowing": Rule(
        "error", "A module of the folder that hides Python's, a package's or the harness's.", "Rename it."
    ),
    "hidden-code": Rule(
        "error",
        "Code that this screen cannot read: exec, eval, imports by name, unpickling, code built at run time.",
        "Write it as plain Python.",
    ),
    # -- warnings: none proves anything; each says where a reviewer reads first (docs/check.md says why each is there)
    "review-import": Rule("warning", "A module that few trainers need.", "Say in the README what it is for."),
    "review-call": Rule(
        "warning",
        "A call that starts processes, reads the environment, signals, traces or looks at other frames.",
        "Say in the README what it is for.",
    ),
    "dynamic-attribute": Rule(
        "warning", "An attribute or a global looked up by a computed name.", "Write the name out."
    ),
    "patching": Rule("warning", "An attribute of an imported module is replaced.", "Wrap the function instead."),
    "host-path": Rule(
        "warning", "A path outside the run's folders, or a variable of the loader.", "Use run.base and run.output."
    ),
    "own-file": Rule(
        "warning", "The trainer names a file of its own folder that is not code.", "Keep what it needs in the code."
    ),
    "own-weights": Rule(
        "warning", "Weights are named or written without run.save, or a link, pipe or hole is made.", "Use run.save."
    ),
    "unrepeatable": Rule(
        "warning", "The date, a file's time or entropy that run.seed does not fix.", "Use time.monotonic and run.seed."
    ),
    "decodes-tokens": Rule(
        "warning", "Token ids are turned into text: a solver would begin so.", "Say in the README what it is for (R3)."
    ),
    "data": Rule(
        "warning",
        f"A string, bytes or {RUN} characters without a space as dense as packed data, a literal of more than "
        f"{TABLE} constants, or an integer over {BIG_INTEGER} bits.",
        "Compute it, or remove it.",
    ),
    "layout": Rule(
        "warning",
        f"A line of code over {LONG_LINE} characters, several statements a line, code far to the right, much space at "
        "line ends, or lines far from a usual length.",
        "Format it.",
    ),
    "much-source": Rule(
        "warning", f"More than {MUCH} times the baseline's information (bytes after compression).", "Say why."
    ),
    "unchanged": Rule(
        "warning", "train.py equals the baseline's, except for comments and spaces.", "Change something."
    ),
    "based-on": Rule(
        "warning",
        "`based_on` names no submission, baseline or record that is here, or the folder itself.",
        "Correct the name, or leave the line out.",
    ),
    "digest-known": Rule("warning", "The ledger has this exact folder already.", "Verify another one."),
}


def finding(code: str, file: str, line: int | None, message: str) -> Finding:
    return Finding(code, RULES[code].severity, file, line, message, RULES[code].advice)


def errors(findings: Iterable[Finding]) -> int:
    return sum(entry.severity == "error" for entry in findings)


def tidy(findings: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by file and line; each finding once, and at most SHOWN of a code."""
    order = sorted(set(findings), key=lambda f: (f.severity, f.code, f.file, f.line or 0, f.message))
    kept: list[Finding] = []
    total = Counter(entry.code for entry in order)
    count: Counter[str] = Counter()
    for entry in order:
        count[entry.code] += 1
        if count[entry.code] < SHOWN or total[entry.code] == SHOWN == count[entry.code]:
            kept.append(entry)
        elif count[entry.code] == SHOWN:
            more = f"{entry.message}; and {total[entry.code] - SHOWN} more of this kind"
            kept.append(finding(entry.code, entry.file, entry.line, more))
    return sorted(kept, key=lambda f: (f.severity, f.file, f.line or 0, f.code))


# ---------------------------------------------------------------- showing


def shown(text: str) -> str:
    """Hostile text on one line of a terminal: printable ASCII only, at most 80 characters."""
    cut = text[:81].encode("unicode_escape").decode()
    return cut if len(cut) <= 80 else f"{cut[:77]}..."


def shown_line(message: str) -> str:
    """A message made of our words and text that is shown already; folder names in it may still be hostile."""
    return "".join(character if character.isprintable() else "\ufffd" for character in message)[:300]


def place(entry: Finding) -> str:
    return f"{shown(entry.file)}:{entry.line}" if entry.line else shown(entry.file)


def verdict(findings: Sequence[Finding]) -> str:
    wrong = errors(findings)
    other = len(findings) - wrong
    return f"{wrong} error{'s' * (wrong != 1)}, {other} warning{'s' * (other != 1)}"


def markdown(results: Mapping[str, Sequence[Finding]]) -> str:
    """The findings by folder, for a comment on a pull request. Nothing in it can be more than text."""
    lines: list[str] = []
    for folder, findings in results.items():
        lines += [f"### {plain(shown(folder))}: {verdict(findings)}", ""]
        if findings:
            lines += ["| | Where | Code | What | What to do |", "|---|---|---|---|---|"]
        for entry in findings[:ROWS]:
            cells = [f"**{entry.severity}**" if entry.severity == "error" else entry.severity]
            texts = (place(entry), entry.code, shown_line(entry.message)[:120], entry.advice)
            lines.append(f"| {' | '.join([*cells, *map(plain, texts)])} |")
        lines += ["", f"{len(findings) - ROWS} more are not shown."] * (len(findings) > ROWS)
        lines += [""] * bool(findings)
    return "\n".join(lines)
