"""What the tests of core share: following a run, waiting for a condition, and reading turns."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from core.access.viewer import Viewer
from core.database import Database
from core.history.messages import NewMessage
from core.history.turns import Turn, get_turn, get_turn_of_thread
from core.ids import MessageId, ThreadId
from core.runs.events import Event
from core.settings import Settings
from core.skein import Skein, open_skein
from tests.conftest import copy_sqlite, make_settings

ROOT = Path(__file__).resolve().parents[2]
GRAPHS = {
    "showcase": {"answer_nodes": ["talk", "announce"]},
    "echo": {},
    "once": {},
    "halves": {},
    "blocking": {},
    "held": {},
    "onward": {},
    "exiting": {},
    "dangling": {},
    "voices": {},
    "script": {},
    "stubborn": {},
    "remembers": {},
    "holding": {},
}
ASKING = (
    *("per_call", "batched", "ungated", "paused", "question", "wish", "several", "twice", "nested"),
    *("looping", "side_by_side", "same_id", "odd"),
)
CALLERS = ("callers", "left_behind", "given_up", "traced")


class OnSqlite:
    """For tests of what no database can tell apart."""

    @pytest.fixture
    def database_url(self, request: pytest.FixtureRequest, tmp_path: Path) -> str:
        return copy_sqlite(request, tmp_path)


def graph_settings(folder: Path, database_url: str, **changes: object) -> Settings:
    """Settings with the tests' graphs, on this database."""
    folder.mkdir(exist_ok=True)
    graphs = write_langgraph_json(folder)
    return make_settings(folder, database_url=database_url, langgraph_json=graphs, **changes)


@contextmanager
def another_skein(settings: Settings) -> Iterator[Skein]:
    """One more Skein in this process, as another process would open it on the same database."""
    skein = open_skein(settings)
    try:
        yield skein
    finally:
        skein.close()


def write_langgraph_json(folder: Path) -> Path:
    """A ``langgraph.json`` with the tests' graphs and the shipped assistant."""
    files = ROOT / "tests" / "graphs"
    graphs: dict[str, object] = {
        name: {"path": f"{files / 'showcase.py'}:{name}", **more} for name, more in GRAPHS.items()
    }
    graphs |= {name: {"path": f"{files / 'callers.py'}:{name}"} for name in CALLERS}
    graphs |= {name: {"path": f"{files / 'asking.py'}:{name}"} for name in ASKING}
    graphs["making"] = {"path": f"{files / 'making.py'}:making"}
    graphs["assistant"] = {
        "path": str(ROOT / "core" / "agents" / "assistant.py") + ":graph",
        "answer_nodes": ["conversation"],
    }
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": graphs}))
    return path


def follow(skein: Skein, viewer: Viewer, thread_id: ThreadId, *, after: int = 0) -> list[Event]:
    return [event for events in skein.engine.attach(viewer, thread_id, after=after) for event in events]


def ask(skein: Skein, viewer: Viewer, text: str, *, under: Turn | None = None, agent: str = "assistant") -> Turn:
    """Say something, under an earlier turn, and give the turn that was begun."""
    new = NewMessage(
        text,
        conversation_id=under.conversation_id if under else None,
        parent_message_id=under.message_id if under else None,
        agent_id=agent,
    )
    return turn_at(skein, viewer, skein.engine.start(viewer, new).message_id)


def answered(skein: Skein, viewer: Viewer, thread_id: ThreadId) -> Turn:
    """The turn of a thread, once it is over."""
    follow(skein, viewer, thread_id)
    with skein.database.read() as db:
        return get_turn_of_thread(viewer, db, thread_id)


def turn_at(skein: Skein, viewer: Viewer, message_id: MessageId) -> Turn:
    with skein.database.read() as db:
        return get_turn(viewer, db, message_id)


def status_of(skein: Skein, viewer: Viewer, thread_id: ThreadId) -> str:
    with skein.database.read() as db:
        return get_turn_of_thread(viewer, db, thread_id).status


def wait_until(condition: Callable[[], bool], *, seconds: float = 10.0) -> None:
    """Return as soon as the condition holds; fail when it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about in time"
        time.sleep(0.005)


def wait_for_tokens(skein: Skein, viewer: Viewer, thread_id: ThreadId, count: int = 1) -> str:
    """The text of the first tokens of a live run, as soon as there are that many."""
    tokens: list[str] = []
    for events in skein.engine.attach(viewer, thread_id):
        tokens += [event.payload for event in events if event.kind == "token"]
        if len(tokens) >= count:
            break
    return "".join(tokens)


@contextmanager
def in_the_midst(database: Database, deed: Callable[[], object]) -> Iterator[Callable[[], None]]:
    """Gives what a transaction calls in its midst: it starts the deed, and goes on once that is done or waits."""
    thread = threading.Thread(target=deed)

    def start() -> None:
        thread.start()
        wait_until(lambda: not thread.is_alive() or _waits(database))

    yield start
    thread.join()


def _waits(database: Database) -> bool:
    with database.read() as db:
        return db.connection().exec_driver_sql("SELECT count(*) FROM pg_locks WHERE NOT granted").scalar_one() > 0


def reading(skein: Skein, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    viewer, *rest = args
    with skein.database.read() as db:
        return function(viewer, db, *rest, **named)


def writing(skein: Skein, function: Callable[..., Any], *args: Any, **named: Any) -> Any:
    viewer, *rest = args
    return skein.database.write(lambda db: function(viewer, db, *rest, **named))
