"""Messages inside Prefect's server, refused by a real SQLite file that others write to."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from prefect.server.utilities.messaging import create_consumer, create_publisher
from prefect.server.utilities.messaging.memory import Topic
from prefect.settings import PREFECT_HOME, PREFECT_MESSAGING_BROKER, temporary_settings
from sqlalchemy import create_engine

from flows.orchestration import messages, prefect_environment
from serving import read_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from prefect.server.utilities.messaging import Message

TRIES_OF_PREFECT = 4


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[None]:
    """Prefect's settings as `make serve` has them, as far as they are of messages."""
    variables = prefect_environment.variables(read_settings(state=tmp_path / "state"))
    named = variables["PREFECT_SERVER_EVENTS_MESSAGING_BROKER"]
    with temporary_settings({PREFECT_MESSAGING_BROKER: named, PREFECT_HOME: tmp_path / "prefect"}):
        yield
    Topic.clear_all()


class Writer:
    """Reads, then writes, in one transaction; in its first `disturbed` tries somebody else writes in between."""

    def __init__(self, path: Path, disturbed: int) -> None:
        self._engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None, "timeout": 60})
        self._disturbed = disturbed
        self.tries = 0
        self.done = asyncio.Event()
        with self._engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA journal_mode = WAL")
            connection.exec_driver_sql("CREATE TABLE counts (number)")

    async def __call__(self, message: Message) -> None:
        self.tries += 1
        with self._engine.connect() as connection, self._engine.connect() as other:
            connection.exec_driver_sql("BEGIN DEFERRED")
            connection.exec_driver_sql("SELECT * FROM counts").all()
            if self.tries <= self._disturbed:
                other.exec_driver_sql("INSERT INTO counts VALUES (0)")
            try:
                connection.exec_driver_sql("INSERT INTO counts VALUES (1)")
                connection.exec_driver_sql("COMMIT")
            finally:
                if self.tries <= self._disturbed:
                    connection.exec_driver_sql("ROLLBACK")
        self.done.set()


async def test_a_message_outlives_more_refusals_than_prefect_bears(
    broker: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(messages, "PAUSES_S", (0.01,) * len(messages.PAUSES_S))
    writer = Writer(tmp_path / "counts.sqlite3", disturbed=TRIES_OF_PREFECT + 1)
    consuming = asyncio.create_task(create_consumer("events").run(writer))
    await asyncio.sleep(0)  # the consumer has subscribed

    async with create_publisher("events") as publisher:
        await publisher.publish_data(b"something failed", {"id": "1"})

    await asyncio.wait_for(writer.done.wait(), 30)
    consuming.cancel()
    assert not (tmp_path / "prefect" / "dlq").exists()
    assert writer.tries == TRIES_OF_PREFECT + 2


async def test_what_is_no_refusal_is_left_to_prefect(broker: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "PAUSES_S", (60.0,))
    seen = asyncio.Event()
    tries = 0

    async def broken(message: Message) -> None:
        nonlocal tries
        tries += 1
        if tries == TRIES_OF_PREFECT:
            seen.set()
        raise ValueError

    consuming = asyncio.create_task(create_consumer("events").run(broken))
    async with create_publisher("events") as publisher:
        await publisher.publish_data(b"something failed", {"id": "2"})

    await asyncio.wait_for(seen.wait(), 30)  # at once, without a pause
    consuming.cancel()
