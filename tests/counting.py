"""What something costs a database, counted: statements and transactions of its writes, and statements of its reads.

Only counts: what the machine makes of them is for the benchmarks. A write counts for the room whose job it is, so
that what the background does meanwhile counts for nobody; a transaction counts where such a job would not wait.
"""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from sqlalchemy import event

from core.database import Database

_BACKGROUND = {
    *("skein-background", "skein-heartbeat", "skein-calls", "skein-housekeeper", "skein-exports", "skein-wake"),
    "skein-logins_0",
}


@dataclass
class Spent:
    """Rows that are handed to the driver together are one statement; what begins a transaction is none.

    ``readers`` has for each read its thread and the beginning of its statement: where to look when there are more.
    """

    statements: int = 0
    transactions: int = 0
    reads: int = 0
    readers: list[str] = field(default_factory=list)


@contextmanager
def counting(database: Database, rooms: tuple[str, ...] = ("core.runs",)) -> Iterator[Spent]:
    """Count what is written by jobs of these rooms, and read by all but the background."""
    spent, given = Spent(), database.submit
    here = {"counts": False, "urgent": False}

    def submit(job: Callable[[Any], Any], *, within: float = 0.0) -> "Future[Any]":
        if not _module_of(job).startswith(rooms):
            return given(job, within=within)

        def counted(db: Any) -> Any:
            here["counts"], here["urgent"] = True, here["urgent"] or not within
            try:
                return job(db)
            finally:
                here["counts"] = False

        return given(counted, within=within)

    def on_write(*_: Any) -> None:
        spent.statements += here["counts"]

    def on_commit(*_: Any) -> None:
        spent.transactions += here["urgent"]
        here["urgent"] = False

    def on_read(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        thread = threading.current_thread().name
        if thread not in _BACKGROUND:
            spent.reads += 1
            spent.readers.append(f"{thread}: {' '.join(statement.split())[:160]}")

    heard = [
        (database._writing, "before_cursor_execute", on_write),
        (database._writing, "commit", on_commit),
        (database._reading, "before_cursor_execute", on_read),
    ]
    database.submit = submit  # type: ignore[method-assign, assignment]
    for engine, name, hear in heard:
        event.listen(engine, name, hear)
    try:
        yield spent
    finally:
        database.submit = given  # type: ignore[method-assign]
        for engine, name, hear in heard:
            event.remove(engine, name, hear)


def _module_of(job: Callable[[Any], Any]) -> str:
    return str(_module_of(job.func) if isinstance(job, partial) else job.__module__)
