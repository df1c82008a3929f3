# ruff: noqa: S608 - the SQL here is put together from constants only
"""The list of a file's threads: newest first where there are not too many, else by their ids; always a page.

Only texts are ids of threads: what else stands there in a made-up file is passed over. Invariant: the list is made
by steps through the file's index, so that its time grows with the threads, never with what they hold.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from core.checkpoints.foreign.branches import count_branches
from core.checkpoints.foreign.cells import cut, metadata_of, word
from core.checkpoints.foreign.reading import Foreign
from core.checkpoints.foreign.told import Said, find_messages
from core.checkpoints.foreign.unpacking import Bounds
from core.checkpoints.foreign.values import load
from core.checkpoints.inspect import time_of, to_checkpoint

MOST_SORTED = 20_000
_MOST_LOOKED_AT = 100_000
_MOST_STEPS, _MOST_WRITES, _LARGEST_LOOKED_INTO = 2_000, 5_000, 1_000_000


@dataclass(frozen=True, slots=True)
class ThreadLine:
    """A thread in a line; of a very long one ``is_partial`` says that only its first 2,000 checkpoints count.

    ``messages`` counts those of its newest state, None where a line cannot tell; ``words`` are the first that a
    person said; ``size_bytes`` is of checkpoints and writes together.
    """

    thread_id: str
    checkpoints: int
    subgraphs: int
    branches: int
    first_at: datetime | None
    last_at: datetime | None
    size_bytes: int
    messages: int | None
    words: str
    is_partial: bool = False


@dataclass(frozen=True, slots=True)
class ThreadPage:
    """Some of the threads; ``next`` is what to give as ``after`` for those behind, None at the end.

    ``known`` is how many threads there are in all, or were found: None where that would take too long.
    """

    lines: list[ThreadLine]
    next: str | None
    order: Literal["newest", "id"]
    known: int | None


def list_threads(foreign: Foreign, *, after: str | None = None, limit: int = 50, search: str = "") -> ThreadPage:
    """The threads whose id holds ``search``, in any case, a page of them."""
    found: list[str] = []
    for looked, thread_id in enumerate(_ids(foreign, None)):
        if search.lower() in thread_id.lower():
            found.append(thread_id)
        if looked > _MOST_LOOKED_AT or len(found) > MOST_SORTED:
            return _by_id(foreign, after=after, limit=limit, search=search)
    newest = {thread_id: _newest(foreign, thread_id) for thread_id in found}
    found.sort(key=lambda one: (newest[one], one), reverse=True)
    start = found.index(after) + 1 if after in newest else 0
    page = found[start : start + limit]
    more = page[-1] if start + limit < len(found) else None
    return ThreadPage(_lines(foreign, page), more, "newest", len(found))


def _by_id(foreign: Foreign, *, after: str | None, limit: int, search: str) -> ThreadPage:
    page: list[str] = []
    for looked, thread_id in enumerate(_ids(foreign, after)):
        if search.lower() in thread_id.lower():
            page.append(thread_id)
        if len(page) == limit or looked == _MOST_LOOKED_AT:
            return ThreadPage(_lines(foreign, page), thread_id, "id", None)
    return ThreadPage(_lines(foreign, page), None, "id", None)


def _ids(foreign: Foreign, after: str | None) -> Iterator[str]:
    """The ids of threads in order, each by one step through the index."""
    last: str | bytes | None = after
    while True:
        # All texts are below all blobs, and numbers and NULL below all texts.
        beyond = "thread_id > CAST(:last AS TEXT)" if last is not None else "thread_id >= ''"
        rows = foreign.rows(
            f"SELECT CAST(thread_id AS BLOB) FROM checkpoints WHERE {beyond} AND thread_id < x'' "
            f"AND length(thread_id) <= 1000 ORDER BY thread_id LIMIT 1",
            **({"last": last} if last is not None else {}),
        )
        if not rows:
            return
        # As bytes, for a text that is none could not be gone on from.
        last = bytes(rows[0][0])
        yield last.decode("utf-8", "replace")


def _newest(foreign: Foreign, thread_id: str) -> str:
    [(newest,)] = foreign.rows(
        f"SELECT max({foreign.schema.checkpoint_id}) FROM checkpoints WHERE {foreign.at}", thread=thread_id, ns=""
    )
    return word(newest)


def _lines(foreign: Foreign, thread_ids: list[str]) -> list[ThreadLine]:
    bounds = Bounds(values=200_000, text=2_000)
    return [_to_line(foreign, thread_id, bounds) for thread_id in thread_ids]


def read_line(foreign: Foreign, thread_id: str) -> ThreadLine:
    """The line of one thread."""
    return _lines(foreign, [thread_id])[0]


def _to_line(foreign: Foreign, thread_id: str, bounds: Bounds) -> ThreadLine:
    schema = foreign.schema
    rows = foreign.rows(
        f"SELECT {cut(schema.ns)}, {cut(schema.checkpoint_id)}, {cut(schema.parent)}, length(checkpoint) "
        "FROM checkpoints WHERE thread_id = CAST(:thread AS TEXT) "
        f"ORDER BY {schema.ns}, {schema.checkpoint_id} LIMIT {_MOST_STEPS + 1}",
        thread=thread_id,
    )
    own = [(word(row[1]), word(row[2]) or None) for row in rows if row[0] == ""]
    first, last = (own[0][0], _newest(foreign, thread_id)) if own else ("", "")
    end = _messages(foreign, thread_id, last, bounds) if last else []
    begin = _messages(foreign, thread_id, first, bounds) if first and not _first_words(end or []) else end
    return ThreadLine(
        thread_id,
        min(len(rows), _MOST_STEPS),
        len({word(row[0]) for row in rows} - {""}),
        count_branches(own),
        moment_of(first),
        moment_of(last),
        sum(row[3] for row in rows if isinstance(row[3], int)) + _written(foreign, thread_id),
        None if end is None or bounds.spent else len(end),
        _first_words(begin or []),
        len(rows) > _MOST_STEPS,
    )


def _written(foreign: Foreign, thread_id: str) -> int:
    """The size of what was written beside the checkpoints."""
    if not foreign.schema.has_writes:
        return 0
    [(size,)] = foreign.rows(
        "SELECT sum(size) FROM (SELECT length(value) AS size FROM writes "
        f"WHERE thread_id = CAST(:thread AS TEXT) LIMIT {_MOST_WRITES})",
        thread=thread_id,
    )
    return int(size or 0)


def _messages(foreign: Foreign, thread_id: str, checkpoint_id: str, bounds: Bounds) -> list[Said] | None:
    """The messages that a checkpoint holds; None when it is too large for that, or they are not in it itself."""
    rows: list[Any] = foreign.rows(
        f"SELECT {cut(foreign.schema.kind)}, checkpoint, {foreign.schema.metadata} FROM checkpoints "
        f"WHERE {foreign.at} "
        f"AND {foreign.schema.checkpoint_id} = CAST(:id AS TEXT) AND length(checkpoint) <= {_LARGEST_LOOKED_INTO}",
        thread=thread_id,
        ns="",
        id=checkpoint_id,
    )
    stored = load(rows[0][0], rows[0][1], bounds) if rows else None
    if not isinstance(stored, dict) or not isinstance(values := stored.get("channel_values"), dict):
        return None
    said = find_messages(values)
    line = to_checkpoint("", checkpoint_id, None, metadata=metadata_of(rows[0][2]), size_bytes=0)
    is_whole = all(name in values for name in line.deltas)
    return said if is_whole or said else None


def _first_words(said: list[Said]) -> str:
    found = next((one.text for one in said if one.role == "user" and one.text.strip()), "")
    return " ".join(found[:400].split())


def moment_of(checkpoint_id: str) -> datetime | None:
    """When a checkpoint was made, as its id tells: in early files the id is a time itself."""
    if (found := time_of(checkpoint_id)) is not None:
        return found
    try:
        moment = datetime.fromisoformat(checkpoint_id)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
