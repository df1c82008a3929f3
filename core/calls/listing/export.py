"""The call log as a file: CSV for spreadsheets, JSONL for programs, Parquet for analysis.

Calls are read in pages, newest first, so that neither memory nor a transaction grows with their number; a call that
begins meanwhile is left out. Invariant: a file is there only when it is whole, and ``activity`` says who made it.
"""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Protocol, get_args
from zoneinfo import ZoneInfo

import pyarrow as pa
import pyarrow.parquet as pq
from sqlalchemy import Boolean, Column, Float, Integer, Label, Select, and_, bindparam, case, select
from sqlalchemy.types import TypeEngine

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.listing.orders import Order, Place
from core.calls.listing.paging import IS_NEWEST, find_places
from core.calls.listing.queries import parse_part
from core.database import Database, table_of
from core.errors import BadInputError
from core.history.activity import record
from core.history.sessions import is_there
from core.tables import CostCorrection, JsonText, LlmCall, LlmCallBody, Session, User, UtcTime, canonical_json

Kind = Literal["csv", "jsonl", "parquet"]
Row = dict[str, Any]

EXPORT_CALLS = "call.export"
BATCH = 2_000
BATCH_WITH_BODIES = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_LLM_CALL = table_of(LlmCall)
_CALL = _LLM_CALL.c
_FIX = table_of(CostCorrection)
_BODY = table_of(LlmCallBody)
_BODY_NAMES = ("prompt", "response", "tools")
_USER = table_of(User).c
_SESSION = table_of(Session).c
_COST = case((_FIX.c.call_id.is_not(None), _FIX.c.cost_usd), else_=_CALL.cost_usd).label("corrected_cost_usd")


class _Write(Protocol):
    def __call__(self, rows: list[Row], /) -> None: ...


def export_calls(
    viewer: Viewer,
    database: Database,
    wanted: CallFilter,
    tz: ZoneInfo,
    *,
    kind: Kind = "csv",
    path: Path,
    with_bodies: bool = False,
    progress: Callable[[int], None] | None = None,
) -> int:
    """Write the calls that are wanted into a file, and say how many they are.

    Columns are those of llm_call, ``user_name``, ``session_title``, ``corrected_cost_usd`` (by the newest
    correction, else ``cost_usd``) and, if asked for, ``prompt``, ``response`` and ``tools`` as JSON. ``progress``
    is told how many are written, now and then; when it raises, no file is left.
    """
    if kind not in get_args(Kind):
        raise BadInputError(f"Calls cannot be exported as {kind!r:.40}; {' or '.join(get_args(Kind))} will do.")
    if not path.parent.is_dir():
        raise BadInputError(f"There is no folder {path.parent} to write the export to; please choose another.")
    with _whole_file(path) as part:
        told = _Told(wanted, kind)
        with _WRITERS[kind](part, _columns(with_bodies=with_bodies)) as write:
            for rows in _read(viewer, database, wanted, tz, with_bodies=with_bodies):
                write(rows)
                told.count(viewer, rows)
                if progress is not None:
                    progress(told.calls)
        database.write(lambda db: record(db, viewer, EXPORT_CALLS, detail=told.detail()))
    return told.calls


@dataclass
class _Told:
    """What the activity says of an export."""

    wanted: CallFilter
    kind: str
    calls: int = 0
    bodies: int = 0
    bodies_of_others: int = 0

    def count(self, viewer: Viewer, rows: list[Row]) -> None:
        bodies = [row for row in rows if any(row.get(name) is not None for name in _BODY_NAMES)]
        self.calls += len(rows)
        self.bodies += len(bodies)
        self.bodies_of_others += sum(row["user_id"] != viewer.user_id for row in bodies)

    def detail(self) -> Row:
        counts = {"calls": self.calls, "bodies": self.bodies, "bodies_of_others": self.bodies_of_others}
        # What was searched for are somebody's words: that there was a search is all that is kept of it.
        wanted: Row = {**self.wanted.to_query(), **({"text": True} if self.wanted.text else {})}
        return {"kind": self.kind, "filter": wanted, **counts}


@contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A file beside the wanted one, that takes its place when all went well, and else is deleted."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _read(
    viewer: Viewer, database: Database, wanted: CallFilter, tz: ZoneInfo, *, with_bodies: bool
) -> Iterator[list[Row]]:
    order = Order("text") if wanted.text.strip() else Order()
    size = BATCH_WITH_BODIES if with_bodies else BATCH
    after: Place | None = None
    while True:
        with database.read() as db:
            places = find_places(viewer, db, wanted, tz, order, after=after, limit=size)
            ids = [place.call_id for place in places]
            found = db.connection().execute(_ROWS[with_bodies], {"ids": ids}) if ids else ()
            rows = {row.call_id: dict(row._mapping) for row in found}
        if rows:
            yield [rows[call_id] for call_id in ids if call_id in rows]
        if len(places) < size:
            return
        after = places[-1]


def _columns(*, with_bodies: bool) -> list[Column[Any] | Label[Any]]:
    more = [_BODY.c[name] for name in _BODY_NAMES] if with_bodies else []
    return [*_CALL, _USER.name.label("user_name"), _SESSION.title.label("session_title"), _COST, *more]


def _prepared(*, with_bodies: bool) -> Select[Any]:
    source = (
        _LLM_CALL.outerjoin(table_of(User), _USER.user_id == _CALL.user_id)
        .outerjoin(table_of(Session), and_(_SESSION.session_id == _CALL.session_id, _SESSION.status != "deleted"))
        .outerjoin(_FIX, and_(_FIX.c.call_id == _CALL.call_id, IS_NEWEST))
    )
    if with_bodies:
        source = source.outerjoin(_BODY, and_(_BODY.c.call_id == _CALL.call_id, is_there(_CALL.session_id)))
    wanted = _CALL.call_id.in_(bindparam("ids", expanding=True))
    return select(*_columns(with_bodies=with_bodies)).select_from(source).where(wanted)


# -- the three kinds ------------------------------------------------------------------------------------


@contextmanager
def _csv(path: Path, columns: Sequence[Any]) -> Iterator[_Write]:
    """By Excel's conventions: a byte order mark, so that it reads UTF-8, and CRLF."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file, lineterminator="\r\n")
        writer.writerow([column.name for column in columns])
        yield lambda rows: writer.writerows([_to_cell(value) for value in row.values()] for row in rows)


def _to_cell(value: Any) -> Any:
    """The value as a spreadsheet takes it: text that it would run as a formula is marked as text."""
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    if isinstance(value, datetime):
        return _to_iso(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return canonical_json(value) if isinstance(value, (dict, list)) else value


@contextmanager
def _jsonl(path: Path, columns: Sequence[Any]) -> Iterator[_Write]:  # noqa: ARG001 - a row names its columns
    with path.open("w", encoding="utf-8", newline="\n") as file:
        yield lambda rows: file.writelines(_to_line(row) for row in rows)


def _to_line(row: Row) -> str:
    bodies = {name: parse_part(row[name]) for name in _BODY_NAMES if name in row}
    return json.dumps(row | bodies, ensure_ascii=False, default=_to_iso) + "\n"


def _to_iso(value: datetime) -> str:
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


@contextmanager
def _parquet(path: Path, columns: Sequence[Any]) -> Iterator[_Write]:
    schema = pa.schema([(column.name, _to_arrow(column.type)) for column in columns])
    as_json = [column.name for column in columns if isinstance(column.type, JsonText)]
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield lambda rows: writer.write_table(
            pa.Table.from_pylist(
                [row | {name: canonical_json(row[name]) for name in as_json} for row in rows], schema
            )
        )


def _to_arrow(kind: TypeEngine[Any]) -> pa.DataType:
    known = {UtcTime: pa.timestamp("us", "UTC"), Boolean: pa.bool_(), Integer: pa.int64(), Float: pa.float64()}
    return next((arrow for ours, arrow in known.items() if isinstance(kind, ours)), pa.string())


_WRITERS: dict[str, Callable[[Path, Sequence[Any]], AbstractContextManager[_Write]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
}
_ROWS = {with_bodies: _prepared(with_bodies=with_bodies) for with_bodies in (False, True)}
