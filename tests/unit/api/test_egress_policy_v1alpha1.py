"""EgressPolicy: every rejection with its path, all at once; which functions a policy is about."""

from typing import Any

import pytest

from skerry.api.decoding import complete, decode
from skerry.api.egress_policy_v1alpha1 import EGRESS_POLICY, EgressPolicy
from skerry.api.errors import Invalid
from skerry.api.extensions_v1alpha2 import EdgeFunction
from skerry.api.model import ObjectMeta, to_document


def made(**spec: Any) -> EgressPolicy:
    policy = decode(EGRESS_POLICY, {"metadata": {"name": "x"}, "spec": spec}).object
    complete(EGRESS_POLICY, policy, None)
    return policy


def errors_of(**spec: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as raised:
        made(**spec)
    return {cause["field"]: cause["message"] for cause in raised.value.details["causes"]}


def test_public_destinations_are_allowed_by_default():
    assert to_document(made())["spec"] == {"defaultAction": "Allow"}


def test_everything_that_is_wrong_is_told_at_once():
    found = errors_of(
        selector={"matchExpressions": [{"key": "a", "operator": "In"}]},
        allow=[
            {},
            {"cidrs": ["10.0.0.0/8", "10.0.0.1/8", "a"], "ports": [0, 443, 65536]},
            {"hosts": ["Db.internal", "*.example.com", "a.*.com", "*", "10.0.0.1", "a b"]},
        ],
        deny=[{}],
    )
    assert set(found) == {
        "spec.allow[1].cidrs[1]", "spec.allow[1].cidrs[2]", "spec.allow[1].ports[0]", "spec.allow[1].ports[2]",
        "spec.allow[2].hosts[0]", "spec.allow[2].hosts[2]", "spec.allow[2].hosts[3]", "spec.allow[2].hosts[4]",
        "spec.allow[2].hosts[5]",
    }  # fmt: skip
    assert "has host bits set" in found["spec.allow[1].cidrs[1]"]
    assert "addresses stand in cidrs" in found["spec.allow[2].hosts[4]"]


def test_what_a_single_field_cannot_tell_is_told_at_once_too():
    selector = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    many = [{"ports": list(range(1, 502))}, {"ports": list(range(1, 501))}]
    found = errors_of(selector=selector, allow=[{}], deny=many)
    assert set(found) == {"spec.selector.matchExpressions[0].values", "spec.allow[0]", "spec"}
    assert "at least one of cidrs, hosts and ports" in found["spec.allow[0]"]
    assert "at most 1000" in found["spec"]


def test_an_unknown_action_is_refused_with_those_that_there_are():
    assert "Allow" in errors_of(defaultAction="Sometimes")["spec.defaultAction"]


@pytest.mark.parametrize(
    ("spec", "selected"),
    [
        ({}, ["a", "b"]),
        ({"functions": ["b", "c"]}, ["b"]),
        ({"functions": []}, []),
        ({"selector": {"matchLabels": {"team": "red"}}}, ["a"]),
        ({"selector": {}}, ["a", "b"]),
        ({"selector": {"matchLabels": {"team": "red"}}, "functions": ["b"]}, ["a", "b"]),
    ],
)
def test_a_policy_is_about_what_its_labels_or_names_select_and_about_all_without_them(
    spec: dict[str, Any], selected: list[str]
):
    functions = [
        EdgeFunction.model_construct(metadata=ObjectMeta(name="a", labels={"team": "red"})),
        EdgeFunction.model_construct(metadata=ObjectMeta(name="b")),
    ]
    assert [function.name for function in functions if made(**spec).selects(function)] == selected
