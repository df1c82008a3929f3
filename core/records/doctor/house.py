"""What the doctor looks at, and what a check is.

Invariant: the checkpoints are reached only through their saver, inside the loop that it lives in.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver
from sqlalchemy import Executable

from core.checkpoints.compact import count_checkpoints
from core.checkpoints.listing import list_out_of_order, list_threads
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.database import Database
from core.history.artifact_refs import Ref
from core.runs.execute import read_named
from core.runs.loop import LoopThread
from core.settings import Settings

T = TypeVar("T")
# So many ids are asked about at once.
PART = 500


@dataclass(frozen=True)
class House:
    """Both stores: the app's database, and the checkpoints with the loop that their saver lives in."""

    database: Database
    saver: BaseCheckpointSaver[Any]
    loop: LoopThread

    def list_threads(self) -> list[str]:
        """Threads that something is stored of among the checkpoints."""
        return self.loop.run(list_threads(self.saver))

    def list_out_of_order(self) -> list[str]:
        """Threads whose newest state by its id is not the one that was made last."""
        return self.loop.run(list_out_of_order(self.saver))

    def count_states(self, thread_ids: Sequence[str]) -> dict[str, int]:
        return self.loop.run(count_checkpoints(self.saver, thread_ids))

    def forget_thread(self, thread_id: str) -> None:
        self.loop.run(self.saver.adelete_thread(thread_id))

    def read_named(self, thread_id: str) -> set[Ref]:
        """The versions of artifacts that a thread's newest states name."""
        return self.loop.run(read_named(self.saver, thread_id))

    def read(self, statement: Executable, given: dict[str, Any] | None = None) -> Sequence[Any]:
        with self.database.read() as db:
            return db.connection().execute(statement, given or {}).all()

    def write(self, statement: Executable, given: dict[str, Any] | None = None) -> None:
        self.database.write(lambda db: db.connection().execute(statement, given or {}))

    def ids(self, statement: Executable, given: dict[str, Any] | None = None) -> list[str]:
        """The first column of what a statement finds."""
        return [row[0] for row in self.read(statement, given)]


@dataclass(frozen=True)
class Check:
    """One thing that must hold: ``what`` says what is wrong, ``mending`` what is done about it."""

    kind: str
    what: str
    find: Callable[[House], Collection[str]]
    mend: Callable[[House, Sequence[str]], None] | None = field(default=None)
    mending: str = ""


@contextmanager
def open_house(settings: Settings) -> Iterator[House]:
    """Both stores without an engine, so that nothing is run, for as long as the doctor needs them."""
    database, loop = Database(settings.app_database_url), LoopThread()
    try:
        database.migrate()
        opening: Any = (
            open_sqlite_saver(settings.checkpoints_path)
            if database.is_sqlite
            else open_postgres_saver(database.url)
        )
        saver = loop.run(opening.__aenter__())
        try:
            yield House(database, saver, loop)
        finally:
            loop.run(opening.__aexit__(None, None, None))
    finally:
        loop.close()
        database.close()


def in_parts(items: Collection[T]) -> Iterator[list[T]]:
    """The items in lists that one question, or one transaction, can take."""
    listed = list(items)
    return (listed[start : start + PART] for start in range(0, len(listed), PART))
