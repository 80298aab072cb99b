"""The log: what was announced and what came of it, in order, append-only.

    records/index                        one line an entry: "<sha256 of its bytes> <its path>"
    records/checkpoint                   origin, number of lines, RFC 6962 root over the lines
    records/checkpoint.sig               its SSHSIG
    records/allowed_signers              whose signatures are official
    records/log/<id>.json + .sig         commitments (before the first run) and abandonments
    records/<date>_<track>_<name>/       a record: record.json + .sig + the evidence that it lists by hash

Every submission of every commitment ends in one record or one abandonment, so a verifier cannot quietly
try again until a result pleases. `check` finds any changed byte in these files but for allowed_signers:
nothing in a folder can vouch for the file that says whom to believe. There git history and review must.
A line in it is never removed, its window is narrowed: a listed name under an unlisted key is an impostor.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from harness.ledger import merkle
from harness.ledger.record import (
    Line,
    Model,
    Name,
    Record,
    RecordError,
    Sha256,
    Utc,
    dump,
    load,
    strict_json,
)
from harness.ledger.signature import (
    LOG_NAMESPACE,
    RECORD_NAMESPACE,
    Key,
    SignatureError,
    Signer,
    listed,
    parse_allowed_signers,
    sign,
    verify,
)

ORIGIN = "nano-r1 log"
HEAD = ("index", "checkpoint", "checkpoint.sig")  # in the order in which they are put in place


class LedgerError(ValueError):
    """The ledger cannot be read or written, or an entry does not belong in it; the message says why."""


class Fault(LedgerError):
    """One thing wrong with one file of the ledger (a path inside it)."""

    def __init__(self, check: str, file: str, message: str) -> None:
        super().__init__(f"{file}: {message}")
        self.finding = Finding(check, file, False, message)


@dataclass(frozen=True)
class Finding:
    """One check of one file. Something open or unofficial is `ok`, and the message says so."""

    check: str
    file: str
    ok: bool
    message: str


# ------------------------------------------------------------------ what an entry says


class Announced(Model):
    name: Name
    tree_sha256: Sha256


class Commitment(Model):
    """Announced before the first run: what will be verified, and the hash of the root of all its keys."""

    kind: Literal["commitment"] = "commitment"
    id: Name
    created_utc: Utc
    signer: Line
    track: Line
    track_digest: Sha256
    submissions: Annotated[list[Announced], Field(min_length=1)]
    runs: Annotated[int, Field(ge=1, le=1000)]
    commitment_sha256: Sha256  # sha256(root ‖ nonce)


class Abandonment(Model):
    """No record will come of this, and why. `submission` None: of nothing that is still open."""

    kind: Literal["abandonment"] = "abandonment"
    id: Name
    created_utc: Utc
    signer: Line
    commitment: Name
    submission: Name | None
    reason: Line


_LOG_ENTRY: TypeAdapter[Commitment | Abandonment] = TypeAdapter(
    Annotated[Commitment | Abandonment, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class Entry:
    """A line of the index."""

    sha256: str
    path: str

    @property
    def line(self) -> str:
        return f"{self.sha256} {self.path}"


@dataclass(frozen=True)
class Signed:
    """An entry that was read, and the public key that signed it."""

    path: str
    said: Commitment | Abandonment | Record
    public: str

    @property
    def signer(self) -> str:
        return self.said.predicate.signer if isinstance(self.said, Record) else self.said.signer

    @property
    def created(self) -> datetime:
        """Raises LedgerError."""
        said = self.said.predicate if isinstance(self.said, Record) else self.said
        try:
            return datetime.strptime(said.created_utc, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise LedgerError(f"created_utc {said.created_utc} is not a time") from None


# Two levels, lower case, no dots but in the suffix: no path can leave the folder.
_LOG_PATH = re.compile(r"log/([a-z0-9][a-z0-9-]{0,63})\.json")
_RECORD_PATH = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}_[a-z0-9-]{1,64}_[a-z0-9-]{1,64}(_[2-9])?)/record\.json")
_TRACK_ID = re.compile(r"([a-z0-9][a-z0-9-]{0,63})@[1-9][0-9]{0,5}")
_EVIDENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_INDEX_LINE = re.compile(r"([0-9a-f]{64}) ([a-z0-9_./-]{1,255})")


def fresh_id(when: datetime) -> str:
    """An id for an entry, such as 20261120t181530-ab12cd."""
    return f"{when.astimezone(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"


def parse_entry(path: str, data: bytes, signature: bytes) -> Signed:
    """Read an entry's bytes strictly and check its signature. Raises Fault naming the file."""
    record = _RECORD_PATH.fullmatch(path)
    try:
        public = verify(signature, RECORD_NAMESPACE if record else LOG_NAMESPACE, data)
    except SignatureError as error:
        raise Fault("signature", f"{path}.sig", str(error)) from None
    said: Commitment | Abandonment | Record
    try:
        if record:
            said = load(data)
            wanted = _folder_name(said)
            if not re.fullmatch(f"{wanted}(_[2-9])?", record[1]):
                raise RecordError(f"its folder should be {wanted}")
            if unfit := [name for name in said.predicate.files if not _fit(name)]:
                raise RecordError(f"predicate.files: {unfit[0]!r} is not a plain file name")
        else:
            said = _LOG_ENTRY.validate_python(strict_json(data))
            if dump(said) != data:
                raise RecordError("not in canonical form (key order, spacing or escapes differ)")
            if path != f"log/{said.id}.json":
                raise RecordError(f"its id is {said.id}")
        signed = Signed(path, said, public)
        _ = signed.created
    except ValidationError as error:
        first = error.errors()[0]
        raise Fault("entry", path, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except (RecordError, LedgerError) as error:
        raise Fault("entry", path, str(error)) from None
    return signed


def _folder_name(record: Record) -> str:
    """<date>_<track>_<name>, where a second record of the same day adds _2 and so on. Raises LedgerError."""
    track = _TRACK_ID.fullmatch(record.predicate.track)
    if track is None:
        raise LedgerError(f"track {record.predicate.track!r} is not of the form name@version")
    return f"{record.predicate.created_utc[:10]}_{track[1]}_{record.predicate.submission.name}"


def _fit(name: str) -> bool:
    """May a file of this name lie in a record's folder as evidence?"""
    return _EVIDENCE.fullmatch(name) is not None and name not in ("record.json", "record.json.sig")


# ------------------------------------------------------------------ what entries mean together


@dataclass
class Session:
    """A commitment, the key that made it, and which of its submissions are closed, by which entry."""

    commitment: Commitment
    public: str
    created: datetime
    closed: dict[str, str] = field(default_factory=dict)

    @property
    def open(self) -> list[str]:
        return [sub.name for sub in self.commitment.submissions if sub.name not in self.closed]


def follow(sessions: dict[str, Session], signed: Signed) -> str:
    """Add the next entry to the sessions and say what it did. Raises LedgerError if it cannot come next."""
    said = signed.said
    if isinstance(said, Commitment):
        names = [submission.name for submission in said.submissions]
        if len(set(names)) != len(names):
            raise LedgerError("a submission is announced twice")
        sessions[said.id] = Session(said, signed.public, signed.created)
        return f"announces {', '.join(names)}"
    if isinstance(said, Abandonment):
        session = _session(sessions, said.commitment)
        closing = session.open if said.submission is None else [said.submission]
        if not closing:
            raise LedgerError(f"commitment {said.commitment} is closed already")
        for name in closing:
            _close(session, name, signed.path)
        return f"closes {', '.join(closing)} of {said.commitment}: {said.reason}"
    claim, submission = said.predicate.commitment, said.predicate.submission
    session = _session(sessions, claim.entry)
    promised = session.commitment
    secret = bytes.fromhex(claim.root_hex) + bytes.fromhex(claim.nonce_hex)
    if not hashlib.sha256(secret).hexdigest() == claim.commitment_sha256 == promised.commitment_sha256:
        raise LedgerError(f"its root and nonce are not those that commitment {claim.entry} committed to")
    if Announced(name=submission.name, tree_sha256=submission.tree_sha256) not in promised.submissions:
        raise LedgerError(f"commitment {claim.entry} does not announce {submission.name} with this tree digest")
    if (said.predicate.track, said.predicate.track_digest) != (promised.track, promised.track_digest):
        raise LedgerError(f"commitment {claim.entry} was made for another track or track digest")
    if len(said.predicate.runs) != promised.runs:
        raise LedgerError(f"commitment {claim.entry} announced {promised.runs} runs, not {len(said.predicate.runs)}")
    # The root is public once a session's first record is: only the same key may answer for the others.
    if (signed.signer, signed.public) != (promised.signer, session.public):
        raise LedgerError(f"commitment {claim.entry} was signed by another key or under another name")
    if signed.created < session.created:
        raise LedgerError(f"it is older than commitment {claim.entry}")
    _close(session, submission.name, signed.path)
    return f"answers commitment {claim.entry}"


def _session(sessions: dict[str, Session], entry: str) -> Session:
    if entry not in sessions:
        raise LedgerError(f"no sound commitment {entry} stands in the index before it")
    return sessions[entry]


def _close(session: Session, name: str, path: str) -> None:
    if name in session.closed:
        raise LedgerError(f"{name} of commitment {session.commitment.id} is closed already, by {session.closed[name]}")
    if name not in session.open:
        raise LedgerError(f"commitment {session.commitment.id} does not announce {name}")
    session.closed[name] = path


def authority(signers: Sequence[Signer], signed: Signed) -> tuple[bool, str]:
    """(is it official, and why). Raises LedgerError for a listed name or key that is used as another's."""
    name, when = signed.signer, signed.created
    namespace = RECORD_NAMESPACE if isinstance(signed.said, Record) else LOG_NAMESPACE
    if listed(signers, name, signed.public, namespace, when):
        return True, f"official: {name}"
    if any((signer.identity, signer.public) == (name, signed.public) for signer in signers):
        return False, f"self-reported: {name} is not listed for {namespace} at {when:%Y-%m-%d %H:%M:%S} UTC"
    if any(signer.identity == name for signer in signers):
        raise LedgerError(f"signed as {name}, who is listed with another key")
    if any(signer.public == signed.public for signer in signers):
        raise LedgerError(f"signed as {name}, with a key that is listed for another identity")
    return False, f"self-reported: {name} is not in allowed_signers"


# ------------------------------------------------------------------ reading


def read_file(folder: Path, relative: str) -> bytes:
    """The bytes of a regular file under the folder, never through a link. Raises Fault."""
    path = folder / relative
    try:
        if path.parent != folder and path.parent.is_symlink():
            raise Fault("file", relative, f"{path.parent.name} is a symbolic link")
        if not stat.S_ISREG(path.lstat().st_mode):
            raise Fault("file", relative, "not a regular file")
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise Fault("file", relative, "missing") from None
    except OSError as error:
        raise Fault("file", relative, f"cannot be read: {error.strerror}") from None


def parse_index(data: bytes) -> list[Entry]:
    """Raises Fault naming the line."""
    entries: list[Entry] = []
    seen: set[str] = set()
    text = data.decode("utf-8", "replace")
    for number, line in enumerate(text.split("\n")[:-1], 1):
        match = _INDEX_LINE.fullmatch(line)
        if match is None or not (_LOG_PATH.fullmatch(match[2]) or _RECORD_PATH.fullmatch(match[2])):
            raise Fault("index", "index", f"line {number} is not `<sha256> <path of an entry>`")
        if match[2] in seen:
            raise Fault("index", "index", f"line {number} lists {match[2]} again")
        seen.add(match[2])
        entries.append(Entry(match[1], match[2]))
    if data and not data.endswith(b"\n"):
        raise Fault("index", "index", "its last line is cut short")
    return entries


def leaves(entries: Sequence[Entry]) -> list[bytes]:
    """The Merkle leaves: the lines' bytes without newline."""
    return [entry.line.encode() for entry in entries]


def make_checkpoint(entries: Sequence[Entry]) -> bytes:
    root = base64.b64encode(merkle.root(leaves(entries))).decode()
    return f"{ORIGIN}\n{len(entries)}\n{root}\n".encode()


def parse_checkpoint(data: bytes) -> tuple[int, bytes]:
    """(number of entries, Merkle root). Raises Fault."""
    match = re.fullmatch(rf"{ORIGIN}\n(0|[1-9][0-9]{{0,8}})\n([A-Za-z0-9+/]{{43}}=)\n".encode(), data)
    if match is None:
        raise Fault("checkpoint", "checkpoint", f"not three lines: `{ORIGIN}`, a size, a base64 root")
    return int(match[1]), base64.b64decode(match[2])


def _read_index(folder: Path) -> list[Entry]:
    if not os.path.lexists(folder / "index"):
        if os.path.lexists(folder / "checkpoint"):
            raise Fault("index", "index", "missing, though there is a checkpoint")
        return []
    return parse_index(read_file(folder, "index"))


def _read_entry(folder: Path, entry: Entry) -> Signed:
    """Raises Fault if the entry is missing, changed, unsigned or malformed."""
    data = read_file(folder, entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise Fault("hash", entry.path, "its SHA-256 is not the one in the index")
    return parse_entry(entry.path, data, read_file(folder, f"{entry.path}.sig"))


def _read_signers(folder: Path) -> list[Signer]:
    if not os.path.lexists(folder / "allowed_signers"):
        return []
    try:
        return parse_allowed_signers(read_file(folder, "allowed_signers").decode())
    except (SignatureError, UnicodeDecodeError) as error:
        raise Fault("signers", "allowed_signers", str(error)) from None


def _check_head(folder: Path, entries: Sequence[Entry]) -> str:
    """The public key that signed the checkpoint over exactly these entries. Raises Fault naming the odd one out."""
    data = read_file(folder, "checkpoint")
    size, root = parse_checkpoint(data)
    try:
        public = verify(read_file(folder, "checkpoint.sig"), LOG_NAMESPACE, data)
    except SignatureError as error:
        # If the checkpoint still says what the index says, it is the signature that was changed.
        odd = "checkpoint.sig" if data == make_checkpoint(entries) else "checkpoint"
        raise Fault("checkpoint", odd, f"its signature is bad: {error}") from None
    if not merkle.consistent(size, root, leaves(entries)):
        raise Fault("checkpoint", "index", f"the {size} lines that the checkpoint signed were changed or cut")
    if size < len(entries):
        raise Fault("checkpoint", "index", f"{len(entries) - size} lines follow those that the checkpoint signed")
    return public


def _evidence(folder: Path, signed: Signed, record: Record) -> Iterator[Finding]:
    """Is every file of the record's folder listed in the record, and unchanged?"""
    home = signed.path.partition("/")[0]
    for name, digest in sorted(record.predicate.files.items()):
        try:
            same = hashlib.sha256(read_file(folder, f"{home}/{name}")).hexdigest() == digest
            message = "as recorded" if same else "its SHA-256 is not the one in record.json"
            yield Finding("evidence", f"{home}/{name}", same, message)
        except Fault as fault:
            yield fault.finding
    known = {*record.predicate.files, "record.json", "record.json.sig"}
    for name in sorted(set(os.listdir(folder / home)) - known):
        yield Finding("evidence", f"{home}/{name}", False, "not listed in record.json")


def check(folder: Path) -> Iterator[Finding]:
    """Every check of every file that needs no more than the ledger itself. Meant for a folder at rest:
    while somebody appends, the unfinished append is reported as what it would be after a crash.
    """
    try:
        entries = _read_index(folder)
        signers = _read_signers(folder)
    except Fault as fault:
        yield fault.finding
        return
    yield Finding("index", "index", True, f"{len(entries)} entries")
    sessions: dict[str, Session] = {}
    for entry in entries:
        yield from _check_entry(folder, entry, signers, sessions)
    if entries or os.path.lexists(folder / "checkpoint"):
        try:
            public = _check_head(folder, entries)
            names = sorted({signer.identity for signer in signers if signer.public == public})
            who = " or ".join(names) or "somebody who is not in allowed_signers"
            yield Finding("checkpoint", "checkpoint", True, f"{len(entries)} entries, signed by {who}")
        except Fault as fault:
            yield fault.finding
    yield from _unlisted(folder, entries)
    for session in sessions.values():
        message = f"open: {', '.join(session.open)}" if session.open else "every submission is accounted for"
        yield Finding("closed", f"log/{session.commitment.id}.json", True, message)


def _check_entry(
    folder: Path, entry: Entry, signers: Sequence[Signer], sessions: dict[str, Session]
) -> Iterator[Finding]:
    try:
        signed = _read_entry(folder, entry)
    except Fault as fault:
        yield fault.finding
        return
    yield Finding("hash", entry.path, True, "as in the index")
    yield Finding("signature", f"{entry.path}.sig", True, f"by {signed.public}")
    try:
        yield Finding("signer", entry.path, True, authority(signers, signed)[1])
    except LedgerError as error:
        yield Finding("signer", entry.path, False, str(error))
    try:
        yield Finding("commitment", entry.path, True, follow(sessions, signed))
    except LedgerError as error:
        yield Finding("commitment", entry.path, False, str(error))
    if isinstance(signed.said, Record):
        yield from _evidence(folder, signed, signed.said)


def _unlisted(folder: Path, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Whatever lies in the ledger and belongs to nothing. Records' folders are searched by `_evidence`."""
    homes = {entry.path.partition("/")[0] for entry in entries} - {"log"}
    top = {*HEAD, "allowed_signers", "log", ".lock", *homes}
    logged = {name for entry in entries for name in (entry.path, f"{entry.path}.sig")}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        if name in (_STAGED, _STAGING):
            yield Finding("unlisted", name, False, "an append is under way or was interrupted; the next one clears it")
        elif name not in top:
            yield Finding("unlisted", name, False, "in no line of the index")
    if (folder / "log").is_symlink():
        yield Finding("unlisted", "log", False, "a symbolic link")
    elif (folder / "log").is_dir():
        for name in sorted(f"log/{name}" for name in os.listdir(folder / "log")):
            if name not in logged:
                yield Finding("unlisted", name, False, "in no line of the index")


# ------------------------------------------------------------------ writing
#
# An append changes the entry's own files, the index, the checkpoint and its signature, and no file system
# renames several files at once. So: write all of them, finished and signed, into .next.tmp; fsync; rename
# .next.tmp to .next. That rename is the commit point. Then move the pieces to their places (the entry
# first, so no index line ever points at nothing, then index, checkpoint, checkpoint.sig) and remove .next.
#
#   killed before the rename: .next.tmp is left; the next writer deletes it, and nothing was added.
#   killed after it:          .next is left; the next writer moves what has not been moved yet.
#
# Either way the outcome is one of two, is reached by repeating the same steps, and needs no key. A full
# disk shows up while writing .next.tmp, when nothing in place has been touched.

_STAGING, _STAGED = ".next.tmp", ".next"


@dataclass(frozen=True)
class Listed:
    """A record in the log. `official`: its signer was listed in allowed_signers when it was made."""

    folder: str
    record: Record
    official: bool


class Ledger:
    """A ledger folder. Made by the first append. Readers need no lock; writers take turns on `.lock`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # -------------------------------------------------------------- for readers; all raise LedgerError

    def entries(self) -> list[Entry]:
        """The index, oldest first."""
        return _read_index(self.folder)

    def records(self) -> list[Listed]:
        """Every record, oldest first."""
        signers, listing = _read_signers(self.folder), []
        for signed in self._history():
            if isinstance(signed.said, Record):
                try:
                    official, _ = authority(signers, signed)
                except LedgerError as error:
                    raise Fault("signer", signed.path, str(error)) from None
                listing.append(Listed(signed.path.partition("/")[0], signed.said, official))
        return listing

    def open_commitments(self) -> list[Commitment]:
        """Commitments with a submission that has neither record nor abandonment, oldest first."""
        return [session.commitment for session in self._sessions().values() if session.open]

    def open_submissions(self, entry: str) -> list[str]:
        """The submissions of a commitment that have neither record nor abandonment."""
        return _session(self._sessions(), entry).open

    def standing(self, track_id: str) -> str | None:
        """The folder of the track's latest official record that was a record when made, if there is one."""
        made = [
            item.folder
            for item in self.records()
            if item.official and item.record.predicate.track == track_id and item.record.predicate.verdict.record
        ]
        return made[-1] if made else None

    def _history(self) -> list[Signed]:
        return [_read_entry(self.folder, entry) for entry in self.entries()]

    def _sessions(self) -> dict[str, Session]:
        sessions: dict[str, Session] = {}
        for signed in self._history():
            try:
                follow(sessions, signed)
            except LedgerError as error:
                raise Fault("commitment", signed.path, str(error)) from None
        return sessions

    # -------------------------------------------------------------- for writers; all raise LedgerError

    def repair(self) -> bool:
        """Finish or drop an append that was interrupted; True if there was one. Each append begins with it."""
        with self._writer() as found:
            return found

    def commit(self, commitment: Commitment, key: Key) -> Path:
        """Announce a session. Returns the entry's path."""
        return self._add_log_entry(commitment, key)

    def abandon(self, abandonment: Abandonment, key: Key) -> Path:
        """Close one submission of a commitment, or all that are open, without a record. Returns the path."""
        return self._add_log_entry(abandonment, key)

    def add_record(self, record: Record, files: Mapping[str, bytes], key: Key) -> Path:
        """Sign a record and add it with its evidence: just the files in `predicate.files`. Returns its folder."""
        digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        if digests != record.predicate.files:
            raise LedgerError("the files given are not those that predicate.files lists")
        name = _folder_name(record)
        with self._writer():
            taken = [name, *(f"{name}_{i}" for i in range(2, 10))]
            home = next((each for each in taken if not os.path.lexists(self.folder / each)), None)
            if home is None:
                raise LedgerError(f"there are nine records {name} already")
            self._extend(f"{home}/record.json", self._signed(f"{home}/record.json", record, key), files, key)
        return self.folder / home

    def append(self, path: str, key: Key) -> None:
        """List an entry whose files are in place already, such as one that a pull request brought.

        The entry keeps its author's signature; `key` signs the new checkpoint.
        """
        if not (_LOG_PATH.fullmatch(path) or _RECORD_PATH.fullmatch(path)):
            raise LedgerError(f"{path!r} is not the path of an entry: log/<id>.json or <folder>/record.json")
        with self._writer():
            self._extend(path, {}, {}, key)

    def _add_log_entry(self, said: Commitment | Abandonment, key: Key) -> Path:
        path = f"log/{said.id}.json"
        with self._writer():
            if os.path.lexists(self.folder / path):
                raise LedgerError(f"there is an entry {path} already")
            self._extend(path, self._signed(path, said, key), {}, key)
        return self.folder / path

    def _signed(self, path: str, said: Commitment | Abandonment | Record, key: Key) -> dict[str, bytes]:
        data = dump(said)
        namespace = RECORD_NAMESPACE if isinstance(said, Record) else LOG_NAMESPACE
        files = {path: data, f"{path}.sig": sign(key, namespace, data)}
        signer = parse_entry(path, data, files[f"{path}.sig"]).signer  # refuse to write what could not be read
        if signer != key.identity:
            raise LedgerError(f"the entry says that {signer} signs it, but the key is {key.identity}'s")
        return files

    def _extend(self, path: str, entry: Mapping[str, bytes], evidence: Mapping[str, bytes], key: Key) -> None:
        """Under the lock: check that this entry may come next, and append it. `entry` empty: it lies in place."""
        entries, sessions = self.entries(), self._sessions()
        if path in {each.path for each in entries}:
            raise LedgerError(f"{path} is in the index already")
        if entries or os.path.lexists(self.folder / "checkpoint"):
            _check_head(self.folder, entries)  # never sign over a log that somebody changed
        data = entry.get(path) or read_file(self.folder, path)
        signed = parse_entry(path, data, entry.get(f"{path}.sig") or read_file(self.folder, f"{path}.sig"))
        authority(_read_signers(self.folder), signed)
        follow(sessions, signed)
        if not entry and isinstance(signed.said, Record):
            for finding in _evidence(self.folder, signed, signed.said):
                if not finding.ok:
                    raise LedgerError(f"{finding.file}: {finding.message}")
        entries.append(Entry(hashlib.sha256(data).hexdigest(), path))
        checkpoint = make_checkpoint(entries)
        home = path.partition("/")[0]
        self._stage({
            **entry,
            **{f"{home}/{name}": content for name, content in evidence.items()},
            "index": "".join(f"{each.line}\n" for each in entries).encode(),
            "checkpoint": checkpoint,
            "checkpoint.sig": sign(key, LOG_NAMESPACE, checkpoint),
        })  # fmt: skip
        self._roll_forward()

    @contextmanager
    def _writer(self) -> Iterator[bool]:
        """Hold the lock, with what an earlier writer left behind cleared; yields whether there was anything."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(self.folder / ".lock", "a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # released by the kernel, however the process ends
                yield self._roll_forward()
        except OSError as error:
            staged = os.path.lexists(self.folder / _STAGED)
            outcome = "the entry is safe, and the next append puts it in place" if staged else "nothing was added"
            where = error.filename or self.folder
            raise LedgerError(f"cannot write the ledger: {where}: {error.strerror}; {outcome}") from None

    def _stage(self, files: Mapping[str, bytes]) -> None:
        staging = self.folder / _STAGING
        try:
            staging.mkdir()
            for name, data in files.items():
                path = staging / name
                path.parent.mkdir(exist_ok=True)
                with open(path, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
            for folder in {(staging / name).parent for name in files}:
                _fsync(folder)
            staging.rename(self.folder / _STAGED)
        except BaseException:  # an interrupt too: nothing half-written
            shutil.rmtree(staging, ignore_errors=True)
            raise
        _fsync(self.folder)

    def _roll_forward(self) -> bool:
        """Move what stands in .next to its place. Safe to repeat, whatever was moved before."""
        staging, staged = self.folder / _STAGING, self.folder / _STAGED
        found = staging.exists() or staged.exists()
        if staging.exists():
            shutil.rmtree(staging)
        if staged.exists():
            for item in sorted(set(os.listdir(staged)) - set(HEAD)):
                if item == "log":
                    (self.folder / "log").mkdir(exist_ok=True)
                    for piece in sorted(os.listdir(staged / "log")):
                        os.replace(staged / "log" / piece, self.folder / "log" / piece)
                    _fsync(self.folder / "log")
                else:
                    os.replace(staged / item, self.folder / item)
            _fsync(self.folder)
            for name in HEAD:
                if (staged / name).exists():
                    os.replace(staged / name, self.folder / name)
            _fsync(self.folder)
            shutil.rmtree(staged)
        return found


def _fsync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
