"""Sounds to test with, and files of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import av
import numpy as np
import soundfile

from mien import contract

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

RATE = contract.SAMPLE_RATE_HZ


def tone(seconds: float, rate: int = RATE, loudness: float = 0.3, hertz: float = 440) -> NDArray[np.float32]:
    """A sine, (n,) float32."""
    return (loudness * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def written(path: Path, samples: NDArray[Any], rate: int = RATE, **options: str) -> Path:
    """A file of the kind that its name ends in; piece by piece, as libsndfile's Vorbis ends the process otherwise."""
    channels = 1 if samples.ndim == 1 else samples.shape[1]
    with soundfile.SoundFile(path, "w", rate, channels, **options) as file:
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return path


def film(
    path: Path, frames: list[NDArray[np.uint8]], fps: int, sound: NDArray[np.float32] | None, codec: str = "mpeg4"
) -> Path:
    """A video, with the sound (n,) of 16 kHz beside it if there is one; browsers play the codec libx264."""
    with av.open(str(path), "w") as container:
        height, width = frames[0].shape[:2]
        pictures = container.add_stream(codec, rate=fps, width=width, height=height, pix_fmt="yuv420p")
        pictures.bit_rate = 4_000_000
        voice = None if sound is None else container.add_stream("aac", rate=RATE, layout="mono")
        for picture in frames:
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(pictures.encode())
        if voice is not None and sound is not None:
            resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE, frame_size=1024)
            whole = av.AudioFrame.from_ndarray(sound[None], format="flt", layout="mono")
            whole.sample_rate = RATE
            for part in (*resampler.resample(whole), *resampler.resample(None)):
                container.mux(voice.encode(part))
            container.mux(voice.encode())
    return path
