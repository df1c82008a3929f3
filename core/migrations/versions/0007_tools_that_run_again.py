"""An approval says which tools of its step run once more when it goes on."""

import sqlalchemy as sa
from alembic import op

from core import tables

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("approval", sa.Column("runs_again", tables.OrderedJson(), nullable=True))


def downgrade() -> None:
    op.drop_column("approval", "runs_again")
