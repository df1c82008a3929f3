"""The run engine: one event loop on a thread of its own owns the saver and every run of this process.

Pages call it from their own threads: ``start``, ``attach``, ``stop``, ``active``. Nothing flows back: the engine
knows no page. What happens on the loop is in ``scheduler``, the leases are in ``heart``. Invariant: a run that was
started is carried to an end that is written down, by this process or, after its lease, by another; a reader who
attaches gets every event once and in order.
"""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import replace
from datetime import timedelta
from typing import Any, Literal, TypeVar

import structlog
from sqlalchemy.exc import SQLAlchemyError

from core.access.sign_in import find_again
from core.access.viewer import Viewer
from core.calls.capture.log import CallLog
from core.checkpoints.plain import require_storable
from core.database import Database
from core.errors import BusyError, CreationError, ForbiddenError, NotFoundError, OutageError, SignInError
from core.history.activity import record
from core.history.messages import Added, NewMessage, add_messages
from core.history.turns import get_turn_of_thread
from core.ids import MessageId, ThreadId
from core.outages import first_line
from core.runs import store, waiting
from core.runs.asking import stop_asking
from core.runs.events import Event
from core.runs.execute import Executor, StateStep
from core.runs.heart import Heart
from core.runs.history import why_no_state
from core.runs.loop import LoopThread
from core.runs.node_threads import NodeThreads
from core.runs.readers import HEARTBEAT_SECONDS, Readers
from core.runs.run import ActiveRun, Run, awaited, describe_elsewhere, to_spec
from core.runs.scheduler import Scheduler
from core.runs.share import ALL, Share
from core.runs.worker import Worker, hold_until
from core.settings import Settings
from core.tables import clean_text, utc_now

T = TypeVar("T")
log = structlog.get_logger("skein.runs")
WhenBusy = Literal["refuse", "wait"]
RIGHTS_SECONDS = 1.0


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
        threads: NodeThreads,
        share: Share = ALL,
        call_process: Callable[[str], None] = lambda _agent_id: None,
    ) -> None:
        self._share = share
        self._call_process = call_process
        self._settings = settings
        self._database = database
        self._calls = calls
        self._executor = executor
        self._loop = loop
        self._worker = Worker(settings.data_dir)
        self._scheduler = Scheduler(
            settings=settings,
            database=database,
            executor=executor,
            loop=loop,
            calls=calls,
            worker=self._worker,
            threads=threads,
        )
        self._heart = Heart(
            settings=settings,
            database=database,
            executor=executor,
            scheduler=self._scheduler,
            loop=loop,
            calls=calls,
            worker=self._worker,
            share=share,
        )
        self._readers = Readers()
        self._flusher: Future[None] | None = None
        self._is_closed = False

    def open(self) -> None:
        """Settle what dead processes left, and begin to work."""
        self._heart.open()
        self._flusher = self._loop.submit(self._scheduler.flush_forever())

    def close(self) -> None:
        """Let runs finish for a while, stop those that do not, and give queued ones up to the next process."""
        self.drain()
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.run(self._scheduler.stop_all())
        self._heart.close()
        if self._flusher is not None:
            self._flusher.cancel()
        self._worker.close()

    def drain(self) -> None:
        """Begin nothing more, and wait until all runs are over, up to ``drain_seconds``, or until ``hurry``."""
        if not self._scheduler.closing.is_set():
            self._scheduler.closing.set()
            self._loop.run(self._scheduler.drain())

    def hurry(self) -> None:
        """Wait no longer for runs to come to their end."""
        self._loop.call(self._scheduler.hurried.set)

    def look(self) -> None:
        """See at once what another process has left for this one."""
        self._heart.beat_soon()

    @property
    def database(self) -> Database:
        return self._database

    @property
    def problem(self) -> str | None:
        """Why what runs say cannot be saved just now, in a sentence; None when all is well."""
        return self._scheduler.problem

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
        held_until = hold_until(self._settings)
        lease_until = utc_now() + timedelta(seconds=self._settings.lease_seconds)

        def job(db: Any) -> list[Added]:
            written = add_messages(
                viewer, db, list(news.values()), worker=self._worker.name, lease_until=lease_until
            )
            if when_busy == "refuse" and any(map(awaited, written)):
                raise BusyError("The answer above is still being written; wait for it, or stop it first.")
            if left := [one.thread_id for new, one in _pairs(written) if not self._share.has(new.agent_id)]:
                store.leave(db, left)
            return written

        def _pairs(written: list[Added]) -> list[tuple[NewMessage, Added]]:
            return list(zip(news.values(), written, strict=True))

        written = self._write(job)
        for new, added in _pairs(written):
            if self._share.has(new.agent_id):
                self._begin(viewer, new, added, held_until)
            else:
                self._call_process(new.agent_id)
        return dict(zip(news, written, strict=True))

    def _checked(self, new: NewMessage) -> NewMessage:
        agent = self._executor.agents.get(new.agent_id)
        require_storable(new.config, "The choice of model and settings")
        return replace(new, text=clean_text(new.text), agent_version=agent.version)

    def _begin(self, viewer: Viewer, new: NewMessage, added: Added, held_until: float) -> None:
        parent = added.parent
        run = self._scheduler.begin(to_spec(viewer, new, added), held_until=held_until)
        if parent is not None:
            run.parent_is_done = parent.status == "done" and parent.agent_id == new.agent_id
        self._loop.call(self._scheduler.admit, run)
        self._scheduler.look_after_waiting([run])

    def settle(self, viewer: Viewer, thread_id: ThreadId, job: Callable[[Any], None]) -> None:
        """Settle in one transaction what a waiting thread asks, and let it go on if there is a decision then."""
        self._require_starter(viewer, thread_id, "decide what it asks")
        if self._scheduler.closing.is_set():
            raise BusyError("Skein is shutting down; please decide this again in a moment.")
        holds, until = hold_until(self._settings), utc_now() + timedelta(seconds=self._settings.lease_seconds)
        agent_id, worker = "", self._worker.name
        if self._share.agents:
            with self._database.read() as db:
                agent_id = get_turn_of_thread(viewer, db, thread_id).agent_id
            worker = worker if self._share.has(agent_id) else store.NOBODY

        def settled(db: Any) -> store.Spec | None:
            waiting.hold_thread(db, thread_id)
            job(db)
            return waiting.claim(db, thread_id, worker=worker, until=until)

        spec = self._database.write(settled)
        if spec is not None and worker == store.NOBODY:
            self._call_process(agent_id)
        elif spec is not None:
            with self._database.read() as db:
                events = store.read_events(db, thread_id)
            self._loop.call(self._scheduler.admit, self._scheduler.begin(spec, held_until=holds, events=events))

    def find_asked(self, viewer: Viewer, thread_id: ThreadId) -> set[str]:
        """The ids of the interrupts that a thread waits with, as its agent's graph is now."""
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        return self._loop.run(self._executor.find_asked(thread_id, turn.agent_id))

    def may_write_artifacts(self, agent_id: str) -> bool:
        """Whether a run of this agent is given what artifacts are written with."""
        return self._executor.agents.may_write_artifacts(agent_id)

    def find_missing(self, agent_id: str, node: str) -> str | None:
        """Why an agent cannot go on at a node, in one sentence; None when it can."""
        return self._executor.find_missing(agent_id, node)

    def attach(
        self, viewer: Viewer, thread_id: ThreadId, *, after: int = 0, pace: float = 0.0
    ) -> Iterator[list[Event]]:
        """Follow a run's events beyond ``after``, live or stored, here or elsewhere, until it is over.

        Yields lists of events in order; an empty one is a heartbeat, at least every 0.25 s. ``pace`` (seconds)
        is the least time between two lists, which grows where very many read at once. NotFoundError when the viewer
        may not see the thread, SignInError when they are signed out; also while it goes on, within a second.
        """
        run = self._scheduler.runs.get(thread_id)
        # Whose a run is that goes on here is known; of all else the database says whether it is there.
        if run is None or not viewer.may_read(run.spec.user_id):
            with self._database.read() as db:
                get_turn_of_thread(viewer, db, thread_id)
        return self._while_allowed(viewer, thread_id, self._follow(thread_id, max(after, 0), pace))

    def _while_allowed(
        self, viewer: Viewer, thread_id: ThreadId, lists: Iterator[list[Event]]
    ) -> Iterator[list[Event]]:
        """The lists as long as the viewer has the rights to see them, which may be taken away meanwhile."""
        looked_at, rights = time.monotonic(), viewer
        for events in lists:
            if time.monotonic() - looked_at >= RIGHTS_SECONDS:
                now = find_again(self._database, viewer)
                if now is None:
                    raise SignInError("You are signed out; sign in again to go on reading, nothing is lost.")
                if now.role != rights.role:
                    with self._database.read() as db:
                        get_turn_of_thread(now, db, thread_id)
                looked_at, rights = time.monotonic(), now
            yield events

    def stop(self, viewer: Viewer, thread_id: ThreadId) -> bool:
        """Stop a run, wherever it is; what was said is kept. False when it was over already."""
        self._require_starter(viewer, thread_id, "stop it")
        return self._stop(thread_id, by=viewer)

    def _require_starter(self, viewer: Viewer, thread_id: ThreadId, what: str) -> None:
        run = self._scheduler.runs.get(thread_id)
        if run is not None and (viewer.is_admin or run.spec.user_id == viewer.user_id):
            return
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        if turn.user_id != viewer.user_id and not viewer.is_admin:
            raise ForbiddenError(f"Only the person who started this run, or an admin, can {what}.")

    def stop_all(self, viewer: Viewer, message_ids: Collection[MessageId]) -> None:
        """Stop what of the viewer's own still answers these messages, deleted ones too."""
        with self._database.read() as db:
            live = store.find_live(db, viewer.user_id, message_ids)
        for thread_id in live:
            self._stop(thread_id, by=viewer)

    def _stop(self, thread_id: ThreadId, *, by: Viewer) -> bool:
        run = self._scheduler.runs.get(thread_id)
        is_here = run is not None and not run.ending
        if run is not None and is_here:
            self._loop.call(self._scheduler.stop, run)

        def job(db: Any) -> bool:
            stopped = is_here or store.request_stop(db, thread_id) or stop_asking(db, thread_id, by)
            if stopped:
                session_id = run.spec.session_id if run is not None else store.find_session(db, thread_id)
                record(db, by, "thread.stop", target_id=thread_id, session_id=session_id)
            return stopped

        stopped = self._database.write(job)
        if stopped and not is_here and self._share.agents:
            for agent_id in self._share.agents:
                self._call_process(agent_id)
        return stopped

    def active(self, viewer: Viewer) -> list[ActiveRun]:
        """What this process, and those of its projects, run and have queued: the viewer's own, an admin all."""
        runs = [
            run
            for run in list(self._scheduler.runs.values())
            if viewer.is_admin or run.spec.user_id == viewer.user_id
        ]
        return [*(self._describe(run) for run in runs), *self._list_elsewhere(viewer)]

    def active_everywhere(self, viewer: Viewer) -> list[ActiveRun]:
        """The same, and what other processes on this database run and have queued."""
        here = {run.thread_id: run for run in self.active(viewer)}
        with self._database.read() as db:
            found = store.list_live(db, None, None if viewer.is_admin else viewer.user_id)
        others = [one for one in found if one[0].worker != self._worker.name and one[0].thread_id not in here]
        return [*here.values(), *(describe_elsewhere(*one) for one in others)]

    def _list_elsewhere(self, viewer: Viewer) -> list[ActiveRun]:
        """What the processes of projects are at, of which only the database tells."""
        if self._share.alone or not self._share.agents:
            return []
        with self._database.read() as db:
            found = store.list_live(db, self._share.agents, None if viewer.is_admin else viewer.user_id)
        return [describe_elsewhere(thread, conversation_id) for thread, conversation_id in found]

    def place_of(self, viewer: Viewer, thread_id: ThreadId) -> int | None:
        """The place of a viewer's queued run, 1 for the next; None when it is not queued here."""
        run = self._scheduler.runs.get(thread_id)
        if run is None or not viewer.may_read(run.spec.user_id):
            return None
        return self._loop.run(self._scheduler.place_of(thread_id))

    def get_state(self, viewer: Viewer, thread_id: ThreadId, checkpoint_id: str | None = None) -> StateStep:
        """The full state of a thread at a checkpoint, or at its newest; NotFoundError when there is none."""
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        step = self._loop.run(self._executor.read_state(thread_id, turn.agent_id, checkpoint_id))
        if step is not None:
            return step
        with self._database.read() as db:
            raise NotFoundError(why_no_state(db, turn, checkpoint_id))

    def check_edits(self, agent_id: str, edits: Mapping[str, Any]) -> None:
        """BadInputError says what of an edited state the agent's graph does not take."""
        self._executor.check_edits(agent_id, edits)

    def read_states(self, viewer: Viewer, thread_id: ThreadId) -> list[StateStep]:
        """The full state after each step of a thread, oldest first, read from its checkpoints.

        The state that it began with is its source's, and not among them.
        """
        with self._database.read() as db:
            turn = get_turn_of_thread(viewer, db, thread_id)
        return self._loop.run(self._executor.read_states(thread_id, turn.agent_id, turn.source_checkpoint_id))

    # -- following --------------------------------------------------------------------------------------

    def _follow(self, thread_id: str, after: int, pace: float) -> Iterator[list[Event]]:
        run = self._scheduler.runs.get(thread_id)
        if run is not None:
            after = yield from self._readers.follow(run.log, after, pace)
            if not run.lost:
                return
        while True:
            with self._database.read() as db:
                status = store.read_status(db, thread_id)
                events = store.read_events(db, thread_id, after=after)
            yield events
            after = events[-1].seq if events else after
            if status not in {"queued", "running"} or self._scheduler.closing.is_set():
                return
            self._scheduler.closing.wait(HEARTBEAT_SECONDS)

    # -- small things -----------------------------------------------------------------------------------

    def _require_room(self, viewer: Viewer, more: int) -> None:
        if self._scheduler.closing.is_set():
            raise BusyError("Skein is shutting down; please send this again in a moment.")
        self._calls.require_room()
        # Counted here and not in the queue, which a run enters only when the loop comes to it.
        runs = [
            run
            for run in list(self._scheduler.runs.values())
            if run.spec.user_id == viewer.user_id and not run.ending
        ]
        elsewhere = [one for one in self._list_elsewhere(viewer) if one.user_id == viewer.user_id]
        waiting = len(runs) + len(elsewhere) - min(self._settings.max_runs, self._settings.max_runs_per_user)
        if waiting + more > self._settings.max_queued_per_user:
            raise BusyError(
                f"{max(waiting, 0)} of your messages are waiting already; please let some be answered first."
            )

    def _write(self, job: Callable[[Any], T]) -> T:
        try:
            return self._database.write(job)
        except OutageError as error:
            raise CreationError(f"The message could not be saved; nothing was sent. {error}") from error
        except SQLAlchemyError as error:
            log.warning("not_created", error=type(error).__name__, text=first_line(error)[:300])
            raise CreationError("The message could not be saved; nothing was sent. Please try again.") from error

    def _runs(self) -> list[Run]:
        return list(self._scheduler.runs.values())

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
            None if run.work is not None else self._loop.run(self._scheduler.place_of(spec.thread_id)),
            run.recorder.working_node,
            seconds,
            tokens,
            tokens / seconds if seconds > 0 else 0.0,
        )
