"""The call log."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "activity",
        sa.Column("activity_id", tables.IdText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("login_id", tables.IdText, nullable=True),
        sa.Column("kind", tables.CleanText, nullable=False),
        sa.Column("target_id", tables.IdText, nullable=True),
        sa.Column("session_id", tables.IdText, nullable=True),
        sa.Column("detail", tables.JsonText, nullable=False),
        sa.PrimaryKeyConstraint("activity_id"),
    )
    op.create_index("activity_by_session", "activity", ["session_id", "created_at"], unique=False)
    op.create_index("activity_by_target", "activity", ["target_id", "kind", "login_id"], unique=False)
    op.create_index("activity_by_user", "activity", ["user_id", "created_at"], unique=False)
    op.create_table(
        "cost_correction",
        sa.Column("correction_id", tables.IdText, nullable=False),
        sa.Column("call_id", tables.IdText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("created_by", tables.IdText, nullable=True),
        sa.Column("cost_before", sa.Float(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("price_id", tables.IdText, nullable=True),
        sa.Column("cost_source", sa.String(), nullable=False),
        sa.Column("reason", tables.CleanText, nullable=False),
        sa.PrimaryKeyConstraint("correction_id"),
    )
    op.create_index("cost_correction_by_call", "cost_correction", ["call_id", "correction_id"], unique=False)
    op.create_index("cost_correction_by_cost", "cost_correction", ["cost_usd", "call_id"], unique=False)
    op.create_table(
        "llm_call",
        sa.Column("call_id", tables.IdText, nullable=False),
        sa.Column("run_id", tables.IdText, nullable=False),
        sa.Column("parent_run_id", tables.IdText, nullable=True),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("ended_at", tables.UtcTime, nullable=True),
        sa.Column("user_id", tables.IdText, nullable=True),
        sa.Column("session_id", tables.IdText, nullable=True),
        sa.Column("conversation_id", tables.IdText, nullable=True),
        sa.Column("message_id", tables.IdText, nullable=True),
        sa.Column("thread_id", tables.IdText, nullable=True),
        sa.Column("checkpoint_ns", sa.Text(), nullable=True),
        sa.Column("agent_id", sa.Text(), nullable=True),
        sa.Column("agent_key", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("step", sa.Integer(), nullable=True),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("base_url", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("response_model", sa.Text(), nullable=True),
        sa.Column("response_id", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("temperature", sa.Float(), nullable=True),
        sa.Column("top_p", sa.Float(), nullable=True),
        sa.Column("max_tokens", sa.Integer(), nullable=True),
        sa.Column("params", tables.JsonText, nullable=False),
        sa.Column("streamed", sa.Boolean(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error_type", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column("http_status", sa.Integer(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("queue_ms", sa.Float(), nullable=True),
        sa.Column("ttft_ms", sa.Float(), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=True),
        sa.Column("input_tokens", sa.Integer(), nullable=True),
        sa.Column("output_tokens", sa.Integer(), nullable=True),
        sa.Column("cache_read_tokens", sa.Integer(), nullable=True),
        sa.Column("cache_write_tokens", sa.Integer(), nullable=True),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=True),
        sa.Column("usage_source", sa.String(), nullable=True),
        sa.Column("cost_usd", sa.Float(), nullable=True),
        sa.Column("price_id", tables.IdText, nullable=True),
        sa.Column("cost_source", sa.String(), nullable=True),
        sa.Column("key_source", sa.String(), nullable=True),
        sa.Column("context_compacted", sa.Boolean(), nullable=False),
        sa.Column("attributed", sa.Boolean(), nullable=False),
        sa.Column("tags", tables.JsonText, nullable=False),
        sa.Column("body_hash", sa.String(), nullable=True),
        sa.CheckConstraint("status IN ('started', 'ok', 'error', 'cancelled', 'lost')", name="status_known"),
        sa.PrimaryKeyConstraint("call_id"),
    )
    op.create_index("llm_call_by_cost", "llm_call", ["cost_usd", "call_id"], unique=False)
    op.create_index("llm_call_by_latency", "llm_call", ["duration_ms", "call_id"], unique=False)
    op.create_index(
        "llm_call_by_tokens", "llm_call", [sa.text("(input_tokens + output_tokens)"), "call_id"], unique=False
    )
    op.create_index("llm_call_by_message", "llm_call", ["message_id"], unique=False)
    op.create_index("llm_call_by_model", "llm_call", ["model", "created_at"], unique=False)
    op.create_index("llm_call_by_session", "llm_call", ["session_id", "created_at"], unique=False)
    op.create_index("llm_call_by_thread", "llm_call", ["thread_id"], unique=False)
    op.create_index("llm_call_by_time", "llm_call", ["created_at", "call_id"], unique=False)
    op.create_index("llm_call_by_user", "llm_call", ["user_id", "created_at"], unique=False)
    op.create_index(
        "llm_call_not_ok",
        "llm_call",
        ["status", "created_at"],
        unique=False,
        sqlite_where=sa.text("status <> 'ok'"),
        postgresql_where=sa.text("status <> 'ok'"),
    )
    op.create_table(
        "llm_call_body",
        sa.Column("call_id", tables.IdText, nullable=False),
        sa.Column("prompt", sa.Text(), nullable=True),
        sa.Column("response", sa.Text(), nullable=True),
        sa.Column("tools", sa.Text(), nullable=True),
        sa.Column("salt", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("call_id"),
    )
    # Keys first: older SQLite takes other orders for damage in tables without a rowid.
    op.create_table(
        "llm_call_day",
        sa.Column("day", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("session_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", tables.IdText, nullable=False),
        sa.Column("agent_id", tables.IdText, nullable=False),
        sa.Column("agent_key", tables.IdText, nullable=False),
        sa.Column("node", tables.IdText, nullable=False),
        sa.Column("status", tables.IdText, nullable=False),
        sa.Column("error_type", tables.IdText, nullable=False),
        sa.Column("attributed", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("durations", sa.LargeBinary(), nullable=False),
        sa.Column("ttfts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "session_id",
            "user_id",
            "hour",
            "model",
            "agent_id",
            "agent_key",
            "node",
            "status",
            "error_type",
            "attributed",
        ),
        sqlite_with_rowid=False,
    )
    op.create_index("llm_call_day_by_user", "llm_call_day", ["user_id", "day"], unique=False)
    op.create_table(
        "llm_call_hour",
        sa.Column("hour", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", tables.IdText, nullable=False),
        sa.Column("agent_id", tables.IdText, nullable=False),
        sa.Column("agent_key", tables.IdText, nullable=False),
        sa.Column("node", tables.IdText, nullable=False),
        sa.Column("status", tables.IdText, nullable=False),
        sa.Column("error_type", tables.IdText, nullable=False),
        sa.Column("attributed", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.BigInteger(), nullable=False),
        sa.Column("unpriced", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.BigInteger(), nullable=False),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False),
        sa.Column("cache_read_tokens", sa.BigInteger(), nullable=False),
        sa.Column("reasoning_tokens", sa.BigInteger(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("cost_usd", sa.Float(), nullable=False),
        sa.Column("durations", sa.LargeBinary(), nullable=False),
        sa.Column("ttfts", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint(
            "hour", "model", "agent_id", "agent_key", "node", "status", "error_type", "attributed"
        ),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_seal",
        sa.Column("seal_id", tables.IdText, nullable=False),
        sa.Column("prev_hash", sa.String(), nullable=False),
        sa.Column("rows_hash", sa.String(), nullable=False),
        sa.Column("hash", sa.String(), nullable=False),
        sa.Column("first_call_id", tables.IdText, nullable=False),
        sa.Column("last_call_id", tables.IdText, nullable=False),
        sa.Column("sealed_at", tables.UtcTime, nullable=False),
        sa.Column("manifest", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seal_id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_table(
        "model_price",
        sa.Column("price_id", tables.IdText, nullable=False),
        sa.Column("provider", tables.CleanText, nullable=False),
        sa.Column("base_url", tables.CleanText, nullable=False),
        sa.Column("model", tables.CleanText, nullable=False),
        sa.Column("valid_from", tables.UtcTime, nullable=False),
        sa.Column("input_usd", sa.Float(), nullable=True),
        sa.Column("output_usd", sa.Float(), nullable=True),
        sa.Column("cache_read_usd", sa.Float(), nullable=True),
        sa.Column("cache_write_usd", sa.Float(), nullable=True),
        sa.Column("rates", tables.JsonText, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("note", tables.CleanText, nullable=False),
        sa.Column("created_by", tables.IdText, nullable=True),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.Column("ended_at", tables.UtcTime, nullable=True),
        sa.PrimaryKeyConstraint("price_id"),
    )
    op.create_index("model_price_by_model", "model_price", ["model", "valid_from"], unique=False)
    op.create_table(
        "saved_view",
        sa.Column("view_id", tables.IdText, nullable=False),
        sa.Column("user_id", tables.IdText, nullable=False),
        sa.Column("page", tables.CleanText, nullable=False),
        sa.Column("name", tables.CleanText, nullable=False),
        sa.Column("query", tables.CleanText, nullable=False),
        sa.Column("created_at", tables.UtcTime, nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["user.user_id"]),
        sa.PrimaryKeyConstraint("view_id"),
    )
    op.create_index("saved_view_by_name", "saved_view", ["user_id", "page", "name"], unique=True)


def downgrade() -> None:
    op.drop_index("saved_view_by_name", table_name="saved_view")
    op.drop_table("saved_view")
    op.drop_index("model_price_by_model", table_name="model_price")
    op.drop_table("model_price")
    op.drop_table("log_seal")
    op.drop_table("llm_call_hour")
    op.drop_index("llm_call_day_by_user", table_name="llm_call_day")
    op.drop_table("llm_call_day")
    op.drop_table("llm_call_body")
    op.drop_index(
        "llm_call_not_ok",
        table_name="llm_call",
        sqlite_where=sa.text("status <> 'ok'"),
        postgresql_where=sa.text("status <> 'ok'"),
    )
    op.drop_index("llm_call_by_user", table_name="llm_call")
    op.drop_index("llm_call_by_tokens", table_name="llm_call")
    op.drop_index("llm_call_by_time", table_name="llm_call")
    op.drop_index("llm_call_by_thread", table_name="llm_call")
    op.drop_index("llm_call_by_session", table_name="llm_call")
    op.drop_index("llm_call_by_model", table_name="llm_call")
    op.drop_index("llm_call_by_message", table_name="llm_call")
    op.drop_index("llm_call_by_latency", table_name="llm_call")
    op.drop_index("llm_call_by_cost", table_name="llm_call")
    op.drop_table("llm_call")
    op.drop_index("cost_correction_by_cost", table_name="cost_correction")
    op.drop_index("cost_correction_by_call", table_name="cost_correction")
    op.drop_table("cost_correction")
    op.drop_index("activity_by_user", table_name="activity")
    op.drop_index("activity_by_target", table_name="activity")
    op.drop_index("activity_by_session", table_name="activity")
    op.drop_table("activity")
