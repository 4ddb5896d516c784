"""Figures of served traffic, read from the Prometheus pages of whoever calls the server: services and the gateway.

`mien.metrics` counts them there. A page belongs to one process; what is asked here is the sum over all pages.
"""

from __future__ import annotations

import http.client
import urllib.request
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

from prometheus_client.parser import text_string_to_metric_families
from pydantic import Field, StringConstraints, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from flows.errors import TrafficError
from mien.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PREFIX = "mien_"
MAX_PAGE_BYTES = 16 * 2**20

Series = tuple[str, tuple[tuple[str, str], ...]]
Url = Annotated[str, StringConstraints(pattern=r"^https?://")]


class TrafficSettings(BaseSettings):
    """Where the figures are.

    Attributes:
        urls: Prometheus pages, separated by commas in ``MIEN_TRAFFIC_URLS``; one for each process, not a balanced name.
        timeout_s: for each page, ``MIEN_TRAFFIC_TIMEOUT_S``.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_TRAFFIC_", extra="ignore", frozen=True, env_ignore_empty=True)

    urls: Annotated[tuple[Url, ...], NoDecode] = ()
    timeout_s: float = Field(default=5.0, gt=0)

    @field_validator("urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def read_traffic_settings() -> TrafficSettings:
    """The settings from the environment.

    Raises:
        SettingsError: a value does not make sense; the text names the variable and the value.
    """
    try:
        return TrafficSettings()
    except ValidationError as error:
        problems = [f"MIEN_TRAFFIC_{str(p['loc'][0]).upper()} is {p['input']!r}: {p['msg']}." for p in error.errors()]
        raise SettingsError(" ".join(problems)) from error


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations in buckets.

    Attributes:
        bounds: upper bound of each bucket; the last one is infinite.
        counts: observations in each.
        total: sum of all observations.
    """

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    total: float

    @property
    def count(self) -> float:
        """How many observations there are."""
        return sum(self.counts)

    @property
    def mean(self) -> float | None:
        """Their mean; None without any."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """An estimate of a quantile, as Prometheus's ``histogram_quantile`` makes it; None without observations.

        Observations are taken to be spread evenly within their bucket; above the last finite bound it is that bound.
        """
        if not self.count:
            return None
        rank, below, lower = share * self.count, 0.0, 0.0
        for bound, count in zip(self.bounds[:-1], self.counts[:-1], strict=True):
            if count and below + count >= rank:
                return lower + (bound - lower) * (rank - below) / count
            below, lower = below + count, bound
        return lower


@dataclass(frozen=True, slots=True)
class Samples:
    """Cumulative counts by series: a metric's name and its labels."""

    values: Mapping[Series, float]

    @classmethod
    def parse(cls, page: str) -> Samples:
        """The counters and histograms of Mien in a Prometheus text page.

        Raises:
            ValueError: it is no such page.
        """
        return cls(
            {
                (sample.name, tuple(sorted(sample.labels.items()))): float(sample.value)
                for family in text_string_to_metric_families(page)
                if family.name.startswith(PREFIX) and family.type in {"counter", "histogram"}
                for sample in family.samples
            }
        )

    @classmethod
    def sum_of(cls, many: Iterable[Samples]) -> Samples:
        """All of them together."""
        total: defaultdict[Series, float] = defaultdict(float)
        for samples in many:
            for series, value in samples.values.items():
                total[series] += value
        return cls(total)

    def since(self, before: Samples) -> Samples:
        """What was counted since `before`, of the same page.

        If any value has fallen, or is there no more, the process began anew, and all of it is new.
        """
        if any(self.values.get(series, 0.0) < value for series, value in before.values.items()):
            return self
        return Samples({series: value - before.values.get(series, 0.0) for series, value in self.values.items()})

    def total(self, name: str, **labels: str) -> float:
        """Sum of the series of that name which have these labels."""
        return sum(self.by(name, None, **labels).values())

    def by(self, name: str, label: str | None, **labels: str) -> dict[str, float]:
        """The same sum, for each value of `label`."""
        sums: defaultdict[str, float] = defaultdict(float)
        for (found, pairs), value in self.values.items():
            own = dict(pairs)
            if found == name and labels.items() <= own.items():
                sums[own.get(label, "") if label else ""] += value
        return dict(sums)

    def histogram(self, name: str, **labels: str) -> Histogram:
        """The histogram of that name over all series which have these labels."""
        cumulative = sorted((float(bound), count) for bound, count in self.by(f"{name}_bucket", "le", **labels).items())
        bounds = tuple(bound for bound, _ in cumulative)
        counts = tuple(after - before for (_, before), (_, after) in pairwise([(0.0, 0.0), *cumulative]))
        return Histogram(bounds, counts, self.total(f"{name}_sum", **labels))


@dataclass(frozen=True, slots=True)
class Pages:
    """What was read.

    Attributes:
        samples: of each page that could be read, by its address.
        unread: why each of the others could not.
    """

    samples: dict[str, Samples]
    unread: dict[str, str]

    @property
    def total(self) -> Samples:
        """The sum over all pages."""
        return Samples.sum_of(self.samples.values())


def read_pages(settings: TrafficSettings) -> Pages:
    """Read all pages; one that cannot be read is left out and named.

    Raises:
        TrafficError: there is none, or none can be read.
    """
    if not settings.urls:
        raise TrafficError(
            "No traffic is known: set MIEN_TRAFFIC_URLS to the Prometheus pages of the services that call the server,"
            " separated by commas, such as http://127.0.0.1:8080/metrics for the gateway."
        )
    pages = Pages({}, {})
    for url in settings.urls:
        try:
            pages.samples[url] = Samples.parse(_fetch(url, settings.timeout_s))
        except (OSError, http.client.HTTPException, ValueError) as error:
            pages.unread[url] = str(error) or type(error).__name__
    if not pages.samples:
        reasons = "; ".join(f"{url}: {reason}" for url, reason in pages.unread.items())
        raise TrafficError(f"None of MIEN_TRAFFIC_URLS can be read: {reasons}. Check that the services run.")
    return pages


def _fetch(url: str, timeout_s: float) -> str:
    with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - the settings allow http and https only
        content: bytes = response.read(MAX_PAGE_BYTES + 1)
    if len(content) > MAX_PAGE_BYTES:
        raise ValueError(f"the page is larger than {MAX_PAGE_BYTES} bytes")
    return content.decode()
