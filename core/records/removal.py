"""Taking people's rows away, piece by piece: messages with all that hangs on them, texts of calls, artifacts.

Each function does one thing until nothing of it is left, in transactions that are short however much there is.
Invariant: checkpoints go before the rows that name them, and leaves before what they grew from, so that whatever is
cut short, between any two steps, is found by the rows that are left, and finished by doing the same again.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

from sqlalchemy import BindParameter, Select, bindparam, delete, func, or_, select, tuple_, update
from sqlmodel import Session as Db

from core.calls.text.search import remove_calls
from core.database import Database, table_of
from core.history import search
from core.ids import ConversationId, MessageId, SessionId, ThreadId
from core.tables import (
    Annotation,
    Approval,
    Artifact,
    ArtifactVersion,
    Branch,
    LlmCall,
    LlmCallBody,
    Message,
    RunEvent,
    Snapshot,
    Thread,
)

ForgetThread = Callable[[ThreadId], None]
T = TypeVar("T")
# How much one transaction takes away at most: things, events, characters to find in an index of words, and bytes.
_AT_ONCE = 25
_EVENTS_AT_ONCE = 400
_TEXT_AT_ONCE = 40_000
_BYTES_AT_ONCE = 4_000_000
_message, _thread, _branch, _event = table_of(Message), table_of(Thread), table_of(Branch), table_of(RunEvent)
_artifact, _version = table_of(Artifact), table_of(ArtifactVersion)
_call, _body, _note = table_of(LlmCall), table_of(LlmCallBody), table_of(Annotation)


def remove_messages(database: Database, forget_thread: ForgetThread, conversation_id: ConversationId) -> None:
    """Take away every message of a conversation, with all that hangs on it: threads, checkpoints, events, ..."""
    for some in portions(_read(database, _LEAVES, conversation_id)):
        threads = [ThreadId(row.thread_id) for row in some if row.thread_id is not None]
        for thread_id in threads:
            forget_thread(thread_id)
        remove_events(database, threads)
        messages = [MessageId(row.message_id) for row in some]
        database.write(partial(delete_messages, messages=messages, threads=threads))


def remove_events(database: Database, threads: Sequence[ThreadId]) -> None:
    """Take away the event logs of threads."""
    _repeat(database, _DROP_EVENTS, {"threads": list(threads), "most": _EVENTS_AT_ONCE}, _EVENTS_AT_ONCE)


def delete_messages(db: Db, messages: Sequence[MessageId], threads: Sequence[ThreadId]) -> None:
    """Delete these messages and their threads with what hangs on them; nothing is left that grows from one."""
    connection = db.connection()
    search.remove_messages(db, messages)
    for table, column, ids in (
        (RunEvent, "thread_id", threads),
        (Snapshot, "thread_id", threads),
        (Approval, "thread_id", threads),
        (Annotation, "target_id", messages),
        (Branch, "head_message_id", messages),
    ):
        connection.execute(delete(table_of(table)).where(table_of(table).c[column].in_(ids)))
    for statement in (_DROP_VERSIONS, _KEEP_VERSIONS, _ORPHAN):
        connection.execute(statement, {"threads": list(threads)})
    connection.execute(delete(_thread).where(_thread.c.thread_id.in_(threads)))
    connection.execute(delete(_message).where(_message.c.message_id.in_(messages)))


def remove_texts(database: Database, session_id: SessionId, conversation_id: ConversationId | None = None) -> int:
    """Take away what models saw and said in a session, or one conversation of it; gives of how many calls."""
    wanted = _TEXTS if conversation_id is None else _TEXTS.where(_call.c.conversation_id == conversation_id)
    return _remove_texts(database, wanted, session_id)


def remove_texts_of_user(database: Database, user_id: str) -> int:
    """The same for every call that a person started."""
    return _remove_texts(database, _TEXTS_OF_USER, user_id)


def _remove_texts(database: Database, wanted: Select[Any], of: str) -> int:
    rows = _read(database, wanted, of)
    for some in portions(rows):
        database.write(partial(_delete_texts, call_ids=[row.call_id for row in some]))
    return len(rows)


def _delete_texts(db: Db, call_ids: Sequence[str]) -> None:
    remove_calls(db, call_ids)
    db.connection().execute(delete(_body).where(_body.c.call_id.in_(call_ids)))


def remove_artifacts(database: Database, session_id: SessionId) -> None:
    """Take away all artifacts of a session, with what every version of them holds."""
    for some in portions(_read(database, _VERSIONS, session_id), _BYTES_AT_ONCE):
        keys = [{"artifact": row.artifact_id, "number": row.version} for row in some]
        database.write(partial(_delete_versions, keys=keys))
    _repeat(database, _DROP_ARTIFACTS, {"of": session_id, "most": _EVENTS_AT_ONCE}, _EVENTS_AT_ONCE)


def _delete_versions(db: Db, keys: Sequence[dict[str, Any]]) -> None:
    db.connection().execute(_DROP_VERSION, keys)


def remove_annotations(database: Database, column: str, value: str) -> None:
    """Take away what people put on things of a session (``session_id``), or what one person did (``user_id``)."""
    some = select(_note.c.annotation_id).where(_note.c[column] == value).limit(_EVENTS_AT_ONCE)
    _repeat(database, delete(_note).where(_note.c.annotation_id.in_(some)), {}, _EVENTS_AT_ONCE)


def _read(database: Database, statement: Select[Any], of: str) -> Sequence[Any]:
    with database.read() as db:
        return db.connection().execute(statement, {"of": of}).all()


def _repeat(database: Database, statement: Any, given: dict[str, Any], most: int) -> None:
    """Run a deletion of at most so many rows until it finds fewer."""
    while database.write(lambda db: db.connection().execute(statement, given).rowcount) >= most:
        pass


def portions(rows: Sequence[T], most: int | None = None, *, at_once: int | None = None) -> Iterator[list[T]]:
    """The rows, by their ``size``, in lists that one transaction can take: each at least one."""
    most, at_once = most or _TEXT_AT_ONCE, at_once or _AT_ONCE
    some: list[T] = []
    size = 0
    for row in rows:
        more = getattr(row, "size", 0) or 0
        if some and (len(some) == at_once or size + more > most):
            yield some
            some, size = [], 0
        some.append(row)
        size += more
    if some:
        yield some


_THREADS: BindParameter[Any] = bindparam("threads", expanding=True)
size_of_message = func.length(_message.c.content) + func.length(_message.c.answer)
_LEAVES = (
    select(_message.c.message_id, _thread.c.thread_id, size_of_message.label("size"))
    .outerjoin(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_message.c.conversation_id == bindparam("of"))
    .order_by(_message.c.depth.desc(), _message.c.message_id.desc())
)
_some_events = (
    select(_event.c.thread_id, _event.c.seq).where(_event.c.thread_id.in_(_THREADS)).limit(bindparam("most"))
)
_DROP_EVENTS = delete(_event).where(tuple_(_event.c.thread_id, _event.c.seq).in_(_some_events))
# Where a thread came from is not known any more when that is gone.
_ORPHAN = update(_thread).where(_thread.c.parent_thread_id.in_(_THREADS)).values(parent_thread_id=None)
# What a run wrote and its state named is the session's; all else was of that thread alone.
_of_threads = update(_version).where(_version.c.thread_id.in_(_THREADS))
_DROP_VERSIONS = _of_threads.where(or_(_version.c.by_hand, _version.c.status == "pending")).values(
    thread_id=None, status="dropped"
)
_KEEP_VERSIONS = _of_threads.values(thread_id=None)
_said = func.coalesce(func.length(_body.c.prompt), 0) + func.coalesce(func.length(_body.c.response), 0)
_texts = select(_call.c.call_id, _said.label("size")).join_from(_call, _body, _body.c.call_id == _call.c.call_id)
_TEXTS = _texts.where(_call.c.session_id == bindparam("of"))
_TEXTS_OF_USER = _texts.where(_call.c.user_id == bindparam("of"))
_VERSIONS = (
    select(_version.c.artifact_id, _version.c.version, _version.c.size)
    .join(_artifact, _artifact.c.artifact_id == _version.c.artifact_id)
    .where(_artifact.c.session_id == bindparam("of"))
)
_DROP_VERSION = delete(_version).where(
    _version.c.artifact_id == bindparam("artifact"), _version.c.version == bindparam("number")
)
_DROP_ARTIFACTS = delete(_artifact).where(
    _artifact.c.artifact_id.in_(
        select(_artifact.c.artifact_id).where(_artifact.c.session_id == bindparam("of")).limit(bindparam("most"))
    )
)
