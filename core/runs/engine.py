"""The run engine: one event loop on a thread of its own owns the saver and every run of this process.

Pages call it from their own threads: ``start``, ``retry``, ``attach``, ``stop``, ``active``. Nothing flows back:
the engine knows no page. Invariant: a run that was started is carried to an end that is written down, by this
process or, after its lease, by another; a reader who attaches gets every event once and in order.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from concurrent.futures import Future
from contextvars import Context
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

import structlog
from langgraph.errors import GraphDrained
from sqlalchemy.exc import SQLAlchemyError

from core.access.viewer import Viewer
from core.calls.capture.log import CallLog
from core.calls.context import CallContext, run_thread
from core.database import Database
from core.errors import BusyError, CreationError, ForbiddenError, NotFoundError, SkeinError
from core.history.messages import Added, NewMessage, add_messages, get_turn_of_thread
from core.ids import MessageId, ThreadId
from core.runs import store
from core.runs.events import Event, answer_text
from core.runs.execute import Executor, Start, StateStep
from core.runs.fair_queue import FairQueue
from core.runs.log import RunLog
from core.runs.loop import LoopThread
from core.runs.recorder import Recorder
from core.runs.run import ActiveRun, Run, awaited, end_payload, to_spec
from core.runs.store import Outcome, Spec
from core.runs.worker import Worker
from core.settings import Settings
from core.tables import clean_text, utc_now

T = TypeVar("T")
WhenBusy = Literal["refuse", "wait"]
HEARTBEAT_SECONDS = 0.25
_LEASE_MARGIN = 0.8
_INSIST_SECONDS = 0.1
_SHUTDOWN = "Skein was shut down while this ran; what had been said by then is kept."
log = structlog.get_logger("skein.runs")


class Engine:
    """Runs of one process; ``open`` it once and ``close`` it at the end."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        executor: Executor,
        loop: LoopThread,
        calls: CallLog,
    ) -> None:
        self._settings = settings
        self._database = database
        self._calls = calls
        self._executor = executor
        self._loop = loop
        self._worker = Worker(settings.data_dir)
        self._queue = FairQueue(settings.max_runs, settings.max_runs_per_user)
        self._runs: dict[str, Run] = {}
        self._supervisors: set[asyncio.Task[None]] = set()
        self._renewed_until = 0.0
        self._closing = threading.Event()
        self._drained = threading.Event()
        self._flusher: Future[None] | None = None
        self._heart = threading.Thread(target=self._beat_forever, name="skein-heartbeat", daemon=True)

    def open(self) -> None:
        """Settle what dead processes left, and begin to work."""
        self._beat()
        self._heart.start()
        self._flusher = self._loop.submit(self._flush_forever())

    def close(self) -> None:
        """Let runs finish for a while, stop those that do not, and give queued ones up to the next process."""
        if self._closing.is_set():
            return
        self._closing.set()
        self._loop.run(self._drain())
        self._drained.set()
        if self._heart.is_alive():
            self._heart.join()
        if self._flusher is not None:
            self._flusher.cancel()
        self._worker.close()

    @property
    def database(self) -> Database:
        return self._database

    # -- use cases, called from any thread --------------------------------------------------------------

    def start(self, viewer: Viewer, new: NewMessage, *, when_busy: WhenBusy = "refuse") -> Added:
        """Write a message with its thread and run it; returns as soon as both are committed.

        Under a parent that is still running, BusyError, or with ``when_busy="wait"`` it begins after it.
        """
        return self.start_many(viewer, {"": new}, when_busy=when_busy)[""]

    def start_many(
        self, viewer: Viewer, news: Mapping[str, NewMessage], *, when_busy: WhenBusy = "refuse"
    ) -> dict[str, Added]:
        """Write these messages, all or none, and run them side by side; gives what was begun by its name."""
        news = {name: self._checked(new) for name, new in news.items()}
        self._require_room(viewer, len(news))
        held_until = time.monotonic() + self._settings.lease_seconds * _LEASE_MARGIN
        lease_until = utc_now() + timedelta(seconds=self._settings.lease_seconds)

        def job(db: Any) -> list[Added]:
            written = add_messages(
                viewer, db, list(news.values()), worker=self._worker.name, lease_until=lease_until
            )
            if when_busy == "refuse" and any(map(awaited, written)):
                raise BusyError("The answer above is still being written; wait for it, or stop it first.")
            return written

        written = self._write(job)
        for new, added in zip(news.values(), written, strict=True):
            self._begin(viewer, new, added, held_until)
        return dict(zip(news, written, strict=True))

    def _checked(self, new: NewMessage) -> NewMessage:
        agent = self._executor.agents.get(new.agent_id)
        return replace(new, text=clean_text(new.text), agent_version=agent.version)

    def _begin(self, viewer: Viewer, new: NewMessage, added: Added, held_until: float) -> None:
        parent = added.parent
        run = self._new_run(to_spec(viewer, new, added), held_until=held_until)
        if parent is not None:
            run.parent_is_done = parent.status == "done" and parent.agent_id == new.agent_id
        self._loop.call(self._admit, run)
        self._look_after_waiting([run])

    def attach(
        self, viewer: Viewer, thread_id: ThreadId, *, after: int = 0, pace: float = 0.0
    ) -> Iterator[list[Event]]:
        """Follow a run's events beyond ``after``, live or stored, here or elsewhere, until it is over.

        Yields lists of events in order; an empty one is a heartbeat, at least every 0.25 s. ``pace`` (seconds)
        is the least time between two lists. NotFoundError when the viewer may not see the thread.
        """
        with self._database.read() as db:
            get_turn_of_thread(viewer, db, thread_id)
        return self._follow(thread_id, max(after, 0), pace)

    def stop(self, viewer: Viewer, thread_id: ThreadId) -> bool:
        """Stop a run, wherever it is; what was said is kept. False when it was over already."""
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        if turn.user_id != viewer.user_id and not viewer.is_admin:
            raise ForbiddenError("Only the person who started this run, or an admin, can stop it.")
        return self._stop(thread_id)

    def stop_all(self, viewer: Viewer, message_ids: Collection[MessageId]) -> None:
        """Stop what of the viewer's own still answers these messages, deleted ones too."""
        with self._database.read() as db:
            live = store.find_live(db, viewer.user_id, message_ids)
        for thread_id in live:
            self._stop(thread_id)

    def _stop(self, thread_id: ThreadId) -> bool:
        run = self._runs.get(thread_id)
        if run is None:
            return self._database.write(lambda db: store.request_stop(db, thread_id))
        self._loop.call(self._stop_run, run)
        return True

    def active(self, viewer: Viewer) -> list[ActiveRun]:
        """What this process runs and has queued: the viewer's own, for an admin everybody's."""
        runs = [run for run in list(self._runs.values()) if viewer.is_admin or run.spec.user_id == viewer.user_id]
        return [self._describe(run) for run in runs]

    def place_of(self, viewer: Viewer, thread_id: ThreadId) -> int | None:
        """The place of a viewer's queued run, 1 for the next; None when it is not queued here."""
        run = self._runs.get(thread_id)
        if run is None or not viewer.may_read(run.spec.user_id):
            return None
        return self._loop.run(self._place(thread_id))

    def get_state(self, viewer: Viewer, thread_id: ThreadId, checkpoint_id: str | None = None) -> StateStep:
        """The full state of a thread at a checkpoint, or at its newest; NotFoundError when there is none."""
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
            was_there = checkpoint_id is not None and store.had_checkpoint(db, thread_id, checkpoint_id)
        step = self._loop.run(self._executor.read_state(thread_id, turn.agent_id, checkpoint_id))
        if step is not None:
            return step
        if was_there:
            raise NotFoundError(
                "That state was cleared away some time after the answer; start from its last state or a snapshot."
            )
        raise NotFoundError("There is no such checkpoint in this thread; choose one from its history.")

    def check_edits(self, agent_id: str, edits: Mapping[str, Any]) -> None:
        """BadInputError says what of an edited state the agent's graph does not take."""
        self._executor.check_edits(agent_id, edits)

    def read_states(self, viewer: Viewer, thread_id: ThreadId) -> list[StateStep]:
        """The full state after each step of a thread, oldest first, read from its checkpoints."""
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        return self._loop.run(self._executor.read_states(thread_id, turn.agent_id))

    # -- following --------------------------------------------------------------------------------------

    def _follow(self, thread_id: str, after: int, pace: float) -> Iterator[list[Event]]:
        run = self._runs.get(thread_id)
        if run is not None:
            after = yield from _follow_log(run.log, after, pace)
            if not run.lost:
                return
        while True:
            with self._database.read() as db:
                status = store.read_status(db, thread_id)
                events = store.read_events(db, thread_id, after=after)
            yield events
            after = events[-1].seq if events else after
            if status not in {"queued", "running"} or self._closing.is_set():
                return
            self._closing.wait(HEARTBEAT_SECONDS)

    # -- on the loop: admitting and running -------------------------------------------------------------

    def _new_run(self, spec: Spec, *, held_until: float) -> Run:
        run_log = RunLog()
        nodes = self._executor.agents.answer_nodes(spec.agent_id)
        run = Run(spec, run_log, Recorder(run_log, answer_nodes=nodes), spec.awaits, held_until=held_until)
        self._runs[spec.thread_id] = run
        return run

    def _admit(self, run: Run) -> None:
        self._queue.put(run.spec.user_id, run.spec.thread_id)
        self._begin_next()

    def _begin_next(self) -> None:
        while not self._closing.is_set() and (key := self._queue.take(self._is_ready)) is not None:
            run = self._runs[key]
            # It counts as at work from this very moment: a stop may come before its task takes its first step.
            # Each in a context of its own: it may be another run's end that makes room for this one.
            run.work = self._loop.loop.create_task(self._work(run), context=Context())
            task = self._loop.loop.create_task(self._supervise(run, run.work), context=Context())
            self._supervisors.add(task)
            task.add_done_callback(self._supervisors.discard)

    def _is_ready(self, thread_id: str) -> bool:
        return self._runs[thread_id].after is None

    async def _supervise(self, run: Run, work: "asyncio.Task[None]") -> None:
        """Run to the end, whatever that is, write it down, and make room for the next."""
        await asyncio.wait([work])
        await self._end(run, self._outcome_of(run))

    async def _work(self, run: Run) -> None:
        run.began_at = time.monotonic()
        run.log.begin()
        self._calls.begin_run(_call_context(run.spec))
        run_thread.set(run.spec.thread_id)
        await self._executor.run(
            run.spec,
            run.recorder,
            run.control,
            parent_is_done=run.parent_is_done,
            began=lambda start: self._began(run, start),
        )

    async def _began(self, run: Run, start: Start) -> None:
        """Write down that it runs; wait for that only when the lease may have run out meanwhile."""
        written = asyncio.wrap_future(
            self._database.submit(
                lambda db: store.begin_run(
                    db,
                    run.spec,
                    worker=self._worker.name,
                    parent_thread_id=start.parent_thread_id,
                    source_checkpoint_id=start.checkpoint_id,
                )
            )
        )
        if time.monotonic() < max(run.held_until, self._renewed_until):
            written.add_done_callback(lambda done: self._lose(run) if done.exception() else None)
        else:
            await written

    def _outcome_of(self, run: Run) -> Outcome:
        work, reason = run.work, run.recorder.finish_reason
        answer = answer_text(run.log.after(0))
        if work is None or work.cancelled():
            sentence = _SHUTDOWN if self._closing.is_set() else None
            return Outcome("stopped", answer, "stopped", error_message=sentence)
        error = work.exception()
        if isinstance(error, GraphDrained):
            return Outcome("stopped", answer, "stopped", error_message=_SHUTDOWN)
        if error is not None:
            log.warning("run_failed", thread_id=run.spec.thread_id, error=type(error).__name__)
            return Outcome("failed", answer, None, type(error).__name__, self._executor.explain(error))
        return Outcome("waiting" if run.recorder.interrupts else "done", answer, reason)

    async def _end(self, run: Run, outcome: Outcome) -> None:
        """Write the end in one transaction, then tell the readers; whoever reads it finds it committed."""
        run.ending = True
        self._calls.end_run(run.spec.thread_id, outcome.status)
        if outcome.status == "failed":
            run.log.append("error", None, {"type": outcome.error_type, "message": outcome.error_message})
        if outcome.status == "waiting":
            run.log.append("waiting", None, {"interrupts": run.recorder.interrupts})
        end = run.log.seal(end_payload(outcome, run.recorder))
        if not run.lost:
            await self._write_end(run, outcome, [*run.log.after(run.flushed), end])
        self._forget(run, None if run.lost else end)
        log.info(
            "run_ended",
            conversation_id=run.spec.conversation_id,
            message_id=run.spec.message_id,
            thread_id=run.spec.thread_id,
            status=outcome.status,
        )

    async def _write_end(self, run: Run, outcome: Outcome, events: list[Event]) -> None:
        try:
            await asyncio.wrap_future(
                self._database.submit(
                    lambda db: store.end_run(db, run.spec, outcome, events, worker=self._worker.name)
                )
            )
        except (SQLAlchemyError, SkeinError) as error:
            # Its lease is no longer renewed, so that the thread is settled as lost when it has run out.
            log.warning("run_end_not_written", thread_id=run.spec.thread_id, error=type(error).__name__)
            run.lost = True

    def _forget(self, run: Run, end: Event | None = None) -> None:
        self._runs.pop(run.spec.thread_id, None)
        self._queue.remove(run.spec.user_id, run.spec.thread_id)
        run.log.close(end)
        self._release_waiting({run.spec.thread_id})

    def _release_waiting(self, ended: set[str]) -> None:
        for run in list(self._runs.values()):
            if run.after in ended:
                run.after = None
        self._begin_next()

    def _stop_run(self, run: Run) -> None:
        if run.ending:
            return
        if run.work is not None:
            run.work.cancel()
            self._loop.loop.call_later(_INSIST_SECONDS, self._insist, run, len(run.log))
        elif self._queue.remove(run.spec.user_id, run.spec.thread_id):
            run.ending = True
            task = self._loop.loop.create_task(self._end(run, Outcome("stopped", "", "stopped")))
            self._supervisors.add(task)
            task.add_done_callback(self._supervisors.discard)

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
        self._stop_run(run)

    # -- on the loop: the event log ---------------------------------------------------------------------

    async def _flush_forever(self) -> None:
        while True:
            await asyncio.sleep(self._settings.flush_seconds)
            try:
                await self._flush()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next flush must come
                log.warning("flush_failed", error=type(error).__name__)

    async def _flush(self) -> None:
        """Append what all runs have said since the last time, in one transaction."""
        fresh = [(run, run.log.after(run.flushed)) for run in list(self._runs.values()) if not run.ending]
        fresh = [(run, events) for run, events in fresh if events and not run.lost]
        if not fresh:
            return
        batches = [(run.spec, events) for run, events in fresh]
        held = await asyncio.wrap_future(
            self._database.submit(lambda db: store.append_events(db, batches, worker=self._worker.name))
        )
        for run, events in fresh:
            run.flushed = max(run.flushed, events[-1].seq)
        self._check_held([run for run, _ in fresh], held)

    def _check_held(self, runs: list[Run], held: list[store.Held]) -> None:
        by_id = {item.thread_id: item for item in held}
        for run in runs:
            item = by_id.get(run.spec.thread_id)
            if item is not None and item.stop_requested:
                self._stop_run(run)
            elif item is None and not run.ending:
                self._lose(run)

    # -- the heartbeat, on its own thread ---------------------------------------------------------------

    def _beat_forever(self) -> None:
        while not self._drained.wait(self._settings.lease_seconds / 4):
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next beat must come
                log.warning("heartbeat_failed", error=type(error).__name__)

    def _beat(self) -> None:
        """Renew our leases, settle those of workers that are gone, and see who need not wait any longer."""
        good_until = time.monotonic() + self._settings.lease_seconds * _LEASE_MARGIN
        until = utc_now() + timedelta(seconds=self._settings.lease_seconds)
        runs = [run for run in list(self._runs.values()) if not run.ending and not run.lost]
        specs = [run.spec for run in runs]
        name, dead = self._worker.name, self._worker.find_dead()
        if specs:
            held = self._database.write(lambda db: store.renew_leases(db, specs, worker=name, until=until))
            self._renewed_until = good_until
            self._loop.call(self._check_held, runs, held)
        mine = list(self._runs)
        recovered = self._database.write(
            lambda db: store.recover(db, worker=name, held=mine, dead=dead, until=until)
        )
        self._worker.forget(dead)
        for thread_id in recovered.lost:
            log.warning("run_lost", thread_id=thread_id)
        self._calls.settle(recovered.lost)
        for spec in recovered.adopted:
            self._loop.call(self._admit, self._new_run(spec, held_until=good_until))
        self._look_after_waiting(list(self._runs.values()))

    def _look_after_waiting(self, runs: list[Run]) -> None:
        elsewhere = {run.after for run in runs if run.after is not None and run.after not in self._runs}
        if elsewhere:
            with self._database.read() as db:
                ended = store.find_ended(db, elsewhere)
            self._loop.call(self._release_waiting, ended)

    # -- closing ----------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        for run in list(self._runs.values()):
            run.control.request_drain()
        await self._give_up_queued()
        if self._supervisors:
            await asyncio.wait(list(self._supervisors), timeout=self._settings.drain_seconds)
        await self._give_up_queued()
        for run in list(self._runs.values()):
            self._stop_run(run)
        if self._supervisors:
            await asyncio.wait(list(self._supervisors))

    async def _give_up_queued(self) -> None:
        queued = [run for run in list(self._runs.values()) if run.work is None and not run.ending]
        if not queued:
            return
        specs = [run.spec for run in queued]
        release = self._database.submit(lambda db: store.release_leases(db, specs, worker=self._worker.name))
        await asyncio.wrap_future(release)
        for run in queued:
            run.lost = True
            self._forget(run)

    # -- small things -----------------------------------------------------------------------------------

    def _require_room(self, viewer: Viewer, more: int) -> None:
        if self._closing.is_set():
            raise BusyError("Skein is shutting down; please send this again in a moment.")
        self._calls.require_room()
        # Counted here and not in the queue, which a run enters only when the loop comes to it.
        runs = [run for run in list(self._runs.values()) if run.spec.user_id == viewer.user_id and not run.ending]
        waiting = len(runs) - min(self._settings.max_runs, self._settings.max_runs_per_user)
        if waiting + more > self._settings.max_queued_per_user:
            raise BusyError(
                f"{max(waiting, 0)} of your messages are waiting already; please let some be answered first."
            )

    def _write(self, job: Callable[[Any], T]) -> T:
        try:
            return self._database.write(job)
        except SQLAlchemyError as error:
            raise CreationError(
                f"The message could not be saved ({type(error).__name__}); nothing was sent. Please try again."
            ) from error

    async def _place(self, thread_id: str) -> int | None:
        return self._queue.place_of(thread_id)

    def _describe(self, run: Run) -> ActiveRun:
        seconds = time.monotonic() - run.began_at if run.began_at is not None else 0.0
        tokens = len(run.recorder.answer)
        spec = run.spec
        return ActiveRun(
            spec.thread_id,
            spec.user_id,
            spec.conversation_id,
            spec.message_id,
            spec.agent_id,
            None if run.work is not None else self._loop.run(self._place(spec.thread_id)),
            run.recorder.working_node,
            seconds,
            tokens,
            tokens / seconds if seconds > 0 else 0.0,
        )


def _call_context(spec: Spec) -> CallContext:
    return CallContext(
        user_id=spec.user_id,
        session_id=spec.session_id,
        conversation_id=spec.conversation_id,
        message_id=spec.message_id,
        thread_id=spec.thread_id,
        agent_id=spec.agent_id,
    )


def _follow_log(run_log: RunLog, after: int, pace: float) -> Generator[list[Event], None, int]:
    """Yield a live log's events; the first pause is a part of ``pace``, so that readers do not move in step."""
    pause = pace * random.uniform(0.5, 1.0)  # noqa: S311 - only spreads readers out
    while True:
        closed = run_log.is_closed
        events = run_log.after(after) if closed else run_log.wait(after, HEARTBEAT_SECONDS)
        yield events
        if events:
            after = events[-1].seq
            run_log.pause(pause)
            pause = pace
        elif closed:
            return after
