"""Reading for the proof: what was put into a table by hand must not keep anybody from reading the rest.

SQLite keeps any bytes as text, and its driver gives up a whole answer over one value that is not UTF-8. Invariant:
such a value comes as bytes, which no text column of Skein's holds: its row does not pass for what was sealed.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Executable
from sqlalchemy.exc import OperationalError
from sqlmodel import Session as Db


def read_all(db: Db, query: Executable, values: Mapping[str, Any] | None = None) -> Sequence[Any]:
    """All rows of the query."""
    try:
        return db.connection().execute(query, values or {}).all()
    except OperationalError as error:
        if "Could not decode to UTF-8" not in str(error.orig):
            raise
    return _read_lax(db, query, values or {})


def _read_lax(db: Db, query: Executable, values: Mapping[str, Any]) -> Sequence[Any]:
    driver: Any = db.connection().connection.driver_connection
    usual, driver.text_factory = driver.text_factory, _text_or_bytes
    try:
        return db.connection().execute(query, values).all()
    finally:
        driver.text_factory = usual


def _text_or_bytes(value: bytes) -> str | bytes:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
