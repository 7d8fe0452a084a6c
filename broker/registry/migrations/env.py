"""What Alembic runs: the steps, on a connection and in a transaction that ``migrating`` has."""

from __future__ import annotations

from alembic import context

from broker.registry.models import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # SQLite can't alter a column: the table is copied.
    render_as_batch=True,
)
context.run_migrations()
