"""What a peer is called with, and what becomes of its refusals."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import numpy as np
import pytest

from benchmarks.peer import PEERS, PeerError, Way, raw_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


class Echo(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(500 if not any(body) else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Echo) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def test_faces_travel_as_their_bytes(port: int) -> None:
    faces = np.full((2, 96, 96, 3), 7, np.uint8)
    assert raw_bytes(port, faces)() == faces.tobytes()


def test_a_refusal_is_an_error_and_no_answer(port: int) -> None:
    with pytest.raises(PeerError, match="500"):
        raw_bytes(port, np.zeros((1, 96, 96, 3), np.uint8))()


def test_a_way_reads_as_words() -> None:
    assert Way(2, 1).text() == "2 processes, 1 thread"
    assert Way(1, 2, 16).text() == "1 process, 2 threads, batches of 16"


def test_every_peer_has_a_locked_environment_and_a_server() -> None:
    from benchmarks.environments import CHECKOUT, PROJECTS

    for peer in PEERS:
        assert (PROJECTS / peer.module / "uv.lock").is_file()
        assert (CHECKOUT / f"benchmarks/peers/{peer.module}_server.py").is_file()
