"""The commands: `mien image`, `video`, `webcam` and `models`."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import IO, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mien import draw, images, outputs, records, tables, webcam
from mien import video as videos
from mien.client import EmotionClient
from mien.errors import MediaError
from mien.interruption import stop_requested
from mien.results import Recognition
from mien.settings import ClientSettings

__all__ = ["run"]

EXIT_INTERRUPTED = 130
STDOUT = Path("-")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the faces in pictures and videos and name their emotions on a Triton Inference Server.",
    epilog="Every setting is also an environment variable: MIEN_ENDPOINTS, MIEN_DEADLINE_S, MIEN_TLS_ROOT_CA, ...",
)

Endpoint = Annotated[
    str | None,
    typer.Option(metavar="HOST:PORT", help="Triton's gRPC port. Default: MIEN_ENDPOINTS or 127.0.0.1:8001."),
]
Model = Annotated[str | None, typer.Option(help="The ensemble to call. Default: emotion.")]
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


def run() -> int:
    """Run the command that the arguments name; ends with SystemExit or an error."""
    app(prog_name="mien")
    return 0


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"mien {version('mien')}")
        raise typer.Exit


@app.callback()
def _main(
    *,
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def image(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Pictures: JPEG, PNG, WebP, BMP, TIFF.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one object a picture, no table.")] = False,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Also write a line a face; - is stdout.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="Write annotated pictures: a folder, or a file name for one picture."),
    ] = None,
    endpoint: Endpoint = None,
    model: Model = None,
    detector: Detector = None,
    yunet: YuNet = None,
    detect_size: DetectSize = None,
    deadline: Deadline = None,
) -> None:
    """Find the faces of pictures and name their emotions.

    A picture that cannot be read is reported and the others go on; the exit code is then 3.
    """
    settings = _settings(endpoint, model, detector, yunet, detect_size, deadline)
    targets = _annotated_names(photos, out) if out is not None else {}
    answers: list[tuple[Path, Recognition | MediaError]] = []
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(EmotionClient(settings))
        table = csv and records.CsvWriter(stack.enter_context(_opened(csv)), ["file", "face"])
        for photo in photos:
            answer = _recognize(client, photo, targets.get(photo))
            answers.append((photo, answer))
            if isinstance(answer, MediaError):
                print(f"Error: {answer}", file=sys.stderr)
            elif table:
                for number, face in enumerate(answer.faces, 1):
                    table.write({"file": str(photo), "face": number}, face)
            if as_json:
                print(json.dumps(_picture_record(photo, answer)), flush=True)
    if not as_json and csv != STDOUT:
        _print_pictures(answers, targets)
    failed = [answer for _, answer in answers if isinstance(answer, MediaError)]
    if failed:
        raise typer.Exit(failed[0].exit_code)


@app.command()
def video(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="A video file: MP4, AVI, MKV, WebM and others.")],
    *,
    csv: Annotated[
        Path | None, typer.Option("--csv", metavar="FILE", help="Write a line for each face; - is stdout.")
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option("--json", metavar="FILE", help="Write JSON Lines, an object for each face; - is stdout."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write an annotated video (.mp4, .mov, .mkv, .avi), without sound."),
    ] = None,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames to analyse a second. Default: all.")] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Smooth each person's emotions over time.")] = False,
    endpoint: Endpoint = None,
    model: Model = None,
    detector: Detector = None,
    yunet: YuNet = None,
    detect_size: DetectSize = 640,
    deadline: Deadline = None,
) -> None:
    """Find the faces of a video and name their emotions, a row for each face of each frame.

    Without --csv, --json or --out the rows go to stdout as CSV; `face` is the number of a person, kept from frame to
    frame.

    The files get their names at the end. Ctrl-C is an end too, with the rows up to there; after an error they stay
    beside, with `.partial` in their names.
    """
    settings = _settings(endpoint, model, detector, yunet, detect_size, deadline)
    if csv is None and as_json is None and out is None:
        csv = STDOUT
    problem: MediaError | None = None
    frames_done, faces_done, people = 0, 0, 0
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(EmotionClient(settings))
        reader = stack.enter_context(videos.VideoReader(source, settings.max_pixels, fps))
        stop = stack.enter_context(stop_requested())
        advance = stack.enter_context(_progress(source.name, reader.frame_count))
        analysed = videos.analyse(client, reader, smoothing=videos.SMOOTHING if smooth else 0.0, on_progress=advance)
        stack.callback(analysed.close)
        first = next(analysed)  # an error so early leaves no file behind
        sinks = _sinks(stack, csv, as_json, out, reader.fps)
        try:
            for frame in chain([first], analysed):
                for sink in sinks:
                    sink(frame)
                frames_done += 1
                faces_done += len(frame.faces)
                people = max([people, *(face.track for face in frame.faces)])
                if stop.is_set():
                    break
        except MediaError as error:  # the end of a truncated video: what was read of it counts
            problem = error
        was_stopped = stop.is_set()
    names = ", ".join(str(name) for name in (csv, as_json, out) if name not in (None, STDOUT))
    print(
        f"{'Stopped: ' if was_stopped else ''}{faces_done:,} faces of {people:,} people in {frames_done:,} frames"
        f"{f' -> {names}' if names else ''}",
        file=sys.stderr,
    )
    if problem is not None:
        raise problem
    if was_stopped:
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command(name="webcam")
def watch_camera(
    *,
    camera: Annotated[str, typer.Option(metavar="N", help="Number of the camera, or a stream's address.")] = "0",
    endpoint: Endpoint = None,
    model: Model = None,
    detector: Detector = None,
    yunet: YuNet = None,
    detect_size: DetectSize = 640,
    deadline: Deadline = None,
) -> None:
    """Show a camera's picture with boxes and emotions; q or Escape ends it. Its window needs opencv-python."""
    settings = _settings(endpoint, model, detector, yunet, detect_size, deadline)
    with contextlib.closing(webcam.OpenCvWindow()) as window, EmotionClient(settings) as client:
        capture = webcam.open_camera(int(camera) if camera.isdecimal() else camera)
        try:
            webcam.watch(client, capture, window)
        finally:
            capture.release()


@app.command()
def models(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Lines, one object a model.")] = False,
    endpoint: Endpoint = None,
    model: Model = None,
    deadline: Deadline = None,
) -> None:
    """List the models that the server serves, their versions and what they have done. Needs no admin key."""
    with EmotionClient(_settings(endpoint, model, deadline_s=deadline)) as client:
        statuses = client.models()
    if as_json:
        for status in statuses:
            print(json.dumps(asdict(status)))
    else:
        Console().print(tables.model_table(statuses))
        print("\nNumbers and times count the server's warm-up in.")


def _settings(
    endpoint: str | None = None,
    model: str | None = None,
    detector: str | None = None,
    yunet: Path | None = None,
    detect_size: int | None = None,
    deadline_s: float | None = None,
) -> ClientSettings:
    """Settings of the environment, with what the command line says on top."""
    given = {
        "endpoints": endpoint,
        "model": model,
        "detector": detector,
        "yunet_path": yunet,
        "detector_size": detect_size,
        "deadline_s": deadline_s,
    }
    return ClientSettings(**{name: value for name, value in given.items() if value is not None})


def _recognize(client: EmotionClient, photo: Path, annotated: Path | None) -> Recognition | MediaError:
    try:
        picture = images.read_image(photo, client.settings.max_pixels)
        recognition = client.recognize(picture)
        if annotated is not None:
            outputs.save_picture(draw.annotate(picture, recognition.faces), annotated)
    except MediaError as error:
        return error
    return recognition


def _picture_record(photo: Path, answer: Recognition | MediaError) -> dict[str, Any]:
    if isinstance(answer, MediaError):
        return {"file": str(photo), "error": str(answer)}
    return {
        "file": str(photo),
        "width": answer.width,
        "height": answer.height,
        "faces": [records.face_record(face) for face in answer.faces],
        "detector": answer.detector,
        "detect_s": round(answer.detect_s, 6),
        "infer_s": round(answer.infer_s, 6),
        "request_id": answer.request_id,
    }


def _print_pictures(answers: list[tuple[Path, Recognition | MediaError]], targets: dict[Path, Path]) -> None:
    good = [(photo, answer) for photo, answer in answers if isinstance(answer, Recognition)]
    if good:
        Console().print(tables.recognition_table((str(photo), answer) for photo, answer in good))
    for photo, _ in good:
        if photo in targets:
            print(f"Annotated: {targets[photo]}")


def _annotated_names(photos: list[Path], out: Path) -> dict[Path, Path]:
    """Where each picture's annotated copy goes; never onto a picture that is read."""
    if len(photos) == 1 and out.suffix and not out.is_dir():
        names = {photos[0]: out}
    else:
        names = {}
        for photo in photos:
            suffix = photo.suffix.lower() if photo.suffix.lower() in {".jpg", ".jpeg", ".png", ".webp"} else ".png"
            name, number = out / f"{photo.stem}.emotions{suffix}", 2
            while name in names.values():  # pictures of the same name in several folders
                name, number = out / f"{photo.stem}-{number}.emotions{suffix}", number + 1
            names[photo] = name
    for name in names.values():
        if name.resolve() in {photo.resolve() for photo in photos}:
            raise MediaError(f"{name} is one of the pictures to read; choose another name with --out.")
    return names


@contextlib.contextmanager
def _opened(path: Path, *, keep_partial: bool = False) -> Iterator[IO[str]]:
    if path == STDOUT:
        yield sys.stdout
        return
    with (
        outputs.replacing(path, keep_partial=keep_partial) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


@contextlib.contextmanager
def _progress(name: str, total: int | None) -> Iterator[Callable[[int], None]]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(name, total=total)
        yield lambda index: bar.update(task, completed=index + 1)


Sink = Callable[[videos.AnalysedFrame], None]


def _sinks(
    stack: contextlib.ExitStack, csv: Path | None, as_json: Path | None, out: Path | None, fps: float
) -> list[Sink]:
    """Where each frame goes; the files get their names when `stack` is closed."""
    place = ("frame", "time_s", "face")
    sinks: list[Sink] = []
    if csv is not None:
        sinks.append(_row_sink(records.CsvWriter(stack.enter_context(_opened(csv, keep_partial=True)), place)))
    if as_json is not None:
        sinks.append(_row_sink(records.JsonLinesWriter(stack.enter_context(_opened(as_json, keep_partial=True)))))
    if out is not None:
        beside = stack.enter_context(outputs.replacing(out, keep_partial=True))
        writer = stack.enter_context(videos.VideoWriter(beside, fps))
        sinks.append(
            lambda frame: writer.write(draw.annotate(frame.frame.picture, [face.recognized for face in frame.faces]))
        )
    return sinks


def _row_sink(writer: records.RecordWriter) -> Sink:
    def write(frame: videos.AnalysedFrame) -> None:
        for face in frame.faces:
            place = {"frame": frame.frame.index, "time_s": round(frame.frame.time_s, 3), "face": face.track}
            writer.write(place, face.recognized)

    return write
