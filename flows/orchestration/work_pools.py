"""Where flows run: as processes of one machine, or as jobs of a Kubernetes cluster."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectNotFound

STATE_FOLDER = "/var/lib/mien"
"""Where a job finds the state folder."""

POD_LABELS = {"app.kubernetes.io/name": "flow-run", "app.kubernetes.io/part-of": "mien"}
"""What the network policies in k8s/base know a job's pod by."""

SITE = "mien-site"
"""The ConfigMap in k8s/base that says where this cluster has its releases."""

ACCOUNT = "flow-run"
"""The jobs' service account: it may roll out a release, and the cloud may give it a role for the bucket."""

CLIENT_TLS = "triton-client-tls"
"""The Secret with a client's certificate, where Triton wants one; mounted at /etc/mien/tls."""

STORE_KEYS = "mien-store"
"""The Secret with the bucket's keys; a cluster that gives its pods a role has none."""


def process_pool(name: str) -> None:
    """A pool whose worker starts a process on its own machine for each run."""
    _put_in_place(name, "process", _default_template("prefect", "process"))


def kubernetes_pool(name: str) -> None:
    """A pool whose worker starts a job in the worker's cluster for each run."""
    _put_in_place(name, "kubernetes", kubernetes_template(_default_template("prefect-kubernetes", "kubernetes")))


def kubernetes_template(default: dict[str, Any]) -> dict[str, Any]:
    """Prefect's own template of a job, with GPUs, a volume for the state, and no more rights than a retraining needs.

    Args:
        default: ``job_configuration`` and ``variables``, as Prefect's server gives them.
    """
    template = deepcopy(default)
    properties = template["variables"]["properties"]
    properties["gpus"] = {"title": "GPUs", "description": "Of one job.", "type": "integer", "default": 1}
    # Without requests a job would be the first that a full node ends.
    for name, amount in {"cpu_request": "2", "memory_request": "8Gi", "memory_limit": "8Gi"}.items():
        properties[name]["default"] = amount
    properties["service_account_name"]["default"] = ACCOUNT
    properties["finished_job_ttl"]["default"] = 86_400  # a day for whoever wants its log from Kubernetes
    properties["state_claim"] = {
        "title": "State claim",
        "description": f"Persistent volume claim mounted at {STATE_FOLDER}: datasets, runs, releases.",
        "type": "string",
        "default": "mien-state",
    }
    job = template["job_configuration"]["job_manifest"]["spec"]
    job["template"].setdefault("metadata", {}).setdefault("labels", {}).update(POD_LABELS)
    pod = job["template"]["spec"]
    for field in ("parallelism", "completions"):  # Prefect has the job's own fields in its pod, which has none such
        if field in pod:
            job[field] = pod.pop(field)
    pod["automountServiceAccountToken"] = True  # for the rollout at a retraining's end
    pod["securityContext"] = {
        "runAsNonRoot": True,
        "runAsUser": 1000,
        "fsGroup": 1000,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    pod["volumes"] = [
        {"name": "state", "persistentVolumeClaim": {"claimName": "{{ state_claim }}"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "client-tls", "secret": {"secretName": CLIENT_TLS, "optional": True}},
    ]
    (container,) = pod["containers"]
    container["resources"]["limits"]["nvidia.com/gpu"] = "{{ gpus }}"
    # Nodes with GPUs are usually closed to whatever does not say this.
    pod["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    container["envFrom"] = [
        {"configMapRef": {"name": SITE, "optional": True}},
        {"secretRef": {"name": STORE_KEYS, "optional": True}},
    ]
    container["securityContext"] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    container["volumeMounts"] = [
        {"name": "state", "mountPath": STATE_FOLDER},
        {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108 - the job's own, empty at its start
        {"name": "client-tls", "mountPath": "/etc/mien/tls", "readOnly": True},
    ]
    return template


def _default_template(package: str, kind: str) -> dict[str, Any]:
    with get_client(sync_client=True) as client:
        template: dict[str, Any] = client.read_worker_metadata()[package][kind]["default_base_job_configuration"]
    return template


def _put_in_place(name: str, kind: str, template: dict[str, Any]) -> None:
    with get_client(sync_client=True) as client:
        try:
            client.read_work_pool(name)
        except ObjectNotFound:
            client.create_work_pool(WorkPoolCreate(name=name, type=kind, base_job_template=template))
        else:
            client.update_work_pool(name, WorkPoolUpdate(base_job_template=template))
