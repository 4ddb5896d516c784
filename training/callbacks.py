"""Keras callbacks that Keras does not have, or has only with TensorFlow."""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import time
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from tensorboardX import SummaryWriter

from training.errors import TrainingError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

_OPTIMIZER = "optimizer"
_HEADROOM_BYTES = 2**20  # for what files hold beside numbers
_COUNTERS = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter", "_ema_weights_in_model")


class AveragedWeights(keras.callbacks.SwapEMAWeights):  # type: ignore[misc]  # Keras carries no types
    """Evaluates and keeps the optimizer's averaged weights, with statistics for batch normalization of their own.

    Args:
        batches: the examples that these statistics are taken from, (N, …) each.
    """

    def __init__(self, batches: Sequence[NDArray[Any]]) -> None:
        super().__init__(swap_on_epoch=True)
        self._batches = batches

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        """Put the averaged weights in. The statistics stay: the batches' own serve in training."""
        super().on_test_begin(logs)
        self.model.estimate_statistics(self._batches)


class Backup(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Writes the whole state after each epoch; a run that was killed goes on from there to the same end.

    Keras' own BackupAndRestore keeps neither the random generators nor what EarlyStopping, ReduceLROnPlateau and
    ModelCheckpoint have counted, so a resumed run ends elsewhere. Give it last in the list: it restores what the others
    reset when training begins.

    Args:
        path: the backup's file; replaced as a whole, so a kill while it is written leaves the one before.
        others: the callbacks whose counters are kept.
        identity: what the run is; a backup of another is refused.
        stage_epoch: first epoch of the stage that begins or goes on. A backup of the stage before gives the weights,
            the random generators and the best figure so far, but neither optimizer nor other counters.
    """

    def __init__(
        self,
        path: Path,
        others: Sequence[keras.callbacks.Callback],
        identity: Mapping[str, Any],
        stage_epoch: int = 0,
    ) -> None:
        super().__init__()
        self._path = path
        self._others = others
        self._identity = json.loads(json.dumps(identity))
        self._stage_epoch = stage_epoch

    def on_train_begin(self, _logs: Mapping[str, float] | None = None) -> None:
        """Restore, if there is a backup."""
        if not self._path.exists():
            return
        with np.load(self._path, allow_pickle=False) as backup:
            meta = json.loads(str(backup["meta"]))
            arrays = {name: backup[name] for name in backup.files if name != "meta"}
        if meta["identity"] != self._identity:
            message = (
                f"{self._path} belongs to a run with another configuration or dataset. Choose another run directory."
            )
            raise TrainingError(message)
        anew = meta["epoch"] == self._stage_epoch
        for name, variable in self._variables():
            if not (anew and name.startswith(_OPTIMIZER)):
                variable.assign(arrays[name])
        for callback, counters in zip(self._others, meta["counters"], strict=True):
            for name, value in counters.items():
                if not anew or name == "best":
                    setattr(callback, name, value)
        self.model.history.history.update(meta["history"])
        self.model.history.epoch = list(range(meta["epoch"]))

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the backup."""
        past = self.model.history.history  # Keras adds this epoch's figures after all callbacks have run
        history = {name: [*map(float, past.get(name, ())), float(value)] for name, value in (logs or {}).items()}
        meta = {
            "identity": self._identity,
            "epoch": epoch + 1,
            "history": history,
            "counters": [_counters(callback) for callback in self._others],
        }
        buffer = io.BytesIO()
        arrays = {name: np.asarray(variable) for name, variable in self._variables()}
        np.savez(buffer, allow_pickle=False, meta=np.array(json.dumps(meta)), **arrays)
        partial = self._path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)

    def _variables(self) -> list[tuple[str, keras.Variable]]:
        """Each variable with its name in the backup."""
        groups = {"learner": self.model.state(), _OPTIMIZER: self.model.optimizer.variables}
        return [
            (f"{group}_{index}", variable)
            for group, variables in groups.items()
            for index, variable in enumerate(variables)
        ]


class RoomLeft(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Looks for room on the disk before an epoch is written. Give it first in the list.

    HDF5 does not fail where it finds none: it writes half of a file, or ends the process.

    Args:
        directory: where the epoch's weights and backup go.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def on_epoch_end(self, _epoch: int, _logs: Mapping[str, float] | None = None) -> None:
        """Raise OSError (ENOSPC) where weights and backup would not fit."""
        variables = [*self.model.state(), *self.model.optimizer.variables]
        state_bytes = sum(np.asarray(variable).nbytes for variable in variables)
        if shutil.disk_usage(self._directory).free < 2 * state_bytes + _HEADROOM_BYTES:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))


def epochs_done(path: Path) -> int:
    """Epochs that the backup at `path` has behind it; 0 without one."""
    if not path.exists():
        return 0
    with np.load(path, allow_pickle=False) as backup:
        return int(json.loads(str(backup["meta"]))["epoch"])


class TensorBoard(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Writes each epoch's figures as TensorBoard events; Keras' own callback imports TensorFlow under every backend."""

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self._directory = directory

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Write the epoch's figures."""
        with SummaryWriter(str(self._directory)) as writer:
            for name, value in (logs or {}).items():
                writer.add_scalar(name, float(value), epoch)
            writer.add_scalar("learning_rate", float(np.asarray(self.model.optimizer.learning_rate)), epoch)


class TimeLeft(keras.callbacks.Callback):  # type: ignore[misc]  # Keras carries no types
    """Records each epoch's seconds as ``seconds`` and prints when the whole run of `epochs` should be done."""

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self._epochs = epochs

    def on_epoch_begin(self, _epoch: int, _logs: Mapping[str, float] | None = None) -> None:
        """Start the clock."""
        self._started = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Note the time taken and print the time left."""
        seconds = time.monotonic() - self._started
        if logs is not None:
            logs["seconds"] = round(seconds, 2)
        left = (self._epochs - epoch - 1) * seconds
        print(f"Epoch {epoch + 1} of {self._epochs}: {seconds:.0f} s, about {left / 60:.1f} min left", flush=True)


def _counters(callback: keras.callbacks.Callback) -> dict[str, Any]:
    present = {name: getattr(callback, name) for name in _COUNTERS if hasattr(callback, name)}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in present.items()}
