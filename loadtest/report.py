"""A load test as files: a page for people, JSON for machines, CSV for spreadsheets."""

from __future__ import annotations

import base64
import csv
import io
import json
import math
import os
import platform
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from loadtest import plots
from loadtest.summary import BUSY, PERCENTILES, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from loadtest.knee import Knee, Probe
    from loadtest.load_test import Outcome
    from loadtest.plan import LoadPlan
    from loadtest.summary import Summary

REPORT_FILE = "report.html"
SUMMARY_FILE = "summary.json"
KINDS_FILE = "summary.csv"
TIMELINE_FILE = "timeline.csv"


def notes(summary: Summary, plan: LoadPlan) -> list[str]:
    """What a reader of the figures must know."""
    said = []
    if plan.rate is None:
        said.append(
            "Closed loop: a caller waits for its answer before it calls again, so a slow server is asked less, and the"
            " percentiles hide what callers who do not wait would see (coordinated omission). --rate asks at a rate."
        )
    else:
        said.append(
            "Open loop: latency counts from the moment that a call was due, not from when it could be sent"
            " (corrected for coordinated omission)."
        )
    if summary.cores_used > BUSY:
        said.append(
            f"The callers themselves used {summary.cores_used:.0%} of a core each process: they may be what is slow."
            " Use more: --processes."
        )
    if not summary.server.models:
        said.append("Triton's metrics could not be had (--metrics); its side is missing.")
    return said


def machine() -> dict[str, str]:
    """What the callers ran on."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": f"{os.cpu_count()} processors, {platform.system()} {platform.machine()}",
        "software": ", ".join(f"{name} {version(name)}" for name in ("mien", "locust", "grpcio")),
    }


def write_report(folder: Path, plan: LoadPlan, outcome: Outcome, verdict: Sequence[str]) -> Path:
    """Write the report of a load test into `folder`; files of its names are replaced, each as a whole.

    Returns:
        The page's path.
    """
    summary = outcome.summary
    said = notes(summary, plan)
    values = {
        "schema": SCHEMA,
        **machine(),
        "plan": plan.model_dump(mode="json"),
        "broken": list(verdict),
        "interrupted": outcome.interrupted,
        "lost": outcome.lost,
        "notes": said,
        **summary.as_json(),
    }
    figures = {"timeline": plots.timeline(summary.timeline, plan), "percentiles": plots.percentiles(summary.kinds)}
    html = _render("report.html.j2", plan, figures, summary=summary, notes=said, broken=verdict, run=outcome)
    texts = {
        SUMMARY_FILE: json.dumps(values, indent=2, allow_nan=False) + "\n",
        KINDS_FILE: _csv(_kind_rows(summary)),
        TIMELINE_FILE: _csv(
            [
                ("second", "answered", "failed", "p50_ms", "p99_ms"),
                *((one.second, one.answered, one.failed, one.p50_ms, one.p99_ms) for one in summary.timeline),
            ]
        ),
        REPORT_FILE: html,
    }
    write_files(folder, texts)
    return folder / REPORT_FILE


def write_capacity(folder: Path, plan: LoadPlan, found: Knee, objectives: Mapping[str, float]) -> Path:
    """Write the report of a search for the capacity; as `write_report`."""
    probes = [_probe_values(probe) for probe in found.probes]
    values = {
        "schema": SCHEMA,
        **machine(),
        "plan": plan.model_dump(mode="json"),
        "objectives": dict(objectives),
        "rate": found.rate,
        "probes": probes,
    }
    figures = {"knee": plots.knee(found, objectives["p99_ms"])} if found.probes else {}
    html = _render("capacity.html.j2", plan, figures, knee=found, objectives=objectives)
    texts = {
        "capacity.json": json.dumps(values, indent=2, allow_nan=False) + "\n",
        "capacity.csv": _csv([tuple(probes[0]), *(tuple(probe.values()) for probe in probes)] if probes else []),
        REPORT_FILE: html,
    }
    write_files(folder, texts)
    return folder / REPORT_FILE


def write_files(folder: Path, texts: Mapping[str, str]) -> None:
    """Write each text under its name, beside its place and then renamed: a reader never sees half of one."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".report-") as staging:
        for name, text in texts.items():
            Path(staging, name).write_text(text, encoding="utf-8")
            Path(staging, name).replace(folder / name)


def _probe_values(probe: Probe) -> dict[str, Any]:
    return {
        "rate": probe.rate,
        "holds": probe.holds,
        "per_second": probe.per_second,
        "p99_ms": probe.p99_ms if math.isfinite(probe.p99_ms) else None,
        "error_rate": probe.error_rate,
        "reasons": " ".join(probe.reasons),
    }


def _kind_rows(summary: Summary) -> list[tuple[object, ...]]:
    names = [f"p{percent:g}_ms" for percent in PERCENTILES]
    head = ("kind", "answered", "failed", "per_second", *names, "mean_ms", "max_ms", "service_p99_ms")
    return [
        head,
        *(
            (
                *(kind.kind, kind.answered, kind.failed, kind.per_second, *kind.percentiles_ms.values()),
                *(kind.mean_ms, kind.max_ms, kind.service_p99_ms),
            )
            for kind in summary.kinds
        ),
    ]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(
        ["" if isinstance(value, float) and math.isnan(value) else value for value in row] for row in rows
    )
    return file.getvalue()


def _render(template: str, plan: LoadPlan, figures: Mapping[str, bytes], **values: object) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("loadtest"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["ms"] = lambda value: "-" if math.isnan(value) else f"{value:.1f}"
    asked = plan.model_dump_json(indent=2, exclude={"pictures"})
    uris = {name: f"data:image/svg+xml;base64,{base64.b64encode(svg).decode()}" for name, svg in figures.items()}
    return environment.get_template(template).render(figures=uris, facts=machine(), plan=plan, asked=asked, **values)
