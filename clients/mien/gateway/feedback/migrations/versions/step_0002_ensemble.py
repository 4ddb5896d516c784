"""Corrections of speech beside those of faces."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Say which ensemble was corrected; until now it was always that of faces, as for an older gateway it still is."""
    column = sa.Column("ensemble", sa.String(32), nullable=False, server_default="emotion")
    op.add_column("feedback_corrections", column)
