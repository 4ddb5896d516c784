"""The benchmark's result as a table in the terminal, and as table and plot in a page of the documentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from rich import box
from rich.table import Table

from benchmarks.comparison import LATENCY, ratios
from benchmarks.markdown import between_marks, check_marks, table
from benchmarks.measure import Spread

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rich.console import Console

    Figures = dict[str, dict[str, list[float]]]

mpl.use("Agg")

BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"
PLOT = "pictures/benchmark.svg"
OUR_NAME = "Mien, "
"""What the names of our own ways begin with."""
OURS, LIMIT_COLOUR, THEIRS = "#2a6f97", "#9a9a9a", "#c9ada7"


def show(result: dict[str, Any], console: Console) -> None:
    """Print the result."""
    console.print(f"{result['date']} · {result['machine']}\n{result['software']}\n{result['settings']}")
    tables: list[list[tuple[str, ...]]] = [list(_comparison(result["figures"]))]
    tables.append([("Mien", "median (least-most)"), *_own(result)])
    if result["peers"]:
        tables.append(list(_ahead(result)))
    for head, *rows in tables:
        shown = Table(*head, box=box.SIMPLE)
        for row in rows:
            shown.add_row(*row)
        console.print(shown)
    for name, text in result["peers"].items():
        console.print(f"{name}: {text}")
    for note in result["notes"]:
        console.print(f"[yellow]{note}")


def write(result: dict[str, Any], page: Path) -> None:
    """Put tables and plot between the page's marks.

    Raises:
        MienError: the page has no such marks.
    """
    check_marks(page, BEGIN, END)
    plot(result, page.parent / PLOT)
    between_marks(page, BEGIN, END, _markdown(result))


def plot(result: dict[str, Any], path: Path) -> None:
    """Faces a second of all contestants, a panel for each workload; the bars' lines reach from least to most."""
    from matplotlib import pyplot as plt

    figures: Figures = result["figures"]
    names = list(figures)
    workloads = [figure for figure in figures[names[0]] if figure != LATENCY]
    drawing, axes = plt.subplots(1, len(workloads), figsize=(10, 0.5 + 0.36 * len(names)), sharey=True)
    for axis, figure in zip(axes, workloads, strict=True):
        spreads = [Spread.of(figures[name][figure]) for name in names]
        medians = [spread.median for spread in spreads]
        reach = [[s.median - s.least for s in spreads], [s.most - s.median for s in spreads]]
        bars = axis.barh(names, medians, xerr=reach, color=[_colour(name, names) for name in names], ecolor="#444444")
        axis.bar_label(bars, [f" {median:.0f}" for median in medians], padding=4, fontsize=8)
        axis.set_title(f"{figure} (callers x faces in a call)")
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.15)
    axes[0].invert_yaxis()
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})
    plt.close(drawing)


def _colour(name: str, names: list[str]) -> str:
    if name == names[0]:
        return LIMIT_COLOUR
    return OURS if name.startswith(OUR_NAME) else THEIRS


def _comparison(figures: Figures) -> Iterator[tuple[str, ...]]:
    """The head and a row for each contestant: its figures, and its throughput over the limit's."""
    limit, *_ = figures
    workloads = [figure for figure in figures[limit] if figure != LATENCY]
    yield "", LATENCY, *(cell for figure in workloads for cell in (figure, "/ in process"))
    for name, values in figures.items():
        cells = [Spread.of(values[LATENCY]).text() if LATENCY in values else ""]
        for figure in workloads:
            cells += [Spread.of(values[figure]).text(), Spread.of(ratios(figures, name, limit, figure)).text()]
        yield name, *cells


def _own(result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    figures: Figures = result["figures"]
    limit, sdk, *_ = figures
    over = [mine - least for mine, least in zip(figures[sdk][LATENCY], figures[limit][LATENCY], strict=True)]
    yield "1 caller, p50 over in process, ms", Spread.of(over).text()
    for name, values in result["ours"].items():
        yield name, Spread.of(values).text()
    for process, size in result["resident MiB"].items():
        yield f"memory of {process}, MiB", f"{size:.0f}"


def _ahead(result: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    """The head and rows: how many times a peer's throughput each of our ways has."""
    figures: Figures = result["figures"]
    ours = [name for name in figures if name.startswith(OUR_NAME)]
    workloads = [figure for figure in next(iter(figures.values())) if figure != LATENCY]
    yield "times the throughput of", *(name.removeprefix(OUR_NAME) for name in ours)
    for figure in workloads:
        for peer in result["peers"]:
            spreads = [Spread.of(ratios(figures, name, peer, figure)).text() for name in ours]
            yield f"{peer}, {figure.split(',')[0]}", *spreads


def _markdown(result: dict[str, Any]) -> str:
    head, *rows = _comparison(result["figures"])
    lines = [
        f"{result['machine']}; {result['software']}; {result['date']}; {result['settings']}, median (least-most).",
        "",
        *table(head, rows),
        "",
        f"![Faces a second of each]({PLOT})",
        "",
        *table(("Mien", "median (least-most)"), list(_own(result))),
    ]
    if result["peers"]:
        head, *rows = _ahead(result)
        lines += ["", *table(head, rows)]
        lines += ["", *table(("peer", "versions; the way that served most"), list(result["peers"].items()))]
    lines += [f"\n{note}" for note in result["notes"]]
    return "\n".join(lines)
