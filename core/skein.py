"""Skein opened: database, saver, agents and engine as one object, once per process.

Invariant: what is opened here is closed here, in the opposite order, whatever fails in between.
"""

import logging
import threading
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from langgraph.checkpoint.base import BaseCheckpointSaver

from core.access.secret_key import load_secret_key
from core.agents.models import ChatModels
from core.agents.registry import Agents
from core.calls.capture.log import CallLog
from core.checkpoints.postgres_saver import open_postgres_saver
from core.checkpoints.sqlite_saver import open_sqlite_saver
from core.checkpoints.stores import open_store
from core.database import Database
from core.records.background import Background
from core.records.export.jobs import Exports
from core.records.housekeeper import Housekeeper
from core.runs import store
from core.runs.engine import Engine
from core.runs.execute import Executor
from core.runs.gate import quiet_callbacks
from core.runs.loop import LoopThread
from core.runs.node_threads import NodeThreads
from core.settings import Settings, load_settings

_SYNC_NODE_THREADS = 64
T = TypeVar("T")


class Skein:
    """Everything that is open in this process; ``close`` finishes or hands over what runs."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        with ExitStack() as stack:
            self.secret_key = load_secret_key(settings)
            self.database = Database(settings.app_database_url)
            stack.callback(self.database.close)
            self.database.migrate()
            self.chat_models = ChatModels(settings)
            open_memory = partial(open_store, stack, self.database, settings.store_path)
            self.agents = Agents(settings, self.chat_models, store=open_memory(), open_store=open_memory)
            self._loop = LoopThread()
            stack.callback(self._loop.close)
            threads = NodeThreads(_SYNC_NODE_THREADS)
            stack.callback(threads.shutdown, wait=False)
            self._loop.call(self._loop.loop.set_default_executor, threads)
            stack.callback(lambda: self._loop.run(self.chat_models.aclose()))
            self.saver = self._open_saver(stack)
            secrets = tuple(
                secret.get_secret_value()
                for secret in (settings.openai_api_key, settings.secret_key)
                if secret is not None
            )
            self.call_log = CallLog(
                self.database,
                said=store.read_said,
                bound=settings.call_log_bound,
                policy=self.agents.call_text,
                hide=self.agents.secrets,
            )
            stack.callback(self.call_log.close)
            executor = Executor(self.database, self.saver, self.agents, self.agents.secrets)
            self.engine = Engine(
                settings=settings,
                database=self.database,
                executor=executor,
                loop=self._loop,
                calls=self.call_log,
                threads=threads,
            )
            stack.callback(self.engine.close)
            self.engine.open()
            self.housekeeper = Housekeeper(
                database=self.database,
                saver=self.saver,
                loop=self._loop,
                compact_after=timedelta(days=settings.compact_after_days),
            )
            stack.callback(self.housekeeper.close)
            self.housekeeper.open()
            self.background = Background(self.database)
            stack.callback(self.background.close)
            self.background.open()
            self.exports = Exports(
                database=self.database,
                checkpoints=settings.checkpoints_path,
                folder=settings.data_dir / "exports" / "sessions",
                secrets=secrets,
            )
            stack.callback(self.exports.close)
            self.exports.open()
            self._stack = stack.pop_all()

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


def open_skein(settings: Settings) -> Skein:
    """Open everything; SettingsError says what is wrong when it cannot be."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.log_level)),
        logger_factory=structlog.PrintLoggerFactory(),
    )
    quiet_callbacks()
    return Skein(settings)


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
