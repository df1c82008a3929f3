"""The record of activity as people read it: who did what, when, and on which session.

Invariant: a member is given what they did themselves, and what others did to their sessions or their account;
analysts and admins are given all. Pages neither skip a row nor give one twice, whatever is added meanwhile.
"""

import csv
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from io import StringIO
from typing import Any

from sqlalchemy import BindParameter, ColumnElement, Select, bindparam, select, tuple_, union
from sqlmodel import Session as Db

from core.access.activity import HOUSE, record
from core.access.deeds import DEEDS, sentence_of
from core.access.viewer import Viewer
from core.database import Database, in_parts, table_of
from core.errors import BadInputError
from core.tables import Activity, Conversation, Message, Session, User, canonical_json

LARGEST_PAGE = 1_000
LARGEST_EXPORT = 50_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_act, _user, _session = table_of(Activity), table_of(User), table_of(Session)
_conversation, _message = table_of(Conversation), table_of(Message)


@dataclass(frozen=True)
class ActivityFilter:
    """What happened in ``[since, until)``, by one of these users, of one of these kinds; empty does not narrow.

    ``session`` is where it happened, ``target`` what it was done to.
    """

    users: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    session: str = ""
    target: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class ActivityRow:
    """A line of the record.

    ``user_name`` is "Skein" for what nobody was signed in for. ``session_title`` and ``target_name`` (of a user,
    session or conversation) are there as long as that is. ``conversation_id`` is where a message stands.
    """

    activity_id: str
    created_at: datetime
    user_id: str
    user_name: str | None
    login_id: str | None
    kind: str
    sentence: str
    target_id: str | None
    target_name: str | None
    conversation_id: str | None
    session_id: str | None
    session_title: str | None
    detail: dict[str, Any]


_COLUMNS = [field.name for field in fields(ActivityRow)]


@dataclass(frozen=True)
class ActivityPage:
    """Some lines, newest first; ``next`` is the ``after`` of the page that follows, None on the last one."""

    rows: list[ActivityRow]
    next: str | None


def list_activity(
    viewer: Viewer, db: Db, wanted: ActivityFilter, *, after: str | None = None, limit: int = 100
) -> ActivityPage:
    """A page of what is wanted, newest first; BadInputError for an ``after`` that is not a ``next``."""
    limit = min(limit, LARGEST_PAGE)
    where = [*_conditions(wanted), *_place_at(db, after)]
    rows = db.connection().execute(_newest(viewer, where, limit + 1)).all()
    return ActivityPage(
        _to_rows(viewer, db, rows[:limit]), rows[limit - 1].activity_id if len(rows) > limit else None
    )


def export_activity(viewer: Viewer, database: Database, wanted: ActivityFilter) -> bytes:
    """What is wanted as CSV (UTF-8, for spreadsheets too), newest first, 50,000 lines at most; that is recorded."""
    file, after, count = StringIO(), None, 0
    write = csv.writer(file).writerow
    write(_COLUMNS)
    while count < LARGEST_EXPORT:
        with database.read() as db:
            page = list_activity(viewer, db, wanted, after=after, limit=LARGEST_PAGE)
        for row in page.rows:
            write([_cell(getattr(row, name)) for name in _COLUMNS])
        count, after = count + len(page.rows), page.next
        if after is None:
            break
    database.write(lambda db: record(db, viewer, "activity.export", detail={"rows": count}))
    return file.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> str:
    """A value as a spreadsheet shows it, and never one that it computes."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    text = canonical_json(value) if isinstance(value, dict) else str(value or "")
    return f"'{text}" if text[:1] in _FORMULA else text


def list_doers(viewer: Viewer, db: Db, *, most: int = 500) -> dict[str, str]:
    """Who may be narrowed to, by id: everybody's names for those who read all, else the viewer's own."""
    if not viewer.reads_all:
        return {viewer.user_id: viewer.name}
    rows = db.connection().execute(select(_user.c.user_id, _user.c.name).order_by(_user.c.name).limit(most))
    return {**{row.user_id: row.name for row in rows}, HOUSE.user_id: HOUSE.name}


def _conditions(wanted: ActivityFilter) -> list[ColumnElement[bool]]:
    unknown = [kind for kind in wanted.kinds if kind not in DEEDS]
    if unknown:
        raise BadInputError(f"There is no deed {unknown[0][:40]!r}; please choose one of the list.")
    found: list[ColumnElement[bool] | None] = [
        _act.c.user_id.in_(wanted.users) if wanted.users else None,
        _act.c.kind.in_(wanted.kinds) if wanted.kinds else None,
        _act.c.session_id == wanted.session if wanted.session else None,
        _act.c.target_id == wanted.target if wanted.target else None,
        _act.c.created_at >= wanted.since if wanted.since else None,
        _act.c.created_at < wanted.until if wanted.until else None,
    ]
    return [one for one in found if one is not None]


def _place_at(db: Db, after: str | None) -> list[ColumnElement[bool]]:
    """Where the page before ended."""
    if after is None:
        return []
    at = db.connection().execute(_AT, {"key": after}).scalar()
    if at is None:
        raise BadInputError("This address names no page of the record; please begin with the newest again.")
    # The time alone once more: SQLite looks an index up by that, but not by the two of them.
    behind = tuple_(_act.c.created_at, _act.c.activity_id) < tuple_(
        bindparam("at", at, type_=_act.c.created_at.type), bindparam("place", after)
    )
    return [_act.c.created_at <= at, behind]


def _newest(viewer: Viewer, where: Sequence[ColumnElement[bool]], limit: int) -> Select[Any]:
    if viewer.reads_all:
        return _in_order(select(*_act.c).where(*where), limit)
    own_sessions = select(_session.c.session_id).where(_session.c.user_id == viewer.user_id)
    # Each by an index of its own: one "or" over all three would read everybody's rows.
    grants = (
        _act.c.user_id == viewer.user_id,
        _act.c.session_id.in_(own_sessions),
        _act.c.target_id == viewer.user_id,
    )
    parts = [_in_order(select(_act.c.activity_id).where(one, *where), limit).subquery() for one in grants]
    ids = union(*[select(part.c.activity_id) for part in parts])
    return _in_order(select(*_act.c).where(_act.c.activity_id.in_(ids)), limit)


def _in_order(query: Select[Any], limit: int) -> Select[Any]:
    return query.order_by(_act.c.created_at.desc(), _act.c.activity_id.desc()).limit(limit)


def _to_rows(viewer: Viewer, db: Db, rows: Sequence[Any]) -> list[ActivityRow]:
    targets = {row.target_id for row in rows if row.target_id}
    users = {**_names(db, _USERS, {row.user_id for row in rows} | targets), HOUSE.user_id: HOUSE.name}
    sessions = _readable(viewer, db, _SESSIONS, {row.session_id for row in rows if row.session_id} | targets)
    conversations = _readable(viewer, db, _CONVERSATIONS, targets)
    places = _readable(viewer, db, _MESSAGES, targets)
    names = {**users, **sessions, **conversations}
    return [
        ActivityRow(
            **row._mapping,
            user_name=users.get(row.user_id),
            sentence=sentence_of(row.kind, row.detail),
            target_name=names.get(row.target_id or ""),
            conversation_id=places.get(row.target_id or ""),
            session_title=sessions.get(row.session_id or ""),
        )
        for row in rows
    ]


def _names(db: Db, statement: Select[Any], ids: Collection[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for some in in_parts(ids):
        found |= {row[0]: row[1] for row in db.connection().execute(statement, {"ids": some})}
    return found


def _readable(viewer: Viewer, db: Db, statement: Select[Any], ids: Collection[str]) -> dict[str, str]:
    """The same of what has an owner: without what the viewer may not read, or may no longer."""
    found: dict[str, str] = {}
    for some in in_parts(ids):
        rows = db.connection().execute(statement, {"ids": some})
        found |= {key: name for key, name, owner_id in rows if viewer.may_read(owner_id)}
    return found


_ids: BindParameter[str] = bindparam("ids", expanding=True)
_is_there = _session.c.status != "deleted"
_AT = select(_act.c.created_at).where(_act.c.activity_id == bindparam("key"))
_USERS = select(_user.c.user_id, _user.c.name).where(_user.c.user_id.in_(_ids))
_SESSIONS = select(_session.c.session_id, _session.c.title, _session.c.user_id).where(
    _session.c.session_id.in_(_ids), _is_there
)
_of_sessions = _conversation.join(_session, _session.c.session_id == _conversation.c.session_id)
_kept = (_conversation.c.deleted_at.is_(None), _is_there)
_CONVERSATIONS = (
    select(_conversation.c.conversation_id, _conversation.c.title, _session.c.user_id)
    .select_from(_of_sessions)
    .where(_conversation.c.conversation_id.in_(_ids), *_kept)
)
_MESSAGES = (
    select(_message.c.message_id, _message.c.conversation_id, _session.c.user_id)
    .select_from(_of_sessions.join(_message, _message.c.conversation_id == _conversation.c.conversation_id))
    .where(_message.c.message_id.in_(_ids), _message.c.deleted_at.is_(None), *_kept)
)
