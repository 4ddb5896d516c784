from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mien import MediaError
from mien.sound_tracks import NoSoundError, SoundTrackReader
from tests.unit.mien.sounds import RATE, film, tone, written

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = [np.full((96, 96, 3), 90, np.uint8)] * 30


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_the_sound_of_a_video_is_read(tmp_path: Path, name: str) -> None:
    path = film(tmp_path / name, FRAMES, 10, tone(3))
    with SoundTrackReader(path) as reader:
        assert reader.duration_s == pytest.approx(3, abs=0.2)
        pieces = list(reader.sound())
    sound = np.concatenate(pieces)
    assert len(pieces) >= 3
    assert len(sound) == pytest.approx(3 * RATE, abs=3000)
    middle = sound[RATE : 2 * RATE]
    assert float(np.square(middle).mean()) == pytest.approx(float(np.square(tone(1)).mean()), rel=0.1)


def test_a_video_without_sound_is_told(tmp_path: Path) -> None:
    path = film(tmp_path / "silent.mp4", FRAMES, 10, None)
    with pytest.raises(NoSoundError, match=r"silent\.mp4 has no sound track"):
        SoundTrackReader(path)


def test_what_has_no_sound_at_all_is_told(tmp_path: Path) -> None:
    path = tmp_path / "text.mp4"
    path.write_text("no video")
    with pytest.raises(MediaError, match=r"text\.mp4 has no sound that can be decoded"):
        SoundTrackReader(path)
    with pytest.raises(MediaError, match="There is no file"):
        SoundTrackReader(tmp_path / "missing.mp4")


def test_a_file_that_breaks_off_gives_what_is_there(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * RATE).astype(np.float32)
    path = written(tmp_path / "cut.flac", noise)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    given = 0
    with SoundTrackReader(path) as reader:
        pieces = reader.sound()
        try:
            for piece in pieces:
                given += len(piece)
        except MediaError as error:
            assert "truncated or damaged" in str(error)  # noqa: PT017 (FFmpeg may find nothing wrong)
    assert given > 3 * RATE
