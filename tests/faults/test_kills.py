"""Row 3, what tests/integration does not show: publishers, promoters and the gateway killed at every step.

Stubs, server and supervisor: test_server_lifecycle. Training: test_training_fit. Prefect's worker: test_orchestration.
"""

from __future__ import annotations

import os
import signal
import time
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from mien import ClientSettings, EmotionClient
from mien.contract import EMOTION
from serving import ModelRepository, Promoter, publish
from serving.repository import install_shipped
from tests.callers import calling
from tests.conftest import server_settings
from tests.gateways import running_gateway
from tests.killed import promote_and_die, publish_and_die
from tests.releases import export_variant

if TYPE_CHECKING:
    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(3)]

PORTRAIT = Path(__file__).parents[2] / "docs/portraits/astronaut.jpg"


def test_a_publisher_killed_at_any_step(tmp_path: Path, figures: Figures) -> None:
    settings = server_settings(tmp_path)
    export = export_variant(settings, tmp_path / "export", favour=3)
    repository = install_shipped(ModelRepository(settings.shipped_repository), tmp_path / "repository")
    step = 1
    while publish_and_die(export, repository, step):
        assert repository.releases(EMOTION) == [1]
        step += 1
    assert step > 3
    assert repository.releases(EMOTION) == [1, 2], "as the last of them lived"
    assert repository.verify_release(EMOTION, 2)
    assert not publish(export, repository, EMOTION).is_new
    assert {path.name for path in (repository.path / ".releases").iterdir()} == {"lock"}
    figures.add(f"publisher before each of {step - 1} renames: no half release, none twice, nothing staged is left")


@pytest.mark.timeout(600)
def test_a_promoter_killed_at_any_step(make_server: MakeServer, tmp_path: Path, scale: Scale, figures: Figures) -> None:
    stride = scale.of(full=1, short=5)
    with make_server(tmp_path / "state") as server, server.control() as control:
        repository = ModelRepository(server.settings.model_repository)
        publish(export_variant(server.settings, tmp_path / "export", favour=3), repository, EMOTION)
        promoter = Promoter(repository, EMOTION, control)
        steps = 0
        with EmotionClient(ClientSettings(endpoints=server.endpoint, deadline_s=60)) as client:
            with calling(client, repository, 2) as callers:
                while promote_and_die(server, 1 + steps * stride):
                    steps += 1
                    assert promoter.promote(2).entry.previous == 1, "the next one begins where it was"
                    promoter.rollback()
            assert client.classify(EMOTION.input.zeros(1)).model_versions == ("2",), "the last of them lived"
    assert steps > 1
    figures.add(f"promoter before each of {steps} calls: 0 lost, 0 mixed of {callers.total:,}, the next one goes on")


def test_a_killed_gateway_and_its_killed_workers(
    triton: TritonServer, tmp_path: Path, wait_until: WaitUntil, figures: Figures
) -> None:
    folder = tmp_path / "gateway"
    folder.mkdir()
    with running_gateway(triton.endpoint, folder, WORKERS="2") as gateway, gateway.client() as caller:
        family = psutil.Process(gateway.process.pid).children(recursive=True)
        for worker in [member for member in family if not member.children()]:
            worker.kill()
        begin = time.monotonic()
        statuses = []
        while not statuses or statuses[-1] == HTTPStatus.SERVICE_UNAVAILABLE:
            answer = caller.post("/v1/detect", files={"image": PORTRAIT.read_bytes()})
            statuses.append(answer.status_code)
        replaced_s = time.monotonic() - begin
        assert answer.json().get("emotion") == "happy", answer.text
        family = psutil.Process(gateway.process.pid).children(recursive=True)
        os.kill(gateway.process.pid, signal.SIGKILL)
        begin = time.monotonic()
        wait_until(lambda: not any(member.is_running() and member.status() != "zombie" for member in family))
        gone_s = time.monotonic() - begin
    left = {path.name for path in (folder / "spool").glob("gateway-*")}
    assert left, "if a killed gateway leaves nothing, this shows nothing"
    with running_gateway(triton.endpoint, folder, WORKERS="2") as gateway, gateway.client() as caller:
        assert caller.post("/v1/detect", files={"image": PORTRAIT.read_bytes()}).json()["emotion"] == "happy"
        assert not left & {path.name for path in (folder / "spool").glob("gateway-*")}
    figures.add(
        f"gateway's workers: a picture is answered after {replaced_s:.1f} s, {len(statuses) - 1} put off; gateway: none"
        f" of its processes is left after {gone_s:.1f} s, and the next one clears its spool"
    )
