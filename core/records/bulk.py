"""Many sessions at once: what a deed would touch, and the deed itself, one short transaction for each session.

Invariant: each session is done whole or not at all, by the same rules as alone; one that is gone meanwhile, or is
not the viewer's to change, is counted and keeps none of the others.
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from sqlalchemy import BindParameter, and_, bindparam, case, func, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import SkeinError
from core.history.annotations import add_tag, clean_tag, remove_tag
from core.history.browse.counting import count_waiting
from core.history.browse.filters import SessionFilter
from core.history.browse.listing import find_sessions
from core.history.search import index_messages
from core.history.sessions import archive_session, restore_session
from core.ids import SessionId
from core.records.deletion import delete_session
from core.runs.engine import Engine
from core.tables import Artifact, ArtifactVersion, Conversation, LlmCall, Message, Session, Thread

Action = Literal["tag", "archive", "export", "delete"]
Wanted = SessionFilter | Collection[SessionId]
Progress = Callable[[int, int], None]
# What only the owner or an admin does; the rest is for whoever may read.
_CHANGING = ("archive", "delete")
_AT_ONCE = 500
_MOST = 1_000_000


@dataclass(frozen=True)
class Preview:
    """What a deed would touch: ``ids`` are the sessions, ``not_allowed`` how many more were chosen.

    ``running`` threads are queued or running, ``waiting`` ones wait for a person. ``bytes`` are those of artifacts
    and of what was said.
    """

    ids: tuple[SessionId, ...]
    sessions: int = 0
    conversations: int = 0
    messages: int = 0
    threads: int = 0
    running: int = 0
    waiting: int = 0
    artifacts: int = 0
    calls: int = 0
    bytes: int = 0
    not_allowed: int = 0


@dataclass(frozen=True)
class Done:
    """Which sessions were done, and why others were not: each sentence with how many it is about."""

    ids: tuple[SessionId, ...]
    refused: dict[str, int]


def preview(viewer: Viewer, database: Database, wanted: Wanted, action: Action) -> Preview:
    """What the deed would touch if it were done now; nothing of what the viewer may not see is counted."""
    chosen, owners = find_ids(viewer, database, wanted), dict[SessionId, str]()
    with database.read() as db:
        for some in _in_parts(chosen):
            owners |= {SessionId(key): owner for key, owner in db.connection().execute(_OWNERS, {"of": some})}
        seen = [key for key in chosen if key in owners and viewer.may_read(owners[key])]
        ids = [key for key in seen if action not in _CHANGING or _may_change(viewer, owners[key])]
        counts = [_count(db, some) for some in _in_parts(ids)]
    sums = {name: sum(count[name] for count in counts) for name in (counts[0] if counts else ())}
    return Preview(tuple(ids), len(ids), **sums, not_allowed=len(seen) - len(ids))


def tag(
    viewer: Viewer,
    database: Database,
    wanted: Wanted,
    name: str,
    *,
    remove: bool = False,
    progress: Progress | None = None,
) -> Done:
    """Put the viewer's tag on each, or take it off; BadInputError for a name that is no tag."""
    kept, deed = clean_tag(name), remove_tag if remove else add_tag
    return _each(
        find_ids(viewer, database, wanted),
        lambda key: database.write(lambda db: deed(viewer, db, key, kept)),
        progress,
    )


def archive(
    viewer: Viewer, database: Database, wanted: Wanted, *, archived: bool = True, progress: Progress | None = None
) -> Done:
    """Put each aside, or take it up again."""
    return _each(
        find_ids(viewer, database, wanted),
        lambda key: database.write(lambda db: archive_session(viewer, db, key, archived=archived)),
        progress,
    )


def delete(viewer: Viewer, engine: Engine, wanted: Wanted, *, progress: Progress | None = None) -> Done:
    """Delete each, stopping what runs in it; for a minute ``restore`` brings those of ``Done.ids`` back."""
    ids = find_ids(viewer, engine.database, wanted)
    return _each(ids, partial(delete_session, viewer, engine), progress)


def restore(
    viewer: Viewer, database: Database, ids: Collection[SessionId], *, progress: Progress | None = None
) -> Done:
    """Bring back what was deleted in the last minute."""
    return _each(list(ids), lambda key: database.write(lambda db: restore_session(viewer, db, key)), progress)


def find_ids(viewer: Viewer, database: Database, wanted: Wanted) -> list[SessionId]:
    """The sessions that are meant: those given, or all that a filter finds, the last active first.

    What was changed or said just before is counted first, so that a filter misses none.
    """
    if not isinstance(wanted, SessionFilter):
        return list(dict.fromkeys(wanted))
    count_waiting(database)
    while wanted.text and index_messages(database):
        pass
    with database.read() as db:
        return find_sessions(viewer, db, wanted, most=_MOST)


def _each(ids: list[SessionId], deed: Callable[[SessionId], Any], progress: Progress | None) -> Done:
    done, refused = list[SessionId](), dict[str, int]()
    for place, key in enumerate(ids, start=1):
        try:
            deed(key)
            done.append(key)
        except SkeinError as error:
            refused[str(error)] = refused.get(str(error), 0) + 1
        if progress is not None:
            progress(place, len(ids))
    return Done(tuple(done), refused)


def _may_change(viewer: Viewer, owner_id: str) -> bool:
    return viewer.may_change(owner_id) or viewer.is_admin


def _in_parts(ids: list[SessionId]) -> Iterable[list[SessionId]]:
    return (ids[start : start + _AT_ONCE] for start in range(0, len(ids), _AT_ONCE))


def _count(db: Db, ids: list[SessionId]) -> dict[str, int]:
    found: dict[str, int] = {}
    for statement in _COUNTS:
        found |= db.connection().execute(statement, {"of": ids}).mappings().one()
    said = found.pop("said")
    return {name: int(number or 0) for name, number in (found | {"bytes": found["bytes"] + said}).items()}


_OF: BindParameter[Any] = bindparam("of", expanding=True)
_session, _conversation = table_of(Session), table_of(Conversation)
_message, _thread = table_of(Message), table_of(Thread)
_artifact, _version, _call = table_of(Artifact), table_of(ArtifactVersion), table_of(LlmCall)
_OWNERS = select(_session.c.session_id, _session.c.user_id).where(
    _session.c.session_id.in_(_OF), _session.c.status != "deleted"
)
_kept = and_(_conversation.c.session_id.in_(_OF), _conversation.c.deleted_at.is_(None))


def _how_many(*statuses: str) -> Any:
    return func.count(case((_thread.c.status.in_(statuses), 1)))


_COUNTS = (
    select(func.count().label("conversations")).select_from(_conversation).where(_kept),
    select(
        func.count().label("messages"),
        func.count(_thread.c.thread_id).label("threads"),
        _how_many("queued", "running").label("running"),
        _how_many("waiting").label("waiting"),
        func.coalesce(func.sum(func.length(_message.c.content) + func.length(_message.c.answer)), 0).label("said"),
    )
    .select_from(_conversation)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
    .outerjoin(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_kept, _message.c.deleted_at.is_(None)),
    select(
        func.count(_artifact.c.artifact_id.distinct()).label("artifacts"),
        func.coalesce(func.sum(_version.c.size), 0).label("bytes"),
    )
    .select_from(_artifact)
    .join(_version, _version.c.artifact_id == _artifact.c.artifact_id)
    .where(_artifact.c.session_id.in_(_OF), _version.c.status == "kept"),
    select(func.count().label("calls")).select_from(_call).where(_call.c.session_id.in_(_OF)),
)
