"""How waiting threads stand in the database: held, claimed with a decision, going on, stopped.

Invariant: a waiting thread is taken by one worker, together with the decision that it goes on with.
"""

from datetime import datetime

from sqlalchemy import bindparam, update
from sqlmodel import Session as Db
from sqlmodel import col, select

from core.database import table_of, upsert
from core.history.approval_steps import find_unapplied, mark_applied
from core.ids import ThreadId
from core.prepared import Prepared
from core.runs.events import Event, pack
from core.runs.share import ALL, Share
from core.runs.store import HELD, LIVE, Resume, Spec, has_own_status, load_spec, ours, read_events, require_one
from core.tables import Approval, ArtifactVersion, RunEvent, Thread

_thread = table_of(Thread)


def go_on(db: Db, spec: Spec, resume: Resume, *, worker: str) -> None:
    """Mark a thread as running again and its decision as taken up, or neither; ConflictError if it is not ours.

    A second time changes nothing.
    """
    if not _GO_ON.run(db, ours(spec, worker)):
        require_one(has_own_status(db, spec, "running", worker=worker))
        return
    mark_applied(db, resume.approval_id)


def hold_thread(db: Db, thread_id: str) -> None:
    """Let whoever else settles this thread wait until the caller is done; SQLite has one writer anyway."""
    db.exec(select(Thread.thread_id).where(Thread.thread_id == thread_id).with_for_update()).all()


def find_resumable(db: Db, share: Share = ALL) -> list[ThreadId]:
    """Waiting threads whose decision nobody has taken up, as when a process ended just then."""
    query = (
        select(Thread.thread_id)
        .join(Approval, col(Approval.thread_id) == Thread.thread_id)
        .where(Thread.status == "waiting", Approval.status == "decided", col(Approval.applied_at).is_(None))
        .where(share.where)
        .distinct()
    )
    return [ThreadId(thread_id) for thread_id in db.exec(query)]


def has_pending(db: Db, thread_id: str) -> bool:
    """Whether a thread wrote versions of artifacts that are not settled yet."""
    return _PENDING.first(db, {"of": thread_id}) is not None


def find_unsettled(db: Db) -> list[ThreadId]:
    """Threads that do not run any more, whose versions of artifacts are not settled, as after a kill."""
    query = (
        select(Thread.thread_id)
        .join(ArtifactVersion, col(ArtifactVersion.thread_id) == Thread.thread_id)
        .where(ArtifactVersion.status == "pending", col(Thread.status).not_in(LIVE))
        .distinct()
    )
    return [ThreadId(thread_id) for thread_id in db.exec(query)]


def claim(db: Db, thread_id: str, *, worker: str, until: datetime) -> Spec | None:
    """Take a waiting thread that a decision is there for; None when there is none, or another worker has it."""
    if find_unapplied(db, thread_id) is None:
        return None
    if not _CLAIM.run(db, {"of": thread_id, "by": worker, "until": until}):
        return None
    return load_spec(db, thread_id)


def stop_waiting(db: Db, thread_id: str, *, status: str, sentence: str | None) -> bool:
    """End a thread that waits for a person; False when it does not."""
    change = {"of": thread_id, "new_status": status, "sentence": sentence}
    if not _STOP_WAITING.run(db, change):
        return False
    last = read_events(db, thread_id)[-1:]
    seq, at_ms = (last[0].seq, last[0].at_ms) if last else (0, 0)
    end = Event(seq + 1, at_ms, "end", None, {"status": status, "finish_reason": status})
    upsert(db, RunEvent, pack(thread_id, [end]))
    return True


# A thread that goes on keeps where its state came from, and when it first began.
_GO_ON = Prepared(HELD.where(_thread.c.status == "queued").values(status="running"))
_CLAIM = Prepared(
    update(_thread)
    .where(_thread.c.thread_id == bindparam("of"), _thread.c.status == "waiting")
    .values(
        status="queued",
        worker=bindparam("by"),
        lease_epoch=_thread.c.lease_epoch + 1,
        lease_until=bindparam("until"),
        ended_at=None,
    )
)
_STOP_WAITING = Prepared(
    update(_thread)
    .where(_thread.c.thread_id == bindparam("of"), _thread.c.status == "waiting")
    .values(
        status=bindparam("new_status"), finish_reason=bindparam("new_status"), error_message=bindparam("sentence")
    )
)
_PENDING = Prepared(
    select(ArtifactVersion.version)
    .where(ArtifactVersion.thread_id == bindparam("of"), ArtifactVersion.status == "pending")
    .limit(1)
)
