"""Every query of every dashboard, asked of a real Prometheus that scrapes a server, a gateway and the flows."""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
import soundfile

from flows.orchestration import prefect_environment
from mien.contract import EMOTION, EMOTION_CLASSIFIER, ENSEMBLES, SAMPLE_RATE_HZ
from serving import ModelRepository, Promoter, TritonServer, publish
from serving.stubs import living_stubs
from tests.conftest import ROOT, server_settings, skip_or_fail
from tests.gateways import running_gateway
from tests.prometheus import MISSING, Prometheus, is_installed, running_prometheus
from tests.releases import export_variant
from tools import dashboards

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

PORTRAIT = (ROOT / "docs/portraits/astronaut.jpg").read_bytes()
START_S = 240
"""Prefect's server makes its tables at its first start, which takes a busy machine minutes."""


RUNS = """
from pathlib import Path
from flows.retraining.pipeline import retrain
from flows.traffic.drift import watch_drift

watch_drift()
assert retrain(Path("none.zip"), feedback=False, return_state=True).is_failed()
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def server(local_triton: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """Release 1 is served, release 2 is its candidate."""
    settings = server_settings(tmp_path_factory.mktemp("state"))
    export = export_variant(settings, tmp_path_factory.mktemp("export") / "2", favour=4)
    with TritonServer(settings) as server, server.control() as control:
        repository = ModelRepository(settings.model_repository)
        publish(export, repository, EMOTION)
        Promoter(repository, EMOTION, control).offer(2)
        yield server


@pytest.fixture(scope="module")
def gateway(server: TritonServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGateway]:
    """It shows every call to the candidate too."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MIEN_SHADOW_SHARE", "1")
        rates = {"DETECT_PER_MINUTE": "100000", "WORKERS": "1"}
        with running_gateway(server.endpoint, tmp_path_factory.mktemp("gateway"), **rates) as gateway:
            yield gateway


@pytest.fixture(scope="module")
def flow_metrics(
    server: TritonServer, gateway: RunningGateway, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil
) -> Iterator[str]:
    """The page of the flows' metrics: one has succeeded, with a finding, one has failed, and one is not begun."""
    folder = tmp_path_factory.mktemp("prefect")
    api, page = free_port(), free_port()
    environment = os.environ | prefect_environment.variables(server.settings)
    environment |= {
        "MIEN_STATE": str(server.settings.state),
        "MIEN_MODEL_REPOSITORY": str(server.settings.model_repository),
        "MIEN_TRAFFIC_URLS": f"{gateway.url}/metrics",
        "MIEN_DRIFT_MIN_FACES": "5",
        "MIEN_FLOW_METRICS_PORT": str(page),
        "PREFECT_API_URL": f"http://127.0.0.1:{api}/api",
    }
    url = f"http://127.0.0.1:{page}/metrics"
    python = [sys.executable, "-m"]
    with (
        running([*python, "prefect", "server", "start", "--port", str(api)], environment, folder / "server"),
        running([*python, "flows.exporter"], environment, folder / "exporter"),
    ):
        wait_until(lambda: prefect_environment.answers(environment["PREFECT_API_URL"]), timeout_s=START_S)
        send_pictures(gateway, 6)
        send_noise(gateway, 10)
        subprocess.run([sys.executable, "-c", RUNS], cwd=ROOT, env=environment, check=True, capture_output=True)
        login = tuple(environment["PREFECT_API_AUTH_STRING"].split(":"))
        with httpx.Client(base_url=environment["PREFECT_API_URL"], auth=login, timeout=60) as prefect:
            (flow,) = prefect.post("/flows/filter", json={"flows": {"name": {"any_": ["retrain"]}}}).json()
            late = {"flow_id": flow["id"], "state": {"type": "SCHEDULED", "name": "Late"}}
            prefect.post("/flow_runs/", json=late).raise_for_status()
        yield url


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    """A process of ours."""
    with log.open("wb") as file:
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT)
    try:
        yield
    finally:
        process.terminate()
        process.wait(60)


def send_pictures(gateway: RunningGateway, number: int) -> None:
    with gateway.client() as caller:
        for _ in range(number):
            caller.post("/v1/detect", files={"image": PORTRAIT}).raise_for_status()


def send_noise(gateway: RunningGateway, seconds: int) -> None:
    """For a recording of speech."""
    samples = np.random.default_rng(0).normal(0, 0.1, seconds * SAMPLE_RATE_HZ)
    file = io.BytesIO()
    soundfile.write(file, samples, SAMPLE_RATE_HZ, format="WAV")
    with gateway.client() as caller:
        caller.post("/v1/detect-audio", files={"audio": ("noise.wav", file.getvalue())}).raise_for_status()


@pytest.fixture(scope="module")
def prometheus(
    server: TritonServer, gateway: RunningGateway, flow_metrics: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    if not is_installed():
        skip_or_fail(MISSING)
    pages = {"triton": server.metrics_url, "gateway": f"{gateway.url}/metrics", "flow-metrics": flow_metrics}
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), pages) as prometheus:
        yield prometheus


def queries() -> dict[str, str]:
    """Every query, under its dashboard's and its panel's title; without those of a GPU's metrics."""
    found = {}
    for name in dashboards.DASHBOARDS:
        board = json.loads((dashboards.TARGET / f"{name}.json").read_text())
        for panel in board["panels"]:
            for target in panel.get("targets", []):
                query = target["expr"].replace("$__rate_interval", "30s").replace("$namespace", ".*")
                if "nv_gpu_" not in query:
                    found[f"{board['title']}, {panel['title']}, {target['legendFormat']}"] = query
    return found


def test_every_query_of_every_dashboard_has_data(
    prometheus: Prometheus, server: TritonServer, gateway: RunningGateway, wait_until: WaitUntil
) -> None:
    wait_until(lambda: len(prometheus.ask("up == 1")) == 3)
    send_pictures(gateway, 3)
    for stub in living_stubs(server.process_id):  # so that the candidate owes answers
        if (stub.model, stub.version) == (EMOTION_CLASSIFIER.name, "2"):
            os.kill(stub.process_id, signal.SIGKILL)
    asked = queries()
    empty = asked.keys()

    def all_have_data() -> bool:
        nonlocal empty
        send_pictures(gateway, 1)
        empty = {name for name, query in asked.items() if not prometheus.ask(query)}
        return not empty

    with suppress(pytest.fail.Exception):
        wait_until(all_have_data, timeout_s=90, every_s=1)
    assert not empty


def test_the_rules_watch_what_runs(prometheus: Prometheus, wait_until: WaitUntil) -> None:
    # The retraining failed, a run is late, six equal faces and windows are a drift, and the candidate's stub is dead.
    expected = {"MienRetrainingFailed", "MienRunsLate", "MienDrift", "MienModelFails"}
    query = 'group by (alertname) (ALERTS{alertname!="MienCandidateFails"})'  # needs more than six of its failures
    wait_until(lambda: {alert["metric"]["alertname"] for alert in prometheus.ask(query)} == expected)
    drifted = {alert["metric"]["model"] for alert in prometheus.ask('ALERTS{alertname="MienDrift"}')}
    assert drifted == {ensemble.name for ensemble in ENSEMBLES}
