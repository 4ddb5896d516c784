"""Results as tables for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from mien.draw import COLORS
from mien.results import mean_emotion

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mien.results import ModelStatus, Recognition, SpeechWindow


def recognition_table(recognitions: Iterable[tuple[str, Recognition]]) -> Table:
    """One line for each face of each (picture's name, recognition); at most 80 columns wide for short names."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("picture", overflow="fold")
    for name in ("face", "emotion", "confidence", "x, y, w x h", "release"):
        table.add_column(name, justify="left" if name == "emotion" else "right", no_wrap=True)
    for picture, recognition in recognitions:
        if not recognition.faces:
            table.add_row(picture, "-", Text("no face", style="dim"))
        for number, recognized in enumerate(recognition.faces, 1):
            place, emotion = recognized.face.box, recognized.emotion
            table.add_row(
                picture,
                str(number),
                _colored(emotion.label),
                f"{emotion.confidence:.0%}",
                f"{place.x:.0f}, {place.y:.0f}, {place.width:.0f} x {place.height:.0f}",
                emotion.model_version,
            )
    return table


def speech_table(answers: Iterable[tuple[str, Sequence[SpeechWindow]]]) -> Table:
    """One line for each recording, of its windows."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("recording", overflow="fold")
    for name in ("seconds", "emotion", "confidence", "windows", "release"):
        table.add_column(name, justify="left" if name == "emotion" else "right", no_wrap=True)
    for recording, windows in answers:
        emotion = mean_emotion(window.emotion for window in windows)
        table.add_row(
            recording,
            f"{windows[-1].end_s:.1f}",
            _colored(emotion.label) if emotion else Text("silence", style="dim"),
            f"{emotion.confidence:.0%}" if emotion else "-",
            str(len(windows)),
            emotion.model_version if emotion else "-",
        )
    return table


def model_table(statuses: Iterable[ModelStatus]) -> Table:
    """One line for each model, and one for the steps of an ensemble."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold underline")
    table.add_column("model", no_wrap=True)
    for name in ("version", "items", "batches", "mean ms", "queued"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("backend", no_wrap=True)
    for status in statuses:
        if not status.is_loaded:
            table.add_row(status.name, "-", "-", "-", "-", "-", Text("not loaded", style="dim"))
            continue
        table.add_row(
            status.name,
            ", ".join(status.versions),
            f"{status.inferences:,}",
            f"{status.executions:,}",
            _milliseconds(status.request_ms),
            _milliseconds(status.queue_ms),
            status.backend,
        )
        for name, version in status.members:
            table.add_row(Text(f"  {name}", style="dim"), Text(version, style="dim"))
    return table


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _colored(label: str) -> Text:
    red, green, blue = COLORS.get(label, (255, 255, 255))
    return Text(label, style=f"bold rgb({red},{green},{blue})")
