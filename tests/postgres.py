"""A PostgreSQL of the tests' own: on a free port of the loopback address, in a folder that is gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tests.frozen import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    # Debian keeps the server's programs of each version off the path.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return folders[-1] if folders else None


@dataclass(frozen=True, slots=True)
class Postgres:
    """A server with one database, which may be stopped and started again.

    Attributes:
        url: its address as ``postgresql://…``.
    """

    url: str
    _programs: Path
    _data: Path
    _options: str
    _account: str | None

    def start(self) -> None:
        """Return when it answers."""
        log = self._data.parent / "log"
        self._control("--log", log, "--options", self._options, "start")

    def stop(self, mode: str) -> None:
        """``fast`` says goodbye to its clients, ``immediate`` is as good as a crash."""
        self._control("--mode", mode, "stop")

    @contextmanager
    def stopped(self, mode: str) -> Iterator[None]:
        """Inside, it is not there."""
        self.stop(mode)
        yield
        self.start()

    def frozen(self) -> AbstractContextManager[None]:
        """Inside, it neither answers nor closes a connection."""
        return frozen(int((self._data / "postmaster.pid").read_text().splitlines()[0]))

    def _control(self, *command: object) -> None:
        _run(self._programs / "pg_ctl", "--pgdata", self._data, "--wait", *command, account=self._account)


@contextmanager
def running_postgres(folder: Path) -> Iterator[Postgres]:
    """A server with one empty database, of the programs in `folder`."""
    with tempfile.TemporaryDirectory(prefix="mien-postgres-", ignore_cleanup_errors=True) as name:
        data = Path(name) / "data"
        account = _account()
        if account:
            shutil.chown(name, account)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        _run(folder / "initdb", "--pgdata", data, "--username", "mien", "--auth", "trust", "--no-sync", account=account)
        options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        server = Postgres(f"postgresql://mien@127.0.0.1:{port}/postgres", folder, data, options, account)
        server.start()
        try:
            yield server
        finally:
            server.stop("immediate")


def _account() -> str | None:
    """PostgreSQL refuses to run as root: the account that Debian's package made, or nobody's."""
    if os.geteuid() != 0:
        return None
    accounts = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in accounts else "nobody"


def _run(*command: object, account: str | None) -> None:
    subprocess.run(
        [str(part) for part in command],
        user=account,
        cwd="/",
        stdout=subprocess.DEVNULL,  # no pipe: the server would keep it open
        stderr=subprocess.DEVNULL,
        check=True,
    )
