"""The images: their Dockerfile lints, its build steps run in a clean folder, and what pods start is in them."""

from __future__ import annotations

import functools
import re
import shlex
import subprocess
import threading
from fnmatch import fnmatch
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from mien.settings import YUNET_FILE, YUNET_SHA256
from tests.conftest import ROOT
from tests.unit.k8s.dockerfiles import DOCKERFILE, WORKDIR, Builder, images, run_in_image, stages
from tests.unit.k8s.manifests import K8S, build, containers, pods
from tests.unit.k8s.test_manifest_tools import tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def weights_url(test_data: Path) -> Iterator[str]:
    """Where this test has YuNet, as OpenCV's zoo has it for a build."""
    handler = functools.partial(QuietHandler, directory=test_data / "models")
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/{YUNET_FILE}"
        server.shutdown()


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@pytest.fixture(scope="module")
def builder(weights_url: str, tmp_path_factory: pytest.TempPathFactory) -> Builder:
    return Builder(tmp_path_factory.mktemp("images"), YUNET_URL=weights_url)


def test_hadolint_finds_nothing() -> None:
    done = subprocess.run([tool("hadolint"), DOCKERFILE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.data
@pytest.mark.parametrize(
    ("image", "commands"),
    [
        ("gateway", ["mien.gateway"]),
        ("sync", ["serving.sync", "serving.probe"]),
        ("flows", ["flows.deploy", "prefect worker", "flows.release"]),
        ("loadtest", ["loadtest"]),
    ],
)
def test_the_steps_of_an_image_give_what_it_runs(builder: Builder, image: str, commands: list[str]) -> None:
    folder = builder.build(image)
    for command in commands:
        done = run_in_image(folder, "python", "-m", *shlex.split(command), "--help")
        assert done.returncode == 0, done.stderr[-2000:]
        assert "usage" in done.stdout.lower()


@pytest.mark.data
def test_the_gateways_image_holds_the_verified_detector_and_what_its_settings_may_ask_for(builder: Builder) -> None:
    folder = builder.build("gateway")
    assert YUNET_SHA256 in run_in_image(folder, "sha256sum", f"weights/{YUNET_FILE}").stdout
    assert f"MIEN_YUNET_PATH={WORKDIR}/weights/{YUNET_FILE}" in dict(stages()["gateway"].steps)["ENV"]
    done = run_in_image(
        folder, "python", "-c", "import redis, psycopg, s3fs, opentelemetry.sdk, mien; print(mien.__file__)"
    )
    assert "site-packages" in done.stdout, done.stderr  # the wheel, not a checkout


def test_no_step_copies_what_the_build_does_not_get() -> None:
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    sent = [line[1:] for line in ignored if line.startswith("!")]
    copied = {
        path
        for stage in stages().values()
        for instruction, rest in stage.steps
        if instruction == "COPY" and not rest.startswith("--from")
        for path in rest.split()[:-1]
    }
    assert copied == set(sent)
    assert all((ROOT / path).exists() for path in sent)
    assert ignored[1] == "*"


def test_pods_start_images_that_there_are_with_code_that_is_in_them() -> None:
    """Of every `python -m PACKAGE.…` the package is copied into the image, or comes with its environment."""
    known = stages()
    found = set()
    for where, pod in [*pods(build("overlays/gpu")), *pods(build("loadtest"))]:
        for container in containers(pod):
            if image := re.fullmatch(r"registry\.invalid/mien-([\w-]+):(.+)", container["image"]):
                assert image[1] in images(), where
                assert image[2] == version(), where
                found.add(image[1])
                package = container.get("args", ["python", "-m", "mien"])[2].partition(".")[0]
                copied = {rest.split()[0] for step, rest in known[image[1]].steps if step == "COPY"}
                assert package in copied | {"mien", "prefect"}, where
    assert found == set(images()) - {"trainer", "trainer-gpu"}


def version() -> str:
    (found,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    return str(found)


def test_images_are_pinned_and_run_without_rights() -> None:
    for name, stage in stages().items():
        assert stage.base in stages() or fnmatch(stage.base, "*:[0-9]*.[0-9]*.[0-9]*-*"), name
    assert ("USER", "1000:1000") in stages()["runtime"].steps
    assert [name for name, stage in stages().items() if "USER" in dict(stage.steps)] == ["runtime"]


def test_tensorflow_for_gpus_is_the_one_of_the_lock() -> None:
    (locked,) = re.findall(r'name = "tensorflow-cpu"\nversion = "(.+)"', (ROOT / "uv.lock").read_text())
    text = (K8S / "images" / "tensorflow-gpu.txt").read_text()
    assert f"tensorflow=={locked} " in text
    requirements = [line for line in text.splitlines() if re.match(r"[a-z]", line)]
    assert len(requirements) > 10
    assert all(re.search(r"==[\d.]+ \\$", line) for line in requirements)


def test_the_readme_builds_every_image() -> None:
    (listed,) = re.findall(r"for target in ([\w -]+);", (K8S / "README.md").read_text())
    assert listed.split() == images()
