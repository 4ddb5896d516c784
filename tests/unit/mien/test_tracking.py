from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien import Box, Emotion, Face, RecognizedFace
from mien.tracking import Tracker


def face(x: float, y: float = 50, side: float = 40, happy: float = 1.0) -> RecognizedFace:
    return RecognizedFace(Face(Box(x, y, side, side)), Emotion({"happy": happy, "sad": 1 - happy}, "1"))


def numbers(tracker: Tracker, faces: list[RecognizedFace], time_s: float) -> list[int]:
    return [tracked.track for tracked in tracker.update(faces, time_s)]


def test_a_person_keeps_their_number_whatever_the_order() -> None:
    tracker = Tracker()
    assert numbers(tracker, [face(0), face(200)], 0) == [1, 2]
    assert numbers(tracker, [face(195), face(8)], 0.1) == [2, 1]
    assert numbers(tracker, [face(190), face(400), face(16)], 0.2) == [2, 3, 1]


def test_a_short_absence_is_survived_and_a_long_one_is_not() -> None:
    tracker = Tracker(max_gap_s=1)
    assert numbers(tracker, [face(0)], 0) == [1]
    assert numbers(tracker, [], 0.5) == []
    assert numbers(tracker, [face(3)], 0.9) == [1]
    assert numbers(tracker, [face(3)], 2.0) == [2]


def test_a_face_that_moved_by_most_of_its_side_is_followed() -> None:
    tracker = Tracker()
    assert numbers(tracker, [face(0)], 0) == [1]
    assert numbers(tracker, [face(35)], 0.1) == [1]
    assert numbers(tracker, [face(120)], 0.2) == [2]


def test_another_size_is_another_face() -> None:
    tracker = Tracker()
    assert numbers(tracker, [face(0, side=40)], 0) == [1]
    assert numbers(tracker, [face(-30, y=20, side=100)], 0.1) == [2]


def test_smoothing_keeps_a_share_of_what_was() -> None:
    plain, smooth = Tracker(), Tracker(smoothing=0.75)
    for tracker in (plain, smooth):
        tracker.update([face(0, happy=1)], 0)
    assert plain.update([face(0, happy=0)], 0.1)[0].recognized.emotion.label == "sad"
    emotion = smooth.update([face(0, happy=0)], 0.1)[0].recognized.emotion
    assert emotion.probabilities == pytest.approx({"happy": 0.75, "sad": 0.25})


@given(st.lists(st.lists(st.tuples(st.floats(0, 500), st.floats(1, 90)), max_size=8), max_size=6))
def test_no_two_faces_of_a_frame_share_a_number(frames: list[list[tuple[float, float]]]) -> None:
    tracker = Tracker()
    for time_s, places in enumerate(frames):
        found = numbers(tracker, [face(x, side=side) for x, side in places], time_s)
        assert len(set(found)) == len(found)


def test_memory_holds_only_recent_faces() -> None:
    tracker = Tracker(max_gap_s=1)
    for time_s in range(0, 1000, 2):
        tracker.update([face(0), face(200)], time_s)
    assert len(tracker._tracks) == 2
