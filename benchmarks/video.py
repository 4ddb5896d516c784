"""What a video costs: our pipeline against the loop that the documents behind this project describe.

    python -m benchmarks.video --rounds 3 --frames 150

Both read the same film of 1280 x 720 pixels with one moving face. The reference takes each frame through OpenCV's
Haar cascade (scale factor 1.3, 5 neighbours), cuts the first face, scales it to 48 x 48 and calls Keras's
`model.predict` on a batch of one. Ours is that of `mien video`: YuNet where it can be had (`MIEN_YUNET_PATH`), faces of
many frames in one request to Triton, frames read and searched while the answer is awaited. Measured in turn; the ratio
is taken within a round.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from benchmarks.gateway import HEAD, PORTRAIT
from benchmarks.machine import machine
from benchmarks.measure import Spread
from mien import ClientSettings, EmotionClient
from mien.images import read_image
from mien.video import VideoReader, VideoWriter, analyse
from serving.server import TritonServer
from serving.settings import CHECKOUT, read_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WIDTH, HEIGHT, FPS = 1280, 720, 25
FACE = 300
"""Side of the head in the film, in pixels: of a person who sits before a camera."""

SAVED_MODEL = CHECKOUT / "model_repository/emotion_classifier_savedmodel/1/model.savedmodel"


def write_film(path: Path, frames: int) -> None:
    """A head that moves in a circle before a grey wall with some grain."""
    left, top, right, bottom = HEAD
    portrait = read_image(PORTRAIT, 10**8)[top:bottom, left:right]
    head = cv2.resize(portrait, (FACE, FACE), interpolation=cv2.INTER_AREA)
    wall = np.random.default_rng(0).integers(118, 138, (HEIGHT, WIDTH, 3), np.uint8)
    with VideoWriter(path, FPS) as writer:
        for index in range(frames):
            angle = 2 * np.pi * index / 100
            x = round((WIDTH - FACE) / 2 + 200 * np.cos(angle))
            y = round((HEIGHT - FACE) / 2 + 150 * np.sin(angle))
            frame = wall.copy()
            frame[y : y + FACE, x : x + FACE] = head
            writer.write(frame)


def reference_loop() -> Callable[[Path, int], int]:
    """The reference with its model loaded; a call goes through so many frames and returns the faces found."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    model = keras.Sequential([keras.layers.TFSMLayer(str(SAVED_MODEL), call_endpoint="serving_default")])
    cascade = cv2.CascadeClassifier(str(Path(cv2.__file__).parent / "data/haarcascade_frontalface_default.xml"))

    def run(film: Path, frames: int) -> int:
        capture = cv2.VideoCapture(str(film))
        found = 0
        for _ in range(frames):
            grey = cv2.cvtColor(capture.read()[1], cv2.COLOR_BGR2GRAY)
            for x, y, width, height in cascade.detectMultiScale(grey, 1.3, 5)[:1]:
                face: NDArray[np.float32] = cv2.resize(grey[y : y + height, x : x + width], (48, 48)).astype(np.float32)
                model.predict(face[None, :, :, None], verbose=0)
                found += 1
        capture.release()
        return found

    return run


def ours(client: EmotionClient, film: Path) -> int:
    """Our pipeline over the whole film; returns the faces found."""
    with VideoReader(film, max_pixels=WIDTH * HEIGHT) as reader:
        return sum(len(frame.faces) for frame in analyse(client, reader))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--frames", type=int, default=150, help="of the film; the reference sees the first 30")
    options = parser.parse_args()
    few = min(30, options.frames)
    theirs_per_s, ours_per_s = [], []
    reference = reference_loop()
    with tempfile.TemporaryDirectory() as folder:
        state, film = Path(folder), Path(folder) / "film.mp4"
        write_film(film, options.frames)
        settings = read_settings(state=state, model_repository=state / "models", grpc_port=0, metrics_port=0)
        with (
            TritonServer(settings) as server,
            EmotionClient(ClientSettings(endpoints=server.endpoint, detector_size=640)) as client,
        ):
            ours(client, film)
            reference(film, 2)
            for _ in range(options.rounds):
                begin = time.perf_counter()
                found = ours(client, film)
                middle = time.perf_counter()
                found_by_reference = reference(film, few)
                end = time.perf_counter()
                ours_per_s.append(options.frames / (middle - begin))
                theirs_per_s.append(few / (end - middle))
    ratio = Spread.of([mine / theirs for mine, theirs in zip(ours_per_s, theirs_per_s, strict=True)])
    facts = machine()
    print(f"{facts['date']} · {facts['machine']}\n{WIDTH} x {HEIGHT}, one face of {FACE} pixels")
    print(f"reference  {Spread.of(theirs_per_s).text(' frames/s')}, a face in {found_by_reference} of {few} frames")
    print(f"ours       {Spread.of(ours_per_s).text(' frames/s')}, a face in {found} of {options.frames} frames")
    print(f"ratio      {ratio.text()}")


if __name__ == "__main__":
    main()
