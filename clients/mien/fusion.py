"""Faces and speech of one video on one timeline, and what both say together.

Fusion is late: each modality has named its emotions, and their probabilities are averaged, each with its confidence as
its weight. A label that only one of them has (surprise of faces, boredom of speech) is that one's alone to judge: the
other has no say in it, rather than a zero. Then all are scaled to sum to 1. Where one modality is missing, the other is
the answer; where both are, there is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien import contract
from mien.results import Emotion, mean_emotion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from mien.results import RecognizedFace, SpeechWindow

LABELS = tuple(dict.fromkeys((*contract.EMOTION.labels, *contract.SPEECH_EMOTION.labels)))
"""All labels that either modality has: those of faces, in their order, then what speech adds."""

STEP_S = contract.WINDOW_HOP_S
"""What one moment of the timeline stands for: speech says nothing new in less."""


@dataclass(frozen=True, slots=True)
class Moment:
    """A stretch of a video.

    Attributes:
        start_s: where it begins.
        end_s: where it ends.
        faces: how many were seen in it, over all its frames.
        face: mean of all of them; None if there was none.
        speech: mean of the windows that are about it; None if there is silence or no sound.
    """

    start_s: float
    end_s: float
    faces: int
    face: Emotion | None
    speech: Emotion | None

    @property
    def fused(self) -> Emotion | None:
        """Both together."""
        return fuse(self.face, self.speech)


def fuse(face: Emotion | None, speech: Emotion | None) -> Emotion | None:
    """What two modalities say together, over `LABELS`; either may be missing. See the module for the rule."""
    known = [emotion for emotion in (face, speech) if emotion is not None]
    if not known:
        return None
    joined = {}
    for label in LABELS:
        votes = [(one.confidence, one.probabilities[label]) for one in known if label in one.probabilities]
        weights = sum(weight for weight, _ in votes)
        joined[label] = sum(weight * share for weight, share in votes) / weights if weights else 0.0
    total = sum(joined.values())
    versions = "+".join(emotion.model_version for emotion in known)
    return Emotion({label: share / total for label, share in joined.items()}, versions)


class Timeline:
    """The moments of a video, in order and without a gap, each as soon as its frames have come.

    Args:
        speech: the windows of its sound, in order; empty if it has none.
    """

    def __init__(self, speech: Sequence[SpeechWindow]) -> None:
        self._speech = speech
        self._start_s = 0.0
        """Of the moment whose faces are held."""
        self._held: list[Emotion] = []

    def add(self, time_s: float, faces: Iterable[RecognizedFace]) -> list[Moment]:
        """The moments that are over when a frame of that time has come; frames come in order."""
        over = []
        while time_s >= self._start_s + STEP_S - 1e-6:
            over.append(self._moment())
        self._held.extend(face.emotion for face in faces)
        return over

    def finish(self) -> list[Moment]:
        """The last moments, after the last frame."""
        end_s = max([self._start_s, *(window.end_s for window in self._speech)])
        last = []
        while self._start_s < end_s or self._held:
            last.append(self._moment())
        return last

    def _moment(self) -> Moment:
        start_s, end_s, faces = self._start_s, self._start_s + STEP_S, self._held
        self._start_s, self._held = end_s, []
        about = (window.emotion for window in self._speech if window.start_s < end_s and window.end_s > start_s)
        return Moment(start_s, end_s, len(faces), mean_emotion(faces), mean_emotion(about))


def timeline(
    frames: Iterable[tuple[float, Sequence[RecognizedFace]]], speech: Sequence[SpeechWindow]
) -> Iterator[Moment]:
    """The moments of a video whose frames come one after the other; see `Timeline`.

    Args:
        frames: time in seconds, and faces, of each frame that was looked at, in order.
        speech: the windows of its sound, in order; empty if it has none.
    """
    moments = Timeline(speech)
    for time_s, faces in frames:
        yield from moments.add(time_s, faces)
    yield from moments.finish()


def summary(moments: Sequence[Moment]) -> Moment | None:
    """A whole video as one moment: the mean of its moments, each modality for itself; None if it has no moment."""
    if not moments:
        return None
    return Moment(
        moments[0].start_s,
        moments[-1].end_s,
        sum(moment.faces for moment in moments),
        mean_emotion(moment.face for moment in moments),
        mean_emotion(moment.speech for moment in moments),
    )
