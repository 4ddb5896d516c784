"""What Prefect knows of the flows, as figures for Prometheus: how their last runs ended, what waits, the last drift.

Prefect's own metrics tell of its server's requests, not of runs. Everything is asked anew at each scrape.
"""

from __future__ import annotations

import logging
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.core import GaugeMetricFamily

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

logger = logging.getLogger(__name__)

DRIFT_VARIABLE = "mien_drift"
"""The variable of Prefect's in which `flows.traffic.drift` keeps its last finding."""

_TIMEOUT_S = 10.0
_ENDS = {"success": ["COMPLETED"], "failure": ["FAILED", "CRASHED"]}
_OPEN = ["SCHEDULED", "PENDING", "RUNNING", "PAUSED", "CANCELLING"]


class FlowMetrics:
    """A collector of prometheus_client.

    Args:
        api: address of Prefect's API.
        login: its name and password with a colon between them; empty where it asks for none.
    """

    def __init__(self, api: str, login: str = "") -> None:
        name, _, password = login.partition(":")
        self._client = httpx.Client(
            base_url=api, auth=httpx.BasicAuth(name, password) if login else None, timeout=_TIMEOUT_S
        )

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not ask a server that has not started yet."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Ask Prefect. If it does not answer, ``mien_prefect_up`` is 0 and alone."""
        try:
            families = [*self._runs(), *_drift(self._drift_finding())]
        except httpx.HTTPError as error:
            logger.warning("Prefect's API does not answer: %s", str(error) or type(error).__name__)
            families = []
        yield GaugeMetricFamily("mien_prefect_up", "Whether Prefect's API answers.", 1.0 if families else 0.0)
        yield from families

    def _runs(self) -> Iterator[Metric]:
        flows = {flow["id"]: flow["name"] for flow in self._post("/flows/filter", {})}
        ended = {
            end: GaugeMetricFamily(
                f"mien_flow_last_{end}_timestamp_seconds", f"When a flow's last {end} was.", labels=["flow"]
            )
            for end in _ENDS
        }
        took = GaugeMetricFamily("mien_flow_last_success_seconds", "How long it ran.", labels=["flow"])
        for identifier, name in flows.items():
            for end, states in _ENDS.items():
                for run in self._runs_in(states, 1, flows={"id": {"any_": [identifier]}}):
                    ended[end].add_metric([name], datetime.fromisoformat(run["end_time"]).timestamp())
                    if end == "success":
                        took.add_metric([name], run["total_run_time"])
        unfinished = GaugeMetricFamily(
            "mien_flow_runs", "Runs that have not ended, by state: LATE, RUNNING, …", labels=["flow", "state"]
        )
        counts = Counter((flows.get(run["flow_id"], ""), _state(run)) for run in self._runs_in(_OPEN, 200))
        for labels, count in counts.items():
            unfinished.add_metric(labels, count)
        yield from (*ended.values(), took, unfinished)

    def _runs_in(self, states: list[str], limit: int, **filters: Any) -> list[dict[str, Any]]:  # noqa: ANN401
        """Runs in these states, the last to end first."""
        runs = {"state": {"type": {"any_": states}}}
        return self._post("/flow_runs/filter", {"sort": "END_TIME_DESC", "limit": limit, "flow_runs": runs, **filters})

    def _drift_finding(self) -> dict[str, Any]:
        answer = self._client.get(f"/variables/name/{DRIFT_VARIABLE}")
        if answer.status_code == httpx.codes.NOT_FOUND:
            return {}
        finding: dict[str, Any] = answer.raise_for_status().json()["value"]
        return finding

    def _post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.post(path, json=body).raise_for_status().json()
        return found


def _state(run: dict[str, Any]) -> str:
    """Its name says more than its type: LATE and AWAITINGCONCURRENCYSLOT are both SCHEDULED."""
    return str(run["state_name"]).upper()


def _drift(finding: dict[str, Any]) -> Iterator[Metric]:
    """The last finding that compared anything."""
    if not finding:
        return
    index = GaugeMetricFamily("mien_drift_index", "Population stability index of the last finding.", labels=["of"])
    limit = GaugeMetricFamily("mien_drift_limit", "Largest index that is no drift.", labels=["of"])
    for of in ("label", "confidence"):
        index.add_metric([of], finding[f"{of}_psi"])
        limit.add_metric([of], finding[f"max_{of}_psi"])
    share = GaugeMetricFamily("mien_drift_label_share", "Share of the faces by label.", labels=["side", "label"])
    mean = GaugeMetricFamily("mien_drift_mean_confidence", "Mean confidence of the faces.", labels=["side"])
    faces = GaugeMetricFamily("mien_drift_faces", "Faces that were compared.", labels=["side"])
    for side in ("expected", "observed"):
        profile = finding[side]
        for label, value in profile["labels"].items():
            share.add_metric([side, label], value)
        mean.add_metric([side], profile["mean_confidence"])
        faces.add_metric([side], profile["faces"])
    release = GaugeMetricFamily("mien_drift_release", "The release whose answers were compared.")
    release.add_metric([], finding["release"])
    yield from (index, limit, share, mean, faces, release)
