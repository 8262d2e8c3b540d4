"""deploy/kubernetes: rendered by kubectl, and held against the types of Kubernetes' own client.

A dry run would need a server that knows Deployments, which Skerry's is not.
"""

import re
import subprocess
from functools import cache
from typing import Any

import kubernetes.client
import pytest
import yaml

from skerry.server.health import PATHS
from skerry.testing.deployed import DEPLOY, require_command, require_settings

TYPES = {
    "Namespace": "V1Namespace",
    "ServiceAccount": "V1ServiceAccount",
    "Service": "V1Service",
    "Deployment": "V1Deployment",
    "PodDisruptionBudget": "V1PodDisruptionBudget",
}
_SCALARS = {"str": str, "int": int, "bool": bool}


@cache
def rendered() -> dict[str, Any]:
    """Return the manifests as `kubectl apply -k` would send them, by kind."""
    command = ["kubectl", "kustomize", str(DEPLOY / "kubernetes")]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {document["kind"]: document for document in yaml.safe_load_all(text)}


def pod() -> dict[str, Any]:
    spec: dict[str, Any] = rendered()["Deployment"]["spec"]["template"]["spec"]
    return spec


def require_type(value: Any, kind: str, path: str) -> None:
    """Insist that a value is of a type of Kubernetes: no unknown field, none that is required is missing."""
    if match := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        assert isinstance(value, list), path
        for number, item in enumerate(value):
            require_type(item, match[1], f"{path}[{number}]")
    elif match := re.fullmatch(r"(?:dict\(|Dict\[)str, (.*)[)\]]", kind):
        assert isinstance(value, dict), path
        for key, item in value.items():
            require_type(item, match[1], f"{path}.{key}")
    elif kind in _SCALARS:
        assert type(value) is _SCALARS[kind], f"{path}: {value!r} is no {kind}"
    elif kind != "object":
        model = getattr(kubernetes.client, kind)
        names = {written: name for name, written in model.attribute_map.items()}
        assert value.keys() <= names.keys(), f"{path}: unknown {sorted(value.keys() - names.keys())}"
        for key, item in value.items():
            require_type(item, model.openapi_types[names[key]], f"{path}.{key}")
        model(**{names[key]: item for key, item in value.items()})  # raises where a required field is missing


@pytest.mark.parametrize("kind", sorted(TYPES))
def test_a_manifest_is_of_its_type(kind: str):
    require_type(rendered()[kind], TYPES[kind], kind)


def test_a_field_that_kubernetes_does_not_know_is_found():
    with pytest.raises(AssertionError, match="spec: unknown"):
        require_type({"spec": {"replica": 3}}, "V1Deployment", "Deployment")


def test_replicas_start_with_options_and_settings_that_they_know():
    [container] = pod()["containers"]
    require_command(container["args"])
    require_settings({item["name"]: item["value"] for item in container["env"] if "value" in item})
    secrets = [item["name"] for item in container["env"] if "valueFrom" in item]
    assert secrets == ["SKERRY_DATABASE"]


def test_probes_ask_what_skerry_answers():
    [container] = pod()["containers"]
    probes = {name: container[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {probe["path"] for probe in probes.values()} <= PATHS
    assert probes["readinessProbe"]["path"] == "/readyz"
    ports = {port["name"] for port in container["ports"]}
    assert {probe["port"] for probe in probes.values()} <= ports
    assert {port["targetPort"] for port in rendered()["Service"]["spec"]["ports"]} <= ports


def test_service_and_budget_choose_the_pods_of_the_deployment():
    labels = rendered()["Deployment"]["spec"]["template"]["metadata"]["labels"].items()
    assert rendered()["Service"]["spec"]["selector"].items() <= labels
    assert rendered()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"].items() <= labels
    assert {document["metadata"].get("namespace", "skerry") for document in rendered().values()} == {"skerry"}


def test_the_certificate_names_the_service():
    [container] = pod()["containers"]
    [names] = [item["value"].split(",") for item in container["env"] if item["name"] == "SKERRY_API_NAMES"]
    service = rendered()["Service"]["metadata"]
    assert f"{service['name']}.{service['namespace']}.svc" in names


def test_every_mount_has_its_volume():
    volumes = {volume["name"] for volume in pod()["volumes"]}
    for container in (*pod()["initContainers"], *pod()["containers"]):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
