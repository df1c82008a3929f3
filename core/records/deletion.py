"""Deleting whole sessions and conversations: hidden at once, taken away for good when no undo is left.

A purge first waits for what still runs; then it says in the record of activity what is going to be taken away, the
tombstone, and from there on there is no way back. Invariant: what has a tombstone is finished, by whichever round
comes next, however often one was cut short; the log of calls keeps its measures, and loses its texts.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import structlog
from sqlalchemy import BindParameter, bindparam, delete, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import ForbiddenError
from core.history import conversations, sessions
from core.history.activity import HOUSE, record
from core.history.browse import counting
from core.history.sessions import get_session, mark_deleted
from core.ids import ConversationId, MessageId, SessionId, ThreadId
from core.records.purge import GRACE
from core.records.removal import (
    ForgetThread,
    remove_annotations,
    remove_artifacts,
    remove_messages,
    remove_texts,
)
from core.runs.asking import stop_asking
from core.runs.engine import Engine
from core.runs.store import LIVE, request_stop
from core.tables import (
    Activity,
    Annotation,
    Artifact,
    Branch,
    Conversation,
    LlmCall,
    Message,
    Session,
    Thread,
    ToolRule,
    ViewPosition,
    utc_now,
)

log = structlog.get_logger("skein.records")
_session, _conversation, _message = table_of(Session), table_of(Conversation), table_of(Message)
_thread, _branch, _activity = table_of(Thread), table_of(Branch), table_of(Activity)
_artifact, _call, _note = table_of(Artifact), table_of(LlmCall), table_of(Annotation)


def delete_session(viewer: Viewer, engine: Engine, session_id: SessionId) -> None:
    """Hide a session from everybody and stop what runs in it; for a minute ``restore_session`` brings it back.

    Its owner or an admin does. What waits for a person goes on waiting, should it be brought back.
    """
    database = engine.database
    with database.read() as db:
        owner_id = get_session(viewer, db, session_id).user_id
        if not (viewer.may_change(owner_id) or viewer.is_admin):
            raise ForbiddenError("This session is somebody else's; only they or an admin can delete it.")
        live = db.connection().execute(_LIVE_IN_SESSION, {"of": session_id}).all()
    database.write(partial(_hide, viewer, session_id))
    if viewer.may_change(owner_id):
        engine.stop_all(viewer, [MessageId(row.message_id) for row in live])
    for row in live:
        database.write(partial(request_stop, thread_id=ThreadId(row.thread_id)))


def _hide(viewer: Viewer, session_id: SessionId, db: Db) -> None:
    mark_deleted(viewer, db, session_id)


def restore_session(viewer: Viewer, database: Database, session_id: SessionId) -> None:
    """Undo a deletion of the last minute."""
    database.write(lambda db: sessions.restore_session(viewer, db, session_id))


def purge_sessions(database: Database, forget_thread: ForgetThread, *, now: datetime | None = None) -> int:
    """Take away for good the sessions that were deleted more than a minute ago; gives how many.

    ``forget_thread`` deletes a thread's checkpoints. A session with a run that has not ended is told to stop, and
    left for later.
    """
    before = (now or utc_now()) - sessions.UNDO - GRACE
    return _purge_all(database, _GONE_SESSIONS, before, partial(purge_session, database, forget_thread))


def purge_conversations(database: Database, forget_thread: ForgetThread, *, now: datetime | None = None) -> int:
    """The same for conversations that were deleted alone, more than ten minutes ago."""
    before = (now or utc_now()) - conversations.UNDO - GRACE
    return _purge_all(database, _GONE_CONVERSATIONS, before, partial(purge_conversation, database, forget_thread))


def _purge_all(database: Database, gone: Any, before: datetime, purge: Callable[..., bool]) -> int:
    with database.read() as db:
        keys = db.connection().execute(gone, {"before": before}).scalars().all()
    count = 0
    for key in keys:
        try:
            count += purge(key, before=before)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one must not keep the others
            log.warning("purge_failed", target_id=key, error=type(error).__name__)
    return count


def purge_session(
    database: Database, forget_thread: ForgetThread, session_id: SessionId, *, before: datetime
) -> bool:
    """Take away a session deleted before then, with all that is in it; False while something runs in it."""
    if not database.write(partial(_begin_session, session_id=session_id, before=before)):
        return False
    remove_texts(database, session_id)
    with database.read() as db:
        inside = db.connection().execute(_CONVERSATIONS, {"of": session_id}).scalars().all()
    for conversation_id in inside:
        empty_conversation(database, forget_thread, ConversationId(conversation_id))
    remove_artifacts(database, session_id)
    remove_annotations(database, "session_id", session_id)
    database.write(partial(_end_session, session_id=session_id))
    return True


def purge_conversation(
    database: Database, forget_thread: ForgetThread, conversation_id: ConversationId, *, before: datetime
) -> bool:
    """Take away a conversation that was deleted alone, before then; False while something runs in it."""
    session_id = database.write(partial(_begin_conversation, conversation_id=conversation_id, before=before))
    if session_id is None:
        return False
    remove_texts(database, session_id, conversation_id)
    empty_conversation(database, forget_thread, conversation_id)
    return True


def _begin_session(db: Db, session_id: SessionId, before: datetime) -> bool:
    found = db.connection().execute(_HOLD_SESSION, {"of": session_id, "before": before}).first()
    if found is None or not _is_still(db, _UNFINISHED_IN_SESSION, session_id):
        return False
    if not sessions.is_being_purged(db, session_id):
        record(
            db,
            HOUSE,
            "session.purge",
            target_id=session_id,
            session_id=session_id,
            detail=_count(db, _SESSION_COUNTS, session_id),
        )
    return True


def _begin_conversation(db: Db, conversation_id: ConversationId, before: datetime) -> SessionId | None:
    """The session of the conversation, when its purge may go on."""
    connection, given = db.connection(), {"of": conversation_id}
    session_id = connection.execute(_HOLD_CONVERSATION, {**given, "before": before}).scalar()
    if session_id is None or not _is_still(db, _UNFINISHED_IN_CONVERSATION, conversation_id):
        return None
    if connection.execute(_AWAITED, given).first() is not None:
        return None
    if connection.execute(_TOMBSTONE, given).first() is None:
        detail = _count(db, _CONVERSATION_COUNTS, conversation_id)
        record(db, HOUSE, "conversation.purge", target_id=conversation_id, session_id=session_id, detail=detail)
    return SessionId(session_id)


def _is_still(db: Db, unfinished: Any, of: str) -> bool:
    """Whether nothing runs there; what waits for a person does so no longer, what runs is told to stop."""
    for thread_id, status in db.connection().execute(unfinished, {"of": of}).all():
        if status == "waiting":
            stop_asking(db, thread_id, None)
        else:
            request_stop(db, thread_id)
    left = db.connection().execute(unfinished, {"of": of})
    return left.first() is None


def _count(db: Db, counts: dict[str, Any], of: str) -> dict[str, int]:
    return {name: db.connection().execute(statement, {"of": of}).scalar_one() for name, statement in counts.items()}


def empty_conversation(database: Database, forget_thread: ForgetThread, conversation_id: ConversationId) -> None:
    remove_messages(database, forget_thread, conversation_id)
    database.write(partial(_end_conversation, conversation_id=conversation_id))


def _end_conversation(db: Db, conversation_id: ConversationId) -> None:
    """Take away the empty conversation; what people put on its branches and calls goes with it."""
    for statement in _REST_OF_CONVERSATION:
        db.connection().execute(statement, {"of": conversation_id})


def _end_session(db: Db, session_id: SessionId) -> None:
    for statement in _REST_OF_SESSION:
        db.connection().execute(statement, {"of": session_id})
    counting.forget(db, [session_id])


_OF: BindParameter[Any] = bindparam("of")
_GONE_SESSIONS = (
    select(_session.c.session_id)
    .where(_session.c.status == "deleted", _session.c.updated_at < bindparam("before"))
    .order_by(_session.c.updated_at)
)
_is_alone = (
    _conversation.c.deleted_at < bindparam("before"),
    _conversation.c.session_id.in_(select(_session.c.session_id).where(_session.c.status != "deleted")),
)
_GONE_CONVERSATIONS = (
    select(_conversation.c.conversation_id).where(*_is_alone).order_by(_conversation.c.conversation_id)
)
_HOLD_SESSION = _GONE_SESSIONS.where(_session.c.session_id == _OF).with_for_update()
_HOLD_CONVERSATION = (
    select(_conversation.c.session_id).where(_conversation.c.conversation_id == _OF, *_is_alone).with_for_update()
)
_CONVERSATIONS = select(_conversation.c.conversation_id).where(_conversation.c.session_id == _OF)
_unfinished = (
    select(_thread.c.thread_id, _thread.c.status, _thread.c.message_id)
    .join(_message, _message.c.message_id == _thread.c.message_id)
    .where(_thread.c.status.in_((*LIVE, "waiting")))
)
_in_session = _message.c.conversation_id.in_(_CONVERSATIONS)
_UNFINISHED_IN_SESSION = _unfinished.where(_in_session).with_only_columns(_thread.c.thread_id, _thread.c.status)
_UNFINISHED_IN_CONVERSATION = _unfinished.where(_message.c.conversation_id == _OF).with_only_columns(
    _thread.c.thread_id, _thread.c.status
)
_LIVE_IN_SESSION = _unfinished.where(_in_session, _thread.c.status.in_(LIVE))
# Another conversation of the session is about to start from one of its states.
_source = _thread.alias("source")
_AWAITED = (
    select(_thread.c.thread_id)
    .where(
        _thread.c.status == "queued",
        _thread.c.parent_thread_id.in_(
            select(_source.c.thread_id)
            .join(_message, _message.c.message_id == _source.c.message_id)
            .where(_message.c.conversation_id == _OF)
        ),
    )
    .limit(1)
)
_TOMBSTONE = select(_activity.c.activity_id).where(
    _activity.c.target_id == _OF, _activity.c.kind == "conversation.purge"
)
_messages = select(func.count()).select_from(_message)
_with_text = _call.c.body_hash.is_not(None)
_calls = select(func.count()).select_from(_call)
_SESSION_COUNTS = {
    "conversations": select(func.count()).select_from(_conversation).where(_conversation.c.session_id == _OF),
    "messages": _messages.where(_in_session),
    "artifacts": select(func.count()).select_from(_artifact).where(_artifact.c.session_id == _OF),
    "calls": _calls.where(_call.c.session_id == _OF),
}
_CONVERSATION_COUNTS = {
    "messages": _messages.where(_message.c.conversation_id == _OF),
    "calls": _calls.where(
        _call.c.session_id
        == select(_conversation.c.session_id).where(_conversation.c.conversation_id == _OF).scalar_subquery(),
        _call.c.conversation_id == _OF,
    ),
}
_of_conversation = select(_branch.c.branch_id).where(_branch.c.conversation_id == _OF)
_calls_of_conversation = _CONVERSATION_COUNTS["calls"].with_only_columns(_call.c.call_id)
_REST_OF_CONVERSATION = (
    delete(_note).where(_note.c.target_id.in_(_of_conversation)),
    delete(_note).where(_note.c.target_id.in_(_calls_of_conversation)),
    delete(_branch).where(_branch.c.conversation_id == _OF),
    delete(table_of(ViewPosition)).where(table_of(ViewPosition).c.conversation_id == _OF),
    delete(_conversation).where(_conversation.c.conversation_id == _OF),
)
_REST_OF_SESSION = (
    delete(table_of(ToolRule)).where(table_of(ToolRule).c.session_id == _OF),
    delete(_session).where(_session.c.session_id == _OF),
)
