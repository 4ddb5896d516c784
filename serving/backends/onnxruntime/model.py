"""A Triton backend that runs ONNX models with ONNX Runtime inside the Python backend's stub.

It carries the name and reads the parameters of NVIDIA's native backend, so that one config.pbtxt runs on both:
``intra_op_thread_count``, ``inter_op_thread_count``, ``execution_mode``, ``optimization.graph.level`` and the
``tensorrt`` and ``cuda`` entries of ``optimization.execution_accelerators.gpu_execution_accelerator``
(https://github.com/triton-inference-server/onnxruntime_backend).
"""

from __future__ import annotations

import json
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime as ort
import triton_python_backend_utils as pb_utils

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_ORT_TYPES = {
    "TYPE_BOOL": "tensor(bool)",
    "TYPE_UINT8": "tensor(uint8)",
    "TYPE_UINT16": "tensor(uint16)",
    "TYPE_UINT32": "tensor(uint32)",
    "TYPE_UINT64": "tensor(uint64)",
    "TYPE_INT8": "tensor(int8)",
    "TYPE_INT16": "tensor(int16)",
    "TYPE_INT32": "tensor(int32)",
    "TYPE_INT64": "tensor(int64)",
    "TYPE_FP16": "tensor(float16)",
    "TYPE_FP32": "tensor(float)",
    "TYPE_FP64": "tensor(double)",
    "TYPE_STRING": "tensor(string)",
}

# The native backend's numbers for `optimization.graph.level`.
_GRAPH_LEVELS = {
    -1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    0: ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
    1: ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    2: ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}

_TENSORRT_OPTIONS = {"max_workspace_size_bytes": "trt_max_workspace_size"}
_PRECISION_OPTIONS = {"FP32": {}, "FP16": {"trt_fp16_enable": "1"}, "INT8": {"trt_int8_enable": "1"}}


class TritonPythonModel:
    """One instance of one ONNX model; Triton names this class and its methods."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session and hold the graph against the model's configuration.

        Raises:
            TritonModelException: the file is missing or damaged, a provider is not there, or a tensor differs; the load
                fails with the sentence and a version already served stays.
        """
        config = json.loads(args["model_config"])
        filename = config.get("default_model_filename") or "model.onnx"
        path = Path(args["model_repository"]) / args["model_version"] / filename
        try:
            self._session = ort.InferenceSession(path, _session_options(config), providers=_providers(config, args))
        except Exception as error:
            raise pb_utils.TritonModelException(f"ONNX Runtime cannot open {path}: {error}") from error
        batching = int(config.get("max_batch_size", 0)) > 0
        _check_tensors("input", config["input"], self._session.get_inputs(), batching=batching)
        _check_tensors("output", config["output"], self._session.get_outputs(), batching=batching)
        self._batching = batching
        self._inputs = [tensor["name"] for tensor in config["input"]]
        self._outputs = [tensor["name"] for tensor in config["output"]]

    def execute(self, requests: list[pb_utils.InferenceRequest]) -> list[pb_utils.InferenceResponse]:
        """Run all requests of a batch at once; answers come in the order of the requests.

        When a batch fails, its requests run one by one, so that only the one at fault gets the error.
        """
        if len(requests) > 1 and not self._batching:
            return [self.execute([request])[0] for request in requests]
        try:
            feeds = [[_array(request, name) for name in self._inputs] for request in requests]
            results = self._session.run(self._outputs, dict(zip(self._inputs, _merge(feeds), strict=True)))
        except Exception as error:  # noqa: BLE001 - whatever a runtime raises belongs to the caller and must not end the stub
            if len(requests) > 1:
                return [self.execute([request])[0] for request in requests]
            return [pb_utils.InferenceResponse(error=pb_utils.TritonError(f"ONNX Runtime failed: {error}"))]
        if len(requests) == 1:
            return [self._response(results)]
        ends = [0, *accumulate(len(feed[0]) for feed in feeds)]
        return [self._response([result[start:end] for result in results]) for start, end in pairwise(ends)]

    def _response(self, results: Sequence[NDArray[Any]]) -> pb_utils.InferenceResponse:
        tensors = [pb_utils.Tensor(name, array) for name, array in zip(self._outputs, results, strict=True)]
        return pb_utils.InferenceResponse(tensors)


def _array(request: pb_utils.InferenceRequest, name: str) -> NDArray[Any]:
    array: NDArray[Any] = pb_utils.get_input_tensor_by_name(request, name).as_numpy()
    return array


def _merge(feeds: list[list[NDArray[Any]]]) -> list[NDArray[Any]]:
    """Each input of all requests as one array; a lone request's arrays go through uncopied."""
    if len(feeds) == 1:
        return feeds[0]
    return [np.concatenate(arrays) for arrays in zip(*feeds, strict=True)]


def _session_options(config: dict[str, Any]) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = _parameter(config, "intra_op_thread_count", 0)
    options.inter_op_num_threads = _parameter(config, "inter_op_thread_count", 0)
    if _parameter(config, "execution_mode", 0) == 1:
        options.execution_mode = ort.ExecutionMode.ORT_PARALLEL
    level = config.get("optimization", {}).get("graph", {}).get("level", 0)
    if level not in _GRAPH_LEVELS:
        raise pb_utils.TritonModelException(
            f"optimization.graph.level is {level}; it takes one of {list(_GRAPH_LEVELS)}."
        )
    options.graph_optimization_level = _GRAPH_LEVELS[level]
    options.log_severity_level = 3
    # Threads wait without spinning. Instances are processes of their own, and together have more threads than there are
    # cores: one that spins for another's share of an operator keeps that other from running (docs/benchmarks.md).
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _parameter(config: dict[str, Any], key: str, default: int) -> int:
    text = config.get("parameters", {}).get(key, {}).get("string_value", str(default))
    try:
        return int(text)
    except ValueError as error:
        raise pb_utils.TritonModelException(f"Parameter {key} is {text!r}; it takes a whole number.") from error


def _providers(config: dict[str, Any], args: dict[str, str]) -> list[str | tuple[str, dict[str, str]]]:
    """CPU alone on a CPU instance; on a GPU instance TensorRT if the configuration asks for it, then CUDA, then CPU."""
    cpu: list[str | tuple[str, dict[str, str]]] = ["CPUExecutionProvider"]
    if args["model_instance_kind"] != "GPU":
        return cpu
    accelerators = config.get("optimization", {}).get("execution_accelerators", {}).get("gpu_execution_accelerator", [])
    asked = {accelerator["name"]: accelerator.get("parameters", {}) for accelerator in accelerators}
    device = {"device_id": args["model_instance_device_id"]}
    wanted: list[tuple[str, dict[str, str]]] = [("CUDAExecutionProvider", device | asked.get("cuda", {}))]
    if "tensorrt" in asked:
        wanted.insert(0, ("TensorrtExecutionProvider", device | _tensorrt_options(asked["tensorrt"])))
    missing = [name for name, _ in wanted if name not in ort.get_available_providers()]
    if missing:
        raise pb_utils.TritonModelException(
            f"This is a GPU instance, but the server's ONNX Runtime has no {' and no '.join(missing)}. Install"
            " onnxruntime-gpu in the server's environment, or give the model an instance_group of KIND_CPU."
        )
    return [*wanted, *cpu]


def _tensorrt_options(parameters: dict[str, str]) -> dict[str, str]:
    options = dict(parameters)
    precision = options.pop("precision_mode", "FP32")
    if precision not in _PRECISION_OPTIONS:
        raise pb_utils.TritonModelException(
            f"precision_mode is {precision!r}; it takes one of {list(_PRECISION_OPTIONS)}."
        )
    return {_TENSORRT_OPTIONS.get(key, key): value for key, value in options.items()} | _PRECISION_OPTIONS[precision]


def _check_tensors(role: str, configured: list[dict[str, Any]], found: list[Any], *, batching: bool) -> None:
    """Every configured tensor is in the graph with that element type and those dims (a symbolic dim fits any size)."""
    graph = {tensor.name: tensor for tensor in found}
    for tensor in configured:
        name, dims = tensor["name"], [int(dim) for dim in tensor["dims"]]
        if name not in graph:
            raise pb_utils.TritonModelException(f"The graph has no {role} {name!r}; it has {sorted(graph)}.")
        wanted = ([-1] if batching else []) + dims
        shape = [dim if isinstance(dim, int) else -1 for dim in graph[name].shape]
        fits = len(shape) == len(wanted) and all(
            -1 in pair or pair[0] == pair[1] for pair in zip(shape, wanted, strict=True)
        )
        if graph[name].type != _ORT_TYPES.get(tensor["data_type"]) or not fits:
            raise pb_utils.TritonModelException(
                f"The configuration says {role} {name} is {tensor['data_type']} {wanted}, the graph says"
                f" {graph[name].type} {shape}. Export the graph again or correct config.pbtxt."
            )
    if role == "input" and (extra := sorted(set(graph) - {tensor["name"] for tensor in configured})):
        raise pb_utils.TritonModelException(f"The graph needs inputs that the configuration does not name: {extra}.")
