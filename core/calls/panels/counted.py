"""Sums, histograms and values of the calls that a filter means, read from their parts and put together.

Invariant: whatever parts the calls are read from, the result is the same as from the calls alone.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import pandas as pd
from sqlalchemy import BigInteger, Float, Select, cast, desc, func, literal_column, select
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import Session as Db

from core.calls.panels.histograms import NO_COUNTS, Counts, add, count_by, merge_by
from core.calls.panels.parts import OWNERS, Look, Part, in_pieces, parts_of

_TIMES = {"durations": "duration_ms", "ttfts": "ttft_ms"}


class Times(NamedTuple):
    """Histograms of how long calls, and their first tokens, took."""

    durations: Counts
    ttfts: Counts


def read_sums(db: Db, look: Look, *, by: Sequence[str], sums: Sequence[str]) -> pd.DataFrame:
    """A row for each combination of ``by`` that occurs, with these sums; ``by`` are columns that rollups have."""
    frames = [_frame(db, _grouped(part, by, sums), [*by, *sums]) for part in parts_of(db, look, by)]
    return added_up(frames, by, sums)


def read_largest(db: Db, look: Look, *, by: str, sums: Sequence[str], limit: int) -> pd.DataFrame:
    """The rows of ``read_sums`` by one column that cost most, then have most calls; at most ``limit``."""
    names, parts = [by, *sums], parts_of(db, look, (by,))
    rollups = parts if len(parts) == 1 else [part for part in parts if part.is_rollup]
    frames = [_frame(db, _grouped(part, (by,), sums), names) for part in parts if part not in rollups]
    at_edges = {key for frame in frames for key in frame[by]}
    for part in rollups:
        first = _grouped(part, (by,), sums).order_by(desc("cost_usd"), desc("calls"), by).limit(limit)
        frames.append(_frame(db, first, names))
        for keys in in_pieces(sorted(at_edges - {*frames[-1][by]})):
            these = replace(part, where=[*part.where, part.columns[by].in_(keys)])
            frames.append(_frame(db, _grouped(these, (by,), sums), names))
    found = added_up(frames, (by,), sums).sort_values(["cost_usd", "calls", by], ascending=[False, False, True])
    return found.head(limit).reset_index(drop=True)


def read_occurring(db: Db, look: Look, by: Sequence[str]) -> pd.DataFrame:
    """The combinations of these columns that occur, some perhaps twice."""
    parts = parts_of(db, look, by)
    frames = [
        _frame(db, select(*[part.columns[name] for name in by]).where(*part.where).distinct(), by) for part in parts
    ]
    return pd.concat(frames, ignore_index=True)


def read_times(db: Db, look: Look) -> dict[str, Times]:
    """For each model the histograms of how long its calls took.

    Three panels of a page need them, so that a session, which reads one consistent view, reads them once.
    """
    key = (look.viewer, look.wanted, look.tz.key, None if look.call_ids is None else tuple(look.call_ids))
    kept = db.info.setdefault("times of calls", {})
    if key not in kept:
        kept[key] = _read_times(db, look)
    found: dict[str, Times] = kept[key]
    return found


def _read_times(db: Db, look: Look) -> dict[str, Times]:
    found: dict[str, Times] = {}
    for part in parts_of(db, look):
        models, *columns = _fetch_columns(db, _times(part), 3)
        read = merge_by if part.is_rollup else count_by
        durations, ttfts = (read(models, column) for column in columns)
        for model in durations:
            have = found.get(model, Times(NO_COUNTS, NO_COUNTS))
            found[model] = Times(add(have.durations, durations[model]), add(have.ttfts, ttfts[model]))
    return found


def _times(part: Part) -> Select[Any]:
    names = _TIMES.keys() if part.is_rollup else _TIMES.values()
    return select(part.columns["model"], *[part.columns[name] for name in names]).where(*part.where)


def added_up(frames: Sequence[pd.DataFrame], by: Sequence[str], sums: Sequence[str]) -> pd.DataFrame:
    """The frames' rows together, those of equal ``by`` as one."""
    frames = [frame for frame in frames if len(frame)] or list(frames[:1])
    if not frames:
        return pd.DataFrame(columns=[*by, *sums])
    if len(frames) == 1:
        return frames[0]
    together = pd.concat(frames, ignore_index=True)
    if by:
        return together.groupby([*by], as_index=False, sort=False)[[*sums]].sum()
    return together.sum().to_frame().T


def _grouped(part: Part, by: Sequence[str], sums: Sequence[str]) -> Select[Any]:
    if part.has_owners and by and {*by} <= OWNERS:
        return _grouped_by_owner(part, by, sums)
    keys = [part.columns[name].label(name) for name in by]
    places: list[ColumnElement[int]] = [literal_column(str(place)) for place in range(1, len(keys) + 1)]
    return select(*keys, *[part.sums[name].label(name) for name in sums]).where(*part.where).group_by(*places)


def _grouped_by_owner(part: Part, by: Sequence[str], sums: Sequence[str]) -> Select[Any]:
    """First in the order in which the rows are stored, which needs no sorting; those sums are far fewer."""
    order = [part.table.c[name] for name in ("day", "session_id", "user_id")]
    inner = select(*order, *[part.sums[name].label(name) for name in sums]).where(*part.where).group_by(*order)
    each = inner.subquery()
    added = [cast(func.sum(each.c[name]), Float if name == "cost_usd" else BigInteger).label(name) for name in sums]
    keys = [each.c[name] for name in by]
    return select(*keys, *added).group_by(*keys)


def _frame(db: Db, query: Select[Any], names: Sequence[str]) -> pd.DataFrame:
    """The rows found; a sum of none is 0."""
    columns = _fetch_columns(db, query, len(names))
    if columns and len(columns[0]) == 1:
        columns = [[0 if value is None else value for value in column] for column in columns]
    return pd.DataFrame(dict(zip(names, columns, strict=True)))


def _fetch_columns(db: Db, query: Select[Any], count: int) -> list[list[Any]]:
    """The columns of all rows, as the driver gives them; to keep 70,000 row objects would cost twice the query."""
    columns: list[list[Any]] = [[] for _ in range(count)]
    result = db.connection().execute(query)
    while some := result.cursor.fetchmany(500):
        for column, values in zip(columns, zip(*some, strict=True), strict=True):
            column.extend(values)
    result.close()
    return columns
