"""What a real Triton answers to wrong, hostile and unauthorised requests, and to many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from mien.contract import EMOTION, EMOTION_CLASSIFIER, EMOTION_LABELS, FACES, PIXELS
from serving import ControlError, ServerControl

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from serving import TritonServer

pytestmark = pytest.mark.integration


@pytest.fixture
def client(triton: TritonServer) -> Iterator[InferenceServerClient]:
    with InferenceServerClient(triton.endpoint) as client:
        yield client


def tensor(array: NDArray[Any], name: str = "FACES", datatype: str = "UINT8") -> InferInput:
    wire = InferInput(name, list(array.shape), datatype)
    wire.set_data_from_numpy(array)
    return wire


def faces(count: int) -> NDArray[Any]:
    return np.random.default_rng(7).integers(0, 256, (count, *FACES.shape), dtype=np.uint8)


def assert_serving(client: InferenceServerClient) -> None:
    rows = client.infer("emotion", [tensor(faces(2))]).as_numpy("PROBABILITIES")
    assert rows.shape == (2, 7)
    np.testing.assert_allclose(rows.sum(axis=1), 1, atol=1e-5)


def test_answer_carries_the_release_as_its_version(client: InferenceServerClient) -> None:
    assert client.infer("emotion", [tensor(faces(1))]).get_response().model_version == "1"


def test_class_count_names_the_labels(client: InferenceServerClient) -> None:
    output = InferRequestedOutput("PROBABILITIES", class_count=7)
    rows = client.infer("emotion", [tensor(faces(1))], outputs=[output]).as_numpy("PROBABILITIES")
    assert {row.decode().split(":")[2] for row in rows[0]} == set(EMOTION_LABELS)


@pytest.mark.parametrize(
    ("wire", "complaint"),
    [
        (tensor(np.zeros((1, 96, 96, 3), np.float32), datatype="FP32"), "data-type"),
        (tensor(np.zeros((1, 48, 48, 3), np.uint8)), "shape"),
        (tensor(np.zeros((96, 96, 3), np.uint8)), "batch-size"),
        (tensor(np.zeros((0, 96, 96, 3), np.uint8)), "size mismatch"),
        (tensor(np.zeros((65, 96, 96, 3), np.uint8)), "batch"),
        (tensor(np.zeros((1, 96, 96, 3), np.uint8), name="IMAGES"), "IMAGES"),
    ],
    ids=["dtype", "shape", "no batch dimension", "empty batch", "too large a batch", "name"],
)
def test_wrong_tensor_is_refused(client: InferenceServerClient, wire: InferInput, complaint: str) -> None:
    with pytest.raises(InferenceServerException, match=complaint) as caught:
        client.infer("emotion", [wire])
    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    assert_serving(client)


@pytest.mark.parametrize(
    ("shape", "content"),
    [
        ([1, 1 << 40, 1 << 30, 1], b""),
        ([1 << 62, 96, 96, 3], b""),
        ([-1, 96, 96, 3], b""),
        ([1, 96, 96, 3], b"short"),
        ([1, 96, 96, 3], bytes(96 * 96 * 3 + 1)),
    ],
)
def test_crafted_request_is_refused(
    triton: TritonServer, client: InferenceServerClient, shape: list[int], content: bytes
) -> None:
    request = service_pb2.ModelInferRequest(model_name="emotion", raw_input_contents=[content])
    request.inputs.add(name="FACES", datatype="UINT8", shape=shape)
    with grpc.insecure_channel(triton.endpoint) as channel, pytest.raises(grpc.RpcError) as caught:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert_serving(client)


def test_huge_requests_are_refused_and_their_memory_does_not_pile_up(
    triton: TritonServer, client: InferenceServerClient
) -> None:
    server = psutil.Process(triton.process_id)
    huge = np.zeros((3500, *FACES.shape), np.uint8)
    wire = tensor(huge)
    for _ in range(12):
        with pytest.raises(InferenceServerException, match="batch-size must be <= 64"):
            client.infer("emotion", [wire])
    # Up to four copies live on in the allocator's arenas and in gRPC's buffers; twelve would be a leak.
    assert server.memory_info().rss < 7 * huge.nbytes
    assert_serving(client)


def test_unknown_model_is_not_found(client: InferenceServerClient) -> None:
    with pytest.raises(InferenceServerException) as caught:
        client.infer("nonesuch", [tensor(faces(1))])
    assert caught.value.status() == "StatusCode.NOT_FOUND"


def test_nan_row_leaves_its_neighbours_alone(client: InferenceServerClient) -> None:
    pixels = np.random.default_rng(7).uniform(0, 255, (3, *PIXELS.shape)).astype(np.float32)
    clean = client.infer("emotion_classifier", [tensor(pixels, "PIXELS", "FP32")]).as_numpy("PROBABILITIES")
    pixels[1] = np.nan
    mixed = client.infer("emotion_classifier", [tensor(pixels, "PIXELS", "FP32")]).as_numpy("PROBABILITIES")
    np.testing.assert_allclose(mixed[[0, 2]], clean[[0, 2]], atol=1e-6)


def test_control_needs_the_admin_key(triton: TritonServer) -> None:
    for key in ("", "wrong"):
        with ServerControl(triton.endpoint, key) as control:
            for call in (control.models, lambda: control.load("emotion"), lambda: control.unload("emotion")):
                with pytest.raises(ControlError, match="admin key"):
                    call()
    with triton.control() as control:
        control.load("emotion")
        assert {(model.name, model.version) for model in control.models() if model.ready} >= {
            ("emotion", "1"),
            ("emotion_preprocess", "1"),
            ("emotion_classifier", "1"),
        }


@pytest.mark.parametrize(
    "call",
    [
        lambda client: client.get_system_shared_memory_status(),
        lambda client: client.register_system_shared_memory("mine", "/any", 64),
        lambda client: client.update_trace_settings(settings={"trace_level": ["TENSORS"]}),
        lambda client: client.update_log_settings({"log_verbose_level": 1}),
    ],
)
def test_other_doors_need_the_admin_key(
    client: InferenceServerClient, call: Callable[[InferenceServerClient], object]
) -> None:
    with pytest.raises(InferenceServerException, match="restricted"):
        call(client)


def test_inference_metadata_and_statistics_are_open(client: InferenceServerClient) -> None:
    assert client.is_server_ready()
    assert client.get_server_metadata().name == "triton"
    assert client.get_model_metadata("emotion").versions == ["1"]
    assert client.get_model_config("emotion").config.max_batch_size == 64
    assert client.get_inference_statistics("emotion").model_stats
    assert_serving(client)


def test_twin_is_not_loaded_at_the_start(client: InferenceServerClient) -> None:
    assert not client.is_model_ready(EMOTION.twins[0].name)


def test_metrics_are_served(triton: TritonServer) -> None:
    with urlopen(triton.metrics_url, timeout=10) as answer:
        text = answer.read().decode()
    assert 'nv_inference_request_success{model="emotion",version="1"}' in text


def test_requests_at_once_are_batched_and_keep_their_answers(
    triton: TritonServer, client: InferenceServerClient
) -> None:
    callers, rounds = 16, 12
    batch = faces(callers)
    alone = [client.infer("emotion", [tensor(batch[[i]])]).as_numpy("PROBABILITIES")[0] for i in range(callers)]
    before = statistics(client)
    together = threading.Barrier(callers)

    def call(i: int) -> list[NDArray[Any]]:
        together.wait()
        return [client.infer("emotion", [tensor(batch[[i]])]).as_numpy("PROBABILITIES")[0] for _ in range(rounds)]

    with ThreadPoolExecutor(callers) as pool:
        for i, answers in enumerate(pool.map(call, range(callers))):
            np.testing.assert_allclose(answers, [alone[i]] * rounds, atol=1e-5)
    inferences, executions = (after - then for after, then in zip(statistics(client), before, strict=True))
    assert inferences == callers * rounds
    assert executions < inferences


def statistics(client: InferenceServerClient) -> tuple[int, int]:
    stats = client.get_inference_statistics(EMOTION_CLASSIFIER.name).model_stats[0]
    return stats.inference_count, stats.execution_count
