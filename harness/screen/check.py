"""The static screen: what a reviewer should know of a submission before anybody runs it.

It reads the files and executes, imports and unpacks nothing of them. Being static it proves nothing: whoever
wants past it gets past it, and what then stops them is the sandbox, the strict reader of weights and the control
run. It is there so that a reviewer's hour goes to what matters, and so that an honest submitter hears of
a mistake in a second instead of after eight runs.

An *error* is what no honest submission needs: a file that is no text, an import that the track does not have, code
that only shows itself when it runs, packed data. A *warning* is worth a look and may be fine.

`screen` is pure and total: any bytes under any names give findings, never an exception. `check` reads a folder and
adds what needs the rest of the repository: manifest, copies, the ledger.
"""

from __future__ import annotations

import ast
import json
import math
import re
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal, TypeVar

from harness import submission
from harness.submission import SubmissionError
from harness.tasks import GENERATED, sample
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track, TrackError

T = TypeVar("T")
Severity = Literal["error", "warning"]

# What is long, dense or much. The baseline and the recorded submissions stay under half of each.
MAX_SOURCE = 60_000  # bytes of Python in a folder; more is an error and is not parsed: a check takes a second
MAX_PACKED = 2_048  # bytes that look like data, in a folder
RUN = 80  # characters without a space
RUN_BITS = 4.8  # entropy a character: English with punctuation has 4.5, 80 characters of random base64 have 5.4
DENSE_BITS = 5.0  # entropy a character of a whole literal
LONG_LITERAL = 1_000  # characters of one string that is no docstring
MANY_LITERALS = 8_000  # characters of all strings of a file, docstrings included
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
    "manifest": Rule("error", "submission.toml is missing, malformed or does not fit the folder.", "Mend that line."),
    "too-large": Rule(
        "error", f"More than {MAX_SOURCE:,} bytes of Python, which is not screened.", "Keep it to one readable file."
    ),
    "packed-data": Rule(
        "error",
        f"More than {MAX_PACKED:,} bytes of the folder look like data: dense strings, runs, tables, numbers.",
        "Take them out (R2). The warnings beside this one say where they are.",
    ),
    "copied": Rule(
        "error", "train.py is another submission's, comments and spaces apart.", "Name what differs, or drop it."
    ),
    # -- errors: the code
    "syntax": Rule("error", "Python cannot parse the file.", "Mend that line."),
    "non-ascii-name": Rule(
        "error", "A name in the code with a letter outside ASCII, which may look like another.", "Write beta, not β."
    ),
    "foreign-import": Rule(
        "error", "A package that the track does not have.", "Use Python's library and the track's packages (R7)."
    ),
    "harness-import": Rule(
        "error", "Something of the harness besides the public names of harness.client.", "Import `connect` alone."
    ),
    "shadowing": Rule(
        "error", "A module of the folder that hides Python's, a package's or the harness's.", "Rename it."
    ),
    "hidden-code": Rule(
        "error",
        "Code that this screen cannot follow: exec, eval, imports by name, unpickling, code built at run time.",
        "Write it as plain Python.",
    ),
    # -- warnings: for the reviewer's eye
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
        "warning", "The trainer names a file of its own folder that is no code.", "Keep what it needs in the code."
    ),
    "own-weights": Rule(
        "warning", "Weights are named or written without run.save, or a link, pipe or hole is made.", "Use run.save."
    ),
    "unrepeatable": Rule(
        "warning", "The date, a file's time or entropy that run.seed does not fix.", "Use time.monotonic and run.seed."
    ),
    "decodes-tokens": Rule(
        "warning", "Token ids are turned into text: a solver would begin so.", "Say in the README what it is for."
    ),
    "puzzle-words": Rule("warning", "A string with words of the track's questions.", "No question need be read (R3)."),
    "solver": Rule(
        "warning", "Exact fractions, permutations, or a function named for solving or for a task.", "See R3."
    ),
    "long-literal": Rule("warning", f"A string of more than {LONG_LITERAL:,} characters.", "Shorten it."),
    "many-literals": Rule("warning", f"More than {MANY_LITERALS:,} characters of strings in a file.", "Shorten them."),
    "dense-literal": Rule("warning", "A string or bytes as dense as packed data.", "Say what it is, or remove it."),
    "encoded-run": Rule(
        "warning", f"{RUN} characters or more without a space that look encoded, in any file.", "Remove them."
    ),
    "table": Rule(
        "warning", f"A literal with more than {TABLE} constants, or an integer over {BIG_INTEGER} bits.", "Compute it."
    ),
    "long-line": Rule("warning", f"A line of more than {LONG_LINE} characters of code.", "Wrap it at 120."),
    "minified": Rule("warning", "Several statements a line, or lines far from a usual length.", "Format it."),
    "hidden-whitespace": Rule("warning", "Code far to the right, or much space at line ends.", "Format it."),
    "much-source": Rule(
        "warning", f"More than {MUCH} times the baseline's information (bytes after compression).", "Say why."
    ),
    "unchanged": Rule("warning", "train.py is the baseline's, comments and spaces apart.", "Change something."),
    "digest-known": Rule(
        "warning", "The ledger has this very folder already.", "A verified folder needs no second look."
    ),
}


def finding(code: str, file: str, line: int | None, message: str) -> Finding:
    return Finding(code, RULES[code].severity, file, line, message, RULES[code].advice)


def errors(findings: Iterable[Finding]) -> int:
    return sum(each.severity == "error" for each in findings)


# ---------------------------------------------------------------- a folder in its repository


def check(folder: Path, repository: Path = ROOT) -> list[Finding]:
    """Every finding, errors first. `repository` has the submissions and the ledger to compare with.

    Raises SubmissionError if `folder` is not a folder.
    """
    if not folder.is_dir():
        raise SubmissionError(f"{folder} is not a folder; name a submission's, such as submissions/my-idea")
    folder = folder.resolve()
    try:
        files = {path.as_posix(): (folder / path).read_bytes() for path in submission.tree_files(folder)}
    except SubmissionError as error:
        return [finding("files", ".", None, _without(folder, error))]
    found: list[Finding] = []
    named: list[Track] = []
    try:
        named = [tracks.load(name) for name in submission.load(folder).manifest.every_track]
    except (SubmissionError, TrackError) as error:
        text = files.get("submission.toml", b"").decode(errors="replace")
        found.append(_manifest_finding(_without(folder, error), text))
    measured = (each for each in map(tracks.load, tracks.names()) if each.status == "measured")
    chosen = named or list(measured)
    baseline = chosen[0].baseline.folder
    reference = _text(ROOT / baseline / "train.py")
    packages = frozenset(name for one in chosen for name in one.packages)
    found += screen(files, packages, reference, frozenset(task for one in named for task in one.train.tasks))

    bare = _bare(files.get("train.py", b"").decode(errors="replace"))
    if bare and folder != ROOT / baseline and bare == _bare(reference):
        found.append(finding("unchanged", "train.py", None, f"the same as {baseline}/train.py"))
    for other in sorted((repository / "submissions").glob("*/train.py")):
        if bare and other.parent.name != folder.name and bare == _bare(_text(other)):
            found.append(finding("copied", "train.py", None, f"the same as submissions/{other.parent.name}/train.py"))
    digest = submission.tree_digest(folder)
    places = entries_naming(repository / "records", digest)
    if places:
        how = "recorded" if places[0].endswith("/record.json") else "announced"
        found.append(finding("digest-known", ".", None, f"{digest[:12]} is {how} in records/{places[0]}"))
    return tidy(found)


def entries_naming(ledger: Path, digest: str) -> list[str]:
    """The records, then the announcements, whose submission this is. Nothing is verified: that is the audit's."""
    found = []
    for path in [*sorted(ledger.glob("*/record.json")), *sorted(ledger.glob("log/*.json"))]:
        data = path.read_bytes()
        if digest.encode() not in data:  # quick; if it is there, it may still be another's reference
            continue
        try:
            said = json.loads(data)
            listed = said["submissions"] if "submissions" in said else [said["predicate"]["submission"]]
            if any(one["tree_sha256"] == digest for one in listed):
                found.append(path.relative_to(ledger).as_posix())
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    return found


def _without(folder: Path, error: ValueError) -> str:
    """The message, with the folder's name for its path."""
    return str(error).replace(str(folder), folder.name)


def _manifest_finding(message: str, text: str) -> Finding:
    """Where TOML or the schema named a place, its line."""
    _, manifest, rest = message.partition("submission.toml")
    at = re.search(r"\(at line ([0-9]+),", rest)
    key = re.match(r": ([A-Za-z0-9_-]+)", rest)
    wanted = re.escape(key[1]) if key else "tracks?" if message.startswith("there is no track") else None
    line = int(at[1]) if at else None
    if line is None and wanted:
        named = re.search(rf"^[ \t]*[\"']?{wanted}[\"']?[ \t]*=", text, re.MULTILINE)
        line = text.count("\n", 0, named.start()) + 1 if named else None
    return finding("manifest", "submission.toml" if manifest or wanted else ".", line, message)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


_DOCSTRING = re.compile(r'\A\s*(?:"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*\'\'\')', re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*|\s+")


def _bare(source: str) -> str:
    """Without the module's docstring, comments and white space: what a copy has in common with its model."""
    return _COMMENT.sub("", _DOCSTRING.sub("", source))


# ---------------------------------------------------------------- files


def screen(
    files: Mapping[str, bytes], packages: frozenset[str], reference: str, tasks: frozenset[str]
) -> list[Finding]:
    """What the bytes alone show. Pure and total.

    `files`: content by path, relative to the folder. `packages`: those that the track pins. `reference`: the
    baseline's train.py, whose information is the yardstick. `tasks`: those that the track trains on.
    """
    found: list[Finding] = []
    puzzle = puzzle_words(tasks)
    names = {PurePosixPath(name).parts[0].removesuffix(".py") for name in files if name.endswith(".py")}
    others = frozenset(name for name in files if not name.endswith(".py"))
    allowed = frozenset(each for name in packages for each in BROUGHT.get(name, (name,)))
    source = sum(len(data) for name, data in files.items() if name.endswith(".py"))
    if source > MAX_SOURCE:
        found.append(finding("too-large", ".", None, f"{source:,} bytes of Python"))
    packed = 0
    for name, data in files.items():
        found += _name(name, allowed)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            found.append(finding("not-text", name, line, f"byte {data[error.start]:#04x} at offset {error.start}"))
            continue
        found += _characters(name, text)
        runs, in_runs = _runs(name, text)
        found += runs
        carried = in_runs
        if name.endswith(".py"):
            found += _layout(name, text)
            if source <= MAX_SOURCE:
                module = _Module(name, text, allowed, frozenset(names), others, puzzle)
                found += module.findings()
                carried = max(in_runs, module.dense) + module.numbers
        # Random base64 compresses to 0.76 of its length however it is cut up; prose and code to half of it or less.
        if len(data) >= 2_000 and len(zlib.compress(data)) > 0.7 * len(data):
            carried = len(data)
        packed += carried
    if packed > MAX_PACKED:
        found.append(finding("packed-data", ".", None, f"{packed:,} bytes look like data"))
    information = len(zlib.compress(b"\n".join(files.values())))
    yardstick = len(zlib.compress(reference.encode(errors="replace")))
    if information > MUCH * yardstick:
        message = f"{information:,} bytes after compression, the baseline {yardstick:,}"
        found.append(finding("much-source", ".", None, message))
    return tidy(found)


def tidy(found: Iterable[Finding]) -> list[Finding]:
    """Errors first, then by file and line; each thing once, and at most SHOWN of a code."""
    order = sorted(set(found), key=lambda f: (f.severity, f.code, f.file, f.line or 0, f.message))
    kept: list[Finding] = []
    count = Counter(each.code for each in order)
    shown: Counter[str] = Counter()
    for each in order:
        shown[each.code] += 1
        if shown[each.code] < SHOWN or count[each.code] == SHOWN == shown[each.code]:
            kept.append(each)
        elif shown[each.code] == SHOWN:
            more = f"{each.message}; and {count[each.code] - SHOWN} more of this kind"
            kept.append(finding(each.code, each.file, each.line, more))
    return sorted(kept, key=lambda f: (f.severity, f.file, f.line or 0, f.code))


_PLAIN_NAME = re.compile(r"[A-Za-z0-9._][A-Za-z0-9._-]{0,99}")


def _name(name: str, allowed: frozenset[str]) -> Iterator[Finding]:
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


def _characters(name: str, text: str) -> Iterator[Finding]:
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


def _runs(name: str, text: str) -> tuple[list[Finding], int]:
    """Encoded-looking runs in code, comments and prose alike, and how many characters they have together."""
    found, total, line, at = [], 0, 1, 0
    for match in _WORD.finditer(text):
        digits = _HEX.search(match[0])
        if not (entropy(match[0]) > RUN_BITS or (digits and len(set(digits[0])) >= 8)):
            continue
        line, at = line + text.count("\n", at, match.start()), match.start()
        total += len(match[0])
        found.append(finding("encoded-run", name, line, f"{len(match[0]):,} characters without a space"))
    return found, total


def entropy(data: str | bytes) -> float:
    """Bits a symbol of its empirical distribution, at most log2 of the length."""
    size = len(data)
    return -sum(n / size * math.log2(n / size) for n in Counter(data).values()) if size else 0.0


_FAR_RIGHT = re.compile(r"\S[ \t]{40,}\S")


def _layout(name: str, text: str) -> Iterator[Finding]:
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if len(line) > LONG_LINE:
            yield finding("long-line", name, number, f"{len(line):,} characters")
        if len(line) > 42 and (" " * 40 in line.strip() or "\t" in line.strip()) and _FAR_RIGHT.search(line):
            yield finding("hidden-whitespace", name, number, "code behind 40 spaces or more")
    trailing = sum(len(line) - len(line.rstrip(" \t\r")) for line in lines) - text.count("\r\n")
    if trailing > 100:
        yield finding("hidden-whitespace", name, None, f"{trailing:,} spaces at line ends")
    full = [len(line.strip()) for line in lines if line.strip()]
    mean = sum(full) / len(full) if full else 0.0
    if len(full) >= 40 and not 10 <= mean <= 90:
        yield finding("minified", name, None, f"lines of {mean:.0f} characters on average")


# ---------------------------------------------------------------- what code may name

# What comes with a package that a track pins, and is as much the track's.
BROUGHT = {
    "torch": ("torch",),
    "transformers": ("transformers", "tokenizers", "safetensors", "numpy"),
}

CLIENT = {"connect", "Run", "Prompt", "Trace", "Score", "EnvironmentRefused", "SaveError"}

_STARTUP = {"sitecustomize", "usercustomize", "conftest"}  # found and run without being asked for


def _each(value: T, names: str) -> dict[str, T]:
    return dict.fromkeys(names.split(), value)


# Modules of Python's library. In none of the two: as good as any.
HIDING: dict[str, str] = {
    **_each("imports by name", "importlib imp runpy pkgutil zipimport zipapp builtins"),
    **_each("loads or builds code", "pickle _pickle marshal shelve copyreg code codeop py_compile compileall timeit"
            " doctest"),
}  # fmt: skip
REVIEWED = {
    **_each("native code and raw memory", "ctypes _ctypes mmap"),
    **_each("other processes", "subprocess _posixsubprocess multiprocessing concurrent pty signal venv ensurepip"),
    **_each("threads and what runs at exit", "threading _thread atexit asyncio sched"),
    **_each("sockets and the network", "socket _socket socketserver ssl http urllib ftplib smtplib poplib imaplib"
            " telnetlib nntplib xmlrpc select selectors webbrowser"),
    **_each("the interpreter's inside", "gc inspect dis ast symtable trace traceback tracemalloc faulthandler bdb pdb"
            " cProfile profile site sysconfig"),
    **_each("the machine", "platform pwd grp resource fcntl termios syslog sqlite3 dbm"),
    **_each("packed data", "base64 binascii zlib gzip bz2 lzma zipfile tarfile codecs"),
    **_each("chance that run.seed does not fix", "secrets uuid"),
}  # fmt: skip

# Dotted names, wherever they are read, called or not.
CALLS: dict[str, tuple[str, str]] = {
    **_each(("hidden-code", "runs or imports what only exists at run time"),
            "exec eval compile __import__ __builtins__ __loader__ __spec__ types.CodeType types.FunctionType"
            " types.LambdaType sys.meta_path sys.path_hooks torch.hub torch.package torch.jit.load"
            " torch.ops.load_library torch.classes.load_library torch.utils.cpp_extension torch.utils.model_zoo"
            " torch.serialization numpy.ctypeslib numpy.f2py transformers.dynamic_module_utils logging.config"),
    **_each(("review-call", "starts, signals or leaves processes"),
            "os.system os.popen os.fork os.forkpty os.kill os.killpg os.abort os._exit os.setsid os.setpgid os.setpgrp"
            " os.posix_spawn os.posix_spawnp os.execl os.execle os.execlp os.execlpe os.execv os.execve os.execvp"
            " os.execvpe os.spawnl os.spawnle os.spawnlp os.spawnlpe os.spawnv os.spawnve os.spawnvp os.spawnvpe"
            " os.pidfd_open os.register_at_fork os.unshare os.setns os.nice os.sched_setaffinity os.setpriority"
            " os.memfd_create torch.multiprocessing torch.distributed.run torch.distributed.launch"
            " torch.distributed.elastic"),
    **_each(("review-call", "reads or sets the environment"),
            "os.environ os.environb os.getenv os.getenvb os.putenv os.unsetenv"),
    **_each(("review-call", "traces, or looks at frames and modules"),
            "sys.settrace sys.setprofile sys._getframe sys._current_frames sys.modules sys.path sys.addaudithook"
            " sys.excepthook sys.unraisablehook breakpoint"),
    **_each(("review-call", "reads raw files"), "numpy.fromfile numpy.memmap torch.from_file"),
    **_each(("dynamic-attribute", "gives names as data"),
            "globals locals vars operator.attrgetter operator.methodcaller"),
    **_each(("unrepeatable", "is not fixed by run.seed"),
            "time.time time.time_ns time.localtime time.gmtime time.ctime time.strftime time.clock_gettime"
            " datetime.datetime.now datetime.datetime.utcnow datetime.datetime.today datetime.date.today os.stat"
            " os.path.getmtime os.path.getctime os.path.getatime os.urandom os.getrandom os.getpid"
            " random.SystemRandom"),
    **_each(("solver", "is how puzzles are searched"),
            "itertools.permutations itertools.combinations itertools.combinations_with_replacement itertools.product"),
    "fractions": ("solver", "is how puzzles are computed"),
    **_each(("own-weights", "writes without run.save"),
            "os.symlink os.link os.mkfifo os.mknod os.truncate os.ftruncate torch.save safetensors.serialize_file"
            " safetensors.torch.save_file safetensors.torch.save safetensors.torch.save_model safetensors.numpy.save"
            " safetensors.numpy.save_file"),
}  # fmt: skip

# Modules that other modules hold, perhaps with an underscore: torch.os.system is os.system.
_HELD = {"os", "sys", "builtins", "subprocess", "ctypes", "socket", "importlib", "pickle", "marshal", "gc", "inspect",
         "mmap", "threading", "shutil"}  # fmt: skip

# Attributes, whatever they are of.
ATTRIBUTES: dict[str, tuple[str, str]] = {
    **_each(("hidden-code", "reaches around the names"),
            "__subclasses__ __globals__ __builtins__ __code__ __closure__ __getattribute__ __reduce__ __reduce_ex__"
            " __import__ __loader__ f_back f_globals f_locals f_builtins tb_frame gi_frame cr_frame ag_frame"),
    **_each(("dynamic-attribute", "gives names as data"), "__dict__ __mro__ __bases__ __base__"),
    **_each(("unrepeatable", "is not fixed by run.seed"),
            "st_mtime st_mtime_ns st_ctime st_ctime_ns st_atime st_atime_ns st_ino"),
    **_each(("own-weights", "makes a link or writes a checkpoint"), "symlink_to hardlink_to save_pretrained"),
    **_each(("decodes-tokens", "turns token ids into text"),
            "batch_decode convert_ids_to_tokens convert_tokens_to_string id_to_token"),
}  # fmt: skip

_HOST = re.compile(
    r"(?<![\w.])(?:/(?:proc|sys|dev|etc|home|root|run|var|opt|tmp|mnt|usr|submission|lib|lib64|srv|boot)(?![\w-])"
    r"|\.\./)|NANO_R1_|LD_PRELOAD|LD_LIBRARY_PATH|PYTHON(?:PATH|HOME|STARTUP|HASHSEED)"
)

# Words that stand in every question of a task, less those that any program may use.
_USUAL = _each(
    True,
    "the and one how from each used once take Take last first many left skip remove Start wins loses"
    " group empty Does that Answer yes Which with its number use not",
)


@lru_cache(maxsize=8)
def puzzle_words(tasks: frozenset[str]) -> frozenset[str]:
    """Of the tasks that the track trains on: of the others its submissions never meet a question.

    Not of training sets: their questions share no words, and are not on every machine that checks.
    """
    words: set[str] = set()
    for name in sorted(task for task in tasks if task in GENERATED):
        prompts = [sample(GENERATED[name], b"nano-r1 check", "train", i).prompt for i in range(16)]
        words |= set.intersection(*(set(re.findall(r"[A-Za-z]{3,}", prompt)) for prompt in prompts))
    return frozenset(words - _USUAL.keys())


# ---------------------------------------------------------------- code


class _Module:
    """One Python file. After `findings`: `dense`, characters of dense literals; `numbers`, bytes its numbers carry."""

    def __init__(
        self,
        name: str,
        text: str,
        allowed: frozenset[str],
        own: frozenset[str],
        others: frozenset[str],
        puzzle: frozenset[str],
    ) -> None:
        self.dense = self.numbers = 0
        self._name, self._text, self._allowed, self._own, self._others = name, text, allowed, own, others
        self._puzzle = puzzle
        self._found: list[Finding] = []
        self._names: dict[str, str] = {}  # a name of this file -> the dotted name that it stands for

    def findings(self) -> list[Finding]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of odd escapes, on a stream that belongs to somebody else
                tree = ast.parse(self._text)
        except SyntaxError as error:
            self._say("syntax", error.lineno, shown(error.msg))
            return self._found
        except (ValueError, RecursionError, MemoryError) as error:  # NUL, or nested too deep for the parser
            self._say("syntax", None, f"cannot be parsed: {shown(str(error)) or type(error).__name__}")
            return self._found
        nodes = list(_walk(tree))
        for node in nodes:
            if isinstance(node, ast.Import | ast.ImportFrom):
                self._import(node)
            elif isinstance(node, ast.Assign):
                self._alias(node)
        documentation = {id(text) for node in nodes if (text := _docstring(node)) is not None}
        inner: set[int] = set()  # parts of a longer dotted name, which is looked at whole
        for node in nodes:
            if isinstance(node, ast.Name):
                if id(node) not in inner:
                    self._plain_name(node)
            elif isinstance(node, ast.Attribute):
                if id(node) not in inner:
                    self._dotted(node, inner)
            elif isinstance(node, ast.Constant):
                self._constant(node, id(node) in documentation)
            elif isinstance(node, ast.Call):
                self._call(node)
            elif isinstance(node, ast.List | ast.Tuple | ast.Set | ast.Dict):
                self._table(node)
            elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                self._definition(node)
        if not self._text.isascii():
            self._spellings(nodes)
        self._patches(nodes)
        self._sums(nodes)
        return self._found

    def _say(self, code: str, line: int | None, message: str) -> None:
        self._found.append(finding(code, self._name, line, message))

    # ------------------------------------------------------------ imports

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                self._names[alias.asname or alias.name.partition(".")[0]] = (
                    alias.name if alias.asname else alias.name.partition(".")[0]
                )
                self._imported(alias.name, None, node.lineno)
            return
        if node.level:  # relative: within the folder, or an error when it runs
            if node.level > len(PurePosixPath(self._name).parts) - 1:
                self._say("foreign-import", node.lineno, "a relative import that leaves the folder")
            return
        module = node.module or ""
        for alias in node.names:
            if alias.name == "*":
                self._say("hidden-code", node.lineno, f"from {shown(module)} import *: its names cannot be followed")
            else:
                self._names[alias.asname or alias.name] = f"{module}.{alias.name}"
            self._imported(module, alias.name, node.lineno)

    def _imported(self, module: str, name: str | None, line: int) -> None:
        """`import module`, or `from module import name`."""
        top = module.partition(".")[0]
        full = f"{module}.{name}" if name else module
        if top == "harness":
            client = full == "harness.client" or (module == "harness.client" and name in CLIENT)
            if not client:
                self._say("harness-import", line, shown(full))
        elif top in HIDING:
            self._say("hidden-code", line, f"{shown(full)}: {HIDING[top]}")
        elif top in REVIEWED:
            self._say("review-import", line, f"{shown(full)}: {REVIEWED[top]}")
        elif top not in self._own | self._allowed | sys.stdlib_module_names:
            self._say("foreign-import", line, shown(full))
        elif top.startswith("_") and top not in self._own | {"__future__"}:
            self._say("review-import", line, f"{shown(full)}: private to Python's library")
        else:
            self._look_up(full, line)
            if top == "tokenizers" or (top == "transformers" and name and "Tokenizer" in name):
                self._say("decodes-tokens", line, shown(full))

    def _alias(self, node: ast.Assign) -> None:
        """`run = os.system`: another name for something imported."""
        parts = _parts(node.value)
        if parts and parts[0] in self._names:
            for target in node.targets:
                if isinstance(target, ast.Name) and target.id not in self._names:
                    self._names[target.id] = ".".join([self._names[parts[0]], *parts[1:]])

    # ------------------------------------------------------------ names

    def _look_up(self, full: str, line: int) -> None:
        """Say what is known of a dotted name, or of the longest part of it that anything is known of."""
        parts = full.split(".")
        held = [i for i, part in enumerate(parts) if i and part.lstrip("_") in _HELD]
        if held:
            parts = [parts[held[-1]].lstrip("_"), *parts[held[-1] + 1 :]]
            if parts[0] in HIDING:
                self._say("hidden-code", line, f"{shown(full)}: {HIDING[parts[0]]}")
            elif parts[0] in REVIEWED:
                self._say("review-call", line, f"{shown(full)}: {REVIEWED[parts[0]]}")
        for size in range(min(len(parts), 4), 0, -1):
            known = CALLS.get(".".join(parts[:size]))
            if known:
                self._say(known[0], line, f"{shown('.'.join(parts[:size]))} {known[1]}")
                return

    def _dotted(self, node: ast.Attribute, inner: set[int]) -> None:
        attributes: list[str] = []
        value: ast.expr = node
        while isinstance(value, ast.Attribute):
            attributes.append(value.attr)
            value = value.value
            inner.add(id(value))
        if not isinstance(value, ast.Name):
            inner.discard(id(value))
        elif value.id in self._names:
            self._look_up(".".join([self._names[value.id], *reversed(attributes)]), node.lineno)
            if "Tokenizer" in attributes[-1]:
                self._say("decodes-tokens", node.lineno, shown(attributes[-1]))
        else:
            inner.discard(id(value))  # __builtins__.exec
        for name in attributes:
            self._attribute(name, node.lineno)

    def _attribute(self, name: str, line: int) -> None:
        if name in ATTRIBUTES:
            code, why = ATTRIBUTES[name]
            self._say(code, line, f".{name} {why}")

    def _plain_name(self, node: ast.Name) -> None:
        if node.id == "__file__":
            self._say("own-file", node.lineno, "__file__")
        elif node.id in self._names:
            if "." in self._names[node.id]:  # from os import system
                self._look_up(self._names[node.id], node.lineno)
        elif node.id in CALLS and isinstance(node.ctx, ast.Load):
            self._look_up(node.id, node.lineno)

    def _spellings(self, nodes: Sequence[ast.AST]) -> None:
        """Names as Python reads them: it takes a full-width `ｅval` for `eval`, and so do the lists above."""
        for node in nodes:
            for field in ("id", "attr", "arg", "name", "asname", "module", "rest", "names", "kwd_attrs"):
                value = getattr(node, field, None)
                for spelt in value if isinstance(value, list) else [value]:
                    if isinstance(spelt, str) and not spelt.isascii():
                        self._say("non-ascii-name", getattr(node, "lineno", None), shown(spelt))

    def _definition(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) -> None:
        words = node.name.lower().split("_")
        if "solve" in node.name.lower() or set(words) & set(GENERATED):
            self._say("solver", node.lineno, f"{shown(node.name)} is named for solving")

    # ------------------------------------------------------------ calls

    def _call(self, node: ast.Call) -> None:
        parts = _parts(node.func) or []
        full = ".".join([self._names.get(parts[0], parts[0]), *parts[1:]]) if parts else ""
        keywords = {word.arg: word.value for word in node.keywords if word.arg}

        def literally(name: str, wanted: object) -> bool:
            value = keywords.get(name)
            return isinstance(value, ast.Constant) and value.value is wanted

        if full in ("getattr", "setattr", "delattr", "hasattr") and len(node.args) > 1:
            self._by_name(node, full)
        if full == "torch.load" and not literally("weights_only", True):
            self._say("hidden-code", node.lineno, "torch.load without weights_only=True unpickles")
        if "allow_pickle" in keywords and not literally("allow_pickle", False):
            self._say("hidden-code", node.lineno, "allow_pickle unpickles")
        if "trust_remote_code" in keywords and not literally("trust_remote_code", False):
            self._say("hidden-code", node.lineno, "trust_remote_code runs code from a folder")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "decode":
            given = [*node.args, *keywords.values()]  # bytes.decode("utf-8") is another thing
            if any(not (isinstance(each, ast.Constant) and isinstance(each.value, str)) for each in given):
                self._say("decodes-tokens", node.lineno, ".decode(…)")

    def _by_name(self, node: ast.Call, function: str) -> None:
        what, name = node.args[0], node.args[1]
        if not (isinstance(name, ast.Constant) and isinstance(name.value, str)):
            self._say("dynamic-attribute", node.lineno, f"{function} with a computed name")
            return
        parts = _parts(what)
        if parts and parts[0] in self._names:
            self._look_up(".".join([self._names[parts[0]], *parts[1:], name.value]), node.lineno)
        self._attribute(name.value, node.lineno)

    def _patches(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            targets: Sequence[ast.expr] = []
            if isinstance(node, ast.Assign | ast.Delete):
                targets = node.targets
            elif isinstance(node, ast.AugAssign | ast.AnnAssign):
                targets = [node.target]
            elif isinstance(node, ast.Call) and _parts(node.func) in (["setattr"], ["delattr"]) and node.args:
                targets = [node.args[0]]
            for target in targets:
                parts = _parts(target)
                if not parts or parts[0] not in self._names or (len(parts) == 1 and not isinstance(node, ast.Call)):
                    continue
                full = ".".join([self._names[parts[0]], *parts[1:]])
                if not full.startswith("torch.backends."):  # how torch is configured
                    self._say("patching", target.lineno, f"{shown(full)} is replaced")

    # ------------------------------------------------------------ literals

    def _constant(self, node: ast.Constant, documentation: bool) -> None:
        value = node.value
        if isinstance(value, bool) or not isinstance(value, str | bytes | int | float | complex):
            return
        if not isinstance(value, str | bytes):
            self.numbers += _carried(value)
            if isinstance(value, int) and value.bit_length() > BIG_INTEGER:
                self._say("table", node.lineno, f"an integer of {value.bit_length():,} bits")
            return
        if len(value) >= (64 if isinstance(value, bytes) else 128) and entropy(value) > DENSE_BITS:
            self.dense += len(value)
            self._say("dense-literal", node.lineno, f"{len(value):,} symbols of {entropy(value):.1f} bits")
        if documentation:
            return
        if len(value) > LONG_LITERAL:
            self._say("long-literal", node.lineno, f"{len(value):,} characters")
        text = value if isinstance(value, str) else value.decode("latin-1")
        if path := _HOST.search(text):
            self._say("host-path", node.lineno, shown(path[0]))
        if text in self._others or PurePosixPath(text).name in self._others:
            self._say("own-file", node.lineno, shown(text))
        if words := self._puzzle & set(re.findall(r"[A-Za-z]{3,}", text)):
            self._say("puzzle-words", node.lineno, ", ".join(sorted(words)))
        if "model.safetensors" in text:
            self._say("own-weights", node.lineno, "model.safetensors")
        if "tokenizer.json" in text:
            self._say("decodes-tokens", node.lineno, "tokenizer.json")

    def _table(self, node: ast.List | ast.Tuple | ast.Set | ast.Dict) -> None:
        entries = [*node.keys, *node.values] if isinstance(node, ast.Dict) else node.elts
        constants = 0
        for entry in entries:
            inside = entry.operand if isinstance(entry, ast.UnaryOp) else entry
            constants += isinstance(inside, ast.Constant)
        if constants > TABLE:
            self._say("table", node.lineno, f"{constants:,} constants")

    def _sums(self, nodes: Sequence[ast.AST]) -> None:
        total = sum(len(n.value) for n in nodes if isinstance(n, ast.Constant) and isinstance(n.value, str | bytes))
        if total > MANY_LITERALS:
            self._say("many-literals", None, f"{total:,} characters of strings")
        starts = Counter(n.lineno for n in nodes if isinstance(n, ast.stmt))
        crowded = {line: count - 2 for line, count in starts.items() if count > 2}  # `if x: y` is two on a line
        if sum(crowded.values()) > 5:
            self._say("minified", min(crowded), f"{len(crowded)} lines with several statements")


def _walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node, parents before children, in the order of the source; no recursion, however deep."""
    stack = [tree]
    while stack:
        node = stack.pop()
        yield node
        children: list[ast.AST] = []
        for field in node._fields:
            value = getattr(node, field, None)
            if isinstance(value, list):
                children += [each for each in value if isinstance(each, ast.AST)]
            elif isinstance(value, ast.AST) and value._fields:  # Load, Add and the like say nothing here
                children.append(value)
        stack += reversed(children)


def _parts(node: ast.AST) -> list[str] | None:
    """["os", "path", "join"] for os.path.join; None for anything that is not a dotted name."""
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    return [node.id, *reversed(parts)] if isinstance(node, ast.Name) else None


def _docstring(node: ast.AST) -> ast.Constant | None:
    if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.body:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            return first.value
    return None


def _carried(value: complex) -> int:
    """Bytes of information that a number can carry."""
    return max(1, (value.bit_length() + 7) // 8) if isinstance(value, int) else 8


# ---------------------------------------------------------------- showing


def shown(text: str) -> str:
    """Hostile text on one line of a terminal: printable ASCII only, at most 80 characters."""
    cut = text[:81].encode("unicode_escape").decode()
    return cut if len(cut) <= 80 else f"{cut[:77]}..."


def place(each: Finding) -> str:
    return f"{shown(each.file)}:{each.line}" if each.line else shown(each.file)


def verdict(findings: Sequence[Finding]) -> str:
    wrong = errors(findings)
    other = len(findings) - wrong
    return f"{wrong} error{'s' * (wrong != 1)}, {other} warning{'s' * (other != 1)}"


def markdown(results: Mapping[str, Sequence[Finding]]) -> str:
    """The findings by folder, for a comment on a pull request. Nothing in it can be more than text."""
    from harness.board.markdown import plain

    lines: list[str] = []
    for folder, findings in results.items():
        lines += [f"### {plain(shown(folder))}: {verdict(findings)}", ""]
        if findings:
            lines += ["| | Where | Code | What | What to do |", "|---|---|---|---|---|"]
        for each in findings[:ROWS]:
            cells = [f"**{each.severity}**" if each.severity == "error" else each.severity]
            cells += [plain(text) for text in (place(each), each.code, shown_line(each.message)[:120], each.advice)]
            lines.append(f"| {' | '.join(cells)} |")
        lines += ["", f"{len(findings) - ROWS} more are not shown."] * (len(findings) > ROWS)
        lines += [""] * bool(findings)
    return "\n".join(lines)


def shown_line(message: str) -> str:
    """A message made of our words and text that is shown already; folder names in it may still be hostile."""
    return "".join(character if character.isprintable() else "\ufffd" for character in message)[:300]
