"""Rules and alerts, on what a real Triton and gateway counted, well, overloaded and broken, and on made-up series."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.recordings.record import FILE
from tests.unit.k8s.observability.conftest import RULES

if TYPE_CHECKING:
    from tests.unit.k8s.observability.conftest import Promtool

RECORDING = yaml.safe_load(FILE.read_text())
EVERY = f"{RECORDING['interval_s']}s"
WELL, OVERLOADED, BROKEN = RECORDING["phases_s"].values()
RECORDED = {one["series"]: one["values"] for one in RECORDING["input_series"]}
QUEUE = "mien:queue_seconds:rate2m"

ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule
    for group in yaml.safe_load(RULES.read_text())["spec"]["groups"]
    for rule in group["rules"]
    if "alert" in rule
}
UP = {'up{job="triton"}': "1x300", 'up{job="gateway"}': "1x300", 'up{job="flow-metrics"}': "1x300"}


def after(seconds: float) -> str:
    """A time in the recording, two looks before a phase ends."""
    return f"{seconds - 2 * RECORDING['interval_s']:g}s"


def test_every_rule_parses(promtool: Promtool) -> None:
    promtool.check_rules()


@pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS)
def test_every_alert_has_a_runbook(alert: dict[str, Any]) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    section = alert["annotations"]["runbook_url"].rpartition("#")[2]
    assert section == alert["alert"].lower()
    text = re.search(rf"^#+ {alert['alert']}\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert text, f"docs/operations.md says nothing of {alert['alert']}"
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_every_runbook_is_of_an_alert() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"^#+ (Mien\w+)$", page, re.MULTILINE)) == ALERTS.keys()


def test_nothing_fires_while_all_is_well(promtool: Promtool) -> None:
    promtool.assert_firing(RECORDED | UP, {after(WELL): set(), after(WELL + OVERLOADED): set()}, EVERY)


def test_a_dead_stub_fires_within_a_minute_and_a_half(promtool: Promtool) -> None:
    # The budget of faults waits two minutes by itself; the one that names the model is what somebody sees first.
    promtool.assert_firing(RECORDED | UP, {after(WELL + OVERLOADED + BROKEN): {"MienModelFails"}}, EVERY)


@pytest.mark.parametrize(("phase", "least", "most"), [("well", 0, 0.005), ("overloaded", 0.02, 5)])
def test_the_autoscaler_sees_how_long_requests_wait(promtool: Promtool, phase: str, least: float, most: float) -> None:
    at = after({"well": WELL, "overloaded": WELL + OVERLOADED}[phase])
    within = f"{least} <= bool {QUEUE} <= bool {most}"  # chained: 1 within, 0 without
    query = f"count({QUEUE} >= {least} and {QUEUE} <= {most})"
    assert within
    promtool.test_rules(RECORDED, {(query, at): [{"labels": "{}", "value": 1}]}, EVERY)


def triton(calls: str, wait_us: str, model: str = "emotion_classifier") -> dict[str, str]:
    """Requests and their waiting time, of one pod."""
    labels = f'{{namespace="mien",model="{model}",version="1",pod="a"}}'
    return {f"nv_inference_request_success{labels}": calls, f"nv_inference_queue_duration_us{labels}": wait_us}


def test_the_queue_is_empty_without_requests_and_unknown_without_metrics(promtool: Promtool) -> None:
    waits = {(QUEUE, "10m"): [{"labels": f'{QUEUE}{{namespace="mien"}}', "value": 0}]}
    promtool.test_rules(triton("100x20", "5000x20"), waits, "1m")
    promtool.test_rules(UP, {(QUEUE, "10m"): []}, "1m")


def test_the_queue_is_the_mean_over_all_requests_of_every_classifier(promtool: Promtool) -> None:
    # 60 requests a minute that wait 10 ms, and 180 that wait 50 ms: a mean of 40 ms.
    series = triton("0+60x20", "0+600000x20") | triton("0+180x20", "0+9000000x20", "emotion_classifier_rgb96")
    series |= triton("0+1000x20", "0+900000000x20", "emotion_preprocess")
    waits = {(QUEUE, "10m"): [{"labels": f'{QUEUE}{{namespace="mien"}}', "value": 0.04}]}
    promtool.test_rules(series, waits, "1m")


def test_a_long_queue_is_a_ticket_after_ten_minutes(promtool: Promtool) -> None:
    series = triton("0+60x60", "0+6000000x60") | UP
    promtool.assert_firing(series, {"8m": set(), "15m": {"MienQueueLong"}})


def pictures(faults: str, late: str = "0x5000") -> dict[str, str]:
    """A hundred pictures a minute that are well, and others."""
    labels = 'namespace="mien",method="POST",route="/detect"'
    return UP | {
        f'mien_gateway_requests_total{{{labels},status="200"}}': "0+100x5000",
        f'mien_gateway_requests_total{{{labels},status="503"}}': faults,
        f'mien_gateway_requests_total{{{labels},status="429"}}': "0+50x5000",
        f'mien_gateway_request_seconds_bucket{{{labels},le="0.5"}}': "0+100x5000",
        f'mien_gateway_request_seconds_bucket{{{labels},le="+Inf"}}': f"{late}",
        f"mien_gateway_request_seconds_count{{{labels}}}": late,
    }
