"""Alembic's entry: migrate inside the transaction that ``Database.migrate`` opened."""

from alembic import context

from core.tables import Table, is_modelled

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Table.metadata,
    include_name=is_modelled,
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
