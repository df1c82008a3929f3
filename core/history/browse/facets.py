"""What there is to choose from in the filter's widgets.

Invariant: a member is offered only what occurs in own sessions and own tags.
"""

from typing import Any

from sqlalchemy import Select, bindparam, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.history.browse.lines import Facets
from core.history.sessions import is_there
from core.tables import Annotation, SessionFacet, SessionStat, User

MOST = 200
_stat, _facet = table_of(SessionStat), table_of(SessionFacet)
_note, _user = table_of(Annotation), table_of(User)
_OWN = select(_stat.c.session_id).where(_stat.c.user_id == bindparam("who"))


def facets(viewer: Viewer, db: Db) -> Facets:
    """The people, agents, models and tags of all sessions that the viewer may read, the most frequent first."""
    return Facets(
        users=_names(db) if viewer.reads_all else (viewer.name,),
        agents=_read(viewer, db, _used("agent", own=not viewer.reads_all)),
        models=_read(viewer, db, _used("model", own=not viewer.reads_all)),
        tags=_read(viewer, db, _tags(own=not viewer.reads_all)),
    )


def _read(viewer: Viewer, db: Db, statement: Select[Any]) -> tuple[str, ...]:
    given = {"who": viewer.user_id} if "who" in statement.compile().params else {}
    return tuple(row[0] for row in db.connection().execute(statement, given))


def _names(db: Db) -> tuple[str, ...]:
    counted = _most_used(_stat.c.user_id, select(_stat.c.user_id.label("value"))).subquery()
    named = select(_user.c.name).join(counted, counted.c.value == _user.c.user_id)
    return tuple(db.connection().execute(named.order_by(counted.c.times.desc(), _user.c.name)).scalars())


def _used(kind: str, *, own: bool) -> Select[Any]:
    found = select(_facet.c.value.label("value")).where(_facet.c.kind == kind)
    return _most_used(_facet.c.value, found.where(_facet.c.session_id.in_(_OWN)) if own else found)


def _tags(*, own: bool) -> Select[Any]:
    found = select(_note.c.content.label("value")).where(_note.c.kind == "tag", is_there(_note.c.session_id))
    return _most_used(_note.c.content, found.where(_note.c.user_id == bindparam("who")) if own else found)


def _most_used(value: Any, found: Select[Any]) -> Select[Any]:
    times = func.count().label("times")
    return found.add_columns(times).group_by(value).order_by(times.desc(), value).limit(MOST)
