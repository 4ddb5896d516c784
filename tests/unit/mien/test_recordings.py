from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien import MediaError
from mien.recordings import PIECE_FRAMES, RecordingReader
from tests.unit.mien.sounds import RATE, tone, written

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


def heard(path: Path) -> NDArray[np.float32]:
    with RecordingReader(path) as reader:
        return np.concatenate(list(reader.sound()))


@pytest.mark.parametrize(
    ("name", "options", "tolerance"),
    [
        ("a.wav", {}, 1e-3),
        ("a.wav", {"subtype": "PCM_24"}, 1e-3),
        ("a.wav", {"subtype": "FLOAT"}, 1e-3),
        ("a.flac", {}, 1e-3),
        ("a.ogg", {}, 0.05),
        ("a.mp3", {}, 0.05),
    ],
)
@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100])
def test_every_kind_and_rate_gives_the_same_sound(
    tmp_path: Path, name: str, options: dict[str, str], tolerance: float, rate: int
) -> None:
    path = written(tmp_path / name, tone(2, rate), rate, **options)
    sound = heard(path)
    assert sound.dtype == np.float32
    assert len(sound) == pytest.approx(2 * RATE, abs=2500)  # MP3 has some silence around it
    start = int(np.argmax(np.abs(sound) > 0.1)) + 2000
    power = float(np.square(sound[start : start + RATE]).mean())
    assert power == pytest.approx(float(np.square(tone(1)).mean()), abs=tolerance)


def test_channels_are_averaged_and_long_recordings_come_in_pieces(tmp_path: Path) -> None:
    stereo = np.stack([tone(12), np.zeros(12 * RATE, np.float32)], 1)
    path = written(tmp_path / "stereo.wav", stereo)
    with RecordingReader(path) as reader:
        assert reader.duration_s == 12
        pieces = list(reader.sound())
    assert max(map(len, pieces)) <= PIECE_FRAMES
    np.testing.assert_allclose(np.concatenate(pieces), tone(12) / 2, atol=1e-4)


def test_a_96_khz_recording_is_resampled_piece_by_piece(tmp_path: Path) -> None:
    path = written(tmp_path / "studio.flac", tone(3, 96_000), 96_000)
    np.testing.assert_allclose(heard(path)[2000:-2000], tone(3)[2000:-2000], atol=2e-3)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: zero bytes"),
        (b"no sound at all" * 99, "is not a recording that can be decoded"),
        (b"RIFF\x00\x00\x00\x00WAVE", "is not a recording that can be decoded"),
        (b"fLaC" + bytes(500), "is not a recording that can be decoded"),
    ],
)
@pytest.mark.parametrize("name", ["odd.wav", "odd.raw"])
def test_what_is_no_recording_is_told(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(MediaError, match=f"{name} {said}"):
        RecordingReader(path)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="There is no recording"):
        RecordingReader(tmp_path / "missing.wav")
    with pytest.raises(MediaError, match="There is no recording"):
        RecordingReader(tmp_path)


@pytest.mark.parametrize("rate", [4_000, 384_000])
def test_a_rate_out_of_bounds_is_told(tmp_path: Path, rate: int) -> None:
    path = written(tmp_path / "odd.wav", tone(1), rate)
    with pytest.raises(MediaError, match=rf"odd.wav: The sample rate is {rate}"):
        RecordingReader(path)


def test_too_many_channels_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "many.wav", np.zeros((RATE, 17), np.float32))
    with pytest.raises(MediaError, match=r"many\.wav has 17 channels"):
        RecordingReader(path)


@pytest.mark.parametrize("name", ["cut.wav", "cut.flac"])
def test_a_truncated_recording_gives_what_is_there(tmp_path: Path, name: str) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 20 * RATE).astype(np.float32)
    path = written(tmp_path / name, noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    given: list[int] = []

    def read(reader: RecordingReader) -> None:
        for piece in reader.sound():
            given.append(len(piece))  # noqa: PERF401 (what came before the error is looked at)

    cut = pytest.raises(MediaError, match=rf"{name} is truncated or damaged: it ends after \S+ s of 20\.0 s")
    with RecordingReader(path) as reader, cut:
        read(reader)
    assert sum(given) > 4 * RATE


def test_a_wav_from_a_pipe_declares_no_length_and_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "piped.wav", tone(2))
    content = bytearray(path.read_bytes())
    size_at = content.index(b"data") + 4
    content[size_at : size_at + 4] = struct.pack("<I", 2**32 - 1)
    path.write_bytes(content)
    assert len(heard(path)) == 2 * RATE


def test_too_short_a_recording_is_told(tmp_path: Path) -> None:
    path = written(tmp_path / "tick.wav", tone(0.05))
    with pytest.raises(MediaError, match=r"tick\.wav has only 0\.050 s of sound; at least 0\.1 s"):
        heard(path)


def test_numbers_that_are_not_finite_are_told(tmp_path: Path) -> None:
    path = written(tmp_path / "nan.wav", np.full(RATE, np.nan, np.float32), subtype="FLOAT")
    with pytest.raises(MediaError, match=r"nan\.wav: The samples hold numbers that are not finite"):
        heard(path)
