"""Leaves one speaker out after the other: how good a recipe is on unheard voices, and the network of all voices."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import keras
import numpy as np

from training import fit as fitting
from training import networks, preprocessing
from training.calibration import TemperatureFit
from training.classifier import open_onnx
from training.dataset import Dataset, Split, by_speaker
from training.draws import Draw
from training.errors import DatasetError, TrainingError
from training.evaluate import Evaluation, pooled, release_metrics
from training.evaluate import of_answers as evaluation_of
from training.metrics import classification_report
from training.run_record import MEASURED_FILE

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from training.classifier import Classifier
    from training.config import Config

ALL_VOICES = "all"
"""Folder of the network that is fitted to everybody."""

FEWEST_SPEAKERS = 3

_PREPROCESSING_FILE = "preprocessing.onnx"

SHOWN_EVERY = 8
"""Of the recordings that a network is fitted to, every eighth is what its figures by epoch are of."""


@dataclass(frozen=True)
class Fold:
    """A speaker who was left out, and the answers to their recordings.

    Attributes:
        speaker: who.
        split: their recordings, one row each.
        probabilities: (N, K), of the exported graphs.
        windows: (M, K), the answers to each window of them.
        digest: SHA-256 of the classifier's file.
    """

    speaker: str
    split: Split
    probabilities: NDArray[np.float32]
    windows: NDArray[np.float32]
    digest: str


def leave_one_speaker_out(
    config: Config, dataset: Dataset, folder: Path, tell: Callable[[str], None] = lambda _: None, seeds: int = 1
) -> Evaluation:
    """Fit the recipe once without each speaker, then once to all; measure it on who was left out.

    The held-out speaker decides nothing: the last epoch is kept, and what Keras shows of an epoch is of recordings
    it is fitted to. Answers are those of the exported ONNX graphs, a recording's the mean of its windows'.

    Args:
        config: the recipe; it must keep the last epoch.
        dataset: whose splits, if it has several, are put together first.
        folder: gets a run's folder for each speaker, and `ALL_VOICES`; what is finished there is not done again.
            Further seeds have folders of their own in it.
        tell: is told how far it is.
        seeds: how many times the speakers are left out: with the configuration's seed and those that follow it. Only
            the configuration's is fitted to all.

    Returns:
        The measurement on all recordings, each answered by the network that has not heard its speaker, with the
        temperature that the others' answers ask for; with several seeds also what each of them gave.

    Raises:
        DatasetError: there are too few speakers, or it is not known who speaks.
        TrainingError: the recipe keeps the best epoch, which the held-out speaker would choose.
    """
    everything = _together(dataset)
    speakers = sorted(set(everything.speakers))
    if len(speakers) < FEWEST_SPEAKERS:
        message = f"{dataset.name} names {len(speakers)} speakers; folds by speaker need {FEWEST_SPEAKERS} or more."
        raise DatasetError(message)
    if config.keep != "last" or config.patience is not None:
        message = f"The configuration of {config.network} chooses an epoch. Folds need keep='last' and no patience."
        raise TrainingError(message)
    folds = _leave_out(config, dataset, everything, folder, tell)
    tell("Nobody is left out.")
    final = _classifier(config, dataset, everything, folder / ALL_VOICES)
    evaluation = _evaluation(dataset, folds, final)
    metrics = release_metrics(evaluation.report, np.concatenate([fold.windows for fold in folds]))
    measured = {"metrics": metrics, "by": f"leaving out each of {len(speakers)} speakers in turn"}
    (folder / ALL_VOICES / MEASURED_FILE).write_text(json.dumps(measured, indent=2) + "\n", encoding="utf-8")
    if seeds == 1:
        return evaluation
    draws = [Draw.of(config.seed, evaluation.report)]
    for seed in range(config.seed + 1, config.seed + seeds):
        tell(f"Once more, with seed {seed}.")
        again = _leave_out(replace(config, seed=seed), dataset, everything, folder / f"seed-{seed}", tell)
        draws.append(Draw.of(seed, classification_report(*_answers(again), dataset.labels)))
    return replace(evaluation, draws=tuple(draws))


def _leave_out(
    config: Config, dataset: Dataset, everything: Split, folder: Path, tell: Callable[[str], None]
) -> list[Fold]:
    """One fold for each speaker."""
    speakers = sorted(set(everything.speakers))
    folds = []
    for number, speaker in enumerate(speakers, start=1):
        tell(f"Speaker {speaker} is left out ({number} of {len(speakers)}).")
        kept, held = by_speaker(everything, {speaker})
        classifier = _classifier(config, dataset, kept, folder / f"without-{speaker}")
        windows = classifier.predict(held.examples)
        split, probabilities = pooled(held, windows)
        folds.append(Fold(speaker, split, probabilities, windows, classifier.digest))
        right = float((probabilities.argmax(axis=1) == split.labels).mean())
        tell(f"Speaker {speaker}: {right:.3f} of {len(split)} recordings are named right.")
    return folds


def _answers(folds: list[Fold]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, K) probabilities of all recordings and their (N,) labels, fold after fold."""
    probabilities = np.concatenate([fold.probabilities for fold in folds])
    return probabilities, np.concatenate([fold.split.labels for fold in folds])


def _together(dataset: Dataset) -> Split:
    splits = list(dataset.splits.values())
    if not all(split.speakers for split in splits):
        message = (
            f"{dataset.name} does not say who speaks. Name the files as EmoDB, RAVDESS or CREMA-D do, put them in"
            " speaker/emotion/ folders, or list them in a CSV file with the columns path,label,speaker."
        )
        raise DatasetError(message)
    together = Split(
        np.concatenate([split.examples for split in splits]),
        np.concatenate([split.labels for split in splits]),
        tuple(name for split in splits for name in split.names),
        tuple(speaker for split in splits for speaker in split.speakers),
    )
    return together.take(np.argsort(together.names, kind="stable"))


def _classifier(config: Config, dataset: Dataset, fitted: Split, run: Path) -> Classifier:
    """The classifier that `run` holds or now gets, through the files that would serve it."""
    if not (run / fitting.RESULT_FILE).exists():
        keras.backend.clear_session()
        shown = fitted.take(np.arange(0, len(fitted), SHOWN_EVERY))
        fitting.fit(config, Dataset(dataset.name, dataset.labels, {"train": fitted, "validation": shown}), run)
    ensemble = networks.find(config.network).ensemble
    preprocess, classifier = (run / "served" / member.name / "1" / "model.onnx" for member in ensemble.members)
    if not classifier.exists():
        from training.export.onnx_format import save_onnx  # imports TensorFlow, which fitting can do without
        from training.export.release import candidate_of_run, probabilities_model

        for path in (preprocess, classifier):
            path.parent.mkdir(parents=True, exist_ok=True)
        shared = run.with_name(_PREPROCESSING_FILE)  # the same for all, and the longer of the two to export
        if not shared.exists():
            save_onnx(preprocessing.PREPROCESSING[ensemble.members[-1].input](), ensemble.members[0], shared)
        shutil.copyfile(shared, preprocess)
        save_onnx(probabilities_model(candidate_of_run(run)), ensemble.members[-1], classifier)
    return open_onnx(classifier, f"{config.network}, each speaker left out in turn")


def _evaluation(dataset: Dataset, folds: list[Fold], final: Classifier) -> Evaluation:
    answers, labels = _answers(folds)
    split = Split(
        np.zeros(0),
        labels,
        tuple(name for fold in folds for name in fold.split.names),
        tuple(speaker for fold in folds for speaker in fold.split.speakers),
    )
    digest = hashlib.sha256("".join(fold.digest for fold in folds).encode()).hexdigest()
    return replace(
        evaluation_of(answers, split, dataset, final, "held-out speakers"),
        sha256=digest,
        temperature=TemperatureFit.across([(fold.probabilities, fold.split.labels) for fold in folds]),
    )
