"""The part of the engine that lives on its loop: who runs next, what a run says, and how it ends.

Invariant: whatever comes to pass in a run, its end is written down and then told to its readers, and the next one
gets its place; a run that another worker has taken over writes nothing more.
"""

import asyncio
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from contextlib import suppress
from contextvars import Context
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import structlog
from langgraph.errors import GraphDrained
from sqlmodel import Session as Db

from core.calls.capture.log import CallLog
from core.calls.context import CallContext, run_thread
from core.database import Database
from core.outages import describe_outage, first_line, is_outage
from core.runs import store, waiting
from core.runs.asking import settle_asked, stop_asking
from core.runs.events import Event, answer_text, plain
from core.runs.execute import Executor
from core.runs.fair_queue import FairQueue
from core.runs.log import RunLog
from core.runs.loop import LoopThread
from core.runs.node_threads import NodeThreads
from core.runs.prepare import Start
from core.runs.recorder import Recorder
from core.runs.run import Run, end_payload
from core.runs.store import Outcome, Resume, Spec
from core.runs.worker import Worker, hold_until
from core.settings import Settings
from core.tables import utc_now

_INSIST_SECONDS = 0.1
# How long a write that nobody waits for may wait for company. A killed run whose beginning was not written is begun
# anew: that window is kept small. An end waits only while there are many, for others that end just then.
_BEGIN_WITHIN = 0.02
_END_WITHIN, _MANY_RUNS = 0.02, 4
# What was said has to be committed within half a second: it is gathered every ``flush_seconds``, and handed to the
# writer so that there is a tenth of a second left to commit it in.
_FLUSH_WITHIN, _HANDED_WITHIN = 0.1, 0.4
# While the database is away: so long between two attempts, and at shutdown one more while.
_FIRST_WAIT, _LONGEST_WAIT, _LAST_TRY_SECONDS = 0.1, 2.0, 5.0
_LAST_STEP_SECONDS = 0.5
_MOST_UNSAVED = 500_000  # events, of all runs together
_SHUTDOWN = "Skein was shut down while this ran; what had been said by then is kept."
log = structlog.get_logger("skein.runs")
T = TypeVar("T")


class Scheduler:
    """The runs of one process by thread; all of it belongs to the loop, but for what says otherwise."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        executor: Executor,
        loop: LoopThread,
        calls: CallLog,
        worker: Worker,
        threads: NodeThreads,
    ) -> None:
        self._settings = settings
        self._database = database
        self._executor = executor
        self._loop = loop
        self._calls = calls
        self._worker = worker
        self._queue = FairQueue(settings.max_runs, settings.max_runs_per_user)
        self._threads = threads
        self._at_work: set[asyncio.Task[None]] = set()
        # What earlier runs have shown of each agent: whose words are not the answer.
        self._inner_nodes: defaultdict[str, set[str]] = defaultdict(set)
        self.runs: dict[str, Run] = {}
        self.closing = threading.Event()
        # Why what was said cannot be written just now, in a sentence; the state of runs that are not saved yet.
        self.problem: str | None = None
        self._gives_up, self.hurried = asyncio.Event(), asyncio.Event()
        # Until when all leases hold, on the monotonic clock; the heart sets it.
        self.renewed_until = 0.0

    def begin(self, spec: Spec, *, held_until: float, events: Sequence[Event] = ()) -> Run:
        """A run that is known from now on, for ``admit`` to be called on the loop; from any thread.

        ``events`` are those of the thread until now, where it goes on with a decision.
        """
        run_log = RunLog(events, on_late=partial(self._write_late, spec))
        recorder = Recorder(
            run_log,
            answer_nodes=self._executor.agents.answer_nodes(spec.agent_id),
            inner_nodes=self._inner_nodes[spec.agent_id],
            tool_nodes=self._executor.agents.tool_nodes(spec.agent_id),
        )
        recorder.resume(events)
        gate = self._executor.gate(spec)
        gate.on_refused = recorder.refuse
        run = Run(
            spec,
            run_log,
            recorder,
            gate,
            spec.awaits,
            held_until=held_until,
            flushed=len(events),
        )
        self.runs[spec.thread_id] = run
        return run

    def look_after_waiting(self, runs: list[Run]) -> None:
        """Release those that wait for a thread of another process which has ended; from any thread."""
        elsewhere = {run.after for run in runs if run.after is not None and run.after not in self.runs}
        if elsewhere:
            with self._database.read() as db:
                ended = store.find_ended(db, elsewhere)
            self._loop.call(self.release_waiting, ended)

    def admit(self, run: Run) -> None:
        self._queue.put(run.spec.user_id, run.spec.thread_id)
        self._begin_next()

    def _begin_next(self) -> None:
        while not self.closing.is_set() and (key := self._queue.take(self._is_ready)) is not None:
            run = self.runs[key]
            # It counts as at work from this very moment: a stop may come before its task takes its first step.
            # Each in a context of its own: it may be another run's end that makes room for this one.
            run.work = self._loop.loop.create_task(self._work(run), context=Context())
            self._at_work.add(run.work)
            run.work.add_done_callback(partial(self._settle, run), context=Context())

    def _is_ready(self, thread_id: str) -> bool:
        return self.runs[thread_id].after is None

    def _settle(self, run: Run, work: "asyncio.Task[None]") -> None:
        """Whatever its end is: write it down, and make room for the next."""
        self._at_work.discard(work)
        self._end_soon(run, self._outcome_of(run))

    def _end_soon(self, run: Run, outcome: Outcome) -> None:
        task = self._loop.loop.create_task(self._end(run, outcome))
        self._at_work.add(task)
        task.add_done_callback(self._at_work.discard)

    async def _work(self, run: Run) -> None:
        run.began_at = time.monotonic()
        run.log.begin(_seconds_since(run.spec.resume))
        self._calls.begin_run(_call_context(run.spec))
        run_thread.set(run.spec.thread_id)
        run.asked = await self._executor.run(
            run.spec,
            run.recorder,
            run.gate,
            run.control,
            parent_is_done=run.parent_is_done,
            began=lambda start: self._began(run, start),
        )

    async def _began(self, run: Run, start: Start) -> None:
        """Write down that it runs; wait for that only when the lease may have run out meanwhile."""
        if (resume := run.spec.resume) is not None:
            # Always waited for: what was decided is taken up once, or not at all.
            await self._write(run, lambda db: waiting.go_on(db, run.spec, resume, worker=self._worker.name))
            told = {"approval_id": resume.approval_id, "decision": resume.decision, "by": resume.by}
            run.log.append("resumed", None, {**told, "tool": resume.tool})
            return
        is_held = time.monotonic() < max(run.held_until, self.renewed_until)
        began_at = utc_now()

        def begin(db: Db) -> None:
            store.begin_run(
                db,
                run.spec,
                worker=self._worker.name,
                parent_thread_id=start.parent_thread_id,
                source_checkpoint_id=start.checkpoint_id,
                started_at=began_at,
            )

        if not is_held:
            await self._write(run, begin)
            return
        run.beginning = self._loop.loop.create_task(self._write(run, begin, within=_BEGIN_WITHIN))
        run.beginning.add_done_callback(lambda done: self._lose(run) if _has_failed(done) else None)

    def _outcome_of(self, run: Run) -> Outcome:
        work, reason = run.work, run.recorder.finish_reason
        run.recorder.show_rest()
        answer = answer_text(run.log.after(0))
        if work is None or work.cancelled():
            sentence = run.stopped_for or (_SHUTDOWN if self.closing.is_set() else None)
            return Outcome("stopped", answer, "stopped", error_message=sentence)
        error = work.exception()
        if isinstance(error, GraphDrained):
            return Outcome("stopped", answer, "stopped", error_message=_SHUTDOWN)
        if error is not None:
            log.warning("run_failed", thread_id=run.spec.thread_id, error=type(error).__name__)
            return Outcome("failed", answer, None, type(error).__name__, self._executor.explain(error))
        return Outcome("waiting" if run.asked else "done", answer, reason)

    async def _end(self, run: Run, outcome: Outcome) -> None:
        """Write the end in one transaction, then tell the readers; whoever reads it finds it committed."""
        run.ending = True
        self._calls.end_run(run.spec.thread_id, outcome.status)
        if outcome.status == "failed":
            run.log.append("error", None, {"type": outcome.error_type, "message": outcome.error_message})
        if outcome.status == "waiting":
            asked = [{"id": one.interrupt_id, "node": one.node, "value": plain(one.value)} for one in run.asked]
            run.log.append("waiting", None, {"interrupts": asked})
        end, goes_on = run.log.seal(end_payload(outcome, run.recorder)), None
        if not run.lost:
            goes_on = await self._write_end(run, outcome, [*run.log.after(run.flushed), end])
            await self._settle_artifacts(run)
        self._forget(run, None if run.lost else end)
        if goes_on is not None:
            # A rule has decided, or a person did while it ran.
            self.admit(self.begin(goes_on, held_until=hold_until(self._settings), events=run.log.after(0)))
        log.info(
            "run_ended",
            conversation_id=run.spec.conversation_id,
            message_id=run.spec.message_id,
            thread_id=run.spec.thread_id,
            status=outcome.status,
        )

    async def _settle_artifacts(self, run: Run) -> None:
        if run.has_pending:
            try:
                await self._executor.settle_artifacts(run.spec.thread_id)
            except Exception as error:  # noqa: BLE001 - the heart tries again until it is done
                log.warning("artifacts_not_settled", thread_id=run.spec.thread_id, error=type(error).__name__)

    async def _write_end(self, run: Run, outcome: Outcome, events: list[Event]) -> Spec | None:
        """Write the end; gives what the thread goes on with if there is a decision about what it asked."""
        until = utc_now() + timedelta(seconds=self._settings.lease_seconds)
        days = self._settings.approval_days
        may_write = self._executor.agents.may_write_artifacts(run.spec.agent_id)

        def job(db: Db) -> Spec | None:
            is_stopped = outcome.status == "waiting" and store.is_stop_requested(db, run.spec.thread_id)
            if not store.end_run(db, run.spec, outcome, events, worker=self._worker.name):
                return None
            run.has_pending = may_write and waiting.has_pending(db, run.spec.thread_id)
            settle_asked(
                db,
                run.spec,
                outcome.status,
                run.asked,
                run.gate.denied,
                waits=timedelta(days=days) if days else None,
            )
            if is_stopped:
                stop_asking(db, run.spec.thread_id, None)
            if outcome.status != "waiting" or self.closing.is_set():
                return None
            return waiting.claim(db, run.spec.thread_id, worker=self._worker.name, until=until)

        try:
            within = _END_WITHIN if len(self.runs) > _MANY_RUNS else 0.0
            return await self._write(run, job, within=within, after=run.beginning)
        except Exception as error:  # noqa: BLE001 - whatever it was, readers must be let go
            # Its lease is no longer renewed, so that the thread is settled as lost when it has run out.
            log.warning("run_end_not_written", thread_id=run.spec.thread_id, error=describe_outage(error))
            run.lost = True
            return None

    def _write(
        self,
        run: Run,
        job: Callable[[Db], T],
        *,
        within: float = 0.0,
        after: "asyncio.Task[None] | None" = None,
    ) -> Coroutine[Any, Any, T]:
        """Hand over at once what is safe to be written twice; to be awaited until the database has taken it.

        What is said meanwhile stays in memory. ``after`` is what has to be written before this. It is given up at
        shutdown, or when another worker has taken the thread.
        """

        def submit() -> "Future[T]":
            return self._database.submit(job, within=within)

        return self._see_written(run, submit(), submit, after)

    async def _see_written(
        self,
        run: Run,
        submitted: "Future[T]",
        submit: Callable[[], "Future[T]"],
        after: "asyncio.Task[None] | None",
    ) -> T:
        wait = _FIRST_WAIT
        while True:
            try:
                return await asyncio.wrap_future(submitted)
            except Exception as error:
                if not is_outage(error) or run.lost or self._gives_up.is_set():
                    raise
                self._tell_problem(error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._gives_up.wait(), wait)
            wait = min(wait * 2, _LONGEST_WAIT)
            if after is not None:
                await asyncio.wait([after])
            submitted = submit()

    def _tell_problem(self, error: Exception) -> None:
        problem = f"What is said cannot be saved just now, and is kept in memory. {describe_outage(error)}"
        if problem != self.problem:
            log.warning("writes_wait", problem=problem, error=first_line(error))
        self.problem = problem

    def _forget(self, run: Run, end: Event | None = None) -> None:
        self.runs.pop(run.spec.thread_id, None)
        run.log.close(end)
        if self._threads.is_busy(run.spec.thread_id):
            # What a stopped run left on a thread counts as its user's until it is over.
            self._threads.when_free(run.spec.thread_id, partial(self._leave_thread, run.spec))
        else:
            self._queue.remove(run.spec.user_id, run.spec.thread_id)
        self.release_waiting({run.spec.thread_id})

    def _leave_thread(self, spec: Spec) -> None:
        """A run's last function is over; from its thread, which may have outlived all else."""
        if not self.closing.is_set():
            self._loop.call(self._make_room, spec)

    def _make_room(self, spec: Spec) -> None:
        if spec.thread_id not in self.runs:
            self._queue.remove(spec.user_id, spec.thread_id)
            self._begin_next()

    def release_waiting(self, ended: set[str]) -> None:
        for run in list(self.runs.values()):
            if run.after in ended:
                run.after = None
        self._begin_next()

    def stop(self, run: Run) -> None:
        if run.ending:
            return
        # Its plain functions cannot be stopped, but nothing more is done for them.
        run.gate.is_closed = run.recorder.is_closed = True
        if run.work is not None:
            run.work.cancel()
            self._loop.loop.call_later(_INSIST_SECONDS, self._insist, run, len(run.log))
        elif self._queue.remove(run.spec.user_id, run.spec.thread_id):
            run.ending = True
            said = answer_text(run.log.after(0))
            self._end_soon(run, Outcome("stopped", said, "stopped"))

    def _insist(self, run: Run, events: int) -> None:
        """Cancel again a run that goes on to speak: ``asyncio.wait_for`` of Python 3.11 can swallow a cancellation.

        One that is silent is let be, since it may be cleaning up.
        """
        if run.work is None or run.work.done():
            return
        now = len(run.log)
        if now > events:
            run.work.cancel()
        self._loop.loop.call_later(_INSIST_SECONDS, self._insist, run, now)

    def _lose(self, run: Run) -> None:
        """Another worker holds this thread now: leave it, and write nothing more."""
        log.warning("run_taken_over", thread_id=run.spec.thread_id)
        run.lost = True
        self.stop(run)

    def _write_late(self, spec: Spec, event: Event) -> None:
        """Keep what a thread did after its run was over; from that thread, which may have outlived all else."""
        if self.closing.is_set():
            return
        self._database.submit(lambda db: store.append_late(db, spec, event), within=_FLUSH_WITHIN)

    # -- what was said, to the database ----------------------------------------------------------------

    async def flush_forever(self) -> None:
        while True:
            began = time.monotonic()
            try:
                await self._flush()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next flush must come
                if is_outage(error):
                    self._tell_problem(error)
                    self._bound_memory()
                else:
                    log.warning("flush_failed", error=type(error).__name__)
            # By the clock, however long the last one had to wait.
            await asyncio.sleep(max(began + self._settings.flush_seconds - time.monotonic(), 0))

    async def _flush(self) -> None:
        """Append what all runs have said since the last time, in one transaction."""
        fresh = [(run, run.log.after(run.flushed)) for run in list(self.runs.values()) if not run.ending]
        fresh = [(run, events) for run, events in fresh if events and not run.lost]
        if not fresh:
            if not any(run.ending for run in self.runs.values()):
                self.problem = None
            return
        batches = [(run.spec, events) for run, events in fresh]
        held = await asyncio.wrap_future(
            self._database.submit(
                lambda db: store.append_events(db, batches, worker=self._worker.name),
                within=flush_within(self._settings.flush_seconds),
            )
        )
        self.problem = None
        for run, events in fresh:
            run.flushed = max(run.flushed, events[-1].seq)
        self.check_held([run for run, _ in fresh], held)

    def _bound_memory(self) -> None:
        """Stop the runs that have said most, when too much waits to be written."""
        unsaved = {run.spec.thread_id: len(run.log) - run.flushed for run in list(self.runs.values())}
        if sum(unsaved.values()) <= _MOST_UNSAVED:
            return
        for run in list(self.runs.values()):
            if unsaved[run.spec.thread_id] > _MOST_UNSAVED / len(unsaved):
                run.stopped_for = f"This was stopped, because too much waited to be saved. {self.problem or ''}"
                self.stop(run)

    def check_held(self, runs: list[Run], held: list[store.Held]) -> None:
        by_id = {item.thread_id: item for item in held}
        for run in runs:
            item = by_id.get(run.spec.thread_id)
            if item is not None and item.stop_requested:
                self.stop(run)
            elif item is None and not run.ending:
                self._lose(run)

    # -- closing ----------------------------------------------------------------------------------------

    async def drain(self) -> None:
        """Let what runs come to its end, for a while; what is queued goes to the next process at once."""
        await self._give_up_queued()
        waiting = asyncio.create_task(self._wait_for_all(self._settings.drain_seconds))
        hurried = asyncio.create_task(self.hurried.wait())
        await asyncio.wait([waiting, hurried], return_when=asyncio.FIRST_COMPLETED)
        for task in (waiting, hurried):
            task.cancel()
        await asyncio.gather(waiting, hurried, return_exceptions=True)

    async def stop_all(self) -> None:
        """Stop what did not come to its end, between two of its steps where one is near."""
        for run in list(self.runs.values()):
            run.control.request_drain()
        if not self.hurried.is_set():
            with suppress(TimeoutError):
                await self._wait_for_all(min(_LAST_STEP_SECONDS, self._settings.drain_seconds))
        await self._give_up_queued()
        for run in list(self.runs.values()):
            self.stop(run)
        with suppress(TimeoutError):
            await self._wait_for_all(_LAST_TRY_SECONDS)
        self._gives_up.set()
        await self._wait_for_all(None)

    async def _wait_for_all(self, seconds: float | None) -> None:
        """Wait until nothing is at work; what has come to its end is still to be written down then."""
        async with asyncio.timeout(seconds):
            while self._at_work:
                await asyncio.wait(list(self._at_work))

    async def _give_up_queued(self) -> None:
        queued = [run for run in list(self.runs.values()) if run.work is None and not run.ending]
        if not queued:
            return
        specs = [run.spec for run in queued]
        release = self._database.submit(lambda db: store.release_leases(db, specs, worker=self._worker.name))
        await asyncio.wrap_future(release)
        for run in queued:
            run.lost = True
            self._forget(run)

    async def place_of(self, thread_id: str) -> int | None:
        return self._queue.place_of(thread_id)


def flush_within(flush_seconds: float) -> float:
    """How long what was said, and gathered so often, may wait for others to be written with."""
    return max(min(_FLUSH_WITHIN, _HANDED_WITHIN - flush_seconds), 0.0)


def _has_failed(done: "asyncio.Task[None]") -> bool:
    return not done.cancelled() and done.exception() is not None


def _seconds_since(resume: Resume | None) -> float:
    """How long ago a thread first began that now goes on."""
    if resume is None or resume.started_at is None:
        return 0.0
    return max((utc_now() - resume.started_at).total_seconds(), 0.0)


def _call_context(spec: Spec) -> CallContext:
    return CallContext(
        user_id=spec.user_id,
        session_id=spec.session_id,
        conversation_id=spec.conversation_id,
        message_id=spec.message_id,
        thread_id=spec.thread_id,
        agent_id=spec.agent_id,
    )
