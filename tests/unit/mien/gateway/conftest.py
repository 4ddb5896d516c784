from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import httpx
import pytest

from mien import ClientSettings
from mien.gateway.app import create_app
from mien.gateway.settings import GatewaySettings

if TYPE_CHECKING:
    from pathlib import Path

    from fastapi import FastAPI


@pytest.fixture(autouse=True)
def clean_gateway_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests stay outside."""
    for name in GatewaySettings.model_fields:
        monkeypatch.delenv(f"MIEN_GATEWAY_{name.upper()}", raising=False)


class MakeApp(Protocol):
    """Makes a gateway that was not started: it refuses, limits and counts, but has no workers and asks no server."""

    def __call__(self, **settings: object) -> FastAPI: ...


@pytest.fixture
def make_app(tmp_path: Path) -> MakeApp:
    (tmp_path / "spool").mkdir()

    def make(**settings: object) -> FastAPI:
        places: dict[str, object] = {"keys_file": tmp_path / "keys.json", "spool": tmp_path / "spool"}
        return create_app(
            GatewaySettings(**(places | settings)), ClientSettings(endpoints="127.0.0.1:9", retry_attempts=1)
        )

    return make


def calling(app: FastAPI, address: str = "192.0.2.1") -> httpx.AsyncClient:
    """A client of `app` that comes from `address`."""
    transport = httpx.ASGITransport(app, client=(address, 40_000))
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")
