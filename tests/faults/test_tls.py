"""Row 14: certificates that are missing, foreign, expired, of another name; plain callers of TLS and the reverse."""

from __future__ import annotations

import os
import socket
import ssl
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
import trustme

from mien import ClientSettings, EmotionClient, MienError
from mien.contract import EMOTION
from serving import ModelRepository, read_settings
from serving.engines import ServerPlan, WheelEngine, tritonserver_arguments
from serving.kept_process import KeptProcess
from serving.ports import take_port
from serving.repository import install_shipped
from tests.faults.pictures import PICTURE
from tests.gateways import running_gateway

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import WaitUntil
    from tests.faults.conftest import Figures, Scale

pytestmark = [pytest.mark.integration, pytest.mark.fault(14)]

LONG_AGO = datetime.now(UTC) - timedelta(days=30)
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
DEADLINE_S = 2.0


class Pki:
    """A CA, one that nobody knows, and PEM files of both.

    Args:
        folder: for the files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.known, self.unknown = trustme.CA(), trustme.CA()
        for name, authority in {"ca": self.known, "other-ca": self.unknown}.items():
            authority.cert_pem.write_to_path(str(folder / f"{name}.pem"))
        self._write("server", self.known.issue_cert("127.0.0.1", "triton"))
        self._write("expired-server", self.known.issue_cert("127.0.0.1", not_before=LONG_AGO, not_after=YESTERDAY))
        self._write("caller", self.known.issue_cert("gateway"))
        self._write("expired-caller", self.known.issue_cert("gateway", not_before=LONG_AGO, not_after=YESTERDAY))
        self._write("foreign-caller", self.unknown.issue_cert("gateway"))
        content = (folder / "server.crt").read_bytes()
        (folder / "damaged.crt").write_bytes(content[:200] + content[240:])
        (folder / "text.txt").write_text("hello\n")

    def __getitem__(self, name: str) -> Path:
        return self._folder / name

    def caller(self, name: str) -> dict[str, Path]:
        """Settings of a client that shows this certificate."""
        return {
            "tls_root_ca": self["ca.pem"],
            "tls_client_cert": self[f"{name}.crt"],
            "tls_client_key": self[f"{name}.key"],
        }

    def _write(self, name: str, certificate: trustme.LeafCert) -> None:
        self[f"{name}.crt"].write_bytes(b"".join(part.bytes() for part in certificate.cert_chain_pems))
        certificate.private_key_pem.write_to_path(str(self[f"{name}.key"]))


@contextmanager
def mutual_triton(folder: Path, pki: Pki, certificate: str, wait_until: WaitUntil) -> Iterator[str]:
    """A Triton as the manifests' component `tls` starts it; yields its endpoint."""
    settings = read_settings()
    grpc_port, metrics_port = take_port(0, "grpc"), take_port(0, "metrics")
    # One whose certificate has expired is never asked for a model.
    models = (EMOTION.name,) if certificate == "server" else ()
    repository = install_shipped(ModelRepository(settings.shipped_repository), folder / "repository").path
    plan = ServerPlan(repository, models, grpc_port, metrics_port, folder.name, "key", 3)
    arguments = tritonserver_arguments(
        plan, repository=str(repository), address="127.0.0.1", grpc_port=grpc_port, metrics_port=metrics_port
    )
    launch = WheelEngine(settings.triton_environment, folder / "backends").command(
        [
            *arguments,
            "--grpc-use-ssl-mutual=true",
            f"--grpc-server-cert={pki[f'{certificate}.crt']}",
            f"--grpc-server-key={pki[f'{certificate}.key']}",
            f"--grpc-root-cert={pki['ca.pem']}",
        ]
    )
    server = KeptProcess(
        {
            "command": launch.command,
            "environment": launch.environment,
            "log": str(folder / "triton.log"),
            "exit_timeout_s": 3.0,
            "shared_memory_prefix": f"{folder.name}-",
            "cleanup": launch.cleanup,
        }
    )
    try:
        wait_until(lambda: listens(grpc_port) or not server.is_alive, timeout_s=120)
        assert server.is_alive, (folder / "triton.log").read_text()[-3000:]
        yield f"127.0.0.1:{grpc_port}"
    finally:
        server.stop()


def listens(port: int) -> bool:
    """Triton opens its port when its models are loaded."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def secured(
    local_triton: None, pki: Pki, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil
) -> Iterator[str]:
    with mutual_triton(tmp_path_factory.mktemp("secured"), pki, "server", wait_until) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def expired(
    local_triton: None, pki: Pki, tmp_path_factory: pytest.TempPathFactory, wait_until: WaitUntil
) -> Iterator[str]:
    with mutual_triton(tmp_path_factory.mktemp("expired"), pki, "expired-server", wait_until) as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """A gRPC server without TLS; none of its methods is reached."""
    import grpc

    server = grpc.server(ThreadPoolExecutor(1))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None)


@dataclass(frozen=True, slots=True)
class Wrong:
    """Settings of a client that must not get through, and what it must be told: what is wrong, what to do."""

    name: str
    settings: dict[str, object]
    wrong: str
    remedy: str


def wrong_clients(pki: Pki, secured: str, expired: str, plain: str) -> list[Wrong]:
    right = pki.caller("caller")
    return [
        Wrong(
            "wrong CA", {"endpoints": secured, **right, "tls_root_ca": pki["other-ca.pem"]}, "CA in", "MIEN_TLS_ROOT_CA"
        ),
        Wrong(
            "no certificate", {"endpoints": secured, "tls_root_ca": pki["ca.pem"]}, "a certificate", "tls_client_cert"
        ),
        Wrong("foreign certificate", {"endpoints": secured, **pki.caller("foreign-caller")}, "a CA", "tls_client_cert"),
        Wrong(
            "expired certificate", {"endpoints": secured, **pki.caller("expired-caller")}, "expired", "tls_client_cert"
        ),
        Wrong("the system's CAs", {"endpoints": secured, "tls": True}, "CA in", "MIEN_TLS_ROOT_CA"),
        Wrong(
            "wrong name",
            {"endpoints": secured, **right, "tls_server_name": "elsewhere"},
            "'elsewhere'",
            "TLS_SERVER_NAME",
        ),
        Wrong("expired server", {"endpoints": expired, **right}, "expired", "renew"),
        Wrong("plain to TLS", {"endpoints": secured}, "speaks TLS", "MIEN_TLS_ROOT_CA"),
        Wrong("TLS to plain", {"endpoints": plain, **right}, "speaks no TLS", "MIEN_TLS"),
        Wrong(
            "absent file", {"endpoints": secured, "tls_root_ca": pki["absent.pem"]}, "absent.pem", "MIEN_TLS_ROOT_CA"
        ),
        Wrong("no PEM", {"endpoints": secured, "tls_root_ca": pki["text.txt"]}, "text.txt", "MIEN_TLS_ROOT_CA"),
        Wrong(
            "a key for a CA",
            {"endpoints": secured, "tls_root_ca": pki["caller.key"]},
            "no certificate",
            "MIEN_TLS_ROOT_CA",
        ),
        Wrong(
            "another's key",
            {"endpoints": secured, **right, "tls_client_key": pki["foreign-caller.key"]},
            "belong together",
            "MIEN_TLS_CLIENT_KEY",
        ),
    ]


def told_by_sdk(settings: dict[str, object]) -> str:
    """The error of a call."""
    try:
        with EmotionClient(ClientSettings(deadline_s=DEADLINE_S, **settings)) as client:
            client.classify(EMOTION.input.zeros(1))
    except MienError as error:
        return str(error)
    return "answered"


def told_by_command(settings: dict[str, object], picture: Path) -> str:
    """What `mien image` prints, which must fail."""
    variables = {f"MIEN_{name.upper()}": str(value) for name, value in settings.items()}
    ended = subprocess.run(
        [str(Path(sys.executable).parent / "mien"), "image", str(picture)],
        env=os.environ | variables | {"MIEN_DEADLINE_S": str(DEADLINE_S), "MIEN_DETECTOR": "haar"},
        capture_output=True,
        text=True,
        check=False,
    )
    return "answered" if ended.returncode == 0 else ended.stderr


def test_wrong_clients_of_triton_are_refused_and_told_why(
    pki: Pki, secured: str, expired: str, plain: str, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    wrong = wrong_clients(pki, secured, expired, plain)
    picture = tmp_path / "face.jpg"
    picture.write_bytes(PICTURE)
    assert told_by_sdk({"endpoints": secured, **pki.caller("caller")}) == "answered"
    with ThreadPoolExecutor(len(wrong)) as threads:
        by_sdk = list(threads.map(told_by_sdk, [one.settings for one in wrong]))
    asked = wrong[: scale.of(full=len(wrong), short=1)]
    with ThreadPoolExecutor(4) as threads:
        by_command = list(threads.map(lambda one: told_by_command(one.settings, picture), asked))
    for one, told in [*zip(wrong, by_sdk, strict=True), *zip(asked, by_command, strict=True)]:
        assert one.wrong in told, (one.name, told)
        assert one.remedy in told, (one.name, told)
        assert "Traceback" not in told
    for told in by_command:
        assert told.splitlines()[-1].startswith("Error: "), told  # gRPC's library has lines of its own
    assert told_by_sdk({"endpoints": secured, **pki.caller("caller")}) == "answered"
    figures.add(
        f"Triton with mutual TLS: {len(wrong)} wrong clients ({', '.join(one.name for one in wrong)}) refused, told"
        f" what is wrong and which setting (all by the SDK, {len(asked)} by `mien image`); the right one answered"
    )


def test_gateways_between_their_callers_and_triton(
    pki: Pki, secured: str, tmp_path: Path, scale: Scale, figures: Figures, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusting, wary = (ssl.create_default_context(cafile=pki[name]) for name in ("ca.pem", "other-ca.pem"))
    files = {"TLS_CERTIFICATE": str(pki["server.crt"]), "TLS_KEY": str(pki["server.key"])}
    cases = {"foreign-caller": 503, "expired-caller": 503, "caller": 200}
    shown = list(cases)[: scale.of(full=3, short=1)]
    for name in shown:
        for setting, value in pki.caller(name).items():
            monkeypatch.setenv(f"MIEN_{setting.upper()}", str(value))
        folder = tmp_path / name
        folder.mkdir()
        with (
            running_gateway(secured, folder, trust=trusting, deadline_s=DEADLINE_S, WORKERS="1", **files) as gateway,
            gateway.client(verify=trusting) as caller,
        ):
            answer = caller.post("/v1/detect", files={"image": ("face.jpg", PICTURE)})
            assert answer.status_code == cases[name], answer.text
            assert caller.get("/ready").status_code == cases[name]
            refused = refused_callers(gateway.url, trusting, wary)
            assert caller.get("/health").status_code == 200
            log = gateway.log
        assert "Traceback" not in log
        assert ("tls_client_cert" in log) == (cases[name] == 503)
        assert "tls_client_cert" not in answer.text
    figures.add(
        f"gateway with its own TLS before it, shown to Triton {', '.join(f'{name}: {cases[name]}' for name in shown)}"
        f" (the log says why); its callers with {', '.join(refused)} get nothing"
    )


def refused_callers(url: str, trusting: ssl.SSLContext, wary: ssl.SSLContext) -> list[str]:
    """Callers of a gateway that must not get an answer."""
    port = httpx.URL(url).port
    callers: dict[str, tuple[str, ssl.SSLContext | bool]] = {
        "wrong CA": (url, wary),
        "wrong name": (f"https://localhost:{port}", trusting),
        "plain to TLS": (f"http://127.0.0.1:{port}", True),
    }
    for address, trust in callers.values():
        with httpx.Client(base_url=address, verify=trust, timeout=10) as caller, pytest.raises(httpx.TransportError):
            caller.get("/health")
    return list(callers)


def test_a_gateway_does_not_start_with_files_that_it_cannot_use(
    pki: Pki, tmp_path: Path, scale: Scale, figures: Figures
) -> None:
    pairs = {
        "another's key": ("server.crt", "caller.key", "do not belong together"),
        "absent certificate": ("absent.crt", "server.key", "MIEN_GATEWAY_TLS_CERTIFICATE is"),
        "absent key": ("server.crt", "absent.key", "MIEN_GATEWAY_TLS_KEY is"),
        "text": ("text.txt", "text.txt", "damaged"),
        "damaged": ("damaged.crt", "server.key", "damaged"),
    }
    tried = list(pairs)[: scale.of(full=len(pairs), short=1)]
    for name in tried:
        certificate, key, words = pairs[name]
        ended = start_gateway(tmp_path, certificate=pki[certificate], key=pki[key])
        assert ended.returncode == 2, name
        assert words in ended.stderr, (name, ended.stderr)
        assert ended.stderr.startswith("Error: "), ended.stderr
    figures.add(
        f"a gateway does not start with TLS files that cannot be used ({', '.join(tried)}) and names the setting"
    )


def start_gateway(state: Path, *, certificate: Path, key: Path) -> subprocess.CompletedProcess[str]:
    """A gateway that must end by itself."""
    settings = {
        "MIEN_STATE": str(state),
        "MIEN_DETECTOR": "haar",
        "MIEN_GATEWAY_PORT": "0",
        "MIEN_GATEWAY_TLS_CERTIFICATE": str(certificate),
        "MIEN_GATEWAY_TLS_KEY": str(key),
    }
    return subprocess.run(
        [sys.executable, "-m", "mien.gateway"],
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
