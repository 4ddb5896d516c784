"""`make serve` as a whole, seen from outside: what its Prefect knows, and what a person may tell it."""

from __future__ import annotations

import fcntl
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

DATABASE_S = 120.0
"""Patience with an answer: Prefect itself waits 60 s for a locked SQLite before it says that it could not."""


@dataclass(frozen=True)
class House:
    """`make serve`, as a test sees it."""

    process: subprocess.Popen[bytes]
    api: str
    state: Path
    data: Path
    output: Path
    told: list[dict[str, str]]

    def runs(self, flow: str) -> list[dict[str, Any]]:
        """The flow's runs, the one that was created first first."""
        found = self._ask("flow_runs", {"flows": {"name": {"any_": [flow]}}})
        return sorted(found, key=lambda run: run["created"])

    def states(self, flow: str) -> list[str]:
        return [run["state"]["name"] for run in self.runs(flow)]

    def emit(self, event: str, resource: str, *, ago: timedelta = timedelta(), **payload: str) -> None:
        body = {
            "id": str(uuid.uuid4()),
            "occurred": (datetime.now(UTC) - ago).isoformat(),
            "event": event,
            "resource": {"prefect.resource.id": resource},
            "payload": payload,
        }
        self.call("POST", "events", [body])

    def deployment(self, flow: str, name: str = "mien") -> str:
        """Id of the flow's deployment, by default that for faces."""
        (found,) = self._ask(
            "deployments", {"flows": {"name": {"any_": [flow]}}, "deployments": {"name": {"any_": [name]}}}
        )
        identity: str = found["id"]
        return identity

    @property
    def gateway(self) -> str:
        (url,) = re.findall(r"gateway +(http://\S+)", self.output.read_text())
        return url

    def start(self, flow: str) -> None:
        """Start a run of the flow's deployment, as a person may."""
        self.call("POST", f"deployments/{self.deployment(flow)}/create_flow_run", {})

    def artifacts(self) -> set[str]:
        return {artifact["key"] for artifact in self._ask("artifacts", {})}

    def rest(self, flow: str, *, rests: bool = True) -> None:
        """Have the schedule of the flow's deployment rest, or go on."""
        self.call("PATCH", f"deployments/{self.deployment(flow)}", {"paused": rests})

    @property
    def login(self) -> tuple[str, str]:
        name, _, password = (self.state / "prefect/login").read_text().partition(":")
        return name, password

    @contextmanager
    def retraining(self) -> Iterator[None]:
        """Be a retraining that somebody started from a shell and that takes its time."""
        lock = self.state / "runs/.running"
        lock.parent.mkdir(exist_ok=True)
        with lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def _ask(self, what: str, question: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.call("POST", f"{what}/filter", question)
        return found

    def call(self, method: str, path: str, body: object) -> Any:  # noqa: ANN401 (whatever JSON the API answers)
        """Ask Prefect's API; like its own client, once more where its database was locked for a moment."""
        for _ in range(20):
            answer = httpx.request(method, f"{self.api}/{path}", json=body, auth=self.login, timeout=DATABASE_S)
            if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                break
        answer.raise_for_status()
        return answer.json() if answer.content else None
