"""The schema's steps on SQLite and on a real PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text

from mien.gateway.feedback.errors import FeedbackUnavailableError
from mien.gateway.feedback.migrations import FIRST, VERSION_TABLE
from mien.gateway.feedback.tables import Base
from tests.unit.mien.gateway.feedback.conftest import given

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from tests.unit.mien.gateway.feedback.conftest import MakeStore


@pytest.fixture
def connection(database: str) -> Iterator[Connection]:
    engine = create_engine(database.replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def version(connection: Connection) -> str:
    return str(connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}")))


def test_all_steps_together_make_the_tables(make_store: MakeStore, connection: Connection) -> None:
    make_store().add(given(), "local")
    context = MigrationContext.configure(connection, opts={"compare_type": True, "version_table": VERSION_TABLE})
    assert compare_metadata(context, Base.metadata) == []


def test_a_database_from_before_there_were_versions_is_taken_over(
    make_store: MakeStore, connection: Connection
) -> None:
    receipt = make_store().add(given(), "local")
    with connection.begin():
        connection.execute(text("ALTER TABLE feedback_corrections DROP COLUMN ensemble"))  # made by the second step
        connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    kept = make_store().find(receipt.id)
    assert (kept.corrected, kept.ensemble) == ("sad", "emotion")
    with connection.begin():
        assert version(connection) > FIRST


def test_a_database_of_a_newer_mien_is_left_alone(make_store: MakeStore, connection: Connection) -> None:
    make_store().add(given(), "local")
    with connection.begin():
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(FeedbackUnavailableError, match="newer Mien"):
        make_store().entries()
    with connection.begin():
        assert version(connection) == "9999"
