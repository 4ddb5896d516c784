"""The ensemble's two graphs in one process; NumPy and ONNX Runtime are all it needs, so every peer can import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


class OnnxPair:
    """Preprocessing and classifier as ONNX Runtime sessions, called one after the other; threads may share it.

    Args:
        preprocess: the graph of `emotion_preprocess`.
        classifier: the graph of `emotion_classifier`.
        threads: inside the classifier; the preprocessing, a hundredth of the work, has one.
    """

    def __init__(self, preprocess: Path, classifier: Path, threads: int) -> None:
        self._preprocess = _session(preprocess, 1)
        self._classifier = _session(classifier, threads)

    def __call__(self, faces: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Classify faces, (N, 96, 96, 3) RGB, to (N, 7) probabilities."""
        (pixels,) = self._preprocess.run(["PIXELS"], {"FACES": faces})
        (probabilities,) = self._classifier.run(["PROBABILITIES"], {"PIXELS": pixels})
        return np.asarray(probabilities, np.float32)


def _session(graph: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
