"""WasmPlugin: defaults, every rejection and warning of Istio's two layers, the pull policy, the table."""

from typing import Any

import pytest

from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.istio_extensions_v1alpha1 import (
    PULL_INTERVAL_ANNOTATION,
    WASM_PLUGIN,
    WasmPlugin,
    code_source,
    pull_interval_seconds,
    pull_trigger,
    pulls_always,
)
from skerry.api.model import to_document

URL = "registry.example/a:v1"
DIGEST = "ab" * 32


def plugin(metadata: dict[str, Any] | None = None, **spec: Any) -> WasmPlugin:
    document = {"metadata": {"name": "x", **(metadata or {})}, "spec": {"url": URL, **spec}}
    obj = decode(WASM_PLUGIN, document).object
    complete(WASM_PLUGIN, obj, None)
    return obj


def errors_of(metadata: dict[str, Any] | None = None, **spec: Any) -> list[str]:
    with pytest.raises(Invalid) as raised:
        plugin(metadata, **spec)
    return [f"{cause['field']}: {cause['message']}" for cause in raised.value.details["causes"]]


def target(kind: str, group: str = "", **more: Any) -> dict[str, Any]:
    return {"group": group, "kind": kind, "name": "t", **more}


def env(*variables: dict[str, Any]) -> dict[str, Any]:
    return {"vmConfig": {"env": list(variables)}}


def test_a_plugin_of_an_url_alone_gets_the_defaults_of_the_document() -> None:
    assert to_document(plugin())["spec"] == {
        "url": URL,
        "sha256": "",
        "imagePullPolicy": "UNSPECIFIED_POLICY",
        "phase": "UNSPECIFIED_PHASE",
        "priority": 0,
        "failStrategy": "FAIL_CLOSE",
        "type": "UNSPECIFIED_PLUGIN_TYPE",
    }


def test_every_field_of_the_documents_is_accepted() -> None:
    spec: dict[str, Any] = {
        "url": f"oci://registry.example/a@sha256:{DIGEST}",
        "sha256": DIGEST,
        "targetRefs": [
            target("Gateway", "gateway.networking.k8s.io"),
            target("GatewayClass", "gateway.networking.k8s.io"),
            target("Service"),
            target("Service", "core"),
            target("ServiceEntry", "networking.istio.io", namespace=""),
        ],
        "imagePullPolicy": "IfNotPresent",
        "imagePullSecret": "pull",
        "verificationKey": "-----BEGIN PUBLIC KEY-----",
        "pluginConfig": {"a": [1, {"b": "c"}]},
        "pluginName": "root",
        "phase": "AUTHN",
        "priority": -5,
        "failStrategy": "FAIL_RELOAD",
        "vmConfig": {"env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": "HOST"}]},
        "match": [{"mode": "CLIENT", "ports": [{"number": 80}, {"number": 443}]}],
        "type": "NETWORK",
    }
    assert to_document(plugin(**spec))["spec"].items() >= {k: spec[k] for k in ("pluginConfig", "match")}.items()
    assert plugin(selector={"matchLabels": {"app": "edge"}})
    assert plugin(targetRef=target("Gateway", "gateway.networking.k8s.io"))


@pytest.mark.parametrize(
    ("spec", "errors"),
    [
        ({"url": ""}, ["spec.url: Invalid value"]),
        ({"url": "ftp://a/b"}, ['spec.url: Invalid value: "ftp://a/b": scheme ftp is not supported']),
        ({"sha256": "ab"}, ["spec.sha256: Invalid value"]),
        ({"sha256": "AB" * 32}, ["spec.sha256: Invalid value"]),
        ({"sha256": "xy" * 32}, ["spec.sha256: Invalid value"]),
        ({"url": f"a.example/b@sha256:{DIGEST}", "sha256": "cd" * 32}, ["spec.sha256: Invalid value"]),
        ({"imagePullPolicy": "Never"}, ['spec.imagePullPolicy: Unsupported value: "Never"']),
        ({"imagePullSecret": ""}, ["spec.imagePullSecret: Invalid value"]),
        ({"imagePullSecret": "s" * 254}, ["spec.imagePullSecret: Too long"]),
        ({"pluginName": ""}, ["spec.pluginName: Invalid value"]),
        ({"pluginName": "n" * 257}, ["spec.pluginName: Too long"]),
        ({"pluginConfig": "text"}, ['spec.pluginConfig: Invalid value: "string"']),
        ({"phase": "FIRST"}, ['spec.phase: Unsupported value: "FIRST"']),
        ({"priority": 2**31}, ["spec.priority: Invalid value: 2147483648"]),
        ({"failStrategy": "FAIL"}, ['spec.failStrategy: Unsupported value: "FAIL"']),
        ({"type": "TCP"}, ['spec.type: Unsupported value: "TCP"']),
        ({"verificationKey": "k" * 20000}, ["spec.verificationKey: Too long"]),
        ({"selector": {"matchLabels": {"": "a"}}}, ["spec.selector.matchLabels: Invalid value"]),
        ({"selector": {"matchLabels": {"a*": "a"}}}, ["spec.selector.matchLabels: Invalid value"]),
        ({"selector": {"matchLabels": {"a": "*"}}}, ["spec.selector.matchLabels: Invalid value"]),
        ({"selector": {"matchLabels": {"a": "v" * 64}}}, ["spec.selector.matchLabels.a: Too long"]),
        (
            {"selector": {"matchLabels": {f"l{n}": "" for n in range(4097)}}},
            ["spec.selector.matchLabels: Too many: 4097"],
        ),
        ({"targetRefs": [target("Service")] * 17}, ["spec.targetRefs: Too many: 17"]),
        ({"targetRefs": [target("Pod")]}, ['spec.targetRefs[0]: Unsupported value: "core/Pod"']),
        ({"targetRefs": [target("Gateway", "other.example")]}, ["spec.targetRefs[0]: Unsupported value"]),
        ({"targetRefs": [target("Service", namespace="a")]}, ["spec.targetRefs[0].namespace: Invalid value"]),
        ({"targetRefs": [{"kind": "Service"}]}, ["spec.targetRefs[0].name: Required value"]),
        ({"targetRefs": [{"name": "a"}]}, ["spec.targetRefs[0].kind: Required value"]),
        ({"targetRefs": [target("Service", name="n" * 254)]}, ["spec.targetRefs[0].name: Too long"]),
        ({"targetRef": target("Service", name="")}, ["spec.targetRef.name: Invalid value"]),
        ({"selector": {}, "targetRefs": []}, ["spec: Forbidden: only one of targetRefs or selector can be set"]),
        ({"targetRef": target("Service"), "targetRefs": [target("Service")]}, ["spec: Forbidden: only one of"]),
        (env({"name": ""}), ["spec.vmConfig.env[0].name: Invalid value"]),
        (env({"name": "n" * 257}), ["spec.vmConfig.env[0].name: Too long"]),
        (env({"name": "A=B"}), ["spec.vmConfig.env[0].name: Invalid value"]),
        (env({"name": "A", "value": "v" * 2049}), ["spec.vmConfig.env[0].value: Too long"]),
        (env({"name": "A"}, {"name": "A"}), ['spec.vmConfig.env[1].name: Duplicate value: "A"']),
        (env({"name": "A", "valueFrom": "HOST", "value": ""}), ["spec.vmConfig.env[0].value: Invalid value"]),
        (env({"name": "ISTIO_META_X"}), ["spec.vmConfig.env[0].name: Forbidden"]),
        (env(*({"name": f"N{n}"} for n in range(257))), ["spec.vmConfig.env: Too many: 257"]),
        ({"match": [{}] * 257}, ["spec.match: Too many: 257"]),
        ({"match": [None]}, ["spec.match[0]: Invalid value"]),
        ({"match": [{"ports": [None]}]}, ["spec.match[0].ports[0]: Invalid value"]),
        ({"match": [{"mode": "BOTH"}]}, ['spec.match[0].mode: Unsupported value: "BOTH"']),
        ({"match": [{"ports": [{}]}]}, ["spec.match[0].ports[0].number: Required value"]),
        ({"match": [{"ports": [{"number": 0}]}]}, ["spec.match[0].ports[0].number: Invalid value: 0"]),
        ({"match": [{"ports": [{"number": 65536}]}]}, ["spec.match[0].ports[0].number: Invalid value: 65536"]),
        ({"match": [{"ports": [{"number": 8}] * 2}]}, ["spec.match[0].ports[1].number: Duplicate value: 8"]),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_path(spec: dict[str, Any], errors: list[str]) -> None:
    found = errors_of(**spec)
    assert len(found) == len(errors)
    assert all(said.startswith(error) for said, error in zip(found, errors, strict=True)), found


def test_a_priority_of_null_is_none_given() -> None:
    assert plugin(priority=None).spec.priority == 0


def test_all_broken_fields_are_told_at_once() -> None:
    spec: dict[str, Any] = {"url": "ftp://a", "sha256": "x", "phase": "FIRST", "priority": "high", "pluginName": ""}
    broken = errors_of(**spec, targetRefs=[{"kind": "Service", "name": "t", "namespace": "other"}])
    paths = ["targetRefs[0].namespace", "url", "sha256", "pluginName", "phase", "priority"]
    assert [error.split(":")[0] for error in broken] == [f"spec.{path}" for path in paths]


def test_all_broken_relations_are_told_at_once() -> None:
    broken = errors_of(
        {"annotations": {PULL_INTERVAL_ANNOTATION: "often"}},
        url=f"a.example/b@sha256:{DIGEST}",
        sha256="cd" * 32,
        selector={},
        targetRefs=[target("Pod")],
        match=[{"ports": [{"number": 8}, {"number": 8}]}],
        **env({"name": "A"}, {"name": "A", "valueFrom": "HOST", "value": "b"}),
    )
    assert [error.split(": ")[0] for error in broken] == [
        "spec",
        "spec.targetRefs[0]",
        "spec.sha256",
        "spec.vmConfig.env[1].value",
        "spec.vmConfig.env[1].name",
        "spec.match[0].ports[1].number",
        f"metadata.annotations[{PULL_INTERVAL_ANNOTATION}]",
    ]


def test_a_missing_url_is_required() -> None:
    with pytest.raises(Invalid, match="spec.url: Required value"):
        decode(WASM_PLUGIN, {"metadata": {"name": "x"}, "spec": {}})


@pytest.mark.parametrize("interval", ["9s", "721h", "0", "soon"])
def test_a_pull_interval_outside_of_its_bounds_is_refused(interval: str) -> None:
    assert len(errors_of({"annotations": {PULL_INTERVAL_ANNOTATION: interval}})) == 1


def test_a_selector_without_labels_is_warned_of() -> None:
    (warning,) = WASM_PLUGIN.warnings(plugin(selector={}))
    assert warning.startswith("spec.selector")
    assert not list(WASM_PLUGIN.warnings(plugin(selector={"matchLabels": {"a": "b"}})))


def test_a_pull_interval_without_effect_is_warned_of() -> None:
    annotated = {"annotations": {PULL_INTERVAL_ANNOTATION: "1m"}}
    (warning,) = WASM_PLUGIN.warnings(plugin(annotated))
    assert PULL_INTERVAL_ANNOTATION in warning
    assert pull_interval_seconds(plugin(annotated)) is None
    assert not list(WASM_PLUGIN.warnings(plugin(annotated, imagePullPolicy="Always")))
    assert pull_interval_seconds(plugin(annotated, imagePullPolicy="Always")) == 60


@pytest.mark.parametrize(
    ("url", "policy", "always"),
    [
        ("a.example/b:v1", "UNSPECIFIED_POLICY", False),
        ("a.example/b:latest", "UNSPECIFIED_POLICY", True),
        ("a.example/b", "UNSPECIFIED_POLICY", True),
        ("a.example/b:latest", "IfNotPresent", False),
        ("a.example/b:v1", "Always", True),
        (f"a.example/b:latest@sha256:{DIGEST}", "Always", False),
        ("https://a.example/b.wasm", "UNSPECIFIED_POLICY", False),
        ("https://a.example/b.wasm", "Always", True),
        ("file:///b.wasm", "IfNotPresent", True),
    ],
)
def test_the_pull_policy_means_what_the_document_says(url: str, policy: str, *, always: bool) -> None:
    assert pulls_always(plugin(url=url, imagePullPolicy=policy).spec) is always


def test_a_sha256_pins_the_code_whatever_the_policy() -> None:
    assert not pulls_always(plugin(sha256=DIGEST, imagePullPolicy="Always").spec)


def test_the_source_of_code_follows_from_what_decides_the_code_and_nothing_else() -> None:
    same = [plugin(), plugin(url=f"oci://{URL}"), plugin(priority=3, pluginConfig={"a": 1}, imagePullPolicy="Always")]
    others = [
        plugin(url="b.example/a:v1"),
        plugin(sha256=DIGEST),
        plugin(imagePullSecret="s"),
        plugin(verificationKey="k"),
    ]
    assert len({code_source(one) for one in same}) == 1
    assert len({code_source(one) for one in [plugin(), *others]}) == 5


def test_a_change_of_metadata_or_spec_triggers_a_pull_and_a_change_of_status_does_not() -> None:
    one, other = plugin(), plugin()
    other.status.observed_generation = 4
    assert pull_trigger(one) == pull_trigger(other)
    assert pull_trigger(plugin({"annotations": {"a": "b"}})) != pull_trigger(one)
    other.metadata.generation = 2
    assert pull_trigger(other) != pull_trigger(one)


def test_the_table_shows_phase_priority_source_readiness_and_gateways() -> None:
    document = to_document(plugin(phase="STATS", priority=7))
    document["status"] = {
        "conditions": [{"type": "Ready", "status": "True"}],
        "gateways": [{"programmed": "True"}, {"programmed": "Unknown"}],
        "code": {"digest": "sha256:aa"},
    }
    assert [column.name for column in WASM_PLUGIN.columns] == [
        "Phase",
        "Priority",
        "Source",
        "Ready",
        "Gateways",
        "Digest",
    ]
    assert [column.value(document) for column in WASM_PLUGIN.columns] == ["STATS", 7, URL, "True", "1/2", "sha256:aa"]
    assert [column.value({}) for column in WASM_PLUGIN.columns] == [None] * 6


@pytest.mark.parametrize("digest", ["", DIGEST, f"sha256:{DIGEST[1:]}", f"sha512:{DIGEST}", f"sha256:{DIGEST}\n"])
def test_the_digest_of_code_is_one_or_the_status_is_refused(digest: str) -> None:
    code = {"digest": digest, "sizeBytes": 1, "url": "u", "source": "s", "pulledFor": "p"}
    code["resolvedAt"] = "2030-01-31T12:00:00Z"
    document = {"metadata": {"name": "x"}, "spec": {"url": URL}, "status": {"code": code}}
    with pytest.raises(Invalid) as raised:
        decode(WASM_PLUGIN, document)
    assert [cause["field"] for cause in raised.value.details["causes"]] == ["status.code.digest"]
    decode(WASM_PLUGIN, {**document, "status": {"code": {**code, "digest": f"sha256:{DIGEST}"}}})
