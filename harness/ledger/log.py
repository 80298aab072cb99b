"""The log: what was announced and what came of it, in order, append-only.

    records/index                        one line an entry: "<sha256 of its bytes> <its path>"
    records/checkpoint                   origin, number of lines, RFC 6962 root over the lines
    records/checkpoint.sig               its SSHSIG
    records/allowed_signers              whose signatures are official
    records/revoked_keys                 whose no longer count, whenever they were made (may be absent)
    records/log/<id>.json + .sig         commitments (before the first run), abandonments, changes of status
    records/<date>_<track>_<name>/       a record: record.json + .sig + the evidence that it lists by hash

Every submission of every commitment ends in one record or one abandonment, so a verifier cannot quietly
try again until a result pleases. `check` finds any changed byte in these files but for allowed_signers and
revoked_keys: nothing in a folder can vouch for the files that say whom to believe. There git history must
(`history`), and review. A line in allowed_signers is never removed, its window is narrowed: a listed name
under an unlisted key is an impostor. docs/ledger.md tells the life of a session, a key and a record.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from harness.errors import NanoR1Error
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
from harness.ledger.rules import RULES
from harness.ledger.signature import (
    LOG_NAMESPACE,
    RECORD_NAMESPACE,
    Key,
    SignatureError,
    Trust,
    parse_allowed_signers,
    parse_revoked_keys,
    sign,
    verify,
)

ORIGIN = "nano-r1 log"
HEAD = ("index", "checkpoint", "checkpoint.sig")  # in the order in which they are put in place
TRUSTED = ("allowed_signers", "revoked_keys")  # written by people, never by this module

# The bytes of a file of a ledger, by its path inside it: a folder's, or a commit's. Raises Fault.
Reader = Callable[[str], bytes]


class LedgerError(NanoR1Error):
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

# Two levels, lower case, no dots but in the suffix: no path can leave the folder.
_FOLDER = r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[a-z0-9-]{1,64}_[a-z0-9-]{1,64}(_[2-9])?"
_LOG_PATH = re.compile(r"log/([a-z0-9][a-z0-9-]{0,63})\.json")
_RECORD_PATH = re.compile(rf"({_FOLDER})/record\.json")
_TRACK_ID = re.compile(r"([a-z0-9][a-z0-9-]{0,63})@[1-9][0-9]{0,5}")
_EVIDENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_INDEX_LINE = re.compile(r"([0-9a-f]{64}) ([a-z0-9_./-]{1,255})")


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


Status = Literal["verified", "disputed", "withdrawn", "superseded"]


def _known_rule(number: str) -> str:
    if number not in RULES:
        raise ValueError(f"{number[:10]!r} is not a rule of CONTRIBUTING.md; rules: {', '.join(RULES)}")
    return number


class StatusChange(Model):
    """What a record counts for from here on, and the rule that says so. The latest wins; at first it is `verified`."""

    kind: Literal["status"] = "status"
    id: Name
    created_utc: Utc
    signer: Line
    record: Annotated[str, StringConstraints(pattern=f"^{_FOLDER}$")]
    status: Status
    rule: Annotated[str, AfterValidator(_known_rule)]
    reason: Line


Noted = Commitment | Abandonment | StatusChange  # what is said in log/<id>.json
_LOG_ENTRY: TypeAdapter[Noted] = TypeAdapter(Annotated[Noted, Field(discriminator="kind")])


@dataclass(frozen=True)
class Entry:
    """A line of the index."""

    sha256: str
    path: str

    @property
    def line(self) -> str:
        return f"{self.sha256} {self.path}"

    @property
    def home(self) -> str:
        """The folder of a record; `log` for any other entry."""
        return self.path.partition("/")[0]


@dataclass(frozen=True)
class Signed:
    """An entry that was read, and the public key that signed it."""

    path: str
    said: Noted | Record
    public: str

    @property
    def home(self) -> str:
        """The folder of a record; `log` for any other entry."""
        return self.path.partition("/")[0]

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


def fresh_id(when: datetime) -> str:
    """An id for an entry, such as 20261120t181530-ab12cd."""
    return f"{when.astimezone(UTC):%Y%m%dt%H%M%S}-{secrets.token_hex(3)}"


def status_change(record: str, status: str, rule: str, reason: str, signer: str, now: datetime) -> StatusChange:
    """A change of a record's status, as a person asked for it. Raises LedgerError."""
    try:
        return StatusChange.model_validate(
            {
                "id": fresh_id(now),
                "created_utc": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "signer": signer,
                "record": record,
                "status": status,
                "rule": rule,
                "reason": reason,
            }
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise LedgerError(f"{'.'.join(map(str, first['loc']))} {first['input']!r}: {first['msg']}") from None


def parse_entry(path: str, data: bytes, signature: bytes) -> Signed:
    """Read an entry's bytes strictly and check its signature. Raises Fault naming the file."""
    record = _RECORD_PATH.fullmatch(path)
    try:
        public = verify(signature, RECORD_NAMESPACE if record else LOG_NAMESPACE, data)
    except SignatureError as error:
        raise Fault("signature", f"{path}.sig", str(error)) from None
    said: Noted | Record
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


Authority = Literal["official", "self-reported", "revoked"]


@dataclass
class Known:
    """A record of the log in brief, and what has become of it.

    `listed`: its key was listed when it was signed; `authority` also asks whether that key was revoked since.
    `incumbent`: the record that stood when it was appended. `stood`: it was judged against that and took its place.
    """

    track: str
    signer: str
    public: str
    created: datetime
    authority: Authority
    listed: bool
    incumbent: str | None
    stood: bool
    change: StatusChange | None = None

    @property
    def status(self) -> Status:
        return self.change.status if self.change else "verified"

    @property
    def counts(self) -> bool:
        return self.authority == "official" and self.status == "verified"


@dataclass
class State:
    """What the entries so far mean together. Of a record it holds a few words, so that a log of any length fits."""

    trust: Trust = field(default_factory=Trust)
    sessions: dict[str, Session] = field(default_factory=dict)
    records: dict[str, Known] = field(default_factory=dict)  # by folder
    reigns: dict[str, list[str]] = field(default_factory=dict)  # track id -> the records that ever stood, oldest first

    def standing(self, track_id: str, revoked: bool = False) -> str | None:
        """The record to beat: the latest that stood and still counts. `revoked`: as if no key had been revoked."""
        for folder in reversed(self.reigns.get(track_id, [])):
            known = self.records[folder]
            if known.counts or (revoked and known.listed and known.status == "verified"):
                return folder
        return None


def follow(state: State, signed: Signed) -> str:
    """Add the next entry to the state and say what it did. Raises LedgerError if it cannot come next."""
    said = signed.said
    if isinstance(said, Commitment):
        return _announce(state, signed, said)
    if isinstance(said, Abandonment):
        return _abandon(state, signed, said)
    if isinstance(said, StatusChange):
        return _change(state, signed, said)
    message = _answer(state, signed, said)
    enlist(state, signed, said)
    return message


def _announce(state: State, signed: Signed, said: Commitment) -> str:
    names = [submission.name for submission in said.submissions]
    if len(set(names)) != len(names):
        raise LedgerError("a submission is announced twice")
    state.sessions[said.id] = Session(said, signed.public, signed.created)
    return f"announces {', '.join(names)}"


def _abandon(state: State, signed: Signed, said: Abandonment) -> str:
    session = _session(state, said.commitment)
    closing = session.open if said.submission is None else [said.submission]
    if not closing:
        raise LedgerError(f"commitment {said.commitment} is closed already")
    for name in closing:
        _close(session, name, signed.path)
    return f"closes {', '.join(closing)} of {said.commitment}: {said.reason}"


def _answer(state: State, signed: Signed, said: Record) -> str:
    claim, submission = said.predicate.commitment, said.predicate.submission
    session = _session(state, claim.entry)
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


def enlist(state: State, signed: Signed, said: Record) -> Known:
    """Take note of a record that may come next.

    It stands if it is official, a record by its own verdict, and was judged against what stood here. A record that
    came by a merge may have been judged against another, on its branch: it is ranked, but it never stands, so
    nobody gains by choosing an opponent. What stood may have been signed by a key that was revoked since; a
    verifier may or may not have known that, so either opponent is right.
    """
    predicate = said.predicate
    try:
        found = authority(state.trust, signed)[0]
    except LedgerError:  # an impostor, which `check` reports
        found = "self-reported"
    is_listed = found == "official" or (
        found == "revoked" and state.trust.lists(signed.signer, signed.public, RECORD_NAMESPACE, signed.created)
    )
    incumbent = state.standing(predicate.track)
    opponents = (incumbent, state.standing(predicate.track, revoked=True))
    stood = is_listed and predicate.verdict.record and predicate.verdict.standing in opponents
    known = Known(
        predicate.track, signed.signer, signed.public, signed.created, found, is_listed,
        predicate.verdict.standing if predicate.verdict.standing in opponents else incumbent, stood,
    )  # fmt: skip
    state.records[signed.home] = known
    if stood:
        state.reigns.setdefault(predicate.track, []).append(signed.home)
    return known


def _change(state: State, signed: Signed, said: StatusChange) -> str:
    known = state.records.get(said.record)
    if known is None:
        raise LedgerError(f"no sound record {said.record} stands in the index before it")
    if signed.created < known.created:
        raise LedgerError(f"it is older than the record {said.record}")
    by, who = authority(state.trust, signed)
    if by == "revoked":
        return f"has no effect ({who})"
    own = (signed.signer, signed.public) == (known.signer, known.public)
    if by != "official" and not (own and said.status == "withdrawn" and known.authority == "self-reported"):
        raise LedgerError(
            f"only an official key may make {said.record} {said.status} ({who}); "
            "the key that signed a self-reported record may withdraw it"
        )
    known.change = said
    return f"{said.record} is {said.status} under {said.rule}: {said.reason}"


def _session_of(said: Noted | Record) -> str | None:
    """The commitment that an entry makes, answers or closes."""
    if isinstance(said, StatusChange):
        return None
    if isinstance(said, Commitment):
        return said.id
    return said.predicate.commitment.entry if isinstance(said, Record) else said.commitment


def _session(state: State, entry: str) -> Session:
    if entry not in state.sessions:
        raise LedgerError(f"no sound commitment {entry} stands in the index before it")
    return state.sessions[entry]


def _close(session: Session, name: str, path: str) -> None:
    if name in session.closed:
        raise LedgerError(f"{name} of commitment {session.commitment.id} is closed already, by {session.closed[name]}")
    if name not in session.open:
        raise LedgerError(f"commitment {session.commitment.id} does not announce {name}")
    session.closed[name] = path


def authority(trust: Trust, signed: Signed) -> tuple[Authority, str]:
    """Whose word it is, and why. Raises LedgerError for a listed name or key that is used as another's.

    An identity may be listed with several keys, one after the other: each counts in its own window.
    """
    name, when = signed.signer, signed.created
    namespace = RECORD_NAMESPACE if isinstance(signed.said, Record) else LOG_NAMESPACE
    if signed.public in trust.revoked:
        return "revoked", f"revoked: the key that signed as {name} no longer counts"
    if trust.lists(name, signed.public, namespace, when):
        return "official", f"official: {name}"
    if name in trust.keys.get(signed.public, ()):
        return "self-reported", f"self-reported: {name} is not listed for {namespace} at {when:%Y-%m-%d %H:%M:%S} UTC"
    if name in trust.names:
        raise LedgerError(f"signed as {name}, who is listed with another key")
    if signed.public in trust.keys:
        raise LedgerError(f"signed as {name}, with a key that is listed for another identity")
    return "self-reported", f"self-reported: {name} is not in allowed_signers"


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


def read_entry(read: Reader, entry: Entry, path: str | None = None) -> Signed:
    """Raises Fault if the entry is missing, changed, unsigned or malformed. `path`: where it belongs, if elsewhere."""
    data = read(entry.path)
    if hashlib.sha256(data).hexdigest() != entry.sha256:
        raise Fault("hash", entry.path, "its SHA-256 is not the one in the index")
    return parse_entry(path or entry.path, data, read(f"{entry.path}.sig"))


def read_trust(folder: Path) -> Trust:
    """Whom to believe; without the two files, nobody. Raises Fault."""

    def lines(name: str) -> str:
        return read_file(folder, name).decode() if os.path.lexists(folder / name) else ""

    name = "allowed_signers"
    try:
        signers = tuple(parse_allowed_signers(lines(name)))
        name = "revoked_keys"
        return Trust(signers, parse_revoked_keys(lines(name)))
    except (SignatureError, UnicodeDecodeError) as error:
        raise Fault("signers", name, str(error)) from None


def check_head(read: Reader, entries: Sequence[Entry]) -> str:
    """The public key that signed the checkpoint over exactly these entries. Raises Fault naming the odd one out."""
    data = read("checkpoint")
    size, root = parse_checkpoint(data)
    try:
        public = verify(read("checkpoint.sig"), LOG_NAMESPACE, data)
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
    home = signed.home
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


Examine = Callable[[str, Record, State], Iterator[Finding]]


def check(folder: Path, examine: Examine | None = None) -> Iterator[Finding]:
    """Every check of every file that needs no more than the ledger itself, in one pass that keeps no record.

    `examine(folder, record, state)` may check more of each sound record while it is at hand. The state is that of
    the log up to and with this record, and goes on to grow. Meant for a folder at rest: while somebody appends,
    the unfinished append is reported as what it would be after a crash.
    """
    try:
        entries = _read_index(folder)
        state = State(read_trust(folder))
    except Fault as fault:
        yield fault.finding
        return
    yield Finding("index", "index", True, f"{len(entries)} entries")
    if entries or os.path.lexists(folder / "checkpoint"):
        yield _check_checkpoint(folder, entries, state.trust)
    for entry in entries:
        yield from _check_entry(folder, entry, state, examine)
    yield from _unlisted(folder, entries)
    for session in state.sessions.values():
        message = f"open: {', '.join(session.open)}" if session.open else "every submission is accounted for"
        yield Finding("closed", f"log/{session.commitment.id}.json", True, message)


def _check_checkpoint(folder: Path, entries: Sequence[Entry], trust: Trust) -> Finding:
    try:
        public = check_head(lambda name: read_file(folder, name), entries)
    except Fault as fault:
        return fault.finding
    if public in trust.revoked:
        message = "signed by a revoked key: sign the entry that says so (`nano-r1 ledger status`) with another"
        return Finding("checkpoint", "checkpoint", False, message)
    who = " or ".join(sorted(trust.keys.get(public, ()))) or "somebody who is not in allowed_signers"
    return Finding("checkpoint", "checkpoint", True, f"{len(entries)} entries, signed by {who}")


def _check_entry(folder: Path, entry: Entry, state: State, examine: Examine | None) -> Iterator[Finding]:
    try:
        signed = read_entry(lambda name: read_file(folder, name), entry)
    except Fault as fault:
        yield fault.finding
        return
    yield Finding("hash", entry.path, True, "as in the index")
    yield Finding("signature", f"{entry.path}.sig", True, f"by {signed.public}")
    try:
        yield Finding("signer", entry.path, True, authority(state.trust, signed)[1])
    except LedgerError as error:
        yield Finding("signer", entry.path, False, str(error))
    sound = True
    kind = "status" if isinstance(signed.said, StatusChange) else "commitment"
    try:
        yield Finding(kind, entry.path, True, follow(state, signed))
    except LedgerError as error:
        sound = False
        yield Finding(kind, entry.path, False, str(error))
    if isinstance(signed.said, Record):
        yield from _evidence(folder, signed, signed.said)
        if sound and examine is not None:
            yield from examine(signed.home, signed.said, state)


def _unlisted(folder: Path, entries: Sequence[Entry]) -> Iterator[Finding]:
    """Whatever lies in the ledger and belongs to nothing. Records' folders are searched by `_evidence`."""
    homes = {entry.home for entry in entries} - {"log"}
    top = {*HEAD, *TRUSTED, "log", ".lock", *homes}
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
    """A record in the log, and what it counts for today."""

    folder: str
    record: Record
    known: Known

    @property
    def official(self) -> bool:
        """Its signer was listed in allowed_signers when it was made, with a key that was not revoked since."""
        return self.known.authority == "official"


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
        state = State(read_trust(self.folder))
        found = [(item.home, item.said) for item in self._walk(state) if isinstance(item.said, Record)]
        return [Listed(folder, record, state.records[folder]) for folder, record in found]

    def state(self) -> State:
        """What all entries mean together: sessions, the records in brief, whom to believe."""
        state = State(read_trust(self.folder))
        for _ in self._walk(state):
            pass
        return state

    def open_commitments(self) -> list[Commitment]:
        """Commitments with a submission that has neither record nor abandonment, oldest first."""
        return [session.commitment for session in self.state().sessions.values() if session.open]

    def open_submissions(self, entry: str) -> list[str]:
        """The submissions of a commitment that have neither record nor abandonment."""
        return _session(self.state(), entry).open

    def standing(self, track_id: str) -> str | None:
        """The folder of the track's standing record, which a new one must beat, if there is one."""
        return self.state().standing(track_id)

    def _walk(self, state: State) -> Iterator[Signed]:
        """Every entry, read, verified and followed. Raises Fault at the first that is not sound."""
        for entry in self.entries():
            signed = read_entry(self._read, entry)
            try:
                if isinstance(signed.said, Record):
                    authority(state.trust, signed)
                follow(state, signed)
            except LedgerError as error:
                raise Fault("entry", signed.path, str(error)) from None
            yield signed

    def _read(self, name: str) -> bytes:
        return read_file(self.folder, name)

    # -------------------------------------------------------------- for writers; all raise LedgerError

    def repair(self) -> bool:
        """Finish or drop an append that was interrupted; True if there was one. Each append begins with it."""
        with self._writer() as found:
            return found

    def interrupted(self) -> bool:
        """Did an append stop after its commit point, so that the next one, or `repair`, puts it in place?"""
        return os.path.lexists(self.folder / _STAGED)

    def commit(self, commitment: Commitment, key: Key) -> Path:
        """Announce a session. Returns the entry's path."""
        return self._add_log_entry(commitment, key)

    def abandon(self, abandonment: Abandonment, key: Key) -> Path:
        """Close one submission of a commitment, or all that are open, without a record. Returns the path."""
        return self._add_log_entry(abandonment, key)

    def set_status(self, change: StatusChange, key: Key) -> Path:
        """Say what a record counts for from now on. Returns the entry's path."""
        return self._add_log_entry(change, key)

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

    def merge(self, theirs: Reader, key: Key) -> list[str]:
        """Append what another copy of this log has and this one lacks, in its order. Returns the entries' paths.

        `theirs` reads the other copy's files. Their entries keep their bytes and signatures; `key` signs the new
        checkpoint. A record whose folder's name is taken here moves to the next free one (_2, _3, …). Whom to
        believe is not merged: that is for a person to decide.
        """
        with self._writer():
            ours, log = self.entries(), parse_index(theirs("index"))
            check_head(theirs, log)
            places = {each.sha256: place for place, each in enumerate(ours)}
            shared = [places[each.sha256] for each in log if each.sha256 in places]
            if shared != sorted(shared):
                raise LedgerError("the two logs have the same entries in another order: one of them was rewritten")
            if ours and log and (not shared or log[0].sha256 != ours[0].sha256):
                raise LedgerError("the two logs do not begin with the same entry: they are not copies of one")
            new = [each for each in log if each.sha256 not in places]
            if not new:
                return []
            state = self.state()
            if key.public in state.trust.revoked:
                raise LedgerError(f"the key of {key.identity} is revoked: make another with `nano-r1 keygen`")
            if ours:
                check_head(self._read, ours)
            added, files = list(ours), dict[str, bytes]()
            # Their name of a record -> its name here, where an earlier merge or this one had to change it.
            moved = {each.home: ours[places[each.sha256]].home for each in log if each.sha256 in places}
            for each in new:
                path = self._free(each.path, {entry.path for entry in added})
                added.append(Entry(each.sha256, path))
                moved[each.home] = added[-1].home
                files |= self._adopt(theirs, each, path, state, moved)
            self._publish(added, files, key)
        return [each.path for each in added[len(ours) :]]

    def _free(self, path: str, taken: set[str]) -> str:
        """`path`, or for a record the first of its folder's names that no entry has taken. Raises LedgerError."""
        if path not in taken:
            return path
        if not _RECORD_PATH.fullmatch(path):
            raise LedgerError(f"both logs have an entry {path}, with different bytes")
        base = re.sub(r"_[2-9]$", "", path.partition("/")[0])
        names = [f"{name}/record.json" for name in (base, *(f"{base}_{i}" for i in range(2, 10)))]
        free = next((name for name in names if name not in taken), None)
        if free is None:
            raise LedgerError(f"there are nine records {base} already")
        return free

    def _adopt(
        self, theirs: Reader, entry: Entry, path: str, state: State, moved: Mapping[str, str]
    ) -> dict[str, bytes]:
        """The files of their entry that must still be put in place here, after every check that an append makes."""
        signed = read_entry(theirs, entry, path)
        said = signed.said
        files = {path: theirs(entry.path), f"{path}.sig": theirs(f"{entry.path}.sig")}
        refers = said.record if isinstance(said, StatusChange) else None
        if isinstance(said, Record):
            refers = said.predicate.verdict.standing
            for name, digest in said.predicate.files.items():
                files[f"{signed.home}/{name}"] = data = theirs(f"{entry.home}/{name}")
                if hashlib.sha256(data).hexdigest() != digest:
                    raise Fault("evidence", f"{entry.home}/{name}", "its SHA-256 is not the one in record.json")
        if refers is not None and moved.get(refers, refers) != refers:
            raise LedgerError(
                f"{entry.path} speaks of {refers}, which is another record here (theirs would be {moved[refers]}): "
                "verify that submission again after the merge"
            )
        try:
            authority(state.trust, signed)
            follow(state, signed)
        except LedgerError as error:
            raise LedgerError(f"{entry.path} cannot follow this log: {error}") from None
        # A git merge may have put them here already; a record's folder is then here as a whole.
        whole = [signed.home] if isinstance(said, Record) else list(files)
        if not any(os.path.lexists(self.folder / name) for name in whole):
            return files
        for name, data in files.items():
            if not os.path.lexists(self.folder / name) or self._read(name) != data:
                raise LedgerError(f"{self.folder / name} is not the other log's: move {whole[0]} away, then merge")
        return {}

    def _add_log_entry(self, said: Noted, key: Key) -> Path:
        path = f"log/{said.id}.json"
        with self._writer():
            if os.path.lexists(self.folder / path):
                raise LedgerError(f"there is an entry {path} already")
            self._extend(path, self._signed(path, said, key), {}, key)
        return self.folder / path

    def _signed(self, path: str, said: Noted | Record, key: Key) -> dict[str, bytes]:
        data = dump(said)
        namespace = RECORD_NAMESPACE if isinstance(said, Record) else LOG_NAMESPACE
        files = {path: data, f"{path}.sig": sign(key, namespace, data)}
        signer = parse_entry(path, data, files[f"{path}.sig"]).signer  # refuse to write what could not be read
        if signer != key.identity:
            raise LedgerError(f"the entry says that {signer} signs it, but the key is {key.identity}'s")
        return files

    def _extend(self, path: str, entry: Mapping[str, bytes], evidence: Mapping[str, bytes], key: Key) -> None:
        """Under the lock: check that this entry may come next, and append it. `entry` empty: it lies in place."""
        entries = self.entries()
        if path in {each.path for each in entries}:
            raise LedgerError(f"{path} is in the index already")
        data = entry.get(path) or read_file(self.folder, path)
        signed = parse_entry(path, data, entry.get(f"{path}.sig") or read_file(self.folder, f"{path}.sig"))
        state = self._before(entries, signed, key)
        authority(state.trust, signed)
        follow(state, signed)
        if not entry and isinstance(signed.said, Record):
            for finding in _evidence(self.folder, signed, signed.said):
                if not finding.ok:
                    raise LedgerError(f"{finding.file}: {finding.message}")
        home = signed.home
        files = {**entry, **{f"{home}/{name}": content for name, content in evidence.items()}}
        self._publish([*entries, Entry(hashlib.sha256(data).hexdigest(), path)], files, key)

    def _before(self, entries: Sequence[Entry], signed: Signed, key: Key) -> State:
        """What must be known of the log to say whether this entry may come next.

        The signed checkpoint proves the index: which entries there are, their order and the hash of each. Whoever
        signed it had followed every entry up to there, by this very rule. So if that was a key to believe (this
        one, or one that is listed and not revoked), only the entries that this one refers to are read, and checked
        against their hashes: an append costs the same after ten entries and after ten thousand, but for reading the
        index and hashing its lines. Under a stranger's checkpoint every entry is read and followed.

        Nothing is lost by it. A file that was changed since is not read here, but neither is it vouched for: what
        gets signed is its old hash, and the audit still finds it.
        """
        trust, said = read_trust(self.folder), signed.said
        if key.public in trust.revoked:
            raise LedgerError(f"the key of {key.identity} is revoked: make another with `nano-r1 keygen`")
        if entries or os.path.lexists(self.folder / "checkpoint"):
            public = check_head(self._read, entries)  # never sign over a log that somebody changed
            if public in trust.revoked or (public != key.public and public not in trust.keys):
                return self.state()
        state = State(trust)
        if isinstance(said, StatusChange):
            of = next((each for each in entries if each.path == f"{said.record}/record.json"), None)
            if of is not None and isinstance((found := read_entry(self._read, of)).said, Record):
                enlist(state, found, found.said)
        elif not isinstance(said, Commitment):
            session = _session_of(said)
            since = next((i for i, each in enumerate(entries) if each.path == f"log/{session}.json"), len(entries))
            for each in entries[since:]:
                found = read_entry(self._read, each)
                if _session_of(found.said) == session:
                    follow(state, found)
        return state

    def _publish(self, entries: Sequence[Entry], files: Mapping[str, bytes], key: Key) -> None:
        """Under the lock: put these files in place, and this log, signed."""
        checkpoint = make_checkpoint(entries)
        self._stage({
            **files,
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
