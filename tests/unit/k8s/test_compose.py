"""compose.yaml keeps its schema, and says the same as the manifests where both speak of it."""

from __future__ import annotations

import re
import subprocess
from typing import Any

import pytest
import yaml

from tests.conftest import ROOT
from tests.unit.k8s.dockerfiles import images
from tests.unit.k8s.manifests import build, containers, pods
from tests.unit.k8s.test_manifest_policies import settings_variables
from tests.unit.k8s.test_manifest_tools import tool

COMPOSE = ROOT / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def test_it_keeps_its_schema() -> None:
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_only_this_machine_reaches_it(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_images_are_those_of_the_cluster_or_built_here(services: dict[str, Any]) -> None:
    used = {container["image"] for _, pod in pods(build("overlays/cpu")) for container in containers(pod)}
    built = {service["image"]: service["build"]["target"] for service in services.values() if "build" in service}
    for name, service in services.items():
        assert service["image"] in used | built.keys(), name
    for image, target in built.items():
        assert re.fullmatch(rf"mien-{target}:[\d.]+", image)
        assert target in images()


def test_triton_runs_as_in_the_cluster(services: dict[str, Any]) -> None:
    for _, pod in pods(build("overlays/cpu")):
        for container in pod["spec"]["containers"]:
            if container["name"] == "triton":
                there = [part for part in container["args"] if not part.startswith("--grpc-restricted-protocol")]
                assert services["triton"]["command"] == there


def test_variables_and_volumes_are_known(services: dict[str, Any]) -> None:
    volumes = yaml.safe_load(COMPOSE.read_text())["volumes"]
    for name, service in services.items():
        variables = {variable for variable in service.get("environment", {}) if variable.startswith("MIEN_")}
        assert variables <= settings_variables(), name
        assert {mount.partition(":")[0] for mount in service.get("volumes", [])} <= volumes.keys(), name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_no_secret_is_in_it() -> None:
    for line in COMPOSE.read_text().splitlines():
        if re.search(r"(PASSWORD|AUTH\w*):", line):
            assert "${" in line
