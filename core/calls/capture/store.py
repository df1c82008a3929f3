"""The call log's writes: starts, ends, and ends of calls whose process is gone; each in one transaction.

Invariant: a row that says how its call ended is never written again, whoever tries; with it, in the same
transaction, come its body, its place in the rollups and its seal.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, bindparam, or_, select, text, update
from sqlmodel import Session as Db

from core.calls.panels.rollups import count_calls
from core.calls.proof.seals import lock_chain, seal
from core.database import insert_rows, table_of
from core.prepared import Prepared
from core.tables import LlmCall, LlmCallBody, Thread, utc_now

Row = dict[str, Any]
_MOST_SETTLED = 250
_call, _body, _thread = table_of(LlmCall), table_of(LlmCallBody), table_of(Thread)
_GIVEN_AT_START = {
    "call_id",
    "run_id",
    "parent_run_id",
    "created_at",
    "user_id",
    "session_id",
    "conversation_id",
    "message_id",
    "thread_id",
    "checkpoint_ns",
    "agent_id",
    "agent_key",
    "node",
    "step",
    "operation",
    "provider",
    "model",
    "temperature",
    "top_p",
    "max_tokens",
    "key_source",
    "context_compacted",
    "attributed",
    "tags",
}
_GIVEN_AT_END = [column.name for column in _call.columns if column.name not in _GIVEN_AT_START]
_END_CALL = Prepared(
    update(_call)
    .where(_call.c.call_id == bindparam("of"), _call.c.status == "started")
    .values({name: bindparam(f"new_{name}") for name in _GIVEN_AT_END})
)
_END_BODY = Prepared(
    update(_body)
    .where(_body.c.call_id == bindparam("of"))
    .values({name: bindparam(f"new_{name}") for name in ("prompt", "response", "tools")})
)
_STATUSES = select(_call.c.call_id, _call.c.status).where(_call.c.call_id.in_(bindparam("calls", expanding=True)))
# The second condition says the same once more, in the very words of the partial index.
_STARTED = select(_call).where(text("llm_call.status = 'started' AND llm_call.status <> 'ok'"))


@dataclass(frozen=True)
class Ended:
    """A call that has ended: its row, what is kept of its body, and whether its start is stored already."""

    row: Row
    body: Row | None
    started: bool


@dataclass(frozen=True)
class Orphan:
    """A started call that nobody will end any more, and when its thread ended, if that is known."""

    row: Row
    body: Row | None
    thread_ended_at: datetime | None


def write_calls(db: Db, starts: Sequence[tuple[Row, Row | None]], ends: Sequence[Ended], *, again: bool) -> None:
    """Store what began and what ended. ``again``: it may be stored already, nobody knows how that commit went."""
    if ends:
        # Whoever else ends one of these calls does so before this look at them, or after all of it.
        lock_chain(db)
    known = _read_statuses(db, [row["call_id"] for row, _ in starts], ends, again=again)
    _insert(db, [pair for pair in starts if pair[0]["call_id"] not in known])
    _end(db, [one for one in ends if known.get(one.row["call_id"], "started") == "started"], known)


def find_orphans(db: Db, *, threads: Collection[str], alive: Collection[str], quiet: timedelta) -> list[Orphan]:
    """The started calls of these threads; also those of any thread that has been over for a while, or of none.

    ``alive`` are calls that this process itself is at.
    """
    now = utc_now()
    over = and_(_thread.c.ended_at.is_not(None), _thread.c.ended_at < now - quiet)
    nobodys = and_(_thread.c.thread_id.is_(None), _call.c.created_at < now - 3 * quiet)
    query = (
        _STARTED.add_columns(_thread.c.ended_at.label("thread_ended_at"))
        .join(_thread, _thread.c.thread_id == _call.c.thread_id, isouter=True)
        .where(or_(_call.c.thread_id.in_(list(threads)), over, nobodys))
        .order_by(_call.c.call_id)
        .limit(_MOST_SETTLED + len(alive))
    )
    rows = [dict(row) for row in db.connection().execute(query).mappings() if row["call_id"] not in alive]
    rows = rows[:_MOST_SETTLED]
    bodies = _read_bodies(db, [row["call_id"] for row in rows])
    return [Orphan(row, bodies.get(row["call_id"]), row.pop("thread_ended_at")) for row in rows]


def _read_statuses(db: Db, starting: list[str], ends: Sequence[Ended], *, again: bool) -> dict[str, str]:
    """Of the calls that may be stored already, those that are, with their status."""
    ids = [one.row["call_id"] for one in ends if again or one.started] + (starting if again else [])
    if not ids:
        return {}
    return {row.call_id: row.status for row in db.connection().execute(_STATUSES, {"calls": ids})}


def _read_bodies(db: Db, ids: list[str]) -> dict[str, Row]:
    query = select(_body).where(_body.c.call_id.in_(ids))
    return {row["call_id"]: dict(row) for row in db.connection().execute(query).mappings()}


def _insert(db: Db, pairs: Sequence[tuple[Row, Row | None]]) -> None:
    insert_rows(db, LlmCall, [row for row, _ in pairs])
    insert_rows(db, LlmCallBody, [body for _, body in pairs if body is not None])


def _end(db: Db, ends: Sequence[Ended], known: dict[str, str]) -> None:
    if not ends:
        return
    _insert(db, [(one.row, one.body) for one in ends if one.row["call_id"] not in known])
    if stored := [one for one in ends if one.row["call_id"] in known]:
        _update(db, stored)
    rows = [one.row for one in ends]
    seal(db, rows)
    count_calls(db, rows)


def _update(db: Db, ends: Sequence[Ended]) -> None:
    _END_CALL.run_many(
        db,
        [{"of": one.row["call_id"], **{f"new_{name}": one.row[name] for name in _GIVEN_AT_END}} for one in ends],
    )
    _END_BODY.run_many(
        db,
        [
            {"of": body["call_id"], **{f"new_{name}": body[name] for name in ("prompt", "response", "tools")}}
            for body in (one.body for one in ends)
            if body is not None
        ],
    )
