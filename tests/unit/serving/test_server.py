"""The server as an object, with a container engine that is faked: none runs where the tests do.

What a real Triton does is in tests/integration/test_server_lifecycle.py.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from serving import EngineError, RepositoryError, ServerStartError, TritonServer, read_settings

if TYPE_CHECKING:
    from pathlib import Path

    from serving import ServingSettings
    from tests.conftest import WaitUntil
    from tests.unit.serving.conftest import MakeRepository

FAKE_DOCKER = """#!/bin/sh
echo "$@" >> {calls}
case $1 in
    run) echo "{says}"; {acts} ;;
esac
"""


class Docker:
    """A fake `docker`: writes down its calls, and runs `acts` as the container."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.program = folder / "docker"
        self._calls = folder / "calls"
        folder.mkdir()
        self.container("exec sleep 300")

    def container(self, acts: str, says: str = "") -> None:
        self.program.write_text(FAKE_DOCKER.format(calls=self._calls, acts=acts, says=says))
        self.program.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines() if self._calls.exists() else []


@pytest.fixture
def docker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Docker:
    fake = Docker(tmp_path / "bin")
    monkeypatch.setenv("PATH", f"{fake.program.parent}{os.pathsep}{os.environ['PATH']}")
    return fake


@pytest.fixture
def settings(tmp_path: Path, make_repository: MakeRepository) -> ServingSettings:
    return read_settings(
        state=tmp_path / "state",
        model_repository=tmp_path / "state" / "model_repository",
        shipped_repository=make_repository("shipped"),
        ensembles="emotion",
        engine="docker",
        grpc_port=0,
        metrics_port=0,
        exit_timeout_s=1,
    )


def test_stop_removes_the_container(docker: Docker, settings: ServingSettings, wait_until: WaitUntil) -> None:
    server = TritonServer(settings)
    server.start()
    wait_until(lambda: any(call.startswith("run") for call in docker.calls))
    assert server.is_alive
    server.stop()
    server.stop()
    run = next(call for call in docker.calls if call.startswith("run"))
    name = run.split("--name ")[1].split()[0]
    assert f"rm --force {name}" in docker.calls
    assert not server.is_alive
    assert not settings.record_path.exists()


def test_server_that_ends_at_once_shows_its_log(docker: Docker, settings: ServingSettings) -> None:
    docker.container("exit 1", says="E1121 no such model")
    with (
        pytest.raises(ServerStartError, match=r"(?s)ended while it was starting.*no such model.*triton\.log"),
        TritonServer(settings),
    ):
        pass


def test_server_that_never_answers_is_stopped(docker: Docker, settings: ServingSettings) -> None:
    server = TritonServer(settings.model_copy(update={"ready_timeout_s": 0.2}))
    with pytest.raises(ServerStartError, match=r"It had 0\.2 s"), server:
        pass
    assert not server.is_alive


def test_damaged_release_is_not_served(docker: Docker, settings: ServingSettings) -> None:
    (settings.shipped_repository / "emotion_classifier" / "1" / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(RepositoryError, match="is damaged"):
        TritonServer(settings).start()
    assert not any(call.startswith("run") for call in docker.calls)


def test_failed_start_lets_go_of_the_state_folder(docker: Docker, settings: ServingSettings) -> None:
    program = docker.program.read_text()
    docker.program.write_text("#!/bin/sh\nexit 1\n")
    server = TritonServer(settings)
    with pytest.raises(EngineError):
        server.start()
    docker.program.write_text(program)
    server.start()
    assert server.is_alive
    server.stop()
