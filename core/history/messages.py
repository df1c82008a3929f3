"""Adding a message with its thread to the tree.

Invariant: a message and its thread, its branch, and a first message's conversation and session, come into being in
one transaction, or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, update
from sqlmodel import Session as Db
from sqlmodel import col, select

from core.access.viewer import Viewer
from core.database import insert_into, table_of
from core.errors import BadInputError, ForbiddenError, NotFoundError
from core.history.activity import record
from core.history.clearing import require_unclaimed
from core.history.conversations import default_title
from core.history.files import Attachment, store_files
from core.history.heads import begin_branch, move_branch
from core.history.sessions import get_own_session, hold_session
from core.history.turns import ATTACHMENTS, ThreadKind, Turn, find_turn, get_turn_of_thread
from core.ids import (
    BranchId,
    ConversationId,
    MessageId,
    SessionId,
    ThreadId,
    new_conversation_id,
    new_message_id,
    new_session_id,
    new_thread_id,
)
from core.prepared import Prepared
from core.tables import Conversation, Message, Session, Thread, clean_text, utc_now

LONGEST_MESSAGE = 200_000


_NO_BRANCH = BranchId("")


@dataclass(frozen=True)
class NewMessage:
    """What somebody wants to say, where it hangs in the tree, and who is to answer it.

    Without ``conversation_id`` a new conversation begins (in ``session_id``, or in a new session); without
    ``parent_message_id`` the message is a root. ``parent_thread_id`` and ``source_checkpoint_id`` say where its
    state comes from when that is not the parent's newest. ``branch_id`` is the branch that is looked at, which goes
    on when the parent is its head; ``name`` is what sets this one apart from others that are asked with it.
    ``files`` are new ones that come with it; ``config`` names those that came with it before.
    """

    text: str
    conversation_id: ConversationId | None = None
    parent_message_id: MessageId | None = None
    session_id: SessionId | None = None
    kind: ThreadKind = ThreadKind.CONTINUE
    parent_thread_id: ThreadId | None = None
    source_checkpoint_id: str | None = None
    branch_id: BranchId | None = None
    name: str = ""
    agent_id: str = "assistant"
    agent_version: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    files: tuple[Attachment, ...] = ()


@dataclass(frozen=True)
class Added:
    """A message that was just written, with its thread and config, and the turn above it as it stood then."""

    message_id: MessageId
    thread_id: ThreadId
    conversation_id: ConversationId
    session_id: SessionId
    kind: ThreadKind
    config: dict[str, Any]
    parent: "Turn | None" = None
    branch_id: BranchId = _NO_BRANCH


def add_messages(
    viewer: Viewer, db: Db, news: Sequence[NewMessage], *, worker: str, lease_until: datetime
) -> list[Added]:
    """Write all of these or none; those that begin a new conversation begin the same one.

    The same files are kept once.
    """
    now, written = utc_now(), list[Added]()
    for new in news:
        place = replace(new, **_shared(new, news[0], written[0])) if written else new
        written.append(add_message(viewer, db, place, worker=worker, lease_until=lease_until, now=now))
    return written


def _shared(new: NewMessage, first: NewMessage, written: Added) -> dict[str, Any]:
    """What a message has in common with the one that was written first."""
    shared: dict[str, Any] = {"conversation_id": new.conversation_id or written.conversation_id}
    if new.files and new.files == first.files:
        shared |= {"files": (), "config": new.config | {ATTACHMENTS: written.config[ATTACHMENTS]}}
    return shared


def add_message(
    viewer: Viewer, db: Db, new: NewMessage, *, worker: str, lease_until: datetime, now: datetime | None = None
) -> Added:
    """Write message and thread (and conversation and session) in the caller's transaction.

    The thread is born ``queued``, held by the worker's lease, so that it is never without somebody to run it.
    """
    text, now = _checked(new.text), now or utc_now()
    if new.conversation_id is not None:
        # First of all: on PostgreSQL this also makes others who change the conversation wait.
        _TOUCH.run(db, {"of": new.conversation_id, "now": now})
    _require_source(viewer, db, new)
    parent, place = _parent_of(viewer, db, new)
    conversation_id, session_id = place or _place_for(viewer, db, new, now)
    kind = ThreadKind.FIRST if new.kind is ThreadKind.CONTINUE and parent is None else new.kind
    config = _with_files(viewer, db, new, session_id)
    added = Added(new_message_id(), new_thread_id(), conversation_id, session_id, kind, config, parent)
    _INSERT_MESSAGE.run(db, _message_row(new, added, text, now))
    _INSERT_THREAD.run(db, _thread_row(viewer, new, added, now) | {"worker": worker, "lease_until": lease_until})
    _tell(viewer, db, added)
    return replace(added, branch_id=_branch_of(viewer, db, new, added, now))


def _tell(viewer: Viewer, db: Db, added: Added) -> None:
    kind = "send" if added.kind in {ThreadKind.FIRST, ThreadKind.CONTINUE} else added.kind
    detail = {"thread_id": added.thread_id, "kind": added.kind}
    record(db, viewer, f"message.{kind}", target_id=added.message_id, session_id=added.session_id, detail=detail)


def _branch_of(viewer: Viewer, db: Db, new: NewMessage, added: Added, now: datetime) -> BranchId:
    """The branch that goes on to the message, or begins with it."""
    parent_id, message_id = new.parent_message_id, added.message_id
    if added.kind is ThreadKind.CONTINUE and parent_id is not None:
        moved = move_branch(db, parent_id=parent_id, message_id=message_id, wanted=new.branch_id, now=now)
        if moved is not None:
            return moved
    return begin_branch(
        db,
        conversation_id=added.conversation_id,
        message_id=message_id,
        user_id=viewer.user_id,
        kind=added.kind,
        name=new.name,
        now=now,
        is_first=new.conversation_id is None,
    )


def _message_row(new: NewMessage, added: Added, text: str, now: datetime) -> dict[str, Any]:
    return {
        "message_id": added.message_id,
        "conversation_id": added.conversation_id,
        "parent_message_id": new.parent_message_id,
        "content": text,
        "answer": "",
        "depth": added.parent.depth + 1 if added.parent else 0,
        "created_at": now,
    }


def _thread_row(viewer: Viewer, new: NewMessage, added: Added, now: datetime) -> dict[str, Any]:
    return {
        "thread_id": added.thread_id,
        "message_id": added.message_id,
        "user_id": viewer.user_id,
        "kind": added.kind,
        "name": new.name,
        "parent_thread_id": new.parent_thread_id or (added.parent.thread_id if added.parent else None),
        "source_checkpoint_id": new.source_checkpoint_id,
        "agent_id": new.agent_id,
        "agent_version": new.agent_version,
        "config": added.config,
        "status": "queued",
        "lease_epoch": 1,
        "created_at": now,
    }


def _with_files(viewer: Viewer, db: Db, new: NewMessage, session_id: SessionId) -> dict[str, Any]:
    """The thread's config, which names also the files that are kept here."""
    if not new.files:
        return new.config
    refs = store_files(viewer, db, session_id, new.files)
    return new.config | {ATTACHMENTS: [*new.config.get(ATTACHMENTS, ()), *map(str, refs)]}


def _require_source(viewer: Viewer, db: Db, new: NewMessage) -> None:
    """See that what the state is to come from is there for the viewer, and stays."""
    if new.parent_thread_id is not None:
        get_turn_of_thread(viewer, db, new.parent_thread_id)
    if new.source_checkpoint_id is None:
        return
    if new.parent_thread_id is None:
        raise BadInputError("A checkpoint to start from needs the thread that it is of; please name that too.")
    require_unclaimed(db, new.parent_thread_id)


def _checked(text: str) -> str:
    text = clean_text(text)
    if not text.strip():
        raise BadInputError("The message is empty; please type something.")
    if len(text) > LONGEST_MESSAGE:
        raise BadInputError(f"The message has {len(text):,} characters; please keep it to {LONGEST_MESSAGE:,}.")
    return text


def _parent_of(
    viewer: Viewer, db: Db, new: NewMessage
) -> tuple[Turn | None, tuple[ConversationId, SessionId] | None]:
    """The turn to hang the message under, with where that stands; nothing for a root."""
    if new.parent_message_id is None:
        return None, None
    turn, session_id, owner_id = find_turn(viewer, db, new.parent_message_id)
    _require_own(viewer, owner_id)
    if turn.conversation_id != new.conversation_id:
        raise BadInputError("The message to answer belongs to another conversation; please reload the page.")
    return turn, (turn.conversation_id, session_id)


def _place_for(viewer: Viewer, db: Db, new: NewMessage, now: datetime) -> tuple[ConversationId, SessionId]:
    """The conversation and session of a root; made here when it is the first of them."""
    if new.conversation_id is not None:
        return new.conversation_id, _own_session(viewer, db, new.conversation_id)
    title = default_title(new.text)
    session_id = new.session_id or new_session_id()
    if new.session_id is None:
        row = {"session_id": session_id, "user_id": viewer.user_id, "title": title, "status": "active", "meta": {}}
        _INSERT_SESSION.run(db, {**row, "created_at": now, "updated_at": now})
    else:
        get_own_session(viewer, db, session_id)
        hold_session(db, session_id)
    conversation_id = new_conversation_id()
    row = {"conversation_id": conversation_id, "session_id": session_id, "title": title}
    _INSERT_CONVERSATION.run(db, {**row, "created_at": now, "updated_at": now})
    return conversation_id, session_id


def _own_session(viewer: Viewer, db: Db, conversation_id: ConversationId) -> SessionId:
    query = (
        select(Session.session_id, Session.user_id)
        .join(Conversation, col(Conversation.session_id) == Session.session_id)
        .where(
            Conversation.conversation_id == conversation_id,
            col(Conversation.deleted_at).is_(None),
            Session.status != "deleted",
        )
    )
    row = db.execute(query).first()
    _require_own(viewer, row.user_id if row else None)
    return SessionId(row.session_id)  # type: ignore[union-attr]


def _require_own(viewer: Viewer, owner_id: str | None) -> None:
    if owner_id is None or not viewer.may_read(owner_id):
        raise NotFoundError("There is no such conversation or session here; the link may be wrong.")
    if not viewer.may_change(owner_id):
        raise ForbiddenError("This conversation is somebody else's; you can read it, but not write in it.")


_INSERT_SESSION = insert_into(
    Session, ("session_id", "user_id", "title", "status", "meta", "created_at", "updated_at")
)


_INSERT_CONVERSATION = insert_into(
    Conversation, ("conversation_id", "session_id", "title", "created_at", "updated_at")
)


_INSERT_MESSAGE = insert_into(
    Message, ("message_id", "conversation_id", "parent_message_id", "content", "answer", "depth", "created_at")
)


_INSERT_THREAD = insert_into(
    Thread,
    (
        *("thread_id", "message_id", "user_id", "kind", "name", "parent_thread_id", "source_checkpoint_id"),
        *("agent_id", "agent_version", "config", "status", "worker", "lease_epoch", "lease_until", "created_at"),
    ),
)


_TOUCH = Prepared(
    update(table_of(Conversation))
    .where(table_of(Conversation).c.conversation_id == bindparam("of"))
    .values(updated_at=bindparam("now"))
)
