"""The list of sessions: a page of what is wanted, with all that its rows show.

Counts are at most seconds behind; title and state of what is shown are read from the session itself, so that what
was just renamed, archived or deleted is so here at once. Invariant: a viewer is given only sessions that the viewer
may read, in pages that neither skip one nor give one twice.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import datetime
from statistics import fmean
from typing import Any

from sqlalchemy import BindParameter, bindparam, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import in_parts, table_of
from core.history.browse.facets import facets
from core.history.browse.filters import SessionFilter
from core.history.browse.hits import find_hits
from core.history.browse.items import list_conversations_of, list_threads
from core.history.browse.lines import Facets, Hit, Page, SessionLine
from core.history.browse.orders import Order, cursors
from core.history.browse.places import search_for
from core.ids import SessionId
from core.tables import THREAD_STATUSES, Annotation, Session, SessionStat, User

__all__ = [
    "Facets",
    "count_sessions",
    "facets",
    "find_sessions",
    "list_conversations_of",
    "list_sessions",
    "list_threads",
]

_stat, _session, _user, _note = table_of(SessionStat), table_of(Session), table_of(User), table_of(Annotation)
_USUAL = Order()
_FRESH = ("title", "status")
_MARKS = ("starred", "tags", "score", "verdict")


def list_sessions(
    viewer: Viewer,
    db: Db,
    wanted: SessionFilter,
    order: Order = _USUAL,
    *,
    after: str | None = None,
    limit: int = 50,
) -> Page[SessionLine]:
    """A page of the sessions that are wanted; ``after`` is a ``next`` or ``previous`` of the same order."""
    order.require_for("sessions")
    place = order.place_at(after) if after else None
    found = search_for(viewer, db, wanted).find(order, after=place, limit=limit + 1)
    page, edge = found[:limit], found[limit - 1] if len(found) > limit else None
    following, previous = cursors(order, place, page[0] if page else edge, edge)
    if place is not None and place.before:
        page.reverse()
    return Page(_read_lines(viewer, db, wanted, [SessionId(one.row_id) for one in page]), following, previous)


def count_sessions(viewer: Viewer, db: Db, wanted: SessionFilter, *, most: int = 10_000) -> int:
    """How many sessions are wanted, but no more than ``most``."""
    return search_for(viewer, db, wanted).count(most)


def find_sessions(viewer: Viewer, db: Db, wanted: SessionFilter, *, most: int = 10_000) -> list[SessionId]:
    """The sessions that are wanted, last active first, at most so many: for what is done to all of them."""
    found = [place.row_id for place in search_for(viewer, db, wanted).find(_USUAL, after=None, limit=most)]
    shelves = wanted.shelves or ("active",)
    kept: set[str] = set()
    for some in in_parts(found):
        kept.update(db.connection().execute(_KEPT, {"ids": some, "shelves": shelves}).scalars())
    return [SessionId(session_id) for session_id in found if session_id in kept]


def _read_lines(viewer: Viewer, db: Db, wanted: SessionFilter, ids: Sequence[SessionId]) -> list[SessionLine]:
    given = {"ids": list(ids), "shelves": wanted.shelves or ("active",)}
    rows = {row["session_id"]: row for row in db.connection().execute(_LINES, given).mappings()} if ids else {}
    marks, hits = _read_marks(viewer, db, ids), find_hits(viewer, db, wanted.text, ids)
    return [
        _to_line(rows[session_id], marks.get(session_id, {}), hits.get(session_id))
        for session_id in ids
        if session_id in rows
    ]


def _to_line(row: Any, marks: dict[str, Any], hit: Hit | None) -> SessionLine:
    known = {name: row[name] for name in _PLAIN}
    known |= {name: tuple(row[name]) for name in ("agents", "models", "spark")}
    threads = {status: row[status] for status in THREAD_STATUSES if row[status]}
    return SessionLine(**known, **marks, threads=threads, hit=hit)


def _read_marks(viewer: Viewer, db: Db, ids: Collection[str]) -> dict[str, dict[str, Any]]:
    """What people put on these sessions and on what is in them, as far as the viewer may see it."""
    given = {"ids": list(ids), "all": viewer.reads_all, "who": viewer.user_id}
    found: defaultdict[str, list[Any]] = defaultdict(list)
    for row in db.connection().execute(_MARKED, given) if ids else ():
        found[row.session_id].append(row)
    return {session_id: _to_marks(session_id, rows) for session_id, rows in found.items()}


def _to_marks(session_id: str, rows: Sequence[Any]) -> dict[str, Any]:
    scores = [row.score for row in rows if row.kind == "score" and row.score is not None]
    reviews = [row for row in rows if row.kind == "review"]
    return {
        "starred": any(row.kind == "star" and row.target_id == session_id for row in rows),
        "tags": tuple(sorted({row.content for row in rows if row.kind == "tag"})),
        "score": fmean(scores) if scores else None,
        "verdict": max(reviews, key=_newest).content.partition("\n")[0] if reviews else "",
    }


def _newest(row: Any) -> tuple[datetime, str]:
    return row.updated_at, row.user_id


_PLAIN = [
    field.name
    for field in fields(SessionLine)
    if field.name not in {*_MARKS, "hit", "threads", "agents", "models", "spark"}
]
_SHOWN = [_session.c[name] for name in _FRESH] + [column for column in _stat.c if column.name not in _FRESH]
_IDS: BindParameter[Any] = bindparam("ids", expanding=True)
_SHELVES: BindParameter[Any] = bindparam("shelves", expanding=True)
_LINES = (
    select(*_SHOWN, _user.c.name.label("user_name"))
    .join_from(_stat, _session, _session.c.session_id == _stat.c.session_id)
    .join(_user, _user.c.user_id == _session.c.user_id)
    .where(_stat.c.session_id.in_(_IDS), _session.c.status.in_(_SHELVES))
)
_KEPT = select(_session.c.session_id).where(_session.c.session_id.in_(_IDS), _session.c.status.in_(_SHELVES))
_MARKED = select(
    *(_note.c[name] for name in ("session_id", "target_id", "user_id", "kind", "content", "score", "updated_at"))
).where(
    _note.c.session_id.in_(_IDS),
    _note.c.kind.in_(("star", "tag", "score", "review")),
    or_(_note.c.user_id == bindparam("who"), (_note.c.kind != "star") & bindparam("all")),
)
