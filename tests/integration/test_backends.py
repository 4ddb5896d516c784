"""The Python-based backends inside a real Triton, with small models made for one property each."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from mien.contract import EMOTION_CLASSIFIER, EMOTION_CLASSIFIER_SAVEDMODEL, PIXELS
from serving import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from serving import TritonServer

pytestmark = pytest.mark.integration

LOOKUP_CONFIG = """
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "INDEX" data_type: TYPE_INT64 dims: [ 1 ] } ]
output [ { name: "VALUE" data_type: TYPE_FP32 dims: [ 1 ] } ]
instance_group [ { kind: KIND_AUTO count: 1 } ]
dynamic_batching { max_queue_delay_microseconds: 300000 preferred_batch_size: [ 4 ] }
"""


@pytest.fixture
def client(triton: TritonServer) -> Iterator[InferenceServerClient]:
    """A client of the running server."""
    with InferenceServerClient(triton.endpoint) as client:
        yield client


def lookup_graph() -> onnx.ModelProto:
    """VALUE = [10, 11, 12][INDEX]; an index past the end fails the whole run."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [3], [10, 11, 12])
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "INDEX"], ["VALUE"])],
        "lookup",
        [helper.make_tensor_value_info("INDEX", TensorProto.INT64, ["N", 1])],
        [helper.make_tensor_value_info("VALUE", TensorProto.FLOAT, ["N", 1])],
        [table],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@contextmanager
def extra_model(server: TritonServer, config: str, filename: str = "model.onnx") -> Iterator[Path]:
    """The folder of a model named `lookup` in the server's working copy; unloaded and removed afterwards."""
    folder = server.settings.model_repository / "lookup"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text(config)
    onnx.save(lookup_graph(), folder / "1" / filename)
    try:
        yield folder
        with server.control() as control:
            control.unload("lookup")
    finally:
        shutil.rmtree(folder)


def tensor(array: NDArray[Any], name: str, datatype: str) -> InferInput:
    """`array` as tritonclient sends it."""
    wire = InferInput(name, list(array.shape), datatype)
    wire.set_data_from_numpy(array)
    return wire


def test_request_at_fault_does_not_harm_its_neighbours(triton: TritonServer, client: InferenceServerClient) -> None:
    def look_up(index: int) -> float | str:
        try:
            wire = tensor(np.array([[index]], np.int64), "INDEX", "INT64")
            return float(client.infer("lookup", [wire]).as_numpy("VALUE")[0, 0])
        except InferenceServerException as error:
            return str(error)

    with extra_model(triton, LOOKUP_CONFIG), triton.control() as control, ThreadPoolExecutor(4) as pool:
        control.load("lookup")
        answers = list(pool.map(look_up, [0, 99, 1, 2]))
        stats = client.get_inference_statistics("lookup").model_stats[0]
        again = look_up(2)
    assert answers[:1] + answers[2:] == [10, 11, 12]
    assert "ONNX Runtime failed" in str(answers[1])
    assert again == 12
    assert stats.execution_count == 1, "the four requests were not one batch: this test shows nothing"


def test_file_named_by_the_configuration_is_used(triton: TritonServer, client: InferenceServerClient) -> None:
    config = LOOKUP_CONFIG + 'default_model_filename: "other.onnx"'
    with extra_model(triton, config, filename="other.onnx"), triton.control() as control:
        control.load("lookup")
        assert client.is_model_ready("lookup")


@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        ('"INDEX"', '"PLACE"', "no input 'PLACE'; it has .'INDEX'"),
        ('"VALUE"', '"RESULT"', "no output 'RESULT'"),
        ("TYPE_INT64", "TYPE_INT32", r"INDEX is TYPE_INT32 \[-1, 1\], the graph says tensor\(int64\) \[-1, 1\]"),
        ("TYPE_INT64 dims: [ 1 ]", "TYPE_INT64 dims: [ 2 ]", r"INDEX is TYPE_INT64 \[-1, 2\], the graph says"),
        (
            "max_batch_size: 8",
            'max_batch_size: 8 parameters { key: "intra_op_thread_count" value { string_value: "two" } }',
            "intra_op_thread_count is 'two'",
        ),
        ("instance_group", "optimization { graph { level: 7 } } instance_group", "optimization.graph.level is 7"),
    ],
    ids=["input name", "output name", "dtype", "dims", "parameter", "graph level"],
)
def test_configuration_that_contradicts_the_graph_fails_the_load(
    triton: TritonServer, right: str, wrong: str, complaint: str
) -> None:
    contradiction = LOOKUP_CONFIG.replace(right, wrong)
    with extra_model(triton, contradiction), triton.control() as control, pytest.raises(ControlError, match=complaint):
        control.load("lookup")


def test_damaged_file_is_refused_and_the_loaded_model_stays(
    triton: TritonServer, client: InferenceServerClient
) -> None:
    with extra_model(triton, LOOKUP_CONFIG) as folder, triton.control() as control:
        control.load("lookup")
        (folder / "1" / "model.onnx").write_bytes(b"not a graph")
        with pytest.raises(ControlError, match="ONNX Runtime cannot open"):
            control.load("lookup")
        wire = tensor(np.array([[2]], np.int64), "INDEX", "INT64")
        assert client.infer("lookup", [wire]).as_numpy("VALUE") == [[12]]


@pytest.mark.savedmodel
@pytest.mark.timeout(180)
def test_savedmodel_loads_on_demand_and_agrees_with_onnx(
    savedmodel_backend: None, triton: TritonServer, client: InferenceServerClient
) -> None:
    pixels = np.random.default_rng(7).uniform(0, 255, (64, *PIXELS.shape)).astype(np.float32)
    wire = tensor(pixels, "PIXELS", "FP32")
    with triton.control() as control:
        control.load(EMOTION_CLASSIFIER_SAVEDMODEL.name)
        try:
            twin = client.infer(EMOTION_CLASSIFIER_SAVEDMODEL.name, [wire]).as_numpy("PROBABILITIES")
        finally:
            control.unload(EMOTION_CLASSIFIER_SAVEDMODEL.name)
    onnx_rows = client.infer(EMOTION_CLASSIFIER.name, [wire]).as_numpy("PROBABILITIES")
    # Single precision, two runtimes with their own order of summation.
    np.testing.assert_allclose(twin, onnx_rows, atol=1e-5)
