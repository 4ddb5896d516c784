"""A Redis of the tests' own, on a free port of the loopback address; it keeps nothing on disk."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import redis

from tests.conftest import skip_or_fail
from tests.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

START_S = 30.0


class RedisServer:
    """A server that may be killed and started again, at the same address.

    Args:
        program: ``redis-server``.
        port: to listen on.
    """

    def __init__(self, program: str, port: int) -> None:
        self.url = f"redis://127.0.0.1:{port}"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self._command = [program, *options]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Return when it answers; it remembers nothing."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + START_S
        with redis.Redis.from_url(self.url, socket_connect_timeout=1) as client:
            while time.monotonic() < end and self._process.poll() is None:
                try:
                    client.ping()
                except redis.ConnectionError:
                    time.sleep(0.02)
                else:
                    return
        pytest.fail("redis-server did not start")

    def kill(self) -> None:
        """End it with SIGKILL, if it runs."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def frozen(self) -> AbstractContextManager[None]:
        """Inside, it neither answers nor closes a connection."""
        assert self._process is not None
        return frozen(self._process.pid)


@contextmanager
def running_redis() -> Iterator[RedisServer]:
    """A server on a free port; skipped where it is not installed."""
    program = shutil.which("redis-server")
    if program is None:
        skip_or_fail("redis-server is missing: make system-deps")
        raise AssertionError
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = RedisServer(program, port)
    server.start()
    try:
        yield server
    finally:
        server.kill()
