"""The threads on which plain functions of graphs run: counted by run, and never waited for at the end.

A thread cannot be stopped from outside. Invariants: a thread counts as its run's until the function on it is over,
however the run has ended; a process that closes leaves behind what does not come to an end.
"""

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from core.calls.context import run_thread

P = ParamSpec("P")
T = TypeVar("T")
_Work = Callable[[], None]


class NodeThreads(ThreadPoolExecutor):
    """An executor with daemon threads; a `ThreadPoolExecutor` by name only, since an event loop takes no other."""

    def __init__(self, most: int) -> None:
        super().__init__(max_workers=1)
        self._most = most
        self._lock = threading.Lock()
        self._waiting: SimpleQueue[_Work | None] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._begun = 0
        self._is_closed = False
        self._busy: Counter[str] = Counter()
        self._when_free: dict[str, Callable[[], object]] = {}

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a function on one of the threads; it counts as the run's around the caller."""
        future: Future[T] = Future()
        owner = run_thread.get()

        def work() -> None:
            try:
                if future.set_running_or_notify_cancel():
                    _carry_out(future, fn, *args, **kwargs)
            finally:
                self._leave(owner)

        with self._lock:
            if self._is_closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if owner is not None:
                self._busy[owner] += 1
            self._waiting.put(work)
            if not self._idle.acquire(blocking=False) and self._begun < self._most:
                self._begun += 1
                name = f"skein-node-{self._begun}"
                threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def is_busy(self, run: str) -> bool:
        """Whether a function of this run is on a thread, or waits for one."""
        with self._lock:
            return self._busy[run] > 0

    def when_free(self, run: str, then: Callable[[], object]) -> None:
        """Call ``then`` once no function of this run is on a thread any more; from that thread, or at once."""
        with self._lock:
            if self._busy[run] > 0:
                self._when_free[run] = then
                return
        then()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take nothing more; what is at work is left behind."""
        with self._lock:
            self._is_closed = True
            for _ in range(self._begun):
                self._waiting.put(None)
        super().shutdown(wait=False)

    def _leave(self, owner: str | None) -> None:
        if owner is None:
            return
        with self._lock:
            self._busy[owner] -= 1
            then = None
            if self._busy[owner] <= 0:
                del self._busy[owner]
                then = self._when_free.pop(owner, None)
        if then is not None:
            then()

    def _work(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
            self._idle.release()


def _carry_out(future: Future[Any], fn: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - whatever it was, it belongs to whoever waits
        future.set_exception(error)
    else:
        future.set_result(result)
