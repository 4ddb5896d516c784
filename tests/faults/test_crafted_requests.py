"""Row 12: requests made to take the server down, and numbers that are none."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import grpc
import numpy as np
import psutil
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from mien import ClientSettings, EmotionClient, InferenceError, TensorError
from mien.contract import (
    EMOTION,
    EMOTION_CLASSIFIER,
    EMOTION_PREPROCESS,
    ENSEMBLES,
    SAMPLE_RATE_HZ,
    SPEECH_CLASSIFIER,
    SPEECH_EMOTION,
    SPEECH_PREPROCESS,
    ModelSpec,
)
from mien.inference import CallContext, predictions
from serving.stubs import living_stubs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mien.contract import EnsembleSpec
    from serving import TritonServer
    from tests.faults.conftest import Figures

pytestmark = [pytest.mark.integration, pytest.mark.fault(12)]

MB = 1e6
HUGE_BYTES = 400 * 10**6
CALLERS, ROUNDS = 8, 40
BOUNDS = {"PIXELS": (0, 255), "AUDIO": (-1, 1), "FUNCTIONALS": (-80, 80)}
"""Of the numbers that each tensor holds."""
TOLERANCE = {"PIXELS": 1e-5, "AUDIO": 0.1, "FUNCTIONALS": 1e-5}
"""Between a row that is answered alone and in a batch: probabilities, or functionals, which count what rounding can
change (`tests/unit/training/test_functionals.py`)."""


@pytest.fixture
def client(triton: TritonServer) -> Iterator[EmotionClient]:
    with EmotionClient(ClientSettings(endpoints=triton.endpoint, deadline_s=60)) as client:
        yield client


def shapes(model: ModelSpec | EnsembleSpec) -> Iterator[tuple[list[int], bytes]]:
    """Shapes that lie about their content, overflow a product, or are of no size."""
    dims = list(model.input.shape)
    whole = model.input.zeros(1).tobytes()
    for huge in (1 << 31, 1 << 40, 1 << 62, (1 << 63) - 1):
        yield [huge, *dims], b""
        yield [1, huge, *dims[1:]], whole
        yield [1, huge, huge, dims[-1]], b""
    yield from (([0, *dims], b""), ([-1, *dims], whole), ([65, *dims], whole * 65))
    yield from (([1, *dims], whole[:-1]), ([1, *dims], whole + b"x"), ([1, *dims], b""), ([], whole), (dims, whole))
    yield [1] * 300, b"x"


def test_crafted_shapes(triton: TritonServer, client: EmotionClient, figures: Figures) -> None:
    stubs = living_stubs(triton.process_id)
    sent = 0
    models = [model for ensemble in ENSEMBLES for model in (ensemble, *ensemble.members)]
    with grpc.insecure_channel(triton.endpoint) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model in models:
            for shape, content in shapes(model):
                request = service_pb2.ModelInferRequest(model_name=model.name, raw_input_contents=[content])
                request.inputs.add(name=model.input.name, datatype=model.input.datatype, shape=shape)
                with pytest.raises(grpc.RpcError) as caught:
                    stub.ModelInfer(request, timeout=60)
                assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT, (shape, caught.value.details())
                sent += 1
    assert len(client.classify(EMOTION.input.zeros(2))) == 2
    assert len(client.classify_speech(SPEECH_EMOTION.input.zeros(2))) == 2
    assert living_stubs(triton.process_id) == stubs
    figures.add(f"{sent} crafted shapes and sizes at {len(models)} models: all INVALID_ARGUMENT")


@pytest.mark.parametrize("batch", [0, 1 << 32, 1 << 40], ids=["0", "2^32", "2^40"])
def test_a_batch_counted_as_none_fails_no_other_caller(
    triton: TritonServer, client: EmotionClient, figures: Figures, batch: int
) -> None:
    """Triton 2.51 takes such a request in if its content fills one item, and then fails the batch that it is in."""
    stubs = living_stubs(triton.process_id)
    faces = np.random.default_rng(3).integers(0, 256, (2, *EMOTION.input.shape), np.uint8)
    expected = client.classify(faces).probabilities
    request = service_pb2.ModelInferRequest(
        model_name=EMOTION_PREPROCESS.name, raw_input_contents=[EMOTION.input.zeros(1).tobytes()]
    )
    request.inputs.add(name=EMOTION.input.name, datatype=EMOTION.input.datatype, shape=[batch, *EMOTION.input.shape])
    done = threading.Event()

    def attack() -> tuple[set[str], int]:
        codes, sent = set(), 0
        with grpc.insecure_channel(triton.endpoint) as channel:
            stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
            while not done.wait(0.005):
                with pytest.raises(grpc.RpcError) as caught:
                    stub.ModelInfer(request, timeout=60)
                codes.add(caught.value.code().name)
                sent += 1
        return codes, sent

    def call(_: int) -> float:
        rows = [client.classify(faces).probabilities for _ in range(ROUNDS)]
        return float(np.abs(np.array(rows) - expected).max())

    with ThreadPoolExecutor(CALLERS + 1) as pool:
        attacking = pool.submit(attack)
        try:
            changed = max(pool.map(call, range(CALLERS)))
        finally:
            done.set()
        codes, sent = attacking.result()
    figures.add(
        f"{sent} requests with a batch of {batch}: {', '.join(sorted(codes))}; {CALLERS * ROUNDS} calls of"
        f" {CALLERS} SDKs beside them: 0 failed, rows changed by at most {changed:.0e}"
    )
    assert sent > 0
    assert changed < 1e-5
    assert living_stubs(triton.process_id) == stubs


class Peak:
    """Largest resident memory of a process while the block runs, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.before = self.peak = self._process.memory_info().rss

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.01):
            self.peak = max(self.peak, self._process.memory_info().rss)


def test_a_message_of_400_megabytes(triton: TritonServer, client: EmotionClient, figures: Figures) -> None:
    batch = HUGE_BYTES // EMOTION.input.zeros(1).nbytes
    huge = np.zeros((batch, *EMOTION.input.shape), np.uint8)
    waits: list[float] = []
    done = threading.Event()

    def call() -> None:
        while not done.is_set():
            begin = time.monotonic()
            assert len(client.classify(EMOTION.input.zeros(1))) == 1
            waits.append(time.monotonic() - begin)

    with ThreadPoolExecutor(1) as others, InferenceServerClient(triton.endpoint) as sender:
        calling = others.submit(call)
        wire = InferInput(EMOTION.input.name, list(huge.shape), EMOTION.input.datatype)
        wire.set_data_from_numpy(huge)
        try:
            with Peak(triton.process_id) as memory:
                for _ in range(3):
                    with pytest.raises(InferenceServerException, match="batch-size must be <= 64"):
                        sender.infer(EMOTION.name, [wire])
        finally:
            done.set()
        calling.result()
    figures.add(
        f"3 messages of 400 MB: INVALID_ARGUMENT; Triton {memory.before / MB:.0f} MB before, {memory.peak / MB:.0f} MB"
        f" at most; another caller's slowest of {len(waits)} calls {max(waits):.2f} s"
    )
    # A message is there once as gRPC's buffer and once as Triton's request; what one leaves the next may find there.
    assert memory.peak - memory.before < 4 * HUGE_BYTES


@pytest.mark.parametrize(
    ("model", "poison"),
    [
        (EMOTION_CLASSIFIER, np.nan),
        (EMOTION_CLASSIFIER, np.inf),
        (EMOTION_CLASSIFIER, -np.inf),
        (SPEECH_PREPROCESS, np.nan),
        (SPEECH_PREPROCESS, np.inf),
        (SPEECH_CLASSIFIER, np.nan),
        (SPEECH_CLASSIFIER, -np.inf),
    ],
    ids=lambda value: value.name if isinstance(value, ModelSpec) else str(value),
)
def test_numbers_that_are_none_stay_with_their_caller(
    triton: TritonServer, figures: Figures, model: ModelSpec, poison: float
) -> None:
    """Half of the callers send rows of them to a member, in the same batches as the other half's."""
    chance = np.random.default_rng(7)
    good = chance.uniform(*BOUNDS[model.input.name], (CALLERS, *model.input.shape)).astype(np.float32)
    bad = np.full_like(good[:1], poison)

    with InferenceServerClient(triton.endpoint) as client:

        def infer(rows: np.ndarray) -> np.ndarray:
            wire = InferInput(model.input.name, list(rows.shape), model.input.datatype)
            wire.set_data_from_numpy(rows)
            return client.infer(model.name, [wire]).as_numpy(model.output.name)

        alone = [infer(good[[i]]) for i in range(CALLERS)]
        before = executions(client, model)
        together = threading.Barrier(2 * CALLERS)

        def call(number: int) -> list[np.ndarray]:
            together.wait()
            rows = bad if number % 2 else good[[number // 2]]
            return [infer(rows) for _ in range(ROUNDS)]

        with ThreadPoolExecutor(2 * CALLERS) as callers:
            answers = list(callers.map(call, range(2 * CALLERS)))
        inferences, batches = (after - then for after, then in zip(executions(client, model), before, strict=True))
    changed = max(float(np.abs(np.array(answers[2 * i]) - alone[i]).max()) for i in range(CALLERS))
    poisoned = sum(not np.isfinite(rows).all() for rows in answers[1::2] for rows in rows)
    figures.add(
        f"{poison} to {model.name} from {CALLERS} callers beside {CALLERS} others ({inferences} calls in {batches}"
        f" batches): {poisoned} of theirs answered with it, others' rows changed by at most {changed:.0e}"
    )
    assert batches < inferences
    assert changed < TOLERANCE[model.input.name]


def executions(client: InferenceServerClient, model: ModelSpec) -> tuple[int, int]:
    stats = client.get_inference_statistics(model.name).model_stats[0]
    return stats.inference_count, stats.execution_count


def test_the_sdk_neither_sends_nor_passes_them_on(
    triton: TritonServer, client: EmotionClient, figures: Figures
) -> None:
    with pytest.raises(TensorError, match=r"FACES must be .* uint8, but its dtype is float32"):
        client.classify(np.full((1, *EMOTION.input.shape), np.nan, np.float32))  # type: ignore[arg-type]
    for poison in (np.nan, np.inf, -np.inf):
        sound = np.zeros((1, *SPEECH_EMOTION.input.shape), np.float32)
        sound[0, 1000] = poison
        with pytest.raises(TensorError, match="AUDIO holds numbers that are not finite"):
            client.classify_speech(sound)
        with pytest.raises(TensorError, match="not finite"):
            client.recognize_speech(sound[0], SAMPLE_RATE_HZ)
    pixels = np.full((1, *EMOTION_CLASSIFIER.input.shape), np.nan, np.float32)
    request = service_pb2.ModelInferRequest(model_name=EMOTION_CLASSIFIER.name, raw_input_contents=[pixels.tobytes()])
    request.inputs.add(
        name=EMOTION_CLASSIFIER.input.name, datatype=EMOTION_CLASSIFIER.input.datatype, shape=pixels.shape
    )
    with grpc.insecure_channel(triton.endpoint) as channel:
        answer = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request)
    with pytest.raises(InferenceError, match="numbers that are not finite"):
        predictions([answer], [1], CallContext.create())
    figures.add("the SDK refuses NaN as faces and as speech (TensorError) and as answer (InferenceError)")
