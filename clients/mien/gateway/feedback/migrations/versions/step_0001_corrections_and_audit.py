"""Corrections, and an audit log to which entries can only be added."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_APPEND_ONLY = {
    "sqlite": tuple(
        f"CREATE TRIGGER feedback_audit_no_{verb.lower()} BEFORE {verb} ON feedback_audit "
        "BEGIN SELECT RAISE(ABORT, 'the audit log is append-only'); END"
        for verb in ("UPDATE", "DELETE")
    ),
    "postgresql": (
        "CREATE OR REPLACE FUNCTION feedback_audit_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit log is append-only'; END $$",
        "CREATE TRIGGER feedback_audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON feedback_audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION feedback_audit_append_only()",
    ),
}


def upgrade() -> None:
    """Make both tables."""
    op.create_table(
        "feedback_corrections",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("created", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("predicted", sa.String(32), nullable=False),
        sa.Column("corrected", sa.String(32), nullable=False),
        sa.Column("release", sa.String(16), nullable=False),
        sa.Column("contributor", sa.String(64), index=True),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("token_sha256", sa.String(64), nullable=False),
        sa.Column("reviewed", sa.DateTime(timezone=True)),
        sa.Column("reviewer", sa.String(128)),
        sa.Column("collected", sa.String(128)),
    )
    op.create_index("feedback_corrections_by_state", "feedback_corrections", ["state", "created"])
    op.create_table(
        "feedback_audit",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
        sa.Column("time", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(128), nullable=False),
        sa.Column("action", sa.String(32), nullable=False),
        sa.Column("correction", sa.String(32), nullable=False, index=True),
    )
    for statement in _APPEND_ONLY[op.get_bind().dialect.name]:
        op.execute(statement)
