from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from mien import Comparison, Miss, Result
from mien.metrics import TrafficMetrics

RESULT = Result("happy", 0.83, "emotion", "2", detect_s=0.02, infer_s=0.004, request_id="a")
COMPARISON = Comparison(
    "emotion", "1", "2", faces=5, agreed=4, largest_difference=0.3, release_s=0.004, candidate_s=0.005, request_id="a"
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> TrafficMetrics:
    return TrafficMetrics(registry)


def test_results_are_counted_by_model_label_and_release(metrics: TrafficMetrics, registry: CollectorRegistry) -> None:
    metrics.count_result(RESULT)
    metrics.count_result(RESULT)
    labels = {"model": "emotion", "label": "happy", "release": "2"}
    assert registry.get_sample_value("mien_predictions_total", labels) == 2
    buckets = {"model": "emotion", "release": "2"}
    assert registry.get_sample_value("mien_confidence_bucket", buckets | {"le": "0.8"}) == 0
    assert registry.get_sample_value("mien_confidence_bucket", buckets | {"le": "0.9"}) == 2
    assert registry.get_sample_value("mien_infer_seconds_sum", {"model": "emotion"}) == pytest.approx(0.008)
    assert registry.get_sample_value("mien_detect_seconds_count") == 2


def test_comparisons_are_counted_by_both_releases(metrics: TrafficMetrics, registry: CollectorRegistry) -> None:
    metrics.count_comparison(COMPARISON)
    pair = {"model": "emotion", "release": "1", "candidate": "2"}
    assert registry.get_sample_value("mien_shadow_calls_total", pair) == 1
    assert registry.get_sample_value("mien_shadow_faces_total", pair | {"agreed": "true"}) == 4
    assert registry.get_sample_value("mien_shadow_faces_total", pair | {"agreed": "false"}) == 1
    for role, seconds in (("release", 0.004), ("candidate", 0.005)):
        assert registry.get_sample_value("mien_shadow_seconds_sum", pair | {"role": role}) == seconds


def test_misses_are_counted_by_reason(metrics: TrafficMetrics, registry: CollectorRegistry) -> None:
    metrics.count_miss(Miss("speech_emotion", "dropped", "2"))
    labels = {"model": "speech_emotion", "candidate": "2", "reason": "dropped"}
    assert registry.get_sample_value("mien_candidate_misses_total", labels) == 1
