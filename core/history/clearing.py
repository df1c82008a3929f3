"""A thread is claimed while its older states are cleared away, so that nobody comes to need one of them meanwhile.

Who clears claims first, then reads which states are needed, then drops the others. Invariant: a state that was
named (by a snapshot, or as what a thread starts from) is not dropped: it was named before the claim, and is read
with the others, or not at all while the claim holds. The claim is the thread's lease, of which a thread that is
done has no other use; one that a dead process left runs out.
"""

from datetime import timedelta

from sqlalchemy import bindparam, or_, select, update
from sqlmodel import Session as Db

from core.database import table_of
from core.errors import BusyError
from core.ids import ThreadId
from core.tables import Thread, utc_now

# Far longer than clearing one thread takes, and no longer than a person would put up with after a crash.
CLAIM = timedelta(minutes=2)
_thread = table_of(Thread)


def claim_states(db: Db, thread_id: ThreadId) -> bool:
    """Claim a thread that is done; False when somebody else has, or it is gone."""
    now = utc_now()
    claimed = db.connection().execute(_CLAIM, {"of": thread_id, "now": now, "until": now + CLAIM})
    return bool(claimed.rowcount)


def release_states(db: Db, thread_id: ThreadId) -> None:
    """Let its states be named again."""
    db.connection().execute(_RELEASE, {"of": thread_id})


def require_unclaimed(db: Db, thread_id: ThreadId) -> None:
    """BusyError while the thread is claimed; from here on a claim waits for the caller's transaction."""
    if db.connection().execute(_CLAIMED, {"of": thread_id, "now": utc_now()}).scalar():
        raise BusyError("Older states of this answer are just being cleared away; please try again in a moment.")


_DONE = (_thread.c.thread_id == bindparam("of"), _thread.c.status == "done")
_CLAIM = (
    update(_thread)
    .where(*_DONE, or_(_thread.c.lease_until.is_(None), _thread.c.lease_until < bindparam("now")))
    .values(lease_until=bindparam("until"))
)
_RELEASE = update(_thread).where(*_DONE).values(lease_until=None)
# The row is locked whatever it says, so that what it says stays true until the caller has committed.
_CLAIMED = (
    select((_thread.c.status == "done") & (_thread.c.lease_until > bindparam("now")))
    .where(_thread.c.thread_id == bindparam("of"))
    .with_for_update(read=True)
)
