"""Saved views: a page's filters under a name.

Invariant: a view holds what to look for, never what was found; so whoever has its id may open it, and sees with it
what they may see anyway.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, insert, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError, NotFoundError
from core.history.activity import record
from core.ids import ViewId, new_view_id
from core.tables import SavedView, User, clean_text, utc_now

LONGEST_NAME = 80
LONGEST_QUERY = 4_000
MOST_VIEWS = 100
_TABLE = table_of(SavedView)
_VIEW = _TABLE.c
_USER = table_of(User).c


@dataclass(frozen=True)
class View:
    """A saved view; ``query`` is the address's part behind the question mark."""

    view_id: ViewId
    user_id: str
    user_name: str
    page: str
    name: str
    query: str
    created_at: datetime


def save_view(viewer: Viewer, database: Database, page: str, name: str, query: str) -> ViewId:
    """Keep the filters of a page under a name, in place of what the viewer kept there under the same name."""
    name = " ".join(clean_text(name).split())
    _check(name, query)

    def job(db: Db) -> ViewId:
        view_id = _put(viewer, db, clean_text(page), name, clean_text(query))
        record(db, viewer, "view.save", target_id=view_id)
        return view_id

    return database.write(job)


def list_views(viewer: Viewer, db: Db, page: str) -> list[View]:
    """The viewer's own views of a page, by name."""
    mine = _VIEWS.where(_VIEW.user_id == viewer.user_id, _VIEW.page == page)
    return [_to_view(row) for row in db.connection().execute(mine.order_by(_VIEW.name))]


def get_view(viewer: Viewer, db: Db, view_id: str) -> View:  # noqa: ARG001 - whoever is signed in may open it
    """A view by its id, whoever saved it; NotFoundError when it is gone."""
    row = db.connection().execute(_VIEWS.where(_VIEW.view_id == clean_text(view_id))).first()
    if row is None:
        raise _not_found()
    return _to_view(row)


def delete_view(viewer: Viewer, database: Database, view_id: str) -> None:
    """Delete one of the viewer's own views; NotFoundError for any other."""
    view_id = clean_text(view_id)
    mine = delete(_TABLE).where(_VIEW.view_id == view_id, _VIEW.user_id == viewer.user_id)

    def job(db: Db) -> None:
        if db.connection().execute(mine).rowcount == 0:
            raise _not_found()
        record(db, viewer, "view.delete", target_id=view_id)

    database.write(job)


def _check(name: str, query: str) -> None:
    if not name:
        raise BadInputError("A view needs a name; please type one.")
    if len(name) > LONGEST_NAME:
        raise BadInputError(f"The name of a view has at most {LONGEST_NAME} characters; please shorten it.")
    if len(query) > LONGEST_QUERY:
        raise BadInputError("These filters are too many to be saved as a view; please choose fewer of them.")


def _put(viewer: Viewer, db: Db, page: str, name: str, query: str) -> ViewId:
    connection = db.connection()
    same = (_VIEW.user_id == viewer.user_id, _VIEW.page == page, _VIEW.name == name)
    known = connection.execute(select(_VIEW.view_id).where(*same)).scalar()
    if known is not None:
        connection.execute(update(_TABLE).where(_VIEW.view_id == known).values(query=query, created_at=utc_now()))
        return ViewId(known)
    count = select(func.count()).select_from(_TABLE).where(_VIEW.user_id == viewer.user_id)
    if connection.execute(count).scalar_one() >= MOST_VIEWS:
        raise BadInputError(f"You have {MOST_VIEWS} saved views, which is the most; please delete one first.")
    row = {"view_id": new_view_id(), "user_id": viewer.user_id, "page": page, "name": name, "query": query}
    connection.execute(insert(_TABLE), row | {"created_at": utc_now()})
    return ViewId(row["view_id"])


def _to_view(row: Any) -> View:
    return View(**row._mapping)


def _not_found() -> NotFoundError:
    return NotFoundError("There is no such saved view; it may have been deleted, or the link is wrong.")


_VIEWS = select(
    _VIEW.view_id,
    _VIEW.user_id,
    _USER.name.label("user_name"),
    _VIEW.page,
    _VIEW.name,
    _VIEW.query,
    _VIEW.created_at,
).join_from(_TABLE, User, _USER.user_id == _VIEW.user_id)
