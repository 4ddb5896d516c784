"""The plots of a report, as SVG or PNG bytes; one palette and one scale of 0..1 for all shares.

Colours are those of M. Okabe and K. Ito, "Color Universal Design" (2008), told apart by colour-blind readers; filled
charts use one hue from light to dark. No plot needs colour alone to be read.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from training.calibration import Reliability
    from training.evaluate import Mistake, SpeakerMetrics
    from training.metrics import ClassificationReport
    from training.robustness import RobustnessPoint

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#666666"

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "svg.hashsalt": "mien",  # the same figures give the same bytes
}
WIDTH = 9.6
"""Width of every figure, in inches."""


def confusion(report: ClassificationReport) -> bytes:
    """Confusion matrix, as shares of each true label and as counts, side by side."""
    counts = np.asarray(report.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 4.6), layout="constrained")
        left, right = figure.subplots(1, 2)
        _matrix(left, shares, report.labels, "Share of each true label", [f"{share:.0%}" for share in shares.ravel()])
        _matrix(right, counts, report.labels, "Counts", [f"{count}" for count in counts.ravel()])
        left.set_ylabel("true label")
        return svg(figure)


def per_class(report: ClassificationReport) -> bytes:
    """Precision, recall and F1 of each class as bars, with how many examples it has."""
    height = 0.26
    places = np.arange(len(report.classes))
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 0.62 * len(places) + 1.2), layout="constrained")
        axes = figure.subplots()
        for row, (metric, colour) in enumerate((("precision", BLUE), ("recall", ORANGE), ("F1", GREEN))):
            values = [getattr(one, metric.lower()) or 0.0 for one in report.classes]
            bars = axes.barh(places + (row - 1) * height, values, height * 0.9, color=colour, label=metric)
            halo = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
            axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=8, bbox=halo)
        axes.axvline(
            report.macro_f1, color=GREY, linestyle=":", linewidth=1.2, zorder=0, label=f"macro-F1 {report.macro_f1:.2f}"
        )
        axes.set_yticks(places, [f"{one.label} ({one.support})" for one in report.classes])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_title("Precision, recall and F1 by class (how many in brackets)", pad=26)
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, fontsize=9, handlelength=1.4)
        return svg(figure)


def per_speaker(speakers: Sequence[SpeakerMetrics], together: float) -> bytes:
    """Mean recall and accuracy of each speaker as bars; `together` is the mean recall of all of them, a dotted line."""
    height = 0.36
    places = np.arange(len(speakers))
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 0.5 * len(places) + 1.2), layout="constrained")
        axes = figure.subplots()
        rows = (("mean recall", "macro_recall", BLUE), ("accuracy", "accuracy", ORANGE))
        for row, (name, metric, colour) in enumerate(rows):
            values = [getattr(one, metric) for one in speakers]
            bars = axes.barh(places + (row - 0.5) * height, values, height * 0.9, color=colour, label=name)
            axes.bar_label(bars, fmt="{:.2f}", padding=3, fontsize=8)
        axes.axvline(together, color=GREY, linestyle=":", linewidth=1.2, zorder=0, label=f"all {together:.2f}")
        axes.set_yticks(places, [f"{one.speaker} ({one.examples})" for one in speakers])
        axes.invert_yaxis()
        axes.set_xlim(0, 1)
        axes.set_title("Mean recall and accuracy by speaker (recordings in brackets)", pad=26)
        axes.legend(ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0), borderaxespad=0.2, fontsize=9, handlelength=1.4)
        return svg(figure)


def reliability(before: Reliability, after: Reliability | None = None, temperature: float = 1.0) -> bytes:
    """Confidence against accuracy, over how many predictions each bin holds; beside it the same at a temperature."""
    panels = [(f"As exported: ECE {before.ece:.3f}", before)]
    if after:
        panels.append((f"At temperature {temperature:.2f}: ECE {after.ece:.3f}", after))
    most = max(max(panel.counts) for _, panel in panels)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH if after else WIDTH / 2, 5.2), layout="constrained")
        grid = figure.subplots(2, len(panels), sharex=True, squeeze=False, height_ratios=(3, 1))
        for column, (title, panel) in enumerate(panels):
            _reliability_panel(grid[0, column], grid[1, column], panel, title)
            grid[1, column].set_ylim(0, most * 1.08)
        grid[0, 0].set_ylabel("accuracy")
        grid[1, 0].set_ylabel("how many")
        grid[0, 0].legend(loc="upper left", fontsize=9)
        return svg(figure)


def robustness(points: Sequence[RobustnessPoint], clean: float) -> bytes:
    """Accuracy under each corruption, from mild to strong; the dotted line is the accuracy on clean faces."""
    names = list(dict.fromkeys(point.corruption for point in points))
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.0), layout="constrained")
        panels = figure.subplots(1, len(names), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, names, strict=True):
            series = [point for point in points if point.corruption == name]
            accuracy = [point.accuracy for point in series]
            axes.axhline(clean, color=GREY, linestyle=":", linewidth=1.2)
            axes.plot(range(len(series)), accuracy, color=BLUE, marker="o", markersize=5)
            for place, value in enumerate(accuracy):
                _note(axes, f"{value:.2f}", (place, value), (-9, -14), ha="center")
            axes.set_xticks(range(len(series)), [f"{point.strength:g}" for point in series])
            axes.set_xlim(-0.75, len(series) - 0.5)
            axes.set_ylim(0, 1)
            axes.set_title(name)
            axes.set_xlabel(series[0].unit)
        panels[0].set_ylabel("accuracy")
        _note(panels[0], f"clean {clean:.2f}", (panels[0].get_xlim()[1], clean), (0, 3), ha="right", color=GREY)
        return svg(figure)


def curves(history: Mapping[str, Sequence[float]]) -> bytes:
    """Loss and accuracy by epoch, on training and validation faces; what is not in `history` is left out."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.4), layout="constrained")
        for axes, metric in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
            for key, label, colour, dashes in (
                (metric, "training", BLUE, (4, 2)),
                (f"val_{metric}", "validation", ORANGE, ()),
            ):
                if key in history:
                    epochs = range(1, len(history[key]) + 1)
                    marker = "o" if len(history[key]) == 1 else None
                    axes.plot(epochs, history[key], color=colour, dashes=dashes, label=label, marker=marker)
            axes.set_title(metric)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if metric == "accuracy":
                axes.set_ylim(0, 1)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize=9)
        return svg(figure)


def mistakes(images: NDArray[np.uint8], wrong: Sequence[Mistake], columns: int = 8) -> bytes:
    """The faces that were named wrong most surely: label, answer and its probability under each.

    Args:
        images: (M, 48, 48, 1) uint8, one a mistake.
        wrong: the M mistakes.
        columns: faces a row.

    Returns:
        PNG, because pictures are no drawings.
    """
    rows = -(-len(wrong) // columns)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 1.62 * rows), layout="constrained")
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, image, mistake in zip(grid, images, wrong, strict=False):
            axes.imshow(image[..., 0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            text = f"{mistake.label}\n→ {mistake.predicted} {mistake.confidence:.0%}"
            axes.text(0, 1.06, text, transform=axes.transAxes, va="bottom", fontsize=8)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=160)
        return buffer.getvalue()


def _matrix(axes: Axes, values: NDArray[np.float64], labels: Sequence[str], title: str, texts: Sequence[str]) -> None:
    limit = max(float(values.max()), 1.0)
    axes.imshow(values, cmap="Blues", vmin=0, vmax=limit)
    for place, text in enumerate(texts):
        row, column = divmod(place, len(labels))
        colour = "white" if values[row, column] > 0.55 * limit else "black"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=8.5)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    axes.set_xlabel("predicted label")
    axes.set_title(title)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)


def _reliability_panel(upper: Axes, lower: Axes, panel: Reliability, title: str) -> None:
    edges = np.asarray(panel.edges)
    width = np.diff(edges)
    accuracy = np.asarray([np.nan if value is None else value for value in panel.accuracy])
    upper.plot((0, 1), (0, 1), color=GREY, linestyle=":", linewidth=1.2, label="perfectly calibrated")
    upper.bar(edges[:-1], accuracy, width, align="edge", color=BLUE, edgecolor="white", label="accuracy in the bin")
    upper.set(xlim=(0, 1), ylim=(0, 1), title=title)
    lower.bar(edges[:-1], panel.counts, width, align="edge", color=GREY, edgecolor="white")
    lower.set_xlabel("confidence")
    lower.xaxis.set_major_formatter(PercentFormatter(1))


def _note(
    axes: Axes, text: str, place: tuple[float, float], offset: tuple[float, float], *, ha: str, color: str = "black"
) -> None:
    axes.annotate(text, place, offset, textcoords="offset points", fontsize=8, color=color, horizontalalignment=ha)


def svg(figure: Figure) -> bytes:
    """The figure as SVG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
