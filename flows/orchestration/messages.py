"""The messages inside Prefect's server, as its own broker in memory has them, but patient with a busy SQLite.

To be named by ``PREFECT_SERVER_EVENTS_MESSAGING_BROKER``. An automation is evaluated in a transaction that reads before
it writes. If somebody else commits in between, SQLite refuses the write at once (``SQLITE_BUSY_SNAPSHOT``), whatever
its timeout, and no setting of Prefect's begins such a transaction with the lock. Prefect's broker tries a message four
times without a pause, which may all fall into one busy moment; then the event is put aside for good, and with it the
notification or the run that it would have started. Here there are pauses between the tries.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from typing import TYPE_CHECKING

from prefect.server.utilities.messaging import memory
from prefect.server.utilities.messaging.memory import Publisher, break_topic, ephemeral_subscription
from sqlalchemy.exc import OperationalError

if TYPE_CHECKING:
    from prefect.server.utilities.messaging import Message, MessageHandler

__all__ = ["Consumer", "Publisher", "break_topic", "ephemeral_subscription"]

_log = logging.getLogger(__name__)

PAUSES_S = (0.1, 0.3, 1.0, 3.0, 5.0)
"""Within each of Prefect's own four tries."""


class Consumer(memory.Consumer):
    """Takes the messages of a topic, and tries again what SQLite refused."""

    async def run(self, handler: MessageHandler) -> None:
        """Hand each message to `handler`, until cancelled."""

        async def patient(message: Message) -> None:
            for pause_s in PAUSES_S:
                try:
                    return await handler(message)
                except OperationalError as error:
                    if not isinstance(error.orig, sqlite3.OperationalError):
                        raise
                    _log.info("%s: SQLite refused a message (%s); again in %s s", self.topic.name, error.orig, pause_s)
                    await asyncio.sleep(pause_s)
            return await handler(message)

        await super().run(patient)
