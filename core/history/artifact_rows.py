"""Reading artifacts: those of a session, their versions, what a conversation shares, what goes in one's place.

Invariant: what a version holds is read alone, never in a list; who may not read its session finds nothing.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import table_of
from core.errors import NotFoundError
from core.history.artifact_refs import Ref
from core.history.turns import get_turn_of_thread
from core.ids import ArtifactId, ConversationId, MessageId, SessionId, ThreadId, UserId, parse_id
from core.tables import Artifact, ArtifactVersion, Message, Session, Thread, User

_artifact, _version, _session = table_of(Artifact), table_of(ArtifactVersion), table_of(Session)
_thread, _message, _user = table_of(Thread), table_of(Message), table_of(User)


@dataclass(frozen=True)
class VersionRow:
    """A version without what it holds; message and conversation are those of its thread, while they are there."""

    artifact_id: ArtifactId
    version: int
    session_id: SessionId
    kind: str
    name: str
    base_version: int | None
    thread_id: ThreadId | None
    message_id: MessageId | None
    conversation_id: ConversationId | None
    user_id: UserId
    user_name: str
    by_hand: bool
    status: str
    media_type: str
    size: int
    hash: str
    created_at: datetime

    @property
    def ref(self) -> Ref:
        return Ref(self.artifact_id, self.version)


@dataclass(frozen=True)
class ArtifactRow:
    """An artifact of a session, with its newest version that is kept."""

    artifact_id: ArtifactId
    session_id: SessionId
    kind: str
    name: str
    created_at: datetime
    newest: VersionRow


def list_artifacts(viewer: Viewer, db: Db, session_id: SessionId) -> list[ArtifactRow]:
    """All artifacts of a session that have a version that is kept, oldest first."""
    _require_session(viewer, db, session_id)
    return [_to_artifact(row) for row in db.connection().execute(_OF_SESSION, {"session": session_id})]


def list_versions(viewer: Viewer, db: Db, artifact_id: ArtifactId) -> list[VersionRow]:
    """The versions of an artifact, oldest first: those kept, and those of runs that are not over yet."""
    owner_id = db.connection().execute(_OWNER_OF_ARTIFACT, {"artifact": artifact_id}).scalar()
    if owner_id is None or not viewer.may_read(owner_id):
        raise not_found()
    return [_to_version(row) for row in db.connection().execute(_OF_ARTIFACT, {"artifact": artifact_id})]


def list_named(viewer: Viewer, db: Db, refs: Iterable[Ref]) -> list[VersionRow]:
    """Those of these versions that the viewer may read, dropped ones too: an early checkpoint may name one."""
    wanted = set(refs)
    if not wanted:
        return []
    rows = db.connection().execute(_OF_ARTIFACTS, {"artifacts": sorted({ref.artifact_id for ref in wanted})})
    found = (_to_version(row[:-1]) for row in rows if viewer.may_read(row[-1]))
    return [version for version in found if version.ref in wanted]


def get_version(viewer: Viewer, db: Db, ref: Ref) -> VersionRow:
    """One version; NotFoundError when it is not there for this viewer."""
    found = list_named(viewer, db, [ref])
    if not found:
        raise not_found()
    return found[0]


def read_content(viewer: Viewer, db: Db, ref: Ref) -> bytes:
    """What a version holds; NotFoundError when it is not there for this viewer."""
    get_version(viewer, db, ref)
    given = {"artifact": ref.artifact_id, "version": ref.version}
    return bytes(db.connection().execute(_CONTENT, given).scalar_one())


def find_shared(
    viewer: Viewer, db: Db, session_id: SessionId, conversation_id: ConversationId | None
) -> list[VersionRow]:
    """What the session shares with a conversation (None: one not begun yet), oldest artifact first.

    Of each artifact the newest version kept that another conversation made, or a person after no thread at all.
    """
    _require_session(viewer, db, session_id)
    given = {"session": session_id, "conversation": conversation_id}
    return [_to_version(row) for row in db.connection().execute(_SHARED, given)]


def has_artifacts(viewer: Viewer, db: Db, session_id: SessionId) -> bool:
    """Whether anything at all was written in a session; the cheapest of questions."""
    _require_session(viewer, db, session_id)
    return db.connection().execute(_ANY, {"session": session_id}).first() is not None


def has_made_artifacts(viewer: Viewer, db: Db, thread_id: ThreadId) -> bool:
    """Whether the run of a thread wrote anything; NotFoundError when the viewer may not see it."""
    get_turn_of_thread(viewer, db, thread_id)
    return db.connection().execute(_MADE, {"thread": thread_id}).first() is not None


def resolve(db: Db, ref: Ref, thread_ids: Collection[ThreadId]) -> Ref:
    """The newest version made by hand from this one after one of these threads; without any, the ref itself.

    The threads are one line of them; what was made after one when the line had gone on from it is another's.
    """
    return resolve_all(db, [ref], thread_ids)[ref]


def resolve_all(db: Db, refs: Collection[Ref], thread_ids: Collection[ThreadId]) -> dict[Ref, Ref]:
    """The same for many at once: for each the version that goes in its place."""
    if not refs:
        return {}
    last, successors = _last_moments(thread_ids), dict[Ref, Ref]()
    given = {"artifacts": sorted({ref.artifact_id for ref in refs})}
    for artifact_id, version, base, thread_id, created_at in db.connection().execute(_BY_HAND, given):
        if thread_id in last and created_at < last[thread_id]:
            successors[Ref(artifact_id, base)] = Ref(artifact_id, version)
    return {ref: _last(ref, successors) for ref in refs}


def _last_moments(thread_ids: Collection[ThreadId]) -> dict[ThreadId, datetime]:
    """Until when each thread was the last of its line: ids sort by when they were made."""
    line = sorted(set(thread_ids))
    moments = [parse_id(thread_id).made_at for thread_id in line[1:]]
    return dict(zip(line, [*moments, datetime.max.replace(tzinfo=UTC)], strict=False))


def _last(ref: Ref, successors: Mapping[Ref, Ref]) -> Ref:
    while ref in successors:  # ends: a version is newer than what it was made from
        ref = successors[ref]
    return ref


def not_found() -> NotFoundError:
    """What is said of an artifact that is not there, or not for this viewer."""
    return NotFoundError("There is no such artifact here; it may have been deleted, or the link is wrong.")


def _require_session(viewer: Viewer, db: Db, session_id: SessionId) -> None:
    owner_id = db.connection().execute(_OWNER, {"session": session_id}).scalar()
    if owner_id is None or not viewer.may_read(owner_id):
        raise NotFoundError("There is no such session here; the link may be wrong.")


def _to_artifact(row: Any) -> ArtifactRow:
    newest = _to_version(row[:-1])
    return ArtifactRow(newest.artifact_id, newest.session_id, newest.kind, newest.name, row[-1], newest)


def _to_version(row: Any) -> VersionRow:
    return VersionRow(*row)


_rows = (
    select(
        _version.c.artifact_id,
        _version.c.version,
        _artifact.c.session_id,
        _artifact.c.kind,
        _artifact.c.name,
        _version.c.base_version,
        _version.c.thread_id,
        _message.c.message_id,
        _message.c.conversation_id,
        _version.c.user_id,
        _user.c.name.label("user_name"),
        _version.c.by_hand,
        _version.c.status,
        _version.c.media_type,
        _version.c.size,
        _version.c.hash,
        _version.c.created_at,
    )
    .join(_artifact, _artifact.c.artifact_id == _version.c.artifact_id)
    .join(_user, _user.c.user_id == _version.c.user_id)
    .outerjoin(_thread, _thread.c.thread_id == _version.c.thread_id)
    .outerjoin(_message, and_(_message.c.message_id == _thread.c.message_id, _message.c.deleted_at.is_(None)))
    .order_by(_version.c.artifact_id, _version.c.version)
)
_other = _version.alias("other")
_other_thread, _other_message = _thread.alias("other_thread"), _message.alias("other_message")
_newest = (
    select(func.max(_other.c.version))
    .where(_other.c.artifact_id == _artifact.c.artifact_id, _other.c.status == "kept")
    .correlate(_artifact)
)
_newest_shared = (
    _newest.outerjoin(_other_thread, _other_thread.c.thread_id == _other.c.thread_id)
    .outerjoin(_other_message, _other_message.c.message_id == _other_thread.c.message_id)
    .where(
        or_(
            and_(_other.c.thread_id.is_(None), _other.c.by_hand),
            and_(
                _other_message.c.deleted_at.is_(None),
                _other_message.c.conversation_id != func.coalesce(bindparam("conversation"), ""),
            ),
        )
    )
)
_of_session = _rows.where(_artifact.c.session_id == bindparam("session"))
_OF_SESSION = _of_session.add_columns(_artifact.c.created_at).where(_version.c.version == _newest.scalar_subquery())
_SHARED = _of_session.where(_version.c.version == _newest_shared.scalar_subquery())
_OF_ARTIFACT = _rows.where(_version.c.artifact_id == bindparam("artifact"), _version.c.status != "dropped")
_OF_ARTIFACTS = (
    _rows.add_columns(_session.c.user_id)
    .join(_session, _session.c.session_id == _artifact.c.session_id)
    .where(_version.c.artifact_id.in_(bindparam("artifacts", expanding=True)), _session.c.status != "deleted")
)
_is_it = (_version.c.artifact_id == bindparam("artifact"), _version.c.version == bindparam("version"))
_CONTENT = select(_version.c.content).where(*_is_it)
_BY_HAND = (
    select(
        _version.c.artifact_id,
        _version.c.version,
        _version.c.base_version,
        _version.c.thread_id,
        _version.c.created_at,
    )
    .where(
        _version.c.artifact_id.in_(bindparam("artifacts", expanding=True)),
        _version.c.by_hand,
        _version.c.status == "kept",
        _version.c.base_version.is_not(None),
        _version.c.thread_id.is_not(None),
    )
    .order_by(_version.c.version)
)
_is_there = _session.c.status != "deleted"
_OWNER = select(_session.c.user_id).where(_session.c.session_id == bindparam("session"), _is_there)
_OWNER_OF_ARTIFACT = (
    select(_session.c.user_id)
    .join(_artifact, _artifact.c.session_id == _session.c.session_id)
    .where(_artifact.c.artifact_id == bindparam("artifact"), _is_there)
)
_ANY = select(_artifact.c.artifact_id).where(_artifact.c.session_id == bindparam("session")).limit(1)
_MADE = select(_version.c.artifact_id).where(_version.c.thread_id == bindparam("thread")).limit(1)
