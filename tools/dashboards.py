"""``python -m tools.dashboards``: writes Grafana's dashboards, k8s/observability/dashboards, from the tables below.

In a query `NS` stands for the filter by the namespace that the reader has chosen, `[R]` for the interval of its rates.
What every cluster's own dashboards show (processors and memory of pods, restarts) is not repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueGraphMode
from grafana_foundation_sdk.models.dashboard import DataSourceRef, VariableRefresh

if TYPE_CHECKING:
    from collections.abc import Mapping

TARGET = Path(__file__).resolve().parent.parent / "k8s" / "observability" / "dashboards"
SOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
NAMESPACE = 'namespace=~"$namespace"'
WIDTH, HEIGHT = 8, 8
"""Three panels in one of the 24 columns that Grafana has."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph, or the last value as a figure.

    Attributes:
        title: what it shows.
        unit: by Grafana's name.
        queries: legend → PromQL.
        note: what a reader may need to know.
        is_figure: whether the last value is enough.
    """

    title: str
    unit: str
    queries: Mapping[str, str]
    note: str = ""
    is_figure: bool = False


SERVING = {
    "Requests": [
        Panel(
            "Requests a second", "reqps", {"{{model}}": "sum by (model) (rate(nv_inference_request_success{NS}[R]))"}
        ),
        Panel(
            "Failures a second",
            "reqps",
            {"{{model}} {{reason}}": "sum by (model, reason) (rate(nv_inference_request_failure{NS}[R]))"},
            note="BACKEND: the model itself failed. An ensemble counts the failure of one of its models as OTHER.",
        ),
        Panel("Waiting requests", "short", {"{{model}}": "sum by (model) (nv_inference_pending_request_count{NS})"}),
    ],
    "Time": [
        Panel(
            "Wait of a request in the classifier's queue",
            "s",
            {"classifier": "mien:queue_seconds:rate2m{NS}"},
            note="What the autoscaler follows.",
        ),
        Panel(
            "Time of a request",
            "s",
            {
                "{{model}}": "sum by (model) (rate(nv_inference_request_duration_us{NS}[R])) / 1e6"
                " / sum by (model) (rate(nv_inference_request_success{NS}[R]))"
            },
        ),
        Panel(
            "Time of a batch in the model",
            "s",
            {
                "{{model}}": "1e-6 *"
                ' sum by (model) (rate(nv_inference_compute_infer_duration_us{model!~".*emotion(_candidate)?", NS}[R]))'
                ' / sum by (model) (rate(nv_inference_exec_count{model!~".*emotion(_candidate)?", NS}[R]))'
            },
        ),
    ],
    "Batches and machines": [
        Panel(
            "Faces in a batch",
            "short",
            {
                "{{model}}": "sum by (model) (rate(nv_inference_count{NS}[R]))"
                " / sum by (model) (rate(nv_inference_exec_count{NS}[R]))"
            },
        ),
        Panel(
            "Processors in use",
            "percentunit",
            {"{{pod}} CPU": "nv_cpu_utilization{NS}", "{{pod}} {{gpu_uuid}}": "nv_gpu_utilization{NS}"},
            note="Those of the whole node.",
        ),
        Panel(
            "Memory in use",
            "bytes",
            {"{{pod}} CPU": "nv_cpu_memory_used_bytes{NS}", "{{pod}} {{gpu_uuid}}": "nv_gpu_memory_used_bytes{NS}"},
        ),
    ],
}

GATEWAY = {
    "Objectives": [
        Panel(
            "Pictures without a fault",
            "percentunit",
            {
                "last hour": "1 - mien:faults:ratio_rate1h{NS}",
                "last 3 days": "1 - mien:faults:ratio_rate3d{NS}",
            },
            note="The objective is 99.9 %.",
            is_figure=True,
        ),
        Panel(
            "Pictures within half a second",
            "percentunit",
            {"last hour": "1 - mien:late:ratio_rate1h{NS}", "last 3 days": "1 - mien:late:ratio_rate3d{NS}"},
            note="The objective is 99 %.",
            is_figure=True,
        ),
        Panel(
            "How fast the budgets are used up",
            "short",
            {
                "faults, 1 h": "mien:faults:ratio_rate1h{NS} / 0.001",
                "late, 1 h": "mien:late:ratio_rate1h{NS} / 0.01",
            },
            note="At 1 a budget lasts its 30 days. Somebody is called at 14.4.",
        ),
    ],
    "Pictures": [
        Panel(
            "Pictures a second",
            "reqps",
            {"{{status}}": 'sum by (status) (rate(mien_gateway_requests_total{route=~"(/v1)?/detect", NS}[R]))'},
        ),
        Panel(
            "Time of a picture",
            "s",
            {
                name: f"histogram_quantile({share}, sum by (le)"
                ' (rate(mien_gateway_request_seconds_bucket{route=~"(/v1)?/detect", NS}[R])))'
                for name, share in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
        ),
        Panel(
            "Where it goes (p95)",
            "s",
            {
                name: f"histogram_quantile(0.95, sum by (le) (rate(mien_gateway_{part}_seconds_bucket{{NS}}[R])))"
                for name, part in (("decoding, finding faces", "detect"), ("model server", "infer"))
            },
        ),
    ],
    "Everything": [
        Panel(
            "Requests a second",
            "reqps",
            {"{{route}} {{status}}": "sum by (route, status) (rate(mien_gateway_requests_total{NS}[R]))"},
        ),
        Panel(
            "At the same time",
            "short",
            {
                "requests": "sum(mien_gateway_in_flight{NS})",
                "cameras": "sum(mien_gateway_cameras{NS})",
                "videos": "sum(mien_gateway_videos{NS})",
            },
        ),
        Panel("Faces a second", "short", {"{{label}}": "sum by (label) (rate(mien_predictions_total{NS}[R]))"}),
    ],
}

RELEASES = {
    "What is served": [
        Panel(
            "Faces a second",
            "short",
            {"{{model}} {{release}}": "sum by (model, release) (rate(mien_predictions_total{NS}[R]))"},
        ),
        Panel(
            "Mean confidence",
            "percentunit",
            {
                "{{model}} {{release}}": "sum by (model, release) (rate(mien_confidence_sum{NS}[R]))"
                " / sum by (model, release) (rate(mien_confidence_count{NS}[R]))"
            },
        ),
        Panel(
            "Versions that answer, faces a second",
            "short",
            {"{{model}} {{version}}": "sum by (model, version) (rate(nv_inference_count{NS}[R])) > 0"},
            note="Two of each model during a rollout, one afterwards.",
        ),
    ],
    "The candidate": [
        Panel(
            "Faces and windows of speech named alike",
            "percentunit",
            {
                "{{model}}: {{candidate}} and {{release}}": "sum by (model, release, candidate)"
                ' (rate(mien_shadow_faces_total{agreed="true", NS}[R]))'
                " / sum by (model, release, candidate) (rate(mien_shadow_faces_total{NS}[R]))"
            },
        ),
        Panel(
            "Time of both (p95)",
            "s",
            {
                "{{model}}: {{role}}": "histogram_quantile(0.95,"
                " sum by (le, model, role) (rate(mien_shadow_seconds_bucket{NS}[R])))"
            },
        ),
        Panel(
            "Answers that it owes, a second",
            "reqps",
            {
                "{{model}}: {{candidate}} {{reason}}": "sum by (model, candidate, reason)"
                " (rate(mien_candidate_misses_total{NS}[R]))"
            },
        ),
    ],
    "Flows": [
        Panel(
            "Since the last success",
            "s",
            {"{{flow}}/{{deployment}}": "time() - mien_flow_last_success_timestamp_seconds{NS}"},
        ),
        Panel(
            "Since the last failure",
            "s",
            {"{{flow}}/{{deployment}}": "time() - mien_flow_last_failure_timestamp_seconds{NS}"},
        ),
        Panel("Duration of the last success", "s", {"{{flow}}/{{deployment}}": "mien_flow_last_success_seconds{NS}"}),
        Panel("Runs that have not ended", "short", {"{{flow}} {{state}}": "sum by (flow, state) (mien_flow_runs{NS})"}),
        Panel("Prefect's server", "bool_on_off", {"answers": "mien_prefect_up{NS}"}, is_figure=True),
    ],
}

DRIFT = {
    "The last finding": [
        Panel(
            "Stability index",
            "short",
            {"{{model}}: {{of}}": "mien_drift_index{NS}", "{{model}}: limit of {{of}}": "mien_drift_limit{NS}"},
            note="Above its limit it is a drift.",
        ),
        Panel("Labels", "percentunit", {"{{model}}: {{label}}, {{side}}": "mien_drift_label_share{NS}"}),
        Panel("Mean confidence", "percentunit", {"{{model}}: {{side}}": "mien_drift_mean_confidence{NS}"}),
        Panel(
            "Faces and windows of speech compared",
            "short",
            {"{{model}}: {{side}}": "mien_drift_faces{NS}"},
            is_figure=True,
        ),
        Panel("Release", "none", {"{{model}}": "mien_drift_release{NS}"}, is_figure=True),
        Panel(
            "Since somebody looked",
            "s",
            {"watch-drift": 'time() - mien_flow_last_success_timestamp_seconds{flow="watch-drift", NS}'},
            is_figure=True,
        ),
    ],
    "The traffic": [
        Panel(
            "Labels",
            "percentunit",
            {
                "{{model}}: {{label}}": "sum by (model, label) (rate(mien_predictions_total{NS}[R]))"
                " / ignoring (label) group_left sum by (model) (rate(mien_predictions_total{NS}[R]))"
            },
        ),
        Panel(
            "Confidence",
            "percentunit",
            {
                f"{{{{model}}}}: {name}": f"histogram_quantile({share}, sum by (le, model)"
                " (rate(mien_confidence_bucket{NS}[R])))"
                for name, share in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9))
            },
        ),
    ],
}

DASHBOARDS = {
    "mien-serving": ("Mien: serving", SERVING),
    "mien-gateway": ("Mien: gateway", GATEWAY),
    "mien-releases": ("Mien: training and releases", RELEASES),
    "mien-drift": ("Mien: drift", DRIFT),
}


def render(name: str) -> str:
    """A dashboard as Grafana's JSON."""
    title, rows = DASHBOARDS[name]
    board = dashboard.Dashboard(title).uid(name).tags(["mien"]).refresh("30s").time("now-6h", "now").readonly()
    board.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    board.with_variable(
        dashboard.QueryVariable("namespace")
        .label("Namespace")
        .datasource(SOURCE)
        .query('label_values(up{job=~"triton|gateway"}, namespace)')
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .include_all(True)
        .all_value(".*")  # a Prometheus outside of a cluster has none
    )
    for row, panels in rows.items():
        board.with_row(dashboard.Row(row))
        for panel in panels:
            board.with_panel(_drawn(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(board.build()) + "\n"


def _drawn(panel: Panel) -> timeseries.Panel | stat.Panel:
    drawn = (
        stat.Panel().graph_mode(BigValueGraphMode.NONE)
        if panel.is_figure
        else timeseries.Panel().min(0).fill_opacity(8)
    )
    drawn.title(panel.title).unit(panel.unit).description(panel.note).datasource(SOURCE).span(WIDTH).height(HEIGHT)
    for number, (legend, query) in enumerate(panel.queries.items()):
        expression = query.replace("NS", NAMESPACE).replace("[R]", "[$__rate_interval]")
        drawn.with_target(prometheus.Dataquery().expr(expression).legend_format(legend).ref_id(chr(ord("A") + number)))
    return drawn


def main() -> None:
    """Write every dashboard."""
    TARGET.mkdir(exist_ok=True)
    for name in DASHBOARDS:
        (TARGET / f"{name}.json").write_text(render(name))


if __name__ == "__main__":
    main()
