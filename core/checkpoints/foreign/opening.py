"""Open a stranger's SQLite file so that it can be read and nothing else: not changed, not run, not for ever.

Nothing is left beside the file: how it is opened depends on what stands there already (``-wal``, ``-shm``).
Invariant: the connection reads two tables and the list of tables, calls only harmless functions, and every
statement ends by its deadline.
"""

import os
import shutil
import sqlite3
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from core.errors import BadInputError, BusyError, NotFoundError
from core.outside import read_failure

SECONDS, SECONDS_IN_ALL = 5.0, 20.0
# No row is larger than this; a file that claims so is damaged, or made to harm.
LARGEST = 256_000_000
_MAGIC = b"SQLite format 3\x00"
_TABLES = frozenset({"checkpoints", "writes", "sqlite_master"})
_FUNCTIONS = frozenset({"length", "count", "sum", "min", "max", "substr", "typeof"})
_PRAGMAS = frozenset({"table_xinfo", "encoding"})
_DEEDS = frozenset({sqlite3.SQLITE_SELECT, sqlite3.SQLITE_TRANSACTION})
_LIMITS = {
    sqlite3.SQLITE_LIMIT_LENGTH: LARGEST,
    sqlite3.SQLITE_LIMIT_ATTACHED: 0,
    sqlite3.SQLITE_LIMIT_WORKER_THREADS: 0,
    sqlite3.SQLITE_LIMIT_COLUMN: 200,
    sqlite3.SQLITE_LIMIT_EXPR_DEPTH: 100,
}
_STEPS = 2_000
_NO_DATABASE = "is not a SQLite database, or it is encrypted; open it with the program that wrote it."
_MEANINGS = {
    sqlite3.SQLITE_NOTADB: _NO_DATABASE,
    sqlite3.SQLITE_AUTH: "would run something when it is read; Skein does not open such a file.",
    sqlite3.SQLITE_CORRUPT: "is damaged; try `.recover` of SQLite's own command line on a copy of it.",
    sqlite3.SQLITE_READONLY: "was left in the middle of a change; open it once with the program that wrote it.",
    sqlite3.SQLITE_TOOBIG: "holds a row that is larger than Skein reads; it is damaged, or made to do harm.",
}
_SETTINGS = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
    "PRAGMA query_only = ON",
    "PRAGMA temp_store = MEMORY",
)


class Clock:
    """When the statement that runs now has to be done, and all of them together."""

    def __init__(self) -> None:
        self._last = time.monotonic() + SECONDS_IN_ALL
        self._end = self._last

    def start(self, seconds: float = SECONDS) -> None:
        """Give the next statement its time."""
        self._end = min(self._last, time.monotonic() + seconds)

    @property
    def is_over(self) -> bool:
        return time.monotonic() > self._end


@contextmanager
def connect(path: Path, clock: Clock) -> Iterator[tuple[Path, sqlite3.Connection]]:
    """A connection to this file, in one view of it; one sentence when it is not a file to be read so."""
    file = _find(path)
    with tempfile.TemporaryDirectory(prefix="skein-open-") as folder, sentences(file):
        uri = _uri(file, Path(folder))
        with closing(sqlite3.connect(uri, uri=True, timeout=1.0, isolation_level=None)) as connection:
            clock.start()
            _harden(connection, clock)
            connection.execute("BEGIN")
            yield file, connection


@contextmanager
def sentences(path: Path) -> Iterator[None]:
    """What SQLite says, as a sentence."""
    try:
        yield
    except (sqlite3.Error, MemoryError) as error:
        code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
        raise _explain(path.name, code, read_failure(error, 300)) from error


def _explain(name: str, code: int, text: str) -> Exception:
    if code == sqlite3.SQLITE_INTERRUPT:
        return BusyError(f"Reading {name} took too long and was given up; narrow the search, or use a faster disk.")
    if code in {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}:
        return BusyError(f"Another program keeps {name} locked; try again in a moment.")
    if code in _MEANINGS:
        return BadInputError(f"{name} {_MEANINGS[code]}")
    return BadInputError(f"{name} cannot be read ({text[:200]}); check the file and its folder.")


def _find(path: Path) -> Path:
    """The file, if it is one that begins as SQLite's do."""
    shown = repr(str(path)[-200:])
    try:
        file = path.expanduser().resolve(strict=True)
        begins = _begins(file)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(f"There is no file {shown} on this server; check the path.") from None
    except PermissionError:
        raise BadInputError(f"Skein may not read {shown}; give its user the right to, or copy the file.") from None
    except (OSError, ValueError, RuntimeError) as error:
        if isinstance(error, BadInputError):
            raise
        raise BadInputError(f"{shown} cannot be opened ({type(error).__name__}); check the path.") from None
    if not begins:
        raise BadInputError(f"{file.name} is empty: nothing was ever written to it.")
    if begins != _MAGIC:
        raise BadInputError(f"{file.name} {_NO_DATABASE}")
    return file


def _begins(file: Path) -> bytes:
    kind = file.stat().st_mode
    if stat.S_ISDIR(kind):
        raise BadInputError(f"{file.name} is a folder; give the path of a file in it.")
    if not stat.S_ISREG(kind):
        raise BadInputError(f"{file.name} is not a regular file; give the path of a SQLite file.")
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC))


def _uri(file: Path, folder: Path) -> str:
    log, shared = (file.with_name(file.name + end) for end in ("-wal", "-shm"))
    if not (log.exists() and log.stat().st_size):
        # Nothing waits in a log; a usual reader of such a file would leave an empty one beside it.
        return f"{file.as_uri()}?mode=ro" + ("&immutable=1" if _keeps_a_log(file) else "")
    if not shared.exists():
        # The index of the log is written anew by whoever reads it: not beside the stranger's file.
        file = _brought(file, log, folder)
    return f"{file.as_uri()}?mode=ro"


def _keeps_a_log(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(20)[18:20] == b"\x02\x02"


def _brought(file: Path, log: Path, folder: Path) -> Path:
    """The file and its log under names in a folder of ours: the same bytes, or a copy from another disk."""
    for one in (file, log):
        try:
            os.link(one, folder / one.name)
        except OSError:
            shutil.copyfile(one, folder / one.name)
    return folder / file.name


def _harden(connection: sqlite3.Connection, clock: Clock) -> None:
    for limit, most in _LIMITS.items():
        connection.setlimit(limit, most)
    connection.set_progress_handler(lambda: clock.is_over, _STEPS)
    for setting in _SETTINGS:
        connection.execute(setting)
    with suppress(AttributeError):  # from Python 3.12 on
        connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)  # type: ignore[attr-defined]
    connection.text_factory = lambda text: text.decode("utf-8", "replace")
    connection.set_authorizer(_may)


def _may(deed: int, one: str | None, other: str | None, database: str | None, inner: str | None) -> int:  # noqa: ARG001
    """Whether a statement may do this; asked while it is compiled, also for what a view or a column brings in."""
    allowed = (
        deed in _DEEDS
        or (deed == sqlite3.SQLITE_READ and (one or "").lower() in _TABLES)
        or (deed == sqlite3.SQLITE_FUNCTION and (other or "").lower() in _FUNCTIONS)
        or (deed == sqlite3.SQLITE_PRAGMA and (one or "").lower() in _PRAGMAS)
    )
    return sqlite3.SQLITE_OK if allowed and inner is None else sqlite3.SQLITE_DENY
