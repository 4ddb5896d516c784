"""What both clients share: how they are made, which requests go together, how a call is sent and its failure told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mien import status
from mien.errors import InferenceError
from mien.handshake import Handshakes
from mien.hooks import Hooks
from mien.inference import set_queue_timeout
from mien.procedures import Procedures, Requests
from mien.settings import ClientSettings

if TYPE_CHECKING:
    import grpc

    from mien.detectors import FaceDetector
    from mien.hooks import OnComparison, OnMiss, OnResult

REPEATS = 8
"""How often requests go again that failed by what another caller sent; gRPC's own retries know codes alone."""

REQUESTS_IN_FLIGHT = 2
"""Of one call: while one is classified the next is preprocessed; more would only fill the server's queue."""


class BaseClient:
    """What both clients share: settings and procedures, and the translation of errors."""

    def __init__(
        self,
        server: str | ClientSettings | None = None,
        *,
        detector: FaceDetector | None = None,
        on_result: OnResult | None = None,
        on_comparison: OnComparison | None = None,
        on_miss: OnMiss | None = None,
    ) -> None:
        if server is None:
            server = ClientSettings()
        self._settings = ClientSettings(endpoints=server) if isinstance(server, str) else server
        self._procedures = Procedures(self._settings, detector, Hooks(on_result, on_comparison, on_miss))
        self._handshakes = Handshakes(self._settings)
        self._is_closed = False
        self._open()

    def _open(self) -> None:
        """Make what the client sends with."""
        raise NotImplementedError

    @property
    def settings(self) -> ClientSettings:
        """What this client was told."""
        return self._settings

    @property
    def _settings_without_retries(self) -> ClientSettings:
        """Of the channel to the candidate: gRPC knows retries of a channel, not of a call."""
        return self._settings.model_copy(update={"retry_attempts": 1})

    def _is_gathered(self, step: Requests) -> bool:
        """Whether it may go together with others; what is on trial is not mixed with what is asked for."""
        alone = not self._settings.gather or step.candidate
        return not alone and step.method == "ModelInfer" and len(step.messages) == 1

    def _check_open(self) -> None:
        if self._is_closed:
            raise InferenceError("This client is closed; make a new one.")

    def _translate(self, error: grpc.RpcError, requests: Requests) -> InferenceError:
        """Mien's error; it may take a second to find out why a connection is refused."""
        is_unexplained = status.is_unreachable(error) and not requests.candidate
        return status.translate(
            error,
            endpoints=self._settings.endpoints,
            model=requests.model,
            deadline_s=requests.deadline.seconds,
            refusal=self._handshakes.refusal() if is_unexplained else None,
        )


def call_options(step: Requests, message: Any) -> dict[str, Any]:  # noqa: ANN401 (a generated message)
    """Of one call of a stub's method: its timeout, that of the queue too, and its metadata."""
    remaining_s = step.deadline.remaining_s()
    if step.method == "ModelInfer":
        set_queue_timeout(message, remaining_s)
    return {"timeout": remaining_s, "metadata": step.context.metadata}
