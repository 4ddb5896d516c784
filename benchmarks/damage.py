"""Files that were damaged, or made to harm whoever decodes them; the same seed makes the same files."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import soundfile
from PIL import Image

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

Size = tuple[int, int]

FORMATS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
OTHER_FORMATS = ("GIF", "BMP", "TIFF", "PDF")
BOMB_SIDES = (7_000, 20_000, 65_000)
"""Of the pictures that are far larger than their files: just within the gateway's limit of pixels, and beyond it."""
BOMB_S = 2400
"""Of the recordings that are: beyond the gateway's limit, 1,800 s."""


@dataclass(frozen=True, slots=True)
class DamagedFile:
    """A file to send.

    Attributes:
        damage: what was done to it.
        name: of the file, as its sender gives it.
        content: its bytes.
        size: (width, height) that an answer must be of, in pixels; for videos and recordings (0, 0).
    """

    damage: str
    name: str
    content: bytes
    size: Size


def damaged_picture(picture: Image.Image, chance: random.Random) -> DamagedFile:
    """`picture` as a file of some size, damaged in one way."""
    side = chance.randrange(64, 320)
    small, kind = picture.resize((side, side + chance.randrange(64))), chance.choice(list(FORMATS))
    content, name = _encoded(small, kind), f"picture.{FORMATS[kind]}"
    ways: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: _truncated(content, chance),
        "flipped bytes": lambda: _flipped(content, chance),
        "lying header": lambda: _with_other_size(content, kind, chance),
        "wrong extension": lambda: _encoded(small, chance.choice((*OTHER_FORMATS, *FORMATS))),
        "bomb": lambda: _bomb(chance.choice(BOMB_SIDES)),
    }
    (damage,) = chance.choices(list(ways), (6, 6, 6, 2, 1))
    changed = ways[damage]()
    return DamagedFile(damage, name, changed, _said_size(changed) or small.size)


def damaged_video(videos: Sequence[tuple[str, bytes]], chance: random.Random) -> DamagedFile:
    """One of `videos`, each a name and its content, damaged in one way."""
    name, content = chance.choice(videos)
    ways: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: _truncated(content, chance),
        "flipped bytes": lambda: _flipped(content, chance),
        "lying header": lambda: _with_huge_numbers(content, chance),
        "wrong extension": lambda: chance.choice(
            [other for _, other in videos] + [_bomb(BOMB_SIDES[0]), b"text" * 999]
        ),
        "bomb": lambda: _with_other_frame_size(content, 60_000),
    }
    (damage,) = chance.choices(list(ways), (6, 6, 6, 2, 2))
    return DamagedFile(damage, name, ways[damage](), (0, 0))


def damaged_recording(recordings: Sequence[tuple[str, bytes]], chance: random.Random) -> DamagedFile:
    """One of `recordings`, each a name and its content, damaged in one way."""
    name, content = chance.choice(recordings)
    flac = next(other for _, other in recordings if other.startswith(b"fLaC"))
    ways: dict[str, Callable[[], bytes]] = {
        "truncated": lambda: _truncated(content, chance),
        "flipped bytes": lambda: _flipped(content, chance),
        "lying header": lambda: _with_noise(content, chance),
        "wrong extension": lambda: chance.choice([other for _, other in recordings] + [b"RIFF\0\0\0\0WAVE" * 999]),
        "claimed hours": lambda: _flac_with_samples(flac, 2**36 - 1),
        "bomb": lambda: _flac_with_samples(_silence(BOMB_S), 0),
    }
    (damage,) = chance.choices(list(ways), (6, 6, 6, 2, 1, 1))
    return DamagedFile(damage, name, ways[damage](), (0, 0))


def _encoded(picture: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    picture.save(file, kind)
    return file.getvalue()


def _said_size(content: bytes) -> Size | None:
    """What the header of a picture says, if it can be read."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError):
        return None


def _truncated(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def _flipped(content: bytes, chance: random.Random) -> bytes:
    """With up to 40 bytes changed."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 40)):
        changed[chance.randrange(len(changed))] ^= chance.randrange(1, 256)
    return bytes(changed)


def _with_other_size(content: bytes, kind: str, chance: random.Random) -> bytes:
    """A picture whose header claims another size than its pixels have."""
    width, height = (chance.choice((1, 40, 500, 5_000, 16_000)) for _ in range(2))
    if kind == "PNG":
        return _png_with_size(content, width, height)
    changed = bytearray(content)
    if kind == "JPEG":
        # Start of frame: marker, length, precision, height, width.
        frame = changed.index(b"\xff\xc0")
        struct.pack_into(">HH", changed, frame + 5, height, width)
    else:
        # Of a VP8 frame: tag, start code, width and height of 14 bits each.
        frame = changed.index(b"\x9d\x01\x2a")
        struct.pack_into("<HH", changed, frame + 3, min(width, 0x3FFF), min(height, 0x3FFF))
    return bytes(changed)


def _png_with_size(content: bytes, width: int, height: int) -> bytes:
    """A PNG with another size in its first chunk, whose checksum is right."""
    head = b"IHDR" + struct.pack(">II", width, height) + content[24:29]
    return content[:12] + head + struct.pack(">I", zlib.crc32(head)) + content[33:]


@cache
def _bomb(side: int) -> bytes:
    """A PNG of `side` x `side` black pixels, in some kilobytes."""
    smaller = min(side, 20_000)
    return _png_with_size(_encoded(Image.new("1", (smaller, smaller)), "PNG"), side, side)


def _with_huge_numbers(content: bytes, chance: random.Random) -> bytes:
    """A video with numbers of its headers, which are at either end, as large as they can be."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        place = chance.randrange(8, 800) * chance.choice((1, -1))
        changed[place : place + 4 or None] = b"\x7f\xff\xff\xff"
    return bytes(changed)


def _with_other_frame_size(content: bytes, side: int) -> bytes:
    """A video whose headers claim frames of `side` x `side` pixels."""
    changed = bytearray(content)
    if content.startswith(b"RIFF"):
        struct.pack_into("<II", changed, changed.index(b"avih") + 40, side, side)
        struct.pack_into("<II", changed, changed.index(b"strf") + 12, side, side)
    else:
        # A sample entry: its kind, 24 bytes, width and height of 16 bits.
        struct.pack_into(">HH", changed, changed.index(b"mp4v") + 28, side, side)
    return bytes(changed)


def _with_noise(content: bytes, chance: random.Random) -> bytes:
    """A recording with bytes of its first 60, where all kinds have rate, channels and lengths, as chance has it."""
    changed = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        changed[chance.randrange(4, 60)] = chance.choice((0, 1, 0x7F, 0x80, 0xFF, chance.randrange(256)))
    return bytes(changed)


def _flac_with_samples(content: bytes, samples: int) -> bytes:
    """A FLAC whose header claims so many samples; 0 is for an unknown number."""
    changed = bytearray(content)
    # STREAMINFO begins at byte 8; of its bytes 10 to 17 the last 36 bits are the number of samples.
    (fields,) = struct.unpack_from(">Q", changed, 18)
    struct.pack_into(">Q", changed, 18, fields >> 36 << 36 | samples)
    return bytes(changed)


@cache
def _silence(seconds: int) -> bytes:
    """A FLAC of silence, 16 kHz, in some kilobytes a minute."""
    file, second = io.BytesIO(), np.zeros(16_000, np.int16)
    with soundfile.SoundFile(file, "w", 16_000, 1, format="FLAC") as sound:
        for _ in range(seconds):
            sound.write(second)
    return file.getvalue()
