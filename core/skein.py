"""Skein opened: database, saver, agents and engine as one object, once per process.

Invariant: what is opened here is closed here, in the opposite order, whatever fails in between.
"""

import os
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from langgraph.checkpoint.base import BaseCheckpointSaver

from core.access.secret_key import load_secret_key
from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.calls.capture.log import CallLog
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.checkpoints.stores import open_store
from core.database import Database
from core.errors import SkeinError
from core.logs import hide_in_tracebacks, open_logs
from core.outside import find_secrets, know_secrets
from core.private import keep_private, mend_rights, raise_file_limit
from core.records.background import Background
from core.records.export.jobs import Exports
from core.records.housekeeper import Housekeeper
from core.runs import store
from core.runs.engine import Engine
from core.runs.execute import Executor
from core.runs.gate import quiet_callbacks
from core.runs.loop import LoopThread
from core.runs.node_threads import NodeThreads
from core.runs.processes import OPENED, ProjectProcess, read_told
from core.runs.share import Share
from core.settings import Settings, load_settings, secrets_of

_SYNC_NODE_THREADS = 64
T = TypeVar("T")


class Skein:
    """Everything that is open in this process; ``close`` finishes or hands over what runs."""

    def __init__(self, settings: Settings, *, only: Path | None = None) -> None:
        """Open all; or, as the process of a project, what carries out the runs of that file ``only``."""
        self.settings = settings
        keep_private()
        raise_file_limit()
        if only is None:
            mend_rights(settings)
        environment = dict(os.environ)  # before any project adds to it: the process of one gets none of another's
        with ExitStack() as stack:
            self.secret_key = load_secret_key(settings)
            known = [self.secret_key, *secrets_of(settings), *find_secrets(environment)]
            stack.callback(know_secrets(known))
            self.database = Database(settings.app_database_url)
            stack.callback(self.database.close)
            self.database.migrate()
            self.chat_models = ChatModels(settings)
            open_memory = partial(open_store, stack, self.database, settings.store_path)
            self.agents = Agents(settings, self.chat_models, store=open_memory(), open_store=open_memory, only=only)
            self.processes = {
                file: ProjectProcess(file, settings, environment)
                for file, agents in self.agents.apart.items()
                if agents
            }
            self._loop = LoopThread()
            stack.callback(self._loop.close)
            threads = NodeThreads(_SYNC_NODE_THREADS)
            stack.callback(threads.shutdown, wait=False)
            self._loop.call(self._loop.loop.set_default_executor, threads)
            stack.callback(lambda: self._loop.run(self.chat_models.aclose()))
            self.saver = self._open_saver(stack)
            self.call_log = CallLog(
                self.database,
                said=store.read_said,
                bound=settings.call_log_bound,
                policy=self.agents.call_text,
            )
            stack.callback(self.call_log.close)
            executor = Executor(self.database, self.saver, self.agents)
            self.engine = Engine(
                settings=settings,
                database=self.database,
                executor=executor,
                loop=self._loop,
                calls=self.call_log,
                threads=threads,
                share=self._share(only),
                call_process=self._call_process,
            )
            stack.callback(self.engine.close)
            self.engine.open()
            if only is None:
                self._open_rest(stack)
            self._stack = stack.pop_all()

    def _share(self, only: Path | None) -> Share:
        """Whose runs this process carries out: where it is one project's, those of its agents."""
        if only is not None:
            return Share(frozenset(agent.agent_id for agent in self.agents.list()), alone=True)
        return Share(frozenset().union(*self.agents.apart.values()))

    def _call_process(self, agent_id: str) -> None:
        for file, agents in self.agents.apart.items():
            if agent_id in agents:
                self.processes[file].look()

    def _open_rest(self, stack: ExitStack) -> None:
        for process in self.processes.values():
            stack.callback(process.close)
            process.open()
        # All at once are told to end, before the first is waited for.
        stack.callback(self._stop_processes)
        self.housekeeper = Housekeeper(
            database=self.database,
            saver=self.saver,
            loop=self._loop,
            compact_after=timedelta(days=self.settings.compact_after_days),
        )
        stack.callback(self.housekeeper.close)
        self.housekeeper.open()
        self.background = Background(self.database)
        stack.callback(self.background.close)
        self.background.open()
        self.exports = Exports(
            database=self.database,
            checkpoints=self.settings.checkpoints_path,
            folder=self.settings.data_dir / "exports" / "sessions",
        )
        stack.callback(self.exports.close)
        self.exports.open()

    def _stop_processes(self) -> None:
        for process in self.processes.values():
            process.stop()

    def drain(self) -> None:
        """Begin no more runs, and wait for those that go on, up to ``drain_seconds``, or until ``hurry``."""
        self._stop_processes()
        self.engine.drain()

    def hurry(self) -> None:
        """Wait no longer for what runs."""
        self.engine.hurry()

    def close(self) -> None:
        self._stack.close()

    def run_on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop that the saver and all runs live in, and wait for its result."""
        return self._loop.run(work)

    def _open_saver(self, stack: ExitStack) -> BaseCheckpointSaver[Any]:
        """Open LangGraph's saver inside the loop it will live in."""
        opening: AbstractAsyncContextManager[BaseCheckpointSaver[Any]]
        if self.database.is_sqlite:
            opening = open_sqlite_saver(self.settings.checkpoints_path)
        else:
            opening = open_postgres_saver(self.database.url)
        saver = self._loop.run(_enter(opening))
        stack.callback(lambda: self._loop.run(_leave(opening)))
        return saver


async def _enter(opening: AbstractAsyncContextManager[BaseCheckpointSaver[Any]]) -> BaseCheckpointSaver[Any]:
    return await opening.__aenter__()


async def _leave(opening: AbstractAsyncContextManager[BaseCheckpointSaver[Any]]) -> None:
    await opening.__aexit__(None, None, None)


def open_skein(settings: Settings, *, only: Path | None = None) -> Skein:
    """Open everything; SettingsError says what is wrong when it cannot be. ``only`` is as in `Skein`."""
    open_logs(settings.log_level)
    quiet_callbacks()
    return Skein(settings, only=only)


def serve_project() -> None:
    """Be the process of a project until whoever began it is gone or says so; see `core.runs.processes`."""
    # What is said between the two goes over copies: a project's own modules may read and print as they like.
    heard, said = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    with Path(os.devnull).open() as nothing:
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    try:
        file, settings = read_told(heard.readline())
        hide_in_tracebacks()
        skein = open_skein(settings, only=file)
    except SkeinError as error:
        print(" ".join(str(error).split()), file=said, flush=True)
        raise SystemExit(2) from None
    try:
        print(OPENED, file=said, flush=True)
        for _ in heard:
            skein.engine.look()
    finally:
        skein.close()


_lock = threading.Lock()
_current: Skein | None = None


def current_skein() -> Skein:
    """The Skein of this process, opened with the environment's settings on first use."""
    global _current  # noqa: PLW0603 - one per process is what it is for
    with _lock:
        if _current is None:
            _current = open_skein(load_settings())
        return _current


def use_skein(skein: Skein | None) -> None:
    """Make this one the process's Skein: for tests and tools that open it with settings of their own."""
    global _current  # noqa: PLW0603
    with _lock:
        _current = skein


def close_current() -> None:
    """Close the process's Skein, if there is one."""
    global _current
    with _lock:
        skein, _current = _current, None
    if skein is not None:
        skein.close()
