"""Has served traffic moved away from what a release was measured on? The population stability index, and a finding.

The index of two distributions p and q over the same classes is the sum of (p - q) ln(p / q). The usual reading: below
0.1 nothing has changed, from 0.1 to 0.2 something has a little, above 0.2 (some say 0.25) it has (N. Siddiqi, "Credit
Risk Scorecards", 2006; B. Yurdakul, "Statistical Properties of Population Stability Index", 2018). Without any change
it is about (classes - 1) (1/n + 1/m) for n and m answers, so few alone can look like drift: hence `min_faces`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from mien.contract import ensemble_named
from mien.errors import SettingsError
from serving.advice import release_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from training.answer_profile import AnswerProfile

Status = Literal["waiting", "reference", "stable", "drifted"]


class DriftSettings(BaseSettings):
    """When traffic counts as drifted; each comes from ``MIEN_DRIFT_<NAME>`` in the environment.

    Attributes:
        min_faces: faces, or windows of speech, that must have been served since the last finding before there is
            another.
        max_label_psi: largest index of the labels.
        max_confidence_psi: largest index of the confidences.
        reference: ``release`` holds traffic against the release's validation faces (or speech), where its manifest
            tells of them; ``traffic`` against the first `min_faces` that it served. Take that where yours are known to
            be others than the dataset's: it tells of changes alone.
        repeat_hours: for so long a drift that has been reported is not reported again for the same release.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_DRIFT_", extra="ignore", frozen=True, env_ignore_empty=True)

    min_faces: int = Field(default=500, ge=1)
    max_label_psi: float = Field(default=0.2, gt=0)
    max_confidence_psi: float = Field(default=0.2, gt=0)
    reference: Literal["release", "traffic"] = "release"
    repeat_hours: float = Field(default=24.0, ge=0)


def read_drift_settings() -> DriftSettings:
    """The settings from the environment.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return DriftSettings()
    except ValidationError as error:
        problems = [f"MIEN_DRIFT_{str(p['loc'][0]).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()]
        raise SettingsError(" ".join(problems)) from error


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look at the traffic has found.

    Attributes:
        ensemble: what was looked at.
        release: the release of it that is served.
        status: ``waiting`` for enough faces, taken as the ``reference``, ``stable`` or ``drifted``.
        sentence: the finding and its reasons.
        reference: what the traffic was held against; empty if it was not.
        expected: how the release answered then.
        observed: how it has answered since the last finding; None before its first answer.
        label_psi: index of the labels; None if nothing was compared.
        confidence_psi: index of the confidences.
        is_news: whether it is a drift that has not been reported lately.
        unread: pages that could not be read, and why; their traffic is looked at later.
    """

    ensemble: str
    release: int
    status: Status
    sentence: str
    reference: str = ""
    expected: AnswerProfile | None = None
    observed: AnswerProfile | None = None
    label_psi: float | None = None
    confidence_psi: float | None = None
    is_news: bool = False
    unread: dict[str, str] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The finding as JSON values."""
        return asdict(self)

    def as_markdown(self) -> str:
        """The finding for a page of Prefect's, with how the release answered then and now where that was compared."""
        if self.expected is None or self.observed is None:
            return f"{self.sentence}\n"
        items = ensemble_named(self.ensemble).items
        rows = "".join(
            f"| {label} | {share:.1%} | {self.observed.labels.get(label, 0.0):.1%} |\n"
            for label, share in self.expected.labels.items()
        )
        return (
            f"{self.sentence}\n\n"
            f"| | reference: {self.expected.faces} {items} | traffic: {self.observed.faces} {items} |\n"
            f"| --- | --- | --- |\n{rows}"
            f"| mean confidence | {self.expected.mean_confidence:.3f} | {self.observed.mean_confidence:.3f} |\n"
        )


def stability_index(expected: Sequence[float], observed: Sequence[float]) -> float:
    """The population stability index of two distributions.

    Args:
        expected: answers of each class in the reference.
        observed: answers of each class in the traffic, in the same order.

    Half an answer is added to every class, so that one without any has an index too, and less of it the fewer
    there are.
    """
    p, q = _shares(observed), _shares(expected)
    return float(np.sum((p - q) * np.log(p / q)))


def compare(
    ensemble: EnsembleSpec,
    release: int,
    expected: AnswerProfile,
    reference: str,
    observed: AnswerProfile,
    settings: DriftSettings,
) -> Finding:
    """Hold the answers to the traffic against those to the reference."""
    labels = stability_index(_counts(expected, "labels"), _counts(observed, "labels"))
    confidence = stability_index(_counts(expected, "confidence"), _counts(observed, "confidence"))
    drifted = labels > settings.max_label_psi or confidence > settings.max_confidence_psi
    sentence = (
        f"{release_name(release, ensemble)}: {observed.faces} {ensemble.items} served have"
        f" {'drifted' if drifted else 'not drifted'} from {reference}."
        f" Stability index of the labels {labels:.3f} ({settings.max_label_psi:g} is allowed), of the"
        f" confidences {confidence:.3f} ({settings.max_confidence_psi:g}); mean confidence"
        f" {observed.mean_confidence:.3f} against {expected.mean_confidence:.3f}."
    )
    return Finding(
        ensemble=ensemble.name,
        release=release,
        status="drifted" if drifted else "stable",
        sentence=sentence,
        reference=reference,
        expected=expected,
        observed=observed,
        label_psi=labels,
        confidence_psi=confidence,
    )


def _counts(profile: AnswerProfile, part: Literal["labels", "confidence"]) -> list[float]:
    shares = profile.labels.values() if part == "labels" else profile.confidence
    return [share * profile.faces for share in shares]


def _shares(counts: Sequence[float]) -> NDArray[np.float64]:
    smoothed = np.asarray(counts, np.float64) + 0.5
    return np.asarray(smoothed / smoothed.sum())
