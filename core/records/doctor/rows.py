"""What must hold between rows, and no key of the database holds.

Invariant: what a person has said is kept, and can be come to again, wherever it can be.
"""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy import (
    BindParameter,
    Column,
    ColumnElement,
    and_,
    bindparam,
    delete,
    exists,
    insert,
    or_,
    select,
    update,
)
from sqlmodel import Session as Db

from core.calls.text.search import remove_calls
from core.database import table_of
from core.history.heads import begin_branch
from core.ids import BranchId, ConversationId, MessageId, SessionId, UserId, new_thread_id
from core.records.deletion import purge_session
from core.records.doctor.house import Check, House, in_parts
from core.tables import (
    Activity,
    ActivityToSeal,
    Annotation,
    Artifact,
    ArtifactVersion,
    Branch,
    Conversation,
    LlmCall,
    LlmCallBody,
    Message,
    Session,
    Thread,
    ToolRule,
    User,
    utc_now,
)

_session, _conversation, _message = table_of(Session), table_of(Conversation), table_of(Message)
_thread, _branch, _note, _user = table_of(Thread), table_of(Branch), table_of(Annotation), table_of(User)
_artifact, _version, _rule = table_of(Artifact), table_of(ArtifactVersion), table_of(ToolRule)
_call, _body = table_of(LlmCall), table_of(LlmCallBody)
_activity, _to_seal = table_of(Activity), table_of(ActivityToSeal)
_LONGEST_PURGE = timedelta(hours=1)
_NEVER_BEGUN = "This message was never given to anybody; retry it to have it answered."


def _find(statement: Any) -> Callable[[House], list[str]]:
    return lambda house: house.ids(statement)


def _drop(column: Column[Any]) -> Callable[[House, Sequence[str]], None]:
    statement = delete(column.table).where(column.in_(bindparam("of", expanding=True)))

    def mend(house: House, ids: Sequence[str]) -> None:
        for some in in_parts(ids):
            house.write(statement, {"of": some})

    return mend


def _begin_threads(house: House, ids: Sequence[str]) -> None:
    for message_id in ids:
        house.database.write(partial(_begin_thread, message_id=message_id))


def _begin_thread(db: Db, message_id: str) -> None:
    row = db.connection().execute(_WHOSE, {"of": message_id}).first()
    if row is None or db.connection().execute(_ANSWERED, {"of": message_id}).first():
        return
    now = utc_now()
    thread = {
        "thread_id": new_thread_id(),
        "message_id": message_id,
        "user_id": row.user_id,
        "kind": "continue" if row.parent_message_id else "first",
        "name": "",
        "agent_id": "assistant",
        "agent_version": "",
        "config": {},
        "status": "lost",
        "lease_epoch": 1,
        "error_message": _NEVER_BEGUN,
        "created_at": now,
        "ended_at": now,
    }
    db.connection().execute(insert(_thread), thread)


def _name_ends(house: House, ids: Sequence[str]) -> None:
    for message_id in ids:
        house.database.write(partial(_name_end, message_id=MessageId(message_id)))


def _name_end(db: Db, message_id: MessageId) -> None:
    row = db.connection().execute(_WHOSE, {"of": message_id}).one()
    conversation_id, user_id = ConversationId(row.conversation_id), UserId(row.user_id)
    begin_branch(
        db,
        conversation_id=conversation_id,
        message_id=message_id,
        user_id=user_id,
        kind="continue",
        name="",
        now=utc_now(),
    )


def _move_heads(house: House, ids: Sequence[str]) -> None:
    for branch_id in ids:
        house.database.write(partial(_move_head, branch_id=BranchId(branch_id)))


def _move_head(db: Db, branch_id: BranchId) -> None:
    """Let the branch end with the nearest message above that is there; without any, it goes."""
    row = db.connection().execute(select(_branch).where(_branch.c.branch_id == branch_id)).one()
    head = row.head_message_id
    while head is not None:
        message = db.connection().execute(select(_message).where(_message.c.message_id == head)).first()
        if message is None or message.conversation_id != row.conversation_id:
            break
        if message.deleted_at is None:
            change = update(_branch).where(_branch.c.branch_id == branch_id).values(head_message_id=head)
            db.connection().execute(change)
            return
        head = message.parent_message_id
    db.connection().execute(delete(_branch).where(_branch.c.branch_id == branch_id))


def _hide(house: House, ids: Sequence[str]) -> None:
    for some in in_parts(ids):
        house.write(_HIDE, {"of": some, "at": utc_now()})


def _finish_purges(house: House, ids: Sequence[str]) -> None:
    for session_id in ids:
        purge_session(house.database, house.forget_thread, SessionId(session_id), before=utc_now())


def _drop_texts(house: House, ids: Sequence[str]) -> None:
    """With the entries in the index of words, which are found by the call alone."""
    for some in in_parts(ids):
        house.database.write(partial(_drop_some_texts, ids=some))


def _drop_some_texts(db: Db, ids: list[str]) -> None:
    remove_calls(db, ids)
    db.connection().execute(delete(_body).where(_body.c.call_id.in_(ids)))


_OF: BindParameter[Any] = bindparam("of", expanding=True)
_WHOSE = (
    select(_session.c.user_id, _message.c.parent_message_id, _message.c.conversation_id)
    .join(_conversation, _conversation.c.session_id == _session.c.session_id)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
    .where(_message.c.message_id == bindparam("of"))
)
_ANSWERED = select(_thread.c.thread_id).where(_thread.c.message_id == bindparam("of"))
_UNANSWERED = select(_message.c.message_id).where(~exists().where(_thread.c.message_id == _message.c.message_id))
_below, _head = _message.alias("below"), _message.alias("head")
# An end of a line of messages that no branch leads to: nobody can come to it from a list of branches.
_UNNAMED = (
    select(_message.c.message_id)
    .join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id)
    .where(
        _message.c.deleted_at.is_(None),
        _conversation.c.deleted_at.is_(None),
        ~exists().where(_below.c.parent_message_id == _message.c.message_id, _below.c.deleted_at.is_(None)),
        ~exists().where(_branch.c.head_message_id == _message.c.message_id, _branch.c.deleted_at.is_(None)),
    )
)
_HEADLESS = (
    select(_branch.c.branch_id)
    .join(_head, _head.c.message_id == _branch.c.head_message_id)
    .where(
        _branch.c.deleted_at.is_(None),
        or_(_head.c.deleted_at.is_not(None), _head.c.conversation_id != _branch.c.conversation_id),
    )
)
_UNHIDDEN = (
    select(_conversation.c.conversation_id)
    .join(_session, _session.c.session_id == _conversation.c.session_id)
    .where(_session.c.status == "deleted", _conversation.c.deleted_at.is_(None))
)
_HIDE = update(_conversation).where(_conversation.c.conversation_id.in_(_OF)).values(deleted_at=bindparam("at"))
_UNPURGED = select(_session.c.session_id).where(
    _session.c.status == "deleted", _session.c.updated_at < bindparam("before")
)
_EMPTY_ARTIFACTS = (
    select(_artifact.c.artifact_id)
    .join(_session, _session.c.session_id == _artifact.c.session_id)
    .where(_session.c.status != "deleted", ~exists().where(_version.c.artifact_id == _artifact.c.artifact_id))
)


def _names(prefix: str, key: Column[Any]) -> ColumnElement[bool]:
    """That an annotation is on a thing of this kind, and that is not there."""
    return and_(_note.c.target_id.like(f"{prefix}\\_%", escape="\\"), ~exists().where(key == _note.c.target_id))


_ON_NOTHING = select(_note.c.annotation_id).where(
    or_(
        _names("session", _session.c.session_id),
        _names("msg", _message.c.message_id),
        _names("branch", _branch.c.branch_id),
        _names("call", _call.c.call_id),
        and_(_note.c.session_id.is_not(None), ~exists().where(_session.c.session_id == _note.c.session_id)),
    )
)
_TEXTS_OF_NOTHING = select(_body.c.call_id).where(~exists().where(_call.c.call_id == _body.c.call_id))
_SEALS_OF_NOTHING = select(_to_seal.c.activity_id).where(
    ~exists().where(_activity.c.activity_id == _to_seal.c.activity_id)
)
CHECKS = (
    Check(
        "message-without-thread",
        "A message has no thread, so that nobody can see it",
        _find(_UNANSWERED),
        _begin_threads,
        "give it a thread that counts as lost, so that it can be seen and retried",
    ),
    Check(
        "branch-without-head",
        "A branch ends with a message that is deleted, or of another conversation",
        _find(_HEADLESS),
        _move_heads,
        "let it end with the nearest message above that is there, or delete it",
    ),
    Check(
        "end-without-branch",
        "A line of messages has an end that no branch leads to",
        _find(_UNNAMED),
        _name_ends,
        "give it a branch",
    ),
    Check(
        "deleted-but-shown",
        "A conversation of a deleted session is not hidden",
        _find(_UNHIDDEN),
        _hide,
        "hide it",
    ),
    Check(
        "purge-unfinished",
        "A session was deleted more than an hour ago, and is still there",
        lambda house: house.ids(_UNPURGED, {"before": utc_now() - _LONGEST_PURGE}),
        _finish_purges,
        "take it away, unless something still runs in it",
    ),
    Check(
        "artifact-without-version",
        "An artifact has no version",
        _find(_EMPTY_ARTIFACTS),
        _drop(_artifact.c.artifact_id),
        "delete it",
    ),
    Check(
        "annotation-on-nothing",
        "An annotation is on something that is not there",
        _find(_ON_NOTHING),
        _drop(_note.c.annotation_id),
        "delete it",
    ),
    Check(
        "texts-without-call",
        "Texts of a call are kept that is not in the log",
        _find(_TEXTS_OF_NOTHING),
        _drop_texts,
        "delete them",
    ),
    Check(
        "seal-without-activity",
        "An act of a person waits for its seal, but is not in the record",
        _find(_SEALS_OF_NOTHING),
    ),
)
