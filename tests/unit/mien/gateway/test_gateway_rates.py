"""Limits of one process, and of several through a real Redis."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import pytest

from mien.errors import SettingsError
from mien.gateway.rates import REDIS_TIMEOUT_S, Rates
from mien.gateway.refusals import RequestRefusedError
from tests.redis_server import running_redis


async def accepted(rates: list[Rates], caller: str, calls: int, per_minute: int) -> int:
    """How many of `calls` at once, spread over replicas, are taken."""
    takes = (rates[index % len(rates)].take("detect", caller, per_minute) for index in range(calls))
    outcomes = await asyncio.gather(*takes, return_exceptions=True)
    refused = [outcome for outcome in outcomes if outcome is not None]
    for refusal in refused:
        assert isinstance(refusal, RequestRefusedError), refusal
        assert refusal.status == 429
        assert 1 <= int(refusal.headers["Retry-After"]) <= 60
    return calls - len(refused)


async def test_twice_the_allowed_rate_is_cut_to_the_allowed_rate() -> None:
    rates = [Rates("memory://")]
    assert await accepted(rates, "a", 200, 100) == 100
    assert await accepted(rates, "a", 10, 100) == 0
    assert await accepted(rates, "b", 10, 100) == 10


async def test_there_is_room_again_a_minute_after_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 1000.0
    monkeypatch.setattr("mien.gateway.rates.time", SimpleNamespace(monotonic=lambda: now_s))
    rates = [Rates("memory://")]
    assert await accepted(rates, "a", 2, 3) == 2
    now_s += 30
    assert await accepted(rates, "a", 5, 3) == 1
    now_s += 29.5
    with pytest.raises(RequestRefusedError, match="in 1 s"):
        await rates[0].take("detect", "a", 3)
    now_s += 0.5
    assert await accepted(rates, "a", 5, 3) == 2
    now_s += 3600
    assert await accepted(rates, "b", 1, 3) == 1
    assert await accepted(rates, "a", 5, 3) == 3


@pytest.mark.parametrize("url", ["redis", "mysql://somewhere", "async+memory://"])
def test_a_place_that_cannot_count_is_refused(url: str) -> None:
    with pytest.raises(SettingsError, match="MIEN_GATEWAY_LIMITS_URL"):
        Rates(url)


async def test_replicas_share_a_limit_and_outlive_redis() -> None:
    with running_redis() as server:
        replicas = [Rates(server.url), Rates(server.url)]
        assert await accepted(replicas, "a", 40, 20) == 20
        server.kill()
        # Each for itself now.
        assert await accepted(replicas, "a", 80, 20) == 40


async def test_a_redis_that_says_nothing_is_waited_for_once_in_a_while() -> None:
    with running_redis() as server:
        rates = [Rates(server.url)]
        assert await accepted(rates, "a", 20, 10) == 10
        with server.frozen():
            begin_s = time.monotonic()
            assert await accepted(rates, "b", 200, 100) == 100
            assert time.monotonic() - begin_s < 4 * REDIS_TIMEOUT_S


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_set_has_nobody_wait_for_longer_than_a_minute(
    monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    with running_redis() as server:
        rates = [Rates(server.url)]
        assert await accepted(rates, "a", 5, 5) == 5
        clock = SimpleNamespace(monotonic=time.monotonic, time=lambda: time.time() + 3600 * hours)
        monkeypatch.setattr("mien.gateway.rates.time", clock)
        assert await accepted(rates, "a", 5, 5) == 0
