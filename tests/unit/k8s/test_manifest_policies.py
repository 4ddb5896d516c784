"""What Mien asks of its own manifests, beside their schemas."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

from flows.orchestration.work_pools import ACCOUNT, POD_LABELS
from flows.releases.workload import SYNC
from flows.settings import FlowSettings
from flows.traffic.pages import TrafficSettings
from loadtest.settings import LoadTestSettings
from mien.contract import ENSEMBLES
from mien.gateway.feedback.settings import FeedbackSettings
from mien.gateway.settings import GatewaySettings
from mien.settings import ClientSettings
from serving.probe import ProbeSettings
from serving.settings import ServingSettings, release_variable
from tests.unit.k8s.manifests import (
    K8S,
    NAME,
    NAMESPACE,
    Object,
    build,
    containers,
    named,
    pods,
    runs_on,
    selects,
    variables,
)

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

SETTINGS: tuple[type[BaseSettings], ...] = (
    ClientSettings,
    FeedbackSettings,
    FlowSettings,
    GatewaySettings,
    LoadTestSettings,
    ProbeSettings,
    ServingSettings,
    TrafficSettings,
)
# Parts of the cluster that are not Mien's, by the label that every namespace has.
OUTSIDE = {"kube-system", "monitoring", "traefik", "kserve"}


def settings_variables() -> set[str]:
    """Every variable that a settings class of Mien reads."""
    found = set()
    for kind in SETTINGS:
        for name, field in kind.model_fields.items():
            alias = field.validation_alias
            found.add(alias if isinstance(alias, str) else f"{kind.model_config['env_prefix']}{name}".upper())
    return found


def pod_labels(objects: list[Object]) -> list[dict[str, str]]:
    """Labels of every pod there will be: those of the manifests, and the runs of the work pool."""
    return [pod["metadata"]["labels"] for _, pod in pods(objects)] + [POD_LABELS]


def ports_of(objects: list[Object], selector: Object) -> dict[str, int]:
    """Port numbers by name of the pods that a selector selects."""
    return {
        port["name"]: port["containerPort"]
        for _, pod in pods(objects)
        if selects(selector, pod["metadata"]["labels"])
        for container in containers(pod)
        for port in container.get("ports", [])
    }


def test_every_container_has_limits_and_no_rights(objects: list[Object]) -> None:
    for where, pod in pods(objects):
        assert pod["spec"].get("automountServiceAccountToken") is ("prefect-worker" in where), where
        assert pod["spec"]["securityContext"]["runAsNonRoot"], where
        assert pod["spec"]["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, where
        for container in containers(pod):
            rights = container["securityContext"]
            assert rights["readOnlyRootFilesystem"], where
            assert not rights["allowPrivilegeEscalation"], where
            assert rights["capabilities"] == {"drop": ["ALL"]}, where
            for kind in ("requests", "limits"):
                assert {"cpu", "memory"} <= container["resources"][kind].keys(), (where, container["name"])


def test_whatever_runs_on_is_probed(objects: list[Object]) -> None:
    for where, pod in pods(objects):
        for container in containers(pod):
            if runs_on(container, pod) and not where.startswith("Job"):
                assert {"readinessProbe", "livenessProbe"} <= container.keys(), (where, container["name"])


def test_probes_ask_ports_that_the_pod_has(objects: list[Object]) -> None:
    for where, pod in pods(objects):
        ports = [port for container in containers(pod) for port in container.get("ports", [])]
        for container in containers(pod):
            own = {port["name"] for port in container.get("ports", [])}
            for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
                asked = container.get(kind, {}).get("httpGet") or container.get(kind, {}).get("tcpSocket")
                if asked:
                    port = asked["port"]
                    known = own if isinstance(port, str) else {port["containerPort"] for port in ports}
                    assert port in known, (where, container["name"], kind)


def test_triton_ends_after_its_requests_and_none_is_taken_before_another_is_there() -> None:
    triton = named(build("overlays/gpu"), "Deployment", "triton")
    assert triton["spec"]["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    pod = triton["spec"]["template"]["spec"]
    (server,) = pod["containers"]
    options = dict(part.removeprefix("--").split("=", 1) for part in server["args"] if "=" in part)
    assert (options["model-control-mode"], options["allow-http"]) == ("none", "false")
    assert server["lifecycle"]["preStop"]["httpGet"] == {"path": "/drain", "port": ProbeSettings().port}
    assert pod["terminationGracePeriodSeconds"] > ProbeSettings().drain_s + int(options["exit-timeout-secs"])
    connection_s = (int(options["grpc-max-connection-age"]) + int(options["grpc-max-connection-age-grace"])) / 1000
    assert ProbeSettings().drain_s > connection_s
    for kind in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert server[kind]["timeoutSeconds"] > ProbeSettings().deadline_s
    start = server["startupProbe"]
    assert start["periodSeconds"] * start["failureThreshold"] < triton["spec"]["progressDeadlineSeconds"]


@pytest.mark.parametrize("kind", ["Service", "PodDisruptionBudget", "NetworkPolicy"])
def test_every_selector_selects_pods(installed: list[Object], kind: str) -> None:
    labels = pod_labels(installed)
    found = [one for one in installed if one["kind"] == kind]
    assert found
    for one in found:
        selector = one["spec"].get("podSelector", one["spec"].get("selector"))
        selector = {"matchLabels": selector} if kind == "Service" else selector
        assert any(selects(selector, pod) for pod in labels), one["metadata"]["name"]


def test_what_makes_pods_selects_its_own(objects: list[Object]) -> None:
    for one in objects:
        if one["kind"] in {"Deployment", "StatefulSet"}:
            assert selects(one["spec"]["selector"], one["spec"]["template"]["metadata"]["labels"])


def test_services_lead_to_ports_that_there_are(installed: list[Object]) -> None:
    for one in installed:
        if one["kind"] == "Service":
            ports = ports_of(installed, {"matchLabels": one["spec"]["selector"]})
            for port in one["spec"]["ports"]:
                assert ports[port["targetPort"]] == port["port"], (one["metadata"]["name"], port)


def test_addresses_lead_to_services(installed: list[Object]) -> None:
    services = {one["metadata"]["name"]: one for one in installed if one["kind"] == "Service"}
    found = 0
    for where, pod in pods(installed):
        for container in containers(pod):
            for value in filter(None, variables(container).values()):
                for host, port in re.findall(r"(?:///?|@)([\w.-]+):(\d+)", value):
                    if host == "127.0.0.1" or host.rpartition(".")[2] in {"invalid", *OUTSIDE}:
                        continue
                    assert int(port) in {port["port"] for port in services[host]["spec"]["ports"]}, (where, value)
                    found += 1
    assert found


def test_ingresses_and_scalers_lead_to_what_there_is(objects: list[Object]) -> None:
    by_name = {(one["kind"], one["metadata"]["name"]): one for one in objects}
    for one in objects:
        if one["kind"] == "Ingress":
            for path in one["spec"]["rules"][0]["http"]["paths"]:
                service = by_name["Service", path["backend"]["service"]["name"]]
                assert path["backend"]["service"]["port"]["name"] in {port["name"] for port in service["spec"]["ports"]}
        if one["kind"] in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = by_name["Deployment", one["spec"]["scaleTargetRef"]["name"]]
            assert "replicas" not in target["spec"], "an apply would set what the scaler has changed"
        if one["kind"] == "StatefulSet":
            assert by_name["Service", one["spec"]["serviceName"]]


def test_monitors_look_at_services_and_ports_that_there_are(objects: list[Object]) -> None:
    for monitor in (one for one in objects if one["kind"] == "ServiceMonitor"):
        selector = monitor["spec"]["selector"]
        (service,) = [
            one for one in objects if one["kind"] == "Service" and selects(selector, one["metadata"].get("labels", {}))
        ]
        ports = {port["name"] for port in service["spec"]["ports"]}
        assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= ports


def test_network_policies_name_pods_and_ports_that_there_are(installed: list[Object]) -> None:
    labels = pod_labels(installed)
    for policy in (one for one in installed if one["kind"] == "NetworkPolicy"):
        where, spec = policy["metadata"]["name"], policy["spec"]
        for rule in spec.get("ingress", []):
            check_ports(rule, ports_of(installed, spec["podSelector"]), where)
            check_peers(rule["from"], labels, where)
        for rule in spec.get("egress", []):
            inside = [peer["podSelector"] for peer in rule.get("to", []) if peer.keys() == {"podSelector"}]
            for selector in inside:
                check_ports(rule, ports_of(installed, selector), where)
            check_peers(rule.get("to", []), labels, where)


def check_ports(rule: Object, ports: dict[str, int], where: str) -> None:
    for port in rule["ports"]:
        assert port["port"] in ports, (where, port)


def check_peers(peers: list[Object], labels: list[dict[str, str]], where: str) -> None:
    for peer in peers:
        if "namespaceSelector" in peer:
            assert peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] in OUTSIDE, where
        elif "ipBlock" in peer:
            assert peer["ipBlock"]["cidr"].startswith("169.254."), where
        else:
            assert any(selects(peer["podSelector"], pod) for pod in labels), (where, peer)


def test_triton_is_reached_by_the_gateway_prometheus_and_runs_alone() -> None:
    objects = build("overlays/gpu")
    spec = named(objects, "NetworkPolicy", "triton")["spec"]
    reached = {port["port"]: rule["from"] for rule in spec["ingress"] for port in rule["ports"]}
    # The runs ask for a release's golden faces.
    assert reached["grpc"] == [{"podSelector": {"matchLabels": {NAME: name}}} for name in ("gateway", "flow-run")]
    assert reached.keys() == {"grpc", "metrics"}
    nobody = named(objects, "NetworkPolicy", "default-deny")["spec"]
    assert nobody == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}


def test_variables_of_mien_are_settings_of_mien(objects: list[Object]) -> None:
    known = settings_variables()
    used = {name for _, pod in pods(objects) for container in containers(pod) for name in variables(container)}
    used |= {name for one in objects if one["kind"] == "ConfigMap" for name in one["data"]}
    assert any(name.startswith("MIEN_") for name in used)
    assert {name for name in used if name.startswith("MIEN_")} <= known


def test_images_are_pinned(objects: list[Object]) -> None:
    for where, pod in pods(objects):
        for container in containers(pod):
            assert re.search(r"@sha256:[0-9a-f]{64}$|:v?\d+\.\d+[\w.-]*$", container["image"]), (
                where,
                container["image"],
            )


def test_what_pods_refer_to_is_there_or_in_the_readme(installed: list[Object]) -> None:
    readme = (K8S / "README.md").read_text()
    made = {(one["kind"], one["metadata"]["name"]) for one in installed}
    by_cert_manager = {one["spec"]["secretName"] for one in installed if one["kind"] == "Certificate"}
    assert not {one["kind"] for one in installed} & {"Secret"}, (
        "secrets are made by hand, never from files of a repository"
    )
    for where, pod in pods(installed):
        text = json.dumps(pod["spec"])
        for secret in re.findall(
            r'"(?:secretKeyRef|secretRef)": \{[^}]*"name": "([^"]+)"|"secretName": "([^"]+)"', text
        ):
            name = "".join(secret)
            assert name in by_cert_manager or f"create secret generic {name}" in readme, (where, name)
        for name in re.findall(r'"configMap(?:Ref|KeyRef)": \{[^}]*"name": "([^"]+)"', text):
            assert ("ConfigMap", name) in made, (where, name)
        for name in re.findall(r'"claimName": "([^"]+)"', text):
            assert ("PersistentVolumeClaim", name) in made, (where, name)
        assert ("ServiceAccount", pod["spec"].get("serviceAccountName", ACCOUNT)) in made, where


def test_mounts_have_volumes_and_nothing_is_mounted_twice(objects: list[Object]) -> None:
    for where, pod in pods(objects):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        for one in objects:
            if one["kind"] == "StatefulSet" and one["spec"]["template"] is pod:
                volumes |= {claim["metadata"]["name"] for claim in one["spec"]["volumeClaimTemplates"]}
        used = {mount["name"] for container in containers(pod) for mount in container.get("volumeMounts", [])}
        assert used == volumes, where
        for container in containers(pod):
            paths = [mount["mountPath"] for mount in container.get("volumeMounts", [])]
            assert len(paths) == len(set(paths)), where


def test_roles_allow_nothing_by_a_star_and_no_secrets(objects: list[Object]) -> None:
    assert not {one["kind"] for one in objects} & {"ClusterRole", "ClusterRoleBinding"}
    for one in objects:
        if one["kind"] == "Role":
            text = json.dumps(one["rules"])
            assert "*" not in text
            assert "secrets" not in text


def test_everything_is_in_the_namespace(objects: list[Object]) -> None:
    for one in objects:
        assert one["kind"] == "Namespace" or one["metadata"]["namespace"] == NAMESPACE, one["metadata"]["name"]


def test_clients_and_server_agree_on_their_certificates() -> None:
    objects = build("overlays/tls")
    server, client = (named(objects, "Certificate", f"triton-{side}")["spec"] for side in ("server", "client"))
    assert (server["usages"], client["usages"]) == (["server auth"], ["client auth"])
    for where, pod in pods(objects):
        for container in containers(pod):
            told = variables(container)
            if told.get("MIEN_TLS_ROOT_CA"):
                host = told.get("MIEN_TLS_SERVER_NAME") or str(told["MIEN_ENDPOINTS"]).split("/")[-1].partition(":")[0]
                assert host in server["dnsNames"], where
    (triton,) = named(objects, "Deployment", "triton")["spec"]["template"]["spec"]["containers"]
    assert "--grpc-use-ssl-mutual=true" in triton["args"]


def test_a_canary_serves_another_release_than_the_predictor() -> None:
    releases = {
        where: [variables(container)[release_variable(ensemble)] for ensemble in ENSEMBLES]
        for where, pod in pods(build("overlays/kserve"))
        if where.startswith("InferenceService")
        for container in containers(pod)
        if container["name"] == "sync"
    }
    assert releases == {
        "InferenceService emotion": ["1", "1"],
        "InferenceService emotion candidate": ["current", "current"],
    }


def test_sync_and_probe_mean_the_same_ensembles(objects: list[Object]) -> None:
    told = {
        variables(container)["MIEN_ENSEMBLES"]
        for _, pod in pods(objects)
        for container in containers(pod)
        if container["name"] in (SYNC, "probe")
    }
    assert told <= {",".join(ensemble.name for ensemble in ENSEMBLES)}


def test_a_run_may_roll_out_the_release_that_it_made_and_no_more() -> None:
    objects = build("overlays/gpu")
    role = named(objects, "Role", "flow-run")
    assert role["rules"] == [
        {"apiGroups": ["apps"], "resources": ["deployments"], "resourceNames": ["triton"], "verbs": ["get", "patch"]}
    ]
    binding = named(objects, "RoleBinding", "flow-run")
    assert (binding["roleRef"]["name"], binding["subjects"][0]["name"]) == ("flow-run", ACCOUNT)
    pod = named(objects, "Deployment", FlowSettings().kubernetes_workload)["spec"]["template"]["spec"]
    (sync,) = [one for one in pod["initContainers"] if one["name"] == SYNC]
    assert {release_variable(ensemble) for ensemble in ENSEMBLES} <= {variable["name"] for variable in sync["env"]}
