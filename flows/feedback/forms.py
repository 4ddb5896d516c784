"""How the examples of a dataset are kept as files: faces as pictures, speech as the recordings that they came in."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mien.contract import AUDIO, FACES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec, TensorSpec
    from training.dataset import Dataset


@dataclass(frozen=True, slots=True)
class Example:
    """One of a dataset's.

    Attributes:
        label: of it.
        speaker: whose voice it is; empty where that is not known or means nothing.
        split: that it is in.
        content: of its file.
        suffix: of the file's name.
    """

    label: str
    speaker: str
    split: str
    content: bytes
    suffix: str


class Form(Protocol):
    """What is kept of an ensemble's examples."""

    suffix: str
    """Of the files of corrections."""

    def examples(self, base: Dataset, source: Path) -> Iterator[Example]:
        """All of a dataset.

        Args:
            base: the dataset.
            source: what it was loaded from.

        Raises:
            OSError: a file of it is gone.
        """

    def correction(self, content: bytes) -> bytes:
        """What is kept of a correction, given what the feedback store keeps.

        Raises:
            ValueError: there is nothing to learn from in it.
        """


class Pictures:
    """Faces, 48 x 48 grey pixels each: a table of pixels has no files to copy."""

    suffix = ".png"

    def examples(self, base: Dataset, source: Path) -> Iterator[Example]:  # noqa: ARG002 (of the protocol)
        """See `Form`."""
        for split, part in base.splits.items():
            for image, index in zip(part.examples, part.labels, strict=True):
                yield Example(base.labels[index], "", split, _png(image[..., 0]), self.suffix)

    def correction(self, content: bytes) -> bytes:
        """See `Form`."""
        from training.sources import decode

        return _png(decode(content)[0])


class Recordings:
    """Recordings as they are: one may be several rows of the dataset, which are cut anew when it is read."""

    suffix = ".flac"

    def examples(self, base: Dataset, source: Path) -> Iterator[Example]:
        """See `Form`."""
        from training.reading import opened

        with opened(source) as (container, _):
            for split, part in base.splits.items():
                _, first = np.unique(part.names, return_index=True)
                for row in np.sort(first):
                    name, label = part.names[row], base.labels[part.labels[row]]
                    speaker = part.speakers[row] if part.speakers else ""
                    suffix = PurePosixPath(name).suffix.lower()
                    yield Example(label, speaker, split, container.read(name), suffix)

    def correction(self, content: bytes) -> bytes:
        """See `Form`."""
        from training.recordings import decode

        decode(content)
        return content


def form_of(ensemble: EnsembleSpec) -> Form:
    """That of the examples that `ensemble` takes."""
    return _FORMS[ensemble.input]


_FORMS: Mapping[TensorSpec, Form] = {FACES: Pictures(), AUDIO: Recordings()}


def _png(image: NDArray[np.uint8]) -> bytes:
    import cv2

    return cv2.imencode(".png", image)[1].tobytes()
