"""Runs an exported ONNX file in process, as Triton's backend does: for parity, evaluation and timing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

BATCH_SIZE = 64


class OnnxModel:
    """An ONNX file with one input and one output, on the CPU.

    Args:
        path: the file.
        threads: threads of one operator; 0 takes ONNX Runtime's choice, one a core.
    """

    def __init__(self, path: Path, threads: int = 0) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def __call__(self, batch: NDArray[Any]) -> NDArray[np.float32]:
        """Run one batch, of the dtype and shape the file asks for."""
        return np.asarray(self._session.run(None, {self._input: batch})[0])

    def predict(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """Run any number of inputs, `BATCH_SIZE` at a time."""
        return np.concatenate([self(inputs[i : i + BATCH_SIZE]) for i in range(0, len(inputs), BATCH_SIZE)])
