from __future__ import annotations

import hashlib
import logging
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from mien import ClientSettings, DetectorError, downloads
from mien.detectors import CLOSE_LOOK_EVERY, HaarDetector, YuNetDetector, detect_in_film, load_detector
from mien.settings import YUNET_FILE, YUNET_SHA256

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """An address and the folder that it serves: the stand-in for the model zoo, which tests must not depend on."""
    folder = tmp_path / "website"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", folder
        server.shutdown()
        thread.join()


@pytest.fixture(scope="session")
def yunet_file(test_data: Path) -> Path:
    return test_data / "models" / YUNET_FILE


@pytest.fixture(scope="module")
def yunet(yunet_file: Path) -> YuNetDetector:
    return YuNetDetector(yunet_file)


def scaled(picture: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), np.uint8)


def on_canvas(picture: NDArray[np.uint8], height: int, width: int, y: int, x: int) -> NDArray[np.uint8]:
    canvas = np.full((height, width, 3), 120, np.uint8)
    canvas[y : y + picture.shape[0], x : x + picture.shape[1]] = picture
    return canvas


def test_haar_finds_the_portraits_face(portrait: NDArray[np.uint8]) -> None:
    faces = HaarDetector().detect(portrait)
    assert faces[0].box.iou(HaarDetector(256).detect(portrait)[0].box) > 0.5
    assert (faces[0].score, faces[0].landmarks) == (None, None)


@pytest.mark.data
def test_yunet_finds_the_portraits_face_with_its_points(yunet: YuNetDetector, portrait: NDArray[np.uint8]) -> None:
    (face,) = yunet.detect(portrait)
    assert face.score is not None
    assert face.score > 0.9
    marks = face.landmarks
    assert marks is not None
    # Right and left are the person's own: her right eye is to the left in the picture.
    assert face.box.x < marks.right_eye[0] < marks.nose[0] < marks.left_eye[0] < face.box.x + face.box.width
    assert marks.right_eye[1] < marks.nose[1] < marks.left_mouth[1] < face.box.y + face.box.height


@pytest.mark.data
@pytest.mark.parametrize("scale", [0.2, 0.5, 1, 2, 4, 8])
def test_yunet_finds_the_same_face_at_every_size(
    yunet: YuNetDetector, portrait: NDArray[np.uint8], scale: float
) -> None:
    (wanted,) = yunet.detect(portrait)
    (found,) = yunet.detect(np.asarray(cv2.resize(portrait, None, fx=scale, fy=scale), np.uint8))
    box = found.box
    assert wanted.box.iou(type(box)(*(value / scale for value in (box.x, box.y, box.width, box.height)))) > 0.7


@pytest.mark.data
def test_yunet_finds_a_face_of_12_pixels(yunet: YuNetDetector, portrait: NDArray[np.uint8]) -> None:
    (large,) = yunet.detect(portrait)
    small = scaled(portrait, 12 / large.box.side)
    (face,) = yunet.detect(on_canvas(small, 240, 320, 100, 130))
    assert 9 < face.box.side < 16
    assert 100 <= face.box.center[1] <= 100 + small.shape[0]


@pytest.mark.data
def test_yunet_finds_a_face_at_the_border(yunet: YuNetDetector, portrait: NDArray[np.uint8]) -> None:
    (whole,) = yunet.detect(portrait)
    (cut,) = yunet.detect(np.ascontiguousarray(portrait[:, round(whole.box.x + whole.box.width * 0.3) :]))
    assert cut.box.x < whole.box.width * 0.2


@pytest.mark.data
@pytest.mark.parametrize("shape", [(1, 1), (1, 500), (3, 2), (32, 36), (36, 32), (47, 31)])
def test_tiny_pictures_give_sane_boxes_or_none(yunet: YuNetDetector, shape: tuple[int, int]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    assert all(face.box.is_sane(shape[1], shape[0]) for face in yunet.detect(noise))


def film_of(picture: NDArray[np.uint8], side: int, frames: int) -> list[NDArray[np.uint8]]:
    """`picture`, `side` pixels high, moves to the right by 6 pixels a frame before a wall of 1280 x 720."""
    small = scaled(picture, side / picture.shape[0])
    return [on_canvas(small, 720, 1280, 10, 100 + 6 * index) for index in range(frames)]


class CountingYuNet(YuNetDetector):
    close_looks = 0

    def closer(self, picture: NDArray[np.uint8], coarse: NDArray[np.float32]) -> NDArray[np.float32]:
        self.close_looks += 1
        return super().closer(picture, coarse)


@pytest.mark.data
def test_a_films_near_face_is_found_in_every_frame_with_few_close_looks(
    yunet_file: Path, portrait: NDArray[np.uint8]
) -> None:
    yunet = CountingYuNet(yunet_file)
    detect = detect_in_film(yunet)
    frames = film_of(portrait, 690, 2 * CLOSE_LOOK_EVERY)
    for frame in frames:
        (face,) = detect(frame)
        (wanted,) = YuNetDetector.detect(yunet, frame)
        assert face.box.iou(wanted.box) > 0.8
    assert yunet.close_looks - len(frames) <= 3  # the film's, without the one of each `detect`


@pytest.mark.data
def test_a_films_far_face_is_looked_for_closely_in_every_frame(
    yunet: YuNetDetector, portrait: NDArray[np.uint8]
) -> None:
    detect = detect_in_film(yunet)
    assert [len(detect(frame)) for frame in film_of(portrait, 100, 2 * CLOSE_LOOK_EVERY)] == [1] * 2 * CLOSE_LOOK_EVERY


@pytest.mark.data
def test_who_enters_a_film_near_is_found_at_once_and_far_within_a_few_frames(
    yunet: YuNetDetector, portrait: NDArray[np.uint8]
) -> None:
    empty = np.full((720, 1280, 3), 120, np.uint8)
    (near,), (far,) = film_of(portrait, 690, 1), film_of(portrait, 100, 1)
    detect = detect_in_film(yunet)
    assert [len(detect(frame)) for frame in (empty, near)] == [0, 1]
    detect = detect_in_film(yunet)
    found = [len(detect(frame)) for frame in (empty, *[far] * CLOSE_LOOK_EVERY)]
    assert (found[0], found[-1]) == (0, 1)


def test_a_detector_without_films_is_asked_for_each_frame() -> None:
    haar = HaarDetector()
    assert detect_in_film(haar) == haar.detect


@pytest.mark.data
def test_threads_share_a_detector(yunet: YuNetDetector, portrait: NDArray[np.uint8]) -> None:
    pictures = [portrait, scaled(portrait, 0.5), scaled(portrait, 0.7), scaled(portrait, 0.3)]
    wanted = [yunet.detect(picture) for picture in pictures]
    found: list[object] = [None] * len(pictures)

    def detect(index: int) -> None:
        for _ in range(5):
            found[index] = yunet.detect(pictures[index])

    threads = [threading.Thread(target=detect, args=(index,)) for index in range(len(pictures))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == wanted


@pytest.mark.data
def test_yunet_is_fetched_once_and_kept(website: tuple[str, Path], yunet_file: Path, tmp_path: Path) -> None:
    address, folder = website
    shutil.copy(yunet_file, folder / "yunet.onnx")
    settings = ClientSettings(yunet_url=f"{address}/yunet.onnx", cache_dir=tmp_path / "cache")
    assert load_detector(settings).name == "yunet"
    (folder / "yunet.onnx").unlink()
    assert load_detector(settings).name == "yunet"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [YUNET_FILE]
    assert hashlib.sha256((tmp_path / "cache" / YUNET_FILE).read_bytes()).hexdigest() == YUNET_SHA256


def test_a_download_with_another_digest_is_refused(website: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = website
    (folder / "yunet.onnx").write_bytes(b"something else")
    settings = ClientSettings(detector="yunet", yunet_url=f"{address}/yunet.onnx", cache_dir=tmp_path / "cache")
    with pytest.raises(DetectorError, match=f"instead of {YUNET_SHA256}; nothing was kept.*MIEN_YUNET_PATH"):
        load_detector(settings)
    assert not (tmp_path / "cache").exists()


def test_a_damaged_cache_is_fetched_again(website: tuple[str, Path], tmp_path: Path) -> None:
    address, folder = website
    (folder / "file").write_bytes(b"right")
    target = tmp_path / "cache" / "file"
    target.parent.mkdir()
    target.write_bytes(b"wrong")
    downloads.fetch_once(f"{address}/file", hashlib.sha256(b"right").hexdigest(), target)
    assert target.read_bytes() == b"right"


def test_without_yunet_haar_stands_in_with_a_warning(
    website: tuple[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings = ClientSettings(yunet_url=f"{website[0]}/absent", cache_dir=tmp_path / "cache")
    with caplog.at_level(logging.WARNING):
        assert load_detector(settings).name == "haar"
    assert "404" in caplog.text
    assert f"put {YUNET_FILE} into {tmp_path / 'cache'}" in caplog.text


def test_a_file_that_is_no_yunet_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "text.onnx").write_text("hello")
    (tmp_path / "empty.onnx").touch()
    for name, said in [
        ("text.onnx", "not a YuNet model"),
        ("empty.onnx", "is empty"),
        ("absent.onnx", "cannot be read"),
    ]:
        with pytest.raises(DetectorError, match=said):
            load_detector(ClientSettings(yunet_path=tmp_path / name))
