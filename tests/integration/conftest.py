"""A running gateway before the running Triton, for all tests that leave it as they found it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.faults.conftest import figures, scale  # noqa: F401 (fixtures of tests that prove a row of faults too)
from tests.gateways import RunningGateway, running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving import TritonServer


@pytest.fixture(scope="session")
def gateway(triton: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    folder = tmp_path_factory.mktemp("gateway")
    # More than all tests together send, and few frames, so that a short video is too long.
    rates = {"DETECT_PER_MINUTE": "100000", "DETECT_VIDEO_PER_MINUTE": "100000"}
    settings = {**rates, "MAX_VIDEO_FRAMES": "200", "WORKERS": "2"}
    with running_gateway(triton.endpoint, folder, **settings) as gateway:
        yield gateway
