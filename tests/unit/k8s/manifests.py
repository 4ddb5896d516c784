"""What `kubectl kustomize` makes of k8s/, as objects."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import yaml

from tests.conftest import ROOT, skip_or_fail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

K8S = ROOT / "k8s"
BUILDS = (*sorted(f"overlays/{folder.name}" for folder in (K8S / "overlays").iterdir()), "loadtest")
NAMESPACE = "mien"
NAME = "app.kubernetes.io/name"
OLDEST_KUSTOMIZE = (5, 0)

Object = dict[str, Any]


def build(folder: str | Path) -> list[Object]:
    """Objects of a folder with a kustomization: a name below k8s/, or a path."""
    return list(yaml.safe_load_all(rendered(K8S / folder)))


@functools.cache
def rendered(folder: Path) -> str:
    """The YAML that would be applied."""
    done = subprocess.run([kubectl(), "kustomize", str(folder)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@functools.cache
def kubectl() -> str:
    """The command, new enough for components and replacements; else the test is skipped, and in CI it fails."""
    path = shutil.which("kubectl")
    if path is None:
        skip_or_fail("kubectl is not on the path. Install 1.27 or newer: https://kubernetes.io/docs/tasks/tools/")
    told = subprocess.run([path, "version", "--client"], capture_output=True, text=True, check=False).stdout  # type: ignore[list-item]
    found = re.search(r"Kustomize Version: v(\d+)\.(\d+)", told)
    if not found or (int(found[1]), int(found[2])) < OLDEST_KUSTOMIZE:
        skip_or_fail(
            f"{path} tells {found[0] if found else 'no version of Kustomize'}."
            " Install kubectl 1.27 or newer (Debian's kubernetes-client is 1.20): https://kubernetes.io/docs/tasks/tools/"
        )
    return str(path)


def readme_example(folder: Path) -> Path:
    """The README's kustomization, in a folder where its paths lead to this checkout."""
    (text,) = re.findall(r"```yaml\n(.*?)```", (K8S / "README.md").read_text(), re.DOTALL)
    (folder / "mien").symlink_to(ROOT)
    (folder / "my-cluster").mkdir()
    (folder / "my-cluster" / "kustomization.yaml").write_text(text)
    return folder / "my-cluster"


def named(objects: list[Object], kind: str, name: str) -> Object:
    """The one object of that kind and name."""
    (found,) = [one for one in objects if one["kind"] == kind and one["metadata"]["name"] == name]
    return found


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Name of what makes pods, and the pod: metadata and spec."""
    for one in objects:
        where = f"{one['kind']} {one['metadata']['name']}"
        if one["kind"] in {"Deployment", "StatefulSet", "Job", "DaemonSet"}:
            yield where, one["spec"]["template"]
        elif one["kind"] == "InferenceService":
            # The server is in the runtime; KServe adds it to the predictor, and to what the canary says otherwise.
            runtime = named(objects, "ServingRuntime", one["spec"]["predictor"]["model"]["runtime"])
            predictors = [one["spec"]["predictor"], *(canary["predictor"] for canary in one["spec"].get("canary", []))]
            for predictor in predictors:
                spec = predictors[0] | predictor | {"containers": runtime["spec"]["containers"]}
                yield (
                    f"{where} {predictor.get('name', '')}".strip(),
                    {"metadata": {"labels": spec["labels"]}, "spec": spec},
                )


def containers(pod: Object) -> list[Object]:
    """All containers of a pod, those that run before it included."""
    return [*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]]


def runs_on(container: Object, pod: Object) -> bool:
    """Whether a container runs as long as its pod does: no step before it."""
    return container in pod["spec"]["containers"] or container.get("restartPolicy") == "Always"


def variables(container: Object) -> dict[str, str | None]:
    """Environment variables by name; those from a Secret have no value."""
    return {one["name"]: one.get("value") for one in container.get("env", [])}


def selects(selector: Object, labels: dict[str, str]) -> bool:
    """Whether a label selector selects these labels."""
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", [])
    )
