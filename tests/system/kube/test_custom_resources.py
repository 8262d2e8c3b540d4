"""Definitions and their objects with the real kubectl: everything that a kind of our own can do."""

import json
from pathlib import Path
from typing import Any

import pytest

from skerry.testing.skerry_process import SkerryProcess

NAME = "crd/certificates.tls.example.com"


@pytest.fixture(scope="module")
def example(repository: Path) -> Path:
    return repository / "examples" / "custom-resource"


@pytest.fixture(autouse=True)
def certificates(skerry: SkerryProcess, example: Path) -> None:
    """The definition, established; each test uses names of its own."""
    skerry.kubectl("apply", "-f", str(example / "definition.yaml"))
    skerry.kubectl("wait", "--for=condition=Established", NAME, "--timeout=30s")


def certificate(name: str, **spec: Any) -> str:
    whole = {"secretName": "s", "commonName": "c", "issuerRef": {"name": "ca"}, **spec}
    return json.dumps(
        {"apiVersion": "tls.example.com/v1", "kind": "Certificate", "metadata": {"name": name}, "spec": whole}
    )


def test_an_object_is_applied_completed_printed_and_found(skerry: SkerryProcess, example: Path):
    assert "created" in skerry.kubectl("apply", "-f", str(example / "certificate.yaml"))
    first = json.loads(skerry.kubectl("get", "cert", "shop", "-o", "json"))
    skerry.kubectl("apply", "-f", str(example / "certificate.yaml"))
    assert json.loads(skerry.kubectl("get", "cert", "shop", "-o", "json")) == first
    spec = first["spec"]
    assert spec["privateKey"] == {"algorithm": "RSA", "encoding": "PKCS1"}
    assert [port["protocol"] for port in spec["endpoints"]] == ["TCP", "TCP"]
    heading, row = skerry.kubectl("get", "certs", "shop", "-o", "wide").splitlines()
    assert heading.split() == ["NAME", "READY", "SECRET", "ISSUER", "REPLICAS", "AGE"]
    assert row.split()[:4] == ["shop", "shop-tls", "house-ca", "1"]
    assert "certificate.tls.example.com/shop" in skerry.kubectl("get", "tls", "-o", "name")
    assert "certificate.tls.example.com/shop" in skerry.kubectl(
        "get", "certs", "-o", "name", "--field-selector=spec.issuerRef.name=house-ca"
    )


def test_status_is_written_apart_and_waited_for(skerry: SkerryProcess):
    skerry.kubectl("apply", "-f", "-", stdin=certificate("watched"))
    status = json.dumps({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    skerry.kubectl("patch", "cert", "watched", "--type=merge", "-p", status)
    assert "True" not in skerry.kubectl("get", "cert", "watched")
    skerry.kubectl("patch", "cert", "watched", "--subresource=status", "--type=merge", "-p", status)
    skerry.kubectl("wait", "--for=condition=Ready", "cert/watched", "--timeout=10s")
    assert "True" in skerry.kubectl("get", "cert", "watched")


def test_every_broken_rule_is_told_at_once(skerry: SkerryProcess):
    wrong = certificate("Bad_", replicas=99, usages=["x"], privateKey={"size": "x"}, hooks=[{}])
    told = skerry.kubectl("create", "-f", "-", stdin=wrong, fails=True)
    for path in ("metadata.name", "spec.replicas", "spec.usages[0]", "spec.privateKey.size", "spec.hooks[0]"):
        assert f"* {path}: " in told
    told = skerry.kubectl("create", "-f", "-", stdin=certificate("bad", privateKey={"size": 1024}), fails=True)
    assert "spec.privateKey.size: Invalid value: " in told
    assert "an RSA key has 2048, 4096 or 8192 bits" in told
    skerry.kubectl("create", "-f", "-", stdin=certificate("fixed"))
    change = json.dumps({"spec": {"secretName": "other"}})
    told = skerry.kubectl("patch", "cert", "fixed", "--type=merge", "-p", change, fails=True)
    assert "secretName can't be changed" in told


def test_unknown_fields_are_refused_or_told_and_dropped(skerry: SkerryProcess):
    unknown = certificate("pruned", bogus=1)
    assert 'unknown field "spec.bogus"' in skerry.kubectl("apply", "-f", "-", stdin=unknown, fails=True)
    assert 'Warning: unknown field "spec.bogus"' in skerry.kubectl("apply", "--validate=warn", "-f", "-", stdin=unknown)
    assert "bogus" not in skerry.kubectl("get", "cert", "pruned", "-o", "jsonpath={.spec}")


def test_server_side_apply_merges_lists_by_the_keys_of_the_schema(skerry: SkerryProcess):
    one = certificate("shared", endpoints=[{"port": 443, "name": "a"}])
    other = {"apiVersion": "tls.example.com/v1", "kind": "Certificate", "metadata": {"name": "shared"}}
    skerry.kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=one)
    added = json.dumps({**other, "spec": {"endpoints": [{"port": 8443, "name": "b"}]}})
    skerry.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=added)
    names = "jsonpath={.spec.endpoints[*].name}"
    assert skerry.kubectl("get", "cert", "shared", "-o", names) == "a b"
    clash = json.dumps({**other, "spec": {"endpoints": [{"port": 443, "protocol": "TCP", "name": "mine"}]}})
    told = skerry.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=clash, fails=True)
    assert 'conflict with "one": .spec.endpoints[port=443,protocol="TCP"].name' in told
    skerry.kubectl("apply", "--server-side", "--field-manager=other", "-f", "-", stdin=json.dumps(other))
    assert skerry.kubectl("get", "cert", "shared", "-o", names) == "a"


def test_kubectl_explains_scales_and_edits(skerry: SkerryProcess):
    assert "ordered from an issuer" in skerry.kubectl("explain", "cert")
    assert "enum: RSA, ECDSA, Ed25519" in skerry.kubectl("explain", "cert.spec.privateKey")
    skerry.kubectl("create", "-f", "-", stdin=certificate("scaled"))
    skerry.kubectl("scale", "cert/scaled", "--replicas=3")
    assert skerry.kubectl("get", "cert", "scaled", "-o", "jsonpath={.spec.replicas}") == "3"
    assert "less than or equal to 10" in skerry.kubectl("scale", "cert/scaled", "--replicas=11", fails=True)
    skerry.kubectl("annotate", "cert", "scaled", "a=b")
    assert skerry.kubectl("get", "cert", "scaled", "-o", "jsonpath={.metadata.generation}") == "2"


def test_versions_show_the_same_objects(skerry: SkerryProcess):
    old = certificate("old").replace("tls.example.com/v1", "tls.example.com/v1beta1")
    assert "v1beta1 Certificate is deprecated, use v1" in skerry.kubectl("create", "-f", "-", stdin=old)
    for version in ("v1", "v1beta1"):
        shown = json.loads(skerry.kubectl("get", f"certificates.{version}.tls.example.com", "old", "-o", "json"))
        assert shown["apiVersion"] == f"tls.example.com/{version}"
    assert "unchanged" in skerry.kubectl("apply", "-f", "-", stdin=certificate("old")).replace(
        "configured", "unchanged"
    )


def test_a_namespace_takes_its_custom_objects_with_it(skerry: SkerryProcess):
    skerry.kubectl("create", "namespace", "team")
    skerry.kubectl("create", "-n", "team", "-f", "-", stdin=certificate("inside"))
    skerry.kubectl("delete", "namespace", "team", "--timeout=30s")
    assert "inside" not in skerry.kubectl("get", "certs", "-A")


def test_custom_objects_are_collected_with_their_owners(skerry: SkerryProcess):
    skerry.kubectl("create", "configmap", "owner")
    uid = skerry.kubectl("get", "cm", "owner", "-o", "jsonpath={.metadata.uid}")
    owned = json.loads(certificate("owned"))
    owned["metadata"]["ownerReferences"] = [{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}]
    skerry.kubectl("create", "-f", "-", stdin=json.dumps(owned))
    skerry.kubectl("delete", "configmap", "owner")
    skerry.kubectl("wait", "--for=delete", "cert/owned", "--timeout=30s")


def test_a_definition_ends_with_its_objects_and_says_what_holds_it(skerry: SkerryProcess):
    held = json.loads(certificate("held"))
    held["metadata"]["finalizers"] = ["example.com/hold"]
    skerry.kubectl("create", "-f", "-", stdin=json.dumps(held))
    skerry.kubectl("delete", NAME, "--wait=false")
    skerry.kubectl("wait", "--for=condition=Terminating", NAME, "--timeout=30s")
    conditions = skerry.kubectl("get", NAME, "-o", "jsonpath={.status.conditions}")
    assert "1 objects remain, held by the finalizers example.com/hold in 1" in conditions
    told = skerry.kubectl("create", "-f", "-", stdin=certificate("late"), fails=True)
    assert "create not allowed while custom resource definition is terminating" in told
    skerry.kubectl("patch", "cert", "held", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    skerry.kubectl("wait", "--for=delete", NAME, "--timeout=30s")
    assert "the server could not find the requested resource" in skerry.kubectl("get", "cert", fails=True)


def test_our_own_kinds_are_listed_and_can_not_be_changed(skerry: SkerryProcess):
    name = "edgefunctions.extensions.apoxy.dev"
    shown = json.loads(skerry.kubectl("get", "crd", name, "-o", "json"))
    [version] = shown["spec"]["versions"]
    assert version["schema"]["openAPIV3Schema"]["properties"]["spec"]["type"] == "object"
    assert {c["type"]: c["status"] for c in shown["status"]["conditions"]} == {
        "NamesAccepted": "True", "Established": "True",
    }  # fmt: skip
    for command in (("delete", "crd", name), ("label", "crd", name, "a=b"), ("annotate", "crd", name, "a=b")):
        assert "it describes a kind that is built into Skerry" in skerry.kubectl(*command, fails=True)
