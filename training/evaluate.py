"""How good a model is on one split: metrics, calibration, robustness, cost, and the mistakes it is surest of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from training.answer_profile import AnswerProfile
from training.calibration import TemperatureFit
from training.classifier import open_onnx
from training.draws import Spread, spreads
from training.errors import DatasetError
from training.export.manifest import environment
from training.footprint import machine, measure_footprint
from training.metrics import classification_report
from training.robustness import CORRUPTIONS, measure_robustness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.classifier import Classifier
    from training.dataset import Dataset, Split
    from training.draws import Draw
    from training.footprint import Footprint
    from training.metrics import ClassificationReport
    from training.robustness import Corruption, RobustnessPoint

MISTAKES = 24
"""How many of the worst mistakes are kept: a grid of three rows."""


@dataclass(frozen=True)
class Mistake:
    """A wrong answer: which face, what it is labelled, what it was taken for and how surely (0..1)."""

    row: int
    name: str
    label: str
    predicted: str
    confidence: float


@dataclass(frozen=True)
class SpeakerMetrics:
    """One speaker: how many recordings, what share of them is named right, and the mean recall over the emotions."""

    speaker: str
    examples: int
    accuracy: float
    macro_recall: float


@dataclass(frozen=True)
class Evaluation:
    """Everything measured about one model on one split, and what is needed to measure it again.

    Attributes:
        model: the classifier's name.
        kind: ``ONNX`` or ``Keras weights``.
        sha256: digest of its file.
        dataset: the dataset's name.
        digest: the dataset's digest, over all splits.
        split: ``validation``, ``test`` or ``train``.
        report: metrics of one view of each face, without test-time augmentation.
        temperature: a temperature fitted on other examples, if any were given.
        robustness: accuracy on spoiled faces, if asked for.
        footprint: size and speed; None for Keras weights, which are not what is served.
        mistakes: the wrong answers given most surely.
        speakers: the same figures for each speaker alone, where speakers are known.
        environment: code revision, Python and package versions.
        machine: what it ran on.
        created_at: when, in UTC.
        draws: where the recipe was fitted with several seeds, what each gave; the first is what all else is of.
    """

    model: str
    kind: str
    sha256: str
    dataset: str
    digest: str
    split: str
    report: ClassificationReport
    temperature: TemperatureFit | None
    robustness: tuple[RobustnessPoint, ...]
    footprint: Footprint | None
    mistakes: tuple[Mistake, ...]
    environment: dict[str, Any]
    machine: str
    created_at: str
    speakers: tuple[SpeakerMetrics, ...] = ()
    draws: tuple[Draw, ...] = ()

    @property
    def spreads(self) -> dict[str, Spread]:
        """Mean and spread of each figure over the seeds; empty where there was one seed."""
        return spreads(self.draws) if self.draws else {}

    @property
    def noun(self) -> str:
        """What the examples are called."""
        return "recordings" if self.speakers else "faces"

    def as_json(self) -> dict[str, Any]:
        """The evaluation as JSON values; `temperature` also says whether to use it, `spreads` sums up the draws."""
        values = {**asdict(self), "spreads": {figure: asdict(spread) for figure, spread in self.spreads.items()}}
        if self.temperature:
            values["temperature"]["verdict"] = self.temperature.verdict
        return values


def evaluate(
    classifier: Classifier,
    dataset: Dataset,
    split_name: str = "validation",
    *,
    held_out: Split | None = None,
    corruptions: Sequence[Corruption] = CORRUPTIONS,
    seconds: float = 2.0,
    seed: int = 0,
) -> Evaluation:
    """Measure `classifier` on one split of `dataset`.

    Args:
        classifier: what to measure.
        dataset: where the faces are.
        split_name: which split; ``test`` is for the one measurement at the end.
        held_out: training faces that the network was not fitted to, for a temperature.
        corruptions: what to spoil the faces with; none skips it.
        seconds: length of each measurement of speed.
        seed: of the robustness measurement.

    Raises:
        DatasetError: the dataset has no such split.
        TrainingError: the classifier's answers are no probabilities of the dataset's labels.
    """
    windows = take_split(dataset, split_name)
    split, probabilities = pooled(windows, classifier.predict(windows.examples))
    temperature = None
    if held_out is not None:
        others, answers = pooled(held_out, classifier.predict(held_out.examples, "Held-out examples"))
        temperature = TemperatureFit.of((answers, others.labels), (probabilities, split.labels))
    return replace(
        of_answers(probabilities, split, dataset, classifier, split_name, seconds),
        temperature=temperature,
        robustness=measure_robustness(classifier, windows, corruptions, seed),
    )


def of_answers(
    probabilities: NDArray[np.float32],
    split: Split,
    dataset: Dataset,
    classifier: Classifier,
    split_name: str,
    seconds: float = 2.0,
) -> Evaluation:
    """The evaluation of answers that are there already, without temperature and robustness.

    Args:
        probabilities: (N, K), the answers to `split`.
        split: N examples.
        dataset: what they are part of.
        classifier: what gave the answers; its file is timed.
        split_name: what to call the split.
        seconds: length of each measurement of speed.
    """
    return Evaluation(
        model=classifier.name,
        kind=classifier.kind,
        sha256=classifier.digest,
        dataset=dataset.name,
        digest=dataset.digest,
        split=split_name,
        report=classification_report(probabilities, split.labels, dataset.labels),
        temperature=None,
        robustness=(),
        footprint=measure_footprint(classifier, seconds) if classifier.kind == "ONNX" else None,
        mistakes=_worst_mistakes(probabilities, split, dataset.labels),
        environment=environment(),
        machine=machine(),
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        speakers=by_speaker(probabilities, split, dataset.labels),
    )


def pooled(split: Split, probabilities: NDArray[np.float32]) -> tuple[Split, NDArray[np.float32]]:
    """One row for each recording, with the mean of its windows' answers; faces are one row each already.

    Args:
        split: N rows.
        probabilities: (N, K), the answers to them.
    """
    if len(set(split.names)) == len(split):
        return split, probabilities
    _, first, recording = np.unique(split.names, return_index=True, return_inverse=True)
    sums = np.zeros((len(first), probabilities.shape[1]), np.float64)
    np.add.at(sums, recording, probabilities)
    means = sums / np.bincount(recording)[:, None]
    return split.take(first), means.astype(np.float32)


def by_speaker(probabilities: NDArray[np.float32], split: Split, labels: Sequence[str]) -> tuple[SpeakerMetrics, ...]:
    """Figures of each speaker alone, in the order of their names; none where speakers are not known."""
    speakers = np.asarray(split.speakers)
    found = []
    for speaker in sorted(set(split.speakers)):
        rows = np.flatnonzero(speakers == speaker)
        report = classification_report(probabilities[rows], split.labels[rows], labels)
        found.append(SpeakerMetrics(speaker, len(rows), report.accuracy, report.macro_recall))
    return tuple(found)


def onnx_metrics(path: Path, split: Split) -> dict[str, Any]:
    """What a release's manifest says of a classifier's ONNX file: its figures on `split`, one view of each example."""
    classifier = open_onnx(path)
    answers = classifier.predict(split.examples)
    split, probabilities = pooled(split, answers)
    return release_metrics(classification_report(probabilities, split.labels, classifier.ensemble.labels), answers)


def release_metrics(report: ClassificationReport, probabilities: NDArray[np.float32]) -> dict[str, Any]:
    """Figures as a release's manifest holds them.

    Args:
        report: of the answers; of speech, by recordings.
        probabilities: (N, K), the answers themselves; of speech, to windows, for that is what a server is asked.
    """
    return {
        "validation_accuracy": round(report.accuracy, 4),
        "validation_macro_f1": round(report.macro_f1, 4),
        "validation_macro_recall": round(report.macro_recall, 4),
        "validation_ece": round(report.ece, 4),
        **AnswerProfile.of_answers(probabilities, report.labels).as_metrics(),
    }


def of_any_temperature(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a manifest's figures that a temperature leaves as they are: it changes no winner, but how sure it is."""
    return {name: value for name, value in metrics.items() if "ece" not in name and "confidence" not in name}


def take_split(dataset: Dataset, name: str) -> Split:
    """The split `name` of `dataset`.

    Raises:
        DatasetError: it has none of that name.
    """
    if name not in dataset.splits:
        message = f"{dataset.name} has no split '{name}'. It has: {', '.join(dataset.splits)}."
        raise DatasetError(message)
    return dataset.splits[name]


def _worst_mistakes(probabilities: NDArray[np.float32], split: Split, labels: Sequence[str]) -> tuple[Mistake, ...]:
    predicted = probabilities.argmax(axis=1)
    confidence = probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != split.labels)
    surest = wrong[np.argsort(-confidence[wrong], kind="stable")][:MISTAKES]
    return tuple(
        Mistake(
            int(row),
            split.names[row],
            labels[split.labels[row]],
            labels[predicted[row]],
            float(confidence[row]),
        )
        for row in surest
    )
