"""Fits a network to a dataset, under any Keras backend; TensorFlow is not imported unless it is the backend."""

from __future__ import annotations

import errno
import json
import math
import random
import resource
import shutil
import sys
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from training import inputs, networks, transfer
from training.calibration import fit_temperature
from training.callbacks import AveragedWeights, Backup, RoomLeft, TensorBoard, TimeLeft, epochs_done
from training.classifier import open_weights
from training.dataset import hold_out
from training.errors import TrainingError
from training.learner import Learner

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from training.config import Config, Stage
    from training.dataset import Dataset, Split

WEIGHTS_FILE = "network.weights.h5"
RESULT_FILE = "result.json"
BACKUP_FILE = "backup.npz"
_LOG_FILE = "log.csv"
_STATISTICS_BATCHES = 8
_STATISTICS_BATCH_SIZE = 128


@dataclass(frozen=True)
class Result:
    """What a run ended with.

    Attributes:
        weights: Keras weights of the epoch that is kept.
        history: each figure by epoch; accuracies and losses as Keras names them, and ``seconds``.
        best_epoch: index of that epoch, which has the best validation accuracy unless the configuration keeps the last.
        peak_memory_mb: largest resident memory of the process, without what lies on a GPU.
        backend: Keras backend it ran under.
        temperature: fitted on the faces held out; 1 if there are none.
    """

    weights: Path
    history: dict[str, list[float]]
    best_epoch: int
    peak_memory_mb: float
    backend: str
    temperature: float

    @property
    def validation_accuracy(self) -> float:
        """Accuracy on the validation split at the epoch that is kept."""
        return self.history["val_accuracy"][self.best_epoch]


class Batches(keras.utils.PyDataset):  # type: ignore[misc]  # Keras carries no types
    """A split in batches, shuffled anew each epoch by seed and epoch alone, so that a resumed run sees the same order.

    Args:
        split: the faces.
        batch_size: faces a batch.
        seed: of the order; None keeps the order and the last, smaller batch.
    """

    def __init__(self, split: Split, batch_size: int, seed: int | None = None) -> None:
        super().__init__()
        self._split = split
        self._batch_size = min(batch_size, len(split))
        self._seed = seed
        self.start_epoch(0)

    def __len__(self) -> int:
        rounding = math.ceil if self._seed is None else math.floor
        return rounding(len(self._split) / self._batch_size)

    def __getitem__(self, index: int) -> tuple[dict[str, NDArray[Any]], NDArray[np.int64]]:
        rows = self._order[index * self._batch_size : (index + 1) * self._batch_size]
        labels = self._split.labels[rows]
        return {"example": self._split.examples[rows], "label": labels}, labels

    def start_epoch(self, epoch: int) -> None:
        """Take the order of `epoch`."""
        self._order = np.arange(len(self._split))
        if self._seed is not None:
            np.random.default_rng([self._seed, epoch]).shuffle(self._order)


def fit(
    config: Config, dataset: Dataset, directory: Path, callbacks: Sequence[keras.callbacks.Callback] = ()
) -> Result:
    """Train as `config` says, and keep the weights of the epoch with the best validation accuracy.

    Args:
        config: the experiment.
        dataset: `train` is fitted to, less what the configuration holds out; `validation` chooses the epoch.
        directory: the run's; if it holds a run that was broken off, that run goes on. Gets ``network.weights.h5``,
            ``result.json``, ``log.csv``, TensorBoard events and, until the end, ``backup.npz``.
        callbacks: further ones, which see the end of an epoch after all others; what they raise ends the run.

    Raises:
        TrainingError: the directory holds a finished run or the beginning of another one, its disk is full, a stage
            names no layer, or what the network is to start from cannot be had.
    """
    with _naming_a_full_disk(directory):
        return _fit(config, dataset, directory, callbacks)


@contextmanager
def _naming_a_full_disk(directory: Path) -> Iterator[None]:
    """Say of what is raised for want of room where room is wanted."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        present = next(folder for folder in (directory, *directory.parents) if folder.exists())
        raise TrainingError(
            f"The disk of {directory} is full: {shutil.disk_usage(present).free / 1e6:.1f} MB are free. Make room and"
            " train again into the same directory: the run goes on after its last whole epoch."
        ) from error


def _fit(config: Config, dataset: Dataset, directory: Path, callbacks: Sequence[keras.callbacks.Callback]) -> Result:
    if (directory / RESULT_FILE).exists():
        message = f"{directory} holds a finished run. Choose another directory, or remove it."
        raise TrainingError(message)
    directory.mkdir(parents=True, exist_ok=True)
    # Keras draws the default seed of every initializer and layer from here; keras.utils.set_random_seed would import
    # TensorFlow under every backend.
    random.seed(config.seed)
    keras.config.set_dtype_policy(config.precision)
    fitted, held_out = divide(config, dataset.train)
    splits = {"train": config.augmentation.enlarged(fitted, config.seed), "validation": dataset.validation}
    prepared = {name: inputs.prepared(split, networks.find(config.network).ensemble) for name, split in splits.items()}
    try:
        history = _run(config, replace(dataset, splits=prepared), dataset.digest, directory, callbacks)
    finally:
        keras.config.set_dtype_policy("float32")
    figures = {name: [float(value) for value in values] for name, values in history.items()}
    result = Result(
        weights=directory / WEIGHTS_FILE,
        history=figures,
        best_epoch=int(np.argmax(figures["val_accuracy"])) if config.keep == "best" else len(figures["seconds"]) - 1,
        peak_memory_mb=_peak_memory_mb(),
        backend=keras.backend.backend(),
        temperature=_temperature(config, directory / WEIGHTS_FILE, held_out),
    )
    _save_result(result, config, dataset, directory / RESULT_FILE)
    (directory / BACKUP_FILE).unlink(missing_ok=True)
    return result


def divide(config: Config, train: Split) -> tuple[Split, Split | None]:
    """The training faces that the network is fitted to, and those held out for the temperature, if any are.

    Raises:
        DatasetError: a class is too small to hold some of it out.
    """
    return hold_out(train, config.held_out, config.seed) if config.held_out else (train, None)


def _temperature(config: Config, weights: Path, held_out: Split | None) -> float:
    if held_out is None:
        return 1.0
    probabilities = open_weights(weights, config.network).predict(held_out.examples)
    return round(fit_temperature(probabilities, held_out.labels), 4)


def _run(
    config: Config, dataset: Dataset, digest: str, directory: Path, extra: Sequence[keras.callbacks.Callback]
) -> dict[str, list[float]]:
    network = networks.build(config.network, config.dropout)
    done = epochs_done(directory / BACKUP_FILE)
    if not done:
        _start_from(config, network)
    weights = _class_weights(dataset.train) if config.class_weights else None
    learner = Learner(network, config, weights)
    batches = Batches(dataset.train, config.batch_size, config.seed)
    learner(batches[0][0])
    figures: dict[str, list[float]] = {}
    for stage, epochs in zip(config.stages, config.stage_lengths(), strict=True):
        # An early stop can only be in the last stage, so a stage that is over has its backup at its end.
        if done < (end := stage.epoch + epochs):
            figures = _run_stage(config, stage, end, learner, dataset, batches, digest, directory, extra)
    return figures


def _start_from(config: Config, network: keras.Model) -> None:
    match config.pretrained:
        case None:
            pass
        case transfer.IMAGENET:
            transfer.load_imagenet(network)
        case Path() as path if path.name.endswith(".weights.h5"):
            networks.load_weights(network, path)
        case Path() as path:
            transfer.load_imagenet(network, path)


def _run_stage(
    config: Config,
    stage: Stage,
    end: int,
    learner: Learner,
    dataset: Dataset,
    batches: Batches,
    digest: str,
    directory: Path,
    extra: Sequence[keras.callbacks.Callback],
) -> dict[str, list[float]]:
    """Train from where the backup stands, or the stage begins, to `end`; gives the figures of all epochs so far."""
    transfer.set_trainable(learner.network, stage)
    learner.compile(
        optimizer=_optimizer(config, stage, len(batches), end - stage.epoch),
        jit_compile=config.compile_xla or keras.backend.backend() == "jax",
        steps_per_execution=min(config.steps_per_execution, len(batches)),
    )
    learner.optimizer.build(learner.trainable_variables)
    done = max(stage.epoch, epochs_done(directory / BACKUP_FILE))
    batches.start_epoch(done)
    history = learner.fit(
        batches,
        validation_data=Batches(dataset.validation, config.batch_size),
        epochs=end,
        initial_epoch=done,
        shuffle=False,  # Keras would shuffle the batches once more, in another order after a resumption
        callbacks=[*_callbacks(config, stage, dataset, batches, digest, directory), *extra],
        verbose=1 if sys.stdout.isatty() else 2,
    )
    figures: dict[str, list[float]] = history.history
    return figures


def _callbacks(
    config: Config, stage: Stage, dataset: Dataset, batches: Batches, digest: str, directory: Path
) -> list[keras.callbacks.Callback]:
    """In the order in which they must see the end of an epoch: averaged weights first, the backup last."""
    best = keras.callbacks.ModelCheckpoint(
        directory / WEIGHTS_FILE,
        monitor="val_accuracy",
        mode="max",
        save_best_only=config.keep == "best",
        save_weights_only=True,
    )
    counting: list[keras.callbacks.Callback] = [best]
    if config.ema is not None:
        counting.insert(0, AveragedWeights(_sample(dataset.train, config)))
    if config.plateau is not None:
        plateau = config.plateau
        counting.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor="val_loss", factor=plateau.factor, patience=plateau.patience, min_lr=plateau.floor
            )
        )
    if config.patience is not None:
        counting.append(
            keras.callbacks.EarlyStopping(
                monitor="val_accuracy",
                mode="max",
                patience=config.patience,
                start_from_epoch=config.stages[-1].epoch,
            )
        )
    identity = {"config": config.as_json(), "dataset": digest, "backend": keras.backend.backend()}
    return [
        RoomLeft(directory),
        keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, _: batches.start_epoch(epoch)),
        TimeLeft(config.epochs),
        *counting,
        keras.callbacks.CSVLogger(directory / _LOG_FILE, append=True),
        TensorBoard(directory),
        Backup(directory / BACKUP_FILE, counting, identity, stage.epoch),
    ]


def _sample(split: Split, config: Config) -> list[NDArray[Any]]:
    """Examples that the statistics of batch normalization are taken from, the same in each epoch."""
    rows = np.random.default_rng(config.seed).permutation(len(split))[: _STATISTICS_BATCHES * config.batch_size]
    batch_size = max(config.batch_size, _STATISTICS_BATCH_SIZE)  # small batches cost most of an epoch of few examples
    return [split.examples[part] for part in np.array_split(rows, math.ceil(len(rows) / batch_size))]


def _optimizer(config: Config, stage: Stage, steps_an_epoch: int, epochs: int) -> keras.optimizers.Optimizer:
    peak = config.learning_rate * stage.rate
    rate: Any = peak
    if config.schedule == "cosine":
        warmup = round(config.warmup_epochs * steps_an_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=0.0 if warmup else peak,
            decay_steps=max(1, epochs * steps_an_epoch - warmup),
            warmup_target=peak if warmup else None,
            warmup_steps=warmup,
        )
    common: dict[str, Any] = {
        "weight_decay": config.weight_decay or None,
        "use_ema": config.ema is not None,
        "ema_momentum": config.ema or 0.99,
    }
    match config.optimizer:
        case "sgd":
            optimizer = keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, **common)
        case "adam":
            optimizer = keras.optimizers.Adam(rate, **common)
        case "adamw":
            optimizer = keras.optimizers.AdamW(rate, **common)
    if config.weight_decay:
        optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    if config.precision == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    return optimizer


def _class_weights(split: Split) -> NDArray[np.float32]:
    """Inverse frequencies, scaled so that the mean weight of a face is 1."""
    counts = np.bincount(split.labels)
    return (len(split) / (len(counts) * counts)).astype(np.float32)


def _save_result(result: Result, config: Config, dataset: Dataset, path: Path) -> None:
    record = {
        "network": config.network,
        "weights": result.weights.name,
        "config": config.as_json(),
        "dataset": {"name": dataset.name, "digest": dataset.digest},
        "backend": result.backend,
        "best_epoch": result.best_epoch,
        "validation_accuracy": result.validation_accuracy,
        "peak_memory_mb": result.peak_memory_mb,
        "temperature": result.temperature,
        "history": result.history,
    }
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def _peak_memory_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kibibytes on Linux
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)
