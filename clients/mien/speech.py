"""Speech over time: sound → windows → batches of windows → their emotions.

Memory stays flat however long the recording is: at most `ahead.IN_FLIGHT` batches are held.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien import ahead, contract, windows
from mien.errors import MediaError
from mien.samples import too_short

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator

    import numpy as np
    from numpy.typing import NDArray

    from mien.client import EmotionClient
    from mien.results import SpeechWindow
    from mien.windows import Window

BATCH_WINDOWS = 16
"""In one request: 3 MB of samples."""


def analyse(
    client: EmotionClient,
    sound: Iterable[NDArray[np.float32]],
    *,
    hop_s: float = contract.WINDOW_HOP_S,
    on_progress: Callable[[float], None] | None = None,
) -> Generator[SpeechWindow, None, None]:
    """Recognize the emotions of sound, window by window, in order.

    Args:
        client: used by several threads at once.
        sound: pieces of (n,) float32 in -1..1, 16 kHz; of a file see `mien.recordings` and `mien.sound_tracks`.
        hop_s: from the beginning of one window to that of the next.
        on_progress: called with the seconds that are done.

    Raises:
        MediaError: there is less than 0.1 s; or what `sound` raises, after the last good window was given.
        InferenceError: the server failed; the windows before that were given.
    """

    def recognize(batch: list[Window]) -> tuple[SpeechWindow, ...]:
        return windows.answered(batch, client.classify_speech(windows.stacked(batch)))

    for _, done in ahead.answered(batches(sound, hop_s), recognize):
        for window in done:
            yield window
            if on_progress is not None:
                on_progress(window.end_s)


def batches(sound: Iterable[NDArray[np.float32]], hop_s: float = contract.WINDOW_HOP_S) -> Iterator[list[Window]]:
    """The windows of sound, as many together as go into one request.

    Raises:
        MediaError: see `cut`; the windows before it were given.
    """
    batch: list[Window] = []
    try:
        for window in cut(sound, hop_s):
            batch.append(window)
            if len(batch) == BATCH_WINDOWS:
                yield batch
                batch = []
    except MediaError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def cut(sound: Iterable[NDArray[np.float32]], hop_s: float = contract.WINDOW_HOP_S) -> Iterator[Window]:
    """The windows of sound, in order.

    Raises:
        MediaError: there is less than 0.1 s; or what `sound` raises, after the windows before it were given.
    """
    made = windows.Windows(hop_s)
    problem: MediaError | None = None
    is_given = False
    pieces = iter(sound)
    while problem is None:
        try:
            piece = next(pieces, None)
        except MediaError as error:  # what was read before it counts
            problem, piece = error, None
        full = made.finish() if piece is None else made.add(piece)
        is_given = is_given or bool(full)
        yield from full
        if piece is None:
            break
    if problem is not None:
        raise problem
    if not is_given:
        raise MediaError(too_short("The recording", made.length_s))
