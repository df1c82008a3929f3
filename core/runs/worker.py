"""Which process this is, and which others are surely gone.

A worker holds a lock on a file of its own for as long as its process lives; the operating system lets go of it
however the process ends. So a new start on the same machine need not wait for a dead worker's leases to run out.
Invariant: a worker is called dead only when its lock could be taken; where its file is not seen (another
machine), leases alone decide.
"""

import secrets
import socket
import time
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import BusyError
from core.settings import Settings

_MARGIN = 0.8


def hold_until(settings: Settings) -> float:
    """Until when a lease that is taken now surely holds, on the monotonic clock."""
    return time.monotonic() + settings.lease_seconds * _MARGIN


def require_closed(settings: Settings) -> None:
    """See that no process of this machine has Skein open on the data folder; BusyError where one has."""
    for path in _folder_of(settings.data_dir).glob("*.lock"):
        if not _is_free(path):
            raise BusyError("A Skein is open on this data folder; please stop it first.")


class Worker:
    """This process as the holder of leases; ``close`` gives its name up."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = _folder_of(data_dir)
        self._folder.mkdir(parents=True, exist_ok=True)
        self.name = f"{socket.gethostname()[:40]}-{secrets.token_hex(6)}"
        self._lock = FileLock(self._path(self.name), thread_local=False)
        self._lock.acquire()

    def find_dead(self) -> list[str]:
        """Names of workers whose process has ended; call ``forget`` when their runs are settled."""
        names = [path.stem for path in self._folder.glob("*.lock") if path.stem != self.name]
        return [name for name in names if _is_free(self._path(name))]

    def forget(self, names: list[str]) -> None:
        for name in names:
            self._path(name).unlink(missing_ok=True)

    def close(self) -> None:
        self._lock.release()
        with suppress(OSError):
            self._path(self.name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.lock"


def _folder_of(data_dir: Path) -> Path:
    return data_dir / "workers"


def _is_free(lock: Path) -> bool:
    try:
        with FileLock(lock, timeout=0, thread_local=False):
            return True
    except (Timeout, OSError):
        return False
