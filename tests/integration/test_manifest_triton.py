"""What the manifests have a Triton pod run, run here: their arguments and variables, with this machine's folders."""

from __future__ import annotations

import os
import subprocess
import sys
import urllib.request
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
import trustme

from mien import ClientSettings, EmotionClient, InferenceError
from mien.contract import EMOTION, ENSEMBLES
from serving import ModelRepository, read_settings
from serving.engines import WheelEngine
from serving.kept_process import KeptProcess
from serving.ports import take_port
from serving.store import open_store
from tests.conftest import ROOT
from tests.unit.k8s.manifests import Object, build, containers, named, variables

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.conftest import WaitUntil

pytestmark = pytest.mark.integration

TLS = "/etc/mien/tls"


class ManifestPod:
    """The Triton pod of an overlay: its three containers, in their order, on folders and ports of this machine."""

    def __init__(self, overlay: str, folder: Path, store: Path) -> None:
        self.objects = build(f"overlays/{overlay}")
        self.folder = folder
        self.endpoint, self.metrics, self.probe = (
            f"127.0.0.1:{take_port(0, name)}" for name in ("grpc", "metrics", "probe")
        )
        self._store = store
        self._pod = named(self.objects, "Deployment", "triton")["spec"]["template"]

    def container(self, name: str) -> Object:
        """One of its containers."""
        (found,) = [one for one in containers(self._pod) if one["name"] == name]
        return found

    def here(self, text: str, container: Object) -> str:
        """A path of the container as one of this machine."""
        secret = next((one["name"] for one in container.get("volumeMounts", []) if one["mountPath"] == TLS), "")
        return text.replace(TLS, str(self.folder / secret)).replace("/models", str(self.folder / "models"))

    def environment(self, container: Object, **more: str) -> dict[str, str]:
        """The container's variables, as far as the manifest says them, and `more`."""
        told = {name: self.here(value, container) for name, value in variables(container).items() if value is not None}
        return os.environ | told | more

    def sync(self) -> None:
        """Run the init container to its end."""
        container = self.container("sync")
        subprocess.run(
            [sys.executable, *container["args"][1:]],
            cwd=ROOT,
            env=self.environment(container, MIEN_RELEASE_STORE=str(self._store)),
            check=True,
        )

    def start_probe(self) -> subprocess.Popen[bytes]:
        """Start the sidecar."""
        container = self.container("probe")
        host, _, port = self.probe.rpartition(":")
        more = {"MIEN_PROBE_HOST": host, "MIEN_PROBE_PORT": port, "MIEN_ENDPOINTS": self.endpoint}
        with (self.folder / "probe.log").open("wb") as log:
            command = [sys.executable, *container["args"][1:]]
            return subprocess.Popen(command, cwd=ROOT, env=self.environment(container, **more), stderr=log)

    def start_triton(self) -> KeptProcess:
        """Start the server."""
        container = self.container("triton")
        ports = {"--grpc-port": self.endpoint, "--metrics-port": self.metrics}
        arguments = []
        for argument in container["args"][1:]:
            option, _, value = self.here(argument, container).replace("$(POD_UID)", "a-pods-id").partition("=")
            value = ports[option].rpartition(":")[2] if option in ports else value.replace("0.0.0.0", "127.0.0.1")
            arguments.append(f"{option}={value}" if value else option)
        arguments += ["--grpc-address=127.0.0.1", f"--backend-config=python,shm-region-prefix-name={self.folder.name}-"]
        launch = WheelEngine(read_settings().triton_environment, self.folder / "backends").command(arguments)
        return KeptProcess(
            {
                "command": launch.command,
                "environment": launch.environment,
                "log": str(self.folder / "triton.log"),
                "exit_timeout_s": 12.0,
                "shared_memory_prefix": f"{self.folder.name}-",
                "cleanup": launch.cleanup,
            }
        )

    def is_ready(self) -> bool:
        """What the startup probe asks."""
        path = self.container("triton")["startupProbe"]["httpGet"]["path"]
        try:
            with urllib.request.urlopen(f"http://{self.probe}{path}", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A volume with git's release of each ensemble."""
    folder = tmp_path_factory.mktemp("store")
    for ensemble in ENSEMBLES:
        releases = open_store(str(folder), ensemble)
        releases.push(ModelRepository(read_settings().shipped_repository), 1)
        releases.set_current(1, expected=None)
    return folder


@pytest.fixture(params=["cpu", "tls"])
def pod(
    request: pytest.FixtureRequest, local_triton: None, tmp_path: Path, store: Path, wait_until: WaitUntil
) -> Iterator[ManifestPod]:
    pod = ManifestPod(request.param, tmp_path, store)
    write_certificates(pod)
    pod.sync()
    with ExitStack() as stack:
        probe = pod.start_probe()
        stack.callback(probe.wait)
        stack.callback(probe.terminate)
        triton = pod.start_triton()
        stack.callback(triton.stop)
        wait_until(lambda: pod.is_ready() or not triton.is_alive, timeout_s=120)
        assert triton.is_alive, (tmp_path / "triton.log").read_text()[-3000:]
        yield pod


def write_certificates(pod: ManifestPod) -> None:
    """What cert-manager would put into the Secrets that the certificates name."""
    authority = trustme.CA()
    volumes = {
        volume["secret"]["secretName"]: volume["name"]
        for volume in named(pod.objects, "Deployment", "triton")["spec"]["template"]["spec"]["volumes"]
        if "secret" in volume
    }
    for certificate in (one for one in pod.objects if one["kind"] == "Certificate"):
        name = volumes.get(certificate["spec"]["secretName"])
        if name:
            (pod.folder / name).mkdir()
            leaf = authority.issue_cert(*certificate["spec"]["dnsNames"])
            authority.cert_pem.write_to_path(pod.folder / name / "ca.crt")
            leaf.private_key_pem.write_to_path(pod.folder / name / "tls.key")
            for part in leaf.cert_chain_pems:
                part.write_to_path(pod.folder / name / "tls.crt", append=True)


def test_the_gateways_settings_reach_triton_and_nobody_elses_do(
    pod: ManifestPod, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gateway,) = named(pod.objects, "Deployment", "gateway")["spec"]["template"]["spec"]["containers"]
    for name, value in pod.environment(gateway, MIEN_ENDPOINTS=pod.endpoint).items():
        if name.startswith("MIEN_") and not name.startswith("MIEN_GATEWAY_"):
            monkeypatch.setenv(name, value)
    encrypted = "MIEN_TLS_ROOT_CA" in variables(gateway)
    # The certificate is for the service's name, which leads nowhere here.
    settings = ClientSettings(tls_server_name="triton" if encrypted else None)
    with EmotionClient(settings) as client:
        answer = client.classify(EMOTION.input.zeros(2))
    assert answer.model_versions == ("1", "1")
    if encrypted:
        stranger = settings.model_copy(update={"tls_client_cert": None, "tls_client_key": None, "deadline_s": 3.0})
        with EmotionClient(stranger) as client, pytest.raises(InferenceError):
            client.classify(EMOTION.input.zeros(1))
    with urllib.request.urlopen(f"http://{pod.metrics}/metrics", timeout=5) as page:
        assert b"nv_inference_queue_duration_us" in page.read()
