from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien import MediaError, MediaTooLargeError
from mien.images import read_image

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

LIMIT = 1_000_000


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:  # noqa: ANN401 (Pillow's own options)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def two_halves() -> Image.Image:
    """40 wide, 20 high: left half red, right half blue."""
    pixels = np.zeros((20, 40, 3), np.uint8)
    pixels[:, :20] = 255, 0, 0
    pixels[:, 20:] = 0, 0, 255
    return Image.fromarray(pixels)


def assert_near(picture: NDArray[np.uint8], position: tuple[int, int], color: tuple[int, int, int]) -> None:
    assert np.abs(picture[position].astype(int) - color).max() <= 8


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_each_format_is_read_as_rgb(kind: str) -> None:
    picture = read_image(encoded(two_halves(), kind), LIMIT)
    assert picture.shape == (20, 40, 3)
    assert_near(picture, (10, 5), (255, 0, 0))
    assert_near(picture, (10, 35), (0, 0, 255))


def test_path_bytes_pil_and_array_give_the_same(tmp_path: Path) -> None:
    image = two_halves()
    image.save(tmp_path / "a.png")
    sources = [tmp_path / "a.png", str(tmp_path / "a.png"), encoded(image, "PNG"), image, np.asarray(image)]
    for source in sources:
        assert (read_image(source, LIMIT) == np.asarray(image)).all()


def test_exif_orientation_is_applied() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn by 90 degrees clockwise
    picture = read_image(encoded(two_halves(), "JPEG", exif=exif, quality=95), LIMIT)
    assert picture.shape == (40, 20, 3)
    assert_near(picture, (5, 10), (255, 0, 0))
    assert_near(picture, (35, 10), (0, 0, 255))


def test_16_bit_grey_keeps_its_brightness() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(10, 0)
    picture = read_image(encoded(Image.fromarray(ramp), "PNG"), LIMIT)
    assert picture.shape == (10, 256, 3)
    assert picture[0, :, 0].tolist() == list(range(256))


def test_16_bit_rgb_keeps_its_colours() -> None:
    # Pillow cannot write one, so the file is put together here.
    row = b"\x00" + np.array([[65535, 0x8000, 0]] * 8, ">u2").tobytes()

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 8, 4, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(row * 4)) + chunk(b"IEND", b"")
    picture = read_image(png, LIMIT)
    assert picture[0, 0].tolist() == [255, 128, 0]


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_becomes_rgb(kind: str) -> None:
    picture = read_image(encoded(two_halves().convert("CMYK"), kind), LIMIT)
    assert_near(picture, (10, 5), (255, 0, 0))


def test_transparency_is_laid_over_white() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
    image.putpixel((0, 0), (0, 0, 0, 128))
    picture = read_image(encoded(image, "PNG"), LIMIT)
    assert picture[4, 4].tolist() == [255, 255, 255]
    assert_near(picture, (0, 0), (127, 127, 127))


def test_a_palette_with_a_transparent_colour_is_read() -> None:
    image = two_halves().convert("P", palette=Image.Palette.ADAPTIVE)
    transparent = image.getpixel((0, 0))
    picture = read_image(encoded(image, "PNG", transparency=transparent), LIMIT)
    assert picture[0, 0].tolist() == [255, 255, 255]
    assert_near(picture, (10, 35), (0, 0, 255))


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_becomes_rgb(mode: str) -> None:
    assert read_image(encoded(Image.new(mode, (9, 7)), "PNG"), LIMIT).shape == (7, 9, 3)


def test_a_bomb_is_refused_by_its_header() -> None:
    bomb = encoded(Image.new("1", (20_000, 20_000)), "PNG", compress_level=9)
    assert len(bomb) < 100_000
    with pytest.raises(MediaTooLargeError, match=r"20000 x 20000|400000000"):
        read_image(bomb, LIMIT)
    with pytest.raises(MediaTooLargeError, match=r"20 x 10 .*limit of 100;.*MIEN_MAX_PIXELS"):
        read_image(np.zeros((10, 20, 3), np.uint8), 100)


def test_a_bomb_below_pillows_own_limit_is_refused_too() -> None:
    bomb = encoded(Image.new("1", (5_000, 5_000)), "PNG")
    with pytest.raises(MediaTooLargeError, match="5000 x 5000"):
        read_image(bomb, LIMIT)


@pytest.mark.parametrize("content", [b"", b"hello", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"\xff\xd8\xff"])
def test_what_is_no_picture_is_a_sentence(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"^The picture .*\.$"):
        read_image(content, LIMIT)
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r"a\.jpg"):
        read_image(path, LIMIT)


def test_a_format_that_is_not_listed_is_refused() -> None:
    with pytest.raises(MediaError, match="JPEG, PNG"):
        read_image(encoded(two_halves(), "GIF"), LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@given(share=st.floats(0.02, 0.95))
def test_a_truncated_picture_never_gives_pixels(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    with pytest.raises(MediaError):
        read_image(content[: int(len(content) * share)], LIMIT)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
@given(data=st.data())
def test_a_damaged_picture_is_a_picture_or_a_media_error(kind: str, data: st.DataObject) -> None:
    content = bytearray(encoded(two_halves(), kind))
    for _ in range(data.draw(st.integers(1, 12))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = read_image(bytes(content), LIMIT)
    except MediaError:
        return
    assert picture.ndim == 3
    assert picture.dtype == np.uint8


def test_missing_files_and_folders_are_sentences(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"There is no file .*nothing\.jpg"):
        read_image(tmp_path / "nothing.jpg", LIMIT)
    with pytest.raises(MediaError, match="is a folder"):
        read_image(tmp_path, LIMIT)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((10, 10), np.uint8),
        np.zeros((10, 10, 4), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((0, 10, 3), np.uint8),
    ],
)
def test_an_array_that_is_no_rgb_picture_is_refused(array: NDArray[Any]) -> None:
    with pytest.raises(MediaError, match=r"pixels|RGB order"):
        read_image(array, LIMIT)


def test_anything_else_is_refused() -> None:
    with pytest.raises(MediaError, match="not 'int'"):
        read_image(7, LIMIT)  # type: ignore[arg-type]


def test_32_bit_samples_are_refused() -> None:
    with pytest.raises(MediaError, match="32-bit"):
        read_image(encoded(Image.new("F", (9, 9)), "TIFF"), LIMIT)
