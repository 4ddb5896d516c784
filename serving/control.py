"""Model control and health of a running server, over gRPC.

Nothing here is retried: a refused control call answers UNAVAILABLE, like a server that is not there.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import grpc
import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException

from serving.engines import ADMIN_KEY_NAME
from serving.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from numpy.typing import NDArray

    from mien.contract import EnsembleSpec, ModelSpec

_LOAD_TIMEOUT_S = 120.0
_CALL_TIMEOUT_S = 5.0

# A server that has just started is found at once instead of after gRPC's back-off of a second. What gRPC calls the
# least back-off is the time that a connection gets to be made, which a busy server may need.
_CHANNEL_OPTIONS = [
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 5000),
    ("grpc.max_reconnect_backoff_ms", 500),
]


@dataclass(frozen=True, slots=True)
class ModelState:
    """One version of a model as the server lists it; `ready` when it answers, `reason` when it does not."""

    name: str
    version: str
    ready: bool
    reason: str


class ServerControl:
    """Calls to the server at `endpoint`. Close it, or use it in a `with`.

    Every method raises ControlError if the server refuses or does not answer in time.

    Args:
        endpoint: ``host:port`` of its gRPC port.
        admin_key: opens the calls that change the server.
        credentials: of a server with TLS.
        tls_server_name: the name in its certificate, where that is not the endpoint's host.
    """

    def __init__(
        self,
        endpoint: str,
        admin_key: str = "",
        *,
        credentials: grpc.ChannelCredentials | None = None,
        tls_server_name: str | None = None,
    ) -> None:
        self._endpoint = endpoint
        name = [("grpc.ssl_target_name_override", tls_server_name)] if tls_server_name else []
        self._client = InferenceServerClient(endpoint, creds=credentials, channel_args=[*_CHANNEL_OPTIONS, *name])
        self._headers = {f"triton-grpc-protocol-{ADMIN_KEY_NAME}": admin_key} if admin_key else {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the channel."""
        self._client.close()

    def load(self, model: str) -> None:
        """Load a model, or what has changed of it; a version that fails to load leaves the one served in place."""
        with self._errors(f"load {model}"):
            self._client.load_model(model, headers=self._headers, client_timeout=_LOAD_TIMEOUT_S)

    def unload(self, model: str) -> None:
        """Take a model out of service."""
        with self._errors(f"unload {model}"):
            self._client.unload_model(model, headers=self._headers, client_timeout=_LOAD_TIMEOUT_S)

    def models(self) -> list[ModelState]:
        """Every version the server knows of, ready or not."""
        with self._errors("list its models"):
            index = self._client.get_model_repository_index(headers=self._headers, client_timeout=_CALL_TIMEOUT_S)
        return [ModelState(model.name, model.version, model.state == "READY", model.reason) for model in index.models]

    def instances(self, model: str) -> int:
        """How many instances each version of a loaded model runs; an ensemble has none."""
        with self._errors(f"tell the configuration of {model}"):
            config = self._client.get_model_config(model, client_timeout=_CALL_TIMEOUT_S).config
        return sum(group.count * max(1, len(group.gpus)) for group in config.instance_group)

    def successes(self, model: str) -> int:
        """How many requests to a loaded model have succeeded since its load, over all its versions."""
        with self._errors(f"tell the statistics of {model}"):
            statistics = self._client.get_inference_statistics(model, client_timeout=_CALL_TIMEOUT_S)
        return sum(version.inference_stats.success.count for version in statistics.model_stats)

    def is_ready(self, model: str, version: int | None = None, *, timeout_s: float = _CALL_TIMEOUT_S) -> bool:
        """Whether that version of a model, by default the one that is served, says that it is ready."""
        with self._errors(f"tell whether {model} is ready"):
            return bool(self._client.is_model_ready(model, str(version or ""), client_timeout=timeout_s))

    def infer(
        self,
        model: EnsembleSpec | ModelSpec,
        batch: NDArray[np.generic],
        *,
        version: int | None = None,
        timeout_s: float = _CALL_TIMEOUT_S,
    ) -> tuple[NDArray[np.float32], int]:
        """Run one inference.

        Args:
            model: what to call.
            batch: (N, *model.input.shape) in the dtype of its input.
            version: which version of it; by default what the server's policy says.
            timeout_s: how long the answer may take.

        Returns:
            the output, (N, *model.output.shape) float32, and the version that answered; for an ensemble the number of
            its release.
        """
        tensor = InferInput(model.input.name, list(batch.shape), model.input.datatype)
        tensor.set_data_from_numpy(batch)
        with self._errors(f"answer through {model.name}"):
            result = self._client.infer(model.name, [tensor], str(version) if version else "", client_timeout=timeout_s)
        output = result.as_numpy(model.output.name)
        return np.asarray(output, np.float32), int(result.get_response().model_version)

    def infer_zeros(self, model: EnsembleSpec | ModelSpec, *, timeout_s: float = _CALL_TIMEOUT_S) -> int:
        """Run one real inference over zeros, the only proof that a model answers; returns the version that did."""
        _, version = self.infer(model, model.input.zeros(1), timeout_s=timeout_s)
        return version

    @contextlib.contextmanager
    def _errors(self, action: str) -> Iterator[None]:
        """Translate what tritonclient raises."""
        try:
            yield
        except InferenceServerException as error:
            if f"triton-grpc-protocol-{ADMIN_KEY_NAME}" in str(error):
                reason = "this needs the admin key, and the one shown is missing or wrong."
            elif error.status() == str(grpc.StatusCode.DEADLINE_EXCEEDED):
                reason = "no answer came in time. If the clock was set back while it ran, start it again."
            else:
                reason = str(error.message())
            raise ControlError(f"The server at {self._endpoint} did not {action}: {reason}") from error
