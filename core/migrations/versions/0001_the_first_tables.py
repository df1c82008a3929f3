"""The first tables."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sign_in_failure",
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("address", tables.CleanText, nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("last_at", tables.UtcTime, nullable=False),
        sa.PrimaryKeyConstraint("name", "address"),
    )
    op.create_table(
        "user",
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("password_hash", tables.CleanText, nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("disabled_at", tables.UtcTime, nullable=True),
        sa.CheckConstraint("role IN ('member', 'analyst', 'admin')", name="role_known"),
        sa.PrimaryKeyConstraint("user_id"),
        sa.UniqueConstraint("name"),
    )
    op.create_table(
        "login",
        sa.Column("login_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("address", tables.CleanText, nullable=False),
        sa.Column("browser", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("expires_at", tables.UtcTime, nullable=False),
        sa.Column("ended_at", tables.UtcTime, nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["user.user_id"]),
        sa.PrimaryKeyConstraint("login_id"),
    )
    op.create_index("login_by_user", "login", ["user_id", "created_at"], unique=False)
    op.create_table(
        "session",
        sa.Column("session_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("title", tables.CleanText, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("template", sa.String(), nullable=True),
        sa.Column("meta", tables.Json, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("updated_at", tables.UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.user_id"]),
        sa.PrimaryKeyConstraint("session_id"),
    )
    op.create_index("session_by_user", "session", ["user_id", "updated_at"], unique=False)
    op.create_table(
        "conversation",
        sa.Column("conversation_id", tables.IdText, nullable=False),
        sa.Column("session_id", tables.IdText, nullable=False),
        sa.Column("title", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("updated_at", tables.UtcTime, nullable=False),
        sa.Column("deleted_at", tables.UtcTime, nullable=True),
        sa.ForeignKeyConstraint(["session_id"], ["session.session_id"]),
        sa.PrimaryKeyConstraint("conversation_id"),
    )
    op.create_index("conversation_by_session", "conversation", ["session_id", "updated_at"], unique=False)
    op.create_table(
        "message",
        sa.Column("message_id", tables.IdText, nullable=False),
        sa.Column("conversation_id", tables.IdText, nullable=False),
        sa.Column("parent_message_id", tables.IdText, nullable=True),
        sa.Column("content", tables.CleanText, nullable=False),
        sa.Column("answer", tables.CleanText, nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("deleted_at", tables.UtcTime, nullable=True),
        sa.ForeignKeyConstraint(["conversation_id"], ["conversation.conversation_id"]),
        sa.ForeignKeyConstraint(["parent_message_id"], ["message.message_id"]),
        sa.PrimaryKeyConstraint("message_id"),
    )
    op.create_index("message_by_conversation", "message", ["conversation_id", "message_id"], unique=False)
    op.create_index("message_by_parent", "message", ["parent_message_id"], unique=False)
    op.create_table(
        "thread",
        sa.Column("thread_id", tables.IdText, nullable=False),
        sa.Column("message_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("parent_thread_id", tables.IdText, nullable=True),
        sa.Column("source_checkpoint_id", sa.String(), nullable=True),
        sa.Column("agent_id", sa.String(), nullable=False),
        sa.Column("agent_version", sa.String(), nullable=False),
        sa.Column("config", tables.Json, nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("worker", sa.String(), nullable=True),
        sa.Column("lease_epoch", sa.Integer(), nullable=False),
        sa.Column("lease_until", tables.UtcTime, nullable=True),
        sa.Column("error_type", sa.String(), nullable=True),
        sa.Column("error_message", tables.CleanText, nullable=True),
        sa.Column("finish_reason", sa.String(), nullable=True),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("started_at", tables.UtcTime, nullable=True),
        sa.Column("ended_at", tables.UtcTime, nullable=True),
        sa.CheckConstraint(
            "kind IN ('first', 'continue', 'edit', 'regenerate', 'fork', 'retry', 'fan_out')",
            name="kind_known",
        ),
        sa.CheckConstraint(
            "status IN ('queued', 'running', 'waiting', 'done', 'stopped', 'failed', 'lost')",
            name="status_known",
        ),
        sa.ForeignKeyConstraint(["message_id"], ["message.message_id"]),
        sa.ForeignKeyConstraint(["parent_thread_id"], ["thread.thread_id"]),
        sa.ForeignKeyConstraint(["user_id"], ["user.user_id"]),
        sa.PrimaryKeyConstraint("thread_id"),
        sa.UniqueConstraint("message_id"),
    )
    op.create_index("thread_by_parent", "thread", ["parent_thread_id"], unique=False)
    op.create_index("thread_by_user", "thread", ["user_id", "created_at"], unique=False)
    op.create_index(
        "thread_live",
        "thread",
        ["status"],
        unique=False,
        sqlite_where=sa.text("status IN ('queued', 'running')"),
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.create_table(
        "run_event",
        sa.Column("thread_id", tables.IdText, nullable=False),
        sa.Column("seq", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at_ms", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("node", sa.String(), nullable=True),
        sa.Column("payload", tables.Json, nullable=True),
        sa.ForeignKeyConstraint(["thread_id"], ["thread.thread_id"]),
        sa.PrimaryKeyConstraint("thread_id", "seq"),
    )


def downgrade() -> None:
    op.drop_table("run_event")
    op.drop_index(
        "thread_live",
        table_name="thread",
        sqlite_where=sa.text("status IN ('queued', 'running')"),
        postgresql_where=sa.text("status IN ('queued', 'running')"),
    )
    op.drop_index("thread_by_user", table_name="thread")
    op.drop_index("thread_by_parent", table_name="thread")
    op.drop_table("thread")
    op.drop_index("message_by_parent", table_name="message")
    op.drop_index("message_by_conversation", table_name="message")
    op.drop_table("message")
    op.drop_index("conversation_by_session", table_name="conversation")
    op.drop_table("conversation")
    op.drop_index("session_by_user", table_name="session")
    op.drop_table("session")
    op.drop_index("login_by_user", table_name="login")
    op.drop_table("login")
    op.drop_table("user")
    op.drop_table("sign_in_failure")
