"""A folder beside what is to be written, for what gathers while an export is made.

Invariant: it goes with whoever made it; where that process was killed, with the next export to the same place. It
is held by a lock that the operating system lets go of however a process ends.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from secrets import token_hex

from filelock import FileLock, Timeout

_NAME = ".skein-export-"


@contextmanager
def work_folder(parent: Path) -> Iterator[Path]:
    """An empty folder in this one, for as long as the ``with`` block; what dead processes left there is removed."""
    for lock in parent.glob(f"{_NAME}*.lock"):
        remove_if_dead(lock)
    folder = parent / f"{_NAME}{token_hex(6)}"
    held = FileLock(folder.with_suffix(".lock"), thread_local=False)
    held.acquire()
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        held.release()
        with suppress(OSError):
            folder.with_suffix(".lock").unlink(missing_ok=True)


def remove_if_dead(lock: Path) -> None:
    """Remove the folder that this lock is of, and the lock, where no process holds it."""
    try:
        with FileLock(lock, timeout=0, thread_local=False):
            shutil.rmtree(lock.with_suffix(""), ignore_errors=True)
    except (Timeout, OSError):
        return
    with suppress(OSError):
        lock.unlink(missing_ok=True)
