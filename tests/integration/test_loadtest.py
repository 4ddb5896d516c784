"""Load tests against a real Triton and a real gateway, from the command that starts them to their report."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import psutil
import pytest

from tests.gateways import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from serving import TritonServer
    from tests.conftest import WaitUntil
    from tests.gateways import RunningGateway

pytestmark = pytest.mark.integration

END_S = 90.0


@contextmanager
def load_test(
    command: str, triton: TritonServer, gateway: RunningGateway, *options: str
) -> Iterator[subprocess.Popen[str]]:
    """`python -m loadtest` as a process, with a group of its own that is gone afterwards."""
    where = ["--server", triton.endpoint, "--metrics", triton.metrics_url, "--gateway", gateway.url]
    process = subprocess.Popen(
        [sys.executable, "-m", "loadtest", command, *where, *options],
        env=os.environ | {"MIEN_DETECTOR": "haar"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def callers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Locust's processes, which are children of the command's."""
    return psutil.Process(process.pid).children(recursive=True)


def test_a_mixed_open_loop_ends_in_a_report_and_names_the_broken_objective(
    triton: TritonServer, gateway: RunningGateway, tmp_path: Path
) -> None:
    options = ["--users", "grpc=7,rest=1,pipeline=1,speech=1", "--rate", "30", "--duration", "3", "--shape", "steps"]
    objectives = ["--p99-ms", "0.001", "--error-rate", "0", "--min-rps", "1"]
    with load_test("run", triton, gateway, *options, *objectives, "--out", str(tmp_path)) as process:
        output, errors = process.communicate(timeout=END_S)
    assert process.returncode == 1, errors
    broken = errors.strip().splitlines()
    assert len(broken) == 4, errors
    assert all(sentence.startswith("--p99-ms 0.001 is broken: ") for sentence in broken)

    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["broken"] == broken
    assert summary["failed"] == 0
    by_kind = {kind["kind"]: kind for kind in summary["kinds"]}
    assert by_kind["grpc"]["answered"] > by_kind["rest"]["answered"] > 0
    assert min(by_kind[kind]["answered"] for kind in ("pipeline", "speech")) > 0
    # Both sides have counted the same calls: one of each over gRPC, and one of each picture, beside the two looks.
    counted = {model["model"]: model["requests"] for model in summary["server"]["models"]}
    speech = by_kind["speech"]["answered"]
    assert counted["speech_emotion"] == pytest.approx(speech, abs=4)
    assert counted["emotion"] == pytest.approx(summary["answered"] - speech, abs=4)
    assert summary["server"]["gateway"]["requests"] == {"200": by_kind["rest"]["answered"]}

    page = (tmp_path / "report.html").read_text()
    assert page.count("data:image/svg+xml;base64,") == 2
    assert "corrected for coordinated omission" in page
    rows = list(csv.DictReader((tmp_path / "timeline.csv").read_text().splitlines()))
    assert sum(int(row["answered"]) for row in rows) == summary["answered"]
    assert f"Report: {tmp_path / 'report.html'}" in output


def test_a_killed_command_leaves_no_process(
    triton: TritonServer, gateway: RunningGateway, tmp_path: Path, wait_until: WaitUntil
) -> None:
    options = ["--duration", "60", "--processes", "2", "--out", str(tmp_path)]
    with load_test("run", triton, gateway, *options) as process:
        wait_until(lambda: len(callers(process)) == 3, timeout_s=END_S)
        left = callers(process)
        process.kill()
        process.wait()
        _, alive = psutil.wait_procs(left, timeout=END_S)
    assert not alive


def test_ctrl_c_ends_with_the_report_so_far_and_a_lost_server_is_called_lost(
    triton: TritonServer, tmp_path: Path
) -> None:
    with running_gateway(triton.endpoint, tmp_path, DETECT_PER_MINUTE="100000", WORKERS="1") as gateway:
        options = ["--users", "rest=1", "--duration", "60", "--out", str(tmp_path / "report")]
        with load_test("run", triton, gateway, *options) as process:
            _wait_for_pictures(gateway)
            left = callers(process)
            gateway.process.send_signal(signal.SIGKILL)
            process.send_signal(signal.SIGINT)
            _, errors = process.communicate(timeout=END_S)
            assert not psutil.wait_procs(left, timeout=END_S)[1]
    assert process.returncode == 5, errors
    assert errors.startswith("Error: The last good answer came ")
    assert f"No gateway is ready at {gateway.url}" in errors
    summary = json.loads((tmp_path / "report/summary.json").read_text())
    assert summary["interrupted"]
    assert summary["lost"] in errors
    assert summary["answered"] > 0


def _wait_for_pictures(gateway: RunningGateway) -> None:
    end = time.monotonic() + END_S
    with gateway.client() as client:
        while time.monotonic() < end:
            if '/detect",status="200"}' in client.get("/metrics").text:
                return
            time.sleep(0.1)
    pytest.fail("the load test sent no picture")
