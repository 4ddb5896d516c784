"""Row 5: SIGTERM while callers wait for answers. What was accepted is answered, what comes after is refused at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from benchmarks.gateway import head
from mien import ClientSettings, EmotionClient, MienError, ServerOverloadedError
from mien.contract import EMOTION
from tests.crowd import Crowd
from tests.faults.pictures import PICTURE
from tests.gateways import running_gateway

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(5)]

CALLERS = 8
ON_ITS_WAY_S = 0.1
"""A call that began so long before the signal has reached the server."""


@dataclass
class Waiting(Crowd):
    """Callers that call until they fail; each call is noted as (begin, end, failure or empty).

    Attributes:
        call: one call; raises if it is not answered.
        calls: of all callers.
    """

    call: Callable[[], object]
    calls: list[tuple[float, float, str]] = field(default_factory=list)

    def _tasks(self) -> Sequence[Callable[[], None]]:
        return [self._run] * CALLERS

    def _run(self) -> None:
        failure = ""
        while not failure and not self._stop.is_set():
            begin = time.monotonic()
            try:
                self.call()
            except (MienError, httpx.HTTPError) as error:
                failure = f"{type(error).__name__}: {error}"
            self.calls.append((begin, time.monotonic(), failure))

    def accepted(self, signal_s: float) -> list[str]:
        """What became of the calls that were in flight at that time."""
        return [failure for begin, end, failure in self.calls if begin < signal_s - ON_ITS_WAY_S and end > signal_s]

    def refused_s(self, signal_s: float) -> float:
        """The longest that a call which began after the signal waited for its failure."""
        return max((end - begin for begin, end, failure in self.calls if failure and begin > signal_s), default=0.0)


# Slow, so that only the whole suite shows it: Triton 2.51 refuses the second step of an ensemble once it is stopping,
# and now and then a call that is between its steps is lost to a caller without retries.
@pytest.mark.slow
def test_calls_in_flight_at_a_servers_sigterm_are_answered(
    make_server: MakeServer, tmp_path: Path, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    outcomes: list[str] = []
    refused_s = 0.0
    faces = EMOTION.input.zeros(32)
    rounds = scale.of(full=5, short=2)
    with make_server(tmp_path, exit_timeout_s=15) as server:
        for _ in range(rounds):
            # Without retries, for they would hide what is looked for.
            settings = ClientSettings(endpoints=server.endpoint, retry_attempts=1, deadline_s=60)
            with EmotionClient(settings) as client, Waiting(lambda: client.classify(faces)) as waiting:
                wait_until(lambda: len(waiting.calls) >= 2 * CALLERS)
                signal_s = time.monotonic()
                os.kill(server.process_id, signal.SIGTERM)
                wait_until(lambda: not server.is_alive)
            outcomes += waiting.accepted(signal_s)
            refused_s = max(refused_s, waiting.refused_s(signal_s))
            server.restart()
    # A full queue refuses whether or not the server stops.
    lost = [outcome for outcome in outcomes if outcome and not outcome.startswith(ServerOverloadedError.__name__)]
    figures.add(
        f"server: {len(outcomes)} calls in flight in {rounds} rounds, {outcomes.count('')} answered, {len(lost)} lost,"
        f" later ones refused within {refused_s:.2f} s"
    )
    assert not lost
    assert outcomes.count("") >= rounds


def slow_upload(url: httpx.URL, begun: threading.Event, go_on: threading.Event, answers: list[bytes]) -> None:
    """Send half of a picture, and the rest when told to."""
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.jpg"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
    head = f"POST /v1/detect HTTP/1.1\r\nHost: {url.host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
    with socket.create_connection((url.host, url.port or 80), timeout=60) as connection:
        connection.sendall(f"{head}Content-Length: {len(form)}\r\n\r\n".encode() + form[: len(form) // 2])
        begun.set()
        go_on.wait(30)
        connection.sendall(form[len(form) // 2 :])
        answers.append(connection.recv(4096))


def test_requests_in_flight_at_a_gateways_sigterm_are_answered(
    triton: TritonServer, tmp_path: Path, wait_until: WaitUntil, scale: Scale, figures: Figures
) -> None:
    outcomes: list[str] = []
    uploads: list[bytes] = []
    rounds, large = scale.of(full=5, short=2), head(1000)
    for number in range(rounds):
        folder = tmp_path / f"gateway-{number}"
        folder.mkdir()
        begun, go_on = threading.Event(), threading.Event()
        with running_gateway(triton.endpoint, folder, DETECT_PER_MINUTE="1000000") as gateway, gateway.client() as http:
            half = threading.Thread(target=slow_upload, args=(httpx.URL(gateway.url), begun, go_on, uploads))
            half.start()
            assert begun.wait(30)

            def post() -> None:
                http.post("/v1/detect", files={"image": large}).raise_for_status()

            with Waiting(post) as waiting:
                wait_until(lambda: len(waiting.calls) >= 2 * CALLERS)
                signal_s = time.monotonic()
                gateway.process.send_signal(signal.SIGTERM)
                wait_until(lambda: len([1 for *_, failure in waiting.calls if failure]) == CALLERS)
                go_on.set()
                half.join()
            assert gateway.process.wait(60) in {0, -signal.SIGTERM}
        outcomes += waiting.accepted(signal_s)
    answered, finished = outcomes.count(""), sum(b" 200 OK" in answer for answer in uploads)
    figures.add(
        f"gateway: {answered} of {len(outcomes)} requests in flight answered in {rounds} rounds, and {finished} of"
        f" {rounds} whose picture was half there"
    )
    assert answered == len(outcomes), Counter(outcomes)
    assert len(outcomes) >= rounds
    assert finished == rounds, uploads
