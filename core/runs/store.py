"""How runs stand in the database: begin, append, end, renew, recover.

Invariant: every change names the worker and the epoch of the lease it was made under, and touches nothing when
another worker has taken the thread since; so a worker that was thought dead cannot overwrite its successor.
Each function is one step of a write job, or a read.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import CursorResult, bindparam, case, literal, literal_column, or_, update
from sqlmodel import Session as Db
from sqlmodel import col, func, select

from core.database import table_of, upsert
from core.errors import ConflictError, NotFoundError
from core.history.approval_steps import find_unapplied, withdraw_waiting
from core.history.interrupts import ASKED_BY_RULE
from core.ids import ApprovalId, ConversationId, MessageId, SessionId, ThreadId, UserId
from core.prepared import Prepared
from core.runs.events import VOICE, Event, answer_text, expand, pack
from core.runs.share import ALL, Share
from core.tables import Conversation, Message, RunEvent, Thread, utc_now

STOP_REQUESTED = "stop_requested"
NOBODY = ""  # the worker of a thread that waits for the process of its agent's project
LIVE = ("queued", "running")
_thread, _message = table_of(Thread), table_of(Message)
_conversation, _event = table_of(Conversation), table_of(RunEvent)


def _not_before(earlier: Any, name: str) -> Any:
    """The time that is given, or the earlier one where a clock was set back: nothing takes less than 0."""
    given = bindparam(name, type_=earlier.type)
    return case((earlier > given, earlier), else_=given)


# Built once: to build a statement costs more than to run it.
HELD = (
    update(_thread)
    .where(_thread.c.thread_id == bindparam("of"))
    .where(_thread.c.worker == bindparam("by"), _thread.c.lease_epoch == bindparam("epoch"))
)
_BEGIN = Prepared(
    HELD.where(_thread.c.status.in_([literal(status) for status in LIVE])).values(
        status="running",
        started_at=_not_before(_thread.c.created_at, "new_started_at"),
        parent_thread_id=bindparam("new_parent"),
        source_checkpoint_id=bindparam("new_source"),
    )
)
_END = Prepared(
    HELD.where(_thread.c.status.in_([literal(status) for status in LIVE])).values(
        status=bindparam("new_status"),
        finish_reason=bindparam("new_reason"),
        error_type=bindparam("new_error_type"),
        error_message=bindparam("new_error_message"),
        lease_until=None,
        ended_at=_not_before(_thread.c.started_at, "new_ended_at"),
    )
)
_LIVE_OF = Prepared(
    select(_thread.c.thread_id, _thread.c.lease_epoch, _thread.c.finish_reason)
    .where(_thread.c.worker == bindparam("by"), _thread.c.status.in_([literal_column(f"'{one}'") for one in LIVE]))
    .with_for_update()
)
_REASON = Prepared(select(_thread.c.finish_reason).where(_thread.c.thread_id == bindparam("of")))
_OWN_STATUS = Prepared(
    select(_thread.c.status)
    .where(_thread.c.thread_id == bindparam("of"))
    .where(_thread.c.worker == bindparam("by"), _thread.c.lease_epoch == bindparam("epoch"))
)
_STATUS = Prepared(select(_thread.c.status).where(_thread.c.thread_id == bindparam("of")))
_SESSION = Prepared(
    select(_conversation.c.session_id)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_thread.c.thread_id == bindparam("of"))
)
# A row of several pieces may begin before the first that is asked for.
_row_of_first = (
    select(func.max(_event.c.seq))
    .where(_event.c.thread_id == bindparam("of"), _event.c.seq <= bindparam("first"))
    .scalar_subquery()
)
_EVENTS = Prepared(
    _event.select()
    .where(_event.c.thread_id == bindparam("of"), _event.c.seq >= func.coalesce(_row_of_first, 0))
    .order_by(_event.c.seq)
)
_ANSWER = Prepared(
    update(_message).where(_message.c.message_id == bindparam("of")).values(answer=bindparam("new_answer"))
)


class _Stored(NamedTuple):
    """A row of ``run_event``."""

    thread_id: str
    seq: int
    at_ms: int
    kind: str
    node: str | None
    payload: Any


@dataclass(frozen=True)
class Resume:
    """The decision that a thread goes on with; ``is_answer`` where its graph is to be given the response.

    ``edits`` are the keys of the state that were given new values at a pause.
    """

    approval_id: ApprovalId
    interrupt_id: str
    response: Any
    is_answer: bool
    decision: str
    tool: str
    by: str | None
    started_at: datetime | None
    edits: dict[str, Any] | None = None


@dataclass(frozen=True)
class Spec:
    """What the engine has to know to carry out one thread; ``awaits`` is the thread that has to end before it."""

    thread_id: ThreadId
    epoch: int
    user_id: UserId
    session_id: SessionId
    conversation_id: ConversationId
    message_id: MessageId
    parent_message_id: MessageId | None
    content: str
    kind: str
    parent_thread_id: ThreadId | None
    source_checkpoint_id: str | None
    agent_id: str
    config: dict[str, Any] = field(default_factory=dict)
    awaits: ThreadId | None = None
    resume: Resume | None = None


@dataclass(frozen=True)
class Outcome:
    """How a run ended."""

    status: str
    answer: str
    finish_reason: str | None = None
    error_type: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class Held:
    """A thread that this worker still holds, and whether somebody has asked it to stop."""

    thread_id: ThreadId
    stop_requested: bool


@dataclass(frozen=True)
class Recovered:
    """What a recovery found: runs that are lost, and queued ones that this worker has taken over."""

    lost: list[ThreadId]
    adopted: list[Spec]


def load_spec(db: Db, thread_id: str) -> Spec:
    """Read what a thread needs to run."""
    thread = db.get_one(Thread, thread_id)
    message = db.get_one(Message, thread.message_id)
    conversation = db.get_one(Conversation, message.conversation_id)
    return Spec(
        ThreadId(thread.thread_id),
        thread.lease_epoch,
        UserId(thread.user_id),
        SessionId(conversation.session_id),
        ConversationId(message.conversation_id),
        MessageId(message.message_id),
        MessageId(message.parent_message_id) if message.parent_message_id else None,
        message.content,
        thread.kind,
        ThreadId(thread.parent_thread_id) if thread.parent_thread_id else None,
        thread.source_checkpoint_id,
        thread.agent_id,
        dict(thread.config),
        _find_awaited(db, message.parent_message_id),
        _find_resume(db, thread),
    )


def _find_resume(db: Db, thread: Thread) -> Resume | None:
    row = find_unapplied(db, thread.thread_id)
    if row is None:
        return None
    return Resume(
        row.approval_id,
        row.interrupt_id,
        row.response,
        row.kind != "pause" and not (isinstance(row.value, dict) and row.value.get(ASKED_BY_RULE)),
        str(row.decision),
        row.tool,
        row.decided_by_name,
        thread.started_at,
        row.response if row.kind == "pause" and row.decision == "edit" else None,
    )


def _find_awaited(db: Db, parent_message_id: str | None) -> ThreadId | None:
    query = select(Thread.thread_id).where(Thread.message_id == parent_message_id, col(Thread.status).in_(LIVE))
    found = db.exec(query).first()
    return ThreadId(found) if found else None


def begin_run(
    db: Db,
    spec: Spec,
    *,
    worker: str,
    parent_thread_id: str | None,
    source_checkpoint_id: str | None,
    started_at: datetime,
) -> None:
    """Mark the thread as running, with where its state came from; ConflictError when it is not ours any more.

    A second time changes nothing.
    """
    change = {
        **ours(spec, worker),
        "new_started_at": started_at,
        "new_parent": parent_thread_id,
        "new_source": source_checkpoint_id,
    }
    require_one(_BEGIN.run(db, change))


def append_events(db: Db, batches: Sequence[tuple[Spec, list[Event]]], *, worker: str) -> list[Held]:
    """Add events to the logs of runs that are still ours, all in one step, and say which those are."""
    held = _still_held(db, [spec for spec, _ in batches], worker)
    ours = {item.thread_id for item in held}
    rows = [row for spec, events in batches if spec.thread_id in ours for row in pack(spec.thread_id, events)]
    upsert(db, RunEvent, rows)
    return held


def end_run(db: Db, spec: Spec, outcome: Outcome, events: list[Event], *, worker: str) -> bool:
    """Write status, answer and the last events at once; ConflictError when the thread is not ours any more.

    False when that was written before: the connection had broken, and nobody knew.
    """
    change = {
        **ours(spec, worker),
        "new_status": outcome.status,
        "new_reason": outcome.finish_reason,
        "new_error_type": outcome.error_type,
        "new_error_message": outcome.error_message,
        "new_ended_at": utc_now(),
    }
    if not _END.run(db, change):
        require_one(has_own_status(db, spec, outcome.status, worker=worker))
        return False
    upsert(db, RunEvent, pack(spec.thread_id, events))
    _ANSWER.run(db, {"of": spec.message_id, "new_answer": outcome.answer})
    return True


def has_own_status(db: Db, spec: Spec, status: str, *, worker: str) -> bool:
    """Whether the thread has this status, given to it under this very lease."""
    return _OWN_STATUS.first(db, ours(spec, worker)) == (status,)


def append_late(db: Db, spec: Spec, event: Event) -> None:
    """Add to the log of a run that is over what a thread of it still did."""
    upsert(db, RunEvent, pack(spec.thread_id, [event]))


def is_stop_requested(db: Db, thread_id: str) -> bool:
    """Whether somebody has asked for a run to be stopped, which may be ending by itself."""
    return _REASON.first(db, {"of": thread_id}) == (STOP_REQUESTED,)


def renew_leases(db: Db, specs: Collection[Spec], *, worker: str, until: datetime) -> list[Held]:
    """Hold on to these threads until then; what is missing from the answer is not ours any more."""
    held = _still_held(db, specs, worker)
    ids = [item.thread_id for item in held]
    db.execute(update(_thread).where(_thread.c.thread_id.in_(ids)).values(lease_until=until))
    return held


def release_leases(db: Db, specs: Collection[Spec], *, worker: str) -> None:
    """Give queued threads up at once, so that the next process need not wait for their leases to run out."""
    ids = [spec.thread_id for spec in specs]
    db.execute(
        update(_thread)
        .where(col(Thread.thread_id).in_(ids), col(Thread.worker) == worker, col(Thread.status) == "queued")
        .values(lease_until=utc_now())
    )


def request_stop(db: Db, thread_id: ThreadId) -> bool:
    """Ask whichever worker runs this thread to stop it; False when it is over already."""
    change = (
        update(_thread)
        .where(col(Thread.thread_id) == thread_id, col(Thread.status).in_(LIVE))
        .values(finish_reason=STOP_REQUESTED)
    )
    return count(db.execute(change)) == 1


def leave(db: Db, thread_ids: Collection[str]) -> None:
    """Let queued threads that are just made be taken by the process that their agents' project has."""
    changed = update(_thread).where(_thread.c.thread_id.in_(list(thread_ids)))
    db.execute(changed.values(worker=NOBODY, lease_until=utc_now()))


def list_live(db: Db, agents: Collection[str] | None, user_id: str | None) -> list[tuple[Thread, str]]:
    """The queued and running threads of these agents (None: of all), of one person or of all people.

    Each comes with its conversation.
    """
    query = (
        select(Thread, Message.conversation_id)
        .join(Message, col(Message.message_id) == Thread.message_id)
        .where(col(Thread.status).in_(LIVE))
    )
    if agents is not None:
        query = query.where(col(Thread.agent_id).in_(list(agents)))
    if user_id is not None:
        query = query.where(Thread.user_id == user_id)
    return [(thread, conversation_id) for thread, conversation_id in db.exec(query)]


def recover(
    db: Db,
    *,
    worker: str,
    held: Collection[str],
    dead: Collection[str],
    until: datetime,
    share: Share = ALL,
) -> Recovered:
    """Settle what nobody carries any more: running threads are lost, queued ones of its share are taken over.

    ``held`` are the threads that this worker itself is at; another one of its own, whose lease has run out, was
    given up when its beginning or end could not be written.
    """
    gone = or_(col(Thread.lease_until) < utc_now(), col(Thread.worker).in_([*dead, NOBODY]))
    not_held = or_(col(Thread.worker) != worker, col(Thread.thread_id).not_in(list(held)))
    not_left = or_(share.where, col(Thread.status) == "running", col(Thread.worker) != NOBODY)
    query = select(Thread).where(col(Thread.status).in_(LIVE), not_held, gone, not_left)
    threads = db.exec(query.with_for_update(skip_locked=True)).all()
    lost = [ThreadId(thread.thread_id) for thread in threads if thread.status == "running"]
    queued = [one.thread_id for one in threads if one.status == "queued" and share.has(one.agent_id)]
    for thread in threads:
        thread.lease_epoch += 1
        if thread.status == "running":
            _settle_lost(db, thread)
        elif share.has(thread.agent_id):
            thread.worker, thread.lease_until = worker, until
        else:
            thread.worker, thread.lease_until = NOBODY, utc_now()
    db.flush()
    return Recovered(lost, [load_spec(db, thread_id) for thread_id in queued])


def read_events(db: Db, thread_id: str, *, after: int = 0) -> list[Event]:
    """The stored events of a thread beyond ``after``."""
    rows = _EVENTS.all(db, {"of": thread_id, "first": after + 1})
    return [event for event in expand(_Stored(*row) for row in rows) if event.seq > after]


def had_checkpoint(db: Db, thread_id: str, checkpoint_id: str) -> bool:
    """Whether the thread's log tells of this checkpoint, be it still stored or not."""
    return find_subgraph(db, thread_id, checkpoint_id) is not None


def find_subgraph(db: Db, thread_id: str, checkpoint_id: str) -> str | None:
    """The namespace of a checkpoint by the thread's log: a subgraph's, or "" for the graph itself."""
    query = select(RunEvent.payload).where(RunEvent.thread_id == thread_id, RunEvent.kind == "state")
    for payload in db.exec(query):
        if payload.get("checkpoint_id") == checkpoint_id:
            return payload.get("ns") or ""
    return None


def read_said(db: Db, thread_id: str) -> list[tuple[str | None, datetime, str]]:
    """What was streamed in a thread: (node, when, text), in order."""
    thread = db.get(Thread, thread_id)
    if thread is None or thread.started_at is None:
        return []
    began = thread.started_at
    return [
        ((event.node or "").split(VOICE)[0] or None, began + timedelta(milliseconds=event.at_ms), event.payload)
        for event in read_events(db, thread_id)
        if event.kind in {"token", "aside"}
    ]


def read_status(db: Db, thread_id: str) -> str:
    row = _STATUS.first(db, {"of": thread_id})
    if row is None:
        raise NotFoundError("There is no such thread here; it may have been deleted, or the link is wrong.")
    return str(row[0])


def find_live(db: Db, user_id: UserId, message_ids: Collection[MessageId]) -> list[ThreadId]:
    """The threads of this person that still answer one of these messages."""
    query = select(Thread.thread_id, Thread.message_id).where(
        col(Thread.status).in_(LIVE), Thread.user_id == user_id
    )
    wanted = set(message_ids)
    return [ThreadId(thread_id) for thread_id, message_id in db.exec(query) if message_id in wanted]


def find_session(db: Db, thread_id: str) -> SessionId | None:
    """The session of a thread, also of a deleted one."""
    found = _SESSION.first(db, {"of": thread_id})
    return None if found is None else SessionId(found[0])


def find_ended(db: Db, thread_ids: Iterable[str]) -> set[str]:
    """Of these threads, those that are over."""
    query = select(Thread.thread_id).where(
        col(Thread.thread_id).in_(list(thread_ids)), col(Thread.status).not_in(LIVE)
    )
    return set(db.exec(query))


def _settle_lost(db: Db, thread: Thread) -> None:
    """Close a run whose process is gone, keeping every token that reached its log."""
    events = read_events(db, thread.thread_id)
    end = Event(
        events[-1].seq + 1 if events else 1,
        events[-1].at_ms if events else 0,
        "end",
        None,
        {"status": "lost", "finish_reason": None},
    )
    upsert(db, RunEvent, pack(thread.thread_id, [end]))
    db.get_one(Message, thread.message_id).answer = answer_text(events)
    thread.status, thread.ended_at, thread.lease_until, thread.finish_reason = "lost", utc_now(), None, None
    withdraw_waiting(db, ThreadId(thread.thread_id), by=None, reason="The run that asked this was lost.")
    thread.error_message = "The process that ran this was ended; what had been said by then is kept."


def _still_held(db: Db, specs: Collection[Spec], worker: str) -> list[Held]:
    epochs: dict[str, int] = {spec.thread_id: spec.epoch for spec in specs}
    return [
        Held(ThreadId(thread_id), reason == STOP_REQUESTED)
        for thread_id, epoch, reason in _LIVE_OF.all(db, {"by": worker})
        if epochs.get(thread_id) == epoch
    ]


def ours(spec: Spec, worker: str) -> dict[str, Any]:
    return {"of": spec.thread_id, "by": worker, "epoch": spec.epoch}


def require_one(changed: int) -> None:
    if changed != 1:
        raise ConflictError("Another process has taken this run over.")


def count(result: Any) -> int:
    return result.rowcount if isinstance(result, CursorResult) else 0
