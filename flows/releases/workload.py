"""The Deployment that serves releases on Kubernetes: which release its pods fetch, and whether they have come."""

from __future__ import annotations

import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from flows.errors import RolloutError
from serving.settings import release_variable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flows.settings import FlowSettings
    from mien.contract import EnsembleSpec

SYNC = "sync"
REASON = "kubernetes.io/change-cause"
"""What `kubectl rollout history` shows of each rollout."""

_POLL_S = 1.0


class Workload:
    """One Deployment, reached with the pod's service account or as kubectl would reach it.

    Every method raises RolloutError if Kubernetes cannot be reached or does not allow it.

    Args:
        settings: name it and its namespace.
        ensemble: whose release is meant.
    """

    def __init__(self, settings: FlowSettings, ensemble: EnsembleSpec) -> None:
        from kubernetes import client, config  # only here: it takes a second

        self._name, self._namespace = settings.kubernetes_workload, settings.kubernetes_namespace
        self._variable = release_variable(ensemble)
        self._timeout_s = settings.rollout_timeout_s
        with self._errors():
            # The package itself looks at the variable only once, when it is imported.
            if files := os.environ.get("KUBECONFIG"):
                config.load_kube_config(files)
            else:
                config.load_config()
            self._api: Any = client.AppsV1Api()

    def __str__(self) -> str:
        return f"deployment {self._namespace}/{self._name}"

    def release(self) -> str:
        """What its pods fetch: a number, or ``current``."""
        for container in self._read().spec.template.spec.init_containers or ():
            for variable in container.env or ():
                if (container.name, variable.name) == (SYNC, self._variable) and variable.value:
                    return str(variable.value)
        raise RolloutError(
            f"The {self} has no init container {SYNC} with {self._variable}: it is not that of k8s/base."
        )

    def set_release(self, release: str, reason: str) -> None:
        """Have new pods fetch `release`; Kubernetes replaces the old ones by them, one by one."""
        template = {
            "metadata": {"annotations": {REASON: reason}},
            "spec": {"initContainers": [{"name": SYNC, "env": [{"name": self._variable, "value": release}]}]},
        }
        body = {"metadata": {"annotations": {REASON: reason}}, "spec": {"template": template}}
        with self._errors():
            self._api.patch_namespaced_deployment(self._name, self._namespace, body)

    def wait(self) -> None:
        """Return once every pod is one of the present rollout and ready.

        Old pods that drain are waited for where Kubernetes tells of them, as it does from 1.35 on.

        Raises:
            RolloutError: that took too long, or Kubernetes has given up.
        """
        end = time.monotonic() + self._timeout_s
        while what := self._missing():
            if time.monotonic() > end:
                raise RolloutError(f"The {self} was not rolled out in {self._timeout_s:g} s: {what}. {self._advice}")
            time.sleep(_POLL_S)

    def _missing(self) -> str:
        deployment = self._read()
        status, wanted = deployment.status, deployment.spec.replicas or 0
        if (status.observed_generation or 0) < deployment.metadata.generation:
            return "Kubernetes has not begun"
        for condition in status.conditions or ():
            if condition.type == "Progressing" and condition.reason == "ProgressDeadlineExceeded":
                raise RolloutError(f"The {self} does not come up: {condition.message} {self._advice}")
        new = min(status.updated_replicas or 0, status.available_replicas or 0)
        if new < wanted:
            return f"{new} of {wanted} new pods are ready"
        old = (status.replicas or 0) - (status.updated_replicas or 0) + (status.terminating_replicas or 0)
        return f"{old} old pods are still there" if old > 0 else ""

    @property
    def _advice(self) -> str:
        selector = f"app.kubernetes.io/name={self._name}"
        return f"`kubectl -n {self._namespace} logs -l {selector} --all-containers` tells why."

    def _read(self) -> Any:  # noqa: ANN401 - the client has no types
        with self._errors():
            return self._api.read_namespaced_deployment(self._name, self._namespace)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        from kubernetes.client import ApiException
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        try:
            yield
        except ApiException as error:
            raise RolloutError(
                f"Kubernetes refused a call about the {self}: {error.status} {error.reason}. Look at MIEN_KUBERNETES_…"
                " and at the role of the service account."
            ) from error
        except (ConfigException, HTTPError) as error:
            raise RolloutError(
                f"Kubernetes cannot be reached: {error}. Run this in a pod, or where kubectl works."
            ) from error
