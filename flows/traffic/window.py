"""The traffic since the last finding: kept on the disk, for a page tells only what its process has counted so far."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, Field, ValidationError

from flows.errors import TrafficError
from flows.traffic.pages import Samples
from flows.traffic.stability import Finding, compare
from mien.contract import CONFIDENCE_BOUNDS, ensemble_named
from serving.advice import release_name
from serving.configuration import write_durably
from training.answer_profile import AnswerProfile

if TYPE_CHECKING:
    from pathlib import Path

    from flows.traffic.pages import Pages
    from flows.traffic.stability import DriftSettings
    from mien.contract import EnsembleSpec

Rows = list[tuple[str, dict[str, str], float]]


class TrafficWindow(BaseModel):
    """What is known of the traffic of an ensemble between two looks.

    Attributes:
        schema_version: version of this format, ``schema`` in the file.
        ensemble: whose releases are looked at.
        pages: what each page had counted at the last look, by its address.
        unjudged: what has been counted since the last finding, over all pages.
        references: release → how it answered at first, where that is what its traffic is held against.
        reported: release → when its drift was last reported.
    """

    schema_version: Literal[1] = Field(default=1, alias="schema")
    ensemble: str
    pages: dict[str, Rows] = {}
    unjudged: Rows = []
    references: dict[int, AnswerProfile] = {}
    reported: dict[int, datetime] = {}

    @classmethod
    def load(cls, state: Path, ensemble: EnsembleSpec) -> TrafficWindow:
        """The one that was saved in the state folder; an empty one if none was.

        Raises:
            TrafficError: the file is damaged.
        """
        path = _path(state, ensemble.name)
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return cls(ensemble=ensemble.name)
        except ValidationError as error:
            raise TrafficError(f"{path} is damaged. Delete it: the next look at the traffic begins anew.") from error

    def save(self, state: Path) -> None:
        """Write it to the state folder: whole or not at all.

        Raises:
            RepositoryError: it cannot be written.
        """
        write_durably(_path(state, self.ensemble), self.model_dump_json(by_alias=True).encode())

    def look(
        self,
        pages: Pages,
        release: int,
        own: AnswerProfile | None,
        settings: DriftSettings,
        now: datetime | None = None,
    ) -> tuple[Finding, TrafficWindow]:
        """Take in what the pages count now, and hold it against the reference if it is enough.

        Args:
            pages: as read now; of those that could not be read the last look stays.
            release: the release that is served.
            own: how it answered its validation examples; None if its manifest does not tell.
            settings: limits.
            now: the time; by default this moment.

        Returns:
            the finding, and the window to save once it has been told.
        """
        now = now or datetime.now(UTC)
        fresh = [samples.since(_samples(self.pages.get(url, []))) for url, samples in pages.samples.items()]
        unjudged = Samples.sum_of([_samples(self.unjudged), *fresh])
        window = self.model_copy(
            update={
                "pages": self.pages | {url: _rows(samples) for url, samples in pages.samples.items()},
                "unjudged": _rows(unjudged),
            }
        )
        observed = profile_of(unjudged, ensemble_named(self.ensemble), release)
        finding = replace(self._find(observed, release, own, settings, now), unread=pages.unread)
        update: dict[str, object] = {}
        if finding.status != "waiting":
            update["unjudged"] = []
        if finding.status == "reference":
            update["references"] = self.references | {release: finding.observed}
        if finding.is_news:
            update["reported"] = self.reported | {release: now}
        return finding, window.model_copy(update=update)

    def _find(
        self,
        observed: AnswerProfile | None,
        release: int,
        own: AnswerProfile | None,
        settings: DriftSettings,
        now: datetime,
    ) -> Finding:
        ensemble = ensemble_named(self.ensemble)
        name, items = release_name(release, ensemble), ensemble.items
        seen = observed.faces if observed else 0
        if observed is None or seen < settings.min_faces:
            sentence = f"{name}: {seen} {items} served since the last finding; {settings.min_faces} are needed."
            return Finding(ensemble.name, release, "waiting", sentence, observed=observed)
        if own is not None and settings.reference == "release":
            expected, reference = own, f"its {own.faces} validation {items}"
        elif release in self.references:
            expected = self.references[release]
            reference = f"the first {expected.faces} {items} that it served"
        else:
            why = "its manifest does not tell how it answers" if own is None else "the settings say so"
            sentence = f"{name}: {seen} {items} served are what later ones are held against, for {why}."
            return Finding(ensemble.name, release, "reference", sentence, observed=observed)
        finding = compare(ensemble, release, expected, reference, observed, settings)
        told = self.reported.get(release)
        is_due = told is None or now - told >= timedelta(hours=settings.repeat_hours)
        return replace(finding, is_news=finding.status == "drifted" and is_due)


def profile_of(samples: Samples, ensemble: EnsembleSpec, release: int) -> AnswerProfile | None:
    """How a release answered what was counted, as what everybody calls or as a candidate before; None without any."""
    labels = dict.fromkeys(ensemble.labels, 0.0)
    buckets, total = [0.0] * len(CONFIDENCE_BOUNDS), 0.0
    for model in (ensemble.name, ensemble.candidate.name):
        served = {"model": model, "release": str(release)}
        for label, count in samples.by("mien_predictions_total", "label", **served).items():
            labels[label] = labels.get(label, 0.0) + count
        histogram = samples.histogram("mien_confidence", **served)
        for bound, count in zip(histogram.bounds, histogram.counts, strict=True):
            # Rounding can give a confidence above 1, and other bounds come from another version of the SDK.
            buckets[min(bisect_left(CONFIDENCE_BOUNDS, bound), len(buckets) - 1)] += count
        total += histogram.total
    answers = sum(labels.values())
    if not answers or not sum(buckets):
        return None
    return AnswerProfile(
        faces=round(answers),
        labels={label: count / answers for label, count in labels.items()},
        confidence=tuple(count / sum(buckets) for count in buckets),
        mean_confidence=total / sum(buckets),
    )


def _path(state: Path, ensemble: str) -> Path:
    return state / f"drift-{ensemble}.json"


def _rows(samples: Samples) -> Rows:
    return [(name, dict(labels), value) for (name, labels), value in samples.values.items()]


def _samples(rows: Rows) -> Samples:
    return Samples({(name, tuple(sorted(labels.items()))): value for name, labels, value in rows})
