"""The heartbeat, on a thread of its own, so that a graph that blocks the loop cannot stall it.

Each beat renews this process's leases and settles what processes that are gone have left: running threads are lost,
queued ones are taken over.
"""

import threading
from datetime import datetime, timedelta
from functools import partial

import structlog

from core.calls.capture.log import CallLog
from core.database import Database
from core.history.approval_steps import list_expired
from core.outages import first_line
from core.runs import store, waiting
from core.runs.asking import expire
from core.runs.events import Event
from core.runs.execute import Executor
from core.runs.loop import LoopThread
from core.runs.scheduler import Scheduler
from core.runs.share import ALL, Share
from core.runs.store import Spec
from core.runs.worker import Worker, hold_until
from core.settings import Settings
from core.tables import utc_now

_WITHIN = 0.2  # to look for what others left can wait a little; to hold on to leases cannot
log = structlog.get_logger("skein.runs")


class Heart:
    """Beats from ``open`` to ``close``."""

    def __init__(
        self,
        *,
        settings: Settings,
        database: Database,
        executor: Executor,
        scheduler: Scheduler,
        loop: LoopThread,
        calls: CallLog,
        worker: Worker,
        share: Share = ALL,
    ) -> None:
        self._share = share
        self._settings = settings
        self._database = database
        self._executor = executor
        self._scheduler = scheduler
        self._loop = loop
        self._calls = calls
        self._worker = worker
        self._closing = threading.Event()
        self._early = threading.Event()
        self._thread = threading.Thread(target=self._beat_forever, name="skein-heartbeat", daemon=True)

    def open(self) -> None:
        """Settle what dead processes left, and go on doing so."""
        self._beat()
        self._thread.start()

    def beat_soon(self) -> None:
        """Beat before the time has come: another process has left something for this one."""
        self._early.set()

    def close(self) -> None:
        self._closing.set()
        self._early.set()
        if self._thread.is_alive():
            self._thread.join()

    def _beat_forever(self) -> None:
        while True:
            self._early.wait(self._settings.lease_seconds / 4)
            self._early.clear()
            if self._closing.is_set():
                return
            try:
                self._beat()
            except Exception as error:  # noqa: BLE001 - whatever it was, the next beat must come
                log.warning("heartbeat_failed", error=type(error).__name__, text=first_line(error)[:300])

    def _beat(self) -> None:
        """Renew our leases, settle those of workers that are gone, and see who need not wait any longer."""
        scheduler = self._scheduler
        good_until = hold_until(self._settings)
        until = utc_now() + timedelta(seconds=self._settings.lease_seconds)
        # Also those whose end could not be written yet.
        runs = [run for run in list(scheduler.runs.values()) if not run.lost]
        specs = [run.spec for run in runs]
        name, dead = self._worker.name, self._worker.find_dead()
        if specs:
            held = self._database.write(lambda db: store.renew_leases(db, specs, worker=name, until=until))
            scheduler.renewed_until = good_until
            self._loop.call(scheduler.check_held, runs, held)
        if scheduler.closing.is_set():
            return  # what is left now, also by this process, is for the next
        mine = list(scheduler.runs)
        recovered = self._database.submit(
            lambda db: store.recover(db, worker=name, held=mine, dead=dead, until=until, share=self._share),
            within=0.0 if self._share.alone else min(_WITHIN, self._settings.lease_seconds / 20),
        ).result()
        self._worker.forget(dead)
        for thread_id in recovered.lost:
            log.warning("run_lost", thread_id=thread_id)
        self._calls.settle(recovered.lost)
        for spec in [*recovered.adopted, *self._claim_decided(until)]:
            self._loop.call(
                scheduler.admit, scheduler.begin(spec, held_until=good_until, events=self._events_of(spec))
            )
        scheduler.look_after_waiting(list(scheduler.runs.values()))
        self._settle_artifacts()

    def _settle_artifacts(self) -> None:
        """Let the artifacts of runs whose process was killed agree with their states."""
        with self._database.read() as db:
            found = waiting.find_unsettled(db)
        for thread_id in found:
            self._loop.run(self._executor.settle_artifacts(thread_id))

    def _claim_decided(self, until: datetime) -> list[Spec]:
        """Let time decide what nobody did, and take the waiting threads that a decision is there for."""
        if self._scheduler.closing.is_set():
            return []
        with self._database.read() as db:
            expired = [row for row in list_expired(db, utc_now()) if self._share.has(row.agent_id)]
            found = waiting.find_resumable(db, self._share)
        for row in expired:
            self._database.write(partial(expire, row=row))
        name = self._worker.name
        threads = dict.fromkeys([*found, *(row.thread_id for row in expired)])
        claimed = [
            self._database.write(partial(waiting.claim, thread_id=key, worker=name, until=until)) for key in threads
        ]
        return [spec for spec in claimed if spec is not None]

    def _events_of(self, spec: Spec) -> list[Event]:
        if spec.resume is None:
            return []
        with self._database.read() as db:
            return store.read_events(db, spec.thread_id)
