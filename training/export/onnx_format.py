"""A Keras model as ONNX, with exactly the contract's tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import onnx
import tensorflow as tf
import tf2onnx

from training.errors import ExportError

if TYPE_CHECKING:
    from pathlib import Path

    import keras

    from mien.contract import ModelSpec, TensorSpec

OPSET = 17
"""Oldest that has every operator used here, so that the oldest ONNX Runtime that may serve the file can read it."""

_BATCH = "batch"
_DATATYPES = {"UINT8": onnx.TensorProto.UINT8, "FP32": onnx.TensorProto.FLOAT}


def save_onnx(model: keras.Model, spec: ModelSpec, path: Path) -> None:
    """Write `model` to `path` with the tensors of `spec`; the same weights give the same bytes.

    Raises:
        ExportError: the graph's input or output is not what `spec` says.
    """
    signature = tf.TensorSpec((None, *spec.input.shape), getattr(tf, spec.input.dtype.name), name=spec.input.name)
    function = tf.function(lambda tensor: {spec.output.name: model(tensor, training=False)})
    proto, _ = tf2onnx.convert.from_function(function, input_signature=[signature], opset=OPSET)
    _check_tensor(spec, "input", spec.input, proto.graph.input)
    _check_tensor(spec, "output", spec.output, proto.graph.output)
    _renumber(proto.graph)
    proto.graph.name = spec.name
    proto.graph.doc_string = ""  # it holds a count of TensorFlow's functions
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, path)


def _check_tensor(model: ModelSpec, role: str, expected: TensorSpec, found: list[onnx.ValueInfoProto]) -> None:
    """Hold the one input or output against the contract, then name its free batch dimension."""
    if len(found) != 1 or found[0].name != expected.name:
        message = f"{model.name}: the {role} must be {expected.name} alone; the graph has {[v.name for v in found]}."
        raise ExportError(message)
    tensor = found[0].type.tensor_type
    batch, *dims = tensor.shape.dim
    shape = tuple(dim.dim_value for dim in dims)
    if tensor.elem_type != _DATATYPES[expected.datatype] or shape != expected.shape or batch.HasField("dim_value"):
        datatype = onnx.TensorProto.DataType.Name(tensor.elem_type)
        message = (
            f"{model.name}: {role} {expected.name} must be {expected.datatype} (batch, {expected.shape}) with a free "
            f"batch; the graph has {datatype} {[dim.dim_value or dim.dim_param for dim in tensor.shape.dim]}."
        )
        raise ExportError(message)
    batch.dim_param = _BATCH


def _renumber(graph: onnx.GraphProto) -> None:
    """Name and order inner tensors by their place, because tf2onnx and Keras count on through a process."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)}
    constants = {constant.name: constant for constant in graph.initializer}
    for index, node in enumerate(graph.node):
        node.name = f"{node.op_type.lower()}_{index}"
        for place, name in enumerate(node.input):
            node.input[place] = names.setdefault(name, f"{node.name}:in{place}")
        for place, name in enumerate(node.output):
            node.output[place] = names.setdefault(name, f"{node.name}:{place}")
    for constant in constants.values():
        constant.name = names[constant.name]
    ordered = sorted(constants.values(), key=lambda constant: constant.name)
    del graph.initializer[:], graph.value_info[:]
    graph.initializer.extend(ordered)
