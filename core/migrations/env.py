"""Alembic's entry: migrate inside the transaction that ``Database.migrate`` opened."""

from alembic import context

from core.tables import Table

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
