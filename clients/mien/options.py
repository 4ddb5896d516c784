"""What the commands have in common: options, settings, and where their results go."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mien import outputs
from mien.settings import ClientSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

EXIT_INTERRUPTED = 130
STDOUT = Path("-")

Endpoint = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Triton's gRPC port. Default: MIEN_ENDPOINTS or 127.0.0.1:8001."),
]
Model = Annotated[str | None, typer.Option(help="The ensemble to call for faces. Default: emotion.")]
SpeechModel = Annotated[str | None, typer.Option(help="The ensemble to call for speech. Default: speech_emotion.")]
Detector = Annotated[
    str | None,
    typer.Option(metavar="auto|yunet|haar", help="Face detector; auto takes haar where YuNet cannot be had."),
]
YuNet = Annotated[Path | None, typer.Option("--yunet", metavar="FILE", help="A YuNet file of your own: no download.")]
DetectSize = Annotated[
    int | None,
    typer.Option(metavar="PIXELS", help="Longest side at which faces are looked for: more finds smaller ones."),
]
Deadline = Annotated[
    float | None, typer.Option(metavar="SECONDS", help="For each call to the server, retries included.")
]


def client_settings(
    endpoint: str | None = None,
    model: str | None = None,
    detector: str | None = None,
    yunet: Path | None = None,
    detect_size: int | None = None,
    deadline_s: float | None = None,
    speech_model: str | None = None,
) -> ClientSettings:
    """Settings of the environment, with what the command line says on top."""
    given = {
        "endpoints": endpoint,
        "model": model,
        "detector": detector,
        "yunet_path": yunet,
        "detector_size": detect_size,
        "deadline_s": deadline_s,
        "speech_model": speech_model,
    }
    return ClientSettings(**{name: value for name, value in given.items() if value is not None})


@contextlib.contextmanager
def opened(path: Path, *, keep_partial: bool = False) -> Iterator[IO[str]]:
    """A text file to write to, which gets its name at the end; - is stdout.

    Raises:
        MediaError: it cannot be written there.
    """
    if path == STDOUT:
        yield sys.stdout
        return
    with (
        outputs.replacing(path, keep_partial=keep_partial) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def progress(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on the terminal, if there is one; call what is given with how many of `total` are done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=total)
        yield lambda done: bar.update(task, completed=done)
