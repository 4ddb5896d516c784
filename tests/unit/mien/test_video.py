from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import cv2
import grpc
import numpy as np
import pytest

from mien import EmotionClient, MediaError, MediaTooLargeError, ServerUnavailableError
from mien.video import AnalysedFrame, VideoReader, VideoWriter, analyse
from tests.unit.mien.scripted_triton import OneFaceDetector, ScriptedTriton

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.faces import Face

LIMIT = 1_000_000
FRAMES, FPS = 60, 10


def frame(index: int) -> NDArray[np.uint8]:
    """Its brightness tells its index."""
    return np.full((48, 64, 3), 4 * index, np.uint8)


@pytest.fixture(params=[".mp4", ".avi", ".mkv"])
def video_file(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    return written(tmp_path / f"video{request.param}")


def written(path: Path) -> Path:
    with VideoWriter(path, FPS) as writer:
        for index in range(FRAMES):
            writer.write(frame(index))
    return path


@pytest.fixture
def client(scripted: ScriptedTriton) -> EmotionClient:
    return EmotionClient(scripted.endpoint, detector=OneFaceDetector())


def test_every_frame_comes_once_and_in_order(video_file: Path) -> None:
    with VideoReader(video_file, LIMIT) as reader:
        frames = list(reader.frames())
    assert [item.index for item in frames] == list(range(FRAMES))
    assert [item.time_s for item in frames] == pytest.approx([index / FPS for index in range(FRAMES)], abs=0.01)
    # The codec may leave out a change of brightness as small as these.
    assert [item.picture.mean() / 4 for item in frames] == pytest.approx(list(range(FRAMES)), abs=1.5)


@pytest.mark.parametrize(("fps", "indices"), [(1, range(0, 60, 10)), (5, range(0, 60, 2)), (99, range(60))])
def test_sampling_takes_frames_at_the_rate(tmp_path: Path, fps: float, indices: range) -> None:
    with VideoReader(written(tmp_path / "a.mp4"), LIMIT, fps) as reader:
        assert [item.index for item in reader.frames()] == list(indices)
        assert reader.fps == min(fps, FPS)


def test_frames_are_rgb(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "a.avi", FPS) as writer:
        writer.write(np.full((48, 64, 3), (250, 10, 10), np.uint8))
    with VideoReader(tmp_path / "a.avi", LIMIT) as reader:
        (only,) = reader.frames()
    assert only.picture[20, 20, 0] > 200
    assert only.picture[20, 20, 2] < 50


@pytest.mark.parametrize(
    ("content", "said"), [(None, "There is no video file"), (b"", "zero bytes"), (b"hello " * 99, "not a video")]
)
def test_what_is_no_video_is_a_sentence(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MediaError, match=said):
        VideoReader(path, LIMIT)


def test_large_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaTooLargeError, match="64 x 48"):
        VideoReader(written(tmp_path / "a.mp4"), 1000)


def test_an_mp4_without_its_end_cannot_be_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a.mp4")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(MediaError, match="truncated"):
        VideoReader(path, LIMIT)


def test_a_video_that_breaks_off_gives_its_frames_and_then_the_error(tmp_path: Path, client: EmotionClient) -> None:
    path = written(tmp_path / "a.avi")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    analysed: list[AnalysedFrame] = []
    with VideoReader(path, LIMIT) as reader, client, pytest.raises(MediaError, match=r"truncated.*of 60 frames"):
        analysed.extend(analyse(client, reader))
    assert 10 < len(analysed) < 50
    assert [item.frame.index for item in analysed] == list(range(len(analysed)))


def test_faces_keep_order_number_and_frame(tmp_path: Path, client: EmotionClient) -> None:
    progress: list[int] = []
    with VideoReader(written(tmp_path / "a.mp4"), LIMIT) as reader, client:
        analysed = list(analyse(client, reader, on_progress=progress.append))
    assert [item.frame.index for item in analysed] == progress == list(range(FRAMES))
    assert {face.track for item in analysed for face in item.faces} == {1}
    assert all(len(item.faces) == 1 for item in analysed)


def test_frames_are_batched(tmp_path: Path, client: EmotionClient, scripted: ScriptedTriton) -> None:
    with VideoReader(written(tmp_path / "a.mp4"), LIMIT) as reader, client:
        list(analyse(client, reader))
    assert sorted(request.inputs[0].shape[0] for request, _ in scripted.requests) == [12, 16, 16, 16]


class FilmOnlyDetector(OneFaceDetector):
    """Finds a face in films alone."""

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        return []

    def film(self) -> Callable[[NDArray[np.uint8]], list[Face]]:
        return super().detect


@pytest.mark.parametrize(("fps", "faces"), [(None, 1), (2, 0)])
def test_frames_close_in_time_are_searched_as_a_film(
    tmp_path: Path, scripted: ScriptedTriton, fps: float | None, faces: int
) -> None:
    with (
        VideoReader(written(tmp_path / "a.mp4"), LIMIT, fps) as reader,
        EmotionClient(scripted.endpoint, detector=FilmOnlyDetector()) as client,
    ):
        assert {len(item.faces) for item in analyse(client, reader)} == {faces}


def test_a_server_that_dies_midway_leaves_the_frames_before(
    tmp_path: Path, client: EmotionClient, scripted: ScriptedTriton
) -> None:
    lock, answered = threading.Lock(), [0]

    def die_after_two(request: object, context: grpc.ServicerContext) -> None:
        with lock:
            answered[0] += 1
            is_dead = answered[0] > 2
        if is_dead:
            context.abort(grpc.StatusCode.UNAVAILABLE, "gone")

    scripted.script = die_after_two
    analysed: list[AnalysedFrame] = []
    with (
        VideoReader(written(tmp_path / "a.mp4"), LIMIT) as reader,
        client,
        pytest.raises(ServerUnavailableError),
    ):
        analysed.extend(analyse(client, reader))
    assert len(analysed) in (16, 32)  # two batches are asked for at once: the failed one may be the second


def test_whoever_stops_early_waits_for_nothing(tmp_path: Path, client: EmotionClient) -> None:
    with VideoReader(written(tmp_path / "a.mp4"), LIMIT) as reader, client:
        frames = analyse(client, reader)
        assert next(frames).frame.index == 0
        frames.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("mien-video")] == []


def test_smoothing_steadies_the_label(tmp_path: Path, client: EmotionClient) -> None:
    def labels(smoothing: float) -> int:
        with VideoReader(written(tmp_path / "a.mp4"), LIMIT) as reader:
            return len(
                {
                    face.recognized.emotion.confidence
                    for item in analyse(client, reader, smoothing=smoothing)
                    for face in item.faces
                }
            )

    with client:
        assert labels(0.0) == 1
        assert labels(0.9) > 10


def test_a_name_that_is_no_video_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"\.mp4, \.mov"):
        VideoWriter(tmp_path / "a.gif", FPS)


def test_the_written_video_is_whole(video_file: Path) -> None:
    capture = cv2.VideoCapture(str(video_file))
    assert (capture.get(cv2.CAP_PROP_FRAME_COUNT), capture.get(cv2.CAP_PROP_FPS)) == (FRAMES, FPS)
    capture.release()
