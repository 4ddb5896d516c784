"""A load test in the terminal."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table

from loadtest import report
from loadtest.summary import BUSY

if TYPE_CHECKING:
    from rich.console import Console

    from loadtest.knee import Probe
    from loadtest.load_test import Outcome
    from loadtest.plan import LoadPlan
    from loadtest.summary import Summary


def show(outcome: Outcome, plan: LoadPlan, console: Console) -> None:
    """Print the tables of a test."""
    summary = outcome.summary
    console.print(_callers(summary))
    for kind in summary.kinds:
        for error, count in kind.errors.items():
            console.print(f"{kind.kind}, {count} calls: {error}", markup=False, soft_wrap=True)
    if summary.server.models:
        console.print(_models(summary))
    for name, value in summary.server.gauges.items():
        console.print(f"Mean {name}: {value:.0%}")
    if gateway := summary.server.gateway:
        statuses = ", ".join(f"{status}: {count}" for status, count in gateway.requests.items())
        console.print(
            f"Gateway, pictures by status: {statuses}; mean {gateway.request_ms:.1f} ms, of which"
            f" {gateway.detect_ms:.1f} ms for faces and {gateway.infer_ms:.1f} ms waiting for Triton",
            soft_wrap=True,
        )
    for note in report.notes(summary, plan):
        console.print(note, soft_wrap=True)


def probe_line(probe: Probe, summary: Summary) -> str:
    """One line on a rate that was tried."""
    busy = f"; the callers used {summary.cores_used:.0%} of a core" if summary.cores_used > BUSY else ""
    return (
        f"{probe.rate:8.1f} due a second: {'holds ' if probe.holds else 'breaks'}  {probe.per_second:8.1f} answered,"
        f" p99 {_ms(probe.p99_ms)} ms, {probe.error_rate:.2%} failed{busy}"
    )


def _callers(summary: Summary) -> Table:
    table = Table(title="Callers", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("users")
    for name in ("answered", "failed", "/s", "p50 ms", "p95", "p99", "p99.9", "max", "p99 sent"):
        table.add_column(name, justify="right")
    for kind in summary.kinds:
        shown = [kind.percentiles_ms[percent] for percent in (50.0, 95.0, 99.0, 99.9)]
        latencies = [_ms(value) for value in (*shown, kind.max_ms, kind.service_p99_ms)]
        table.add_row(kind.kind, str(kind.answered), str(kind.failed), f"{kind.per_second:.1f}", *latencies)
    return table


def _models(summary: Summary) -> Table:
    table = Table(title="Triton, by its own counters", title_justify="left", box=box.SIMPLE, padding=(0, 1, 0, 0))
    table.add_column("model")
    for name in ("requests", "failed", "faces", "batches", "size", "queue ms", "compute ms"):
        table.add_column(name, justify="right")
    for model in summary.server.models:
        table.add_row(
            model.model,
            *(str(count) for count in (model.requests, model.failures, model.faces, model.batches)),
            *(f"{value:.2f}" for value in (model.batch_size, model.queue_ms, model.compute_ms)),
        )
    return table


def _ms(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.1f}"
