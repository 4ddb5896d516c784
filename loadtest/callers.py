"""The ways to call: each is shared by all users of its kind in a process, and works in Locust's greenlets."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from itertools import cycle
from typing import TYPE_CHECKING, Any, Protocol

import gevent
import grpc
import numpy as np
from geventhttpclient import HTTPClient
from tritonclient.grpc import service_pb2_grpc
from urllib3 import encode_multipart_formdata

from loadtest import pictures, speech
from loadtest.errors import LoadTestError
from mien import EmotionClient, channel, inference, status
from mien.contract import EMOTION, SPEECH_EMOTION
from mien.detectors import load_detector
from mien.inference import CallContext

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from loadtest.plan import Kind, LoadPlan
    from loadtest.settings import LoadTestSettings
    from mien.contract import EnsembleSpec
    from mien.detectors import FaceDetector
    from mien.faces import Face
    from mien.settings import ClientSettings

PREPARED_REQUESTS = 16
"""Different ones that a `grpc` or `speech` user sends in turn."""


class Caller(Protocol):
    """One way to call."""

    def call(self) -> None:
        """Send the next request and wait for its answer; raises whatever says that there was no good one."""

    def close(self) -> None:
        """Close its connections."""


def create_caller(kind: Kind, plan: LoadPlan, client: ClientSettings, settings: LoadTestSettings) -> Caller:
    """The caller of one kind; it connects with the first call.

    Nothing is sent twice: a retry would hide a failure and add to an overload.

    Raises:
        MienError: the pictures or the detector cannot be used.
    """
    client = client.model_copy(update={"retry_attempts": 1, "deadline_s": plan.deadline_s})
    if kind == "grpc":
        return TensorCaller(_faces(plan, client), plan.faces, _Addressee.of_faces(client), client)
    if kind == "speech":
        return TensorCaller(_windows(plan), plan.windows, _Addressee.of_speech(client), client)
    if kind == "pipeline":
        return PipelineCaller(plan, client)
    return RestCaller(plan, settings)


@dataclass(frozen=True, slots=True)
class _Addressee:
    """Who is called: an ensemble, and the name and release that the settings give it."""

    spec: EnsembleSpec
    model: str
    version: str

    @classmethod
    def of_faces(cls, settings: ClientSettings) -> _Addressee:
        return cls(EMOTION, settings.model, settings.model_version)

    @classmethod
    def of_speech(cls, settings: ClientSettings) -> _Addressee:
        return cls(SPEECH_EMOTION, settings.speech_model, settings.speech_model_version)


class TensorCaller:
    """Sends prepared tensors over the SDK's channel: what the server and the network take, and little of the client.

    Args:
        items: (N, *shape of the ensemble's input), sent in turn.
        size: how many of them in a call.
        addressee: who is called.
        settings: of the SDK.
    """

    def __init__(self, items: NDArray[Any], size: int, addressee: _Addressee, settings: ClientSettings) -> None:
        self._settings = settings
        self._size = size
        self._spec = addressee.spec
        self._model = addressee.model
        self._context = CallContext.create("loadtest")
        self._requests = cycle(
            [
                inference.infer_requests(
                    batch, self._context, model=addressee.model, version=addressee.version, spec=addressee.spec
                )[0]
                for batch in _batches(items, size)
            ]
        )
        self._channel = channel.open_channel(settings)
        self._stub = service_pb2_grpc.GRPCInferenceServiceStub(self._channel)

    def call(self) -> None:
        """Send the next request."""
        deadline_s = self._settings.deadline_s
        try:
            answer = self._stub.ModelInfer(next(self._requests), timeout=deadline_s, metadata=self._context.metadata)
        except grpc.RpcError as error:
            raise status.translate(
                error, endpoints=self._settings.endpoints, model=self._model, deadline_s=deadline_s
            ) from error
        inference.predictions([answer], [self._size], self._context, self._spec)

    def close(self) -> None:
        """Close the channel; one that stays open keeps Locust's process from ending."""
        self._channel.close()


def _faces(plan: LoadPlan, settings: ClientSettings) -> NDArray[np.uint8]:
    if plan.made_faces:
        return pictures.made_faces(PREPARED_REQUESTS * plan.faces)
    return pictures.cut_faces(plan.pictures, settings)


def _windows(plan: LoadPlan) -> NDArray[np.float32]:
    count = PREPARED_REQUESTS * plan.windows
    return speech.cut_windows(plan.recordings, count) if plan.recordings else speech.made_windows(count)


def _batches(items: NDArray[Any], size: int) -> list[NDArray[Any]]:
    """Batches of `size`, each item in at least one; the first ones fill up the last."""
    count = -(-len(items) // size)
    return np.split(np.resize(items, (count * size, *items.shape[1:])), count)


class PipelineCaller:
    """Sends photographs through the SDK: decode, find the faces, classify."""

    def __init__(self, plan: LoadPlan, settings: ClientSettings) -> None:
        self._photographs = cycle([path.read_bytes() for path in plan.pictures])
        self._client = EmotionClient(settings, detector=_OffTheLoop(load_detector(settings)))

    def call(self) -> None:
        """Recognize the next photograph."""
        self._client.recognize(next(self._photographs))

    def close(self) -> None:
        """Close the client."""
        self._client.close()


class _OffTheLoop:
    """A detector that searches in a thread of its own, so that the other users of the process go on meanwhile."""

    def __init__(self, detector: FaceDetector) -> None:
        self.name = detector.name
        self._detector = detector

    def detect(self, picture: NDArray[np.uint8]) -> list[Face]:
        """Faces of a picture (H, W, 3) uint8 RGB, the largest first."""
        found: list[Face] = gevent.get_hub().threadpool.apply(self._detector.detect, (picture,))
        return found


class RestCaller:
    """Posts photographs to the gateway over kept connections."""

    def __init__(self, plan: LoadPlan, settings: LoadTestSettings) -> None:
        forms = [
            encode_multipart_formdata({"image": (path.name, path.read_bytes(), "application/octet-stream")})
            for path in plan.pictures
        ]
        self._forms = cycle(forms)
        self._headers = settings.gateway_headers
        self._client = HTTPClient.from_url(
            settings.gateway,
            concurrency=plan.callers["rest"],
            connection_timeout=plan.deadline_s,
            network_timeout=plan.deadline_s,
        )

    def call(self) -> None:
        """Post the next photograph.

        Raises:
            LoadTestError: the gateway's status is another than 200.
        """
        body, kind = next(self._forms)
        answer = self._client.post("/v1/detect", body=body, headers=self._headers | {"Content-Type": kind})
        content = answer.read()
        if answer.status_code != HTTPStatus.OK:
            raise LoadTestError(_refusal(answer.status_code, bytes(content)))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _refusal(code: int, content: bytes) -> str:
    if code == HTTPStatus.TOO_MANY_REQUESTS:
        return (
            "The gateway answered 429: more requests a minute than it allows one caller. Raise its limit for the test:"
            " MIEN_GATEWAY_DETECT_PER_MINUTE."
        )
    return f"The gateway answered {code}: {content[:200].decode(errors='replace')}"
