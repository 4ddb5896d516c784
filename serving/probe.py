"""`python -m serving.probe`: tells a cluster how one Triton is, and holds back its end until its callers have left.

It runs beside the server, in its pod, and asks it over gRPC like a caller. The paths, each answered with 200 or, with
the reason, 503:

- ``/live``: the server answers inferences. A busy one that refuses this one and answers others is alive.
- ``/ready``: every ensemble is loaded, has answered the golden inputs of its release as training did, and nobody has
  asked to drain. So a bad release gets no callers, and its rollout stops at the first pod.
- ``/drain``: answers once nobody has had an answer of the server for some seconds. Called before the server is told to
  stop, it gives callers the time to find the other replicas.

What it finds out holds for a second, so that these paths cannot put load on the server.
"""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys
import threading
import time
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from mien.channel import credentials
from mien.errors import MienError
from mien.settings import ClientSettings
from serving.control import ServerControl
from serving.errors import PortTakenError, PromotionError, ServingError
from serving.golden import read_golden
from serving.pulse import Pulse
from serving.repository import ModelRepository
from serving.settings import LOOPBACK, read_settings, settings_from_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mien.contract import EnsembleSpec
    from serving.settings import ServingSettings

logger = logging.getLogger(__name__)

_FRESH_S = 1.0
_LOOK_S = 0.2
_REQUEST_TIMEOUT_S = 5.0


class ProbeSettings(BaseSettings):
    """Settings of the probe; each comes from ``MIEN_PROBE_<NAME>`` in the environment.

    Where the server is and which certificates it wants to see are a client's settings: MIEN_ENDPOINTS, MIEN_TLS_….

    Attributes:
        host: address to listen on; in a pod ``0.0.0.0``, for the kubelet asks from outside.
        port: port to listen on; 0 takes a free one.
        deadline_s: how long the server may take for an answer; less than the timeout of whoever asks here.
        quiet_s: how long nobody must have been answered for the server to be left by its callers.
        drain_s: how long to wait for that at most. Callers leave when their connection has reached its greatest age and
            they have asked DNS again, so it is more than that age and the time for which DNS keeps an answer together.
    """

    model_config = SettingsConfigDict(env_prefix="MIEN_PROBE_", extra="ignore", frozen=True)

    host: str = LOOPBACK
    port: int = Field(default=8090, ge=0, le=65535)
    deadline_s: float = Field(default=2.0, gt=0)
    quiet_s: float = Field(default=5.0, gt=0)
    drain_s: float = Field(default=75.0, gt=0)


class Probe:
    """What is known of one server; may be asked from several threads.

    Each question is answered with what speaks against it: an empty text means yes.

    Args:
        control: calls to the server.
        settings: how long things may take.
        ensembles: what the server serves.
        repository: what it serves from, for the golden inputs; None to do without them.
    """

    def __init__(
        self,
        control: ServerControl,
        settings: ProbeSettings,
        ensembles: Sequence[EnsembleSpec],
        repository: ModelRepository | None = None,
    ) -> None:
        self._control = control
        self._settings = settings
        self._ensembles = ensembles
        self._pulse = Pulse(control, ensembles, settings.deadline_s)
        self._repository = repository
        self._drains = 0
        self._lock = threading.Lock()
        self._live = _Fresh(self._pulse.trouble)
        self._ready = _Fresh(self._why_not_ready)

    def live(self) -> str:
        """Whether the server answers inferences."""
        # Whoever waits for silence must not be kept waiting by these; and what is being ended may be dead.
        return "" if self._drains else self._live()

    def ready(self) -> str:
        """Whether callers should come."""
        return "It is being drained." if self._drains else self._ready()

    def drain(self) -> str:
        """Wait until the callers have left, as long as the settings say; not ready meanwhile."""
        with self._lock:
            self._drains += 1
        try:
            begin = silent_since = time.monotonic()
            answered = self._pulse.answered()
            while (now := time.monotonic()) - silent_since < self._settings.quiet_s:
                if now - begin > self._settings.drain_s:
                    logger.warning("callers have not left in %g s", self._settings.drain_s)
                    break
                time.sleep(_LOOK_S)
                before, answered = answered, self._pulse.answered()
                if answered != before:
                    silent_since = time.monotonic()
            logger.info("drained: after_s=%.1f", time.monotonic() - begin)
        finally:
            with self._lock:
                self._drains -= 1
        return ""

    def _why_not_ready(self) -> str:
        try:
            for ensemble in self._ensembles:
                if not self._control.is_ready(ensemble.name, timeout_s=self._settings.deadline_s):
                    return f"{ensemble.name} is not ready."
                if self._repository:
                    self._check_golden(self._repository, ensemble)
            self._repository = None  # once is enough: this pod serves nothing else
        except ServingError as error:
            return str(error)
        return ""

    def _check_golden(self, repository: ModelRepository, ensemble: EnsembleSpec) -> None:
        pinned = repository.pointer(ensemble).release
        golden = read_golden(repository, ensemble, pinned)
        answered, release = self._control.infer(ensemble, golden.inputs)
        if release != pinned:
            raise PromotionError(f"{ensemble.name} answers with release {release}, not {pinned}.")
        golden.check(answered)


class _Fresh:
    """An answer that is asked for anew when it is a second old, by one thread while the others wait for it."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._lock = threading.Lock()
        self._answer = ""
        self._until = 0.0

    def __call__(self) -> str:
        with self._lock:
            if time.monotonic() >= self._until:
                self._answer = self._ask()
                self._until = time.monotonic() + _FRESH_S
            return self._answer


class _Handler(BaseHTTPRequestHandler):
    timeout = _REQUEST_TIMEOUT_S
    server_version = "mien-probe"
    sys_version = ""

    def __init__(self, *arguments: Any, probe: Probe) -> None:  # noqa: ANN401 - passed on to the base class
        self._answers = {"/live": probe.live, "/ready": probe.ready, "/drain": probe.drain}
        super().__init__(*arguments)

    def do_GET(self) -> None:
        answer = self._answers.get(self.path)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND, f"There are {', '.join(self._answers)}.")
            return
        trouble = answer()
        if trouble:
            logger.warning("path=%s answer=%s", self.path, trouble)
        self._send(HTTPStatus.SERVICE_UNAVAILABLE if trouble else HTTPStatus.OK, trouble or "yes")

    def _send(self, status: HTTPStatus, text: str) -> None:
        content = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """A line for each probe would drown the others."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; returns the exit status."""
    argparse.ArgumentParser(
        prog="python -m serving.probe",
        description="Answer /live, /ready and /drain for one Triton, over HTTP, until a signal says stop.",
        epilog="Settings come from the environment: MIEN_PROBE_HOST (127.0.0.1), MIEN_PROBE_PORT (8090),"
        " MIEN_PROBE_DEADLINE_S, MIEN_PROBE_QUIET_S, MIEN_PROBE_DRAIN_S; MIEN_MODEL_REPOSITORY, what the server serves,"
        " for the golden inputs; MIEN_ENSEMBLES, those it serves; MIEN_ENDPOINTS (127.0.0.1:8001) and MIEN_TLS_… as"
        " every client takes them.",
    ).parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # Explicitly: the first process of a container gets no signal that it has no handler for.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        serve(settings_from_environment(ProbeSettings), ClientSettings(), read_settings())
    except MienError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return 0
    return 0


def serve(settings: ProbeSettings, client: ClientSettings, serving: ServingSettings) -> None:
    """Answer until KeyboardInterrupt.

    Args:
        settings: of the probe.
        client: where the server is.
        serving: what it serves, and from which repository, if they say so.

    Raises:
        PortTakenError: the address cannot be listened on.
        SettingsError: a certificate cannot be read.
    """
    endpoint = client.endpoints[0]
    is_known = "model_repository" in serving.model_fields_set
    repository = ModelRepository(serving.model_repository) if is_known else None
    with ServerControl(endpoint, credentials=credentials(client), tls_server_name=client.tls_server_name) as control:
        handler = partial(_Handler, probe=Probe(control, settings, serving.ensembles, repository))
        try:
            server = _Server((settings.host, settings.port), handler)
        except OSError as error:
            raise PortTakenError(
                f"{settings.host}:{settings.port} cannot be listened on: {error.strerror}. Set MIEN_PROBE_HOST or"
                " MIEN_PROBE_PORT."
            ) from error
        with server:
            logger.info("probing %s on http://%s:%d", endpoint, *server.server_address[:2])
            server.serve_forever()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: Callable[..., _Handler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)


if __name__ == "__main__":
    sys.exit(main())
