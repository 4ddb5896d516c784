"""A fake of Kubernetes' API, as far as a rollout needs it: no API server installs wherever these tests run.

It speaks real HTTP with the real client, keeps one Deployment, and does what the Deployment's controller does to the
replicas of `tests.replicas`, which are real. What it cannot show: rights, and that the API takes the patch as it does.
"""

from __future__ import annotations

import json
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Self

from tests.replicas import NotReadyError

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.replicas import Cluster

PATH = "/apis/apps/v1/namespaces/mien/deployments/triton"


class FakeKubernetes:
    """Serves the Deployment of a cluster's pods; every change of its release is rolled out.

    Args:
        cluster: with its first pods.
        release: what they serve of the cluster's ensemble.
    """

    def __init__(self, cluster: Cluster, release: int) -> None:
        self.reasons: list[str] = []
        self._cluster = cluster
        self._release = str(release)
        self._generation = self._observed = 1
        self._stuck = ""
        self._replicas = len(cluster.pods)
        self._updates: list[threading.Thread] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for update in self._updates:
            update.join()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def write_kubeconfig(self, path: Path) -> None:
        """Write what KUBECONFIG names."""
        named = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self._server.server_address[1]}"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "nobody"}}
        user = {"name": "nobody", "user": {}}
        content = {"clusters": [named], "contexts": [context], "users": [user], "current-context": "fake"}
        path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config", **content}))

    def deployment(self) -> dict[str, Any]:
        """As the API tells it."""
        new = sum(str(pod.release) == self._release for pod in self._cluster.pods)
        stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": self._stuck}
        return {
            "metadata": {"name": "triton", "namespace": "mien", "generation": self._generation},
            "spec": {
                "replicas": self._replicas,
                "selector": {},
                "template": {
                    "spec": {
                        "containers": [{"name": "triton"}],
                        "initContainers": [
                            {"name": "sync", "env": [{"name": self._cluster.variable, "value": self._release}]}
                        ],
                    }
                },
            },
            "status": {
                "observedGeneration": self._observed,
                "replicas": len(self._cluster.pods),
                "updatedReplicas": new,
                "availableReplicas": len(self._cluster.pods),
                "terminatingReplicas": self._cluster.ending,
                "conditions": [stuck] if self._stuck else [],
            },
        }

    def patch(self, body: dict[str, Any]) -> None:
        """Take a strategic merge patch of the release."""
        (sync,) = body["spec"]["template"]["spec"]["initContainers"]
        assert (sync["name"], sync["env"][0]["name"]) == ("sync", self._cluster.variable)
        self.reasons.append(body["metadata"]["annotations"]["kubernetes.io/change-cause"])
        self._release = sync["env"][0]["value"]
        self._generation += 1
        before = self._updates[-1:]
        update = threading.Thread(target=self._update, args=(int(self._release), self._generation, before))
        self._updates.append(update)
        update.start()

    def _update(self, release: int, generation: int, before: list[threading.Thread]) -> None:
        for update in before:
            update.join()
        self._stuck, self._observed = "", generation
        try:
            self._cluster.roll_out(release)
        except NotReadyError as error:
            self._stuck = str(error).splitlines()[0]


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, kubernetes: FakeKubernetes, *arguments: Any) -> None:  # noqa: ANN401 - passed on
        self._kubernetes = kubernetes
        super().__init__(*arguments)

    def do_GET(self) -> None:
        self._answer()

    def do_PATCH(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Content-Type"] == "application/strategic-merge-patch+json":
            self._kubernetes.patch(body)
            self._answer()
        else:
            self.send_error(415)

    def _answer(self) -> None:
        if self.path != PATH:
            self.send_error(403)
            return
        content = json.dumps(self._kubernetes.deployment()).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Nobody reads it."""
