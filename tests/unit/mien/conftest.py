from __future__ import annotations

import signal
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest
from hypothesis import settings

from mien import ClientSettings
from mien.settings import ENV_PREFIX
from tests.unit.mien.command_line import Mien
from tests.unit.mien.scripted_triton import ScriptedTriton, Servers

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


# Machines that run the tests are busy with others: no limit of time for an example.
settings.register_profile("mien", deadline=None, max_examples=60)
settings.load_profile("mien")


@pytest.fixture
def servers() -> Iterator[Servers]:
    servers = Servers()
    with servers.stack:
        yield servers


@pytest.fixture
def scripted(servers: Servers) -> ScriptedTriton:
    return servers.start()


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings of whoever runs the tests stay outside."""
    for name in ClientSettings.model_fields:
        monkeypatch.delenv(f"{ENV_PREFIX}{name.upper()}", raising=False)


@pytest.fixture
def mien(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Mien]:
    handler = signal.getsignal(signal.SIGTERM)
    with warnings.catch_warnings():
        yield Mien(capsys, monkeypatch)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def options(scripted: ScriptedTriton) -> list[str]:
    return ["--endpoint", scripted.endpoint, "--detector", "haar"]


PORTRAIT = Path(__file__).parents[3] / "docs/portraits/astronaut.jpg"


@pytest.fixture(scope="session")
def portrait() -> NDArray[np.uint8]:
    """A public-domain portrait, (512, 512, 3) RGB."""
    return np.asarray(cv2.cvtColor(cv2.imread(str(PORTRAIT)), cv2.COLOR_BGR2RGB), np.uint8)
