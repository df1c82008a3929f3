"""Exports that are made in the background, one after another, and wait for who asked for them.

Invariant: a job and its file are its owner's alone, and only while they may read all that is in it: when a session
of it was deleted, or the account closed or given a lesser role, the file is taken away as soon as somebody asks for
it, and within a minute otherwise. Else it goes a day after it was made, when this process ends, or, where that was
killed, when the next one begins. The folder of a process is held by a lock that the operating system lets go of
however the process ends, so that several may share one data folder.
"""

import queue
import shutil
import threading
import time
from collections.abc import Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from secrets import token_hex as make_token
from typing import Literal

import structlog
from filelock import FileLock

from core.access.viewer import Viewer
from core.database import Database
from core.errors import BadInputError, BusyError, NotFoundError, SkeinError
from core.ids import ExportId, SessionId, new_export_id
from core.records.export.sessions import Summary, export_sessions, require_readable
from core.records.export.work_folder import remove_if_dead
from core.tables import User, utc_now

State = Literal["waiting", "working", "ready", "failed", "stopped"]

KEPT = timedelta(hours=24)
MOST_PER_USER = 5
MOST_KEPT = 20
_TIDY_SECONDS = 60.0
log = structlog.get_logger("skein.records")


@dataclass(frozen=True)
class Job:
    """An export and how far it is: ``done`` of ``of`` sessions. ``summary`` is there when it is ready."""

    export_id: ExportId
    state: State
    of: int
    done: int = 0
    step: str = "Waiting for its turn"
    error: str = ""
    summary: Summary | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None

    @property
    def path(self) -> Path | None:
        """The file, once it is ready."""
        return self.summary.path if self.summary else None

    @property
    def is_over(self) -> bool:
        return self.state in {"ready", "failed", "stopped"}

    @property
    def seconds(self) -> float:
        """How long it has taken, or took."""
        if self.started_at is None:
            return 0.0
        return ((self.ended_at or utc_now()) - self.started_at).total_seconds()


@dataclass
class _Asked:
    """A job with what only its work has to know."""

    viewer: Viewer
    ids: Sequence[SessionId]
    job: Job
    stopping: bool = False

    @property
    def exported(self) -> list[SessionId]:
        """The sessions that are in the file; none before there is one."""
        return [one for one in self.ids if one not in self.job.summary.gone] if self.job.summary else []


class _StoppedError(Exception):
    """The person does not want it any more."""


class Exports:
    """The exports of this process; ``open`` it once and ``close`` it at the end."""

    def __init__(self, *, database: Database, checkpoints: Path, folder: Path) -> None:
        self._database, self._checkpoints = database, checkpoints
        self._folder = folder
        self._own = folder / f"process-{make_token(6)}"
        self._held = FileLock(self._own.with_suffix(".lock"), thread_local=False)
        self._asked: dict[ExportId, _Asked] = {}
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[_Asked | None] = queue.SimpleQueue()
        self._closing = False
        self._tidied = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="skein-exports", daemon=True)

    def open(self) -> None:
        """Take away what dead processes left, and begin to work."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for lock in self._folder.glob("*.lock"):
            remove_if_dead(lock)
        self._held.acquire()
        self._own.mkdir(mode=0o700)
        self._thread.start()

    def close(self) -> None:
        """Stop what is being made, and take all files away."""
        self._closing = True
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()
        shutil.rmtree(self._own, ignore_errors=True)
        self._held.release()
        with suppress(OSError):
            self._own.with_suffix(".lock").unlink(missing_ok=True)

    # -- what people ask for ----------------------------------------------------------------------------

    def start(self, viewer: Viewer, session_ids: Collection[SessionId]) -> ExportId:
        """Ask for an export of these sessions; NotFoundError when one is not the viewer's to read."""
        ids = list(dict.fromkeys(session_ids))
        if not ids:
            raise BadInputError("There is no session to export; please choose at least one.")
        with self._database.read() as db:
            require_readable(viewer, db, ids)
        asked = _Asked(viewer, ids, Job(new_export_id(), "waiting", len(ids)))
        with self._lock:
            if self._closing:
                raise BusyError("Skein is shutting down; please ask for the export again in a moment.")
            if len([one for one in self._all_of(viewer) if not one.job.is_over]) >= MOST_PER_USER:
                raise BusyError(f"{MOST_PER_USER} exports of yours are being made; please wait, or stop one.")
            self._asked[asked.job.export_id] = asked
        self._queue.put(asked)
        return asked.job.export_id

    def status(self, viewer: Viewer, export_id: ExportId) -> Job:
        """How far an export is; NotFoundError when it is not the viewer's, or was taken away."""
        return self._find(viewer, export_id).job

    def read_file(self, viewer: Viewer, export_id: ExportId) -> bytes:
        """The file of a finished export; NotFoundError as with ``status``, or when there is none yet."""
        path = self.status(viewer, export_id).path
        if path is None:
            raise NotFoundError("This export is not ready; please wait until it is.")
        return path.read_bytes()

    def list_exports(self, viewer: Viewer) -> list[Job]:
        """The viewer's exports, the newest first."""
        return [one.job for one in self._let_go(self._of(viewer))][::-1]

    def forget(self, viewer: Viewer, export_id: ExportId) -> None:
        """Stop an export that is being made, or take its file away."""
        asked = self._find(viewer, export_id)
        asked.stopping = True
        if asked.job.is_over:
            self._take_away(asked)

    def _find(self, viewer: Viewer, export_id: ExportId) -> _Asked:
        found = self._let_go(one for one in self._of(viewer) if one.job.export_id == export_id)
        if not found:
            raise NotFoundError("There is no such export here; files are kept for a day, please make it anew.")
        return found[0]

    def _of(self, viewer: Viewer) -> list[_Asked]:
        """What was made with the eyes of an analyst is only for one who still has them."""
        with self._lock:
            mine = self._all_of(viewer)
        return [one for one in mine if viewer.reads_all or not one.viewer.reads_all]

    def _all_of(self, viewer: Viewer) -> list[_Asked]:
        return [one for one in self._asked.values() if one.viewer.user_id == viewer.user_id]

    def _let_go(self, some: Iterable[_Asked]) -> list[_Asked]:
        """Those that their owners may still have; the files of the others are taken away."""
        kept = []
        for one in some:
            if one.job.state != "ready" or self._may_have(one):
                kept.append(one)
            else:
                self._take_away(one)
        return kept

    def _may_have(self, asked: _Asked) -> bool:
        """Whether its owner may read all that is in it, by what the database says now."""
        with self._database.read() as db, suppress(NotFoundError):
            user = db.get(User, asked.viewer.user_id)
            if user is None or user.disabled_at is not None:
                return False
            viewer = replace(asked.viewer, role=user.role)
            require_readable(viewer, db, asked.exported)
            return viewer.reads_all or not asked.viewer.reads_all
        return False

    # -- the work ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._closing:
            with suppress(queue.Empty):
                asked = self._queue.get(timeout=_TIDY_SECONDS)
                if asked is not None and not self._closing:
                    self._work(asked)
            self._tidy_safely()

    def _work(self, asked: _Asked) -> None:
        asked.job = replace(asked.job, state="working", started_at=utc_now())
        try:
            summary = self._make(asked)
        except _StoppedError:
            asked.job = replace(asked.job, state="stopped", step="Stopped", ended_at=utc_now())
            self._take_away(asked)
        except Exception as error:  # noqa: BLE001 - whatever it was, the next export must be made
            if not isinstance(error, SkeinError):
                log.warning("export_failed", error=type(error).__name__)
            asked.job = replace(asked.job, state="failed", error=_explain(error), ended_at=utc_now())
            shutil.rmtree(self._place(asked), ignore_errors=True)
        else:
            asked.job = replace(
                asked.job, state="ready", done=asked.job.of, step="Ready", summary=summary, ended_at=utc_now()
            )
            self._keep_newest(asked.viewer)

    def _make(self, asked: _Asked) -> Summary:
        def hear(done: int, of: int, step: str) -> None:
            if asked.stopping or self._closing:
                raise _StoppedError
            asked.job = replace(asked.job, done=done, of=of, step=step)
            if time.monotonic() - self._tidied > _TIDY_SECONDS:
                self._tidy_safely()

        place = self._place(asked)
        place.mkdir(mode=0o700)
        return export_sessions(
            asked.viewer,
            self._database,
            self._checkpoints,
            asked.ids,
            place / f"skein-export-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}.zip",
            progress=hear,
        )

    def tidy(self, *, now: datetime | None = None) -> None:
        """Take away what has been ready for a day, and what its owner may not have any more."""
        before = (now or utc_now()) - KEPT
        with self._lock:
            asked = list(self._asked.values())
        for one in asked:
            if one.job.ended_at is not None and one.job.ended_at < before:
                self._take_away(one)
        self._let_go(asked)

    def _tidy_safely(self) -> None:
        self._tidied = time.monotonic()
        try:
            self.tidy()
        except Exception as error:  # noqa: BLE001 - a database that is away must not end the exports
            log.warning("exports_not_tidied", error=type(error).__name__)

    def _keep_newest(self, viewer: Viewer) -> None:
        with self._lock:
            ready = [one for one in self._all_of(viewer) if one.job.state == "ready"]
        for one in ready[:-MOST_KEPT]:
            self._take_away(one)

    def _take_away(self, asked: _Asked) -> None:
        with self._lock:
            self._asked.pop(asked.job.export_id, None)
        shutil.rmtree(self._place(asked), ignore_errors=True)

    def _place(self, asked: _Asked) -> Path:
        return self._own / asked.job.export_id


def _explain(error: Exception) -> str:
    if isinstance(error, SkeinError):
        return str(error)
    if isinstance(error, OSError):
        return f"The export could not be written ({error.strerror or type(error).__name__}); please try again."
    return f"The export could not be made ({type(error).__name__}); please try again."
