"""Whole runs, each in a process of its own: without TensorFlow, repeated, and killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.disks import fill, small_disk
from tests.unit.training.faces import write_tree

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from tests.faults.conftest import Figures, Scale

pytest.importorskip("jax", reason="the loop without TensorFlow runs on JAX here")

RUN = """
import os, signal, sys
from pathlib import Path

import keras
from keras import layers

from training import fit, networks
from training.augmentation import AugmentationConfig
from training.config import Config, Stage
from training.dataset import load


def tiny(dropout):
    inputs = keras.Input((48, 48, 1))
    x = layers.AveragePooling2D(4)(layers.Rescaling(1 / 64, -2.0)(inputs))
    x = layers.BatchNormalization(name="base_bn")(layers.Conv2D(8, 3, name="base_conv")(x))
    x = layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))
    return keras.Model(inputs, layers.Dense(7, name="head_logits")(x))


networks.NETWORKS["tiny"] = networks.Network(tiny, "for tests")
data, directory, die = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3] == "die"
if die:
    whole = fit.Batches.__getitem__
    calls = 0

    def dying(self, index):
        global calls
        if self._seed is not None:
            calls += 1
            if calls > 2 * len(self) + 2:  # in the middle of the third epoch
                os.kill(os.getpid(), signal.SIGKILL)
        return whole(self, index)

    fit.Batches.__getitem__ = dying

config = Config("tiny", epochs=4, learning_rate=0.05, batch_size=7, ema=0.9, weight_decay=1e-3, patience=50,
                augmentation=AugmentationConfig(mixup=0.2),
                stages=(Stage(0, ("head",)), Stage(1, rate=0.5)))
result = fit.fit(config, load(data), directory)
assert "tensorflow" not in sys.modules
print(result.backend, result.validation_accuracy, len(result.history["seconds"]))
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("faces"), per_class=4)


def run(data: Path, directory: Path, *, die: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "PYTHONPATH": "."}
    command = [sys.executable, "-c", RUN, str(data), str(directory), "die" if die else "live"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=240)


def weights(directory: Path) -> list[NDArray[np.float32]]:
    import h5py

    arrays: list[NDArray[np.float32]] = []

    def collect(_name: str, item: object) -> None:
        if isinstance(item, h5py.Dataset):
            arrays.append(item[()])

    with h5py.File(directory / "network.weights.h5") as file:
        file.visititems(collect)
    return arrays


def history(directory: Path) -> dict[str, list[float]]:
    recorded: dict[str, list[float]] = json.loads((directory / "result.json").read_text())["history"]
    return {name: values for name, values in recorded.items() if name != "seconds"}


def assert_same_figures(found: dict[str, list[float]], expected: dict[str, list[float]]) -> None:
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name] == pytest.approx(values, abs=1e-5), name


@pytest.fixture(scope="module")
def finished(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "first"
    completed = run(data, directory)
    assert completed.returncode == 0, completed.stderr
    return directory


def test_a_run_without_tensorflow_leaves_weights_result_log_and_events(finished: Path) -> None:
    assert (finished / "network.weights.h5").exists()
    assert json.loads((finished / "result.json").read_text())["backend"] == "jax"
    assert (finished / "log.csv").read_text().count("\n") == 5
    assert list(finished.glob("events.out.tfevents.*"))
    assert not (finished / "backup.npz").exists()


def test_two_runs_with_one_seed_agree(finished: Path, data: Path, tmp_path: Path) -> None:
    completed = run(data, tmp_path / "second")

    assert completed.returncode == 0, completed.stderr
    for first, second in zip(weights(finished), weights(tmp_path / "second"), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    assert_same_figures(history(tmp_path / "second"), history(finished))


@pytest.mark.fault(3)
def test_a_run_killed_in_the_middle_of_an_epoch_ends_like_one_that_was_not(
    finished: Path, data: Path, tmp_path: Path, figures: Figures
) -> None:
    killed = run(data, tmp_path / "killed", die=True)
    assert killed.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / "result.json").exists()

    resumed = run(data, tmp_path / "killed")

    assert resumed.returncode == 0, resumed.stderr
    for first, second in zip(weights(finished), weights(tmp_path / "killed"), strict=True):
        np.testing.assert_allclose(first, second, atol=1e-6)
    assert_same_figures(history(tmp_path / "killed"), history(finished))
    figures.add("training in the middle of an epoch: goes on, to the same weights as without")


@pytest.mark.fault(4)
def test_a_run_on_a_full_disk_says_so_and_ends_like_another_when_there_is_room(
    finished: Path, data: Path, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    chance = scale.chance("full disk of a run")
    with small_disk(tmp_path / "disk", size_mib=4) as disk:
        for number in range(scale.of(full=3, short=1)):
            directory = disk / f"run-{number}"
            filler = fill(disk, leave=chance.randrange(900_000))
            stopped = run(data, directory)
            assert stopped.returncode != 0
            assert f"TrainingError: The disk of {directory} is full" in stopped.stderr, stopped.stderr
            filler.unlink()
            resumed = run(data, directory)
            assert resumed.returncode == 0, resumed.stderr
            assert not list(directory.glob("*.partial"))
            assert_same_figures(history(directory), history(finished))
            for first, second in zip(weights(finished), weights(directory), strict=True):
                np.testing.assert_allclose(first, second, atol=1e-6)
    figures.add(f"training: {number + 1} runs of {number + 1} say so and go on when there is room, to the same weights")


def test_a_finished_run_is_not_written_over(finished: Path, data: Path) -> None:
    completed = run(data, finished)

    assert completed.returncode != 0
    assert "holds a finished run. Choose another directory" in completed.stderr


def test_the_command_trains_and_reports_and_says_what_is_wrong(data: Path, tmp_path: Path) -> None:
    module = tmp_path / "brief.py"
    module.write_text(
        "from training.config import Config\nCONFIG = Config('vgg_small', epochs=1, learning_rate=0.1, batch_size=14)\n"
    )
    program = f"""
import sys
from training import configs
configs.__path__.append({str(tmp_path)!r})
from training.cli import main
main(sys.argv[1:])
"""
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": "."}

    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        whole = [sys.executable, "-c", program, "fit", str(data), "--backend", "jax", *arguments]
        return subprocess.run(whole, env=environment, capture_output=True, text=True, check=False, timeout=240)

    directory = tmp_path / "run"
    completed = command("--config", "brief", "--run", str(directory))
    unknown = command("--config", "absent")

    assert completed.returncode == 0, completed.stderr
    assert "Validation accuracy " in completed.stdout
    assert {"report.html", "metrics.json", "model-card.md", "result.json"} <= {f.name for f in directory.iterdir()}
    assert unknown.returncode == 6
    assert unknown.stderr.splitlines()[-1].startswith("Error: There is no configuration 'absent'. There are: brief, ")
