"""Gateways in processes of their own, as an operator starts them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import pytest

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator
    from pathlib import Path

START_S = 60.0
DEADLINE_S = 60.0
"""Machines that run the tests are busy with others."""


@dataclass(frozen=True, slots=True)
class RunningGateway:
    """A gateway that is ready.

    Attributes:
        url: where it listens.
        process: it.
        folder: of its keys, its spool and its log.
    """

    url: str
    process: subprocess.Popen[bytes]
    folder: Path

    def client(self, **options: object) -> httpx.Client:
        """A caller."""
        return httpx.Client(base_url=self.url, timeout=DEADLINE_S, **options)  # type: ignore[arg-type]

    @property
    def log(self) -> str:
        """What it has written so far."""
        return (self.folder / "log").read_text()


@contextmanager
def running_gateway(
    endpoint: str,
    folder: Path,
    *,
    trust: ssl.SSLContext | bool = True,
    deadline_s: float = DEADLINE_S,
    **settings: str,
) -> Iterator[RunningGateway]:
    """Start a gateway on a free port, and stop it.

    Args:
        endpoint: of Triton; nothing need be there.
        folder: for all that it writes.
        trust: what its certificate is held against, where settings name one.
        deadline_s: of the client that it holds.
        settings: as in the environment, without their prefix.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    places = {"PORT": str(port), "SPOOL": str(folder / "spool"), "KEYS_FILE": str(folder / "keys.json")}
    environment = {
        # Haar comes with OpenCV, so that nothing is fetched.
        "MIEN_ENDPOINTS": endpoint,
        "MIEN_DETECTOR": "haar",
        "MIEN_STATE": str(folder),
        "MIEN_DEADLINE_S": str(deadline_s),
        **{f"MIEN_GATEWAY_{name}": value for name, value in (places | settings).items()},
    }
    scheme = "https" if "TLS_KEY" in settings else "http"
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", "mien.gateway"]
        process = subprocess.Popen(command, env=os.environ | environment, stderr=log)
    gateway = RunningGateway(f"{scheme}://127.0.0.1:{port}", process, folder)
    try:
        _wait_until_it_answers(gateway, trust)
        yield gateway
    finally:
        process.terminate()
        process.wait(DEADLINE_S)


def _wait_until_it_answers(gateway: RunningGateway, trust: ssl.SSLContext | bool) -> None:
    end = time.monotonic() + START_S
    with gateway.client(verify=trust) as client:
        while time.monotonic() < end and gateway.process.poll() is None:
            try:
                client.get("/health").raise_for_status()
            except httpx.TransportError:
                time.sleep(0.05)
            else:
                return
    pytest.fail(f"the gateway did not start: {gateway.log}")
