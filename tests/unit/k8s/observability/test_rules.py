"""Rules and alerts, on what a real Triton and gateway counted, well, overloaded and broken, and on made-up series."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.prometheus import rules
from tests.recordings.record import FILE

if TYPE_CHECKING:
    from tests.unit.k8s.observability.conftest import Promtool

RECORDING = yaml.safe_load(FILE.read_text())
EVERY = f"{RECORDING['interval_s']}s"
WELL, OVERLOADED, BROKEN = RECORDING["phases_s"].values()
RECORDED = {one["series"]: one["values"] for one in RECORDING["input_series"]}
QUEUE = "mien:queue_seconds:rate2m"

ALERTS: dict[str, dict[str, Any]] = {
    rule["alert"]: rule for group in rules()["groups"] for rule in group["rules"] if "alert" in rule
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
    section = alert["annotations"]["runbook"].rpartition("#")[2]
    assert section == alert["alert"].lower()
    text = re.search(rf"^#+ {alert['alert']}\n(.+?)(?=^#|\Z)", page, re.MULTILINE | re.DOTALL)
    assert text, f"docs/operations.md says nothing of {alert['alert']}"
    assert alert["labels"]["severity"] in {"page", "ticket"}


def test_every_runbook_is_of_an_alert() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"^#+ (Mien\w+)$", page, re.MULTILINE)) == ALERTS.keys()


def test_nothing_fires_while_all_is_well(promtool: Promtool) -> None:
    promtool.assert_firing(RECORDED | UP, {after(WELL): set(), after(WELL + OVERLOADED): set()}, EVERY)


def test_a_dead_stub_is_named_within_two_minutes(promtool: Promtool) -> None:
    # Pictures were late, too, since the overload.
    fired = {"MienModelFails", "MienFaultsBurnFast", "MienLateBurnFast"}
    promtool.assert_firing(RECORDED | UP, {after(WELL + OVERLOADED + BROKEN): fired}, EVERY)
    query = 'ALERTS{alertname="MienModelFails", alertstate="firing"}'
    labels = 'ALERTS{alertname="MienModelFails",alertstate="firing",model="emotion_classifier",severity="page"}'
    promtool.test_rules(
        RECORDED | UP, {(query, after(WELL + OVERLOADED + BROKEN)): [{"labels": labels, "value": 1}]}, EVERY
    )


@pytest.mark.parametrize(("seconds", "least", "most"), [(WELL, 0, 0.005), (WELL + OVERLOADED, 0.02, 5)])
def test_the_autoscaler_sees_how_long_requests_wait(
    promtool: Promtool, seconds: float, least: float, most: float
) -> None:
    query = f"count({QUEUE} >= {least} and {QUEUE} <= {most})"
    promtool.test_rules(RECORDED, {(query, after(seconds)): [{"labels": "{}", "value": 1}]}, EVERY)


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


def pictures(well: str, faults: str, every: str = "0x5000", refused: str = "0x5000") -> dict[str, str]:
    """Pictures by what became of them, counted at regular times; each phase of a count begins where the last ended."""
    labels = 'namespace="mien",method="POST",route="/v1/detect"'
    return UP | {
        f'mien_gateway_requests_total{{{labels},status="200"}}': well,
        f'mien_gateway_requests_total{{{labels},status="503"}}': faults,
        f'mien_gateway_requests_total{{{labels},status="429"}}': refused,
        f'mien_gateway_request_seconds_bucket{{{labels},le="0.5"}}': well,
        f"mien_gateway_request_seconds_count{{{labels}}}": every,
    }


@pytest.mark.parametrize(
    ("a_minute", "fired"),
    [
        # Of 150 pictures a minute, of which 50 are refused.
        (0.1, set()),  # 0.07 %: within the budget
        (0.3, {"MienFaultsBurnSlow"}),  # 0.2 %
        (1.5, {"MienFaultsBurnFast", "MienFaultsBurnSlow"}),  # 1 %
    ],
)
def test_faults_are_told_by_how_fast_they_use_up_the_budget(
    promtool: Promtool, a_minute: float, fired: set[str]
) -> None:
    series = pictures("0+1000x300", f"0+{10 * a_minute}x300", "0+1000x300", refused="0+500x300")
    promtool.assert_firing(series, {"20h": fired}, "10m")


def test_a_fault_that_is_over_calls_nobody_any_more(promtool: Promtool) -> None:
    # Ten minutes in which every picture fails, then none.
    faults = "0+100x10 1000x600"
    series = pictures("0+100x610", faults, "0+100x610") | dict.fromkeys(UP, "1x610")
    promtool.assert_firing(series, {"10m": {"MienFaultsBurnFast"}, "50m": set()})


def test_late_pictures_use_up_a_budget_of_their_own(promtool: Promtool) -> None:
    series = pictures("0+100x500", "0x500", "0+120x500") | dict.fromkeys(UP, "1x500")
    promtool.assert_firing(series, {"30m": {"MienLateBurnFast"}, "2h": {"MienLateBurnFast", "MienLateBurnSlow"}})


def flow(name: str, success: str, failure: str) -> dict[str, str]:
    """When a flow last ended, and how."""
    ended = {"success": success, "failure": failure}
    return UP | {
        f'mien_flow_last_{end}_timestamp_seconds{{flow="{name}"}}': values for end, values in ended.items() if values
    }


@pytest.mark.parametrize(
    ("series", "fired"),
    [
        (flow("retrain", "600x300", ""), set()),
        (flow("retrain", "600x300", "300x300"), set()),
        (flow("retrain", "300x300", "600x300"), {"MienRetrainingFailed"}),
        (flow("retrain", "", "600x300"), {"MienRetrainingFailed"}),
        (
            UP
            | {
                'mien_flow_last_failure_timestamp_seconds{flow="retrain",deployment="speech"}': "600x300",
                'mien_flow_last_success_timestamp_seconds{flow="retrain",deployment="mien"}': "900x300",
            },
            {"MienRetrainingFailed"},  # that of faces makes up for nothing
        ),
        (flow("collect-feedback", "300x300", "600x300"), {"MienFlowFails"}),
        (flow("watch-drift", "0+60x300", ""), set()),
        (UP | {'mien_flow_runs{flow="retrain",state="RUNNING"}': "1x300"}, set()),
        (UP | {'mien_flow_runs{flow="retrain",state="LATE"}': "1x300"}, {"MienRunsLate"}),
        (UP | {"mien_prefect_up": "0x300"}, {"MienPrefectDown"}),
        (
            UP
            | {
                'mien_drift_index{model="emotion",of="label"}': "0.1x300",
                'mien_drift_limit{model="emotion",of="label"}': "0.2x300",
            },
            set(),
        ),
        (
            UP
            | {
                'mien_drift_index{model="emotion",of="label"}': "0.3x300",
                'mien_drift_limit{model="emotion",of="label"}': "0.2x300",
            },
            {"MienDrift"},
        ),
        (
            UP | {'mien_candidate_misses_total{model="emotion",candidate="2",reason="failed"}': "0+1x300"},
            {"MienCandidateFails"},
        ),
        (UP | {'mien_candidate_misses_total{model="emotion",candidate="2",reason="dropped"}': "0+9x300"}, set()),
        (UP | {'kube_pod_container_status_restarts_total{pod="a",container="triton"}': "0+1x300"}, {"MienRestarts"}),
        (UP | {'kube_pod_container_status_restarts_total{pod="a",container="nginx"}': "0+1x300"}, set()),
        (UP | {'up{job="gateway",instance="b"}': "0x300"}, {"MienTargetDown"}),
        ({name: values for name, values in UP.items() if "triton" not in name}, {"MienTargetDown"}),
    ],
)
def test_what_fires_after_two_hours(promtool: Promtool, series: dict[str, str], fired: set[str]) -> None:
    promtool.assert_firing(series, {"2h": fired})


def test_nobody_looking_for_drift_is_told_after_six_hours(promtool: Promtool) -> None:
    series = flow("watch-drift", "600x600", "") | dict.fromkeys(UP, "1x600")
    promtool.assert_firing(series, {"5h": set(), "7h": {"MienDriftUnwatched"}})


def test_a_certificate_that_is_not_renewed_is_told_two_weeks_before(promtool: Promtool) -> None:
    expires = 20 * 86400
    name = 'certmanager_certificate_expiration_timestamp_seconds{exported_namespace="mien",name="triton-server"}'
    series = {name: f"{expires}x300"} | dict.fromkeys(UP, "1x300")
    promtool.assert_firing(series, {"5d": set(), "7d": {"MienCertificateExpires"}}, "1h")


def test_a_model_that_fails_once_among_many_calls_nobody(promtool: Promtool) -> None:
    failure = (
        'nv_inference_request_failure{namespace="mien",model="emotion_classifier",version="1",pod="a",reason="BACKEND"}'
    )
    series = UP | triton("0+100x60", "0x60") | {failure: "0+1x60"}
    promtool.assert_firing(series, {"30m": set()})
    promtool.assert_firing(series | {failure: "0+50x60"}, {"30m": {"MienModelFails"}})


def test_the_scaler_asks_for_the_recorded_queue(promtool: Promtool) -> None:
    path = ROOT / "k8s/components/keda/scaled-object.yaml"
    (trigger,) = yaml.safe_load(path.read_text())["spec"]["triggers"]
    query = trigger["metadata"]["query"]
    series = triton("0+60x20", "0+1200000x20")  # 20 ms a request, four times what the scaler lets pass
    waits = [{"labels": f'{QUEUE}{{namespace="mien"}}', "value": 0.02}]
    promtool.test_rules(
        series, {(query, "10m"): waits, (f"{query} > {trigger['metadata']['threshold']}", "10m"): waits}, "1m"
    )
    promtool.test_rules(UP, {(query, "10m"): []}, "1m")
