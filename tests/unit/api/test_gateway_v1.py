"""The Gateway API kinds, Backend and DirectResponse: defaults, rules and columns."""

from typing import Any

import pytest

from skerry.api.apoxy_core_v1alpha2 import BACKEND
from skerry.api.apoxy_extensions_direct_response import DIRECT_RESPONSE
from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.gateway_http_route_v1 import HTTP_ROUTE
from skerry.api.gateway_v1 import (
    GATEWAY,
    GATEWAY_CLASS,
    NODE_SELECTOR_ANNOTATION,
    node_selector_of,
    selects_nodes,
)
from skerry.api.kinds import Kind
from skerry.api.model import from_document, to_document


def finish(kind: Kind[Any], spec: dict[str, Any], old: Any = None) -> Any:
    obj = decode(kind, {"metadata": {"name": "x"}, "spec": spec}).object
    complete(kind, obj, old)
    return obj


def errors_of(kind: Kind[Any], spec: dict[str, Any], old: Any = None) -> list[str]:
    with pytest.raises(Invalid) as raised:
        finish(kind, spec, old)
    return [f"{cause['field']}: {cause['message']}" for cause in raised.value.details["causes"]]


def gateway(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    base = {"name": "http", "port": 80, "protocol": "HTTP"}
    return {"gatewayClassName": "skerry", "listeners": [base | listener for listener in listeners], **more}


def rule(**fields: Any) -> dict[str, Any]:
    return {"rules": [fields]}


def test_a_listener_gets_the_defaults_of_the_gateway_api() -> None:
    listener = to_document(finish(GATEWAY, gateway({})))["spec"]["listeners"][0]
    assert listener == {
        "name": "http",
        "port": 80,
        "protocol": "HTTP",
        "allowedRoutes": {"namespaces": {"from": "Same"}},
    }


def test_an_empty_route_matches_every_request() -> None:
    spec = to_document(finish(HTTP_ROUTE, {}))["spec"]
    assert spec == {"rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}]}


def test_references_get_their_default_group_kind_and_weight() -> None:
    spec = {"parentRefs": [{"name": "g"}], "rules": [{"backendRefs": [{"name": "b", "port": 80}]}]}
    done = to_document(finish(HTTP_ROUTE, spec))["spec"]
    assert done["parentRefs"] == [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "g"}]
    assert done["rules"][0]["backendRefs"] == [{"group": "", "kind": "Service", "name": "b", "port": 80, "weight": 1}]


@pytest.mark.parametrize("kind", [GATEWAY, GATEWAY_CLASS], ids=lambda kind: kind.kind)
def test_a_new_object_says_that_no_controller_has_seen_it(kind: Kind[Any]) -> None:
    spec = gateway({}) if kind is GATEWAY else {"controllerName": "skerry.dev/gateway-controller"}
    obj = finish(kind, spec)
    kind.prepare_create(obj)
    assert {c.reason for c in obj.status.conditions} == {"Pending"}
    assert from_document(kind.model, to_document(obj)) == obj


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (gateway({}, {}), 'spec.listeners[1].name: Duplicate value: "http"'),
        (gateway({}, {"name": "b"}), "spec.listeners[1]: Invalid value: Combination of port, protocol and hostname"),
        (gateway({"tls": {"options": {"a": "b"}}}), "spec.listeners[0].tls: Invalid value: tls must not be specified"),
        (
            gateway({"protocol": "HTTPS", "tls": {"mode": "Passthrough"}}),
            "spec.listeners[0].tls.mode: Invalid value: tls mode must be Terminate for protocol HTTPS",
        ),
        (gateway({"protocol": "HTTPS", "tls": {}}), "spec.listeners[0].tls: Required value: certificateRefs or"),
        (
            gateway({"protocol": "TCP", "hostname": "a.b"}),
            "spec.listeners[0].hostname: Invalid value: hostname must not",
        ),
        (gateway({}, addresses=[{"value": "nowhere"}]), "spec.addresses[0].value: Invalid value: must be a valid IP"),
        (
            gateway({}, addresses=[{"value": "127.0.0.1"}] * 2),
            'spec.addresses[1].value: Duplicate value: "127.0.0.1"',
        ),
        (gateway({"hostname": "UPPER"}), "spec.listeners[0].hostname: Invalid value: should match"),
        (gateway({"port": 0}), "spec.listeners[0].port: Invalid value: should be greater than or equal to 1"),
        (gateway(), "spec.listeners: Invalid value"),
    ],
)
def test_a_wrong_gateway_is_refused(spec: dict[str, Any], expected: str) -> None:
    assert expected in _without_values(errors_of(GATEWAY, spec), expected)


def _without_values(errors: list[str], expected: str) -> str:
    """Drop the quoted value where the expectation leaves it out."""
    if "Invalid value: " not in expected:
        return "\n".join(errors)
    cut = []
    for error in errors:
        head, mark, tail = error.partition("Invalid value: ")
        cut.append(head + mark + tail.split(": ", 1)[-1])
    return "\n".join(cut) + "\n" + "\n".join(errors)


PREFIX = {"path": {"type": "PathPrefix", "value": "/a"}}
EXACT = {"path": {"type": "Exact", "value": "/a"}}
REDIRECT = {"type": "RequestRedirect", "requestRedirect": {"port": 8080}}
REWRITE = {
    "type": "URLRewrite",
    "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/b"}},
}
BACKEND_REF = {"name": "b", "port": 80}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (rule(matches=[{"path": {"value": "a"}}]), "spec.rules[0].matches[0].path.value: Invalid value: value must be"),
        (rule(matches=[{"path": {"value": "/a//b"}}]), "must not contain '//'"),
        (rule(matches=[{"path": {"value": "/a/.."}}]), "must not end with '/..'"),
        (rule(matches=[{"path": {"value": "/ä"}}]), "must only contain valid characters"),
        (
            rule(matches=[{"headers": [{"name": "A", "value": "1"}, {"name": "a", "value": "2"}]}]),
            'spec.rules[0].matches[0].headers[1].name: Duplicate value: "a"',
        ),
        (rule(filters=[{"type": "URLRewrite"}]), "spec.rules[0].filters[0].urlRewrite: Required value"),
        (rule(filters=[{**REDIRECT, "type": "ExtensionRef"}]), "spec.rules[0].filters[0].requestRedirect: Forbidden"),
        (rule(filters=[REDIRECT, REDIRECT]), "RequestRedirect filter cannot be repeated"),
        (rule(filters=[REDIRECT, REWRITE], matches=[PREFIX]), "but not both"),
        (rule(filters=[REDIRECT], backendRefs=[BACKEND_REF]), "must not be used together with backendRefs"),
        (rule(filters=[REWRITE], matches=[EXACT]), "exactly one PathPrefix match must be specified"),
        (rule(filters=[REWRITE], matches=[PREFIX, PREFIX]), "exactly one PathPrefix match must be specified"),
        (rule(backendRefs=[{"name": "b"}]), "spec.rules[0].backendRefs[0].port: Required value: Must have port for"),
        (rule(timeouts={"request": "1s", "backendRequest": "2s"}), "cannot be longer than request timeout"),
        (rule(timeouts={"request": "1 second"}), "spec.rules[0].timeouts.request: Invalid value: should match"),
        ({"rules": [{"name": "a"}, {"name": "a"}]}, "spec.rules[1].name: Invalid value: Rule name must be unique"),
        ({"rules": [{"matches": [PREFIX] * 64}] * 3}, "must be at most 128"),
        ({"parentRefs": [{"name": "g"}, {"name": "g"}]}, "sectionName or port must be specified"),
        (
            {"parentRefs": [{"name": "g", "sectionName": "a"}, {"name": "g", "sectionName": "a"}]},
            "sectionName or port must be unique",
        ),
        ({"hostnames": ["10.0.0.1"]}, "spec.hostnames[0]: Invalid value: must not be an IP address"),
        (rule(matches=[{"method": "get"}]), 'spec.rules[0].matches[0].method: Unsupported value: "get"'),
        (
            rule(filters=[{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["a", "A"]}}]),
            'spec.rules[0].filters[0].requestHeaderModifier.remove[1]: Duplicate value: "A"',
        ),
    ],
)
def test_a_wrong_route_is_refused(spec: dict[str, Any], expected: str) -> None:
    assert expected in _without_values(errors_of(HTTP_ROUTE, spec), expected)


def test_every_error_of_a_route_is_told_at_once() -> None:
    spec = rule(matches=[{"path": {"value": "a"}}], backendRefs=[{"name": "b"}], filters=[REDIRECT, REDIRECT])
    assert len(errors_of(HTTP_ROUTE, spec)) == 4


def test_a_class_keeps_its_controller() -> None:
    old = finish(GATEWAY_CLASS, {"controllerName": "a.example/x"})
    assert "Value is immutable" in errors_of(GATEWAY_CLASS, {"controllerName": "a.example/y"}, old)[0]


def test_a_backend_protocol_is_lower_cased() -> None:
    assert finish(BACKEND, {"endpoints": [{"ip": "10.0.0.1"}], "protocol": "H2C"}).spec.protocol == "h2c"


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({}, "spec.endpoints: Required value"),
        ({"endpoints": [{}]}, "spec.endpoints[0]: Required value"),
        ({"endpoints": [{"ip": "10.0.0.1", "fqdn": "a.b"}]}, "spec.endpoints[0]: Forbidden"),
        ({"endpoints": [{"ip": "10.0.0"}]}, "spec.endpoints[0].ip: Invalid value"),
        ({"endpoints": [{"fqdn": "a b"}]}, "spec.endpoints[0].fqdn: Invalid value"),
        ({"endpoints": [{"ip": "::1"}], "protocol": "gopher"}, "spec.protocol: Unsupported value"),
        ({"dynamicProxy": {"dnsCacheConfig": {"hostTTL": "soon"}}}, "dnsCacheConfig.hostTTL: Invalid value"),
    ],
)
def test_a_wrong_backend_is_refused(spec: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(errors_of(BACKEND, spec))


def test_a_dynamic_proxy_needs_no_endpoint() -> None:
    finish(BACKEND, {"dynamicProxy": {}})


def test_a_direct_response_is_an_empty_text_by_default() -> None:
    spec = to_document(finish(DIRECT_RESPONSE, {}))["spec"]
    assert spec == {"statusCode": 200, "contentType": "text/plain"}


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"statusCode": 99}, "spec.statusCode: Invalid value"),
        ({"body": {"inline": "x" * 4097}}, "spec.body.inline: Too long: may not be more than 4096 bytes"),
        ({"headers": [{"name": "Content-Type", "value": "a/b"}]}, "spec.headers[0].name: Forbidden"),
        ({"headers": [{"name": "x", "value": "a"}, {"name": "X", "value": "b"}]}, "spec.headers[1].name: Duplicate"),
        ({"headers": [{"name": "x", "value": "a\r\nb: c"}]}, "spec.headers[0].value: Invalid value"),
    ],
)
def test_a_wrong_direct_response_is_refused(spec: dict[str, Any], expected: str) -> None:
    assert expected in "\n".join(errors_of(DIRECT_RESPONSE, spec))


def test_columns_are_those_of_upstream() -> None:
    assert [c.name for c in GATEWAY_CLASS.columns] == ["Controller", "Accepted", "Description"]
    assert [c.name for c in GATEWAY.columns] == ["Class", "Address", "Programmed"]
    assert [c.name for c in HTTP_ROUTE.columns] == ["Hostnames"]
    assert GATEWAY_CLASS.columns[2].priority == 1


def test_hostnames_are_shown_as_a_crd_shows_a_list() -> None:
    [column] = HTTP_ROUTE.columns
    assert column.value({"spec": {"hostnames": ["a.test", "b.test"]}}) == '["a.test","b.test"]'
    assert column.value({"spec": {}}) is None


@pytest.mark.parametrize("selector", ["", "site in lyon", "-x=1", "site=" + "x" * 64])
def test_a_node_selector_that_is_none_is_refused_by_its_annotation(selector: str) -> None:
    document = {"metadata": {"name": "x", "annotations": {NODE_SELECTOR_ANNOTATION: selector}}, "spec": gateway({})}
    with pytest.raises(Invalid) as raised:
        complete(GATEWAY, decode(GATEWAY, document).object, None)
    (cause,) = raised.value.details["causes"]
    assert cause["field"] == f"metadata.annotations[{NODE_SELECTOR_ANNOTATION}]"


def test_a_gateway_says_by_the_labels_of_nodes_where_it_runs() -> None:
    annotations = {NODE_SELECTOR_ANNOTATION: "site in (lyon, nice), !old"}
    there = decode(GATEWAY, {"metadata": {"name": "x", "annotations": annotations}, "spec": gateway({})}).object
    selector = node_selector_of(there)
    assert selector is not None
    assert selects_nodes(there)
    assert selector.matches({"site": "lyon"})
    assert not selector.matches({"site": "lyon", "old": "1"})
    assert node_selector_of(finish(GATEWAY, gateway({}))) is None
