"""What happened in a session, in one line of time: messages, approvals, ends that were none, artifacts, acts.

Nothing is stored for it: each row is read from the table that it is a fact of. Invariant: rows stand in one total
order (moment, then key), newest first, so that there is exactly one place behind each.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from heapq import merge
from itertools import islice
from typing import Any, NamedTuple

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Select,
    String,
    and_,
    bindparam,
    cast,
    func,
    literal,
    null,
    or_,
    select,
)
from sqlmodel import Session as Db

from core.access.deeds import sentence_of
from core.access.viewer import Viewer
from core.database import table_of
from core.errors import BadInputError
from core.history.sessions import get_session
from core.ids import SessionId
from core.tables import (
    Activity,
    Approval,
    Artifact,
    ArtifactVersion,
    Conversation,
    Message,
    Thread,
    User,
)

GROUPS = ("messages", "approvals", "errors", "artifacts", "acts")
_LONGEST = 300
_session: BindParameter[Any] = bindparam("session")
_conversation, _message, _thread = table_of(Conversation), table_of(Message), table_of(Thread)
_approval, _artifact, _version = table_of(Approval), table_of(Artifact), table_of(ArtifactVersion)
_activity, _user = table_of(Activity), table_of(User)


class Moment(NamedTuple):
    """A place in the line of time."""

    at: datetime
    key: str

    def to_text(self) -> str:
        """The place as a word for an address."""
        return f"{self.at.astimezone(UTC).isoformat()}~{self.key}"

    @classmethod
    def from_text(cls, text: str) -> "Moment":
        """The place that such a word means; BadInputError when it means none."""
        try:
            at, key = text.split("~")
            moment = datetime.fromisoformat(at)
            return cls(
                moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC), key.replace("\0", "")
            )
        except (ValueError, OverflowError):
            raise BadInputError(
                "The address names a place in the timeline that is not there; please start from its newest end."
            ) from None


@dataclass(frozen=True)
class Happening:
    """One thing that happened. ``kind`` says what: of a message its thread's kind, of an error the thread's status,
    of an approval ``asked`` or the decision, of an act its deed. ``text`` is what was said, asked or wrong."""

    at: datetime
    key: str
    group: str
    kind: str
    user_name: str | None
    text: str
    conversation_id: str | None
    message_id: str | None
    thread_id: str | None
    target_id: str | None

    @property
    def moment(self) -> Moment:
        return Moment(self.at, self.key)


@dataclass(frozen=True)
class Happenings:
    """A page of them, newest first; ``next`` is where the next page begins, None at the end."""

    rows: list[Happening]
    next: Moment | None


def list_happenings(
    viewer: Viewer,
    db: Db,
    session_id: SessionId,
    *,
    groups: Collection[str] = GROUPS,
    before: Moment | None = None,
    limit: int = 100,
) -> Happenings:
    """What happened in it before that place, newest first; NotFoundError where it is not to be read."""
    get_session(viewer, db, session_id)
    given = {"session": session_id, "most": limit + 1}
    sources = [_read(db, source, given, before) for group, source in _SOURCES if group in groups]
    newest = list(islice(merge(*sources, key=lambda row: row.moment, reverse=True), limit + 1))
    rows = newest[:limit]
    return Happenings(rows, rows[-1].moment if len(newest) > limit else None)


def _read(db: Db, source: Select[Any], given: dict[str, Any], before: Moment | None) -> Sequence[Happening]:
    at, key = source.selected_columns["at"], source.selected_columns["key"]
    if before is not None:
        source = source.where(or_(at < before.at, and_(at == before.at, key < before.key)))
    source = source.order_by(at.desc(), key.desc()).limit(bindparam("most"))
    return [_to_happening(row) for row in db.connection().execute(source, given)]


def _to_happening(row: Any) -> Happening:
    found = Happening(**row._mapping)
    if found.group != "acts":
        return found
    return Happening(**{**row._mapping, "text": sentence_of(found.kind, row.text)})


def _columns(group: str, **said: Any) -> list[ColumnElement[Any]]:
    usual: dict[str, Any] = {
        "conversation_id": null(),
        "message_id": null(),
        "thread_id": null(),
        "target_id": null(),
    }
    of = {"group": literal(group), "user_name": _user.c.name, **usual, **said}
    names = Happening.__dataclass_fields__
    return [of[name].label(name) for name in names]


def _excerpt(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.substr(column, 1, _LONGEST)


_said = _conversation.join(_message, _message.c.conversation_id == _conversation.c.conversation_id).join(
    _thread, _thread.c.message_id == _message.c.message_id
)
_is_here = and_(
    _conversation.c.session_id == _session, _conversation.c.deleted_at.is_(None), _message.c.deleted_at.is_(None)
)
_of_message = {
    "conversation_id": _message.c.conversation_id,
    "message_id": _message.c.message_id,
    "thread_id": _thread.c.thread_id,
}
_MESSAGES = (
    select(
        *_columns(
            "messages",
            at=_message.c.created_at,
            key=_message.c.message_id,
            kind=_thread.c.kind,
            text=_excerpt(_message.c.content),
            **_of_message,
        )
    )
    .select_from(_said.outerjoin(_user, _user.c.user_id == _thread.c.user_id))
    .where(_is_here)
)
_ENDS = (
    select(
        *_columns(
            "errors",
            at=_thread.c.ended_at,
            key=_thread.c.thread_id,
            kind=_thread.c.status,
            text=_excerpt(func.coalesce(_thread.c.error_message, _thread.c.error_type, "")),
            **_of_message,
        )
    )
    .select_from(_said.outerjoin(_user, _user.c.user_id == _thread.c.user_id))
    .where(_is_here, _thread.c.status.in_(("failed", "lost", "stopped")), _thread.c.ended_at.is_not(None))
)
_asked = _said.join(_approval, _approval.c.thread_id == _thread.c.thread_id)
_what = func.coalesce(func.nullif(_approval.c.tool, ""), _approval.c.kind)
_ASKED = (
    select(
        *_columns(
            "approvals",
            at=_approval.c.waiting_since,
            key=_approval.c.approval_id,
            kind=literal("asked"),
            text=_what,
            target_id=_approval.c.approval_id,
            **(_of_message | {"user_name": null()}),
        )
    )
    .select_from(_asked)
    .where(_is_here)
)
_DECIDED = (
    select(
        *_columns(
            "approvals",
            at=_approval.c.decided_at,
            key=_approval.c.approval_id + literal("!"),
            kind=func.coalesce(_approval.c.decision, _approval.c.status),
            text=_what,
            target_id=_approval.c.approval_id,
            **_of_message,
        )
    )
    .select_from(_asked.outerjoin(_user, _user.c.user_id == _approval.c.decided_by))
    .where(_is_here, _approval.c.decided_at.is_not(None))
)
_ARTIFACTS = (
    select(
        *_columns(
            "artifacts",
            at=_version.c.created_at,
            key=_version.c.artifact_id + literal("@") + cast(_version.c.version, String),
            kind=_artifact.c.kind,
            text=_artifact.c.name,
            thread_id=_version.c.thread_id,
            target_id=_version.c.artifact_id,
        )
    )
    .select_from(
        _artifact.join(_version, _version.c.artifact_id == _artifact.c.artifact_id).outerjoin(
            _user, _user.c.user_id == _version.c.user_id
        )
    )
    .where(_artifact.c.session_id == _session, _version.c.status == "kept")
)
# What stands in the line already, as what it is of.
_TOLD = ("message.%", "approval.%", "artifact.write")
_ACTS = (
    select(
        *_columns(
            "acts",
            at=_activity.c.created_at,
            key=_activity.c.activity_id,
            kind=_activity.c.kind,
            text=_activity.c.detail,
            target_id=_activity.c.target_id,
        )
    )
    .select_from(_activity.outerjoin(_user, _user.c.user_id == _activity.c.user_id))
    .where(_activity.c.session_id == _session, *(_activity.c.kind.not_like(kind) for kind in _TOLD))
)
_SOURCES = (
    ("messages", _MESSAGES),
    ("errors", _ENDS),
    ("approvals", _ASKED),
    ("approvals", _DECIDED),
    ("artifacts", _ARTIFACTS),
    ("acts", _ACTS),
)
