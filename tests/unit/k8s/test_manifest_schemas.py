"""Every object keeps the schema of its kind: Kubernetes' own, or that of the operator whose resource it is."""

from __future__ import annotations

import copy
import functools
import json
from importlib import resources

import jsonschema
import kubernetes_validate
import pytest
from referencing import Registry, Resource

from tests.unit.k8s.manifests import K8S, Object, build, containers, named, pods

VERSIONS = ("1.32", "1.37")
"""The oldest one that Mien is for, and the newest."""


def check(one: Object, version: str) -> None:
    """Hold an object against the schema of its kind. An unknown field or kind is an error."""
    check_text(json.dumps(one), version)


@functools.cache  # overlays have most in common
def check_text(text: str, version: str) -> None:
    one: Object = json.loads(text)
    custom = K8S / "schemas" / f"{one['apiVersion'].replace('/', '-')}-{one['kind'].lower()}.json"
    if not custom.exists():
        kubernetes_validate.validate(one, version, strict=True)
        return
    folder = resources.files("kubernetes_validate") / "kubernetes-json-schema" / f"v{version}.0-local-strict"
    kubernetes = Resource.from_contents(json.loads((folder / "_definitions.json").read_text()))
    registry = Registry().with_resource("_definitions.json", kubernetes)
    jsonschema.Draft202012Validator(json.loads(custom.read_text()), registry=registry).validate(one)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_keeps_its_schema(objects: list[Object], version: str) -> None:
    for one in objects:
        check(one, version)


def test_pods_that_an_operator_makes_keep_the_schema_of_a_pod() -> None:
    for where, pod in pods(build("overlays/kserve")):
        if where.startswith("InferenceService"):
            spec = {"initContainers": pod["spec"]["initContainers"], "containers": containers(pod)[-1:]}
            rest = {key: pod["spec"][key] for key in ("volumes", "securityContext", "tolerations")}
            check({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": spec | rest}, "1.32")


@pytest.mark.parametrize(
    ("overlay", "kind", "name", "path"),
    [
        ("cpu", "Deployment", "triton", ("spec", "template", "spec")),
        ("keda", "ScaledObject", "triton", ("spec", "advanced")),
        ("tls", "Certificate", "triton-server", ("spec", "issuerRef")),
        ("kserve", "InferenceService", "emotion", ("spec", "predictor", "model")),
        ("kserve", "ServingRuntime", "mien-triton", ("spec",)),
    ],
)
def test_a_field_that_there_is_not_is_found(overlay: str, kind: str, name: str, path: tuple[str, ...]) -> None:
    one = copy.deepcopy(named(build(f"overlays/{overlay}"), kind, name))
    inner = one
    for part in path:
        inner = inner[part]
    inner["replicaz"] = 3
    with pytest.raises(jsonschema.ValidationError, match="replicaz"):
        check(one, "1.32")


def test_a_kind_without_a_schema_is_found() -> None:
    with pytest.raises(kubernetes_validate.SchemaNotFoundError):
        check({"apiVersion": "example.com/v1", "kind": "Deploiment", "metadata": {"name": "x"}, "spec": {}}, "1.32")
