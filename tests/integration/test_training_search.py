"""Whole searches, each in a process of its own: killed in the middle, gone on with, and repeated."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests import postgres
from tests.conftest import skip_or_fail
from tests.unit.training.faces import write_tree
from tests.unit.training.shared_study import TRIALS, share
from training.config_file import open_config

if TYPE_CHECKING:
    from pathlib import Path

pytest.importorskip("jax", reason="searches run on JAX here")

PROGRAM = """
import os, signal, sys
from pathlib import Path

import keras
from keras import layers

from training import fit, networks, space
from training.space import Choice, Float, Space


def tiny(dropout):
    inputs = keras.Input((48, 48, 1))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 64, -2.0)(inputs))
    return keras.Model(inputs, layers.Dense(7)(layers.Dropout(dropout)(layers.Flatten()(x))))


networks.NETWORKS["tiny"] = networks.Network(tiny, "for tests")
space.load_space = lambda name: Space(
    {"learning_rate": Float(1e-3, 0.1, log=True), "augmentation.mixup": Choice((0.0, 0.2))}
)
if sys.argv[1] == "die":
    whole = fit.Batches.__getitem__
    calls = 0

    def dying(self, index):
        global calls
        if self._seed is not None:
            calls += 1
            # Each fit looks at one batch before its two epochs: the second trial's second epoch.
            if calls > (1 + 2 * len(self)) + 1 + len(self):
                os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, index)

    fit.Batches.__getitem__ = dying

from training.cli import main

main(["search", *sys.argv[2:]])
"""
CONFIG = "from training.config import Config\nCONFIG = Config('tiny', epochs=4, learning_rate=0.01, batch_size=7)\n"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    splits = ("train/Training", "test/PublicTest", "test/PrivateTest")
    return write_tree(tmp_path_factory.mktemp("faces"), per_class=4, splits=splits)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("configs") / "tiny.py"
    path.write_text(CONFIG)
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def search(
    data: Path, config: Path, directory: Path, *arguments: str, die: bool = False
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": "."}
    options = ["--config", str(config), "--run", str(directory), "--epochs", "2", "--trials", "3", *arguments]
    command = [sys.executable, "-c", PROGRAM, "die" if die else "live", str(data), *options]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


def found(directory: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((directory / "search.json").read_text())
    return values


@pytest.fixture(scope="module")
def whole(data: Path, config: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A search that was not disturbed, and what it printed."""
    directory = tmp_path_factory.mktemp("search")
    completed = search(data, config, directory)
    assert completed.returncode == 0, completed.stderr
    return directory, completed.stdout


def test_a_search_ends_with_a_report_and_a_configuration_to_train(whole: tuple[Path, str]) -> None:
    directory, output = whole
    result = found(directory)
    best = max(result["trials"], key=lambda trial: trial["accuracy"])

    assert [trial["state"] for trial in result["trials"]] == ["complete"] * 3
    assert result["dataset"]["train_faces"] == result["dataset"]["validation_faces"] == 28
    assert output.splitlines()[-1].strip().endswith(f"--config {directory}/best.py")
    assert f"validation accuracy {best['accuracy']:.4f}" in output
    assert open_config(str(directory / "best.py")).epochs == 4
    assert (directory / "report.html").exists()
    assert not list(directory.rglob("*.weights.h5"))


def test_a_search_killed_in_a_trial_tries_it_again_and_ends_like_one_that_was_not(
    whole: tuple[Path, str], data: Path, config: Path, tmp_path: Path
) -> None:
    killed = search(data, config, tmp_path, die=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert not (tmp_path / "search.json").exists()

    resumed = search(data, config, tmp_path)

    assert resumed.returncode == 0, resumed.stderr
    trials = found(tmp_path)["trials"]
    assert [trial["state"] for trial in trials] == ["complete", "failed", "complete", "complete"]
    assert trials[2]["retry_of"] == 1
    assert len(trials[1]["curve"]) == 1  # its first epoch was reported, and is not trained again
    undisturbed = found(whole[0])["trials"]
    for trial, expected in zip([trials[0], *trials[2:]], undisturbed, strict=True):
        assert trial["values"] == expected["values"]
        assert trial["curve"] == pytest.approx(expected["curve"])
    log = (tmp_path / "trials" / "001" / "log.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in log] == ["epoch", "0", "1"]


def test_a_finished_search_is_not_searched_again(whole: tuple[Path, str], data: Path, config: Path) -> None:
    directory = whole[0]
    before = found(directory)["trials"]

    again = search(data, config, directory)

    assert again.returncode == 0, again.stderr
    assert found(directory)["trials"] == before


SHARED_CONFIG = """
import keras
from keras import layers
from training import networks
from training.config import Config

def tiny(dropout):
    inputs = keras.Input((48, 48, 1))
    x = layers.AveragePooling2D(8)(layers.Rescaling(1 / 64, -2.0)(inputs))
    return keras.Model(inputs, layers.Dense(7)(layers.Dropout(dropout)(layers.Flatten()(x))))

networks.NETWORKS["tiny"] = networks.Network(tiny, "for tests")
CONFIG = Config("tiny", epochs=4, learning_rate=0.01, batch_size=7)
"""


@pytest.mark.slow
def test_two_workers_share_one_search_in_a_prefect_run(data: Path, tmp_path: Path) -> None:
    config = tmp_path / "tiny.py"
    config.write_text(SHARED_CONFIG)
    environment = {
        **os.environ,
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "MIEN_STATE": str(tmp_path / "state"),
        "MIEN_PREFECT_PORT": str(free_port()),  # no server: Prefect starts one for the run
    }
    run = tmp_path / "run"
    options = ["--config", str(config), "--epochs", "1", "--trials", "2", "--workers", "2", "--run", str(run)]
    command = [sys.executable, "-m", "flows.search", str(data), *options]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)

    assert ended.returncode == 0, ended.stderr
    assert "2 trials are left for 2 workers" in ended.stderr
    result = found(run)
    assert [trial["number"] for trial in result["trials"]] == [0, 1]
    assert len({trial["values"]["learning_rate"] for trial in result["trials"]}) == 2
    assert len(list((run / "workers").glob("*.log"))) == 2
    assert open_config(str(run / "best.py")).epochs == 4
    assert f"python -m flows.train {data} --config {run}/best.py" in ended.stdout


@pytest.mark.slow
def test_two_processes_share_one_study_in_postgresql(tmp_path: Path) -> None:
    folder = postgres.programs()
    if folder is None:
        skip_or_fail("PostgreSQL is not installed; `make system-deps` does it")
        return
    with postgres.running_postgres(folder) as server:
        assert share(tmp_path, server.url.replace("postgresql://", "postgresql+psycopg://")) == list(range(TRIALS))
