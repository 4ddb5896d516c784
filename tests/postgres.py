"""A PostgreSQL of the tests' own: on a free port of the loopback address, in a folder that is gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def programs() -> Path | None:
    """The folder of `initdb` and `postgres`; None if PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    # Debian keeps the server's programs of each version off the path.
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
    return folders[-1] if folders else None


@contextmanager
def running_postgres(folder: Path) -> Iterator[str]:
    """A server with one empty database; yields its address as ``postgresql://…``."""
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
        control = (folder / "pg_ctl", "--pgdata", data, "--wait")
        _run(*control, "--log", Path(name) / "log", "--options", options, "start", account=account)
        try:
            yield f"postgresql://mien@127.0.0.1:{port}/postgres"
        finally:
            _run(*control, "--mode", "immediate", "stop", account=account)


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
