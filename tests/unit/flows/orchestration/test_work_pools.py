"""The job of a Kubernetes work pool, made from the template that Prefect's own server ships."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import kubernetes_validate
import prefect.server.api.collections_data
import pytest
from prefect.utilities.templating import apply_values, find_placeholders

from flows.orchestration.work_pools import CLIENT_TLS, POD_LABELS, SITE, STATE_FOLDER, STORE_KEYS, kubernetes_template


@pytest.fixture(scope="module")
def default() -> dict[str, Any]:
    folder = Path(next(iter(prefect.server.api.collections_data.__path__)))
    metadata = json.loads((folder / "views/aggregate-worker-metadata.json").read_text())
    template: dict[str, Any] = metadata["prefect-kubernetes"]["kubernetes"]["default_base_job_configuration"]
    return template


def test_a_job_has_what_a_retraining_needs_and_no_more_rights(default: dict[str, Any]) -> None:
    template = kubernetes_template(default)
    values = {"gpus": 2, "state_claim": "state-of-the-house", "image": "registry.example/trainer:1"}
    job = apply_values(template["job_configuration"]["job_manifest"], values)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["image"] == "registry.example/trainer:1"
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 2
    claims = {volume["name"]: volume.get("persistentVolumeClaim", {}).get("claimName") for volume in pod["volumes"]}
    mounts = {mount["mountPath"]: claims[mount["name"]] for mount in container["volumeMounts"]}
    assert mounts[STATE_FOLDER] == "state-of-the-house"
    assert {"secretName": CLIENT_TLS, "optional": True} in [volume.get("secret") for volume in pod["volumes"]]
    assert pod["securityContext"]["runAsNonRoot"]
    assert job["spec"]["template"]["metadata"]["labels"] == POD_LABELS
    assert pod["tolerations"]
    assert [next(iter(source.values()))["name"] for source in container["envFrom"]] == [SITE, STORE_KEYS]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


@pytest.mark.parametrize("version", ["1.32", "1.37"])
def test_a_job_keeps_the_schema_of_kubernetes(default: dict[str, Any], version: str) -> None:
    template = kubernetes_template(default)
    settings = {name: known.get("default") for name, known in template["variables"]["properties"].items()}
    given = {"image": "registry.example/trainer:1", "command": ["prefect", "flow-run", "execute"], "env": []}
    values = {name: value for name, value in (settings | given).items() if value is not None}
    job = apply_values(template["job_configuration"]["job_manifest"], values)
    kubernetes_validate.validate(job, version, strict=True)
    assert job["spec"]["parallelism"] == job["spec"]["completions"] == 1
    assert job["spec"]["template"]["spec"]["containers"][0]["image"] == given["image"]


def test_whatever_a_job_leaves_open_is_a_variable_of_the_pool(default: dict[str, Any]) -> None:
    template = kubernetes_template(default)
    open_names = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert open_names <= template["variables"]["properties"].keys()


def test_prefects_own_template_is_left_alone(default: dict[str, Any]) -> None:
    before = json.dumps(default)
    kubernetes_template(default)
    assert json.dumps(default) == before


def test_a_job_asks_for_what_it_needs_and_is_not_kept_for_ever(default: dict[str, Any]) -> None:
    template = kubernetes_template(default)
    defaults = {
        name: value["default"] for name, value in template["variables"]["properties"].items() if "default" in value
    }
    manifest = apply_values(template["job_configuration"]["job_manifest"], defaults)
    (container,) = manifest["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 1
    assert manifest["spec"]["ttlSecondsAfterFinished"] == 86_400
