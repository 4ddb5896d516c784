"""Recordings made for tests: gliding tones, one pitch a speaker and one rhythm an emotion."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import soundfile

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from numpy.typing import NDArray

LETTERS = "WLEAFNT"
"""EmoDB's letters of the contract's labels, in their order."""


def voice(pitch_hz: float, rate_hz: float, seconds: float = 1.0, sample_rate_hz: int = 16_000) -> NDArray[np.float32]:
    """A tone with overtones that swells `rate_hz` times a second."""
    time = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
    tone = sum(np.sin(2 * np.pi * pitch_hz * k * time) / k for k in range(1, 6))
    return np.asarray(0.3 * tone * (0.6 + 0.4 * np.sin(2 * np.pi * rate_hz * time)), np.float32)


def wav(samples: NDArray[np.float32], sample_rate_hz: int = 16_000) -> bytes:
    """A WAV file."""
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate_hz, format="WAV")
    return buffer.getvalue()


def write_emodb(path: Path, speakers: Iterable[str]) -> Path:
    """A zip file as EmoDB comes: two recordings of every emotion by each speaker."""
    with zipfile.ZipFile(path, "w") as archive:
        for who, speaker in enumerate(speakers):
            for what, letter in enumerate(LETTERS):
                for version in "ab":
                    samples = voice(100 + 40 * who + 7 * ord(version) % 5, 1 + what)
                    archive.writestr(f"wav/{speaker}a01{letter}{version}.wav", wav(samples))
    return path
