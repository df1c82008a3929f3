"""Heads of the log's chain: what is exported and kept elsewhere, to prove later that nothing was cut off.

Invariant: ``Head.from_json(head.to_json()) == head``, and nothing else passes for a head.
"""

import json
import re
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import bindparam, text
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.proof.reading import read_all
from core.calls.proof.seals import ENTRY_BYTES, split_manifest
from core.database import Database
from core.errors import BadInputError, ForbiddenError
from core.history.activity import record
from core.ids import parse_id

_HASH = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Head:
    """The newest seal of a chain, and how many seals, calls, corrections and deeds the chain has up to it.

    Heads that were exported before there were seals over ``activity`` say nothing of it.
    """

    seal_id: str
    hash: str
    seals: int
    calls: int
    corrections: int
    sealed_at: datetime
    activity: int = 0

    def to_json(self) -> str:
        """The head as a file to keep elsewhere."""
        return (
            json.dumps({**asdict(self), "sealed_at": self.sealed_at.astimezone(UTC).isoformat()}, indent=2) + "\n"
        )

    @classmethod
    def from_json(cls, text: str) -> "Head":
        """The head of such a file; BadInputError says what is wrong with one that is damaged."""
        try:
            said = json.loads(text)
            head = cls(**{**said, "sealed_at": datetime.fromisoformat(said["sealed_at"])})
        except (ValueError, TypeError, KeyError, RecursionError):
            raise _damaged("it is not the JSON of one") from None
        head._check()
        return head

    def _check(self) -> None:
        if not isinstance(self.seal_id, str) or not _is_seal(self.seal_id):
            raise _damaged("its seal_id is not the id of a seal")
        if not isinstance(self.hash, str) or not _HASH.fullmatch(self.hash):
            raise _damaged("its hash is not 64 hexadecimal digits")
        counts = (self.seals, self.calls, self.corrections, self.activity)
        if any(type(count) is not int or count < 0 for count in counts):
            raise _damaged("one of its counts is not a whole number")
        if self.sealed_at.tzinfo is None:
            raise _damaged("its time has no time zone")


def _is_seal(text: str) -> bool:
    try:
        return parse_id(text).kind == "seal"
    except BadInputError:
        return False


def _damaged(why: str) -> BadInputError:
    return BadInputError(f"This is no exported head of the log ({why}); please take the file as it was exported.")


@dataclass(frozen=True)
class Survey:
    """One moment of the log: its head, how many rows are sealed, and how much activity waits for its seal."""

    head: Head | None
    sealed: int
    waiting: int


# One statement is one snapshot on both databases.
_SURVEY = text(
    """
    SELECT
        (SELECT seal_id FROM log_seal ORDER BY seal_id DESC LIMIT 1) AS seal_id,
        (SELECT hash FROM log_seal ORDER BY seal_id DESC LIMIT 1) AS hash,
        (SELECT sealed_at FROM log_seal ORDER BY seal_id DESC LIMIT 1) AS sealed_at,
        (SELECT count(*) FROM log_seal) AS seals,
        (SELECT coalesce(sum(length(manifest)), 0) FROM log_seal) AS sealed_bytes,
        (SELECT coalesce(sum(length(manifest)), 0) FROM log_seal WHERE first_call_id < 'call_') AS activity_bytes,
        (SELECT count(*) FROM activity_to_seal) AS waiting
    """
)
_WITH_CORRECTIONS = text(
    "SELECT manifest FROM log_seal WHERE last_call_id >= 'fix_' AND seal_id <= :last ORDER BY seal_id"
).bindparams(bindparam("last"))


def read_head(database: Database) -> Head | None:
    """The chain's newest seal; None while nothing is sealed."""
    with database.read() as db:
        return survey(db).head


def export_head(viewer: Viewer, database: Database, head: Head) -> str:
    """The head as a file to keep elsewhere, for a person, who is recorded."""
    if not viewer.reads_all:
        raise ForbiddenError("Only an analyst or admin can export the log's head; please ask one.")
    database.write(lambda db: record(db, viewer, "log.export_head", target_id=head.seal_id))
    return head.to_json()


def survey(db: Db) -> Survey:
    """The log as it is at one moment."""
    [row] = read_all(db, _SURVEY)
    head = None if row.seal_id is None else _make_head(db, row)
    return Survey(head, int(row.sealed_bytes) // ENTRY_BYTES, int(row.waiting))


def _make_head(db: Db, row: Any) -> Head:
    corrections = _count_corrections(db, row.seal_id)
    # Activity has seals of its own, and its ids come before those of all else.
    activity = int(row.activity_bytes) // ENTRY_BYTES
    calls = int(row.sealed_bytes) // ENTRY_BYTES - corrections - activity
    return Head(row.seal_id, row.hash, int(row.seals), calls, corrections, _moment(row.sealed_at), activity)


def _moment(value: Any) -> datetime:
    """The time as it is kept; one that makes no sense must not keep anybody from verifying, which will name it."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, AttributeError, OverflowError):
        return datetime.fromtimestamp(0, UTC)


def _count_corrections(db: Db, last: str) -> int:
    manifests = db.connection().execute(_WITH_CORRECTIONS, {"last": last}).scalars()
    whole = (manifest for manifest in manifests if isinstance(manifest, bytes))
    return sum(entry.startswith(b"fix_") for manifest in whole for entry in split_manifest(manifest))
