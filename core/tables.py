"""Every table of Skein, in one module: names and columns are a contract that reports and checks read.

Each fact stands once. Times are UTC; ids compare by bytes on both databases. The schema itself is made by
``core/migrations``; a test holds that the two agree.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import registry
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import AutoString, Field, SQLModel

from core import outside
from core.outside import fit_data, fit_text

THREAD_STATUSES = ("queued", "running", "waiting", "done", "stopped", "failed", "lost")
THREAD_KINDS = ("first", "continue", "edit", "regenerate", "fork", "retry", "fan_out")
ROLES = ("member", "analyst", "admin")
SESSION_STATUSES = ("active", "archived", "deleted")
ANNOTATION_KINDS = ("star", "note", "tag", "score", "review")
RETENTION_ACTIONS = ("archive", "delete", "forget_texts")
MESSAGE_PARTS = ("question", "answer")
FACET_KINDS = ("agent", "model")
APPROVAL_KINDS = ("tool", "question", "pause")
APPROVAL_STATUSES = ("waiting", "decided", "superseded", "gone", "withdrawn")
DECISIONS = ("approve", "edit", "answer", "refuse")
RULE_EFFECTS = ("allow", "ask", "deny")
RULE_SCOPES = ("session", "user", "everyone")
ARTIFACT_KINDS = ("task_plan", "result", "file")
VERSION_STATUSES = ("pending", "kept", "dropped")
CALL_STATUSES = ("started", "ok", "error", "cancelled", "lost")

_LIVE = "status IN ('queued', 'running')"
_DELETED = "deleted_at IS NOT NULL"
_KEPT = "deleted_at IS NULL"
_WAITING = "status = 'waiting'"
_UNAPPLIED = "status = 'decided' AND applied_at IS NULL"
_IN_FORCE = "revoked_at IS NULL"
_PENDING = "status = 'pending'"
_GONE = "status = 'deleted'"
_TAG = "kind = 'tag'"
_ONE_EACH = "kind <> 'tag'"


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
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class IdText(TypeDecorator[str]):
    """An id: text that compares by bytes, whatever the database's language."""

    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        # Whoever asks for what cannot be an id, as an address may, finds nothing.
        return clean_text(value) if isinstance(value, str) and not value.isascii() else value

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(String(collation="C") if dialect.name == "postgresql" else String())


class CleanText(TypeDecorator[str]):
    """Text of any length and language, without what no database can hold (NUL, lone surrogates), or a secret."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else fit_text(value)


class CleanString(TypeDecorator[str]):
    """A short text, as a model's column of ``str`` is; cleaned as a long one."""

    impl = AutoString
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else fit_text(value)


clean_text = outside.clean_text


def to_json(value: Any) -> str:
    """Plain data as JSON that both databases can hold, without known secrets; what a column of JSON is given."""
    try:
        text = _to_strict(value)
    except ValueError:  # a number that JSON does not know
        return _to_strict(fit_data(value))
    if "\\u0000" in text or fit_text(text) != text:
        return _to_strict(fit_data(value))
    return text


_to_strict = json.JSONEncoder(ensure_ascii=False, allow_nan=False).encode
Json = JSON().with_variant(JSONB(), "postgresql")


class JsonText(TypeDecorator[Any]):
    """JSON as text in one canonical form: the same value has the same bytes, and hash, on every database."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class OrderedJson(JsonText):
    """JSON as text with its keys in the order that they came in, as the graph that is given it sees them."""

    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else ordered_json(value)


_to_ordered = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def ordered_json(value: Any) -> str:
    """The value as JSON with its keys in their order, no spaces, and text as it is."""
    return _fit_json(_to_ordered, value)


_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def canonical_json(value: Any) -> str:
    """The value as JSON with sorted keys, no spaces, and text as it is."""
    return _fit_json(_to_json, value)


def _fit_json(encode: Callable[[Any], str], value: Any) -> str:
    text = encode(value)
    # A NUL is escaped in JSON: it shows only when the text is read again.
    return fit_text(encode(fit_data(value)) if "\\u0000" in text else text)


def _key() -> Any:
    return Field(sa_column=Column(IdText, primary_key=True))


def _ref(target: str, *, nullable: bool = False, unique: bool = False) -> Any:
    return Field(
        default=None if nullable else ...,
        sa_column=Column(IdText, ForeignKey(target), nullable=nullable, unique=unique),
    )


def _maybe_id() -> Any:
    return Field(default=None, sa_column=Column(IdText, nullable=True))


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
    """A place to work in; a ``deleted`` one is hidden at once, kept for the undo, and then purged."""

    __tablename__ = "session"
    __table_args__ = (
        Index("session_by_user", "user_id", "updated_at"),
        Index("session_deleted", "updated_at", sqlite_where=text(_GONE), postgresql_where=text(_GONE)),
    )

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
    __table_args__ = (
        Index("conversation_by_session", "session_id", "updated_at"),
        Index("conversation_deleted", "deleted_at", sqlite_where=text(_DELETED), postgresql_where=text(_DELETED)),
    )

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


class Branch(Table, table=True):
    """A name for the head of a line of messages; a deleted one is kept for the undo, and then purged."""

    __tablename__ = "branch"
    __table_args__ = (
        Index("branch_by_conversation", "conversation_id", "branch_id"),
        Index(
            "branch_by_name",
            "conversation_id",
            "name",
            unique=True,
            sqlite_where=text(_KEPT),
            postgresql_where=text(_KEPT),
        ),
        Index("branch_by_head", "head_message_id"),
        Index("branch_deleted", "deleted_at", sqlite_where=text(_DELETED), postgresql_where=text(_DELETED)),
    )

    branch_id: str = _key()
    conversation_id: str = _ref("conversation.conversation_id")
    head_message_id: str = _ref("message.message_id")
    user_id: str = _ref("user.user_id")
    name: str = _text()
    created_at: datetime = _time()
    updated_at: datetime = _time()
    archived_at: datetime | None = _maybe_time()
    deleted_at: datetime | None = _maybe_time()


class Snapshot(Table, table=True):
    """A name for one checkpoint of one thread; it never moves."""

    __tablename__ = "snapshot"
    __table_args__ = (
        Index("snapshot_by_conversation", "conversation_id", "name", unique=True),
        Index("snapshot_by_thread", "thread_id", "checkpoint_id"),
    )

    snapshot_id: str = _key()
    conversation_id: str = _ref("conversation.conversation_id")
    thread_id: str = _ref("thread.thread_id")
    checkpoint_id: str
    user_id: str = _ref("user.user_id")
    name: str = _text()
    created_at: datetime = _time()


class ViewPosition(Table, table=True):
    """Where a person last looked in a conversation; the branch may be gone since."""

    __tablename__ = "view_position"

    user_id: str = Field(sa_column=Column(IdText, ForeignKey("user.user_id"), primary_key=True))
    conversation_id: str = Field(
        sa_column=Column(IdText, ForeignKey("conversation.conversation_id"), primary_key=True)
    )
    branch_id: str | None = Field(default=None, sa_column=Column(IdText, nullable=True))
    message_id: str | None = Field(default=None, sa_column=Column(IdText, nullable=True))
    updated_at: datetime = _time()


class Annotation(Table, table=True):
    """What a person put on a session, message, branch or call (``target_id``): many tags, one of each other kind.

    ``content`` is the note, the tag, the comment on a score, or a review's verdict and, after a line's end, its
    comment; ``score`` is 1 to 5. ``session_id`` is where the target stands.
    """

    __tablename__ = "annotation"
    __table_args__ = (
        _one_of("kind", ANNOTATION_KINDS),
        Index(
            "annotation_one_each",
            "target_id",
            "user_id",
            "kind",
            unique=True,
            sqlite_where=text(_ONE_EACH),
            postgresql_where=text(_ONE_EACH),
        ),
        Index(
            "annotation_tag",
            "target_id",
            "user_id",
            "content",
            unique=True,
            sqlite_where=text(_TAG),
            postgresql_where=text(_TAG),
        ),
        Index("annotation_by_user", "user_id", "kind", "updated_at"),
        Index("annotation_by_session", "session_id", "kind"),
        Index("annotation_by_tag", "content", "session_id", sqlite_where=text(_TAG), postgresql_where=text(_TAG)),
    )

    annotation_id: str = _key()
    user_id: str = _ref("user.user_id")
    target_id: str = Field(sa_column=Column(IdText, nullable=False))
    kind: str
    content: str = _text()
    created_at: datetime = _time()
    updated_at: datetime = _time()
    score: int | None = None
    session_id: str | None = _maybe_id()


class Approval(Table, table=True):
    """One interrupt of a thread that waits for, or got, a person's decision; the row is the record of it.

    ``arguments`` are those of the tool (a list of them where one interrupt asks about several), ``value`` is what
    the interrupt said, as plain data. ``response`` is what the graph is given for it; ``applied_at`` is when a run
    took it up. ``decided_by`` is None where a rule or the time decided. Where the state was edited at a pause,
    ``response`` are the keys with their new values, and ``arguments_after`` says ``before`` and ``after``.
    ``runs_again`` are the tools that the step had run by then, and runs a second time when it goes on.
    """

    __tablename__ = "approval"
    __table_args__ = (
        _one_of("kind", APPROVAL_KINDS),
        _one_of("status", APPROVAL_STATUSES),
        Index("approval_by_thread", "thread_id", "waiting_since"),
        Index("approval_by_user", "user_id", "waiting_since"),
        Index(
            "approval_waiting",
            "thread_id",
            "interrupt_id",
            unique=True,
            sqlite_where=text(_WAITING),
            postgresql_where=text(_WAITING),
        ),
        Index("approval_unapplied", "thread_id", sqlite_where=text(_UNAPPLIED), postgresql_where=text(_UNAPPLIED)),
        Index("approval_expiring", "expires_at", sqlite_where=text(_WAITING), postgresql_where=text(_WAITING)),
    )

    approval_id: str = _key()
    thread_id: str = _ref("thread.thread_id")
    user_id: str = _ref("user.user_id")
    interrupt_id: str
    node: str = _text()
    kind: str
    tool: str = _text()
    arguments: Any = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    arguments_hash: str
    value: Any = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    response_schema: dict[str, Any] | None = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    runs_again: list[str] | None = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    status: str = "waiting"
    waiting_since: datetime = _time()
    expires_at: datetime | None = _maybe_time()
    decision: str | None = None
    arguments_after: Any = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    response: Any = Field(default=None, sa_column=Column(OrderedJson, nullable=True))
    reason: str = _text()
    rule_id: str | None = _maybe_id()
    decided_by: str | None = _ref("user.user_id", nullable=True)
    decided_at: datetime | None = _maybe_time()
    applied_at: datetime | None = _maybe_time()


class ToolRule(Table, table=True):
    """What is to happen when an agent wants to use a tool: allow, ask or deny; revoked ones stay as a record.

    ``agent_id`` and ``tool`` "*" stand for any. Whom it is for: the ``session_id``, the ``user_id``, or everyone.
    """

    __tablename__ = "tool_rule"
    __table_args__ = (
        _one_of("effect", RULE_EFFECTS),
        _one_of("scope", RULE_SCOPES),
        Index("tool_rule_by_user", "user_id", sqlite_where=text(_IN_FORCE), postgresql_where=text(_IN_FORCE)),
    )

    rule_id: str = _key()
    effect: str
    tool: str = _text("*")
    agent_id: str = _text("*")
    scope: str = "user"
    session_id: str | None = _ref("session.session_id", nullable=True)
    user_id: str | None = _ref("user.user_id", nullable=True)
    expires_after_hours: int | None = None
    created_by: str = _ref("user.user_id")
    created_at: datetime = _time()
    revoked_by: str | None = _ref("user.user_id", nullable=True)
    revoked_at: datetime | None = _maybe_time()


class Artifact(Table, table=True):
    """A work product of a session, shared by its conversations; what it holds is in its versions."""

    __tablename__ = "artifact"
    __table_args__ = (_one_of("kind", ARTIFACT_KINDS), Index("artifact_by_session", "session_id", "artifact_id"))

    artifact_id: str = _key()
    session_id: str = _ref("session.session_id")
    kind: str
    name: str = _text()
    created_at: datetime = _time()


class ArtifactVersion(Table, table=True):
    """One version of an artifact, never changed once written but for its status.

    A run's version is ``pending`` until the thread's state names it, then ``kept``; one that no state names when
    the run is over is ``dropped``. ``thread_id`` is the run it was made in, or, by hand, the one it was made after
    (None when that was deleted, or there was none). ``hash`` is SHA-256 of the content.
    """

    __tablename__ = "artifact_version"
    __table_args__ = (
        _one_of("status", VERSION_STATUSES),
        Index("artifact_version_by_thread", "thread_id"),
        Index(
            "artifact_version_pending", "thread_id", sqlite_where=text(_PENDING), postgresql_where=text(_PENDING)
        ),
    )

    artifact_id: str = Field(sa_column=Column(IdText, ForeignKey("artifact.artifact_id"), primary_key=True))
    version: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    base_version: int | None = None
    thread_id: str | None = _ref("thread.thread_id", nullable=True)
    user_id: str = _ref("user.user_id")
    by_hand: bool = False
    status: str = "pending"
    media_type: str = _text("text/markdown")
    content: bytes = Field(default=b"", sa_column=Column(LargeBinary, nullable=False))
    size: int = 0
    hash: str = _text()
    created_at: datetime = _time()


class RunEvent(Table, table=True):
    """A stretch of a run's event log; neighbouring tokens share a row: payload ``[[ms, text], ...]``."""

    __tablename__ = "run_event"

    thread_id: str = Field(sa_column=Column(IdText, ForeignKey("thread.thread_id"), primary_key=True))
    seq: int = Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))
    at_ms: int = Field(sa_type=BigInteger().with_variant(Integer, "sqlite"))
    kind: str
    node: str | None = None
    payload: Any = Field(default=None, sa_column=Column(Json, nullable=True))


def _cleaned_text() -> Any:
    """Text that its writer has cleaned: to clean it again costs more than to store it."""
    return Field(default=None, sa_column=Column(Text, nullable=True))


def _key_text() -> Any:
    return Field(sa_column=Column(IdText, primary_key=True))


def _key_int() -> Any:
    return Field(sa_column=Column(Integer, primary_key=True, autoincrement=False))


def _key_flag() -> Any:
    return Field(sa_column=Column(Boolean, primary_key=True))


def _big() -> Any:
    return Field(default=0, sa_type=BigInteger)


def _bytes() -> Any:
    return Field(default=b"", sa_column=Column(LargeBinary, nullable=False))


_NOT_OK = "status <> 'ok'"


class LlmCall(Table, table=True):
    """One LLM call as an audit record: all ids on the row, nothing refers to what may change.

    ``ms`` columns are milliseconds, token counts follow OpenAI's convention: ``input_tokens`` include those read
    from and written to a cache, ``output_tokens`` include reasoning. ``attempt`` is how many requests were sent.
    A row is written when the call starts, once more when it ends, and never again.
    """

    __tablename__ = "llm_call"
    __table_args__ = (
        _one_of("status", CALL_STATUSES),
        Index("llm_call_by_time", "created_at", "call_id"),
        Index("llm_call_by_user", "user_id", "created_at"),
        Index("llm_call_by_session", "session_id", "created_at"),
        Index("llm_call_by_thread", "thread_id"),
        Index("llm_call_by_message", "message_id"),
        Index("llm_call_by_model", "model", "created_at"),
        Index("llm_call_by_latency", "duration_ms", "call_id"),
        Index("llm_call_by_cost", "cost_usd", "call_id"),
        Index("llm_call_by_tokens", text("(input_tokens + output_tokens)"), "call_id"),
        Index(
            "llm_call_not_ok",
            "status",
            "created_at",
            sqlite_where=text(_NOT_OK),
            postgresql_where=text(_NOT_OK),
        ),
    )

    call_id: str = _key()
    run_id: str = Field(sa_column=Column(IdText, nullable=False))
    parent_run_id: str | None = _maybe_id()
    created_at: datetime = _time()
    ended_at: datetime | None = _maybe_time()
    user_id: str | None = _maybe_id()
    session_id: str | None = _maybe_id()
    conversation_id: str | None = _maybe_id()
    message_id: str | None = _maybe_id()
    thread_id: str | None = _maybe_id()
    checkpoint_ns: str | None = _cleaned_text()
    agent_id: str | None = _cleaned_text()
    agent_key: str | None = _cleaned_text()
    node: str | None = _cleaned_text()
    step: int | None = None
    operation: str = "chat"
    provider: str | None = _cleaned_text()
    base_url: str | None = _cleaned_text()
    model: str | None = _cleaned_text()
    response_model: str | None = _cleaned_text()
    response_id: str | None = _cleaned_text()
    request_id: str | None = _cleaned_text()
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    params: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JsonText, nullable=False))
    streamed: bool = False
    status: str = "started"
    error_type: str | None = _cleaned_text()
    error_message: str | None = _cleaned_text()
    http_status: int | None = None
    finish_reason: str | None = _cleaned_text()
    attempt: int = 1
    queue_ms: float | None = None
    ttft_ms: float | None = None
    duration_ms: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    usage_source: str | None = None
    cost_usd: float | None = None
    price_id: str | None = _maybe_id()
    cost_source: str | None = None
    key_source: str | None = None
    context_compacted: bool = False
    attributed: bool = False
    tags: list[str] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))
    body_hash: str | None = None


class LlmCallBody(Table, table=True):
    """What a call's model saw and said, as JSON text: lists of messages, and of tool definitions.

    ``salt`` keeps ``llm_call.body_hash`` from giving away a short text once this row is deleted.
    """

    __tablename__ = "llm_call_body"

    call_id: str = _key()
    prompt: str | None = _cleaned_text()
    response: str | None = _cleaned_text()
    tools: str | None = _cleaned_text()
    salt: str = Field(sa_column=Column(String, nullable=False))


class _Counted(Table):
    """What the rollups count of ended calls; ``estimated`` had no usage from the model, ``unpriced`` no price.

    ``durations`` and ``ttfts`` are histograms, explained in ``core/calls/panels/rollups.py``. A missing text is "".
    """

    calls: int = _big()
    unpriced: int = _big()
    estimated: int = _big()
    input_tokens: int = _big()
    output_tokens: int = _big()
    cache_read_tokens: int = _big()
    reasoning_tokens: int = _big()
    duration_ms: float = 0.0
    cost_usd: float = 0.0
    durations: bytes = Field(default=b"", sa_type=LargeBinary)
    ttfts: bytes = Field(default=b"", sa_type=LargeBinary)


class LlmCallHour(_Counted, table=True):
    """What ran: ended calls by the hour they began in (hours since 1970, UTC)."""

    __tablename__ = "llm_call_hour"
    __table_args__ = ({"sqlite_with_rowid": False},)

    hour: int = _key_int()
    model: str = _key_text()
    agent_id: str = _key_text()
    agent_key: str = _key_text()
    node: str = _key_text()
    status: str = _key_text()
    error_type: str = _key_text()
    attributed: bool = _key_flag()


class LlmCallDay(_Counted, table=True):
    """Who ran it: the same by the day (days since 1970, UTC), session and user; then by hour, as days differ."""

    __tablename__ = "llm_call_day"
    __table_args__ = (Index("llm_call_day_by_user", "user_id", "day"), {"sqlite_with_rowid": False})

    day: int = _key_int()
    session_id: str = _key_text()
    user_id: str = _key_text()
    hour: int = _key_int()
    model: str = _key_text()
    agent_id: str = _key_text()
    agent_key: str = _key_text()
    node: str = _key_text()
    status: str = _key_text()
    error_type: str = _key_text()
    attributed: bool = _key_flag()


class LogSeal(Table, table=True):
    """One link of the chain that proves the call log: see ``core/calls/proof/seals.py``."""

    __tablename__ = "log_seal"

    seal_id: str = _key()
    prev_hash: str = Field(sa_column=Column(String, nullable=False))
    rows_hash: str = Field(sa_column=Column(String, nullable=False))
    hash: str = Field(sa_column=Column(String, nullable=False, unique=True))
    first_call_id: str = Field(sa_column=Column(IdText, nullable=False))
    last_call_id: str = Field(sa_column=Column(IdText, nullable=False))
    sealed_at: datetime = _time()
    manifest: bytes = _bytes()


class ModelPrice(Table, table=True):
    """What a model costs from a moment on, in US dollars per million tokens; rows are added, never changed.

    ``source`` is "own" for what an admin entered, else the price list it came from. An empty ``base_url`` holds
    for every server. ``rates`` keeps what does not fit the four columns, tiers for instance.
    """

    __tablename__ = "model_price"
    __table_args__ = (Index("model_price_by_model", "model", "valid_from"),)

    price_id: str = _key()
    provider: str = _text()
    base_url: str = _text()
    model: str = _text()
    valid_from: datetime = _time()
    input_usd: float | None = None
    output_usd: float | None = None
    cache_read_usd: float | None = None
    cache_write_usd: float | None = None
    rates: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JsonText, nullable=False))
    source: str = "own"
    note: str = _text()
    created_by: str | None = _maybe_id()
    created_at: datetime = _time()
    ended_at: datetime | None = _maybe_time()


class CostCorrection(Table, table=True):
    """A later judgement of what a call cost; the newest one counts, the call's own row does not move."""

    __tablename__ = "cost_correction"
    __table_args__ = (
        Index("cost_correction_by_call", "call_id", "correction_id"),
        Index("cost_correction_by_cost", "cost_usd", "call_id"),
    )

    correction_id: str = _key()
    call_id: str = Field(sa_column=Column(IdText, nullable=False))
    created_at: datetime = _time()
    created_by: str | None = _maybe_id()
    cost_before: float | None = None
    cost_usd: float | None = None
    price_id: str | None = _maybe_id()
    cost_source: str = "own"
    reason: str = _text()


class SavedView(Table, table=True):
    """A page's filters under a name; whoever has its id can open it, and sees their own rights' worth."""

    __tablename__ = "saved_view"
    __table_args__ = (Index("saved_view_by_name", "user_id", "page", "name", unique=True),)

    view_id: str = _key()
    user_id: str = _ref("user.user_id")
    page: str = _text()
    name: str = _text()
    query: str = _text()
    created_at: datetime = _time()


class Activity(Table, table=True):
    """One thing a person did; rows are only ever added. ``target_id`` is what it was done to."""

    __tablename__ = "activity"
    __table_args__ = (
        Index("activity_by_user", "user_id", "created_at"),
        Index("activity_by_session", "session_id", "created_at"),
        Index("activity_by_target", "target_id", "kind", "login_id"),
        Index("activity_by_kind", "kind", "created_at"),
        Index("activity_by_time", "created_at", "activity_id"),
    )

    activity_id: str = _key()
    created_at: datetime = _time()
    user_id: str = Field(sa_column=Column(IdText, nullable=False))
    login_id: str | None = _maybe_id()
    kind: str = _text()
    target_id: str | None = _maybe_id()
    session_id: str | None = _maybe_id()
    detail: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JsonText, nullable=False))


class ActivityToSeal(Table, table=True):
    """Activity that no seal has yet; written with the row itself, taken away with the seal."""

    __tablename__ = "activity_to_seal"
    __table_args__ = ({"sqlite_with_rowid": False},)

    activity_id: str = _key()


class SessionStat(Table, table=True):
    """What is counted of a session for the browse page: derived, at most seconds behind (``core/history/browse``).

    Deleted sessions have none. ``queued`` to ``lost`` count its threads by their status; ``tokens`` are input and
    output; ``spark`` are the messages in 24 equal parts of its time from ``created_at`` to ``last_active_at``;
    ``title_key`` is what titles are compared by (``core/history/browse/titles.py``).
    """

    __tablename__ = "session_stat"
    __table_args__ = (
        Index("session_stat_by_active", "status", "last_active_at", "session_id"),
        Index("session_stat_by_user", "user_id", "status", "last_active_at", "session_id"),
    )

    session_id: str = _key()
    user_id: str = Field(sa_column=Column(IdText, nullable=False))
    status: str = "active"
    title: str = _text()
    title_key: str = Field(default="", sa_column=Column(IdText, nullable=False))
    created_at: datetime = _time()
    last_active_at: datetime = _time()
    agents: list[str] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))
    models: list[str] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))
    conversations: int = 0
    messages: int = 0
    branches: int = 0
    queued: int = 0
    running: int = 0
    waiting: int = 0
    done: int = 0
    stopped: int = 0
    failed: int = 0
    lost: int = 0
    calls: int = 0
    failed_calls: int = 0
    unpriced: int = 0
    tokens: int = _big()
    cost_usd: float = 0.0
    spark: list[int] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))


class SessionFacet(Table, table=True):
    """Which agents and models a session has used, as rows to filter by; derived with its ``session_stat``."""

    __tablename__ = "session_facet"
    __table_args__ = (
        _one_of("kind", FACET_KINDS),
        Index("session_facet_by_session", "session_id"),
        {"sqlite_with_rowid": False},
    )

    kind: str = _key_text()
    value: str = _key_text()
    session_id: str = _key_text()


class SessionToCount(Table, table=True):
    """Sessions of which something changed since they were counted; triggers add rows, whoever writes."""

    __tablename__ = "session_to_count"
    __table_args__ = ({"sqlite_autoincrement": True},)

    position: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    )
    session_id: str = Field(sa_column=Column(IdText, nullable=False))


class MessageSearch(Table, table=True):
    """Which text a position of the full-text index ``message_words`` is: a message's question or its answer."""

    __tablename__ = "message_search"
    __table_args__ = (
        _one_of("part", MESSAGE_PARTS),
        Index("message_search_by_message", "message_id", "part", unique=True),
    )

    position: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
    )
    message_id: str = Field(sa_column=Column(IdText, nullable=False))
    part: str


class MessageToIndex(Table, table=True):
    """Messages of which a text is not in the full-text index yet; triggers add them, said or answered."""

    __tablename__ = "message_to_index"
    __table_args__ = ({"sqlite_with_rowid": False},)

    message_id: str = _key()


class SessionTemplate(Table, table=True):
    """What to start a session from: title, agent, settings, first messages; a shared one is for everyone."""

    __tablename__ = "session_template"
    __table_args__ = (Index("session_template_by_name", "user_id", "name", unique=True),)

    template_id: str = _key()
    user_id: str = _ref("user.user_id")
    name: str = _text()
    title: str = _text()
    agent_id: str = _text("assistant")
    settings: dict[str, Any] = Field(default_factory=dict, sa_column=Column(JsonText, nullable=False))
    messages: list[str] = Field(default_factory=list, sa_column=Column(JsonText, nullable=False))
    shared: bool = False
    created_at: datetime = _time()
    updated_at: datetime = _time()


class RetentionRule(Table, table=True):
    """What becomes of sessions that nobody used for ``days``: archived, deleted, or their calls' texts forgotten.

    ``status`` (of the session) and ``tag`` narrow it, empty ones do not; sessions with ``keep_tag`` are spared.
    """

    __tablename__ = "retention_rule"
    __table_args__ = (_one_of("action", RETENTION_ACTIONS),)

    retention_id: str = _key()
    name: str = _text()
    action: str
    days: int
    status: str = _text()
    tag: str = _text()
    keep_tag: str = _text("keep")
    enabled: bool = False
    created_by: str = _ref("user.user_id")
    created_at: datetime = _time()
    last_run_at: datetime | None = _maybe_time()
    last_count: int = 0


class LlmCallSearch(Table, table=True):
    """Which call a position of the full-text index ``llm_call_words`` is; see ``core/calls/text/search.py``."""

    __tablename__ = "llm_call_search"

    position: int = Field(
        sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False)
    )
    call_id: str = Field(sa_column=Column(IdText, nullable=False, unique=True))


class LlmCallToIndex(Table, table=True):
    """Calls whose body is not in the full-text index yet; a trigger on ``llm_call_body`` adds them."""

    __tablename__ = "llm_call_to_index"
    __table_args__ = ({"sqlite_with_rowid": False},)

    call_id: str = _key()


def is_modelled(name: str | None, kind: str, _parents: object) -> bool:
    """For Alembic: whether something in a database is described here; an index of words is no plain table."""
    return kind != "table" or not str(name).startswith(("llm_call_words", "message_words"))


for _table in Table.metadata.tables.values():
    for _column in _table.columns:
        if type(_column.type) is AutoString:
            _column.type = CleanString()
