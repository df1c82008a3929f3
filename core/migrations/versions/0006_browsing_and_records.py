"""Counts and search for the browse page, tags and scores, sealed activity, templates, retention."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


_KINDS_BEFORE = ("star", "note")
_KINDS = (*_KINDS_BEFORE, "tag", "score", "review")

# Whoever writes: a session of which something changed waits to be counted, a text to be indexed.
_COUNT = "INSERT INTO session_to_count (session_id) "
_OWN = _COUNT + "VALUES ({row}.session_id)"
_BY_CONVERSATION = _COUNT + "SELECT session_id FROM conversation WHERE conversation_id = {row}.conversation_id"
_BY_MESSAGE = (
    _COUNT + "SELECT c.session_id FROM conversation c JOIN message m ON m.conversation_id = c.conversation_id "
    "WHERE m.message_id = {row}.message_id"
)
_BY_CALL = _COUNT + "SELECT session_id FROM llm_call WHERE call_id = {row}.call_id AND session_id IS NOT NULL"
_INDEX = "INSERT INTO message_to_index (message_id) VALUES ({row}.message_id) ON CONFLICT DO NOTHING"
_ENDED_IN_SESSION = "{row}.session_id IS NOT NULL AND {row}.status <> 'started'"
# name: (table, event, condition, what it does); ``{row}`` is the new row, or the old one of a deletion.
_TRIGGERS = {
    "session_added": ("session", "INSERT", "", _OWN),
    "session_changed": ("session", "UPDATE OF title, status", "", _OWN),
    "session_removed": ("session", "DELETE", "", _OWN),
    "conversation_added": ("conversation", "INSERT", "", _OWN),
    "conversation_removed": ("conversation", "DELETE", "", _OWN),
    "conversation_changed": ("conversation", "UPDATE OF deleted_at", "", _OWN),
    "message_added": ("message", "INSERT", "", _BY_CONVERSATION),
    "message_changed": ("message", "UPDATE OF deleted_at", "", _BY_CONVERSATION),
    "message_removed": ("message", "DELETE", "", _BY_CONVERSATION),
    "thread_changed": ("thread", "UPDATE OF status", "", _BY_MESSAGE),
    "branch_added": ("branch", "INSERT", "", _BY_CONVERSATION),
    "branch_removed": ("branch", "DELETE", "", _BY_CONVERSATION),
    "branch_changed": ("branch", "UPDATE OF deleted_at", "", _BY_CONVERSATION),
    "call_added": ("llm_call", "INSERT", _ENDED_IN_SESSION, _OWN),
    "call_ended": ("llm_call", "UPDATE OF status", _ENDED_IN_SESSION, _OWN),
    "call_corrected": ("cost_correction", "INSERT", "", _BY_CALL),
    "message_said": ("message", "INSERT", "", _INDEX),
    "message_answered": ("thread", "UPDATE OF status", "", _INDEX),
}
# Kinds of activity that were named otherwise; and those whose details held words that people wrote.
_RENAMED = {
    "read_call": "call.read",
    "export_calls": "call.export",
    "export.branch": "branch.export",
    "price_added": "price.add",
    "price_ended": "price.end",
    "repriced": "call.reprice",
    "add_rule": "rule.add",
    "revoke_rule": "rule.revoke",
    "decide": "approval.decide",
}
_HELD_WORDS = (
    *("branch.create", "branch.rename", "snapshot.create", "snapshot.delete", "price.add", "price.end"),
    *("rule.add", "approval.decide", "call.export"),
)
# Once sealed, a row stays as it is.
_IS_QUEUED = "activity_id IN (SELECT activity_id FROM activity_to_seal)"
_WORDS_SQLITE = """CREATE VIRTUAL TABLE message_words
    USING fts5(words, content='', columnsize=0, tokenize="ascii tokenchars '='")"""
_WORDS_POSTGRESQL = (
    "CREATE TABLE message_words (position bigint PRIMARY KEY, words tsvector NOT NULL)",
    "CREATE INDEX message_words_by_word ON message_words USING gin (words)",
)


def _is_sqlite() -> bool:
    return op.get_bind().dialect.name == "sqlite"


def _add_trigger(name: str, table: str, event: str, condition: str, action: str) -> None:
    row = "OLD" if event == "DELETE" else "NEW"
    when = f"WHEN ({condition.format(row=row)}) " if condition else ""
    if _is_sqlite():
        op.execute(
            f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when}BEGIN {action.format(row=row)}; END"
        )
        return
    op.execute(
        f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS $$ "
        f"BEGIN {action.format(row=row)}; RETURN NULL; END $$"
    )
    op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {when}EXECUTE FUNCTION {name}()")


def _let_annotations_be(kinds: tuple[str, ...]) -> None:
    listed = ", ".join(f"'{kind}'" for kind in kinds)
    with op.batch_alter_table("annotation") as batch:
        batch.drop_constraint("kind_known", type_="check")
        batch.create_check_constraint("kind_known", f"kind IN ({listed})")


def _queue_activity() -> None:
    """All activity waits for a seal, but what has one from before a downgrade, which must stay as it is."""
    op.execute("INSERT INTO activity_to_seal (activity_id) SELECT activity_id FROM activity")
    seals = op.get_bind().execute(sa.text("SELECT manifest FROM log_seal WHERE first_call_id < 'call_'")).scalars()
    sealed = [{"id": one} for manifest in seals for one in _ids_in(manifest)]
    if sealed:
        op.get_bind().execute(sa.text("DELETE FROM activity_to_seal WHERE activity_id = :id"), sealed)


def _ids_in(manifest: bytes) -> list[str]:
    """An entry of a manifest is an id, padded to 31 bytes, and a digest of 32."""
    return [manifest[at : at + 31].decode("ascii", "replace").rstrip() for at in range(0, len(manifest), 63)]


def upgrade() -> None:
    op.create_table(
        "activity_to_seal",
        sa.Column("activity_id", tables.IdText(), nullable=False),
        sa.PrimaryKeyConstraint("activity_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "message_search",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("message_id", tables.IdText(), nullable=False),
        sa.Column("part", sa.String(), nullable=False),
        sa.CheckConstraint("part IN ('question', 'answer')", name="part_known"),
        sa.PrimaryKeyConstraint("position"),
    )
    op.create_index("message_search_by_message", "message_search", ["message_id", "part"], unique=True)
    op.create_table(
        "message_to_index",
        sa.Column("message_id", tables.IdText(), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "session_facet",
        sa.Column("kind", tables.IdText(), nullable=False),
        sa.Column("value", tables.IdText(), nullable=False),
        sa.Column("session_id", tables.IdText(), nullable=False),
        sa.CheckConstraint("kind IN ('agent', 'model')", name="kind_known"),
        sa.PrimaryKeyConstraint("kind", "value", "session_id"),
        sqlite_with_rowid=False,
    )
    op.create_index("session_facet_by_session", "session_facet", ["session_id"], unique=False)
    op.create_table(
        "session_stat",
        sa.Column("session_id", tables.IdText(), nullable=False),
        sa.Column("user_id", tables.IdText(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("title", tables.CleanText(), nullable=False),
        sa.Column("title_key", tables.IdText(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("last_active_at", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("agents", tables.JsonText(), nullable=False),
        sa.Column("models", tables.JsonText(), nullable=False),
        sa.Column("conversations", sa.Integer(), nullable=False),
        sa.Column("messages", sa.Integer(), nullable=False),
        sa.Column("branches", sa.Integer(), nullable=False),
        sa.Column("queued", sa.Integer(), nullable=False),
        sa.Column("running", sa.Integer(), nullable=False),
        sa.Column("waiting", sa.Integer(), nullable=False),
        sa.Column("done", sa.Integer(), nullable=False),
        sa.Column("stopped", sa.Integer(), nullable=False),
        sa.Column("failed", sa.Integer(), nullable=False),
        sa.Column("lost", sa.Integer(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("failed_calls", sa.Integer(), nullable=False),
        sa.Column("unpriced", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.BigInteger(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("spark", tables.JsonText(), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index(
        "session_stat_by_active", "session_stat", ["status", "last_active_at", "session_id"], unique=False
    )
    op.create_index(
        "session_stat_by_user", "session_stat", ["user_id", "status", "last_active_at", "session_id"], unique=False
    )
    op.create_table(
        "session_to_count",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False
        ),
        sa.Column("session_id", tables.IdText(), nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "retention_rule",
        sa.Column("retention_id", tables.IdText(), nullable=False),
        sa.Column("name", tables.CleanText(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("days", sa.Integer(), nullable=False),
        sa.Column("status", tables.CleanText(), nullable=False),
        sa.Column("tag", tables.CleanText(), nullable=False),
        sa.Column("keep_tag", tables.CleanText(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_by", tables.IdText(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("last_run_at", tables.UtcTime(timezone=True), nullable=True),
        sa.Column("last_count", sa.Integer(), nullable=False),
        sa.CheckConstraint("action IN ('archive', 'delete', 'forget_texts')", name="action_known"),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("retention_id"),
    )
    op.create_table(
        "session_template",
        sa.Column("template_id", tables.IdText(), nullable=False),
        sa.Column("user_id", tables.IdText(), nullable=False),
        sa.Column("name", tables.CleanText(), nullable=False),
        sa.Column("title", tables.CleanText(), nullable=False),
        sa.Column("agent_id", tables.CleanText(), nullable=False),
        sa.Column("settings", tables.JsonText(), nullable=False),
        sa.Column("messages", tables.JsonText(), nullable=False),
        sa.Column("shared", sa.Boolean(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("updated_at", tables.UtcTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("template_id"),
    )
    op.create_index("session_template_by_name", "session_template", ["user_id", "name"], unique=True)
    op.create_index("activity_by_kind", "activity", ["kind", "created_at"], unique=False)
    op.create_index("activity_by_time", "activity", ["created_at", "activity_id"], unique=False)
    _let_annotations_be(_KINDS)
    op.add_column("annotation", sa.Column("score", sa.Integer(), nullable=True))
    op.add_column("annotation", sa.Column("session_id", tables.IdText(), nullable=True))
    op.drop_index("annotation_by_target", table_name="annotation")
    op.create_index("annotation_by_session", "annotation", ["session_id", "kind"], unique=False)
    op.create_index(
        "annotation_by_tag",
        "annotation",
        ["content", "session_id"],
        unique=False,
        sqlite_where=sa.text("kind = 'tag'"),
        postgresql_where=sa.text("kind = 'tag'"),
    )
    op.create_index(
        "annotation_one_each",
        "annotation",
        ["target_id", "user_id", "kind"],
        unique=True,
        sqlite_where=sa.text("kind <> 'tag'"),
        postgresql_where=sa.text("kind <> 'tag'"),
    )
    op.create_index(
        "annotation_tag",
        "annotation",
        ["target_id", "user_id", "content"],
        unique=True,
        sqlite_where=sa.text("kind = 'tag'"),
        postgresql_where=sa.text("kind = 'tag'"),
    )
    op.create_index(
        "conversation_deleted",
        "conversation",
        ["deleted_at"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "session_deleted",
        "session",
        ["updated_at"],
        unique=False,
        sqlite_where=sa.text("status = 'deleted'"),
        postgresql_where=sa.text("status = 'deleted'"),
    )
    for statement in (_WORDS_SQLITE,) if _is_sqlite() else _WORDS_POSTGRESQL:
        op.execute(statement)
    for name, (table, event, condition, action) in _TRIGGERS.items():
        _add_trigger(name, table, event, condition, action)
    op.execute(_COUNT + "SELECT session_id FROM session")
    op.execute("INSERT INTO message_to_index (message_id) SELECT message_id FROM message")
    _queue_activity()
    for before, after in _RENAMED.items():
        op.execute(f"UPDATE activity SET kind = '{after}' WHERE kind = '{before}' AND {_IS_QUEUED}")
    listed = ", ".join(f"'{kind}'" for kind in _HELD_WORDS)
    op.execute(f"UPDATE activity SET detail = '{{}}' WHERE kind IN ({listed}) AND {_IS_QUEUED}")


def downgrade() -> None:
    for name, (table, *_) in _TRIGGERS.items():
        op.execute(f"DROP TRIGGER {name}" + ("" if _is_sqlite() else f" ON {table}"))
        if not _is_sqlite():
            op.execute(f"DROP FUNCTION {name}")
    op.execute("DROP TABLE message_words")
    op.drop_index("conversation_deleted", table_name="conversation")
    op.drop_index(
        "session_deleted",
        table_name="session",
        sqlite_where=sa.text("status = 'deleted'"),
        postgresql_where=sa.text("status = 'deleted'"),
    )
    op.drop_index(
        "annotation_tag",
        table_name="annotation",
        sqlite_where=sa.text("kind = 'tag'"),
        postgresql_where=sa.text("kind = 'tag'"),
    )
    op.drop_index(
        "annotation_one_each",
        table_name="annotation",
        sqlite_where=sa.text("kind <> 'tag'"),
        postgresql_where=sa.text("kind <> 'tag'"),
    )
    op.drop_index(
        "annotation_by_tag",
        table_name="annotation",
        sqlite_where=sa.text("kind = 'tag'"),
        postgresql_where=sa.text("kind = 'tag'"),
    )
    op.drop_index("annotation_by_session", table_name="annotation")
    op.execute("DELETE FROM annotation WHERE kind NOT IN ('star', 'note')")
    op.drop_column("annotation", "session_id")
    op.drop_column("annotation", "score")
    _let_annotations_be(_KINDS_BEFORE)
    op.create_index("annotation_by_target", "annotation", ["target_id", "user_id", "kind"], unique=True)
    op.drop_index("activity_by_time", table_name="activity")
    op.drop_index("activity_by_kind", table_name="activity")
    op.drop_index("session_template_by_name", table_name="session_template")
    op.drop_table("session_template")
    op.drop_table("retention_rule")
    op.drop_table("session_to_count")
    op.drop_index("session_stat_by_user", table_name="session_stat")
    op.drop_index("session_stat_by_active", table_name="session_stat")
    op.drop_table("session_stat")
    op.drop_index("session_facet_by_session", table_name="session_facet")
    op.drop_table("session_facet")
    op.drop_table("message_to_index")
    op.drop_index("message_search_by_message", table_name="message_search")
    op.drop_table("message_search")
    op.drop_table("activity_to_seal")
