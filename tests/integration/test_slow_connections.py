"""Servers that are slow to take a connection."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving import ServerControl

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving import TritonServer

pytestmark = pytest.mark.integration

SLOW_S = 0.8


@contextmanager
def slow(endpoint: str) -> Iterator[str]:
    """An address that takes connections, and begins to pass on what is said only after `SLOW_S`."""
    host, _, port = endpoint.rpartition(":")

    def pump(source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                target.sendall(piece)
        except OSError:
            pass

    def take(listener: socket.socket) -> None:
        while True:
            try:
                caller, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(caller,), daemon=True).start()

    def serve(caller: socket.socket) -> None:
        time.sleep(SLOW_S)
        with caller, socket.create_connection((host, int(port))) as server:
            back = threading.Thread(target=pump, args=(server, caller), daemon=True)
            back.start()
            pump(caller, server)
            server.shutdown(socket.SHUT_WR)
            back.join()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=take, args=(listener,), daemon=True).start()
        yield f"127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_a_server_that_is_slow_to_answer_a_connection_is_reached_at_the_first_try(triton: TritonServer) -> None:
    with slow(triton.endpoint) as endpoint, ServerControl(endpoint) as control:
        assert control.is_ready(EMOTION.name)
    settings = {"retry_attempts": 1}
    with slow(triton.endpoint) as endpoint, EmotionClient(ClientSettings(endpoints=endpoint, **settings)) as client:
        assert len(client.classify(EMOTION.input.zeros(1))) == 1
