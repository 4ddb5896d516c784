"""What starts runs by themselves, what keeps them apart and what ends them: `make serve` with a real Prefect."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import psutil
import pytest
from playwright.sync_api import expect, sync_playwright
from prometheus_client.parser import text_string_to_metric_families

from tests import postgres
from tests.conftest import skip_or_fail
from tests.houses import House
from tests.unit.training.faces import picture, png, write_tree
from training.dataset import load

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import WaitUntil
    from tests.faults.conftest import Figures

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
PORTRAIT = ROOT / "docs/portraits/astronaut.jpg"
HAPPY_FACES = 12
PATIENTLY = {"timeout_s": 240.0, "every_s": 1.0}  # Prefect's server has other things to do than to answer us

UNTAUGHT = """
from pathlib import Path
from training.config import Config, Distillation, Teacher
TEACHER = Teacher("vgg_small", Path("/none.weights.h5"))
CONFIG = Config("vgg_small", epochs=1, learning_rate=0.1, distillation=Distillation((TEACHER,)))
"""
"""A training that fails, soon but not before it is its turn."""


@pytest.fixture(scope="module")
def told() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a webhook, and what is posted there."""
    posted: list[dict[str, str]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Hook) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", posted
        server.shutdown()


on_every_database = pytest.mark.parametrize(
    "house", ["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True
)
on_sqlite = pytest.mark.parametrize("house", ["sqlite"], indirect=True)


@pytest.fixture(scope="module")
def house(
    request: pytest.FixtureRequest,
    local_triton: None,
    told: tuple[str, list[dict[str, str]]],
    tmp_path_factory: pytest.TempPathFactory,
    wait_until: WaitUntil,
) -> Iterator[House]:
    folder = tmp_path_factory.mktemp(request.param)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = folder / "untaught.py"
    config.write_text(UNTAUGHT)
    hook, posted = told
    posted.clear()
    environment = os.environ | {
        "MIEN_STATE": str(folder / "state"),
        "MIEN_GRPC_PORT": "0",
        "MIEN_METRICS_PORT": "0",
        "MIEN_GATEWAY_PORT": "0",
        "MIEN_PREFECT_PORT": str(port),
        "MIEN_FLOW_METRICS_PORT": "0",
        "MIEN_RETRAIN_DATA": str(write_tree(folder / "faces")),
        "MIEN_RETRAIN_CONFIG": str(config),
        "MIEN_WATCH_INTERVAL_S": "15",
        "MIEN_NOTIFY_URL": hook,
        "MIEN_FEEDBACK_BATCH": "1",
        "MIEN_DRIFT_MIN_FACES": str(HAPPY_FACES),
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "3",
    }
    if request.param == "postgresql":
        address = request.getfixturevalue("postgres_address").replace("postgresql:", "postgresql+asyncpg:")
        environment["PREFECT_API_DATABASE_CONNECTION_URL"] = address
    output = folder / "output"
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.serve"], cwd=ROOT, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
    house = House(process, f"http://127.0.0.1:{port}/api", folder / "state", folder / "faces", output, posted)
    worker_log = folder / "state/logs/prefect-worker.log"
    try:
        wait_until(lambda: worker_log.exists() and "started!" in worker_log.read_text(), timeout_s=240)
        for watcher in ("watch-dataset", "watch-drift", "collect-feedback"):
            house.rest(watcher)  # three that look all the time queue up on two cores, until the database locks
        yield house
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


@pytest.fixture(scope="module")
def postgres_address() -> Iterator[str]:
    programs = postgres.programs()
    if programs is None:
        skip_or_fail("PostgreSQL is not installed; `make system-deps` does it")
        return
    with postgres.running_postgres(programs) as server:
        yield server.url


@on_every_database
def test_schedules_and_events_start_runs_that_do_not_overlap(house: House, wait_until: WaitUntil) -> None:
    house.rest("watch-dataset", rests=False)
    wait_until(lambda: "Completed" in house.states("watch-dataset"), **PATIENTLY)  # its schedule fired
    house.rest("watch-dataset")
    with house.retraining():
        house.emit("mien.feedback.ready", "mien.feedback.emotion", data="/elsewhere")
        wait_until(lambda: house.states("retrain") == ["Running"], **PATIENTLY)
        serve_nothing_but_happy_faces(house)
        house.start("watch-drift")
        wait_until(lambda: house.states("retrain") == ["Running", "AwaitingConcurrencySlot"], **PATIENTLY)
    wait_until(lambda: house.states("retrain") == ["Failed", "Failed"], **PATIENTLY)
    first, second = house.runs("retrain")
    assert first["parameters"]["data"] == "/elsewhere"
    assert second["parameters"]["data"] == str(house.data)
    assert [run["deployment_id"] for run in (first, second)] == [house.deployment("retrain")] * 2
    assert {"drift-emotion", "drift-emotion-picture", "drift-speech-emotion"} <= house.artifacts()
    assert second["start_time"] > first["end_time"]
    assert "/elsewhere" in first["state"]["message"]
    assert "There is no weights file /none.weights.h5" in second["state"]["message"]
    wait_until(lambda: len(house.told) >= 2, **PATIENTLY)
    assert {message["subject"] for message in house.told} == {"retrain failed"}
    assert any("There is no weights file" in message["text"] for message in house.told)  # they come in any order
    house.emit("mien.feedback.ready", "mien.feedback.speech_emotion", data="/spoken")
    wait_until(lambda: house.states("retrain") == ["Failed"] * 3, **PATIENTLY)
    *_, spoken = house.runs("retrain")
    assert spoken["deployment_id"] == house.deployment("retrain", "speech")
    assert (spoken["parameters"]["data"], spoken["parameters"]["config"]) == ("/spoken", "speech_linear")


def serve_nothing_but_happy_faces(house: House) -> None:
    """Traffic that the release did not see in its validation: a quarter of those faces are happy."""
    for _ in range(HAPPY_FACES):
        answer = httpx.post(f"{house.gateway}/v1/detect", files={"image": PORTRAIT.read_bytes()}, timeout=60)
        assert [face["emotion"] for face in answer.raise_for_status().json()["faces"]] == ["happy"]


@on_sqlite
def test_prometheus_learns_how_runs_ended(house: House) -> None:
    (url,) = re.findall(r"metrics +(http://\S+) \(of the flows\)", house.output.read_text())
    page = httpx.get(url, timeout=60).raise_for_status().text
    samples = {
        (sample.name, sample.labels.get("flow", ""), sample.labels.get("deployment", "")): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["mien_prefect_up", "", ""] == 1
    for name in ("mien", "speech"):
        *_, last = [run for run in house.runs("retrain") if run["deployment_id"] == house.deployment("retrain", name)]
        ended = datetime.fromisoformat(last["end_time"]).timestamp()
        assert samples["mien_flow_last_failure_timestamp_seconds", "retrain", name] == pytest.approx(ended, abs=1)
        assert ("mien_flow_last_success_timestamp_seconds", "retrain", name) not in samples
    assert ("mien_flow_last_success_timestamp_seconds", "watch-dataset", "mien") in samples


@pytest.mark.slow
@on_sqlite
def test_a_changed_dataset_starts_a_retraining(house: House, wait_until: WaitUntil) -> None:
    house.start("watch-dataset")  # the first look only remembers what there is
    wait_until(lambda: house.states("watch-dataset")[-1] == "Completed", **PATIENTLY)
    first, *_, last = sorted(house.data.rglob("*.png"))
    shutil.copy(last, first)
    before = len(house.runs("retrain"))
    house.start("watch-dataset")
    wait_until(lambda: len(house.runs("retrain")) > before, **PATIENTLY)
    assert house.runs("retrain")[before]["parameters"]["data"] == str(house.data)
    wait_until(lambda: house.states("retrain")[before] == "Failed", **PATIENTLY)


@pytest.mark.slow
@on_sqlite
def test_a_correction_travels_from_the_gateway_into_a_retraining(house: House, wait_until: WaitUntil) -> None:
    wait_until(lambda: httpx.get(f"{house.gateway}/health").is_success, **PATIENTLY)
    fields = {"predicted": "happy", "corrected": "fear", "release": "1", "consent": "true"}
    given = httpx.post(f"{house.gateway}/v1/feedback", data=fields, files={"image": ("face.png", png(picture(1, 96)))})
    identifier = given.raise_for_status().json()["id"]
    httpx.post(f"{house.gateway}/v1/feedback/{identifier}/review", json={"decision": "accepted"}).raise_for_status()
    before = len(house.runs("retrain"))
    house.start("collect-feedback")
    wait_until(lambda: len(house.runs("retrain")) > before, **PATIENTLY)
    dataset = Path(house.runs("retrain")[before]["parameters"]["data"])
    assert dataset.is_relative_to(house.state / "feedback")
    assert any(identifier in name for name in load(dataset).train.names)
    wait_until(lambda: house.states("retrain")[before] == "Failed", **PATIENTLY)


@on_every_database
def test_a_run_without_a_sign_of_life_is_ended(house: House, wait_until: WaitUntil) -> None:
    # The run of a process that is gone, and its last heartbeat: neither was ever there, which the server cannot know.
    flow = house.call("POST", "flows/", {"name": "gone"})
    running = {"type": "RUNNING", "name": "Running"}
    run = house.call("POST", "flow_runs/", {"flow_id": flow["id"], "state": running})
    # Where it waits for nobody Prefect looks every 90 s, and what it waited for in vain it forgets after 60 s: a run
    # that was silent for longer than that before it was heard of may fall between.
    house.emit("prefect.flow-run.heartbeat", f"prefect.flow-run.{run['id']}", ago=timedelta(seconds=45))
    wait_until(lambda: house.states("gone") == ["Crashed"], **PATIENTLY)


@on_sqlite
def test_nobody_starts_anything_without_the_login(house: House) -> None:
    deployment = f"{house.api}/deployments/{house.deployment('retrain')}/create_flow_run"
    assert httpx.post(deployment, json={}).status_code == httpx.codes.UNAUTHORIZED
    assert httpx.post(deployment, json={}, auth=("mien", "guessed")).status_code == httpx.codes.UNAUTHORIZED
    assert (house.state / "prefect/login").stat().st_mode & 0o077 == 0


@on_sqlite
def test_the_page_shows_everything_to_whoever_has_the_login(house: House) -> None:
    program = shutil.which("chromium")
    if program is None:
        skip_or_fail("no Chromium; on Debian `make system-deps` installs it")
    ours, asked = house.api.removesuffix("/api"), set[str]()
    expect.set_options(timeout=60_000)
    with (
        sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=program, args=["--no-sandbox"]) as browser,
    ):
        page = browser.new_page()
        page.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
        page.goto(ours)
        for login, text in (("mien:guessed", "Authentication failed."), (":".join(house.login), "Active Work Pools")):
            page.get_by_placeholder("admin:pass").fill(login)
            page.get_by_role("button", name="Login").click()
            expect(page.get_by_text(text).first).to_be_visible()
        for place, text in (
            ("deployments", "search-trials"),
            ("automations", "mien: retrain on mien.drift.detected"),
            ("runs", "retrain"),
        ):
            page.locator(f"a[href='/{place}']").first.click()
            expect(page.get_by_text(text).first).to_be_visible()
    assert asked - {""} == {urlsplit(ours).netloc}  # nobody else hears of it
    assert (house.state / "prefect/page/v1/index.html").exists()  # not in the environment, which may be made anew


@pytest.mark.fault(3)
@on_sqlite
def test_a_worker_that_is_killed_comes_back_and_ends_what_was_lost(
    house: House, wait_until: WaitUntil, figures: Figures
) -> None:
    before = len(house.runs("retrain"))
    with house.retraining():
        house.emit("mien.feedback.ready", "mien.feedback.emotion")
        wait_until(lambda: house.states("retrain")[before:] == ["Running"], **PATIENTLY)
        for command in ("prefect worker start", "prefect.engine"):
            for pid in _processes(house, command):
                os.kill(pid, signal.SIGKILL)
        begin = time.monotonic()
        wait_until(lambda: house.states("retrain")[before] == "Crashed", **PATIENTLY)
        ended_s = time.monotonic() - begin
    assert "lost when its worker ended" in house.runs("retrain")[before]["state"]["message"]
    assert "Prefect's worker ended" in house.output.read_text()
    wait_until(lambda: _processes(house, "prefect worker start"), **PATIENTLY)
    figures.add(f"Prefect's worker and its run: the run is told as lost after {ended_s:.0f} s, the worker is back")


@on_sqlite
def test_one_interrupt_ends_all_of_it(house: House) -> None:
    house.process.send_signal(signal.SIGINT)
    assert house.process.wait(60) == 0
    assert _processes(house, "") == []


def _processes(house: House, command: str) -> list[int]:
    """Ids of the processes that work on the house's state folder and whose command line contains `command`."""
    found = []
    for process in psutil.process_iter():
        try:
            ours = process.environ().get("MIEN_STATE") == str(house.state)
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if ours and command in line and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process.pid)
    return found
