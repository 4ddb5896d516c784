"""The schema of the feedback database, step by step, by Alembic.

A change of `mien.gateway.feedback.tables` comes with a step in `versions`, whose `down_revision` is the newest one
there is; a test holds the tables against what all steps together make.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import inspect

from mien.gateway.feedback.errors import FeedbackUnavailableError

if TYPE_CHECKING:
    from sqlalchemy import Connection

VERSION_TABLE = "feedback_schema"
"""Not Alembic's usual name: others may keep their tables in the same database."""

FIRST = "0001"
"""What databases have that were made before their schema had versions."""


def upgrade(connection: Connection) -> None:
    """Bring the schema to the newest version, within the transaction of `connection`.

    Raises:
        FeedbackUnavailableError: a newer Mien has changed it to something unknown here.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    tables = inspect(connection)
    try:
        if tables.has_table("feedback_corrections") and not tables.has_table(VERSION_TABLE):
            command.stamp(config, FIRST)
        command.upgrade(config, "head")
    except CommandError as error:
        raise FeedbackUnavailableError(
            f"The feedback database was made by a newer Mien ({error}); use that one, or another database."
        ) from error
