"""The log's one writer: what the handler hears goes into a queue, and from there to the database in batches.

Invariants: a call's way only ever meets a queue; a start is durable within a quarter of a second; what cannot be
written waits, in order, until it can be, and when too much waits no new run is begun.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlmodel import Session as Db

from core.calls.capture import rows
from core.calls.capture.ending import Ending
from core.calls.capture.exchange import read_request
from core.calls.capture.handler import handler
from core.calls.capture.observed import ObservedCall
from core.calls.capture.store import Orphan, find_orphans, write_calls
from core.calls.context import CallContext, ContextStore
from core.calls.pricing.prices import prices_of
from core.calls.text.search import index_calls
from core.database import Database
from core.errors import BusyError
from core.outages import describe_outage, is_outage
from core.outside import read_failure

# Entries: a call that begins and ends within one batch is two of them.
BATCH = 500
# The three together keep a start durable within a quarter of a second.
_TICK_SECONDS, _GATHER_SECONDS, _COMPANY_SECONDS = 0.05, 0.1, 0.05
_SWEEP_SECONDS, _INDEX_SECONDS = 30.0, 1.0
_LONGEST_WAIT = 5.0
# A run that is done may have left calls behind: on the loop they were given up unheard, in threads they go on.
_GRACE_ON_LOOP, _GRACE_IN_THREAD = 5.0, 900.0
# Longer than the process that is at a call would wait for it itself.
_QUIET = timedelta(seconds=_GRACE_IN_THREAD + 300)
_WHOLE_MS = timedelta(milliseconds=1)  # what was streamed is known to the millisecond
log = structlog.get_logger("skein.calls")

Said = Callable[[Db, str], list[tuple[str | None, datetime, str]]]
"""What was streamed in a thread: (node, when, text), in order."""


@dataclass(frozen=True)
class LogState:
    """How the writer is doing: what waits, for how long, of how many that may, and why."""

    pending: int
    oldest_seconds: float
    bound: int
    problem: str | None


@dataclass(frozen=True)
class _Settle:
    """A request to end the calls of runs whose process is gone."""

    threads: tuple[str, ...]


class CallLog:
    """The call log of one open Skein; ``close`` writes what is left."""

    def __init__(
        self,
        database: Database,
        *,
        said: Said,
        bound: int = 10_000,
        policy: Callable[[str | None], str] = lambda _agent_id: "full",
    ) -> None:
        self._database = database
        self._contexts = ContextStore(database)
        self._ending = Ending(prices_of(database), policy)
        self._said, self._bound = said, bound
        self._queue: deque[ObservedCall | _Settle] = deque()
        self._in_hand = 0
        self._written = threading.Condition()
        self._hurry = threading.Event()
        self._waiting_since: float | None = None
        self._problem: str | None = None
        self._unsure = False
        self._leftover: deque[tuple[float, ObservedCall]] = deque()
        self._sweep_at = time.monotonic() + _SWEEP_SECONDS
        self._index_due, self._index_at = True, 0.0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._write_forever, name="skein-calls", daemon=True)
        self._thread.start()
        handler.add_sink(self)

    # -- called from anywhere ---------------------------------------------------------------------------

    def put(self, call: ObservedCall) -> None:
        """Take a call that has just started, or just ended."""
        # Nobody is woken: that would cost the call more than all else here.
        self._queue.append(call)

    def begin_run(self, context: CallContext) -> None:
        """Take the calls of this run, wherever in the process they are made."""
        if context.session_id is not None:
            self._contexts.put(context)
        if context.thread_id is not None:
            handler.begin_run(context.thread_id, self)

    def end_run(self, thread_id: str, status: str) -> None:
        """End the calls that a run left open: at once when it was cut off, else when they had time to report."""
        handler.end_run(thread_id)
        now, here = time.monotonic(), threading.get_ident()
        for call in handler.open_calls(self):
            if call.thread_id != thread_id:
                continue
            if call.os_thread != here:
                self._leftover.append((now + _GRACE_IN_THREAD, call))
            elif status in {"done", "waiting"}:
                self._leftover.append((now + _GRACE_ON_LOOP, call))
            else:
                handler.abandon(call, "cancelled")

    def settle(self, threads: Iterable[str]) -> None:
        """End the calls of runs that were lost with their process."""
        if found := tuple(threads):
            self._queue.append(_Settle(found))

    def require_room(self) -> None:
        """BusyError when so much waits to be written that a new run might go unlogged."""
        if self._pending() >= self._bound:
            raise BusyError(
                f"The call log cannot be written just now, and {self._bound:,} entries wait already: new runs are "
                "refused until it can be, so that none goes unlogged."
            )

    def state(self) -> LogState:
        """How the writer is doing."""
        since = self._waiting_since
        waited = time.monotonic() - since if since is not None else 0.0
        return LogState(self._pending(), waited, self._bound, self._problem)

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until nothing waits to be written; False when that does not come about in time."""
        self._hurry.set()
        with self._written:
            return self._written.wait_for(lambda: not self._pending(), timeout)

    def close(self) -> None:
        """End what is open, write what can be written, and stop."""
        for call in handler.open_calls(self):
            handler.abandon(call, "lost")
        handler.remove_sink(self)
        self._closing.set()
        self._hurry.set()
        self._thread.join()
        if left := self._pending():
            log.error("calls_not_written", count=left, problem=self._problem)

    def _pending(self) -> int:
        return len(self._queue) + self._in_hand

    # -- the writer's thread ----------------------------------------------------------------------------

    def _write_forever(self) -> None:
        while True:
            closing = self._closing.is_set()
            items = self._gather()
            try:
                if not self._take(items):
                    return
                self._do_chores()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next batch must come
                log.warning("call_log_failed", error=type(error).__name__, text=read_failure(error, 300))
            with self._written:
                self._in_hand, self._waiting_since = 0, None
                self._written.notify_all()
            if closing and not self._queue:
                return

    def _gather(self) -> list[ObservedCall | _Settle]:
        """What has come, up to a batch; where nothing has, wait a little first."""
        if not self._queue and not (self._index_due and time.monotonic() >= self._index_at):
            self._hurry.wait(_TICK_SECONDS)
        if self._queue:
            self._waiting_since = time.monotonic()
            if len(self._queue) < BATCH:
                # Many starts meet their end within this time, and are then one row, written once.
                self._hurry.wait(_GATHER_SECONDS)
        self._hurry.clear()
        # Counted first, so that what is on its way from the queue is never missed by who waits for it.
        self._in_hand = min(len(self._queue), BATCH)
        return [self._queue.popleft() for _ in range(self._in_hand)]

    def _take(self, items: list[ObservedCall | _Settle]) -> bool:
        """Write what was gathered; False when that is given up at shutdown."""
        # The same call may have come twice: it began, and it ended.
        calls = list({id(item): item for item in items if isinstance(item, ObservedCall)}.values())
        if calls and not self._write(calls):
            return False
        for item in items:
            if isinstance(item, _Settle):
                self._settle_surely(item)
        return True

    def _write(self, batch: list[ObservedCall]) -> bool:
        """Write the batch, however long the database is away; False when it is given up at shutdown."""
        wait = 0.1
        while True:
            try:
                self._store(batch)
            except Exception as error:  # noqa: BLE001 - a failure must neither lose the batch nor stop the thread
                if not is_outage(error):
                    self._store_apart(batch, error)
                    break
                self._problem = describe_outage(error)
                self._unsure = True
                log.warning("call_log_waits", pending=self._pending(), error=self._problem)
                if self._closing.wait(wait):
                    if wait > 1:
                        return False
                    time.sleep(wait)
                wait = min(wait * 2, _LONGEST_WAIT)
            else:
                break
        self._problem, self._unsure = None, False
        return True

    def _store_apart(self, batch: list[ObservedCall], error: Exception) -> None:
        """One of these cannot be stored: each has its own transaction, and a bad one is kept without its text."""
        if len(batch) > 1:
            for call in batch:
                self._write([call])
            return
        call = batch[0]
        if not call.reduced:
            log.warning("call_reduced", call_id=call.call_id, error=type(error).__name__)
            call.reduce()
            self._write(batch)
        else:
            log.error(
                "call_not_written", call_id=call.call_id, error=type(error).__name__, text=read_failure(error, 300)
            )

    def _store(self, batch: list[ObservedCall]) -> None:
        calls = [call for call in batch if call.stored != "end"]
        asked = {call.thread_id for call in calls if call.thread_id and call.row is None and not call.context}
        contexts = self._contexts.find(asked) if asked else {}
        for call in calls:
            self._prepare(call, contexts)
        ended = [call for call in calls if not call.is_open]
        ends = [self._ending.of_call(call) for call in ended]
        begun = [call for call in calls if call.is_open and not call.stored]
        starts = [(call.row or {}, self._kept_start(call)) for call in begun]
        again = self._unsure
        if starts or ends:
            within = _COMPANY_SECONDS if len(self._queue) < BATCH else 0.0
            self._database.patient(within).write(lambda db: write_calls(db, starts, ends, again=again))
            self._let_index(bool(ends))
        for call in begun:
            call.stored = "start"
        for call in ended:
            call.stored = "end"
            call.row = call.body = None

    def _prepare(self, call: ObservedCall, contexts: dict[str, CallContext]) -> None:
        if call.row is None:
            if call.wire is not None:
                read_request(call)
            context = call.context or contexts.get(call.thread_id or "")
            call.row = rows.start_row(call, context)
            call.body = rows.start_body(call)

    def _kept_start(self, call: ObservedCall) -> dict[str, Any] | None:
        row, body = call.row or {}, call.body or {}
        return rows.keep_text(dict(row), body, self._ending.policy(row["agent_id"]))

    # -- chores, each by the clock and in small parts, also while calls keep coming ---------------------

    def _do_chores(self) -> None:
        now = time.monotonic()
        for due, call in list(self._leftover):
            if not call.is_open:
                self._leftover.remove((due, call))
            elif due <= now:
                handler.abandon(call, "cancelled")
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            self._settle(())
        if self._index_due and now >= self._index_at:
            self._index_at = now + _INDEX_SECONDS
            self._index_due = index_calls(self._database.patient(_COMPANY_SECONDS)) > 0
            if self._index_due and len(self._queue) < BATCH:
                self._index_at = now  # there is more: go on without a pause, unless calls themselves wait

    def _let_index(self, has_ended: bool) -> None:
        """Have what ended indexed with all that ends within the next second: for one call it costs as much."""
        if has_ended and not self._index_due:
            self._index_due, self._index_at = True, time.monotonic() + _INDEX_SECONDS

    def _settle_surely(self, wanted: _Settle) -> None:
        """Settle, and ask again later where the database is away."""
        try:
            self._settle(wanted.threads)
        except Exception as error:
            if is_outage(error):
                self._queue.append(wanted)
            raise

    def _settle(self, threads: Collection[str]) -> None:
        """End started calls that nobody is at any more, with what their threads' events say of them."""
        alive = {call.call_id for call in handler.open_calls(self)}
        with self._database.read() as db:
            orphans = find_orphans(db, threads=threads, alive=alive, quiet=_QUIET)
            heard = {one.row["call_id"]: self._heard(db, one) for one in orphans}
        if not orphans:
            return
        ends = [self._ending.of_orphan(one, *heard[one.row["call_id"]]) for one in orphans]
        self._database.write(lambda db: write_calls(db, [], ends, again=True))
        log.warning("calls_lost", count=len(ends))

    def _heard(self, db: Db, orphan: Orphan) -> tuple[list[str], datetime | None]:
        """The text that was streamed from the call's node since it began, and when the last piece came."""
        thread_id, row = orphan.row["thread_id"], orphan.row
        if thread_id is None:
            return [], None
        began = row["created_at"] - _WHOLE_MS
        pieces = [(at, text) for node, at, text in self._said(db, thread_id) if node == row["node"] and at >= began]
        return [text for _, text in pieces], pieces[-1][0] if pieces else None
