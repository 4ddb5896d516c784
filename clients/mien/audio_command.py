"""The command `mien audio`."""

from __future__ import annotations

import contextlib
import json
import math
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from mien import contract, records, speech, tables, windows
from mien.client import EmotionClient
from mien.errors import MediaError
from mien.interruption import stop_requested
from mien.options import EXIT_INTERRUPTED, STDOUT, Deadline, Endpoint, SpeechModel, client_settings, opened, progress
from mien.results import SpeechWindow, mean_emotion

if TYPE_CHECKING:
    from threading import Event

    from mien.recordings import RecordingReader
    from mien.sound_tracks import SoundTrackReader

MICROPHONE = "mic"
LONG_S = 30.0
"""A recording of this length has a progress bar."""

Csv = Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Also write a line a window; - is stdout.")]
Writer = records.CsvWriter[SpeechWindow] | None


def audio(
    sources: Annotated[
        list[str], typer.Argument(metavar="FILE...|mic", help="Recordings: WAV, FLAC, OGG, MP3; mic is the microphone.")
    ],
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines: an object a recording, of mic an object a window.")
    ] = False,
    csv: Csv = None,
    hop: Annotated[
        float, typer.Option(metavar="SECONDS", help="From one window of 3 s to the next.")
    ] = contract.WINDOW_HOP_S,
    endpoint: Endpoint = None,
    speech_model: SpeechModel = None,
    deadline: Deadline = None,
) -> None:
    """Name the emotions of speech, in windows of 3 s that overlap.

    A recording's emotion is the mean of its windows that are not silent. One that cannot be read is reported and the
    others go on; the exit code is then 3. Ctrl-C ends the microphone.
    """
    settings = client_settings(endpoint, deadline_s=deadline, speech_model=speech_model)
    windows.Windows(hop)  # a hop out of bounds is told before anything is opened
    with contextlib.ExitStack() as stack:
        client = stack.enter_context(EmotionClient(settings))
        stop = stack.enter_context(stop_requested())
        table = records.CsvWriter(stack.enter_context(opened(csv)), ["file"], records.SPEECH) if csv else None
        quiet = as_json or csv == STDOUT
        if sources == [MICROPHONE] and not Path(MICROPHONE).exists():
            _listen(client, stop, hop, table, as_json=as_json, quiet=quiet)
            return
        problems = _read(client, [Path(source) for source in sources], stop, hop, table, as_json=as_json, quiet=quiet)
    if stop.is_set():
        raise typer.Exit(EXIT_INTERRUPTED)
    if problems:
        raise typer.Exit(problems[0].exit_code)


def _read(
    client: EmotionClient, paths: list[Path], stop: Event, hop_s: float, table: Writer, *, as_json: bool, quiet: bool
) -> list[MediaError]:
    answers: list[tuple[str, list[SpeechWindow]]] = []
    problems: list[MediaError] = []
    for path in paths:
        found: list[SpeechWindow] = []
        problem: MediaError | None = None
        try:
            _recognize(client, path, stop, hop_s, found, table)
        except MediaError as error:
            problem = error
            problems.append(error)
            print(f"Error: {error}", file=sys.stderr)
        if as_json:
            print(json.dumps(_recording_record(path, found, problem)), flush=True)
        if found:
            answers.append((str(path), found))
        if stop.is_set():
            break
    if answers and not quiet:
        Console().print(tables.speech_table(answers))
    return problems


def _recognize(
    client: EmotionClient, path: Path, stop: Event, hop_s: float, found: list[SpeechWindow], table: Writer
) -> None:
    """Add the windows of a recording to `found`, and to the table, as they come."""
    with contextlib.ExitStack() as stack:
        reader = _open(path, stack)
        length_s = reader.duration_s or 0.0
        advance = stack.enter_context(progress(path.name, math.ceil(length_s))) if length_s >= LONG_S else None
        analysed = speech.analyse(client, reader.sound(), hop_s=hop_s)
        stack.callback(analysed.close)
        for window in analysed:
            found.append(window)
            if table:
                table.write({"file": str(path)}, window)
            if advance:
                advance(int(window.end_s))
            if stop.is_set():
                break


def _open(path: Path, stack: contextlib.ExitStack) -> RecordingReader | SoundTrackReader:
    """A reader for the file: libsndfile's, or FFmpeg's for what that does not know, if it is there."""
    from mien.recordings import RecordingReader  # here, because it needs an extra

    try:
        return stack.enter_context(RecordingReader(path))
    except MediaError:
        if find_spec("av") is None or not path.is_file():
            raise
        from mien.sound_tracks import SoundTrackReader

        with contextlib.suppress(MediaError):
            return stack.enter_context(SoundTrackReader(path))
        raise


def _listen(client: EmotionClient, stop: Event, hop_s: float, table: Writer, *, as_json: bool, quiet: bool) -> None:
    from mien import microphone  # here, because it needs an extra

    print("Listening; Ctrl-C ends it.", file=sys.stderr)
    heard: list[SpeechWindow] = []
    for window in speech.cut(microphone.listen(stop), hop_s):
        (answer,) = windows.answered([window], client.classify_speech(windows.stacked([window])))
        heard.append(answer)
        if table:
            table.write({"file": MICROPHONE}, answer)
        if as_json:
            print(json.dumps(records.speech_record(answer)), flush=True)
        elif not quiet:
            print(f"{answer.start_s:7.1f} s  {_described(answer)}", flush=True)
    if not quiet:
        Console().print(tables.speech_table([(MICROPHONE, heard)]))


def _described(window: SpeechWindow) -> str:
    return f"{window.emotion.label} {window.emotion.confidence:.0%}" if window.emotion else "silence"


def _recording_record(path: Path, found: list[SpeechWindow], problem: MediaError | None) -> dict[str, Any]:
    record: dict[str, Any] = {"file": str(path)}
    if found:
        emotion = mean_emotion(window.emotion for window in found)
        record |= {
            "duration_s": round(found[-1].end_s, 3),
            "is_silent": emotion is None,
            **records.emotion_record(emotion),
            "windows": [records.speech_record(window) for window in found],
        }
    return record | ({"error": str(problem)} if problem else {})
