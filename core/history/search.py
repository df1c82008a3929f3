"""Full-text search in what people asked and what was answered.

A message waits in ``message_to_index`` when it is said, and again whenever its thread's status changes (triggers
see to that, whoever writes). ``index_messages`` takes those that wait: a question is indexed once, an answer when
its thread is over, for until then it grows. Which session it is, and whose, is indexed beside the words.

Invariant: a question, and the answer of a thread that is over, is indexed or waits: a message leaves the queue only
while its thread is held as it was read. Whatever the index says, a text is given only if its own rows say that it
is there for this viewer.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy import BindParameter, RowMapping, Select, bindparam, delete, exists, func, select
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.database import Database, in_parts, table_of
from core.history.waiting import do_all_or_each
from core.history.word_index import Entry, WordIndex, WordIndexes, facet, to_ms, words_of
from core.history.words import Marked, find_words, mark_words
from core.ids import ConversationId, MessageId, SessionId
from core.tables import Conversation, Message, MessageSearch, MessageToIndex, Session, Thread

_message, _conversation, _session = table_of(Message), table_of(Conversation), table_of(Session)
_thread, _search, _queue = table_of(Thread), table_of(MessageSearch), table_of(MessageToIndex)
_WORDS = WordIndexes("message_words", MessageSearch, lock=4_781_220_255)
_GOING_ON = ("queued", "running", "waiting")
_MOST_AT_ONCE = 30_000
# By more values than these the index is not narrowed.
_MOST_VALUES = 100


@dataclass(frozen=True)
class Hit:
    """A text that answers a query: the ``part`` ("question" or "answer") of a message; ``position`` orders them."""

    message_id: MessageId
    conversation_id: ConversationId
    session_id: SessionId
    part: str
    created_at: datetime
    position: int


# -- the index ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Taken:
    """A message as it was read: its texts, and whether its thread was over; None without a thread."""

    entries: list[Entry]
    is_over: bool | None


def index_messages(database: Database, most: int = 200) -> int:
    """Index what was said last of what waits, in one short transaction; of how many messages, 0 when none waits."""
    with database.read() as db:
        waiting = db.connection().execute(_WAITING, {"most": most}).scalars().all()
    return do_all_or_each(waiting, partial(_index, database)) if waiting else 0


def _index(database: Database, message_ids: Sequence[str]) -> int:
    with database.read() as db:
        taken = dict(_take(db, message_ids))
    return database.write(lambda db: _add(db, taken))


def remove_messages(db: Db, message_ids: Collection[str]) -> None:
    """Take messages out of the index, inside the caller's transaction; to be done before their rows are deleted."""
    for some in in_parts(message_ids):
        ids = {"messages": some}
        db.connection().execute(_UNQUEUE, ids)
        rows = db.connection().execute(_INDEXED, ids).mappings()
        _WORDS.of(db).remove(db, [(row["position"], _to_entry(row, row["part"])) for row in rows])


def index_of(db: Db) -> WordIndex:
    """The index itself, of this session's database."""
    return _WORDS.of(db)


def read_entries(db: Db, message_ids: Collection[str]) -> dict[tuple[str, ...], Entry]:
    """What should be in the index of these messages, by message and part."""
    rows = db.connection().execute(_TO_INDEX, {"messages": list(message_ids)}).mappings()
    return {entry.key: entry for row in rows for entry in _to_taken(row).entries}


def pending(viewer: Viewer, db: Db, most: int = 1000) -> int:
    """How many of the viewer's messages have a text that cannot be found yet; counted up to ``most``."""
    waiting = select(_queue.c.message_id).limit(most)
    if not viewer.reads_all:
        waiting = waiting.where(_is_there(_queue.c.message_id, viewer))
    return db.connection().execute(select(func.count()).select_from(waiting.subquery())).scalar_one()


def _take(db: Db, ids: Sequence[str]) -> Iterator[tuple[str, _Taken]]:
    """The first of these messages, as many as one transaction can take."""
    rows = {row["message_id"]: row for row in db.connection().execute(_TO_INDEX, {"messages": ids}).mappings()}
    size = 0
    for message_id in ids:
        # One that is gone by now is taken too, so that it waits no longer.
        taken = _to_taken(rows[message_id]) if message_id in rows else _Taken([], None)
        yield message_id, taken
        size += sum(len(entry.words) for entry in taken.entries)
        if size > _MOST_AT_ONCE:
            return


def _to_taken(row: RowMapping) -> _Taken:
    is_over = None if row["status"] is None else row["status"] not in _GOING_ON
    parts = ("question",) if is_over is False else ("question", "answer")
    return _Taken([_to_entry(row, part) for part in parts], is_over)


def _to_entry(row: RowMapping, part: str) -> Entry:
    facets = [facet(name, row[name]) for name in ("session_id", "user_id")]
    words = words_of([row["content"] if part == "question" else row["answer"]])
    return Entry((row["message_id"], part), to_ms(row["created_at"]), words, facets)


def _add(db: Db, taken: Mapping[str, _Taken]) -> int:
    """Index those that still wait, but for those whose thread is just being changed, or was: they wait on."""
    index, connection = _WORDS.of(db), db.connection()
    if not index.claim(db):
        return 0
    held = connection.execute(_HELD, {"messages": list(taken)})
    as_read = {message_id for message_id, status in held if (status not in _GOING_ON) == taken[message_id].is_over}
    as_read.update(message_id for message_id, one in taken.items() if one.is_over is None)
    mine = set(connection.execute(_UNQUEUE, {"messages": list(as_read)}).scalars())
    known = {tuple(row) for row in connection.execute(_KNOWN, {"messages": list(mine)})}
    index.add(db, [one for key in mine for one in taken[key].entries if one.key not in known])
    return len(mine)


# -- the search -----------------------------------------------------------------------------------------


def matching(
    viewer: Viewer,
    db: Db,
    query: str,
    *,
    session_ids: Collection[str] = (),
    user_ids: Collection[str] = (),
    before: int | None = None,
    limit: int = 50,
) -> list[Hit]:
    """The texts that answer the query and that the viewer may read, newest first.

    ``session_ids`` and ``user_ids`` (whose sessions) narrow it, empty ones do not. ``before``, the position of a
    hit, continues after it. BadInputError for an unusable query.
    """
    index = _WORDS.of(db)
    found = _found(viewer, db, query, session_ids, user_ids)
    found = found.where(_is_there(_search.c.message_id, viewer, session_ids, user_ids))
    if before is not None:
        found = found.where(index.position < before)
    return _read_hits(db, found.order_by(index.position.desc()).limit(limit))


def matching_sessions(
    viewer: Viewer, db: Db, query: str, *, user_ids: Collection[str] = (), most: int = 10_000
) -> Select[Any]:
    """The sessions of the newest ``most`` texts that answer the query, for ``session_id.in_(...)``."""
    position = _WORDS.of(db).position
    found = select(position.label("position")).where(_matches(viewer, db, query, (), user_ids))
    newest = found.order_by(position.desc()).limit(most).subquery()
    # Step by step, each thing once: PostgreSQL takes a join of so many rows for a reason to read whole tables.
    conversation_id = (
        select(_message.c.conversation_id)
        .join_from(_search, _message, _message.c.message_id == _search.c.message_id)
        .where(_search.c.position == newest.c.position, _message.c.deleted_at.is_(None))
        .scalar_subquery()
    )
    said_in = select(conversation_id.label("conversation_id")).select_from(newest).distinct().subquery()
    session_id = (
        select(_session.c.session_id)
        .join_from(_conversation, _session, _session.c.session_id == _conversation.c.session_id)
        .where(_conversation.c.conversation_id == said_in.c.conversation_id)
        .where(*_of_conversation(viewer, (), user_ids))
        .scalar_subquery()
    )
    sessions = select(session_id.label("session_id")).select_from(said_in).distinct().subquery()
    return select(sessions.c.session_id).where(sessions.c.session_id.is_not(None))


def newest_hits(viewer: Viewer, db: Db, query: str, session_ids: Collection[str]) -> dict[SessionId, Hit]:
    """For each of these sessions (a page of them) that has one, the newest text that answers the query."""
    found = _found(viewer, db, query, session_ids, ()).subquery()
    newest = (
        select(func.max(found.c.position))
        .select_from(_said.join(found, found.c.message_id == _message.c.message_id))
        .where(*_conditions(viewer, session_ids, ()))
        .group_by(_session.c.session_id)
    )
    places = db.connection().execute(newest).scalars().all()
    hits = _read_hits(db, select(*_search.c).where(_search.c.position.in_(places)))
    return {hit.session_id: hit for hit in hits}


def excerpts(
    viewer: Viewer, db: Db, query: str, hits: Sequence[Hit], *, around: int = 60
) -> dict[tuple[MessageId, str], Marked]:
    """By message and part, the place in each text that answers the query, with the found words in it marked."""
    found: dict[tuple[MessageId, str], Marked] = {}
    for some in in_parts(dict.fromkeys(hit.message_id for hit in hits)):
        texts = _TEXTS.where(_message.c.message_id.in_(some), *_conditions(viewer, (), ()))
        rows = {row["message_id"]: row for row in db.connection().execute(texts).mappings()}
        for hit in hits:
            if hit.message_id in rows:
                said = rows[hit.message_id]["content" if hit.part == "question" else "answer"]
                found[hit.message_id, hit.part] = mark_words(said, query, around=around)
    return found


def _found(
    viewer: Viewer, db: Db, query: str, session_ids: Collection[str], user_ids: Collection[str]
) -> Select[Any]:
    """What the index knows of the query, as rows of ``message_search``."""
    index = _WORDS.of(db)
    found = select(*_search.c).join_from(index.words, _search, _search.c.position == index.position)
    return found.where(_matches(viewer, db, query, session_ids, user_ids))


def _matches(
    viewer: Viewer, db: Db, query: str, session_ids: Collection[str], user_ids: Collection[str]
) -> ColumnElement[bool]:
    """The query for the index, narrowed there as far as it can be."""
    # Whose it is must be said but once: PostgreSQL takes two such words for a reason to expect hardly any text.
    users = user_ids if viewer.reads_all else [viewer.user_id]
    facets = [
        [facet(name, value) for value in values]
        for name, values in (("session_id", session_ids), ("user_id", users))
        if 0 < len(values) <= _MOST_VALUES
    ]
    return _WORDS.of(db).match(find_words(query), facets)


def _is_there(
    message_id: ColumnElement[str],
    viewer: Viewer,
    session_ids: Collection[str] = (),
    user_ids: Collection[str] = (),
) -> ColumnElement[bool]:
    """That the message with this id is there for the viewer, and of one of these sessions and users."""
    conditions = _conditions(viewer, session_ids, user_ids)
    return exists(select(1).select_from(_said).where(_message.c.message_id == message_id, *conditions))


def _conditions(
    viewer: Viewer, session_ids: Collection[str], user_ids: Collection[str]
) -> list[ColumnElement[bool]]:
    return [_message.c.deleted_at.is_(None), *_of_conversation(viewer, session_ids, user_ids)]


def _of_conversation(
    viewer: Viewer, session_ids: Collection[str], user_ids: Collection[str]
) -> list[ColumnElement[bool]]:
    found = [_conversation.c.deleted_at.is_(None), _session.c.status != "deleted"]
    for column, values in ((_session.c.session_id, session_ids), (_session.c.user_id, user_ids)):
        found += [column.in_(values)] if values else []
    return found if viewer.reads_all else [*found, _session.c.user_id == viewer.user_id]


def _read_hits(db: Db, found: Select[Any]) -> list[Hit]:
    places = found.subquery()
    hits = (
        select(
            _message.c.message_id,
            _message.c.conversation_id,
            _session.c.session_id,
            places.c.part,
            _message.c.created_at,
            places.c.position,
        )
        .select_from(_said.join(places, places.c.message_id == _message.c.message_id))
        .order_by(places.c.position.desc())
    )
    return [Hit(**row) for row in db.connection().execute(hits).mappings()]


_said = _message.join(_conversation, _conversation.c.conversation_id == _message.c.conversation_id).join(
    _session, _session.c.session_id == _conversation.c.session_id
)
_MESSAGES: BindParameter[Any] = bindparam("messages", expanding=True)
_TEXTS = select(_message.c.message_id, _message.c.content, _message.c.answer).select_from(_said)
_READ = (
    *(_message.c[name] for name in ("message_id", "created_at", "content", "answer")),
    *(_session.c[name] for name in ("session_id", "user_id")),
)
# What was said last comes first, for it is looked for soonest; what waits from an update of Skein may take long.
_WAITING = select(_queue.c.message_id).order_by(_queue.c.message_id.desc()).limit(bindparam("most"))
_TO_INDEX = (
    select(*_READ, _thread.c.status)
    .select_from(_said.outerjoin(_thread, _thread.c.message_id == _message.c.message_id))
    .where(_message.c.message_id.in_(_MESSAGES))
)
# A thread that somebody is just changing is passed by: nobody shall wait for the index.
_HELD = (
    select(_thread.c.message_id, _thread.c.status)
    .where(_thread.c.message_id.in_(_MESSAGES))
    .with_for_update(read=True, skip_locked=True)
)
_UNQUEUE = delete(_queue).where(_queue.c.message_id.in_(_MESSAGES)).returning(_queue.c.message_id)
_KNOWN = select(_search.c.message_id, _search.c.part).where(_search.c.message_id.in_(_MESSAGES))
_INDEXED = (
    select(_search.c.position, _search.c.part, *_READ)
    .select_from(_said.join(_search, _search.c.message_id == _message.c.message_id))
    .where(_search.c.message_id.in_(_MESSAGES))
)
