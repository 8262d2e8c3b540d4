"""Principals, of which the proxy knows issuer and subject apart: patterns hold as they do for the joined text."""

from itertools import product
from typing import Any

import pytest

from skerry.api.decoding import decode
from skerry.api.istio_authorization_policy_v1 import AUTHORIZATION_POLICY
from skerry.gateway.authorization import policies_of
from skerry.gateway.decisions import PolicyReport, no, yes
from skerry.gateway.ir.access import AllOf, AnyOf, ClaimIs, Condition, Not, TextMatch
from skerry.gateway.policy_status import policy_status, refusals_of
from skerry.gateway.snapshot import LISTENER_TYPE
from skerry.gateway.xds_stream import Rejection

NOW = "2026-01-01T00:00:00Z"
ISSUERS = ("a", "a/b", "https://i.test/r", "")
SUBJECTS = ("c", "b/c", "x", "")


def policy(**source: Any) -> Any:
    document = {"metadata": {"name": "p", "namespace": "n"}, "spec": {"rules": [{"from": [{"source": source}]}]}}
    return decode(AUTHORIZATION_POLICY, document).object


def text_holds(text: TextMatch, value: str | None) -> bool:
    if value is None:
        return False
    match text.kind:
        case "exact":
            return value == text.value
        case "prefix":
            return value.startswith(text.value)
        case "suffix":
            return value.endswith(text.value)
    return bool(value)


def holds(condition: Condition, claims: dict[str, str]) -> bool:
    match condition:
        case AllOf(parts):
            return all(holds(part, claims) for part in parts)
        case AnyOf(parts):
            return any(holds(part, claims) for part in parts)
        case Not(part):
            return not holds(part, claims)
        case ClaimIs((name,), text):
            return text_holds(text, claims.get(name))
    raise AssertionError(condition)


@pytest.mark.parametrize("pattern", ["a/b/c", "a/*", "a/b*", "*/c", "*b/c", "https://i.test/r/x", "https*", "a/", "/c"])
def test_a_pattern_of_principals_holds_as_for_the_joined_text(pattern: str) -> None:
    [found] = policies_of(policy(requestPrincipals=[pattern]))
    for issuer, subject in product(filter(None, ISSUERS), filter(None, SUBJECTS)):
        joined = f"{issuer}/{subject}"
        expected = (
            joined.startswith(pattern[:-1])
            if pattern.endswith("*")
            else joined.endswith(pattern[1:])
            if pattern.startswith("*")
            else joined == pattern
        )
        assert holds(found.asker, {"iss": issuer, "sub": subject}) == expected, joined


def test_a_request_without_a_token_has_no_principal() -> None:
    [found] = policies_of(policy(requestPrincipals=["*"]))
    assert not holds(found.asker, {})
    [found] = policies_of(policy(notRequestPrincipals=["*"]))
    assert holds(found.asker, {})
    assert not holds(found.asker, {"iss": "a", "sub": "b"})


def test_nobody_has_an_identity_of_a_mesh() -> None:
    [found] = policies_of(policy(principals=["*"]))
    assert not holds(found.asker, {"iss": "a", "sub": "b"})
    [found] = policies_of(policy(notPrincipals=["*"], notNamespaces=["x"]))
    assert holds(found.asker, {})


def test_a_policy_is_ready_once_no_listener_of_its_gateways_is_refused() -> None:
    def ready(report: PolicyReport, *rejections: Rejection) -> tuple[str, str]:
        status = policy_status(policy(principals=["a"]), report, refusals_of(report, rejections), NOW)
        condition = (status.conditions or [])[-1]
        assert condition.type == "Ready"
        return condition.status, condition.reason

    report = PolicyReport(yes("Accepted"), {("n", "edge"): ("n/edge/127.0.0.1/80",)})
    refused = Rejection(LISTENER_TYPE, "n/edge/127.0.0.1/80", "v", "Envoy's own words")
    elsewhere = Rejection(LISTENER_TYPE, "n/other/127.0.0.1/81", "v", "Envoy's own words")
    assert ready(report, elsewhere) == ("True", "Ready")
    assert ready(report, refused) == ("False", "Invalid")
    nowhere = PolicyReport(no("Accepted", "TargetNotFound"), {}, no("Programmed", "NoMatchingGateway"))
    assert ready(nowhere) == ("False", "TargetNotFound")
