"""Full-text search over a generated call log: what indexing costs, how large it gets, and how soon words are found.

    python -m bench.search --calls 100000
    python -m bench.search --calls 1000000 --url postgresql+psycopg://... --most 1000

Without ``--url`` a SQLite file is made in a temporary folder. Beside a query stands what LIKE takes for its first
word, where that is asked for with ``--like``.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select, text

from bench.made_calls import RARE, Made, generate
from core.access.viewer import Viewer
from core.calls.filters import CallFilter
from core.calls.text.search import index_calls, matching
from core.calls.where import where_of
from core.database import Database, table_of
from core.ids import UserId
from core.tables import LlmCallBody

_ROUNDS = 5
_SIZES = {
    True: "SELECT name, sum(pgsize) FROM dbstat WHERE name LIKE '%llm_call_%' GROUP BY name",
    False: "SELECT relname, pg_relation_size(oid) + pg_relation_size(coalesce(nullif(reltoastrelid, 0), oid))"
    " FROM pg_class WHERE relname LIKE 'llm_call_%' AND relkind IN ('r', 'i')",
}
_OF_SEARCH = ("llm_call_words", "llm_call_search", "llm_call_to_index", "sqlite_autoindex_llm_call_search")


def index_all(database: Database, most: int) -> None:
    """Index what waits, batch by batch, and show how fast that is and how long the writer is held."""
    held: list[float] = []
    write = database.write

    def timed(job: Callable[..., Any]) -> Any:
        begun = time.perf_counter()
        try:
            return write(job)
        finally:
            held.append(time.perf_counter() - begun)

    database.write = timed  # type: ignore[method-assign]
    begun, done = time.perf_counter(), 0
    while count := index_calls(database, most):
        done += count
    seconds = time.perf_counter() - begun
    database.write = write  # type: ignore[method-assign]
    if done:
        print(f"indexed {done:,} calls, {done / seconds:,.0f}/s; a transaction: {_shown(held)}")


def _shown(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    p99 = ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]
    return f"p50 {statistics.median(ordered) * 1000:.1f}, p99 {p99 * 1000:.1f}, max {ordered[-1] * 1000:.1f} ms"


def show_sizes(database: Database) -> None:
    with database.read() as db:
        sizes = {name: int(size) for name, size in db.execute(text(_SIZES[database.is_sqlite]))}
    search = sum(size for name, size in sizes.items() if name.startswith(_OF_SEARCH))
    body = sizes["llm_call_body"]
    print(f"bodies {body / 1e6:,.0f} MB, search {search / 1e6:,.0f} MB ({search / body:.2f} of the bodies)")


def ask(database: Database, made: Made, *, like: bool) -> None:
    """Ask for 50 calls, newest first, in many ways."""
    users, auditor = list(made.users), Viewer(UserId("user_auditor"), "auditor", "analyst")
    week = {"since": made.since + timedelta(days=20), "until": made.since + timedelta(days=27)}
    cases: list[tuple[str, str, Viewer, dict[str, Any]]] = [
        ("a rare word", RARE, auditor, {}),
        ("a common word", "report", auditor, {}),
        ("a common Chinese word", "成本", auditor, {}),
        ("two common words", "report latency", auditor, {}),
        ("a phrase", '"clear rise"', auditor, {}),
        ("common words in an order that never is", '"report cost"', auditor, {}),
        ("a beginning", "rep*", auditor, {}),
        ("one Chinese character", "成", auditor, {}),
        ("one word without another", "report -latency", auditor, {}),
        ("no such word", "nothinghere", auditor, {}),
        ("common, of a member's own", "report", Viewer(UserId(users[-1]), "member"), {}),
        ("common, one user", "report", auditor, {"users": (users[-1],)}),
        ("common, lost", "report", auditor, {"statuses": ("lost",)}),
        ("common, one error", "report", auditor, {"error_types": ("BadRequestError",)}),
        ("common, a week long ago", "report", auditor, week),
        ("common, that week and user", "report", auditor, {**week, "users": (users[-1],)}),
        ("common, over a minute", "report", auditor, {"min_ms": 60_000.0}),
        ("common, Sundays at three", "report", auditor, {"weekday": 6, "hour": 3}),
    ]
    for name, query, viewer, chosen in cases:
        wanted = CallFilter(**chosen)
        conditions = where_of(wanted, viewer, ZoneInfo("UTC"))
        times = []
        for _ in range(_ROUNDS):
            with database.read() as db:
                begun = time.perf_counter()
                found = matching(viewer, db, query, wanted=wanted, conditions=conditions)
                times.append(time.perf_counter() - begun)
        beside = f"  LIKE {_like(database, query) * 1000:8.0f} ms" if like and not chosen else ""
        print(f"{name:40} {len(found):3} found  {statistics.median(times) * 1000:8.1f} ms{beside}", flush=True)


def _like(database: Database, query: str) -> float:
    body, word = table_of(LlmCallBody).c, f"%{query.strip(chr(34)).split()[0].rstrip('*')}%"
    newest = select(body.call_id).where(or_(body.prompt.like(word), body.response.like(word)))
    begun = time.perf_counter()
    with database.read() as db:
        db.connection().execute(newest.order_by(body.call_id.desc()).limit(50)).all()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=100_000)
    parser.add_argument("--url", help="an empty database; a SQLite file in a temporary folder without it")
    parser.add_argument("--most", type=int, default=200, help="calls indexed in one transaction")
    parser.add_argument("--like", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skein-search-") as folder:
        database = Database(given.url or f"sqlite:///{Path(folder) / 'skein.db'}")
        database.migrate()
        made = generate(database, given.calls)
        index_all(database, given.most)
        if not database.is_sqlite:
            database.write(lambda db: db.execute(text("ANALYZE")) and None)
        show_sizes(database)
        ask(database, made, like=given.like)
        database.close()


if __name__ == "__main__":
    main()
