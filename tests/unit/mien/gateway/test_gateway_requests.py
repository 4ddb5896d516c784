"""What surrounds every request. No worker and no model server: nothing here gets as far as a picture."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from mien.errors import InferenceError, ServerUnavailableError
from mien.gateway.keys import KeyFile
from mien.gateway.requests import SAFE_HEADERS
from tests.unit.mien.gateway.conftest import calling

if TYPE_CHECKING:
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

    from tests.unit.mien.gateway.conftest import MakeApp

NO_PICTURE = {"x": (None, "1")}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/health", 200),
        ("GET", "/nowhere", 404),
        ("GET", "/v1/detect", 405),
        ("POST", "/v1/detect", 400),
        ("POST", "/detect-video", 400),
        ("GET", "/v1/jobs/unknown", 404),
    ],
)
async def test_every_answer_is_json_with_an_id_and_safe_headers(
    make_app: MakeApp, method: str, path: str, status: int
) -> None:
    async with calling(make_app()) as client:
        answer = await client.request(method, path)
    assert answer.status_code == status
    assert status == 200 or list(answer.json()) == ["error"]
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert {name: answer.headers[name] for name in SAFE_HEADERS} == SAFE_HEADERS
    assert "access-control-allow-origin" not in answer.headers
    assert "server" not in answer.headers


@pytest.mark.parametrize(
    ("given", "is_kept"), [("order-77.a_B", True), ("a b", False), ("x" * 65, False), ("é", False)]
)
async def test_a_plain_request_id_is_kept(make_app: MakeApp, given: str, is_kept: bool) -> None:
    async with calling(make_app()) as client:
        answer = await client.get("/health", headers={"X-Request-ID": given.encode()})
    assert (answer.headers["x-request-id"] == given) is is_kept


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (ZeroDivisionError("secret"), 500, "unexpectedly"),
        (ServerUnavailableError("secret 10.0.0.7"), 503, "try again"),
        (InferenceError("secret"), 502, "no usable answer"),
    ],
)
async def test_what_fails_behind_the_gateway_is_not_told(
    make_app: MakeApp, error: Exception, status: int, words: str
) -> None:
    app = make_app()

    @app.get("/fails")
    async def fails() -> None:
        raise error

    async with calling(app) as client:
        answer = await client.get("/fails")
    assert answer.status_code == status
    assert words in answer.json()["error"]
    assert "secret" not in answer.text
    assert answer.headers["x-content-type-options"] == "nosniff"


async def statuses(client: httpx.AsyncClient, calls: int, headers: dict[str, str] | None = None) -> Counter[int]:
    """Statuses of requests at once; each is turned away for want of a picture, or earlier."""
    posts = (client.post("/v1/detect", files=NO_PICTURE, headers=headers) for _ in range(calls))
    return Counter(answer.status_code for answer in await asyncio.gather(*posts))


async def test_the_limit_holds_at_twice_the_rate_for_each_address(make_app: MakeApp) -> None:
    app = make_app(max_in_flight=1000)
    async with calling(app, "192.0.2.1") as first, calling(app, "192.0.2.2") as second:
        assert await statuses(first, 200) == {400: 100, 429: 100}
        assert await statuses(second, 5) == {400: 5}
        answer = await first.post("/detect", files=NO_PICTURE)
        assert answer.status_code == 429
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert (await first.get("/health")).status_code == 200
    async with calling(app, "2001:db8::1") as one, calling(app, "2001:db8::ffff") as same_network:
        assert await statuses(one, 100) == {400: 100}
        assert await statuses(same_network, 1) == {429: 1}


async def test_videos_have_a_limit_of_their_own(make_app: MakeApp) -> None:
    async with calling(make_app()) as client:
        answers = [await client.post("/detect-video", files=NO_PICTURE) for _ in range(20)]
        assert [answer.status_code for answer in answers] == [400] * 10 + [429] * 10
        assert await statuses(client, 1) == {400: 1}


@pytest.mark.parametrize(("proxies", "expected"), [("", {429: 4}), ("192.0.2.0/24", {400: 4})])
async def test_forwarded_addresses_count_from_trusted_proxies_alone(
    make_app: MakeApp, proxies: str, expected: dict[int, int]
) -> None:
    async with calling(make_app(detect_per_minute=2, trusted_proxies=proxies)) as client:
        await statuses(client, 2, {"X-Forwarded-For": "203.0.113.1"})
        taken: dict[int, int] = {}
        for number in range(4):
            (status,) = await statuses(client, 1, {"X-Forwarded-For": f"198.51.100.{number}"})
            taken[status] = taken.get(status, 0) + 1
    assert taken == expected


@pytest.fixture
def guarded(make_app: MakeApp, tmp_path: Path) -> tuple[FastAPI, KeyFile]:
    return make_app(require_keys=True, detect_per_minute=3), KeyFile(tmp_path / "keys.json")


@pytest.fixture(autouse=True)
def first_key(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    """A gateway that needs keys does not start without any."""
    return KeyFile(tmp_path / "keys.json").add("first") if "guarded" in request.fixturenames else None


async def test_callers_with_keys_are_known_by_them(
    first_key: str, guarded: tuple[FastAPI, KeyFile], tmp_path: Path
) -> None:
    app, keys = guarded
    second_key = keys.add("second")
    async with calling(app) as client:
        for headers in ({}, {"Authorization": "Bearer nonsense"}, {"X-API-Key": f"{first_key}x"}):
            answer = await client.post("/v1/detect", files=NO_PICTURE, headers=headers)
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
        assert (await client.get("/metrics")).status_code == 401
        assert (await client.get("/health")).status_code == 200

        assert await statuses(client, 6, {"Authorization": f"Bearer {first_key}"}) == {400: 3, 429: 3}
        assert await statuses(client, 1, {"X-API-Key": second_key}) == {400: 1}
        keys.remove("second")
        assert await statuses(client, 1, {"X-API-Key": second_key}) == {401: 1}


async def test_a_full_gateway_sheds(make_app: MakeApp) -> None:
    app = make_app(max_in_flight=1)
    with app.state.gateway.picture_room.taken():
        async with calling(app) as client:
            answer = await client.post("/v1/detect", files=NO_PICTURE)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


async def test_without_a_model_server_it_lives_but_is_not_ready(make_app: MakeApp) -> None:
    async with calling(make_app()) as client:
        answer = await client.get("/ready")
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert (await client.get("/health")).json() == {"status": "ok"}
