"""The flow from a dataset to a served release, on a real Triton and a real Prefect server."""

from __future__ import annotations

import io
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
import soundfile

from mien import EmotionClient
from mien.contract import (
    EMOTION,
    EMOTION_CLASSIFIER,
    EMOTION_CLASSIFIER_SAVEDMODEL,
    PIXELS,
    SAMPLE_RATE_HZ,
    SPEECH_EMOTION,
)
from mien.gateway.feedback.kinds import SPEECH
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.feedback.store import FeedbackStore, GivenCorrection
from mien.gateway.feedback.tables import State
from serving import ModelRepository
from tests.unit.training.faces import write_tree
from training.export.golden import synthetic_speech

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serving import TritonServer
    from tests.conftest import MakeServer, WaitUntil

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]

CONFIG = '''
"""Two epochs on a few made faces, for a test."""

from training.augmentation import AugmentationConfig
from training.config import Config

CONFIG = Config(network="vgg_small", epochs=2, learning_rate=0.01, batch_size=16, ema=None)
'''

KILLED_IN_TRAINING = """
import os, signal, sys
from flows import train
from training import fit

calls, real = [0], fit.Batches.__getitem__
def dying(self, index):
    calls[0] += self._seed is not None
    if calls[0] > len(self) + 1:  # in the second epoch
        os.kill(os.getpid(), signal.SIGKILL)
    return real(self, index)
fit.Batches.__getitem__ = dying
train.main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def prefect_api(tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil) -> Iterator[str]:
    """A Prefect server of its own, on SQLite."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("prefect")
    environment = os.environ | {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    command = [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)]
    api = f"http://127.0.0.1:{port}/api"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=2) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    with (home / "server.log").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(answers, timeout_s=240)
            yield api
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            process.wait(60)


@pytest.fixture
def server(make_server: MakeServer, tmp_path: Path) -> Iterator[TritonServer]:
    with make_server(tmp_path / "state") as server:
        yield server


def artifacts(api: str) -> set[str]:
    answer = httpx.post(f"{api}/artifacts/filter", json={})
    answer.raise_for_status()
    return {artifact["key"] for artifact in answer.json()}


def run_states(api: str) -> list[str]:
    answer = httpx.post(f"{api}/flow_runs/filter", json={"sort": "START_TIME_ASC"})
    answer.raise_for_status()
    return [run["state"]["type"] for run in answer.json()]


def assert_the_twin_agrees(server: TritonServer, release: int) -> None:
    pixels = np.random.default_rng(7).uniform(0, 255, (8, *PIXELS.shape)).astype(np.float32)
    with server.control() as control:
        control.load(EMOTION_CLASSIFIER_SAVEDMODEL.name)
        try:
            twin, version = control.infer(EMOTION_CLASSIFIER_SAVEDMODEL, pixels, version=release)
        finally:
            control.unload(EMOTION_CLASSIFIER_SAVEDMODEL.name)
        onnx, _ = control.infer(EMOTION_CLASSIFIER, pixels, version=release)
    assert version == release
    # Single precision, two runtimes with their own order of summation.
    np.testing.assert_allclose(twin, onnx, atol=1e-5)


def test_a_killed_flow_goes_on_and_its_release_is_served_until_a_rollback(
    savedmodel_backend: None, server: TritonServer, prefect_api: str, tmp_path: Path
) -> None:
    data, config = write_tree(tmp_path / "faces", per_class=8), tmp_path / "brief.py"
    config.write_text(CONFIG)
    environment = os.environ | {
        "MIEN_STATE": str(server.settings.state),
        "MIEN_MODEL_REPOSITORY": str(server.settings.model_repository),
        "PREFECT_API_URL": prefect_api,
    }
    repository = ModelRepository(server.settings.model_repository)

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
        )

    arguments = [str(data), "--config", str(config)]
    killed = run("-c", KILLED_IN_TRAINING, *arguments)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert repository.releases(EMOTION) == [1]

    refused = run("-m", "flows.train", *arguments)
    assert refused.returncode == 7, refused.stderr
    assert "Going on vgg_small" in refused.stderr
    assert "Error: The candidate may not replace release 1 because of" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert repository.releases(EMOTION) == [1]

    served = run("-m", "flows.train", *arguments, "--accept-anyway", "it is a test")
    assert served.returncode == 0, served.stderr
    assert "has been trained with this configuration before" in served.stderr
    assert "Release 2 is served." in served.stdout
    assert repository.releases(EMOTION) == [1, 2]
    with EmotionClient(server.endpoint) as client:
        faces = EMOTION.input.zeros(1)
        assert client.classify(faces).model_versions == ("2",)
        assert_the_twin_agrees(server, release=2)
        back = run("-m", "flows.release", "rollback", "--reason", "it was a test")
        assert "Release 1 is served, 2 was before" in back.stdout, back.stderr
        assert client.classify(faces).model_versions == ("1",)
    listed = run("-m", "flows.release", "list", "--history")
    assert "it is a test" in listed.stdout
    assert artifacts(prefect_api) == {"dataset", "metrics", "confusion", "curves", "report", "decision"}
    assert run_states(prefect_api) == ["CRASHED", "FAILED", "COMPLETED"]  # the killed one is ended by the next


SPEECH_CONFIG = '''
"""One epoch on a few made recordings, for a test."""

from training.config import Config
from training.speech_augmentation import SpeechAugmentation

CONFIG = Config(
    network="speech_linear",
    epochs=1,
    learning_rate=0.001,
    batch_size=8,
    ema=None,
    augmentation=SpeechAugmentation(copies=1),
)
'''


def write_recordings(folder: Path) -> Path:
    """Two recordings a speaker and emotion, in folders that say whose and which."""
    for number, speech in enumerate(synthetic_speech(4 * len(SPEECH_EMOTION.labels))):
        speaker, label = divmod(number % (2 * len(SPEECH_EMOTION.labels)), len(SPEECH_EMOTION.labels))
        path = folder / f"speaker{speaker}" / SPEECH_EMOTION.labels[label] / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, speech, SAMPLE_RATE_HZ)
    return folder


def accept_a_correction_of_speech() -> None:
    """Of what is said in the recordings' manner; into the store that the environment names."""
    with io.BytesIO() as file, closing(FeedbackStore(FeedbackSettings())) as store:
        soundfile.write(file, synthetic_speech(1, seed=1)[0], SAMPLE_RATE_HZ, "PCM_16", format="FLAC")
        given = GivenCorrection("happy", "sad", "1", file.getvalue(), kind=SPEECH)
        store.review(store.add(given, "anonymous").id, State.ACCEPTED, "operator:me")


def test_a_configuration_of_speech_makes_a_release_of_speech_with_its_corrections(
    server: TritonServer, prefect_api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, config = write_recordings(tmp_path / "recordings"), tmp_path / "brief_speech.py"
    config.write_text(SPEECH_CONFIG)
    monkeypatch.setenv("MIEN_STATE", str(server.settings.state))
    accept_a_correction_of_speech()
    environment = os.environ | {
        "MIEN_STATE": str(server.settings.state),
        "MIEN_MODEL_REPOSITORY": str(server.settings.model_repository),
        "PREFECT_API_URL": prefect_api,
    }
    arguments = [str(data), "--config", str(config), "--accept-anyway", "it is a test"]
    command = [sys.executable, "-m", "flows.train", *arguments]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    (decision,) = (server.settings.state / "runs").glob("*/decision.json")
    assert '"UAR"' in decision.read_text()
    assert "Release 2 is served." in ended.stdout
    with server.control() as control:
        assert [control.infer_zeros(ensemble) for ensemble in (EMOTION, SPEECH_EMOTION)] == [1, 2]
    dataset = ModelRepository(server.settings.model_repository).manifest(SPEECH_EMOTION, 2).dataset.name
    assert dataset.startswith("feedback-")


def test_without_a_server_nothing_begins(tmp_path: Path) -> None:
    environment = os.environ | {"MIEN_STATE": str(tmp_path / "state")}
    command = [sys.executable, "-m", "flows.train", str(tmp_path)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 7
    assert "No server runs on the state folder" in ended.stderr
    assert "make serve" in ended.stderr
    assert list(tmp_path.iterdir()) == []
