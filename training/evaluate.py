"""How good a model is on one split."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from training.onnx_inference import OnnxModel

if TYPE_CHECKING:
    from pathlib import Path

    from training.dataset import Split


def onnx_metrics(path: Path, split: Split) -> dict[str, Any]:
    """Accuracy of a classifier's ONNX file on `split`, one view of each face."""
    probabilities = OnnxModel(path).predict(split.images.astype(np.float32))
    correct = probabilities.argmax(axis=1) == split.labels
    return {"validation_accuracy": round(float(correct.mean()), 4), "validation_faces": len(split)}
