"""Debian's Prometheus on a free port, with the cluster's rules."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yaml

from tests.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = ROOT / "k8s/observability/rules.yaml"
PROGRAMS = ("prometheus", "promtool")
MISSING = "Prometheus is missing; `make system-deps` installs it"
START_S = 60.0


def is_installed() -> bool:
    """Whether this machine has it and its tool."""
    return all(map(shutil.which, PROGRAMS))


def rules() -> dict[str, Any]:
    """The rules, as Prometheus itself reads them."""
    spec: dict[str, Any] = yaml.safe_load(RULES.read_text())["spec"]
    return spec


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that runs."""

    url: str

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The samples of an instant query."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=30)
        result: list[dict[str, Any]] = answer.raise_for_status().json()["data"]["result"]
        return result


@contextmanager
def running_prometheus(folder: Path, pages: dict[str, str]) -> Iterator[Prometheus]:
    """Scrape every second.

    Args:
        folder: an empty one, for all that it writes.
        pages: job → address of its metrics.
    """
    jobs = []
    for name, page in pages.items():
        url = httpx.URL(page)
        targets = [{"targets": [f"{url.host}:{url.port}"]}]
        jobs.append({"job_name": name, "metrics_path": url.path, "static_configs": targets})
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules()))
    every = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config = {"global": every, "rule_files": ["rules.yaml"], "scrape_configs": jobs}
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [
        *("prometheus", f"--config.file={folder / 'prometheus.yaml'}", f"--storage.tsdb.path={folder / 'data'}"),
        f"--web.listen-address={address}",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log)
    try:
        _wait_until_ready(f"http://{address}", process, folder / "log")
        yield Prometheus(f"http://{address}")
    finally:
        process.terminate()
        process.wait(30)


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + START_S
    while time.monotonic() < end and process.poll() is None:
        try:
            if httpx.get(f"{url}/-/ready").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    pytest.fail(f"Prometheus did not start: {log.read_text()}")
