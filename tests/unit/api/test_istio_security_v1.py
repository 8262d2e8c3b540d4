"""RequestAuthentication and AuthorizationPolicy: defaults, every rejection with its path, warnings."""

import json
from typing import Any

import pytest

from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY, claim_of, header_of
from skerry.api.istio_request_authentication_v1 import REQUEST_AUTHENTICATION, parse_uri
from skerry.api.kinds import Kind
from skerry.api.model import to_document

JWKS = json.dumps({"keys": [{"kty": "RSA", "n": f"{'x' * 170}E", "e": "AQAB"}]})


def made(kind: Kind[Any], **spec: Any) -> Any:
    obj = decode(kind, {"metadata": {"name": "x"}, "spec": spec}).object
    complete(kind, obj, None)
    return obj


def errors_of(kind: Kind[Any], **spec: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        made(kind, **spec)
    return {cause["field"]: cause["message"] for cause in raised.value.details["causes"]}


def of_rule(**rule: Any) -> dict[str, str]:
    return errors_of(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i", "jwks": JWKS, **rule}])


def of_source(**source: Any) -> dict[str, str]:
    return errors_of(AUTHORIZATION_POLICY, rules=[{"from": [{"source": source}]}])


def of_operation(**operation: Any) -> dict[str, str]:
    return errors_of(AUTHORIZATION_POLICY, rules=[{"to": [{"operation": operation}]}])


def of_condition(**condition: Any) -> dict[str, str]:
    return errors_of(AUTHORIZATION_POLICY, rules=[{"when": [condition]}])


def test_defaults_are_istios() -> None:
    rule = made(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i", "jwks": JWKS}])
    assert to_document(rule)["spec"]["jwtRules"] == [
        {"issuer": "i", "jwks": JWKS, "forwardOriginalToken": False, "timeout": "5s"}
    ]
    assert to_document(made(AUTHORIZATION_POLICY))["spec"] == {"action": "ALLOW"}


def test_a_token_rule_needs_an_issuer_and_one_source_of_public_keys() -> None:
    assert set(errors_of(REQUEST_AUTHENTICATION, jwtRules=[{"jwks": JWKS}])) == {"spec.jwtRules[0].issuer"}
    neither = errors_of(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i"}])
    assert "one of jwks and jwksUri" in neither["spec.jwtRules[0]"]
    assert set(of_rule(jwksUri="https://a.test/k")) == {"spec.jwtRules[0].jwksUri"}


@pytest.mark.parametrize("jwks", ["", "{", "[]", "{}", '{"keys": []}', '{"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}'])
def test_inline_keys_must_be_a_set_of_public_keys(jwks: str) -> None:
    assert set(of_rule(jwks=jwks)) == {"spec.jwtRules[0].jwks"}


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "keys",
        "ftp://a.test/",
        "https://",
        "https://a.test:0/",
        "https://u:p@a.test/",
        "http://a\n.test/",
        "http://a.test/\n",
        "http://a.test/ b",
    ],
)
def test_keys_are_fetched_over_http_or_https_only(uri: str) -> None:
    assert set(errors_of(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i", "jwksUri": uri}])) == {
        "spec.jwtRules[0].jwksUri"
    }


def test_an_url_of_keys_names_host_and_port() -> None:
    assert parse_uri("https://a.test/keys") == ("https", "a.test", 443)
    assert parse_uri("http://127.0.0.1:81/") == ("http", "127.0.0.1", 81)


def test_headers_and_times_of_a_token_rule_are_bounded() -> None:
    assert set(of_rule(fromHeaders=[{"name": "a b"}])) == {"spec.jwtRules[0].fromHeaders[0].name"}
    assert set(of_rule(fromHeaders=[{"name": "a", "prefix": "b\r"}])) == {"spec.jwtRules[0].fromHeaders[0].prefix"}
    assert set(of_rule(timeout="2h")) == {"spec.jwtRules[0].timeout"}
    claims = [{"header": "Host", "claim": "sub"}]
    assert set(of_rule(outputClaimToHeaders=claims)) == {"spec.jwtRules[0].outputClaimToHeaders[0].header"}


@pytest.mark.parametrize("kind", [REQUEST_AUTHENTICATION, AUTHORIZATION_POLICY], ids=lambda kind: kind.kind)
def test_policies_are_attached_as_plugins_are(kind: Kind[Any]) -> None:
    errors = errors_of(kind, selector={}, targetRefs=[{"kind": "Pod", "name": "x"}])
    assert set(errors) == {"spec", "spec.targetRefs[0]"}


def test_custom_is_refused_with_a_way_out() -> None:
    errors = errors_of(AUTHORIZATION_POLICY, action="CUSTOM", provider={"name": "opa"})
    assert "WasmPlugin" in errors["spec.action"]
    assert set(errors_of(AUTHORIZATION_POLICY, provider={"name": "opa"})) == {"spec.provider"}


def test_what_would_match_nothing_is_refused() -> None:
    assert set(of_source()) == {"spec.rules[0].from[0].source"}
    assert set(of_operation()) == {"spec.rules[0].to[0].operation"}
    assert set(of_source(notRemoteIpBlocks=["fe80::1%eth0"])) == {"spec.rules[0].from[0].source.notRemoteIpBlocks[0]"}
    assert set(of_source(ipBlocks=["10.0.0.0/33"])) == {"spec.rules[0].from[0].source.ipBlocks[0]"}
    assert set(of_source(requestPrincipals=["/" * 40])) == {"spec.rules[0].from[0].source.requestPrincipals[0]"}
    assert set(of_operation(ports=["0"])) == {"spec.rules[0].to[0].operation.ports[0]"}
    assert set(of_operation(paths=[])) == {"spec.rules[0].to[0].operation.paths"}
    for path in ("/a*b", "*a*", "/a/{*}", "/{**}/b"):
        assert set(of_operation(paths=[path])) == {"spec.rules[0].to[0].operation.paths[0]"}


def test_conditions_are_checked_by_their_keys() -> None:
    where = "spec.rules[0].when[0]"
    assert "request.headers[NAME]" in of_condition(key="request.header[a]", values=["x"])[f"{where}.key"]
    assert set(of_condition(key="source.ip")) == {where}
    assert set(of_condition(key="source.ip", values=["10.0.0.1", "x"])) == {f"{where}.values[1]"}
    assert set(of_condition(key="destination.port", notValues=["http"])) == {f"{where}.notValues[0]"}
    assert (header_of("request.headers[X-A]"), header_of("request.auth.claims[a]")) == ("x-a", None)
    assert (claim_of("request.auth.claims[a][b.c]"), claim_of("request.auth.claims[]")) == (("a", "b.c"), None)


def test_warnings_tell_what_has_no_effect_here() -> None:
    def warnings(kind: Kind[Any], **spec: Any) -> list[str]:
        assert kind.warnings is not None
        return list(kind.warnings(made(kind, **spec)))

    assert "every request is denied" in warnings(AUTHORIZATION_POLICY)[0]
    assert "no effect" in warnings(AUTHORIZATION_POLICY, action="DENY")[0]
    rule = {"from": [{"source": {"principals": ["a"]}}], "when": [{"key": "source.namespace", "values": ["n"]}]}
    places = [text.partition(":")[0] for text in warnings(AUTHORIZATION_POLICY, rules=[rule])]
    assert places == ["spec.rules[0].from[0].source", "spec.rules[0].when[0].key"]
    assert warnings(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i", "jwks": JWKS}]) == []
    assert "over http" in warnings(REQUEST_AUTHENTICATION, jwtRules=[{"issuer": "i", "jwksUri": "http://a.test"}])[0]
