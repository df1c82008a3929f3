"""Artifacts: the work products of a session, in versions; what the session's conversations share.

Which versions a thread *has* is said by its state alone (``task_plan_id``, ``result_artifact_ids``), so a fork has
what its source checkpoint named, and later versions of another branch never appear in it. What a run writes is
pending until the run is over; then it is kept if the thread's state names it, else dropped: so the two stores
agree, wherever a run was cut short. A version by hand belongs to the thread it was made after, and to what goes on.

Invariant: what a version holds never changes, and its number is given once.
"""

import hashlib
from collections.abc import Collection

from sqlalchemy import and_, bindparam, func, insert, or_, select, update
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, table_of
from core.errors import BadInputError, ConflictError, ForbiddenError, NotFoundError
from core.history.activity import record
from core.history.artifact_content import check_content, clean_name
from core.history.artifact_refs import Ref, find_named, parse_ref
from core.history.artifact_rows import (
    ArtifactRow,
    VersionRow,
    find_shared,
    get_version,
    has_artifacts,
    has_made_artifacts,
    list_artifacts,
    list_named,
    list_versions,
    not_found,
    read_content,
    resolve,
    resolve_all,
)
from core.ids import ArtifactId, SessionId, ThreadId, new_artifact_id
from core.outside import hide_known_in
from core.tables import Artifact, ArtifactVersion, Conversation, Message, Session, Thread, utc_now

__all__ = [
    "ArtifactRow",
    "Ref",
    "VersionRow",
    "download",
    "find_named",
    "find_shared",
    "get_version",
    "has_artifacts",
    "has_made_artifacts",
    "list_artifacts",
    "list_named",
    "list_versions",
    "parse_ref",
    "read_content",
    "resolve",
    "resolve_all",
    "settle_versions",
    "write_version",
]

_artifact, _version, _session = table_of(Artifact), table_of(ArtifactVersion), table_of(Session)
_thread, _message, _conversation = table_of(Thread), table_of(Message), table_of(Conversation)


def write_version(
    viewer: Viewer,
    db: Db,
    *,
    session_id: SessionId,
    kind: str,
    name: str,
    content: bytes,
    media_type: str,
    artifact_id: ArtifactId | None = None,
    base_version: int | None = None,
    thread_id: ThreadId | None = None,
    by_hand: bool = False,
) -> Ref:
    """Write a new artifact, or the next version of one, whose kind and name stay as they are.

    A run's version (``thread_id`` without ``by_hand``) is pending; any other counts as by hand and is kept at once.
    ConflictError when somebody else has made a version by hand from the same one after the same thread.
    """
    _require_own_session(viewer, db, session_id)
    content = hide_known_in(content)
    check_content(kind, content, media_type)
    if thread_id is not None:
        _require_thread(db, session_id, thread_id)
    if artifact_id is None:
        artifact_id = _create(db, session_id, kind, clean_name(name), base_version)
    else:
        _hold(db, artifact_id, session_id, kind)
    is_manual = by_hand or thread_id is None
    if base_version is not None:
        _check_base(db, Ref(artifact_id, base_version), thread_id, by_hand=is_manual)
    ref = Ref(artifact_id, db.connection().execute(_NEXT, {"artifact": artifact_id}).scalar_one())
    row = {
        "artifact_id": artifact_id,
        "version": ref.version,
        "base_version": base_version,
        "thread_id": thread_id,
        "user_id": viewer.user_id,
        "by_hand": is_manual,
        "status": "kept" if is_manual else "pending",
        "media_type": media_type,
        "content": content,
        "size": len(content),
        "hash": hashlib.sha256(content).hexdigest(),
        "created_at": utc_now(),
    }
    db.connection().execute(_INSERT_VERSION, row)
    if is_manual:
        record(db, viewer, "artifact.write", target_id=artifact_id, session_id=session_id, detail={"ref": str(ref)})
    return ref


def download(viewer: Viewer, database: Database, ref: Ref) -> bytes:
    """The bytes of a version for a file of the viewer's own, who is recorded."""
    with database.read() as db:
        artifact, content = get_version(viewer, db, ref), read_content(viewer, db, ref)
    target, session, detail = ref.artifact_id, artifact.session_id, {"version": ref.version}
    database.write(
        lambda db: record(db, viewer, "artifact.download", target_id=target, session_id=session, detail=detail)
    )
    return content


def settle_versions(db: Db, thread_id: ThreadId, named: Collection[Ref]) -> None:
    """Keep what a run that is over has written and its state names, and drop the rest; a second time is a no-op.

    What a version that is named was made from was named before it, by an earlier checkpoint, and is kept as well.
    What its state names and another run of the session had dropped (the fork of an earlier checkpoint) is kept too.
    """
    connection = db.connection()
    rows = connection.execute(_PENDING, {"thread": thread_id}).all()
    bases = {Ref(row[0], row[1]): Ref(row[0], row[2]) for row in rows}
    kept = set(named)
    while more := {bases[ref] for ref in kept if ref in bases} & set(bases) - kept:
        kept |= more
    for status, refs in (("kept", kept), ("dropped", set(bases) - kept)):
        given = [{"thread": thread_id, "artifact": ref.artifact_id, "number": ref.version} for ref in sorted(refs)]
        if given:
            connection.execute(_SETTLE[status], given)


def _create(db: Db, session_id: SessionId, kind: str, name: str, base_version: int | None) -> ArtifactId:
    if base_version is not None:
        raise BadInputError("A new artifact has no version before it; name the artifact that it is a version of.")
    artifact_id = new_artifact_id()
    row = {"artifact_id": artifact_id, "session_id": session_id, "kind": kind, "name": name}
    db.connection().execute(_INSERT, row | {"created_at": utc_now()})
    return artifact_id


def _hold(db: Db, artifact_id: ArtifactId, session_id: SessionId, kind: str) -> None:
    """Let others who write a version of it wait, so that each gets its own number; SQLite has one writer anyway."""
    row = db.connection().execute(_HOLD, {"artifact": artifact_id}).first()
    if row is None or row.session_id != session_id:
        raise not_found()
    if row.kind != kind:
        raise BadInputError(f"This artifact is a {row.kind}, not a {kind}; make a new one instead.")


def _check_base(db: Db, base: Ref, thread_id: ThreadId | None, *, by_hand: bool) -> None:
    given = {"artifact": base.artifact_id, "version": base.version, "thread": thread_id}
    if db.connection().execute(_BASE, given).first() is None:
        raise not_found()
    newer = db.connection().execute(_NEWER, given).scalar() if by_hand else None
    if newer is not None:
        raise ConflictError(
            f"Meanwhile version {newer} was made from version {base.version}; please look at that one first."
        )


def _require_own_session(viewer: Viewer, db: Db, session_id: SessionId) -> None:
    owner_id = db.connection().execute(_OWNER, {"session": session_id}).scalar()
    if owner_id is None or not viewer.may_read(owner_id):
        raise NotFoundError("There is no such session here; the link may be wrong.")
    if not viewer.may_change(owner_id):
        raise ForbiddenError("This session is somebody else's; you can read its artifacts, but not change them.")


def _require_thread(db: Db, session_id: SessionId, thread_id: ThreadId) -> None:
    if db.connection().execute(_SESSION_OF_THREAD, {"thread": thread_id}).scalar() != session_id:
        raise NotFoundError("There is no such run in this session; it may have been deleted, or the link is wrong.")


_INSERT, _INSERT_VERSION = insert(_artifact), insert(_version)
_is_it = (_version.c.artifact_id == bindparam("artifact"), _version.c.version == bindparam("version"))
_BASE = select(_version.c.version).where(*_is_it)
_NEXT = select(func.coalesce(func.max(_version.c.version), 0) + 1).where(
    _version.c.artifact_id == bindparam("artifact")
)
_NEWER = select(func.max(_version.c.version)).where(
    _version.c.artifact_id == bindparam("artifact"),
    _version.c.base_version == bindparam("version"),
    _version.c.thread_id.is_not_distinct_from(bindparam("thread")),
    _version.c.by_hand,
    _version.c.status == "kept",
)
_PENDING = select(_version.c.artifact_id, _version.c.version, _version.c.base_version).where(
    _version.c.thread_id == bindparam("thread"), _version.c.status == "pending"
)
_in_the_same_session = _version.c.artifact_id.in_(
    select(_artifact.c.artifact_id)
    .join(_conversation, _conversation.c.session_id == _artifact.c.session_id)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_thread.c.thread_id == bindparam("thread"))
)
_to_settle = update(_version).where(
    _version.c.artifact_id == bindparam("artifact"), _version.c.version == bindparam("number")
)
_own_pending = and_(_version.c.status == "pending", _version.c.thread_id == bindparam("thread"))
_SETTLE = {
    "kept": _to_settle.where(or_(_own_pending, and_(_version.c.status == "dropped", _in_the_same_session))).values(
        status="kept"
    ),
    "dropped": _to_settle.where(_own_pending).values(status="dropped"),
}
_HOLD = (
    select(_artifact.c.session_id, _artifact.c.kind)
    .where(_artifact.c.artifact_id == bindparam("artifact"))
    .with_for_update()
)
# Locked until the caller has committed, so that nothing is written in what is just being deleted.
_OWNER = (
    select(_session.c.user_id)
    .where(_session.c.session_id == bindparam("session"), _session.c.status != "deleted")
    .with_for_update(read=True)
)
_SESSION_OF_THREAD = (
    select(_conversation.c.session_id)
    .join(_message, _message.c.conversation_id == _conversation.c.conversation_id)
    .join(_thread, _thread.c.message_id == _message.c.message_id)
    .where(_thread.c.thread_id == bindparam("thread"))
)
