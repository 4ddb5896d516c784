"""The commands: `mien image`, `webcam` and `models` here, `video` and `audio` in modules of their own."""

from __future__ import annotations

import contextlib
import json
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path  # noqa: TC003 (typer reads the annotations at run time)
from typing import Annotated, Any

import typer
from rich.console import Console

from mien import draw, images, outputs, records, tables, webcam
from mien.audio_command import audio
from mien.client import EmotionClient
from mien.errors import MediaError
from mien.options import STDOUT, Deadline, Detector, DetectSize, Endpoint, Model, YuNet, client_settings, opened
from mien.results import Recognition
from mien.video_command import video

__all__ = ["run"]

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Name the emotions of faces in pictures and videos, and of speech, on a Triton Inference Server.",
    epilog="Every setting is also an environment variable: MIEN_ENDPOINTS, MIEN_DEADLINE_S, MIEN_TLS_ROOT_CA, ...",
)


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
    settings = client_settings(endpoint, model, detector, yunet, detect_size, deadline)
    targets = _annotated_names(photos, out) if out is not None else {}
    answers: list[tuple[Path, Recognition | MediaError]] = []
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(EmotionClient(settings))
        table = csv and records.CsvWriter(stack.enter_context(opened(csv)), ["file", "face"], records.FACE)
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


app.command()(video)
app.command()(audio)


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
    settings = client_settings(endpoint, model, detector, yunet, detect_size, deadline)
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
    with EmotionClient(client_settings(endpoint, model, deadline_s=deadline)) as client:
        statuses = client.models()
    if as_json:
        for status in statuses:
            print(json.dumps(asdict(status)))
    else:
        Console().print(tables.model_table(statuses))
        print("\nNumbers and times count the server's warm-up in.")


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
