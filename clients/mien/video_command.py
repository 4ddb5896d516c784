"""The command `mien video`."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path  # noqa: TC003 (typer reads the annotations at run time)
from typing import TYPE_CHECKING, Annotated

import typer

from mien import draw, fusion, outputs, records, speech
from mien import video as videos
from mien.client import EmotionClient
from mien.errors import MediaError
from mien.interruption import stop_requested
from mien.options import (
    EXIT_INTERRUPTED,
    STDOUT,
    Deadline,
    Detector,
    DetectSize,
    Endpoint,
    Model,
    SpeechModel,
    YuNet,
    client_settings,
    opened,
    progress,
)

if TYPE_CHECKING:
    from threading import Event

    from mien.results import Emotion, RecognizedFace, SpeechWindow

Sink = Callable[[videos.AnalysedFrame], None]


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
    with_audio: Annotated[
        bool,
        typer.Option("--audio", help="Listen to the sound too: a line for each 1.5 s, of faces, speech and both."),
    ] = False,
    fps: Annotated[float | None, typer.Option(min=0.001, help="Frames to analyse a second. Default: all.")] = None,
    smooth: Annotated[bool, typer.Option("--smooth", help="Smooth each person's emotions over time.")] = False,
    endpoint: Endpoint = None,
    model: Model = None,
    speech_model: SpeechModel = None,
    detector: Detector = None,
    yunet: YuNet = None,
    detect_size: DetectSize = 640,
    deadline: Deadline = None,
) -> None:
    """Find the faces of a video and name their emotions, a row for each face of each frame.

    Without --csv, --json or --out the rows go to stdout as CSV; `face` is the number of a person, kept from frame to
    frame. With --audio there is a row for each 1.5 s instead, and the last object of --json is the summary.

    The files get their names at the end. Ctrl-C is an end too, with the rows up to there; after an error they stay
    beside, with `.partial` in their names.
    """
    settings = client_settings(endpoint, model, detector, yunet, detect_size, deadline, speech_model)
    if csv is None and as_json is None and out is None:
        csv = STDOUT
    tally = _Tally()
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(EmotionClient(settings))
        reader = stack.enter_context(videos.VideoReader(source, settings.max_pixels, fps))
        stop = stack.enter_context(stop_requested())
        heard = _listen(client, source, stop, tally) if with_audio else None
        advance = stack.enter_context(progress(source.name, reader.frame_count))
        analysed = videos.analyse(
            client,
            reader,
            smoothing=videos.SMOOTHING if smooth else 0.0,
            on_progress=lambda index: advance(index + 1),
        )
        stack.callback(analysed.close)
        first = next(analysed)  # an error so early leaves no file behind
        frames = tally.over(chain([first], analysed), stop)
        if out is not None:
            frames = _drawn(frames, _picture_sink(stack, out, reader.fps))
        if heard is None:
            _write_faces(frames, _face_sinks(stack, csv, as_json))
        else:
            tally.moments = _write_moments(frames, heard, tally, stack, csv, as_json)
    names = ", ".join(str(name) for name in (csv, as_json, out) if name not in (None, STDOUT))
    print(f"{tally.sentence()}{f' -> {names}' if names else ''}", file=sys.stderr)
    if tally.problem is not None:
        raise tally.problem
    if tally.was_stopped:
        raise typer.Exit(EXIT_INTERRUPTED)


@dataclass
class _Tally:
    """What was done so far, and why it ended."""

    frames: int = 0
    faces: int = 0
    people: int = 0
    moments: Sequence[fusion.Moment] = ()
    was_stopped: bool = False
    problem: MediaError | None = None

    def over(self, frames: Iterable[videos.AnalysedFrame], stop: Event) -> Iterator[videos.AnalysedFrame]:
        """The frames, counted, until they end, cannot be read any further, or somebody wants to stop."""
        try:
            for frame in frames:
                yield frame
                self.frames += 1
                self.faces += len(frame.faces)
                self.people = max([self.people, *(face.track for face in frame.faces)])
                self.was_stopped = stop.is_set()
                if self.was_stopped:
                    return
        except MediaError as error:  # the end of a truncated video: what was read of it counts
            self.problem = error

    def sentence(self) -> str:
        text = f"{self.faces:,} faces of {self.people:,} people in {self.frames:,} frames"
        whole = fusion.summary(self.moments)
        if whole is not None:
            text += f"; together {_named(whole.fused)}: faces {_named(whole.face)}, speech {_named(whole.speech)}"
        return f"Stopped: {text}" if self.was_stopped else text


def _named(emotion: Emotion | None) -> str:
    return f"{emotion.label} {emotion.confidence:.0%}" if emotion else "nothing"


def _listen(client: EmotionClient, source: Path, stop: Event, tally: _Tally) -> list[SpeechWindow]:
    """The windows of the video's sound; none, and a sentence, if it has none."""
    from mien.sound_tracks import NoSoundError, SoundTrackReader  # here, because it needs an extra

    heard: list[SpeechWindow] = []
    with contextlib.ExitStack() as stack:
        try:
            reader = stack.enter_context(SoundTrackReader(source))
        except NoSoundError as error:
            print(f"{error} The rows are about its faces alone.", file=sys.stderr)
            return heard
        length = math.ceil(reader.duration_s) if reader.duration_s else None
        advance = stack.enter_context(progress(f"{source.name}, sound", length))
        analysed = speech.analyse(client, reader.sound())
        stack.callback(analysed.close)
        try:
            for window in analysed:
                heard.append(window)
                advance(int(window.end_s))
                if stop.is_set():
                    raise typer.Exit(EXIT_INTERRUPTED)
        except MediaError as error:
            tally.problem = error
    return heard


def _drawn(frames: Iterator[videos.AnalysedFrame], sink: Sink) -> Iterator[videos.AnalysedFrame]:
    for frame in frames:
        sink(frame)
        yield frame


def _write_faces(frames: Iterable[videos.AnalysedFrame], sinks: Sequence[Sink]) -> None:
    for frame in frames:
        for sink in sinks:
            sink(frame)


def _write_moments(
    frames: Iterable[videos.AnalysedFrame],
    heard: Sequence[SpeechWindow],
    tally: _Tally,
    stack: contextlib.ExitStack,
    csv: Path | None,
    as_json: Path | None,
) -> list[fusion.Moment]:
    """Write the moments as they come, and to JSON their summary; they are few enough to be kept."""
    writers: list[records.RecordWriter[fusion.Moment]] = []
    if csv is not None:
        file = stack.enter_context(opened(csv, keep_partial=True))
        writers.append(records.CsvWriter(file, (), records.MOMENT))
    lines = None if as_json is None else stack.enter_context(opened(as_json, keep_partial=True))
    if lines is not None:
        writers.append(records.JsonLinesWriter(lines, records.MOMENT))
    moments = []
    seen = ((frame.frame.time_s, [face.recognized for face in frame.faces]) for frame in frames)
    for moment in fusion.timeline(seen, heard):
        moments.append(moment)
        for writer in writers:
            writer.write({}, moment)
        if tally.was_stopped:
            break
    whole = fusion.summary(moments)
    if lines is not None and whole is not None:
        lines.write(json.dumps({"summary": records.moment_record(whole)}) + "\n")
    return moments


def _picture_sink(stack: contextlib.ExitStack, out: Path, fps: float) -> Sink:
    """Where annotated frames go; the file gets its name when `stack` is closed."""
    beside = stack.enter_context(outputs.replacing(out, keep_partial=True))
    writer = stack.enter_context(videos.VideoWriter(beside, fps))
    return lambda frame: writer.write(draw.annotate(frame.frame.picture, [face.recognized for face in frame.faces]))


def _face_sinks(stack: contextlib.ExitStack, csv: Path | None, as_json: Path | None) -> list[Sink]:
    """Where the faces of each frame go; the files get their names when `stack` is closed."""
    place = ("frame", "time_s", "face")
    sinks: list[Sink] = []
    if csv is not None:
        file = stack.enter_context(opened(csv, keep_partial=True))
        sinks.append(_row_sink(records.CsvWriter(file, place, records.FACE)))
    if as_json is not None:
        file = stack.enter_context(opened(as_json, keep_partial=True))
        sinks.append(_row_sink(records.JsonLinesWriter(file, records.FACE)))
    return sinks


def _row_sink(writer: records.RecordWriter[RecognizedFace]) -> Sink:
    def write(frame: videos.AnalysedFrame) -> None:
        for face in frame.faces:
            place = {"frame": frame.frame.index, "time_s": round(frame.frame.time_s, 3), "face": face.track}
            writer.write(place, face.recognized)

    return write
