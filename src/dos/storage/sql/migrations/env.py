"""Run by Alembic: hands it the connection that `dos.storage.sql.migrate` opened."""

from __future__ import annotations

from alembic import context

from dos.storage.sql.schema import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter most of a table: Alembic then builds a new one and copies.
    render_as_batch=True,
)
with context.begin_transaction():
    context.run_migrations()
