"""How often a caller may call: so many requests in any 60 seconds, counted here or in Redis for all replicas."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from http import HTTPStatus

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import MemoryStorage, Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from mien.errors import SettingsError
from mien.gateway.refusals import RequestRefusedError

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 0.5


class Rates:
    """Counts requests by caller; a refused request does not count.

    While Redis does not answer, each process counts for itself: callers are neither locked out nor let loose.

    Args:
        url: ``memory://``, or ``redis://…`` (``rediss://…`` with TLS).

    Raises:
        SettingsError: the URL names nothing that can be used.
    """

    def __init__(self, url: str) -> None:
        self._memory = MovingWindowRateLimiter(MemoryStorage())
        self._shared = None if url.startswith("memory:") else MovingWindowRateLimiter(_storage(url))

    async def take(self, route: str, caller: str, per_minute: int) -> None:
        """Count one request.

        Raises:
            RequestRefusedError: it is one too many (429); Retry-After says when there is room again.
        """
        item = RateLimitItemPerMinute(per_minute, namespace="mien")
        wait_s = await self._wait_s(item, route, caller)
        if wait_s is not None:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"More than {per_minute} requests a minute; try again in {wait_s} s.",
                {"Retry-After": str(wait_s)},
            )

    async def _wait_s(self, item: RateLimitItemPerMinute, route: str, caller: str) -> int | None:
        """Seconds until there is room again; None if there was."""
        if self._shared is not None:
            try:
                return await asyncio.to_thread(_take, self._shared, item, route, caller)
            except StorageError as error:
                logger.warning("rates_unshared", extra={"reason": str(error)})
        return _take(self._memory, item, route, caller)


def _take(limiter: MovingWindowRateLimiter, item: RateLimitItemPerMinute, route: str, caller: str) -> int | None:
    if limiter.hit(item, route, caller):
        return None
    return max(1, math.ceil(limiter.get_window_stats(item, route, caller).reset_time - time.time()))


def _storage(url: str) -> Storage:
    try:
        storage = storage_from_string(
            url, wrap_exceptions=True, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S
        )
    except ConfigurationError as error:
        raise SettingsError(
            f"MIEN_GATEWAY_LIMITS_URL is {url!r}, which cannot be used ({error}). Give memory:// or redis://host:port; "
            "Redis needs the package redis: pip install redis."
        ) from error
    if not isinstance(storage, Storage):
        raise SettingsError(f"MIEN_GATEWAY_LIMITS_URL is {url!r}: give memory:// or redis://host:port.")
    return storage
