from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from prometheus_client import CollectorRegistry, generate_latest, start_http_server

from flows.errors import TrafficError
from flows.traffic.pages import Histogram, Samples, TrafficSettings, read_pages, read_traffic_settings
from mien import Result, SettingsError
from mien.metrics import TrafficMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator

FACES = {"label": "happy", "model": "emotion", "release": "1"}


class Service:
    """A process that counts its traffic."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._metrics = TrafficMetrics(self.registry)

    def see(self, label: str, faces: int, *, release: str = "1", confidence: float = 0.85) -> None:
        for _ in range(faces):
            self._metrics.count_result(Result(label, confidence, "emotion", release, 0.0, 0.004, "id"))

    @property
    def page(self) -> Samples:
        return Samples.parse(generate_latest(self.registry).decode())


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def url(service: Service) -> Iterator[str]:
    server, thread = start_http_server(0, "127.0.0.1", service.registry)
    yield f"http://127.0.0.1:{server.server_port}/metrics"
    server.shutdown()
    server.server_close()
    thread.join()


def test_pages_are_summed(service: Service) -> None:
    other = Service()
    service.see("happy", 3)
    service.see("sad", 1, release="2")
    other.see("happy", 2)
    both = Samples.sum_of([service.page, other.page])
    assert both.by("mien_predictions_total", "label", release="1") == {"happy": 5}
    assert both.total("mien_predictions_total") == 6
    assert both.total("mien_predictions_total", release="3") == 0


def test_a_histogram_is_counted_by_bucket(service: Service) -> None:
    service.see("happy", 3, confidence=0.25)
    service.see("happy", 1, confidence=0.95)
    histogram = service.page.histogram("mien_confidence", release="1")
    assert dict(zip(histogram.bounds, histogram.counts, strict=True)) == {
        0.2: 0, 0.3: 3, 0.4: 0, 0.5: 0, 0.6: 0, 0.7: 0, 0.8: 0, 0.9: 0, 1.0: 1, float("inf"): 0,
    }  # fmt: skip
    assert histogram.count == 4
    assert histogram.mean == pytest.approx(0.425)


@pytest.mark.parametrize(("share", "expected"), [(0.25, 0.5), (0.5, 1.0), (0.625, 3.0), (0.95, 4.0)])
def test_a_quantile_is_estimated_within_its_bucket(share: float, expected: float) -> None:
    histogram = Histogram((1.0, 2.0, 4.0, float("inf")), (4, 0, 2, 2), 12.0)
    assert histogram.quantile(share) == pytest.approx(expected)


def test_nothing_observed_has_no_quantile_and_no_mean() -> None:
    empty = Samples({}).histogram("mien_confidence")
    assert (empty.count, empty.mean, empty.quantile(0.5)) == (0, None, None)


def test_what_is_new_is_told_from_what_was_counted_before(service: Service) -> None:
    service.see("happy", 3)
    before = service.page
    service.see("happy", 2)
    service.see("sad", 1)
    assert service.page.since(before).by("mien_predictions_total", "label") == {"happy": 2, "sad": 1}


def test_after_a_restart_all_that_a_page_counts_is_new(service: Service) -> None:
    service.see("happy", 3)
    service.see("sad", 1)
    restarted = Service()
    restarted.see("happy", 1)
    restarted.see("sad", 5)
    assert restarted.page.since(service.page).by("mien_predictions_total", "label") == {"happy": 1, "sad": 5}


def test_pages_are_read_over_http_and_one_that_is_gone_is_named(service: Service, url: str) -> None:
    service.see("happy", 3)
    gone = "http://127.0.0.1:1/metrics"
    pages = read_pages(TrafficSettings(urls=(url, gone)))
    assert pages.total.values[("mien_predictions_total", tuple(sorted(FACES.items())))] == 3
    assert "refused" in pages.unread[gone]


@pytest.mark.parametrize(
    ("urls", "said"),
    [((), "set MIEN_TRAFFIC_URLS"), (("http://127.0.0.1:1/metrics",), r"None of MIEN_TRAFFIC_URLS.*refused")],
)
def test_without_any_page_it_is_said_why(urls: tuple[str, ...], said: str) -> None:
    with pytest.raises(TrafficError, match=said):
        read_pages(TrafficSettings(urls=urls))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_TRAFFIC_URLS", "http://a/metrics, http://b/metrics")
    assert read_traffic_settings().urls == ("http://a/metrics", "http://b/metrics")
    monkeypatch.setenv("MIEN_TRAFFIC_URLS", "file:///etc/passwd")
    with pytest.raises(SettingsError, match=r"MIEN_TRAFFIC_URLS is 'file:///etc/passwd'"):
        read_traffic_settings()
