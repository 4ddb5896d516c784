"""Run by Alembic: the steps go over the connection that `upgrade` gave."""

from alembic import context

from mien.gateway.feedback.migrations import VERSION_TABLE
from mien.gateway.feedback.tables import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=True,  # SQLite changes a column by copying its table
)
with context.begin_transaction():
    context.run_migrations()
