"""An event loop on a thread of its own, for what must live in one loop: the saver and every run.

Invariant: the loop is entered only by ``call``, ``submit`` and ``run``; nothing waits for it from inside.
"""

import asyncio
import threading
import warnings
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import Context, copy_context
from typing import Any, TypeVar

import structlog

T = TypeVar("T")
_NAME = "skein-loop"
log = structlog.get_logger("skein.runs")


def is_on_loop() -> bool:
    """Whether the caller runs on an event loop of a `LoopThread`, and not on a thread of its own."""
    return threading.current_thread().name == _NAME


class LoopThread:
    """An asyncio loop on a thread of its own, for everything that must live in one loop."""

    def __init__(self) -> None:
        self.loop = _new_loop()
        self._thread = threading.Thread(target=self._run_forever, name=_NAME, daemon=True)
        self._thread.start()

    def _run_forever(self) -> None:
        """Run until ``close``; what comes through to here, as a node's ``sys.exit()``, must end its run only."""
        while True:
            try:
                return self.loop.run_forever()
            except BaseException as error:  # noqa: BLE001 - the loop of all runs outlives whatever one of them did
                log.warning("graph_came_through", error=type(error).__name__)

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Run a function on the loop, soon."""
        # Not in the caller's context: what a page or a tool has set there is none of the loop's runs' business.
        self.loop.call_soon_threadsafe(function, *args, context=Context())

    def submit(self, work: Coroutine[Any, Any, T]) -> "Future[T]":
        return Context().run(asyncio.run_coroutine_threadsafe, work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for its result; never from the loop itself."""
        return self.submit(work).result()

    def close(self) -> None:
        self.run(_end_tasks())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        with warnings.catch_warnings():
            # Connections that a graph's own clients have left open: nobody else could have closed them.
            warnings.simplefilter("ignore", ResourceWarning)
            self.loop.close()


async def _end_tasks() -> None:
    """End what is left on the loop, such as the last writes of a run that was stopped just before."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop  # noqa: PLC0415 - not there on Windows
    except ImportError:
        usual = asyncio.new_event_loop()
        usual.close()
        return _with_contexts(type(usual))
    return _with_contexts(uvloop.Loop)


def _with_contexts(kind: Any) -> asyncio.AbstractEventLoop:
    """A loop of this kind that gives what runs on a thread the caller's context, as ``asyncio.to_thread`` does.

    So a call that is made there is known to be its run's. A process could not be given one.
    """

    def run_in_executor(loop: Any, executor: Any, function: Callable[..., Any], *args: Any) -> Any:
        if executor is None or isinstance(executor, ThreadPoolExecutor):
            return kind.run_in_executor(loop, executor, copy_context().run, function, *args)
        return kind.run_in_executor(loop, executor, function, *args)

    loop: asyncio.AbstractEventLoop = type("_Loop", (kind,), {"run_in_executor": run_in_executor})()
    return loop
