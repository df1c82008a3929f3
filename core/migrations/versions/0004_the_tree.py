"""The tree: branches, snapshots, where people last looked, stars and notes."""

from collections import Counter

import sqlalchemy as sa
from alembic import op

from core import tables
from core.ids import new_branch_id

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_HEADS = """
SELECT m.message_id, m.conversation_id, s.user_id, m.created_at
FROM message m
JOIN conversation c ON c.conversation_id = m.conversation_id
JOIN session s ON s.session_id = c.session_id
WHERE m.deleted_at IS NULL AND NOT EXISTS (
    SELECT 1 FROM message below WHERE below.parent_message_id = m.message_id AND below.deleted_at IS NULL
)
ORDER BY m.message_id"""
_INSERT = """
INSERT INTO branch (branch_id, conversation_id, head_message_id, user_id, name, created_at, updated_at)
VALUES (:branch_id, :conversation_id, :head_message_id, :user_id, :name, :created_at, :updated_at)"""


def upgrade() -> None:
    op.create_table(
        "annotation",
        sa.Column("annotation_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("target_id", tables.IdText, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("content", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("updated_at", tables.UtcTime, nullable=False),
        sa.CheckConstraint("kind IN ('star', 'note')", name="kind_known"),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("annotation_id"),
    )
    op.create_index("annotation_by_target", "annotation", ["target_id", "user_id", "kind"], unique=True)
    op.create_index("annotation_by_user", "annotation", ["user_id", "kind", "updated_at"], unique=False)
    op.create_table(
        "view_position",
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("conversation_id", tables.IdText, nullable=False),
        sa.Column("branch_id", tables.IdText, nullable=True),
        sa.Column("message_id", tables.IdText, nullable=True),
        sa.Column("updated_at", tables.UtcTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.conversation_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("user_id", "conversation_id"),
    )
    op.create_table(
        "branch",
        sa.Column("branch_id", tables.IdText, nullable=False),
        sa.Column("conversation_id", tables.IdText, nullable=False),
        sa.Column("head_message_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("updated_at", tables.UtcTime, nullable=False),
        sa.Column("archived_at", tables.UtcTime, nullable=True),
        sa.Column("deleted_at", tables.UtcTime, nullable=True),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.conversation_id"],
        ),
        sa.ForeignKeyConstraint(
            ["head_message_id"],
            ["message.message_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("branch_id"),
    )
    op.create_index("branch_by_conversation", "branch", ["conversation_id", "branch_id"], unique=False)
    op.create_index(
        "branch_by_name",
        "branch",
        ["conversation_id", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index("branch_by_head", "branch", ["head_message_id"], unique=False)
    op.create_index(
        "branch_deleted",
        "branch",
        ["deleted_at"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_table(
        "snapshot",
        sa.Column("snapshot_id", tables.IdText, nullable=False),
        sa.Column("conversation_id", tables.IdText, nullable=False),
        sa.Column("thread_id", tables.IdText, nullable=False),
        sa.Column("checkpoint_id", sa.String(), nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id"],
            ["conversation.conversation_id"],
        ),
        sa.ForeignKeyConstraint(
            ["thread_id"],
            ["thread.thread_id"],
        ),
        sa.ForeignKeyConstraint(
            ["user_id"],
            ["user.user_id"],
        ),
        sa.PrimaryKeyConstraint("snapshot_id"),
    )
    op.create_index("snapshot_by_conversation", "snapshot", ["conversation_id", "name"], unique=True)
    op.create_index("snapshot_by_thread", "snapshot", ["thread_id", "checkpoint_id"], unique=False)
    _name_the_heads(op.get_bind())


def _name_the_heads(connection: sa.Connection) -> None:
    """Each message that nothing hangs below becomes the head of a branch, the oldest one of "main"."""
    count: Counter[str] = Counter()
    rows = []
    for head, conversation, user, at in connection.execute(sa.text(_HEADS)).all():
        count[conversation] += 1
        number = count[conversation]
        rows.append(
            {
                "branch_id": new_branch_id(),
                "conversation_id": conversation,
                "head_message_id": head,
                "user_id": user,
                "name": "main" if number == 1 else f"branch {number}",
                "created_at": at,
                "updated_at": at,
            }
        )
    if rows:
        connection.execute(sa.text(_INSERT), rows)


def downgrade() -> None:
    for table in ("snapshot", "branch", "view_position", "annotation"):
        op.drop_table(table)
