"""The plots of the reports, as SVG. Colours: M. Okabe and K. Ito, "Color Universal Design" (2008)."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from loadtest.knee import Knee
    from loadtest.plan import LoadPlan
    from loadtest.summary import KindSummary, Second

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#666666"

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "svg.hashsalt": "mien",  # the same figures give the same bytes
}
WIDTH = 9.6
"""Width of every figure, in inches."""


def timeline(seconds: Sequence[Second], plan: LoadPlan) -> bytes:
    """Calls and their latency, second by second."""
    moments = [one.second + 0.5 for one in seconds]
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 5.4), layout="constrained")
        calls, latency = figure.subplots(2, 1, sharex=True)
        calls.plot(moments, [one.answered for one in seconds], color=BLUE, label="answered")
        if any(one.failed for one in seconds):
            calls.plot(moments, [one.failed for one in seconds], color=RED, linestyle="--", label="failed")
        if plan.rate is not None:
            ends, due = [0.0], [plan.rate * plan.stages[0].start]
            for stage in plan.stages:
                ends += [ends[-1], ends[-1] + stage.seconds]
                due += [plan.rate * stage.start, plan.rate * stage.end]
            calls.plot(ends, due, color=GREY, linestyle=":", label="due")
        calls.set_title("Calls in each second, by when they were due")
        calls.set_ylim(bottom=0)
        calls.legend(ncols=3, loc="lower left")
        latency.plot(moments, [one.p99_ms for one in seconds], color=ORANGE, label="99th percentile")
        latency.plot(moments, [one.p50_ms for one in seconds], color=BLUE, label="median")
        latency.set_title("Latency, ms")
        latency.set_ylim(bottom=0)
        latency.set_xlabel("seconds from the start")
        latency.legend(ncols=2, loc="upper left")
        return svg(figure)


def percentiles(kinds: Sequence[KindSummary]) -> bytes:
    """Latency by percentile, one line for each kind of user."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.2), layout="constrained")
        axes = figure.subplots()
        for kind, colour, marker in zip(kinds, (BLUE, ORANGE, GREEN), "os^", strict=False):
            names = [f"p{percent:g}" for percent in kind.percentiles_ms]
            axes.plot(names, list(kind.percentiles_ms.values()), color=colour, marker=marker, label=kind.kind)
        axes.set_title("Latency by percentile, ms", pad=24)
        axes.set_yscale("log")
        axes.legend(ncols=len(kinds), loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2)
        return svg(figure)


def knee(found: Knee, p99_ms: float) -> bytes:
    """Latency and answered calls over the rate that was due, with the highest that held."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 5.4), layout="constrained")
        latency, answered = figure.subplots(2, 1, sharex=True)
        for holds, colour, marker, label in ((True, BLUE, "o", "holds"), (False, RED, "x", "breaks")):
            probes = [probe for probe in found.probes if probe.holds is holds]
            rates = [probe.rate for probe in probes]
            latency.scatter(rates, [probe.p99_ms for probe in probes], color=colour, marker=marker, label=label)
            answered.scatter(rates, [probe.per_second for probe in probes], color=colour, marker=marker)
        latency.axhline(p99_ms, color=GREY, linestyle=":", label=f"objective, {p99_ms:g} ms")
        latency.set_yscale("log")
        latency.set_title("99th percentile of the latency, ms")
        latency.legend(loc="upper left")
        most = max(probe.rate for probe in found.probes)
        answered.plot([0, most], [0, most], color=GREY, linestyle=":")
        answered.set_title("Answered calls a second; on the dotted line, all that were due")
        answered.set_xlabel("calls due a second")
        if found.rate:
            for axes in (latency, answered):
                axes.axvline(found.rate, color=GREEN)
            answered.annotate(f" {found.rate:.0f}/s", (found.rate, 0), color=GREEN)
        return svg(figure)


def svg(figure: Figure) -> bytes:
    """The figure as a file."""
    file = io.BytesIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()
