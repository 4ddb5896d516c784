from __future__ import annotations

import io
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import httpx
import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from mien import ClientSettings
from mien.gateway.app import create_app
from mien.gateway.feedback import store as store_module
from mien.gateway.feedback.crops import CropReader
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore, GivenCorrection
from mien.gateway.feedback.utterances import UtteranceReader
from mien.gateway.settings import GatewaySettings
from tests import postgres
from tests.conftest import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from datetime import datetime, timedelta
    from pathlib import Path

    from fastapi import FastAPI

    from mien.gateway.feedback.desk import FeedbackDesk


FIELDS = {"predicted": "happy", "corrected": "sad", "release": "1", "consent": "true"}


def face(seed: int = 0, width: int = 96, height: int = 96) -> bytes:
    """A PNG file of noise, which no compression and no chance would make twice."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    with io.BytesIO() as file:
        Image.fromarray(pixels).save(file, "PNG")
        return file.getvalue()


def given(seed: int = 0, *, corrected: str = "sad", contributor: str | None = None) -> GivenCorrection:
    return GivenCorrection("happy", corrected, "1", face(seed), contributor)


@pytest.fixture(autouse=True)
def clean_feedback_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The settings and the store of whoever runs the tests stay outside."""
    for name in FeedbackSettings.model_fields:
        monkeypatch.delenv(f"MIEN_FEEDBACK_{name.upper()}", raising=False)
    monkeypatch.delenv("MIEN_FEEDBACK", raising=False)
    monkeypatch.setenv("MIEN_STATE", str(tmp_path))


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    programs = postgres.programs()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed; on Debian: apt-get install postgresql")
    with postgres.running_postgres(programs) as server:
        yield server.url


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of an empty database of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'feedback.db'}"
        return
    url: str = request.getfixturevalue("postgres_url")
    yield url
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    engine.dispose()


class MakeStore(Protocol):
    """Makes one more process's view of the same store."""

    def __call__(self, **settings: object) -> FeedbackStore: ...


@pytest.fixture
def make_store(database: str, tmp_path: Path) -> Iterator[MakeStore]:
    with ExitStack() as stack:

        def make(**settings: object) -> FeedbackStore:
            places: dict[str, object] = {"database": database, "state": tmp_path}
            store = FeedbackStore(FeedbackSettings(**(places | settings)))
            stack.callback(store.close)
            return store

        yield make


@pytest.fixture
def store(make_store: MakeStore) -> FeedbackStore:
    return make_store()


class Clock:
    """What the store takes for the time."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def wait(self, time: timedelta) -> None:
        self.now += time

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock(store_module._now())
    monkeypatch.setattr(store_module, "_now", clock)
    return clock


class MakeApp(Protocol):
    """Makes a gateway that is not started: with settings of its own, and of feedback."""

    def __call__(self, gateway: dict[str, object] | None = None, **feedback: object) -> FastAPI: ...


@pytest.fixture
def make_app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeApp]:
    apps = []

    def make(gateway: dict[str, object] | None = None, **feedback: object) -> FastAPI:
        places: dict[str, object] = {"keys_file": tmp_path / "keys.json", "spool": tmp_path / "spool"}
        settings = GatewaySettings(**(places | (gateway or {})))
        app = create_app(settings, ClientSettings(), FeedbackSettings(**feedback))
        settings.spool.mkdir(exist_ok=True)
        # Here rather than in processes, which they would confine.
        crops, utterances = CropReader.__new__(CropReader), UtteranceReader.__new__(UtteranceReader)

        async def read_crop(content: bytes) -> bytes:
            return crops.read(content)

        async def read_utterance(path: Path) -> bytes:
            return utterances.read(path)

        monkeypatch.setattr(app.state.feedback.crops, "read", read_crop)
        monkeypatch.setattr(app.state.feedback.utterances, "read", read_utterance)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.state.feedback.store.close()


@pytest.fixture
def app(make_app: MakeApp) -> FastAPI:
    return make_app()


@pytest.fixture
async def local(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    async with calling(app) as client:
        yield client


def calling(app: FastAPI, host: str = "127.0.0.1", key: str = "") -> httpx.AsyncClient:
    """Somebody who addresses the gateway as `host`."""
    transport = httpx.ASGITransport(app, client=("127.0.0.1", 40_000))
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url=f"http://{host}", headers=headers)


def desk(app: FastAPI) -> FeedbackDesk:
    found: FeedbackDesk = app.state.feedback
    return found


async def give(client: httpx.AsyncClient, image: bytes | None = None, **fields: str) -> httpx.Response:
    file = face(width=120, height=120) if image is None else image
    return await client.post("/v1/feedback", files={"image": ("face.png", file)}, data=FIELDS | fields)
