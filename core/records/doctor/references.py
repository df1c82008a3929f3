"""Rows that name another row which is not there.

The databases see to that themselves; what they did not see is what another program, or a damaged file, has done.
Invariant: nothing is deleted that a row still needs; a row whose owner is gone gets an account, which is disabled.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Column, ColumnElement, and_, bindparam, delete, exists, select, update
from sqlmodel import Session as Db

from core.database import table_of
from core.ids import ConversationId, SessionId, ThreadId, UserId
from core.records.deletion import empty_conversation
from core.records.doctor.house import Check, House
from core.records.removal import delete_messages, remove_artifacts, remove_events, remove_messages
from core.tables import Conversation, Table, Thread, ToolRule, User, utc_now

_conversation, _thread, _rule, _user = (table_of(one) for one in (Conversation, Thread, ToolRule, User))


def _references() -> list[tuple[Column[Any], Column[Any]]]:
    """Every column that names a row of another table, with that row's key; parents come before their children."""
    return [(key.parent, key.column) for table in Table.metadata.sorted_tables for key in table.foreign_keys]


def _dangling(column: Column[Any], key: Column[Any]) -> ColumnElement[bool]:
    parent = key.table.alias("parent")
    return and_(column.is_not(None), ~exists().where(parent.c[key.name] == column))


def _orphans(house: House) -> list[str]:
    """``table.column=value`` for each value that names nothing."""
    return [
        f"{column.table.name}.{column.name}={value}"
        for column, key in _references()
        for value in house.ids(select(column).where(_dangling(column, key)).distinct())
    ]


def _mend_orphans(house: House, ids: Sequence[str]) -> None:
    columns = {f"{column.table.name}.{column.name}": (column, key) for column, key in _references()}
    for found in ids:
        name, _, value = found.partition("=")
        column, key = columns[name]
        if key.table is _user and not column.nullable:
            house.database.write(partial(_make_account, user_id=UserId(value)))
        else:
            _WITHOUT_PARENT.get(name, partial(_cut_off, column=column))(house, value)


def _make_account(db: Db, user_id: UserId) -> None:
    """An account that nobody can sign in to, for rows whose owner is gone."""
    if db.get(User, user_id) is None:
        db.add(User(user_id=user_id, name=f"missing-{user_id[-12:].lower()}", disabled_at=utc_now()))


def _cut_off(house: House, value: str, column: Column[Any]) -> None:
    """Let the rows name nothing where they may, else delete them."""
    table = column.table
    is_free = column.nullable and table is not _rule
    change: Any = update(table).values({column.name: None}) if is_free else delete(table)
    house.write(change.where(column == value))


def _without_session(house: House, session_id: str) -> None:
    for conversation_id in house.ids(_IN_SESSION, {"of": session_id}):
        empty_conversation(house.database, house.forget_thread, ConversationId(conversation_id))


def _without_conversation(house: House, conversation_id: str) -> None:
    remove_messages(house.database, house.forget_thread, ConversationId(conversation_id))


def _without_message(house: House, message_id: str) -> None:
    for thread_id in house.ids(_OF_MESSAGE, {"of": message_id}):
        house.forget_thread(thread_id)
        remove_events(house.database, [ThreadId(thread_id)])
        house.database.write(partial(delete_messages, messages=[], threads=[ThreadId(thread_id)]))


_IN_SESSION = select(_conversation.c.conversation_id).where(_conversation.c.session_id == bindparam("of"))
_OF_MESSAGE = select(_thread.c.thread_id).where(_thread.c.message_id == bindparam("of"))
_WITHOUT_PARENT: dict[str, Callable[[House, str], None]] = {
    "conversation.session_id": _without_session,
    "artifact.session_id": lambda house, of: remove_artifacts(house.database, SessionId(of)),
    "message.conversation_id": _without_conversation,
    "thread.message_id": _without_message,
}

CHECKS = (
    Check(
        "orphan",
        "A row names another one that is not there",
        _orphans,
        _mend_orphans,
        "delete what nobody can come to any more; let the rest name nothing, or an account that is disabled",
    ),
)
