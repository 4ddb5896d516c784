"""Row 17, too: PostgreSQL crashes under Prefect's server, as `make serve` starts it, and comes back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import httpx
import pytest

from flows.orchestration import prefect_environment
from tests.conftest import server_settings

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.conftest import WaitUntil
    from tests.faults.conftest import Figures
    from tests.postgres import Postgres

pytestmark = [pytest.mark.integration, pytest.mark.fault(17)]


class PrefectServer:
    """Prefect's server as `make serve` starts it, with its database in PostgreSQL.

    Args:
        folder: for all that it writes.
        database: its database's URL.
    """

    def __init__(self, folder: Path, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        variables = prefect_environment.variables(server_settings(folder))
        more = {
            "PREFECT_API_DATABASE_CONNECTION_URL": database.replace("postgresql:", "postgresql+asyncpg:"),
            "PREFECT_SERVER_SERVICES_LATE_RUNS_LOOP_SECONDS": "1",
            "PREFECT_SERVER_SERVICES_LATE_RUNS_AFTER_SECONDS": "1",
        }
        name, _, password = variables["PREFECT_API_AUTH_STRING"].partition(":")
        self._client = httpx.Client(base_url=f"http://127.0.0.1:{port}/api/", auth=(name, password), timeout=60)
        self._log = folder / "prefect.log"
        command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, env=os.environ | variables | more, stdout=log, stderr=log)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self._process.terminate()
        self._process.wait(60)

    @property
    def is_alive(self) -> bool:
        """Whether its process is the one that was started."""
        return self._process.poll() is None

    def ask(self, path: str, body: dict[str, object]) -> httpx.Response | None:
        """Its answer; None if it is not reached."""
        try:
            return self._client.post(path, json=body)
        except httpx.TransportError:
            return None

    def make_run(self, flow: str) -> str | None:
        """The id of a run that is due at once, where it acknowledges one."""
        state = {"type": "SCHEDULED", "state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
        answer = self.ask("flow_runs/", {"flow_id": flow, "state": state})
        return str(answer.json()["id"]) if answer is not None and answer.status_code == 201 else None

    def states(self) -> dict[str, str]:
        """Of all runs."""
        answer = self.ask("flow_runs/filter", {"limit": 200})
        return (
            {} if answer is None or not answer.is_success else {run["id"]: run["state_name"] for run in answer.json()}
        )


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_prefects_server_while_its_postgresql_is_away(
    database: Postgres, tmp_path: Path, wait_until: WaitUntil, figures: Figures
) -> None:
    made: list[str] = []
    refused = 0
    with PrefectServer(tmp_path, database.url) as server:
        wait_until(lambda: (flow := server.ask("flows/", {"name": "row-17"})) and flow.is_success, timeout_s=120)
        flow = server.ask("flows/", {"name": "row-17"})
        assert flow
        identifier = flow.json()["id"]

        def make_more() -> bool:
            nonlocal refused
            run = server.make_run(identifier)
            made.extend([run] if run else [])
            refused += run is None
            return bool(run)

        for _ in range(5):
            assert make_more()
        with database.stopped("immediate"):
            wait_until(lambda: not make_more() and refused >= 5)
        begin_s = time.monotonic()
        wait_until(make_more, timeout_s=60)
        back_s = time.monotonic() - begin_s
        # Its services go on as well: one of them calls late what nobody has begun.
        wait_until(lambda: server.states().get(made[-1]) == "Late", timeout_s=60)
        late_s = time.monotonic() - begin_s
        lost = set(made) - server.states().keys()
        assert server.is_alive
    figures.add(
        f"Prefect's server, PostgreSQL crashed: {len(made)} runs acknowledged, {len(lost)} lost, {refused} refused;"
        f" taken again {back_s:.1f} s after its return, its services at work after {late_s:.1f} s"
    )
    assert not lost
