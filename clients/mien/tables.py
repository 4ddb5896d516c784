"""Results as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.draw import COLORS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mien.results import ModelStatus, Recognition


def recognition_table(recognitions: Iterable[tuple[str, Recognition]]) -> Table:
    """One line for each face of each (picture's name, recognition)."""
    table = Table()
    table.add_column("picture", overflow="fold")
    for name in ("face", "x, y, width x height", "score", "emotion", "confidence", "second guess", "release"):
        table.add_column(name, justify="left" if name in {"emotion", "second guess"} else "right", no_wrap=True)
    for picture, recognition in recognitions:
        if not recognition.faces:
            table.add_row(picture, "-", "no face found")
        for number, recognized in enumerate(recognition.faces, 1):
            face, emotion = recognized.face, recognized.emotion
            second = sorted(emotion.probabilities.items(), key=lambda item: -item[1])[1]
            table.add_row(
                picture,
                str(number),
                f"{face.box.x:.0f}, {face.box.y:.0f}, {face.box.width:.0f} x {face.box.height:.0f}",
                "" if face.score is None else f"{face.score:.2f}",
                _colored(emotion.label),
                f"{emotion.confidence:.0%}",
                f"{second[0]} {second[1]:.0%}",
                emotion.model_version,
            )
    return table


def model_table(statuses: Iterable[ModelStatus]) -> Table:
    """One line for each model."""
    table = Table()
    table.add_column("model", overflow="fold")
    for name in ("versions", "backend", "steps"):
        table.add_column(name)
    for name in ("faces", "batches", "ms a request", "of it queued"):
        table.add_column(name, justify="right", no_wrap=True)
    for status in statuses:
        if not status.is_loaded:
            table.add_row(status.name, Text("not loaded", style="dim"))
            continue
        table.add_row(
            status.name,
            ", ".join(status.versions),
            status.backend,
            "\n".join(f"{name} {version}" for name, version in status.members),
            f"{status.inferences:,}",
            f"{status.executions:,}",
            _milliseconds(status.request_ms),
            _milliseconds(status.queue_ms),
        )
    return table


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _colored(label: str) -> Text:
    red, green, blue = COLORS.get(label, (255, 255, 255))
    return Text(label, style=f"bold rgb({red},{green},{blue})")
