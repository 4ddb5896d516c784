"""How accuracy falls when pictures get worse: blur, noise, low light, small faces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.classifier import Classifier
    from training.dataset import Split

    Corrupt = Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]


@dataclass(frozen=True)
class Corruption:
    """A way to spoil a picture; `strengths` go from mild to strong, in `unit`."""

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Corrupt


@dataclass(frozen=True)
class RobustnessPoint:
    """Accuracy under one corruption at one strength, measured on every face of the split."""

    corruption: str
    unit: str
    strength: float
    accuracy: float


def blur(images: NDArray[np.uint8], sigma: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian blur; `sigma` in pixels of the 48."""
    del rng
    return _each(images, lambda image: cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE))


def noise(images: NDArray[np.uint8], sigma: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Gaussian noise of standard deviation `sigma`, in grey levels."""
    return _levels(images + rng.normal(0, sigma, images.shape))


def low_light(images: NDArray[np.uint8], share: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A `share` of the light, with the shot noise that goes with it and the loss of grey levels.

    A well-lit white pixel is taken as 1,000 photoelectrons, a small camera's; the count of fewer photons is noisier.
    """
    electrons = rng.poisson(images * (share * 1_000 / 255))
    return _levels(electrons * (255 / 1_000))


def small_face(images: NDArray[np.uint8], side: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A face that was only `side` pixels wide in the photograph, enlarged again."""
    del rng
    size = images.shape[1]

    def shrink(image: NDArray[np.uint8]) -> cv2.typing.MatLike:
        small = cv2.resize(image, (round(side), round(side)), interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (size, size), interpolation=cv2.INTER_LINEAR)

    return _each(images, shrink)


CORRUPTIONS = (
    Corruption("blur", "sigma, pixels", (0.5, 1.0, 1.5, 2.0), blur),
    Corruption("noise", "sigma, grey levels", (5.0, 10.0, 20.0, 40.0), noise),
    Corruption("low light", "share of the light", (0.5, 0.25, 0.1, 0.05), low_light),
    Corruption("small face", "pixels wide", (32.0, 24.0, 16.0, 12.0), small_face),
)
"""What is measured. The strongest of each makes faces hard for a person, too."""


def measure_robustness(
    classifier: Classifier, split: Split, corruptions: Sequence[Corruption] = CORRUPTIONS, seed: int = 0
) -> tuple[RobustnessPoint, ...]:
    """Accuracy of `classifier` on `split` under every corruption and strength.

    Args:
        classifier: what to measure.
        split: faces with labels.
        corruptions: what to do to the faces.
        seed: of the noise; every point draws its own from it, so that points do not depend on each other.
    """
    points = []
    for corruption in corruptions:
        for place, strength in enumerate(corruption.strengths):
            rng = np.random.default_rng([seed, place, *corruption.name.encode()])
            images = corruption.apply(split.examples, strength, rng)
            predicted = classifier.predict(images, f"{corruption.name} {strength:g}").argmax(axis=1)
            accuracy = float((predicted == split.labels).mean())
            points.append(RobustnessPoint(corruption.name, corruption.unit, strength, accuracy))
    return tuple(points)


def _each(images: NDArray[np.uint8], change: Callable[[NDArray[np.uint8]], cv2.typing.MatLike]) -> NDArray[np.uint8]:
    changed = np.stack([change(image[..., 0]) for image in images])[..., None]
    return np.asarray(changed, np.uint8)


def _levels(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
