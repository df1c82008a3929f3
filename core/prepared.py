"""Statements that are compiled once and run by the driver itself: for what every turn, or every page, asks.

SQLAlchemy puts a statement into the words of the database at hand, and says what becomes of the values that it
takes and gives; it is not asked again each time, which costs ten times what the database takes. Invariant: whoever
listens to SQLAlchemy's statements, or catches its errors, sees these as any others.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, Protocol

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.sql.base import Executable
from sqlalchemy.sql.compiler import SQLCompiler

Given = Mapping[str, Any]
_Fix = Callable[[Any], Any] | None
_ROWS_AT_ONCE = 50
_VALUES = re.compile(r" VALUES (\((?:\?, )*\?\))(?= ON CONFLICT|$)")
_OPENED = "prepared"  # where a session keeps what is found out about its connection once


class Db(Protocol):
    """A database session, or what stands for one where a single statement is run."""

    @property
    def info(self) -> dict[Any, Any]: ...

    def connection(self) -> Connection: ...


class Prepared:
    """A statement whose values have names (``bindparam``) and are all given, each time it runs.

    ``columns`` are those that an insert is given values for. A list of values that is known from the start is
    written as ``column.in_([literal(value), ...])``; one of changing length cannot be prepared. ``statement`` is a
    function of the dialect's name where databases have words of their own for it.
    """

    def __init__(
        self, statement: Executable | Callable[[str], Executable], columns: Collection[str] | None = None
    ) -> None:
        self._statement, self._columns = statement, columns
        self._compiled: dict[str, _Compiled] = {}

    def run(self, db: Db, given: Given) -> int:
        """Run it, and say how many rows it changed."""
        cursor, _ = self._execute(db, [given])
        changed = int(cursor.rowcount)
        cursor.close()
        return changed

    def run_many(self, db: Db, given: Sequence[Given]) -> None:
        """Run it once for each of these, which the driver is handed together."""
        rest = given
        while len(rest) >= _ROWS_AT_ONCE and self._insert_rows(db, rest[:_ROWS_AT_ONCE]):
            rest = rest[_ROWS_AT_ONCE:]
        if rest:
            self._execute(db, rest, is_many=True)[0].close()

    def first(self, db: Db, given: Given) -> tuple[Any, ...] | None:
        """The first row that it gives; None when there is none."""
        cursor, compiled = self._execute(db, [given])
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else compiled.read(row)

    def all(self, db: Db, given: Given) -> list[tuple[Any, ...]]:
        """The rows that it gives."""
        cursor, compiled = self._execute(db, [given])
        rows = [compiled.read(row) for row in cursor.fetchall()]
        cursor.close()
        return rows

    def _insert_rows(self, db: Db, given: Sequence[Given]) -> bool:
        """Insert so many rows by one statement, where that is quicker; False where it is not."""
        opened = db.info.get(_OPENED) or _open(db)
        compiled = self._compiled.get(opened.dialect.name) or self._compile(opened.dialect)
        if compiled.text_of_rows is None:
            return False
        values = tuple(chain.from_iterable(map(compiled.take, given)))
        try:
            if _is_heard(opened.connection):
                opened.connection.exec_driver_sql(compiled.text_of_rows, values)
            else:
                opened.driver.execute(compiled.text_of_rows, values)
        except SQLAlchemyError:
            raise
        except Exception as error:
            raise _as_sqlalchemy(error, opened, compiled.text_of_rows, given) from error
        return True

    def _execute(self, db: Db, given: Sequence[Given], *, is_many: bool = False) -> tuple[Any, "_Compiled"]:
        opened = db.info.get(_OPENED) or _open(db)
        compiled = self._compiled.get(opened.dialect.name) or self._compile(opened.dialect)
        try:
            values = [compiled.take(one) for one in given] if is_many else compiled.take(given[0])
            if _is_heard(opened.connection):
                return opened.connection.exec_driver_sql(compiled.text, values), compiled
            cursor = opened.driver.cursor()
            if is_many:
                cursor.executemany(compiled.text, values)
            else:
                cursor.execute(compiled.text, values)
        except SQLAlchemyError:
            raise
        except Exception as error:
            raise _as_sqlalchemy(error, opened, compiled.text, given) from error
        return cursor, compiled

    def _compile(self, dialect: Dialect) -> "_Compiled":
        statement = self._statement if isinstance(self._statement, Executable) else self._statement(dialect.name)
        # Two threads that come first at once both do it, to the same end.
        compiled = self._compiled[dialect.name] = _Compiled(statement, self._columns, dialect)
        return compiled


def run_plain(connection: Connection, text: str) -> None:
    """Run a statement without values, such as those around a transaction; nobody hears of it."""
    opened = _opened(connection)
    try:
        opened.driver.execute(text)
    except Exception as error:
        raise _as_sqlalchemy(error, opened, text, ()) from error


class _Opened(NamedTuple):
    """The connection of a session."""

    connection: Connection
    driver: Any
    dialect: Dialect


class _Compiled:
    """A statement in a database's own words, and what is to be done to its values and to those of its rows."""

    def __init__(self, statement: Any, columns: Collection[str] | None, dialect: Dialect) -> None:
        chosen = list(columns) if columns is not None else None
        compiled: SQLCompiler = statement.compile(
            dialect=dialect, column_keys=chosen, for_executemany=bool(statement.is_insert)
        )
        self.text = str(compiled)
        if compiled.insert_prefetch or compiled.update_prefetch or "__[POSTCOMPILE" in self.text:
            raise ValueError(f"this cannot be prepared: {self.text}")
        self.text_of_rows = _for_rows(self.text) if dialect.name == "sqlite" and statement.is_insert else None
        self._is_positional = compiled.positional
        names = compiled.positiontup if compiled.positional else list(compiled.binds)
        values = [_value_of(compiled, name, dialect) for name in names or ()]
        self._names = [one.name for one in values]
        self._usual = [one.usual for one in values]
        self._takes = [(place, one.name, one.fix) for place, one in enumerate(values) if one.is_given]
        self._gives = [
            column.type.dialect_impl(dialect).result_processor(dialect, None)
            for column in getattr(statement, "exported_columns", ())  # plain text has none
        ]
        self._gives_as_is = not any(self._gives)

    def take(self, given: Given) -> Any:
        """The values as the driver wants them."""
        values = self._usual.copy()
        for place, name, fix in self._takes:
            values[place] = given[name] if fix is None else fix(given[name])
        return tuple(values) if self._is_positional else dict(zip(self._names, values, strict=True))

    def read(self, row: Sequence[Any]) -> tuple[Any, ...]:
        """A row as SQLAlchemy would give it."""
        if self._gives_as_is:
            return tuple(row)
        return tuple([fix(one) if fix is not None else one for fix, one in zip(self._gives, row, strict=True)])


def _for_rows(text: str) -> str | None:
    """An insert for many rows at once; None for one whose values are not plain.

    SQLite makes a copy of each page that a statement changes, so that it can take the statement back, where a
    table has triggers: for a row with many indexes that costs more than all else, for many rows it is done once.
    """
    found = _VALUES.search(text)
    if found is None:
        return None
    return f"{text[: found.start(1)]}{', '.join([found[1]] * _ROWS_AT_ONCE)}{text[found.end(1) :]}"


class _Value(NamedTuple):
    """A value of a statement: whether it is given each time, or is always the same."""

    name: str
    fix: _Fix
    is_given: bool
    usual: Any


def _value_of(compiled: SQLCompiler, name: str, dialect: Dialect) -> _Value:
    bind = compiled.binds[name]
    fix = bind.type.dialect_impl(dialect).bind_processor(dialect)
    if bind.required:
        return _Value(name, fix, True, None)
    return _Value(name, fix, False, fix(bind.value) if fix is not None else bind.value)


def _open(db: Db) -> _Opened:
    opened = db.info[_OPENED] = _opened(db.connection())
    return opened


def _opened(connection: Connection) -> _Opened:
    return _Opened(connection, connection.connection.driver_connection, connection.dialect)


def _is_heard(connection: Connection) -> bool:
    heard = connection.dispatch
    return bool(heard.before_cursor_execute or heard.after_cursor_execute)


def _as_sqlalchemy(error: Exception, opened: _Opened, text: str, given: Any) -> BaseException:
    """The error as SQLAlchemy raises it; a connection that is broken is used no more."""
    dialect, base = opened.dialect, opened.dialect.loaded_dbapi.Error
    is_broken = isinstance(error, base) and dialect.is_disconnect(error, opened.driver, None)
    if is_broken:
        opened.connection.invalidate(error)
    return DBAPIError.instance(
        text, given, error, base, hide_parameters=True, connection_invalidated=is_broken, dialect=dialect
    )
