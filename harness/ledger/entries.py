"""What an entry of the log says, and how its bytes are read: strictly, in one form, with its signature.

log/<id>.json + .sig                     an announcement, an abandonment or a change of status
<date>_<track>_<name>/record.json + .sig     a record (harness.ledger.record)
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints, TypeAdapter, ValidationError

from harness.errors import first_problem
from harness.ledger.errors import FileError, LedgerError
from harness.ledger.record import (
    RECORD_FOLDER,
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
from harness.ledger.signature import LOG_NAMESPACE, RECORD_NAMESPACE, SignatureError, verify

# Two levels, lower case, no dots but in the suffix: no path can leave the folder.
LOG_PATH = re.compile(r"log/([a-z0-9][a-z0-9-]{0,63})\.json")
RECORD_PATH = re.compile(rf"({RECORD_FOLDER})/record\.json")
_TRACK_ID = re.compile(r"([a-z0-9][a-z0-9-]{0,63})@[1-9][0-9]{0,5}")
_EVIDENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


class AnnouncedSubmission(Model):
    name: Name
    tree_sha256: Sha256


class Announcement(Model):
    """Announced before the first run: what will be verified, and the hash of the root of all its keys."""

    kind: Literal["commitment"] = "commitment"
    id: Name
    created_utc: Utc
    signer: Line
    track: Line
    track_digest: Sha256
    submissions: Annotated[list[AnnouncedSubmission], Field(min_length=1)]
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


def _check_rule(number: str) -> str:
    if number not in RULES:
        raise ValueError(f"{number[:10]!r} is not a rule of CONTRIBUTING.md; rules: {', '.join(RULES)}")
    return number


class StatusChange(Model):
    """The status of a record from here on, and the rule that it follows from. A new record is `verified`."""

    kind: Literal["status"] = "status"
    id: Name
    created_utc: Utc
    signer: Line
    record: Annotated[str, StringConstraints(pattern=f"^{RECORD_FOLDER}$")]
    status: Status
    rule: Annotated[str, AfterValidator(_check_rule)]
    reason: Line


LogEntry = Announcement | Abandonment | StatusChange  # the contents of log/<id>.json
_LOG_ENTRY: TypeAdapter[LogEntry] = TypeAdapter(Annotated[LogEntry, Field(discriminator="kind")])


@dataclass(frozen=True)
class SignedEntry:
    """An entry that was read, and the public key that signed it."""

    path: str
    content: LogEntry | Record
    public: str

    @property
    def folder(self) -> str:
        """The folder of a record; `log` for any other entry."""
        return self.path.partition("/")[0]

    @property
    def signer(self) -> str:
        return self.content.predicate.signer if isinstance(self.content, Record) else self.content.signer

    @property
    def namespace(self) -> str:
        """That of its signature."""
        return RECORD_NAMESPACE if isinstance(self.content, Record) else LOG_NAMESPACE

    @property
    def created(self) -> datetime:
        """Raises LedgerError."""
        text = (self.content.predicate if isinstance(self.content, Record) else self.content).created_utc
        try:
            return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
        except ValueError:
            raise LedgerError(f"created_utc {text} is not a time") from None


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


def is_entry_path(path: str) -> bool:
    return bool(LOG_PATH.fullmatch(path) or RECORD_PATH.fullmatch(path))


def parse_entry(path: str, data: bytes, signature: bytes) -> SignedEntry:
    """Read an entry's bytes strictly and check its signature. Raises FileError naming the file."""
    is_record = RECORD_PATH.fullmatch(path) is not None
    try:
        public = verify(signature, RECORD_NAMESPACE if is_record else LOG_NAMESPACE, data)
    except SignatureError as error:
        raise FileError("signature", f"{path}.sig", str(error)) from None
    try:
        entry = SignedEntry(path, _parse_record(path, data) if is_record else _parse_log_entry(path, data), public)
        _ = entry.created
    except ValidationError as error:
        raise FileError("entry", path, first_problem(error)) from None
    except (RecordError, LedgerError) as error:
        raise FileError("entry", path, str(error)) from None
    return entry


def _parse_record(path: str, data: bytes) -> Record:
    record = load(data)
    folder = record_folder(record)
    if path.partition("/")[0] not in numbered(folder):
        raise RecordError(f"its folder should be {folder}")
    for name in record.predicate.files:
        if _EVIDENCE.fullmatch(name) is None or name in ("record.json", "record.json.sig"):
            raise RecordError(f"predicate.files: {name!r} is not a plain file name")
    return record


def _parse_log_entry(path: str, data: bytes) -> LogEntry:
    entry = _LOG_ENTRY.validate_python(strict_json(data))
    if dump(entry) != data:
        raise RecordError("not in canonical form (key order, spacing or escapes differ)")
    if path != f"log/{entry.id}.json":
        raise RecordError(f"its id is {entry.id}")
    return entry


def record_folder(record: Record) -> str:
    """<date>_<track>_<name>, the folder of the first such record of a day. Raises LedgerError."""
    track = _TRACK_ID.fullmatch(record.predicate.track)
    if track is None:
        raise LedgerError(f"track {record.predicate.track!r} is not of the form name@version")
    return f"{record.predicate.created_utc[:10]}_{track[1]}_{record.predicate.submission.name}"


def numbered(folder: str) -> list[str]:
    """The folders that records of the same day, track and name may have: FOLDER, FOLDER_2, …, FOLDER_9."""
    return [folder, *(f"{folder}_{number}" for number in range(2, 10))]


def first_free(folder: str, is_taken: Callable[[str], bool]) -> str:
    """The first of the nine folders that is not taken. Raises LedgerError."""
    free = next((name for name in numbered(folder) if not is_taken(name)), None)
    if free is None:
        raise LedgerError(f"there are nine records {folder} already")
    return free
