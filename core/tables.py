"""Every table of Skein, in one module: names and columns are a contract that reports and checks read.

Each fact stands once. Times are UTC; ids compare by bytes on both databases. The schema itself is made by
``core/migrations``; a test holds that the two agree.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

THREAD_STATUSES = ("queued", "running", "waiting", "done", "stopped", "failed", "lost")
THREAD_KINDS = ("first", "continue", "edit", "regenerate", "fork", "retry", "fan_out")
ROLES = ("member", "analyst", "admin")

_LIVE = "status IN ('queued', 'running')"


def utc_now() -> datetime:
    return datetime.now(UTC)


class UtcTime(TypeDecorator[datetime]):
    """A moment in UTC: aware in Python on both databases, also where the column forgets the zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a moment needs a time zone")
        moment = value.astimezone(UTC)
        return moment.replace(tzinfo=None) if dialect.name == "sqlite" else moment

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return (
            None if value is None else value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        )


class IdText(TypeDecorator[str]):
    """An id: text that compares by bytes, whatever the database's language."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(collation="C") if dialect.name == "postgresql" else String())


class CleanText(TypeDecorator[str]):
    """Text of any length and language, without what a database cannot hold: NUL and lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else clean_text(value)


def clean_text(value: str) -> str:
    """The same text without NUL characters and lone surrogates, which neither database can hold."""
    if value.isascii():
        return value.replace("\0", "")
    return value.replace("\0", "").encode("utf-8", "ignore").decode("utf-8")


Json = JSON().with_variant(JSONB(), "postgresql")


def _key() -> Any:
    return Field(sa_column=Column(IdText, primary_key=True))


def _ref(target: str, *, nullable: bool = False, unique: bool = False) -> Any:
    return Field(
        default=None if nullable else ...,
        sa_column=Column(IdText, ForeignKey(target), nullable=nullable, unique=unique),
    )


def _time() -> Any:
    return Field(default_factory=utc_now, sa_column=Column(UtcTime, nullable=False))


def _maybe_time() -> Any:
    return Field(default=None, sa_column=Column(UtcTime, nullable=True))


def _text(default: str = "") -> Any:
    return Field(default=default, sa_column=Column(CleanText, nullable=False))


def _one_of(column: str, values: tuple[str, ...]) -> CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return CheckConstraint(f"{column} IN ({listed})", name=f"{column}_known")


class Table(SQLModel, registry=registry()):
    """The base of all tables, with a registry of its own so that the module can be imported anew."""


class User(Table, table=True):
    __tablename__ = "user"
    __table_args__ = (_one_of("role", ROLES),)

    user_id: str = _key()
    name: str = Field(sa_column=Column(CleanText, nullable=False, unique=True))
    password_hash: str = _text()
    role: str = "member"
    created_at: datetime = _time()
    disabled_at: datetime | None = _maybe_time()


class Login(Table, table=True):
    """One sign-in of one person in one browser; ended by sign-out, expiry, or a disabled account."""

    __tablename__ = "login"
    __table_args__ = (Index("login_by_user", "user_id", "created_at"),)

    login_id: str = _key()
    user_id: str = _ref("user.user_id")
    address: str = _text()
    browser: str = _text()
    created_at: datetime = _time()
    expires_at: datetime = _time()
    ended_at: datetime | None = _maybe_time()


class SignInFailure(Table, table=True):
    """Failed sign-ins in a row for one account name from one address; a restart forgives none."""

    __tablename__ = "sign_in_failure"

    name: str = Field(sa_column=Column(CleanText, primary_key=True))
    address: str = Field(sa_column=Column(CleanText, primary_key=True))
    failures: int = 0
    last_at: datetime = _time()


class Session(Table, table=True):
    __tablename__ = "session"
    __table_args__ = (Index("session_by_user", "user_id", "updated_at"),)

    session_id: str = _key()
    user_id: str = _ref("user.user_id")
    title: str = _text()
    status: str = "active"
    template: str | None = None
    meta: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    created_at: datetime = _time()
    updated_at: datetime = _time()


class Conversation(Table, table=True):
    __tablename__ = "conversation"
    __table_args__ = (Index("conversation_by_session", "session_id", "updated_at"),)

    conversation_id: str = _key()
    session_id: str = _ref("session.session_id")
    title: str = _text()
    created_at: datetime = _time()
    updated_at: datetime = _time()
    deleted_at: datetime | None = _maybe_time()


class Message(Table, table=True):
    __tablename__ = "message"
    __table_args__ = (
        Index("message_by_conversation", "conversation_id", "message_id"),
        Index("message_by_parent", "parent_message_id"),
    )

    message_id: str = _key()
    conversation_id: str = _ref("conversation.conversation_id")
    parent_message_id: str | None = _ref("message.message_id", nullable=True)
    content: str = _text()
    answer: str = _text()
    depth: int = 0
    created_at: datetime = _time()
    deleted_at: datetime | None = _maybe_time()


class Thread(Table, table=True):
    __tablename__ = "thread"
    __table_args__ = (
        _one_of("status", THREAD_STATUSES),
        _one_of("kind", THREAD_KINDS),
        Index("thread_by_user", "user_id", "created_at"),
        Index("thread_by_parent", "parent_thread_id"),
        Index("thread_live", "status", sqlite_where=text(_LIVE), postgresql_where=text(_LIVE)),
    )

    thread_id: str = _key()
    message_id: str = _ref("message.message_id", unique=True)
    user_id: str = _ref("user.user_id")
    kind: str = "continue"
    name: str = _text()
    parent_thread_id: str | None = _ref("thread.thread_id", nullable=True)
    source_checkpoint_id: str | None = None
    agent_id: str = "assistant"
    agent_version: str = ""
    config: dict[str, Any] = Field(default_factory=dict, sa_column=Column(Json, nullable=False))
    status: str = "queued"
    worker: str | None = None
    lease_epoch: int = 0
    lease_until: datetime | None = _maybe_time()
    error_type: str | None = None
    error_message: str | None = Field(default=None, sa_column=Column(CleanText, nullable=True))
    finish_reason: str | None = None
    created_at: datetime = _time()
    started_at: datetime | None = _maybe_time()
    ended_at: datetime | None = _maybe_time()


class RunEvent(Table, table=True):
    """A stretch of a run's event log; neighbouring tokens share a row: payload ``[[ms, text], ...]``."""

    __tablename__ = "run_event"

    thread_id: str = Field(sa_column=Column(IdText, ForeignKey("thread.thread_id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    at_ms: int
    kind: str
    node: str | None = None
    payload: Any = Field(default=None, sa_column=Column(Json, nullable=True))
