"""Full-text search in calls: what is found, what waits to be indexed, and the index itself."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Whoever writes a body, the call log, an import or a test, its call waits to be indexed from that moment on.
_SQLITE = [
    """CREATE VIRTUAL TABLE llm_call_words
    USING fts5(words, content='', columnsize=0, tokenize="ascii tokenchars '='")""",
    """CREATE TRIGGER llm_call_body_to_index AFTER INSERT ON llm_call_body
    BEGIN INSERT OR IGNORE INTO llm_call_to_index (call_id) VALUES (new.call_id); END""",
]
_POSTGRESQL = [
    "CREATE TABLE llm_call_words (position bigint PRIMARY KEY, words tsvector NOT NULL)",
    "CREATE INDEX llm_call_words_by_word ON llm_call_words USING gin (words)",
    """CREATE FUNCTION llm_call_to_index() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO llm_call_to_index SELECT call_id FROM added ON CONFLICT DO NOTHING; RETURN NULL; END $$""",
    """CREATE TRIGGER llm_call_body_to_index AFTER INSERT ON llm_call_body
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION llm_call_to_index()""",
]


def upgrade() -> None:
    op.create_table(
        "llm_call_search",
        sa.Column(
            "position", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("call_id", tables.IdText, nullable=False),
        sa.PrimaryKeyConstraint("position"),
        sa.UniqueConstraint("call_id"),
    )
    op.create_table(
        "llm_call_to_index",
        sa.Column("call_id", tables.IdText, nullable=False),
        sa.PrimaryKeyConstraint("call_id"),
        sqlite_with_rowid=False,
    )
    for statement in _SQLITE if op.get_bind().dialect.name == "sqlite" else _POSTGRESQL:
        op.execute(statement)
    op.execute("INSERT INTO llm_call_to_index (call_id) SELECT call_id FROM llm_call_body")


def downgrade() -> None:
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    op.execute("DROP TRIGGER llm_call_body_to_index" + ("" if on_sqlite else " ON llm_call_body"))
    if not on_sqlite:
        op.execute("DROP FUNCTION llm_call_to_index")
    op.execute("DROP TABLE llm_call_words")
    op.drop_table("llm_call_to_index")
    op.drop_table("llm_call_search")
