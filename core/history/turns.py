"""Turns: a message with its answer and the thread that answers it, alone, along a path, or all of a conversation.

Invariant: the transcript that people see is read from here and is never shortened; who may not see it finds none.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, literal
from sqlalchemy.orm import aliased
from sqlmodel import Session as Db
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.errors import NotFoundError
from core.history.conversations import get_conversation
from core.ids import (
    ConversationId,
    MessageId,
    SessionId,
    ThreadId,
    UserId,
)
from core.prepared import Prepared
from core.tables import Conversation, Message, Session, Thread

# In a thread's config, beside its settings: what of the state it started from was edited, as plain data by key.
EDITS = "edited_state"
# The thread and checkpoint whose state was edited: a retry that goes on with it comes from elsewhere.
EDITED_AT = "edited_at"
# The files that came with the message, as names of versions of artifacts: "art_...@1".
ATTACHMENTS = "attachments"
# What else the graph was given with the message, as plain data by the keys of its input.
INPUTS = "inputs"


class ThreadKind(StrEnum):
    """Why a thread was begun."""

    FIRST = "first"
    CONTINUE = "continue"
    EDIT = "edit"
    REGENERATE = "regenerate"
    FORK = "fork"
    RETRY = "retry"
    FAN_OUT = "fan_out"


ENDED = ("done", "stopped", "failed", "lost")


UNFINISHED = ("stopped", "failed", "lost")


@dataclass(frozen=True)
class Turn:
    """One message, its answer, and the thread that answers it."""

    message_id: MessageId
    conversation_id: ConversationId
    parent_message_id: MessageId | None
    content: str
    answer: str
    depth: int
    created_at: datetime
    thread_id: ThreadId
    user_id: str
    kind: str
    name: str
    parent_thread_id: ThreadId | None
    source_checkpoint_id: str | None
    agent_id: str
    config: dict[str, Any]
    status: str
    error_type: str | None
    error_message: str | None
    finish_reason: str | None
    started_at: datetime | None
    ended_at: datetime | None

    @property
    def is_live(self) -> bool:
        return self.status in {"queued", "running"}

    @property
    def settings(self) -> dict[str, Any]:
        """What it was answered with: model, temperature and the agent's own settings."""
        return settings_of(self.config)

    @property
    def attached(self) -> dict[str, Any]:
        """The part of its config that names the files of the message; nothing without files."""
        return {name: value for name, value in self.config.items() if name == ATTACHMENTS}

    @property
    def brought(self) -> dict[str, Any]:
        """The part of its config that came with the message: its files, and more inputs."""
        return {name: value for name, value in self.config.items() if name in {ATTACHMENTS, INPUTS}}

    @property
    def inputs(self) -> dict[str, Any]:
        """What else the graph was given with the message."""
        return inputs_of(self.config)


def settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What of a thread's config was chosen; the rest says what it begins with."""
    return {name: value for name, value in config.items() if name not in {EDITS, EDITED_AT, ATTACHMENTS, INPUTS}}


def inputs_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """What a thread's config says that its graph is given beside the message."""
    found = config.get(INPUTS)
    return dict(found) if isinstance(found, Mapping) else {}


def get_turn(viewer: Viewer, db: Db, message_id: MessageId) -> Turn:
    """One message with its thread; NotFoundError when it is not there for this viewer."""
    return find_turn(viewer, db, message_id)[0]


def get_turn_of_thread(viewer: Viewer, db: Db, thread_id: ThreadId) -> Turn:
    """The message that a thread answers; NotFoundError when it is not there for this viewer."""
    return _find(viewer, db, _BY_THREAD, thread_id)[0]


def get_path(viewer: Viewer, db: Db, message_id: MessageId) -> list[Turn]:
    """The turns from the root down to this message, whole and in order."""
    get_turn(viewer, db, message_id)
    return [_to_turn(row) for row in _PATH.all(db, {"key": message_id})]


def get_path_part(viewer: Viewer, db: Db, message_id: MessageId, *, most: int) -> list[Turn]:
    """The last turns of that path, at most ``most``; it costs the same however many come before them."""
    rows = _PATH_PART.all(db, {"key": message_id, "most": most})
    if not rows or not viewer.may_read(rows[-1][-1]):
        raise _not_found()
    return [_to_turn(row[:-2]) for row in rows]


def list_path_threads(viewer: Viewer, db: Db, message_id: MessageId) -> list[ThreadId]:
    """The threads of the turns from the root down to this message, in order."""
    get_turn(viewer, db, message_id)
    return [ThreadId(row[0]) for row in _PATH_THREADS.all(db, {"key": message_id})]


def get_ancestor(viewer: Viewer, db: Db, message_id: MessageId, *, depth: int) -> MessageId:
    """The message of this depth (0: the root) on the path down to a message; that itself where it is not deeper."""
    turn = get_turn(viewer, db, message_id)
    found = _ANCESTOR.first(db, {"key": message_id, "most": turn.depth - depth + 1})
    return MessageId(found[0]) if found is not None else message_id


def list_turns(viewer: Viewer, db: Db, conversation_id: ConversationId) -> list[Turn]:
    """Every message of a conversation, whole, in the order they were made."""
    get_conversation(viewer, db, conversation_id)
    return [_to_turn(row) for row in _OF_CONVERSATION.all(db, {"key": conversation_id})]


def list_fan(viewer: Viewer, db: Db, message_id: MessageId) -> list[Turn]:
    """The answers that were asked for together with this one, itself included; alone when it was not a fan-out."""
    turn = get_turn(viewer, db, message_id)
    if turn.kind != ThreadKind.FAN_OUT:
        return [turn]
    given = {"conversation": turn.conversation_id, "parent": turn.parent_message_id, "at": turn.created_at}
    return [_to_turn(row) for row in _FAN.all(db, given)]


_COLUMNS = (
    Message.message_id,
    Message.conversation_id,
    Message.parent_message_id,
    Message.content,
    Message.answer,
    Message.depth,
    Message.created_at,
    Thread.thread_id,
    Thread.user_id,
    Thread.kind,
    Thread.name,
    Thread.parent_thread_id,
    Thread.source_checkpoint_id,
    Thread.agent_id,
    Thread.config,
    Thread.status,
    Thread.error_type,
    Thread.error_message,
    Thread.finish_reason,
    Thread.started_at,
    Thread.ended_at,
)


def _turns() -> Any:
    return (
        select(*_COLUMNS)  # type: ignore[call-overload]
        .join(Thread, col(Thread.message_id) == Message.message_id)
        .where(col(Message.deleted_at).is_(None))
    )


def _to_turn(row: Any) -> Turn:
    return Turn(*row)


def find_turn(viewer: Viewer, db: Db, message_id: MessageId) -> tuple[Turn, SessionId, UserId]:
    """A turn with its session and whose that is; NotFoundError when the viewer may not read it."""
    return _find(viewer, db, _BY_MESSAGE, message_id)


def _find(viewer: Viewer, db: Db, statement: Prepared, key: str) -> tuple[Turn, SessionId, UserId]:
    row = statement.first(db, {"key": key})
    if row is None or not viewer.may_read(row[-1]):
        raise _not_found()
    return _to_turn(row[:-2]), SessionId(row[-2]), UserId(row[-1])


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such message here; it may have been deleted, or the link is wrong.")


def _with_owner() -> Any:
    """Turns with their session and whose it is, of what is not deleted."""
    return (
        _turns()
        .add_columns(Session.session_id, Session.user_id)
        .join(Conversation, col(Conversation.conversation_id) == Message.conversation_id)
        .join(Session, col(Session.session_id) == Conversation.session_id)
        .where(col(Conversation.deleted_at).is_(None), Session.status != "deleted")
    )


def _prepared(key: Any) -> Prepared:
    """A turn by a key, with its session and whose that is."""
    return Prepared(_with_owner().where(key == bindparam("key")))


_BY_MESSAGE = _prepared(col(Message.message_id))


_BY_THREAD = _prepared(col(Thread.thread_id))


_OF_CONVERSATION = Prepared(
    _turns().where(col(Message.conversation_id) == bindparam("key")).order_by(col(Message.message_id))
)


# One fan-out is written in one moment.
_FAN = Prepared(
    _turns()
    .where(
        col(Message.conversation_id) == bindparam("conversation"),
        col(Message.parent_message_id).is_not_distinct_from(bindparam("parent")),
        col(Message.created_at) == bindparam("at"),
        col(Thread.kind) == ThreadKind.FAN_OUT,
    )
    .order_by(col(Message.message_id))
)


def _upwards(*, is_bounded: bool) -> Any:
    """The ids from a message up to the root, or only so many of them."""
    start = select(Message.message_id, Message.parent_message_id, literal(1).label("place"))
    path = start.where(Message.message_id == bindparam("key")).cte("path", recursive=True)
    above = aliased(Message)
    step = select(above.message_id, above.parent_message_id, path.c.place + 1).join(
        path, col(above.message_id) == path.c.parent_message_id
    )
    return path.union_all(step.where(path.c.place < bindparam("most")) if is_bounded else step)


_bounded, _whole = _upwards(is_bounded=True), _upwards(is_bounded=False)
_PATH = Prepared(
    _turns().where(col(Message.message_id).in_(select(_whole.c.message_id))).order_by(col(Message.depth))
)
_PATH_PART = Prepared(
    _with_owner().where(col(Message.message_id).in_(select(_bounded.c.message_id))).order_by(col(Message.depth))
)
_PATH_THREADS = Prepared(
    select(Thread.thread_id).join(_whole, _whole.c.message_id == Thread.message_id).order_by(_whole.c.place.desc())
)
_ANCESTOR = Prepared(select(_bounded.c.message_id).order_by(_bounded.c.place.desc()).limit(1))
