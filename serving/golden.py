"""The golden faces of a release: what it answered in training, and must answer wherever it is served."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serving.errors import PromotionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serving.manifest import Manifest
    from serving.repository import ModelRepository

GOLDEN_NAME = "golden.npz"


@dataclass(frozen=True, slots=True)
class Golden:
    """Faces and the answers to them.

    Attributes:
        faces: (N, 96, 96, 3) uint8, RGB.
        probabilities: (N, 7) float32, as training computed them.
        tolerance: how far an answer may be off, in probability.
    """

    faces: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    tolerance: float

    def check(self, answered: NDArray[np.float32]) -> None:
        """Hold what a server answered, (N, 7), against what it should have.

        Raises:
            PromotionError: it is something else.
        """
        expected = self.probabilities
        difference = float(np.max(np.abs(answered - expected))) if answered.shape == expected.shape else np.inf
        if not difference <= self.tolerance:  # NaN is a failure too
            raise PromotionError(
                f"The canary failed: the probabilities of {len(expected)} golden faces differ by {difference:.2g} from"
                f" those of training; {self.tolerance:.2g} is allowed."
            )


def read_golden(repository: ModelRepository, manifest: Manifest) -> Golden:
    """The golden faces of a release in `repository`.

    Raises:
        PromotionError: it has none.
    """
    path = repository.path / manifest.ensemble / str(manifest.release) / GOLDEN_NAME
    if not path.exists():
        raise PromotionError(f"{path} is missing: nothing shows what the release must answer. Export it again.")
    with np.load(path) as content:
        return Golden(content["faces"], content["probabilities"], float(content["tolerance"]))
