from __future__ import annotations

import io
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import create_engine, text

from mien.gateway.feedback import store as store_module
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore, GivenCorrection
from tests import postgres
from tests.conftest import skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime, timedelta
    from pathlib import Path


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
