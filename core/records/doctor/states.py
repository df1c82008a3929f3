"""Threads against their checkpoints, and against those who carry them or have to decide.

Invariant: what is only a moment old is left alone, since a run may be just about to write it.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, bindparam, exists, or_, select, update
from sqlmodel import Session as Db

from core.database import table_of
from core.history.approval_steps import withdraw_waiting
from core.history.artifacts import settle_versions
from core.ids import ThreadId
from core.records.doctor.house import Check, House, in_parts
from core.runs.store import LIVE, recover
from core.runs.waiting import hold_thread, stop_waiting
from core.tables import Approval, ArtifactVersion, Thread, utc_now

_thread, _approval, _version = table_of(Thread), table_of(Approval), table_of(ArtifactVersion)
_SLACK = timedelta(minutes=1)
_OVER = ("done", "stopped", "failed", "lost")
_LOST_STATE = "What this answer was waiting with is gone; ask again to go on."
_RUN_OVER = "The run that asked this is over."
_NOBODY_ASKED = "Nobody could decide any more what this answer was waiting for; retry it to be asked again."


def _orphaned(house: House) -> list[str]:
    # The checkpoints first: a thread's row is there before the first of them.
    stored = house.list_threads()
    known: set[str] = set()
    for some in in_parts(stored):
        known.update(house.ids(_KNOWN, {"of": some}))
    return [thread_id for thread_id in stored if thread_id not in known]


def _forget(house: House, ids: Sequence[str]) -> None:
    for thread_id in ids:
        house.forget_thread(thread_id)


def _without_state(house: House, status: str) -> list[str]:
    found: list[str] = []
    for some in in_parts(house.ids(_OF_STATUS, {"status": status, "before": utc_now() - _SLACK})):
        counts = house.count_states(some)
        found += [thread_id for thread_id in some if not counts[thread_id]]
    # Once more: one that was purged meanwhile has neither.
    return [key for some in in_parts(found) for key in house.ids(_STILL, {"of": some, "status": status})]


def _stuck(house: House) -> list[str]:
    return house.ids(_STUCK, {"before": utc_now() - _SLACK})


def _unstick(house: House, ids: Sequence[str]) -> None:
    """What ran is lost, and can be retried; what was queued is taken up by the next Skein that is open."""
    for some in in_parts(ids):
        house.database.write(partial(_settle, ids=some))


def _settle(db: Db, ids: list[str]) -> None:
    now = utc_now()
    db.connection().execute(
        _EXPIRE, {"of": ids, "before": now - _SLACK, "long_ago": datetime(1970, 1, 1, tzinfo=UTC)}
    )
    recover(db, worker="doctor", held=(), dead=(), until=now)


def _give_up(house: House, ids: Sequence[str], sentence: str) -> None:
    for thread_id in ids:
        house.database.write(partial(_end_waiting, thread_id=ThreadId(thread_id), sentence=sentence))


def _end_waiting(db: Db, thread_id: ThreadId, sentence: str) -> None:
    hold_thread(db, thread_id)
    if stop_waiting(db, thread_id, status="lost", sentence=sentence):
        withdraw_waiting(db, thread_id, by=None, reason=sentence)


def _withdraw(house: House, ids: Sequence[str]) -> None:
    for thread_id in house.ids(_THREADS_OF, {"of": list(ids)}):
        withdrawn = partial(withdraw_waiting, thread_id=ThreadId(thread_id), by=None, reason=_RUN_OVER)
        house.database.write(withdrawn)


def _unsettled(house: House) -> list[str]:
    return [f"{row[0]}@{row[1]}" for row in house.read(_PENDING, {"before": utc_now() - _SLACK})]


def _settle_versions(house: House, _ids: Sequence[str]) -> None:
    rows = house.read(_PENDING, {"before": utc_now() - _SLACK})
    for thread_id in {row.thread_id for row in rows if row.thread_id is not None}:
        named = house.read_named(thread_id)
        house.database.write(partial(settle_versions, thread_id=thread_id, named=named))
    house.write(_DROP_UNOWNED)


_OF: BindParameter[Any] = bindparam("of", expanding=True)
_KNOWN = select(_thread.c.thread_id).where(_thread.c.thread_id.in_(_OF))
_OF_STATUS = select(_thread.c.thread_id).where(
    _thread.c.status == bindparam("status"), _thread.c.ended_at < bindparam("before")
)
_STILL = _KNOWN.where(_thread.c.status == bindparam("status"))
_is_stuck = (
    _thread.c.status.in_(LIVE),
    or_(_thread.c.lease_until.is_(None), _thread.c.lease_until < bindparam("before")),
)
_STUCK = select(_thread.c.thread_id).where(*_is_stuck)
_EXPIRE = update(_thread).where(_thread.c.thread_id.in_(_OF), *_is_stuck).values(lease_until=bindparam("long_ago"))
_has_decision = exists().where(
    _approval.c.thread_id == _thread.c.thread_id,
    or_(
        _approval.c.status == "waiting",
        (_approval.c.status == "decided") & _approval.c.applied_at.is_(None),
    ),
)
_UNDECIDABLE = select(_thread.c.thread_id).where(_thread.c.status == "waiting", ~_has_decision)
_POINTLESS = (
    select(_approval.c.approval_id)
    .join(_thread, _thread.c.thread_id == _approval.c.thread_id)
    .where(_approval.c.status == "waiting", _thread.c.status.in_(_OVER))
)
_THREADS_OF = select(_approval.c.thread_id).where(_approval.c.approval_id.in_(_OF)).distinct()
_PENDING = (
    select(_version.c.artifact_id, _version.c.version, _version.c.thread_id)
    .outerjoin(_thread, _thread.c.thread_id == _version.c.thread_id)
    .where(
        _version.c.status == "pending",
        _version.c.created_at < bindparam("before"),
        or_(_thread.c.thread_id.is_(None), _thread.c.status.not_in(LIVE)),
    )
)
_DROP_UNOWNED = (
    update(_version).where(_version.c.status == "pending", _version.c.thread_id.is_(None)).values(status="dropped")
)
CHECKS = (
    Check(
        "stuck-run",
        "A run is queued or running, but nobody carries it",
        _stuck,
        _unstick,
        "mark what ran as lost, so that it can be retried; leave what is queued to the next start",
    ),
    Check(
        "waiting-for-nothing",
        "A thread waits for a decision that nobody can make",
        lambda house: house.ids(_UNDECIDABLE),
        partial(_give_up, sentence=_NOBODY_ASKED),
        "mark it as lost, so that it can be retried",
    ),
    Check(
        "waiting-without-state",
        "A thread waits, but its checkpoints are gone",
        partial(_without_state, status="waiting"),
        partial(_give_up, sentence=_LOST_STATE),
        "mark it as lost; the next message starts from what was said",
    ),
    Check(
        "approval-of-ended-run",
        "An approval waits, but its run is over",
        lambda house: house.ids(_POINTLESS),
        _withdraw,
        "withdraw it",
    ),
    Check(
        "version-unsettled",
        "A version of an artifact is neither kept nor dropped, though its run is over",
        _unsettled,
        _settle_versions,
        "keep it if the thread's state names it, else drop it",
    ),
    Check(
        "checkpoints-without-thread",
        "There are checkpoints of a thread that is not there",
        _orphaned,
        _forget,
        "delete them",
    ),
    Check(
        "state-out-of-order",
        "A clock was set back: a state counts as older than the one it came from, and may be passed over",
        lambda house: house.list_out_of_order(),
    ),
    Check(
        "thread-without-state",
        "A finished thread has no checkpoint: nothing can be forked; what is said next starts from what was said",
        partial(_without_state, status="done"),
    ),
)
