"""What the processes of `tests.core.processes` do. ``pipe`` leads to the test."""

import asyncio
import os
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import insert
from sqlmodel import Session

from core.access.activity import HOUSE, record
from core.access.viewer import Viewer
from core.calls.proof.activity import seal_activity
from core.calls.proof.seals import seal
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.database import Database, table_of
from core.errors import SkeinError
from core.history.messages import NewMessage
from core.ids import ApprovalId, UserId, new_call_id
from core.runs.decisions import Decision, decide
from core.runs.scheduler import Scheduler
from core.runs.worker import Worker
from core.skein import Skein, open_skein
from core.tables import LlmCall
from tests.conftest import make_person, make_settings
from tests.core.support import graph_settings, status_of, wait_until


def run_messages(pipe: Connection, told: dict[str, Any], user_id: str, texts: list[str]) -> None:
    """Starts a run for each text and says its ids; then says each token of the first, with the time."""
    skein, viewer = _open(told), Viewer(UserId(user_id), "alice")
    started = [skein.engine.start(viewer, NewMessage(text)) for text in texts]
    for added in started:
        pipe.send({"thread_id": added.thread_id, "message_id": added.message_id})
    for events in skein.engine.attach(viewer, started[0].thread_id):
        for event in events:
            if event.kind == "token":
                pipe.send({"at": time.time(), "text": event.payload})
    threading.Event().wait()


def decide_approvals(pipe: Connection, told: dict[str, Any], *, dies: bool) -> None:
    """For each approval it is told of, approves and says what came of it; for a text, asks that until it pauses.

    ``dies``: it dies as soon as a decision is committed, before anything else.
    """
    skein = _open(told)
    if dies:
        Scheduler.begin = _die  # type: ignore[method-assign]
    pipe.send("ready")
    while True:
        pipe.send(_do(skein, pipe.recv()))


def _do(skein: Skein, wanted: dict[str, str]) -> dict[str, str]:
    viewer = Viewer(UserId(wanted["user_id"]), "alice")
    if "text" in wanted:
        added = skein.engine.start(viewer, NewMessage(wanted["text"], agent_id=wanted["agent_id"]))
        list(skein.engine.attach(viewer, added.thread_id))
        return {"paused": added.thread_id}
    approval_id, of = ApprovalId(wanted["approval_id"]), wanted["arguments_hash"]
    try:
        row = decide(skein.engine, viewer, approval_id, [Decision("approve")], arguments_hash=of)
    except SkeinError as error:
        return {"refused": str(error)}
    list(skein.engine.attach(viewer, row.thread_id))
    return {"decided": row.approval_id}


def _open(told: dict[str, Any]) -> Skein:
    folder, url = told.pop("folder"), told.pop("database_url")
    return open_skein(graph_settings(Path(folder), url, **told))


def _die(*_args: object, **_more: object) -> None:
    os._exit(9)


def seal_calls(pipe: Connection, url: str) -> None:
    """Seals 25 times three calls."""

    def write(db: Session) -> None:
        rows = [LlmCall(call_id=new_call_id(), run_id="r", status="ok").model_dump() for _ in range(3)]
        db.connection().execute(insert(table_of(LlmCall)), rows)
        seal(db, rows)

    database = Database(url)
    _wait_for_go(pipe)
    for _ in range(25):
        database.write(write)
    database.close()


def seal_deeds(pipe: Connection, url: str) -> None:
    """Does 40 deeds, and seals what it finds after each; says how many that were."""
    database = Database(url)
    _wait_for_go(pipe)
    done = 0
    for _ in range(40):
        database.write(lambda db: record(db, HOUSE, "retention.run", detail={"sessions": 1}))
        done += seal_activity(database)
    pipe.send(done)
    database.close()


def migrate(pipe: Connection, url: str) -> None:
    _wait_for_go(pipe)
    database = Database(url)
    database.migrate()
    database.close()


def put_checkpoints(pipe: Connection, path: Path, name: str) -> None:
    """Sets the file up and puts 50 checkpoints into it, each of a thread of its own."""

    def at(number: int) -> RunnableConfig:
        return {"configurable": {"thread_id": f"{name}-{number}", "checkpoint_ns": ""}}

    async def put() -> None:
        async with open_sqlite_saver(path) as saver:
            await asyncio.gather(*(saver.aput(at(n), empty_checkpoint(), {}, {}) for n in range(50)))

    _wait_for_go(pipe)
    asyncio.run(put())


def be_a_worker(pipe: Connection, folder: Path) -> None:
    """Lives as a worker of this name until it is killed."""
    worker = Worker(folder)
    pipe.send(worker.name)
    threading.Event().wait()


def _wait_for_go(pipe: Connection) -> None:
    pipe.send("ready")
    pipe.recv()


def run_listed(pipe: Connection, told: dict[str, Any], agent_id: str, ends: bool = True) -> None:
    """Asks an agent of a ``langgraph.json``, says who asked and in which thread, and ends when it waits.

    Otherwise it says so once the agent is at work, and stays.
    """
    skein = open_skein(make_settings(Path(told.pop("folder")), **told))
    viewer = make_person(skein, "alice")
    added = skein.engine.start(viewer, NewMessage("?", agent_id=agent_id))
    if not ends:
        wait_until(lambda: status_of(skein, viewer, added.thread_id) == "running", seconds=30)
        pipe.send((viewer.user_id, added.thread_id))
        threading.Event().wait()
    list(skein.engine.attach(viewer, added.thread_id))
    skein.close()
    pipe.send((viewer.user_id, added.thread_id))
