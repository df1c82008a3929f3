"""Whose files are: what Skein stores is its own user's alone, also where it was made with wider rights before.

Invariant: only what Skein itself makes is changed, and only where it belongs to the user that Skein runs as; of all
else that others may read there is a sentence.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import structlog

from core.settings import Settings

_OTHERS = 0o077
_FOLDERS = ("workers", "exports", "opened")
_FILES_OF_A_TAB, _FILES_OF_ITS_OWN = 4, 200
_ENOUGH = 1_048_576  # where the system sets no limit at all
log = structlog.get_logger("skein.files")


def keep_private() -> None:
    """From now on whatever this process makes is its user's alone: folders 0700, files 0600."""
    os.umask(_OTHERS)


def mend_rights(settings: Settings) -> None:
    """Take from others what they may read of what is stored; a warning names what cannot be mended."""
    for path in list_open_to_others(settings):
        try:
            found = path.stat()
            if found.st_uid == os.geteuid():
                path.chmod(stat.S_IMODE(found.st_mode) & ~_OTHERS)
            else:
                log.warning("open_to_others", path=str(path), problem="it belongs to another user")
        except OSError as error:
            log.warning("open_to_others", path=str(path), problem=error.strerror)


def list_open_to_others(settings: Settings) -> list[Path]:
    """What is stored that others than its owner may read, or look into."""
    if os.name != "posix":
        return []
    return [path for path in _list_stored(settings) if _is_open(path)]


def _list_stored(settings: Settings) -> Iterator[Path]:
    # A folder that is shared with others on purpose, as /tmp is, holds the files; it is not Skein's.
    if settings.data_dir.is_dir() and not settings.data_dir.stat().st_mode & stat.S_ISVTX:
        yield settings.data_dir
    yield settings.data_dir / "secret.key"
    databases = [settings.checkpoints_path, settings.store_path]
    if settings.app_database_path is not None:
        databases.append(settings.app_database_path)
    for database in databases:
        for end in ("", "-wal", "-shm"):
            yield database.with_name(database.name + end)
    for name in _FOLDERS:
        folder = settings.data_dir / name
        if folder.is_dir() and not folder.is_symlink():
            yield folder
            yield from folder.rglob("*")


def _is_open(path: Path) -> bool:
    with suppress(OSError):  # it has just gone
        return not path.is_symlink() and bool(path.stat().st_mode & _OTHERS)
    return False


def raise_file_limit() -> int | None:
    """Let this process open as many files as the system allows it; gives how many, None where nobody knows."""
    try:
        import resource  # noqa: PLC0415 - not there on Windows
    except ImportError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else hard
    if soft in {wanted, resource.RLIM_INFINITY}:
        return wanted
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft


def tabs_for(files: int) -> int:
    """For how many open tabs so many files are enough."""
    return max(files - _FILES_OF_ITS_OWN, 0) // _FILES_OF_A_TAB
