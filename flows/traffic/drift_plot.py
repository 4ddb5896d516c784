"""The picture of a drift: how a release answered then and how it answers now."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from mien.contract import CONFIDENCE_BOUNDS
from training.plots import BLUE, ORANGE, STYLE, WIDTH, svg

if TYPE_CHECKING:
    from collections.abc import Sequence

    from matplotlib.axes import Axes

    from training.answer_profile import AnswerProfile

BARS = 0.4


def answer_profiles(expected: AnswerProfile, observed: AnswerProfile, items: str) -> bytes:
    """Labels and confidences of the reference and of the traffic side by side, as SVG; `items` is what was answered."""
    ranges = [f"≤ {CONFIDENCE_BOUNDS[0]:g}", *(f"{low:g}-{high:g}" for low, high in pairwise(CONFIDENCE_BOUNDS))]
    with mpl.rc_context(STYLE):
        figure = Figure((WIDTH, 4.2), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _pair_of_bars(left, list(expected.labels), list(expected.labels.values()), list(observed.labels.values()))
        _pair_of_bars(right, ranges, expected.confidence, observed.confidence)
        left.set_title("Labels")
        right.set_title("Confidence")
        left.set_ylabel(f"share of the {items}")
        left.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        names = [f"reference ({expected.faces:,} {items})", f"traffic ({observed.faces:,} {items})"]
        figure.legend(left.containers, names, loc="outside upper right", ncols=2)
        return svg(figure)


def _pair_of_bars(axes: Axes, names: Sequence[str], expected: Sequence[float], observed: Sequence[float]) -> None:
    places = np.arange(len(names))
    axes.bar(places - BARS / 2, expected, BARS, color=BLUE)
    axes.bar(places + BARS / 2, observed, BARS, color=ORANGE, hatch="//", edgecolor="white")
    axes.set_xticks(places, names, rotation=45, ha="right")
