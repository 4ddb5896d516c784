"""The sound of this machine's microphone. Needs the extra `microphone`, and `audio` to bring it to 16 kHz."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from mien.errors import MediaError, SettingsError
from mien.samples import Resampler, mono

try:
    import sounddevice
except ImportError as error:
    raise SettingsError("The microphone needs the extra `microphone`: pip install 'mien[microphone,audio]'.") from error
except OSError as error:  # what sounddevice raises without the library that it stands for
    raise SettingsError(
        "The microphone needs the system's PortAudio, which was not found; on Debian: apt install libportaudio2."
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator
    from threading import Event

    import numpy as np
    from numpy.typing import NDArray

LOOK_S = 0.2
"""How often it is looked whether the sound is still wanted."""

HELD_PIECES = 1024
"""Some seconds: where the server is slower than that, sound is lost rather than memory."""


def listen(stop: Event) -> Iterator[NDArray[np.float32]]:
    """The default microphone's sound as it comes: pieces of (n,) float32 in -1..1, 16 kHz.

    Args:
        stop: ends it when it is set.

    Raises:
        MediaError: there is no microphone, or it cannot be opened.
        SettingsError: its sound has another rate and the extra `audio` is missing.
    """
    pieces: queue.Queue[NDArray[np.float32]] = queue.Queue(HELD_PIECES)

    def take(samples: NDArray[np.float32], _frames: int, _time: Any, _status: Any) -> None:  # noqa: ANN401
        if not pieces.full():
            pieces.put_nowait(samples.copy())

    try:
        rate = int(sounddevice.query_devices(kind="input")["default_samplerate"])
        stream = sounddevice.InputStream(samplerate=rate, channels=1, dtype="float32", callback=take)
    except (sounddevice.PortAudioError, ValueError) as error:
        raise MediaError(f"The microphone cannot be opened: is one connected and allowed? ({error})") from error
    resampler = Resampler(rate)
    with stream:
        while not stop.is_set():
            try:
                samples = pieces.get(timeout=LOOK_S)
            except queue.Empty:
                continue
            yield resampler.add(mono(samples))
