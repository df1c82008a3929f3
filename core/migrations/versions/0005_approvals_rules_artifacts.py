"""Approvals, rules about tools, artifacts and their versions."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # A log that goes on after a month of waiting counts more milliseconds than 32 bits hold.
        op.alter_column("run_event", "at_ms", type_=sa.BigInteger())
    op.create_table(
        "artifact",
        sa.Column("artifact_id", tables.IdText(), nullable=False),
        sa.Column("session_id", tables.IdText(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", tables.CleanText(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.CheckConstraint("kind IN ('task_plan', 'result', 'file')", name="kind_known"),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["session.session_id"],
        ),
        sa.PrimaryKeyConstraint("artifact_id"),
    )
    op.create_index("artifact_by_session", "artifact", ["session_id", "artifact_id"], unique=False)
    op.create_table(
        "tool_rule",
        sa.Column("rule_id", tables.IdText(), nullable=False),
        sa.Column("effect", sa.String(), nullable=False),
        sa.Column("tool", tables.CleanText(), nullable=False),
        sa.Column("agent_id", tables.CleanText(), nullable=False),
        sa.Column("scope", sa.String(), nullable=False),
        sa.Column("session_id", tables.IdText(), nullable=True),
        sa.Column("user_id", tables.IdText(), nullable=True),
        sa.Column("expires_after_hours", sa.Integer(), nullable=True),
        sa.Column("created_by", tables.IdText(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("revoked_by", tables.IdText(), nullable=True),
        sa.Column("revoked_at", tables.UtcTime(timezone=True), nullable=True),
        sa.CheckConstraint("effect IN ('allow', 'ask', 'deny')", name="effect_known"),
        sa.CheckConstraint("scope IN ('session', 'user', 'everyone')", name="scope_known"),
        sa.ForeignKeyConstraint(
            ["created_by"],
            ["user.user_id"],
        ),
        sa.ForeignKeyConstraint(
            ["revoked_by"],
            ["user.user_id"],
        ),
        sa.ForeignKeyConstraint(
            ["session_id"],
            ["session.session_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("rule_id"),
    )
    op.create_index(
        "tool_rule_by_user",
        "tool_rule",
        ["user_id"],
        unique=False,
        sqlite_where=sa.text("revoked_at IS NULL"),
        postgresql_where=sa.text("revoked_at IS NULL"),
    )
    op.create_table(
        "approval",
        sa.Column("approval_id", tables.IdText(), nullable=False),
        sa.Column("thread_id", tables.IdText(), nullable=False),
        sa.Column("user_id", tables.IdText(), nullable=False),
        sa.Column("interrupt_id", sa.String(), nullable=False),
        sa.Column("node", tables.CleanText(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("tool", tables.CleanText(), nullable=False),
        sa.Column("arguments", tables.JsonText(), nullable=True),
        sa.Column("arguments_hash", sa.String(), nullable=False),
        sa.Column("value", tables.JsonText(), nullable=True),
        sa.Column("response_schema", tables.JsonText(), nullable=True),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("waiting_since", tables.UtcTime(timezone=True), nullable=False),
        sa.Column("expires_at", tables.UtcTime(timezone=True), nullable=True),
        sa.Column("decision", sa.String(), nullable=True),
        sa.Column("arguments_after", tables.JsonText(), nullable=True),
        sa.Column("response", tables.JsonText(), nullable=True),
        sa.Column("reason", tables.CleanText(), nullable=False),
        sa.Column("rule_id", tables.IdText(), nullable=True),
        sa.Column("decided_by", tables.IdText(), nullable=True),
        sa.Column("decided_at", tables.UtcTime(timezone=True), nullable=True),
        sa.Column("applied_at", tables.UtcTime(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('tool', 'question', 'pause')", name="kind_known"),
        sa.CheckConstraint(
            "status IN ('waiting', 'decided', 'superseded', 'gone', 'withdrawn')", name="status_known"
        ),
        sa.ForeignKeyConstraint(
            ["decided_by"],
            ["user.user_id"],
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["thread.thread_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("approval_id"),
    )
    op.create_index("approval_by_thread", "approval", ["thread_id", "waiting_since"], unique=False)
    op.create_index("approval_by_user", "approval", ["user_id", "waiting_since"], unique=False)
    op.create_index(
        "approval_expiring",
        "approval",
        ["expires_at"],
        unique=False,
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_index(
        "approval_unapplied",
        "approval",
        ["thread_id"],
        unique=False,
        sqlite_where=sa.text("status = 'decided' AND applied_at IS NULL"),
        postgresql_where=sa.text("status = 'decided' AND applied_at IS NULL"),
    )
    op.create_index(
        "approval_waiting",
        "approval",
        ["thread_id", "interrupt_id"],
        unique=True,
        sqlite_where=sa.text("status = 'waiting'"),
        postgresql_where=sa.text("status = 'waiting'"),
    )
    op.create_table(
        "artifact_version",
        sa.Column("artifact_id", tables.IdText(), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("base_version", sa.Integer(), nullable=True),
        sa.Column("thread_id", tables.IdText(), nullable=True),
        sa.Column("user_id", tables.IdText(), nullable=False),
        sa.Column("by_hand", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("media_type", tables.CleanText(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("hash", tables.CleanText(), nullable=False),
        sa.Column("created_at", tables.UtcTime(timezone=True), nullable=False),
        sa.CheckConstraint("status IN ('pending', 'kept', 'dropped')", name="status_known"),
        sa.ForeignKeyConstraint(
            ["artifact_id"],
            ["artifact.artifact_id"],
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["thread.thread_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("artifact_id", "version"),
    )
    op.create_index("artifact_version_by_thread", "artifact_version", ["thread_id"], unique=False)
    op.create_index(
        "artifact_version_pending",
        "artifact_version",
        ["thread_id"],
        unique=False,
        sqlite_where=sa.text("status = 'pending'"),
        postgresql_where=sa.text("status = 'pending'"),
    )


def downgrade() -> None:
    for table in ("artifact_version", "approval", "tool_rule", "artifact"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column("run_event", "at_ms", type_=sa.Integer())
