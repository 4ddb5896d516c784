"""What Prefect knows of the flows, as figures for Prometheus: how their last runs ended, what waits, the last drift.

Prefect's own metrics tell of its server's requests, not of runs. Everything is asked anew at each scrape.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from prometheus_client.core import GaugeMetricFamily

from flows.retraining.subject import NAME
from mien.contract import ENSEMBLES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.core import Metric

logger = logging.getLogger(__name__)

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
            families = [*self._runs(), *_drift(self._drift_findings())]
        except httpx.HTTPError as error:
            logger.warning("Prefect's API does not answer: %s", str(error) or type(error).__name__)
            families = []
        yield GaugeMetricFamily("mien_prefect_up", "Whether Prefect's API answers.", 1.0 if families else 0.0)
        yield from families

    def _runs(self) -> Iterator[Metric]:
        flows = {flow["id"]: flow["name"] for flow in self._post("/flows/filter", {})}
        whose = ["flow", "deployment"]
        ended = {
            end: GaugeMetricFamily(
                f"mien_flow_last_{end}_timestamp_seconds", f"When a flow's last {end} was.", labels=whose
            )
            for end in _ENDS
        }
        took = GaugeMetricFamily("mien_flow_last_success_seconds", "How long it ran.", labels=whose)
        for flow, deployment, runs in self._deployments(flows):
            for end, states in _ENDS.items():
                for run in self._runs_in(states, 1, **runs):
                    ended[end].add_metric([flow, deployment], datetime.fromisoformat(run["end_time"]).timestamp())
                    if end == "success":
                        took.add_metric([flow, deployment], run["total_run_time"])
        unfinished = GaugeMetricFamily(
            "mien_flow_runs", "Runs that have not ended, by state: LATE, RUNNING, …", labels=["flow", "state"]
        )
        counts = Counter((flows.get(run["flow_id"], ""), _state(run)) for run in self._runs_in(_OPEN, 200))
        for labels, count in counts.items():
            unfinished.add_metric(labels, count)
        yield from (*ended.values(), took, unfinished)

    def _deployments(self, flows: dict[str, str]) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """A flow, a deployment of it, and how to ask for its runs; those from a shell count as the first's, `NAME`."""
        known: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for deployment in self._post("/deployments/filter", {}):
            known[deployment["flow_id"]][deployment["name"]] = deployment["id"]
        for identifier, flow in flows.items():
            for name in sorted({NAME, *known[identifier]}):
                own = known[identifier].get(name)
                whose: dict[str, Any] = {"operator": "or_", "any_": [own] if own else []}
                if name == NAME:
                    whose["is_null_"] = True
                yield flow, name, {"flows": {"id": {"any_": [identifier]}}, "deployment_id": whose}

    def _runs_in(
        self,
        states: list[str],
        limit: int,
        flows: dict[str, Any] | None = None,
        **runs: Any,  # noqa: ANN401
    ) -> list[dict[str, Any]]:
        """Runs in these states, the last to end first."""
        wanted = {"state": {"type": {"any_": states}}, **runs}
        body = {"sort": "END_TIME_DESC", "limit": limit, "flow_runs": wanted}
        return self._post("/flow_runs/filter", body | ({"flows": flows} if flows else {}))

    def _drift_findings(self) -> dict[str, dict[str, Any]]:
        """By the ensemble's name."""
        found = {}
        for ensemble in ENSEMBLES:
            answer = self._client.get(f"/variables/name/{drift_variable(ensemble.name)}")
            if answer.status_code != httpx.codes.NOT_FOUND:
                found[ensemble.name] = answer.raise_for_status().json()["value"]
        return found

    def _post(self, path: str, body: dict[str, Any]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.post(path, json=body).raise_for_status().json()
        return found


def _state(run: dict[str, Any]) -> str:
    """Its name says more than its type: LATE and AWAITINGCONCURRENCYSLOT are both SCHEDULED."""
    return str(run["state_name"]).upper()


def drift_variable(ensemble: str) -> str:
    """The variable of Prefect's in which `flows.traffic.drift` keeps its last finding of an ensemble."""
    return f"mien_drift_{ensemble}"


def _drift(findings: dict[str, dict[str, Any]]) -> Iterator[Metric]:
    """Of each ensemble, the last finding that compared anything."""
    index = _gauge("index", "Population stability index of the last finding.", "of")
    limit = _gauge("limit", "Largest index that is no drift.", "of")
    share = _gauge("label_share", "Share of the faces, or windows of speech, by label.", "side", "label")
    mean = _gauge("mean_confidence", "Mean confidence.", "side")
    faces = _gauge("faces", "Faces, or windows of speech, that were compared.", "side")
    release = _gauge("release", "The release whose answers were compared.")
    for model, finding in findings.items():
        for of in ("label", "confidence"):
            index.add_metric([model, of], finding[f"{of}_psi"])
            limit.add_metric([model, of], finding[f"max_{of}_psi"])
        for side in ("expected", "observed"):
            profile = finding[side]
            for label, value in profile["labels"].items():
                share.add_metric([model, side, label], value)
            mean.add_metric([model, side], profile["mean_confidence"])
            faces.add_metric([model, side], profile["faces"])
        release.add_metric([model], finding["release"])
    yield from (index, limit, share, mean, faces, release)


def _gauge(name: str, documentation: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mien_drift_{name}", documentation, labels=["model", *labels])
