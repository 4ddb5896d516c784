"""One tritonserver as an object: start, stop, wait until it answers, restart."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import re
import secrets
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, Self

import psutil

from serving import keeper
from serving.configuration import check_config_set
from serving.control import ServerControl
from serving.engines import ServerPlan, create_engine
from serving.errors import ControlError, ServerStartError
from serving.kept_process import KeptProcess
from serving.ports import take_port
from serving.promotion import prepare_start
from serving.record import ServerRecord, read_record, remove_record, write_record
from serving.repository import ModelRepository, install_shipped
from serving.settings import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from serving.manifest import Manifest
    from serving.settings import ServingSettings

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_CLEARING_S = 5.0
_LOG_TAIL_LINES = 12


class TritonServer:
    """A tritonserver on this machine, on loopback only. As a context manager it is ready inside and gone afterwards.

    Between it and the server stands a keeper process (`serving.keeper`), so that nothing is left behind when either
    of the two dies. One state folder holds at most one server.

    Example:
        with TritonServer(read_settings()) as server:
            print(server.endpoint)
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.settings = settings
        self.admin_key = secrets.token_urlsafe(32)
        self.releases: dict[str, Manifest] = {}
        self._engine = create_engine(settings)
        self._grpc_port = settings.grpc_port
        self._metrics_port = settings.metrics_port
        self._process: KeptProcess | None = None
        self._lock_file: IO[str] | None = None
        self._lifecycle = threading.RLock()

    def __enter__(self) -> Self:
        self.start()
        try:
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Where to send inferences over gRPC, as ``host:port``; known once the server has been started."""
        return f"{LOOPBACK}:{self._grpc_port}"

    @property
    def metrics_url(self) -> str:
        """Where Prometheus finds the metrics."""
        return f"http://{LOOPBACK}:{self._metrics_port}/metrics"

    @property
    def log_path(self) -> Path:
        """Where the server's output goes."""
        return self.settings.log_path

    @property
    def process_id(self) -> int:
        """Process id of tritonserver, or of the docker command; 0 while none has been started."""
        return self._process.process_id if self._process else 0

    @property
    def runs_stubs(self) -> bool:
        """Whether the models run in stub processes, children of `process_id`."""
        return self._engine.runs_stubs

    @property
    def is_alive(self) -> bool:
        """Whether the server's process runs; whether it answers is another question (`wait_ready`)."""
        return self._process is not None and self._process.is_alive

    def control(self) -> ServerControl:
        """A client that may load and unload models; close it after use."""
        return ServerControl(self.endpoint, self.admin_key)

    def start(self) -> None:
        """Verify the release and start the server, clearing first what an older one left. Does not wait for it.

        Raises:
            EngineError: this machine cannot run the engine.
            RepositoryError: the model repository does not verify.
            PortTakenError: another process listens on a port.
            ServerStartError: a server already runs on this state folder, or the process cannot be started.
        """
        with self._lifecycle:
            if self.is_alive:
                return
            self._engine.check()
            self.settings.create_state()
            self._take_lock()
            try:
                clear_leftovers(self.settings)
                self._grpc_port = take_port(self._grpc_port, "MIEN_GRPC_PORT")
                self._metrics_port = take_port(self._metrics_port, "MIEN_METRICS_PORT")
                self._launch(self._prepare_repository())
            except BaseException:
                self._release_lock()
                raise

    def wait_ready(self, timeout_s: float | None = None) -> None:
        """Return once every ensemble has answered a real inference.

        Args:
            timeout_s: how long to wait; the settings' `ready_timeout_s` if not given.

        Raises:
            ServerStartError: the server ended, or did not answer in time; the text ends with what its log says.
        """
        limit_s = self.settings.ready_timeout_s if timeout_s is None else timeout_s
        deadline = time.monotonic() + limit_s
        with self.control() as control:
            waiting = list(self.settings.ensembles)
            while waiting:
                if not self.is_alive:
                    raise ServerStartError(f"The server ended while it was starting.\n{self.log_tail()}")
                try:
                    control.infer_zeros(waiting[0], timeout_s=max(_POLL_S, deadline - time.monotonic()))
                    waiting.pop(0)
                except ControlError as error:
                    if time.monotonic() >= deadline:
                        raise ServerStartError(f"{error} It had {limit_s:g} s.\n{self.log_tail()}") from error
                    time.sleep(_POLL_S)

    def stop(self) -> None:
        """Let requests in flight finish, end the server and remove all it leaves; nothing happens if it has ended."""
        with self._lifecycle:
            if self._process is None:
                return
            self._process.stop()
            self._process = None
            clear_leftovers(self.settings)
            self._release_lock()

    def restart(self) -> None:
        """Stop the server if it runs, start it again on the same ports, and wait until it answers."""
        with self._lifecycle:
            self.stop()
            self.start()
            self.wait_ready()

    def log_tail(self) -> str:
        """The end of the server's log: its errors if it tells any, else the last lines."""
        try:
            lines = self.log_path.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            lines = []
        errors = [line for line in lines if re.match(r"E\d{4} ", line) or line.startswith("error:")]
        return "\n".join([*(errors or lines)[-_LOG_TAIL_LINES:], f"The whole log: {self.log_path}"])

    def _prepare_repository(self) -> ModelRepository:
        repository = ModelRepository(self.settings.model_repository)
        if not self.releases:
            # A restart serves what it served before, whatever has been shipped meanwhile.
            install_shipped(ModelRepository(self.settings.shipped_repository), repository.path)
        self.releases = {ensemble.name: prepare_start(repository, ensemble) for ensemble in self.settings.ensembles}
        if self.settings.config_set:
            check_config_set(repository.path, self.settings.config_set)
        return repository

    def _launch(self, repository: ModelRepository) -> None:
        token = f"mien-{secrets.token_hex(6)}"
        plan = ServerPlan(
            repository=repository.path,
            models=tuple(
                name for manifest in self.releases.values() for name in (*manifest.members, manifest.ensemble)
            ),
            grpc_port=self._grpc_port,
            metrics_port=self._metrics_port,
            token=token,
            admin_key=self.admin_key,
            exit_timeout_s=self.settings.exit_timeout_s,
            config_set=self.settings.config_set,
            trace_url=self.settings.trace_url,
        )
        launch = self._engine.launch(plan)
        # Before the process: what is not on record could not be cleared away by a later start.
        write_record(
            self.settings.record_path,
            ServerRecord(
                token=token,
                endpoint=self.endpoint,
                metrics_url=self.metrics_url,
                admin_key=self.admin_key,
                cleanup=launch.cleanup,
            ),
        )
        task: keeper.Task = {
            "command": launch.command,
            "environment": launch.environment,
            "log": str(self.log_path),
            # The server's own limit is for requests in flight; it needs a moment more to end.
            "exit_timeout_s": self.settings.exit_timeout_s + 2.0,
            "shared_memory_prefix": f"{token}-",
            "cleanup": launch.cleanup,
        }
        self._process = KeptProcess(task)
        if not self._process.process_id:
            self._process.stop()
            self._process = None
            raise ServerStartError(f"{launch.command[0]} cannot be started.\n{self.log_tail()}")

    def _take_lock(self) -> None:
        """Hold the state folder; the kernel lets go of it however this process ends."""
        lock_file = (self.settings.state / "server.lock").open("w")
        try:
            fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock_file.close()
            record = read_record(self.settings.record_path)
            where = f" at {record.endpoint}" if record else ""
            raise ServerStartError(
                f"A server already runs on {self.settings.state}{where}. Stop it first, or set MIEN_STATE to another"
                " folder."
            ) from error
        self._lock_file = lock_file

    def _release_lock(self) -> None:
        if self._lock_file:
            self._lock_file.close()
            self._lock_file = None


def clear_leftovers(settings: ServingSettings) -> None:
    """End the processes and remove the shared memory of the server on record, if any, and the record itself.

    Its processes are known by the token in their command lines, which no other run has.
    """
    record = read_record(settings.record_path)
    if record is None:
        return
    processes = [process for process in psutil.process_iter(["cmdline"]) if _names(process, record.token)]
    for process in processes:
        logger.warning("ending a process that an older server left: pid=%d", process.pid)
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_CLEARING_S)
    keeper.remove_shared_memory(f"{record.token}-")
    if record.cleanup:
        with contextlib.suppress(OSError):
            subprocess.run(record.cleanup, capture_output=True, check=False)
    remove_record(settings.record_path)


def _names(process: psutil.Process, token: str) -> bool:
    return any(token in argument for argument in process.info["cmdline"] or ())
