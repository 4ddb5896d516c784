"""What a correction may be about: a face, or speech."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mien import contract

if TYPE_CHECKING:
    from mien.contract import EnsembleSpec


@dataclass(frozen=True, slots=True)
class Kind:
    """One of them.

    Attributes:
        ensemble: that names its emotions.
        field: of the form that holds the file.
        what: it is, in a sentence.
        whose: it is, in a sentence.
        review: what reviewers do with it, in a sentence.
        name: of what is kept, in paths.
        media_type: of what is kept.
    """

    ensemble: EnsembleSpec
    field: str
    what: str
    whose: str
    review: str
    name: str
    media_type: str


FACE = Kind(
    ensemble=contract.EMOTION,
    field="image",
    what="picture of a face",
    whose="The person in the picture",
    review="look at them",
    name="picture",
    media_type="image/png",
)
SPEECH = Kind(
    ensemble=contract.SPEECH_EMOTION,
    field="audio",
    what="recording of speech",
    whose="The person who speaks",
    review="listen to them",
    name="recording",
    media_type="audio/flac",
)

KINDS = {kind.ensemble.name: kind for kind in (FACE, SPEECH)}
"""By the name of the ensemble, which is what the store keeps."""
