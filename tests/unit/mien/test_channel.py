from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from mien import ClientSettings, EmotionClient
from tests.unit.mien.scripted_triton import ScriptedTriton, Servers, numbered_faces

if TYPE_CHECKING:
    from collections.abc import Iterator

CALLERS = 4
ATTEMPT_S = 0.25
CALLS = 40
PATIENCE_S = 10.0


@pytest.fixture
def replicas() -> Iterator[tuple[ScriptedTriton, ScriptedTriton]]:
    """Two servers, of which the second answers nothing until the test ends."""
    servers, end = Servers(), threading.Event()
    good, hole = servers.start(), servers.start()
    hole.script = lambda request, context: end.wait(60) and None
    with servers.stack:
        yield good, hole
        end.set()


def test_a_replica_that_answers_nothing_is_put_aside(replicas: tuple[ScriptedTriton, ScriptedTriton]) -> None:
    good, hole = replicas
    settings = ClientSettings(
        endpoints=f"{good.endpoint},{hole.endpoint}", attempt_timeout_s=ATTEMPT_S, deadline_s=PATIENCE_S
    )
    faces, end = numbered_faces(1), time.monotonic() + PATIENCE_S

    with EmotionClient(settings) as client, ThreadPoolExecutor(CALLERS) as callers:

        def call(_: int) -> None:
            assert len(client.classify(faces)) == 1

        took_s = ATTEMPT_S
        while took_s >= ATTEMPT_S:  # one attempt that it swallows takes longer
            assert time.monotonic() < end, "it is still asked"
            begin = time.monotonic()
            list(callers.map(call, range(CALLS)))
            took_s = time.monotonic() - begin
    assert hole.requests
