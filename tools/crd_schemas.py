"""Writes k8s/schemas: JSON schemas of the custom resources that k8s/ uses, from packages made from the CRDs.

Run it after a new version of an operator, with the packages of that version:

    .tools/uv run --no-project --with cloudcoil-models-keda==2.16.1.0 --with cloudcoil-models-cert-manager==1.17.1.0 \
      --with cloudcoil-models-prometheus-operator==0.80.1.0 --with pip python -m tools.crd_schemas

KServe's SDK is downloaded without what it depends on: only its descriptions of the API's types are read.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

TARGET = Path(__file__).resolve().parent.parent / "k8s" / "schemas"
MODELS = {
    "keda.sh/v1alpha1": ("cloudcoil.models.keda.v1alpha1", ["ScaledObject"]),
    "cert-manager.io/v1": ("cloudcoil.models.cert_manager.v1", ["Certificate", "Issuer"]),
    "monitoring.coreos.com/v1": ("cloudcoil.models.prometheus_operator.v1", ["ServiceMonitor", "PrometheusRule"]),
}
NOT_USED = {"Issuer": ["acme", "vault", "venafi"]}
KSERVE = "kserve==0.21.0"
KSERVE_KINDS = {
    "serving.kserve.io/v1beta1": ("InferenceService", "V1beta1InferenceServiceSpec"),
    "serving.kserve.io/v1alpha1": ("ServingRuntime", "V1alpha1ServingRuntimeSpec"),
}
# Of KServe's own types these; the others (servers by framework, explainers, …) are not used here and so are refused.
KSERVE_TYPES = re.compile(
    "InferenceServiceSpec|PredictorSpec|CanarySpec|Model(Spec|Format)|AutoScalingSpec|MetricsSpec|External|ExtMetric"
    "|MetricTarget|ServingRuntimeSpec|SupportedModelFormat"
)
PLAIN = {"str": "string", "int": "integer", "bool": "boolean", "float": "number"}

Schema = dict[str, Any]


def main() -> None:
    """Write every schema."""
    TARGET.mkdir(exist_ok=True)
    for api_version, (module, kinds) in MODELS.items():
        for kind in kinds:
            model = getattr(importlib.import_module(module), kind)
            schema = model.model_json_schema(by_alias=True)
            _write(api_version, kind, schema["properties"]["spec"], schema["$defs"])
    types = _kserve_types()
    for api_version, (kind, spec) in KSERVE_KINDS.items():
        _write(api_version, kind, {"$ref": f"#/$defs/{spec}"}, {name: _kserve_schema(*types[name]) for name in types})


def _write(api_version: str, kind: str, spec: Schema, definitions: Schema) -> None:
    definitions = {name: _tidied(definition) for name, definition in definitions.items()}
    for name in NOT_USED.get(kind, []):
        del definitions[spec["$ref"].rpartition("/")[2]]["properties"][name]
    spec = _tidied(spec)
    schema = {
        "type": "object",
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "additionalProperties": False,
        "properties": {
            "apiVersion": {"const": api_version},
            "kind": {"const": kind},
            "metadata": {"$ref": "_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta"},
            "spec": spec,
        },
        "$defs": {name: definitions[name] for name in sorted(_used(spec, definitions))},
    }
    path = TARGET / f"{api_version.replace('/', '-')}-{kind.lower()}.json"
    path.write_text(json.dumps(schema, separators=(",", ":")) + "\n")


def _tidied(schema: Any) -> Any:  # noqa: ANN401 - any part of a schema
    """Without texts and defaults; null stands for absent; unknown properties are refused."""
    if isinstance(schema, list):
        return [_tidied(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    choices = [part for part in schema.get("anyOf", []) if part != {"type": "null"}]
    if len(choices) == 1:
        return _tidied(choices[0])
    tidy = {
        key: {name: _tidied(part) for name, part in value.items()} if key == "properties" else _tidied(value)
        for key, value in schema.items()
        if key not in {"title", "description", "default", "examples"}
    }
    if "properties" in tidy:
        tidy.setdefault("additionalProperties", False)
    return tidy


def _used(schema: Schema, definitions: Schema) -> set[str]:
    """Names of the definitions that `schema` leads to."""
    found: set[str] = set()
    waiting = [json.dumps(schema)]
    while waiting:
        names = set(re.findall(r'"#/\$defs/([^"]+)"', waiting.pop())) - found
        found |= names
        waiting += [json.dumps(definitions[name]) for name in names]
    return found


def _kserve_types() -> dict[str, tuple[dict[str, str], dict[str, str]]]:
    """Properties of each of KServe's types that is used, with their types and their names in YAML."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", folder, KSERVE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            sources = [archive.read(name).decode() for name in archive.namelist() if "/models/v1" in name]
    types = {}
    for source in sources:
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef) and KSERVE_TYPES.search(node.name):
                values = {
                    target.id: ast.literal_eval(part.value)
                    for part in node.body
                    if isinstance(part, ast.Assign) and isinstance(target := part.targets[0], ast.Name)
                }
                types[node.name] = (values["openapi_types"], values["attribute_map"])
    return types


def _kserve_schema(types: dict[str, str], names: dict[str, str]) -> Schema:
    properties = {names[name]: schema for name, kind in types.items() if (schema := _kserve_property(kind)) is not None}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _kserve_property(kind: str) -> Schema | None:
    if kind in PLAIN:
        return {"type": PLAIN[kind]}
    if of_list := re.fullmatch(r"list\[(.+)\]", kind):
        items = _kserve_property(of_list[1])
        return None if items is None else {"type": "array", "items": items}
    if of_map := re.fullmatch(r"dict\(str, (.+)\)", kind):
        values = _kserve_property(of_map[1])
        return None if values is None else {"type": "object", "additionalProperties": values}
    if kind in {"ResourceQuantity", "IntOrString"}:
        return {"type": ["string", "integer", "number"]}
    if re.match("V1(alpha|beta)", kind):
        return {"$ref": f"#/$defs/{kind}"} if KSERVE_TYPES.search(kind) else None
    # Kubernetes' own types are where kubernetes-validate has them.
    name = kind.removeprefix("V1")
    if name != kind:
        return {"$ref": f"_definitions.json#/$defs/io.k8s.api.core.v1.{name}"}
    group = re.fullmatch(r"K8sIoApi(\w+?)(V\d)(\w+)", kind)
    if group:
        return {"$ref": f"_definitions.json#/$defs/io.k8s.api.{group[1].lower()}.{group[2].lower()}.{group[3]}"}
    return None


if __name__ == "__main__":
    main()
