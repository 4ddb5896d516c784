"""Row 11: media that are damaged, lie about themselves, or are far larger decoded than encoded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from benchmarks.damage import damaged_picture, damaged_recording, damaged_video
from benchmarks.damaged_media import Memory, Sender, Tally, recordings, videos
from benchmarks.gateway import HEAD, PORTRAIT
from mien.errors import MediaError
from mien.images import read_image
from tests.gateways import running_gateway

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from serving import TritonServer
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(11)]

MAX_PIXELS = 2_000_000
SLOWEST_S = 30.0
"""Ten seconds are allowed for decoding one, and four callers wait for two workers."""


def portrait() -> Image.Image:
    with Image.open(PORTRAIT) as picture:
        return picture.convert("RGB").crop(HEAD)


def test_damaged_files_at_the_gateway(triton: TritonServer, tmp_path: Path, scale: Scale, figures: Figures) -> None:
    chance, face, originals = scale.chance("damage"), portrait(), videos(tmp_path)
    rates = dict.fromkeys(("DETECT_PER_MINUTE", "DETECT_VIDEO_PER_MINUTE"), "1000000")
    with running_gateway(triton.endpoint, tmp_path, **rates, WORKERS="2") as gateway:
        sender = Sender(int(gateway.url.rpartition(":")[2]))
        held = Memory(gateway.process.pid)
        pictures = (damaged_picture(face, chance) for _ in range(scale.of(2_000, 60)))
        of_pictures = sender.send(pictures, "/v1/detect", "image")
        held.note("after the pictures")
        films = (damaged_video(originals, chance) for _ in range(scale.of(50, 4)))
        of_videos = sender.send(films, "/v1/detect-video", "video")
        held.note("after the videos")
        sender.close()
        log = gateway.log
    for kind, tally in (("pictures", of_pictures), ("videos", of_videos)):
        figures.add(f"{kind}: {told(tally)}")
    figures.add(f"gateway and workers: {held.text()}")
    assert not of_pictures.faults + of_videos.faults + held.faults()
    assert max(of_pictures.slowest_s[0], of_videos.slowest_s[0]) < SLOWEST_S
    assert "Traceback" not in log


def test_damaged_recordings_at_the_gateway(
    triton: TritonServer, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    chance, originals = scale.chance("recordings"), recordings()
    rates = dict.fromkeys(("DETECT_PER_MINUTE", "DETECT_AUDIO_PER_MINUTE"), "1000000")
    with running_gateway(triton.endpoint, tmp_path, **rates, WORKERS="1") as gateway:
        sender = Sender(int(gateway.url.rpartition(":")[2]))
        held = Memory(gateway.process.pid)
        heard = (damaged_recording(originals, chance) for _ in range(scale.of(200, 12)))
        tally = sender.send(heard, "/v1/detect-audio", "audio")
        held.note("after the recordings")
        sender.close()
        log = gateway.log
    figures.add(f"recordings: {told(tally)}; gateway and workers: {held.text()}")
    assert not tally.faults + held.faults()
    assert tally.slowest_s[0] < SLOWEST_S
    assert "Traceback" not in log


def told(tally: Tally) -> str:
    """Counts of the statuses and the slowest answer."""
    statuses: dict[int, int] = {}
    for counts in tally.statuses.values():
        for status, count in counts.items():
            statuses[status] = statuses.get(status, 0) + count
    counted = ", ".join(f"{count:,} x {status}" for status, count in sorted(statuses.items()))
    return f"{counted}; slowest {tally.slowest_s[0]:.1f} s ({tally.slowest_s[1]})"


def test_nothing_of_one_picture_is_in_another(scale: Scale, figures: Figures) -> None:
    """A damaged file decodes to the same pixels, or is refused, whichever picture was decoded before it."""
    chance, face = scale.chance("pixels"), portrait()
    secrets = [np.random.default_rng(seed).integers(0, 256, (400, 400, 3), np.uint8) for seed in (1, 2)]
    refused = same = 0
    for _ in range(scale.of(2_000, 200)):
        file = damaged_picture(face, chance)
        first, second = (decoded_after(secret, file.content) for secret in secrets)
        assert (first is None) == (second is None), file.damage
        if first is None or second is None:
            refused += 1
            continue
        np.testing.assert_array_equal(first, second, err_msg=file.damage)
        same += 1
    figures.add(f"decoded after two different pictures: {same:,} the same both times, {refused:,} refused both times")
    assert same
    assert refused


def decoded_after(secret: NDArray[np.uint8], content: bytes) -> NDArray[np.uint8] | None:
    """The pixels of a file, decoded where another picture's have just been freed; None if it is refused."""
    encoded = Image.fromarray(secret)
    read_image(encoded, max_pixels=MAX_PIXELS)
    del encoded
    try:
        return read_image(content, max_pixels=MAX_PIXELS)
    except MediaError:
        return None
