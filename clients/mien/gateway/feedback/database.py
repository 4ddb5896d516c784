"""The feedback database: how it is reached; its tables are made, and brought up to date, before its first use."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.orm import Session

from mien.errors import SettingsError
from mien.gateway.feedback.errors import FeedbackUnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine

BUSY_TIMEOUT_S = 30
"""How long one writer of a SQLite file waits for another; each write takes milliseconds."""

CONNECT_TIMEOUT_S = 5

_UPGRADING = 0x6D69656E
"""PostgreSQL's advisory lock under which the schema is changed; any number that nobody else uses."""


class Database:
    """Transactions in SQLite or PostgreSQL; several processes may use the same one.

    Args:
        url: as SQLAlchemy writes it; ``postgresql://`` goes by psycopg.

    Raises:
        SettingsError: the URL is none, or its driver is missing.
    """

    def __init__(self, url: str) -> None:
        self._url = _parsed(url)
        self._engine = _engine(self._url)
        self._is_up_to_date = False

    def is_there(self) -> bool:
        """Whether there is something to look into; a file of SQLite is made by the first correction."""
        return self._engine.dialect.name != "sqlite" or Path(self._url.database or "").exists()

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """A session whose changes are kept together or not at all.

        Raises:
            FeedbackUnavailableError: the database cannot be used.
        """
        try:
            self._upgrade()
            with Session(self._engine, expire_on_commit=False) as session, session.begin():
                yield session
        except SQLAlchemyError as error:
            where = self._url.render_as_string(hide_password=True)
            reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise FeedbackUnavailableError(f"The feedback database {where} cannot be used: {reason}.") from error

    def close(self) -> None:
        """Close its connections."""
        self._engine.dispose()

    def _upgrade(self) -> None:
        if self._is_up_to_date:
            return
        from mien.gateway.feedback import migrations  # Alembic takes longer to import than the rest of the store

        if self._engine.dialect.name == "sqlite":
            _make_folder(Path(self._url.database or ""))
        with self._engine.begin() as connection:
            if connection.dialect.name == "postgresql":  # two gateways that start together
                connection.execute(select(func.pg_advisory_xact_lock(_UPGRADING)))
            migrations.upgrade(connection)
        self._is_up_to_date = True


def _parsed(url: str) -> URL:
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise SettingsError(
            "MIEN_FEEDBACK_DATABASE is no URL of a database: give sqlite:///PATH or postgresql://user:password@host/name."
        ) from error
    return parsed.set(drivername="postgresql+psycopg") if parsed.drivername == "postgresql" else parsed


def _engine(url: URL) -> Engine:
    is_sqlite = url.get_backend_name() == "sqlite"
    options: dict[str, Any] = {"timeout": BUSY_TIMEOUT_S} if is_sqlite else {"connect_timeout": CONNECT_TIMEOUT_S}
    try:
        engine = create_engine(url, connect_args=options, pool_pre_ping=True, hide_parameters=True)
    except (ArgumentError, ImportError) as error:
        raise SettingsError(
            f"MIEN_FEEDBACK_DATABASE is {url.render_as_string(hide_password=True)!r}, which cannot be used ({error}). "
            "Give sqlite:///PATH or postgresql://user:password@host/name; PostgreSQL needs the package psycopg: "
            "pip install 'psycopg[binary]'."
        ) from error
    if is_sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_immediately)
    elif engine.driver == "psycopg":
        event.listen(engine, "do_connect", _connect_impatiently)
    return engine


def _connect_impatiently(_dialect: object, _record: object, arguments: Any, options: Any) -> object:  # noqa: ANN401
    """SQLAlchemy's way to another class of connections."""
    from mien.gateway.feedback.postgresql import ImpatientConnection  # only PostgreSQL needs psycopg

    return ImpatientConnection.connect(*arguments, **options)


def _prepare_sqlite(connection: Any, _record: object) -> None:  # noqa: ANN401 (sqlite3's)
    connection.isolation_level = None  # transactions begin where we say so
    connection.execute("PRAGMA secure_delete = ON")  # what is erased is overwritten in the file


def _begin_immediately(connection: Connection) -> None:
    """Take the write lock at once: two readers that turn writers would wait for each other."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FeedbackUnavailableError(f"{file.parent} cannot be made: {error.strerror or error}.") from error
