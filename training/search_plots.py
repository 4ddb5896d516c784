"""The plots of a search's report, as SVG, in the look of `training.plots`; pruned trials are hollow or broken off.

Drawn here because Optuna's own Matplotlib plots are experimental, need pyplot's global state and bring another style.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter

from training.plots import BLUE, GREY, ORANGE, STYLE, WIDTH, svg
from training.space import Choice, Parameter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from training.space import Scalar
    from training.trials import Trial

_COLUMNS = 3
_KINDS: dict[str, dict[str, Any]] = {
    "complete": {"color": BLUE, "label": "completed"},
    "pruned": {"facecolors": "none", "edgecolors": BLUE, "label": "pruned"},
}
"""How a finished trial's point looks."""


def history(trials: Sequence[Trial]) -> bytes:
    """Accuracy of each trial, and the best completed one so far."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.4), layout="constrained")
        axes = figure.subplots()
        _points(axes, trials, [trial.number for trial in trials])
        completed = [trial for trial in trials if trial.state == "complete"]
        best = np.maximum.accumulate([trial.accuracy or 0.0 for trial in completed])
        numbers = [trial.number for trial in completed] + [trials[-1].number]
        axes.step(numbers, [*best, best[-1]], where="post", color=ORANGE, linewidth=1.6, zorder=1, label="best so far")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="trial", ylabel="accuracy", title="Accuracy on the validation split by trial")
        axes.legend(fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0.55, 1.0), borderaxespad=0.2)
        return svg(figure)


def importances(shares: Mapping[str, float]) -> bytes:
    """How much of the differences in accuracy each field explains, as bars."""
    fields = sorted(shares, key=lambda field: shares[field])
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 0.36 * len(fields) + 0.9), layout="constrained")
        axes = figure.subplots()
        bars = axes.barh(fields, [shares[field] for field in fields], 0.6, color=BLUE)
        axes.bar_label(bars, fmt="{:.0%}", padding=3, fontsize=9)
        axes.set(xlim=(0, 1), title="Share of the differences in accuracy that a field explains")
        axes.tick_params(axis="y", length=0)
        return svg(figure)


def slices(trials: Sequence[Trial], parameters: Mapping[str, Parameter]) -> bytes:
    """Accuracy over the values of each field, one panel a field."""
    rows = -(-len(parameters) // _COLUMNS)
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 2.7 * rows), layout="constrained")
        grid = figure.subplots(rows, min(_COLUMNS, len(parameters)), sharey=True, squeeze=False)
        for axes in grid.ravel()[len(parameters) :]:
            axes.set_axis_off()
        for axes, (field, parameter) in zip(grid.ravel(), parameters.items(), strict=False):
            tried = [trial for trial in trials if field in trial.values]
            _points(axes, tried, _places(axes, parameter, [trial.values[field] for trial in tried]))
            axes.set_xlabel(field)
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy")
        return svg(figure)


def curves(trials: Sequence[Trial], best: Trial) -> bytes:
    """Accuracy by epoch of every trial; the best one stands out, and a cross ends a pruned one."""
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 3.6), layout="constrained")
        axes = figure.subplots()
        for trial in trials:
            epochs = range(1, len(trial.curve) + 1)
            if trial.number == best.number:
                axes.plot(epochs, trial.curve, color=BLUE, marker="o", markersize=5, linewidth=2.2, zorder=3)
            elif trial.state in _KINDS:
                colour, dashes = (ORANGE, (3, 2)) if trial.state == "pruned" else (GREY, ())
                axes.plot(epochs, trial.curve, color=colour, dashes=dashes, linewidth=1, alpha=0.8)
                marker = "x" if trial.state == "pruned" else "o"
                axes.plot(epochs[-1:], trial.curve[-1:], color=colour, marker=marker, markersize=5, linestyle="none")
        axes.plot([], [], color=BLUE, marker="o", markersize=5, linewidth=2.2, label=f"trial {best.number}, the best")
        axes.plot([], [], color=GREY, marker="o", markersize=5, linewidth=1, label="completed")
        axes.plot([], [], color=ORANGE, marker="x", markersize=5, dashes=(3, 2), linewidth=1, label="pruned")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="epoch", ylabel="accuracy", title="Accuracy on the validation split by epoch")
        axes.legend(fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0.45, 1.0), borderaxespad=0.2)
        return svg(figure)


def _points(axes: Axes, trials: Sequence[Trial], places: Sequence[float]) -> None:
    for state, look in _KINDS.items():
        chosen = [(place, t.accuracy) for place, t in zip(places, trials, strict=True) if t.state == state]
        shown = [(place, accuracy) for place, accuracy in chosen if accuracy is not None]
        if shown:
            across, up = zip(*shown, strict=True)
            axes.scatter(across, up, s=30, linewidths=1.4, zorder=2, **look)


def _places(axes: Axes, parameter: Parameter, values: Sequence[Scalar]) -> list[float]:
    """Where values lie on the horizontal axis, which is set up for them."""
    if isinstance(parameter, Choice):
        axes.set_xticks(range(len(parameter.values)), [str(value) for value in parameter.values])
        axes.set_xlim(-0.5, len(parameter.values) - 0.5)
        return [float(parameter.values.index(value)) for value in values]
    low, high = float(parameter.low), float(parameter.high)
    if parameter.log:
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 3)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter(NullFormatter())
        margin = (high / low) ** 0.06
        axes.set_xlim(low / margin, high * margin)
    else:
        axes.set_xlim(low - 0.06 * (high - low), high + 0.06 * (high - low))
    return [float(value) for value in values if isinstance(value, int | float)]
