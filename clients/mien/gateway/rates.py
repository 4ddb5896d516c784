"""How often a caller may call: so many requests in any 60 seconds, counted here or in Redis for all replicas."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import deque
from http import HTTPStatus

from limits import RateLimitItemPerMinute
from limits.errors import ConfigurationError, StorageError
from limits.storage import Storage, storage_from_string
from limits.strategies import MovingWindowRateLimiter

from mien.errors import SettingsError
from mien.gateway.refusals import RequestRefusedError

logger = logging.getLogger(__name__)

REDIS_TIMEOUT_S = 0.5

RETRY_S = 2.0
"""So long after a failure each process counts for itself: waiting for Redis each time would slow down every request."""

WINDOW_S = 60.0


class Rates:
    """Counts requests by caller; a refused request does not count.

    While Redis does not answer, each process counts for itself: callers are neither locked out nor let loose. One
    request in `RETRY_S` tries it again.

    Args:
        url: ``memory://``, or ``redis://…`` (``rediss://…`` with TLS).

    Raises:
        SettingsError: the URL names nothing that can be used.
    """

    def __init__(self, url: str) -> None:
        self._own = _Windows()
        self._shared = None if url.startswith("memory:") else _Shared(MovingWindowRateLimiter(_storage(url)))

    async def take(self, route: str, caller: str, per_minute: int) -> None:
        """Count one request.

        Raises:
            RequestRefusedError: it is one too many (429); Retry-After says when there is room again.
        """
        wait_s = await self._wait_s(route, caller, per_minute)
        if wait_s is not None:
            raise RequestRefusedError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"More than {per_minute} requests a minute; try again in {math.ceil(wait_s)} s.",
                {"Retry-After": str(math.ceil(wait_s))},
            )

    async def _wait_s(self, route: str, caller: str, per_minute: int) -> float | None:
        """Seconds until there is room again; None if there was."""
        if self._shared is not None:
            try:
                return await asyncio.to_thread(self._shared.take, route, caller, per_minute)
            except _AwayError:
                pass
        return self._own.take((route, caller), per_minute, time.monotonic())


class _Windows:
    """When each caller's requests of the last 60 seconds came.

    The storage in memory of `limits` starts a thread for nearly every request, to clear up behind it.
    """

    def __init__(self) -> None:
        self._taken: dict[tuple[str, str], deque[float]] = {}
        self._look_s = 0.0

    def take(self, who: tuple[str, str], per_minute: int, now_s: float) -> float | None:
        """Count one request; seconds until there is room again, or None if there was."""
        if now_s > self._look_s:
            self._look_s = now_s + WINDOW_S
            self._taken = {one: times for one, times in self._taken.items() if times[-1] > now_s - WINDOW_S}
        times = self._taken.setdefault(who, deque())
        while times and times[0] <= now_s - WINDOW_S:
            times.popleft()
        if len(times) >= per_minute:
            return max(1.0, times[0] + WINDOW_S - now_s)
        times.append(now_s)
        return None


class _AwayError(Exception):
    """Redis does not answer."""


class _Shared:
    """Windows in Redis; threads ask it."""

    def __init__(self, limiter: MovingWindowRateLimiter) -> None:
        self._limiter = limiter
        self._is_away = False
        self._again_s = 0.0

    def take(self, route: str, caller: str, per_minute: int) -> float | None:
        """Count one request; seconds until there is room again, or None if there was.

        Raises:
            _AwayError: Redis does not answer, or did not a moment ago.
        """
        if self._is_away:
            if time.monotonic() < self._again_s:
                raise _AwayError
            self._again_s = time.monotonic() + RETRY_S  # this one tries it, the others need not
        try:
            wait_s = self._take(route, caller, per_minute)
        except StorageError as error:
            self._is_away, self._again_s = True, time.monotonic() + RETRY_S
            logger.warning("rates_unshared", extra={"reason": str(error)})
            raise _AwayError from error
        if self._is_away:
            self._is_away = False
            logger.info("rates_shared")
        return wait_s

    def _take(self, route: str, caller: str, per_minute: int) -> float | None:
        item = RateLimitItemPerMinute(per_minute, namespace="mien")
        if self._limiter.hit(item, route, caller):
            return None
        wait_s = self._limiter.get_window_stats(item, route, caller).reset_time - time.time()
        return min(WINDOW_S, max(1.0, wait_s))  # the clock may have been set meanwhile


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
