"""A Triton backend that runs SavedModels with TensorFlow inside the Python backend's stub.

Triton's own images have no TensorFlow backend since 25.03; this one carries its name and reads its parameters:
``TF_NUM_INTRA_THREADS``, ``TF_NUM_INTER_THREADS`` and ``TF_SIGNATURE_DEF``
(https://github.com/triton-inference-server/tensorflow_backend).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import tensorflow as tf
except ImportError as error:
    raise pb_utils.TritonModelException(
        f"A SavedModel needs TensorFlow in the server's environment ({error}). `make install` puts it there."
    ) from error


class TritonPythonModel:
    """One instance of one SavedModel; Triton names this class and its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the SavedModel and hold its signature against the model's configuration.

        Raises:
            TritonModelException: the folder is missing or damaged, the signature is not there, or a tensor differs.
        """
        config = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.savedmodel"
        path = Path(args["model_repository"]) / args["model_version"] / filename
        tf.config.threading.set_intra_op_parallelism_threads(int(_parameter(config, "TF_NUM_INTRA_THREADS", "0")))
        tf.config.threading.set_inter_op_parallelism_threads(int(_parameter(config, "TF_NUM_INTER_THREADS", "0")))
        try:
            self._model = tf.saved_model.load(str(path))
        except Exception as error:
            raise pb_utils.TritonModelException(f"TensorFlow cannot open {path}: {error}") from error
        signature = _parameter(config, "TF_SIGNATURE_DEF", "serving_default")
        if signature not in self._model.signatures:
            raise pb_utils.TritonModelException(
                f"{path} has no signature {signature!r}; it has {sorted(self._model.signatures)}."
            )
        self._function = self._model.signatures[signature]
        batching = int(config.get("max_batch_size", 0)) > 0
        _check_tensors("input", config["input"], self._function.structured_input_signature[1], batching=batching)
        _check_tensors("output", config["output"], self._function.structured_outputs, batching=batching)
        self._batching = batching
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]
        gpu = args["model_instance_kind"] == "GPU"
        self._device = f"/GPU:{args['model_instance_device_id']}" if gpu else "/CPU:0"

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Run all requests of a batch at once; a batch that fails is repeated one request at a time."""
        if len(requests) > 1 and not self._batching:
            return [self.execute([request])[0] for request in requests]
        try:
            feeds = [[_array(request, name) for name in self._inputs] for request in requests]
            results = self._run(dict(zip(self._inputs, map(np.concatenate, zip(*feeds, strict=True)), strict=True)))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises belongs to the caller and must not end the stub
            if len(requests) > 1:
                return [self.execute([request])[0] for request in requests]
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"TensorFlow failed: {error}"))]
        ends = np.cumsum([len(feed[0]) for feed in feeds])[:-1]
        return [self._response(parts) for parts in zip(*(np.split(result, ends) for result in results), strict=True)]

    def _run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        with tf.device(self._device):
            outputs = self._function(**{name: tf.convert_to_tensor(array) for name, array in feed.items()})
        return [outputs[name].numpy() for name in self._outputs]

    def _response(self, results: Sequence[NDArray[Any]]) -> pb_utils.InferenceResponse:
        tensors = [pb_utils.Tensor(name, array) for name, array in zip(self._outputs, results, strict=True)]
        return pb_utils.InferenceResponse(tensors)


def _array(request: pb_utils.InferenceRequest, name: str) -> NDArray[Any]:
    array: NDArray[Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array


def _parameter(config: dict[str, Any], key: str, default: str) -> str:
    return str(config.get("parameters", {}).get(key, {}).get("string_value", default))


def _check_tensors(role: str, configured: list[dict[str, Any]], found: dict[str, Any], *, batching: bool) -> None:
    """Every configured tensor is in the signature with that element type and dims that fit."""
    for tensor in configured:
        name, dims = tensor["name"], [int(dim) for dim in tensor["dims"]]
        if name not in found:
            raise pb_utils.TritonModelException(f"The signature has no {role} {name!r}; it has {sorted(found)}.")
        wanted = [None if dim == -1 else dim for dim in ([-1] if batching else []) + dims]
        dtype = tf.as_dtype(pb_utils.triton_string_to_numpy(tensor["data_type"]))
        if found[name].dtype != dtype or not found[name].shape.is_compatible_with(wanted):
            raise pb_utils.TritonModelException(
                f"The configuration says {role} {name} is {dtype.name} {wanted}, the signature says"
                f" {found[name].dtype.name} {found[name].shape}. Export the model again or correct config.pbtxt."
            )
