"""What a long recording costs: ten minutes through the way of `mien audio`, as a multiple of real time.

    python -m benchmarks.recording --minutes 10 --rounds 3

The sound is made: noise whose loudness goes up and down as that of syllables does, so that no window is silent; what is
said makes no difference to the cost. Stereo of 44.1 kHz, as WAV, FLAC and MP3; each is read, mixed, resampled, cut into
windows of 3 s every 1.5 s and answered by a real Triton, server and client on the same processors.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from benchmarks.machine import machine
from benchmarks.measure import Spread
from mien import ClientSettings, EmotionClient, speech
from mien.recordings import RecordingReader
from serving.server import TritonServer
from serving.settings import read_settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE, CHANNELS = 44_100, 2
SYLLABLES_HZ = 4
KINDS = ("wav", "flac", "mp3")


def second(number: int) -> NDArray[np.float32]:
    """One second of the sound, (RATE, CHANNELS)."""
    loudness = 0.15 * (1.2 + np.sin(2 * np.pi * SYLLABLES_HZ * np.arange(RATE) / RATE))
    noise = np.random.default_rng(number).normal(size=(RATE, CHANNELS))
    return np.clip(noise * loudness[:, None], -1, 1).astype(np.float32)


def write_recording(path: Path, seconds: int) -> None:
    """The sound, second by second."""
    with soundfile.SoundFile(path, "w", RATE, CHANNELS) as file:
        for number in range(seconds):
            file.write(second(number))


def recognize(client: EmotionClient, path: Path) -> int:
    """The whole recording; returns the number of windows."""
    with RecordingReader(path) as reader:
        return sum(1 for window in speech.analyse(client, reader.sound()) if window.emotion)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    seconds = 60 * options.minutes
    multiples: dict[str, list[float]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder)
        paths = {kind: state / f"recording.{kind}" for kind in KINDS}
        for path in paths.values():
            write_recording(path, seconds)
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with TritonServer(settings) as server, EmotionClient(ClientSettings(endpoints=server.endpoint)) as client:
            windows = recognize(client, paths["wav"])
            for _ in range(options.rounds):
                for kind, path in paths.items():
                    begin = time.perf_counter()
                    recognize(client, path)
                    multiples[kind].append(seconds / (time.perf_counter() - begin))
    facts = machine()
    print(f"{facts['date']} · {facts['machine']}")
    print(f"{options.minutes} minutes, {CHANNELS} channels of {RATE:,} Hz, {windows} windows")
    for kind, values in multiples.items():
        print(f"{kind:5} {Spread.of(values).text(' times real time')}")


if __name__ == "__main__":
    main()
