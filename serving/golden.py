"""The golden inputs of a release: what it answered in training, and must answer wherever it is served."""

from __future__ import annotations

import zipfile
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from serving.errors import PromotionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec
    from serving.repository import ModelRepository

GOLDEN_NAME = "golden.npz"

# What NumPy raises for files of another kind; AttributeError for an array that is none of several, TypeError for a
# tolerance that is no number.
_NOT_GOLDEN = (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class Golden:
    """What callers may send, and the answers to it.

    Attributes:
        inputs: (N, *shape of the ensemble's input), such as faces.
        probabilities: (N, number of labels) float32, as training computed them.
        tolerance: how far an answer may be off, in probability.
    """

    inputs: NDArray[np.generic]
    probabilities: NDArray[np.float32]
    tolerance: float

    def check(self, answered: NDArray[np.float32]) -> None:
        """Hold what a server answered, (N, number of labels), against what it should have.

        Raises:
            PromotionError: it is something else.
        """
        expected = self.probabilities
        difference = float(np.max(np.abs(answered - expected))) if answered.shape == expected.shape else np.inf
        if not difference <= self.tolerance:  # NaN is a failure too
            raise PromotionError(
                f"The canary failed: the probabilities of {len(expected)} golden inputs differ by {difference:.2g} from"
                f" those of training; {self.tolerance:.2g} is allowed."
            )


def read_golden(repository: ModelRepository, ensemble: EnsembleSpec, release: int) -> Golden:
    """The golden inputs of a release in `repository`: in its file they are called like the ensemble's input.

    Raises:
        PromotionError: it has none, or the file holds something else; a pickle in it is never opened.
    """
    path = repository.path / ensemble.name / str(release) / GOLDEN_NAME
    if not path.exists():
        raise PromotionError(f"{path} is missing: nothing shows what the release must answer. Export it again.")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
            inputs = content[ensemble.input.name.lower()]
            return Golden(inputs, content["probabilities"], float(content["tolerance"]))
    except _NOT_GOLDEN as error:
        raise PromotionError(f"{path} holds no golden inputs: {error}. Export the release again.") from error
