"""The static screen: what a reviewer should know of a submission before anybody runs it.

It reads the files and executes, imports and unpacks nothing of them. Being static it proves nothing: a submission can
be written to pass it, and is then stopped by the sandbox, the strict reader of weights and the control run. It saves a
reviewer's time, and tells an honest submitter of a mistake in a second instead of after eight runs.

An *error* is what no honest submission needs: a file that is no text, an import that the track does not have, code
that only shows itself when it runs, packed data. A *warning* is worth a look and may be fine.

`screen` is pure and total: any bytes under any names give findings, never an exception. `check` reads a folder and
adds what needs the rest of the repository: manifest, copies, the ledger.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from harness import submission
from harness.errors import meant, meant_beside
from harness.screen.code import Folder, Module
from harness.screen.findings import MAX_PACKED, MAX_SOURCE, MUCH, Finding, finding, tidy
from harness.screen.names import BUNDLED
from harness.screen.text import check_characters, check_layout, check_name, encoded_runs
from harness.submission import Manifest, SubmissionError
from harness.tracks import track as tracks
from harness.tracks.track import ROOT, Track, TrackError


def check(folder: Path, repository: Path = ROOT) -> list[Finding]:
    """Every finding, errors first. `repository` has the submissions and the ledger to compare with.

    Raises SubmissionError if `folder` is not a folder.
    """
    if not folder.is_dir():
        raise SubmissionError(
            f"{folder} is not a folder",
            advice=meant_beside(folder) or "name a submission's, such as submissions/my-idea",
        )
    folder = folder.resolve()
    try:
        files = {path.as_posix(): (folder / path).read_bytes() for path in submission.tree_files(folder)}
    except SubmissionError as error:
        return [finding("files", ".", None, _relative_message(folder, error))]
    findings: list[Finding] = []
    its_tracks: list[Track] = []
    try:
        manifest = submission.load(folder).manifest
        findings += _origin_findings(manifest, repository, files["submission.toml"].decode())
        its_tracks = [tracks.load(name) for name in manifest.every_track]
    except (SubmissionError, TrackError) as error:
        text = files.get("submission.toml", b"").decode(errors="replace")
        findings.append(_manifest_finding(_relative_message(folder, error), text))
    findings += _template_findings(files)
    measured = [track for track in tracks.load_all()[0] if track.status == "measured"]
    its_tracks = its_tracks or measured
    baseline = its_tracks[0].baseline.folder
    reference = _text(ROOT / baseline / "train.py")
    findings += screen(files, frozenset(name for track in its_tracks for name in track.packages), reference)

    source = _without_comments(files.get("train.py", b"").decode(errors="replace"))
    if source and folder != ROOT / baseline and source == _without_comments(reference):
        findings.append(finding("unchanged", "train.py", None, f"the same as {baseline}/train.py"))
    for other in sorted((repository / "submissions").glob("*/train.py")):
        name = other.parent.name
        if source and name != folder.name and source == _without_comments(_text(other)):
            findings.append(finding("copied", "train.py", None, f"the same as submissions/{name}/train.py"))
    digest = submission.tree_digest(folder)
    entries = entries_naming(repository / "records", digest)
    if entries:
        how = "recorded" if entries[0].endswith("/record.json") else "announced"
        findings.append(finding("digest-known", ".", None, f"{digest[:12]} is {how} in records/{entries[0]}"))
    return tidy(findings)


def screen(files: Mapping[str, bytes], packages: frozenset[str], reference: str) -> list[Finding]:
    """What the bytes alone show. Pure and total.

    `files`: content by path, relative to the folder. `packages`: those that the track pins. `reference`: the
    baseline's train.py, with whose information the folder's is compared.
    """
    findings: list[Finding] = []
    folder = Folder(
        packages=frozenset(module for name in packages for module in BUNDLED.get(name, (name,))),
        modules=frozenset(PurePosixPath(name).parts[0].removesuffix(".py") for name in files if name.endswith(".py")),
        others=frozenset(name for name in files if not name.endswith(".py")),
    )
    source = sum(len(data) for name, data in files.items() if name.endswith(".py"))
    if source > MAX_SOURCE:
        findings.append(finding("too-large", ".", None, f"{source:,} bytes of Python"))
    packed = 0
    for name, data in files.items():
        findings += check_name(name, folder.packages)
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            findings.append(finding("not-text", name, line, f"byte {data[error.start]:#04x} at offset {error.start}"))
            continue
        findings += check_characters(name, text)
        runs, carried = encoded_runs(name, text)
        findings += runs
        if name.endswith(".py"):
            findings += check_layout(name, text)
            if source <= MAX_SOURCE:
                module = Module(name, text, folder)
                findings += module.findings()
                carried = max(carried, module.dense) + module.numbers
        # Random base64 compresses to 0.76 of its length however it is cut up; prose and code to half of it or less.
        if len(data) >= 2_000 and len(zlib.compress(data)) > 0.7 * len(data):
            carried = len(data)
        packed += carried
    if packed > MAX_PACKED:
        findings.append(finding("packed-data", ".", None, f"{packed:,} bytes look like data"))
    information = len(zlib.compress(b"\n".join(files.values())))
    baseline = len(zlib.compress(reference.encode(errors="replace")))
    if information > MUCH * baseline:
        message = f"{information:,} bytes after compression, the baseline {baseline:,}"
        findings.append(finding("much-source", ".", None, message))
    return tidy(findings)


def entries_naming(ledger: Path, digest: str) -> list[str]:
    """The records, then the announcements, whose submission this is. Nothing is verified: that is the audit's."""
    places = []
    for path in [*sorted(ledger.glob("*/record.json")), *sorted(ledger.glob("log/*.json"))]:
        data = path.read_bytes()
        if digest.encode() not in data:  # quick; if it is there, it may still be another's reference
            continue
        try:
            entry = json.loads(data)
            submissions = entry["submissions"] if "submissions" in entry else [entry["predicate"]["submission"]]
            if any(item["tree_sha256"] == digest for item in submissions):
                places.append(path.relative_to(ledger).as_posix())
        except (ValueError, LookupError, TypeError, RecursionError):
            continue
    return places


def _relative_message(folder: Path, error: Exception) -> str:
    """The message, with the folder's name for its path."""
    return str(error).replace(str(folder), folder.name)


def _origin_findings(manifest: Manifest, repository: Path, text: str) -> list[Finding]:
    """`based_on` names a submission, a baseline or a record that is here, and not the folder itself."""
    name = manifest.based_on
    if name is None:
        return []
    here = {path.parent.name for path in repository.glob("submissions/*/train.py")}
    here |= {path.parent.name for path in repository.glob("records/*/record.json")}
    here |= {track.baseline.folder for track in tracks.load_all()[0]}
    if name in here - {manifest.name}:
        return []
    message = f"{name!r} is this folder" if name == manifest.name else f"there is no {name!r} here"
    near = meant(name, here - {manifest.name})
    return [finding("based-on", "submission.toml", _line_of("based_on", text), message + (f"; {near}" if near else ""))]


def _line_of(key: str, text: str) -> int | None:
    """The line of a manifest that assigns `key`, a regular expression."""
    assignment = re.search(rf"^[ \t]*[\"']?{key}[\"']?[ \t]*=", text, re.MULTILINE)
    return text.count("\n", 0, assignment.start()) + 1 if assignment else None


def _manifest_finding(message: str, text: str) -> Finding:
    """With its line, where TOML or the schema names a place."""
    _, manifest, rest = message.partition("submission.toml")
    at = re.search(r"\(at line ([0-9]+),", rest)
    field = re.match(r": ([A-Za-z0-9_-]+)", rest)
    key = re.escape(field[1]) if field else "tracks?" if message.startswith("there is no track") else None
    line = int(at[1]) if at else None
    if line is None and key:
        line = _line_of(key, text)
    return finding("manifest", "submission.toml" if manifest or key else ".", line, message)


def _template_findings(files: Mapping[str, bytes]) -> list[Finding]:
    """The lines of `nano-r1 new` that are still there."""
    left = {
        "submission.toml": [submission.PLACEHOLDER_CHANGE, submission.PLACEHOLDER_CONTRIBUTOR],
        "README.md": [submission.PLACEHOLDER_README],
    }
    findings = []
    for name, placeholders in left.items():
        for number, line in enumerate(files.get(name, b"").decode(errors="replace").splitlines(), 1):
            quoted = [text for text in placeholders if (f'"{text}"' if name.endswith(".toml") else text) in line]
            findings += [finding("template", name, number, f"still says {text!r}") for text in quoted]
    return findings


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


_DOCSTRING = re.compile(r'\A\s*(?:"""(?:[^"\\]|\\.|"(?!""))*"""|\'\'\'(?:[^\'\\]|\\.|\'(?!\'\'))*\'\'\')', re.DOTALL)
_COMMENT = re.compile(r"#[^\n]*|\s+")


def _without_comments(source: str) -> str:
    """Without the module's docstring, comments and white space: what a copy has in common with its original."""
    return _COMMENT.sub("", _DOCSTRING.sub("", source))
