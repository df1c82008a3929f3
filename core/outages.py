"""Stores that fail for a while: which errors pass, what to say of them, and doing again what is safe to do twice.

Invariant: what people read names what is the matter (the disk is full, the database does not answer), never the
class of an error.
"""

import errno
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg
import stamina
from psycopg_pool import PoolClosed
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as NoConnectionError

from core.errors import BusyError, DamageError, NoRoomError, OutageError, SkeinError
from core.outside import read_failure

T = TypeVar("T")

PATIENCE_SECONDS = 120.0
FULL = "The disk is full; please have its operator free some space, and try again."
MEND = "its operator can bring a backup back, see docs/backup.md."
_DAMAGE = ("malformed", "not a database", "unsupported file format", "Could not decode")
_READ_ONLY = "The disk cannot be written; please have its operator look at it, and try again."
_BUSY = "The database is busy; please try again in a moment."
_AWAY = "The database does not answer; please try again in a moment."
# Classes of states (connection, conflict, resources), and words of messages.
_OUTAGES_OF_POSTGRES = {"08", "40", "53", "55", "57", "58"}
_OUTAGES_OF_SQLITE = ("locked", "busy", "full", "I/O", "unable to open", "readonly")
_RETRYABLE_POSTGRES = {"40001", "40P01", "55P03", "57P03"}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class CommitUnknownError(OutageError):
    """The connection broke while committing: the work may be there or not, so it must not simply be run again."""


def is_damage(error: BaseException) -> bool:
    """Whether a SQLite file is not one any more, or not a whole one."""
    driver = _driver_error(error)
    return isinstance(driver, sqlite3.DatabaseError) and any(words in str(driver) for words in _DAMAGE)


@contextmanager
def in_sentences() -> Iterator[None]:
    """Say for people what is the matter with a store: OutageError where it may pass, else DamageError."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        explained = explain(error)
        if explained is None:
            raise
        raise explained from error


def explain(error: Exception) -> SkeinError | None:
    """The error that says in a sentence for people what is the matter; None where only the log can help."""
    if isinstance(error, SkeinError):
        return error
    if is_damage(error):
        return DamageError(f"A database of this server is damaged ({first_line(error)[:200]}); {MEND}")
    if isinstance(error, OSError) and error.errno not in _NO_SPACE:
        return None
    return as_outage(error) if is_outage(error) else None


def is_passing(error: BaseException) -> bool:
    """Whether the same transaction may well succeed if it is simply run again, and none of it happened."""
    if not isinstance(error, DBAPIError):
        return False
    if error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _RETRYABLE_POSTGRES:
        return True
    words = str(error.orig)
    return isinstance(error, OperationalError) and ("is locked" in words or "is busy" in words)


def is_outage(error: BaseException) -> bool:
    """Whether a store is away, full or busy, so that the same work may well succeed later."""
    if isinstance(error, (BusyError, OSError, NoConnectionError)):
        return True
    if isinstance(error, DBAPIError) and (error.connection_invalidated or isinstance(error, InterfaceError)):
        return True
    driver = _driver_error(error)
    if isinstance(driver, sqlite3.Error):
        return any(words in str(driver) for words in _OUTAGES_OF_SQLITE)
    if not isinstance(driver, psycopg.Error) or isinstance(driver, PoolClosed):
        return isinstance(error, OperationalError)
    if driver.sqlstate:
        return driver.sqlstate[:2] in _OUTAGES_OF_POSTGRES
    return isinstance(driver, (psycopg.OperationalError, psycopg.InterfaceError))


def describe_outage(error: BaseException) -> str:
    """What is the matter, in one sentence for people."""
    if isinstance(error, BusyError):
        return str(error)
    driver = _driver_error(error)
    words, state = str(driver), getattr(driver, "sqlstate", None)
    if "is full" in words or state == "53100" or getattr(error, "errno", None) in _NO_SPACE:
        return FULL
    if any(one in words for one in ("readonly", "I/O", "unable to open")) or isinstance(error, OSError):
        return _READ_ONLY
    if isinstance(error, NoConnectionError) or "locked" in words or "busy" in words:
        return _BUSY
    return _AWAY


def as_outage(error: Exception) -> OutageError:
    """The error to raise in the place of a driver's own."""
    if isinstance(error, OutageError):
        return error
    sentence = describe_outage(error)
    return NoRoomError(sentence) if sentence == FULL else OutageError(sentence)


async def repeated(work: Callable[[], Awaitable[T]]) -> T:
    """Do what is safe to be done twice, and again while its store is away; OutageError when that lasts too long."""
    try:
        return await work()
    except Exception as error:
        if not _is_worth_repeating(error):
            raise
    try:
        async for attempt in stamina.retry_context(
            on=_is_worth_repeating, attempts=None, timeout=PATIENCE_SECONDS, wait_initial=0.05, wait_max=2.0
        ):
            with attempt:
                return await work()
    except Exception as error:
        if is_outage(error):
            raise as_outage(error) from error
        raise
    raise AssertionError("there is always an attempt")


def _is_worth_repeating(error: Exception) -> bool:
    # Whoever is merely busy, or closed, has said so for good.
    return is_outage(error) and (isinstance(error, OutageError) or not isinstance(error, BusyError))


def first_line(error: BaseException) -> str:
    """What the driver, or the error itself, says first."""
    return next(iter(read_failure(_driver_error(error), 200).strip().splitlines()), "")


def _driver_error(error: BaseException) -> BaseException:
    original = getattr(error, "orig", None)
    return original if isinstance(original, BaseException) else error
