"""The panels of the Calls page: what calls cost, how many failed, how long they took, and who made them.

Every function takes the viewer first, changes nothing, and gives small tables. Invariant: a panel counts exactly
the ended calls that the filter means and the viewer may see; times are percentiles by nearest rank, at most 2% off.
A filter's text is searched elsewhere: pass the ids of the calls that matched as ``call_ids``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from sqlalchemy import exists, func, or_, select
from sqlmodel import Session as Db

from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels.counted import Times, read_largest, read_occurring, read_sums, read_times
from core.calls.panels.histograms import NO_COUNTS, Counts, add, edge_of, percentile
from core.calls.panels.parts import FAILED, TOKENS, Look, in_pieces, parts_of
from core.calls.where import where_of
from core.database import table_of
from core.tables import CostCorrection, LlmCall, LogSeal, Session, User

Ids = Sequence[str] | None
Step = Literal["hour", "day"]
Which = Literal["duration", "ttft"]
TopBy = Literal["user", "session", "model", "node", "agent"]

_CALL, _FIX, _SEAL, _USER, _SESSION = (
    table_of(model).c for model in (LlmCall, CostCorrection, LogSeal, User, Session)
)
_UTC = ZoneInfo("UTC")
_SHARES = {"p50_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99}
_SERIES = ("calls", "errors", "cost_usd", "unpriced", "input_tokens", "output_tokens", "cache_read_tokens")
_TOP = ("calls", "errors", "cost_usd", "unpriced", "tokens")
_TOP_BY = {"user": "user_id", "session": "session_id", "model": "model", "node": "node", "agent": "agent_id"}
_NAMED = {"user": (_USER.user_id, _USER.name), "session": (_SESSION.session_id, _SESSION.title)}
_COUNTS = ("calls", "errors", "cancelled", "unpriced", "estimated", *TOKENS, "attributed", "cache_hits")
_MOST_BARS = 40


@dataclass(frozen=True)
class Totals:
    """Sums over the calls that ended, and how many still run; ``cost_usd`` leaves out the ``unpriced`` ones.

    ``cache_hits`` are answers from a cache, which are in none of the other figures.
    """

    calls: int
    errors: int
    cancelled: int
    cost_usd: float
    unpriced: int
    estimated: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    reasoning_tokens: int
    attributed: int
    cache_hits: int
    running: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    ttft_p50_ms: float | None
    ttft_p95_ms: float | None


@dataclass(frozen=True)
class Choices:
    """The values that the filters can be set to: those that occur in the window; ``users`` by id."""

    users: dict[str, str]
    agents: list[str]
    agent_keys: list[str]
    nodes: list[str]
    models: list[str]
    error_types: list[str]


def read_totals(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, *, call_ids: Ids = None) -> Totals:
    """The sums of everything, and the percentiles of how long calls and their first tokens took."""
    look = Look(viewer, wanted, tz, call_ids)
    sums = read_sums(db, look, by=(), sums=(*_COUNTS, "cost_usd")).iloc[0]
    times = _of_all(read_times(db, look))
    p50, p95, p99 = _percentiles(times.durations)
    ttft_p50, ttft_p95, _ = _percentiles(times.ttfts)
    return Totals(
        **{name: int(sums[name]) for name in _COUNTS},
        cost_usd=float(sums["cost_usd"]),
        running=_count_running(db, look),
        p50_ms=p50,
        p95_ms=p95,
        p99_ms=p99,
        ttft_p50_ms=ttft_p50,
        ttft_p95_ms=ttft_p95,
    )


def read_series(
    viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, step: Step = "day", *, call_ids: Ids = None
) -> pd.DataFrame:
    """Sums by model over time; ``at`` is when the hour or the day of the zone began.

    Columns: at, model, calls, errors, cost_usd, unpriced, input_tokens, output_tokens, cache_read_tokens.
    """
    found = read_sums(db, Look(viewer, wanted, tz, call_ids), by=("start", "model"), sums=_SERIES)
    found.insert(0, "at", _starts_of(found["start"], tz, step))
    together = found.groupby(["at", "model"], as_index=False)[[*_SERIES]].sum()
    return together.astype({"at": f"datetime64[s, {tz.key}]"})


def read_latency(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, *, call_ids: Ids = None) -> pd.DataFrame:
    """How long each model's calls took, and how long until the first token; most calls first.

    Columns: model, calls (those whose duration is known), p50_ms, p95_ms, p99_ms, ttft_p50_ms, and so on.
    """
    times = read_times(db, Look(viewer, wanted, tz, call_ids))
    names = ["model", "calls", *_SHARES, *[f"ttft_{name}" for name in _SHARES]]
    rows = [
        (model, int(durations.sum()), *_percentiles(durations), *_percentiles(ttfts))
        for model, (durations, ttfts) in times.items()
    ]
    found = pd.DataFrame(rows, columns=names)
    return found.sort_values(["calls", "model"], ascending=[False, True], ignore_index=True)


def read_histogram(
    viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, which: Which = "duration", *, call_ids: Ids = None
) -> pd.DataFrame:
    """How many calls took how long, in at most about 40 bars of equal ratio: from_ms, to_ms, calls."""
    times = _of_all(read_times(db, Look(viewer, wanted, tz, call_ids)))
    counts = times.durations if which == "duration" else times.ttfts
    used = np.flatnonzero(counts)
    if not len(used):
        return pd.DataFrame({"from_ms": [], "to_ms": [], "calls": []}).astype({"calls": int})
    width = -(-(int(used[-1]) - int(used[0]) + 1) // _MOST_BARS)
    edges = range(int(used[0]), int(used[-1]) + 1, width)
    rows = [(edge_of(low), edge_of(low + width), int(counts[low : low + width].sum())) for low in edges]
    return pd.DataFrame(rows, columns=["from_ms", "to_ms", "calls"])


def read_errors(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, *, call_ids: Ids = None) -> pd.DataFrame:
    """How many calls failed or were lost, by error_type and node; most first: error_type, node, calls."""
    statuses = tuple(status for status in FAILED if not wanted.statuses or status in wanted.statuses)
    if not statuses:
        return pd.DataFrame(columns=["error_type", "node", "calls"])
    look = Look(viewer, replace(wanted, statuses=statuses), tz, call_ids)
    found = read_sums(db, look, by=("error_type", "node"), sums=("calls",))
    return found.sort_values(["calls", "error_type", "node"], ascending=[False, True, True], ignore_index=True)


def read_top(
    viewer: Viewer,
    db: Db,
    wanted: CallFilter,
    tz: ZoneInfo,
    by: TopBy,
    *,
    limit: int = 20,
    call_ids: Ids = None,
) -> pd.DataFrame:
    """Who or what cost most, then had most calls: key, label, calls, errors, cost_usd, unpriced, tokens.

    The key is an id or a name, "" for calls without; the label an account's name, a session's title, or the key.
    """
    column = _TOP_BY[by]
    found = read_largest(db, Look(viewer, wanted, tz, call_ids), by=column, sums=_TOP, limit=limit)
    labels = _labels(db, by, [*found[column]])
    found.insert(1, "label", [labels.get(key) or key for key in found[column]])
    return found.rename(columns={column: "key"})


def read_heat(viewer: Viewer, db: Db, wanted: CallFilter, tz: ZoneInfo, *, call_ids: Ids = None) -> pd.DataFrame:
    """Sums by weekday (0 is Monday) and hour of the zone: weekday, hour, calls, cost_usd, errors."""
    sums = ["calls", "cost_usd", "errors"]
    found = read_sums(db, Look(viewer, wanted, tz, call_ids), by=("start",), sums=sums)
    local = _moments(found["start"]).tz_convert(tz)
    found = found.assign(weekday=local.day_of_week, hour=local.hour)
    return found.groupby(["weekday", "hour"], as_index=False)[sums].sum()


def read_choices(viewer: Viewer, db: Db, wanted: CallFilter) -> Choices:
    """What occurs in the filter's window, whatever else the filter asks for."""
    look = Look(viewer, CallFilter(since=wanted.since, until=wanted.until), _UTC)
    columns = ("agent_id", "agent_key", "node", "model", "error_type")
    found = read_occurring(db, look, columns)
    agents, keys, nodes, models, errors = (sorted({*found[column]} - {""}) for column in columns)
    return Choices(_people(viewer, db, look), agents, keys, nodes, models, errors)


def _people(viewer: Viewer, db: Db, look: Look) -> dict[str, str]:
    """The accounts that made a call, by name: each is looked up, as that is much less than to read all calls."""
    occurs = or_(
        *[
            exists().where(*part.where, part.table.c.user_id == _USER.user_id)
            for part in parts_of(db, look, ("user_id",))
        ]
    )
    own = [] if viewer.reads_all else [_USER.user_id == viewer.user_id]
    rows = db.connection().execute(select(_USER.user_id, _USER.name).where(occurs, *own).order_by(_USER.name))
    return {row[0]: row[1] for row in rows}


def newest_change(viewer: Viewer, db: Db) -> str:
    """A short text that is another one whenever the log has grown; it says nothing else."""
    newest = [func.max(key) for key in (_CALL.call_id, _SEAL.seal_id, _FIX.correction_id)]
    values = [db.connection().execute(select(one)).scalar() for one in newest]
    return hashlib.blake2s(repr((viewer.user_id, values)).encode(), digest_size=8).hexdigest()


def _of_all(times: Mapping[str, Times]) -> Times:
    """The times of all models together."""
    durations, ttfts = (reduce(add, (one[kind] for one in times.values()), NO_COUNTS) for kind in (0, 1))
    return Times(durations, ttfts)


def _percentiles(counts: Counts) -> list[float | None]:
    return [percentile(counts, share) for share in _SHARES.values()]


def _moments(seconds: "pd.Series[int]") -> pd.DatetimeIndex:
    return pd.DatetimeIndex(seconds.to_numpy(dtype=np.int64).astype("datetime64[s]")).tz_localize("UTC")


def _starts_of(seconds: "pd.Series[int]", tz: ZoneInfo, step: Step) -> pd.DatetimeIndex:
    """When the step began that a moment belongs to; where a day lacks its midnight, its first moment."""
    moments = _moments(seconds)
    local = moments.tz_convert(tz)
    if step == "hour":
        # Not rounded down on the clock, which shows some hours twice.
        return (moments - pd.to_timedelta(local.minute * 60, unit="s")).tz_convert(tz)
    days = local.tz_localize(None).normalize()
    first = np.ones(len(days), dtype=bool)
    return days.tz_localize(tz, ambiguous=first, nonexistent="shift_forward")


def _labels(db: Db, by: TopBy, keys: Sequence[str]) -> dict[str, str]:
    """Names of accounts, titles of sessions; nothing for what is its own name."""
    if by not in _NAMED:
        return {}
    key, label = _NAMED[by]
    there = [_SESSION.status != "deleted"] if by == "session" else []
    found: dict[str, str] = {}
    for some in in_pieces(keys):
        rows = db.connection().execute(select(key, label).where(key.in_(some), *there))
        found |= {row[0]: row[1] for row in rows}
    return found


def _count_running(db: Db, look: Look) -> int:
    """How many of the look's calls have begun and not ended; of all those, which are few, the ones it means."""
    begun = select(_CALL.call_id).where(_CALL.status == "started", _CALL.status != "ok")
    ids = {row[0] for row in db.connection().execute(begun)}
    ids = ids if look.call_ids is None else ids & {*look.call_ids}
    where = where_of(look.wanted, look.viewer, look.tz)
    counts = [
        select(func.count(_CALL.call_id)).where(*where, _CALL.call_id.in_(some)) for some in in_pieces(sorted(ids))
    ]
    return sum(db.connection().execute(count).scalar_one() for count in counts) if ids else 0
