"""Roles and bindings: rules with Kubernetes' words, defaults, aggregation, columns."""

import datetime as dt
from typing import Any

import pytest

from skerry.api.decoding import complete, decode
from skerry.api.errors import Invalid
from skerry.api.kinds import Kind
from skerry.api.label_selector import LabelSelector
from skerry.api.model import ObjectMeta, to_document
from skerry.api.rbac_v1 import (
    CLUSTER_ROLE,
    CLUSTER_ROLE_BINDING,
    GROUP,
    ROLE,
    ROLE_BINDING,
    AggregationRule,
    ClusterRole,
    PolicyRule,
    aggregated,
)
from skerry.server.kube.negotiation import Form
from skerry.server.kube.tables import table

ROLE_REF = {"apiGroup": GROUP, "kind": "ClusterRole", "name": "view"}


def finish(kind: Kind[Any], old: Any = None, **fields: Any) -> Any:
    obj = decode(kind, {"metadata": {"name": "x"}, **fields}).object
    complete(kind, obj, old)
    return obj


def errors_of(kind: Kind[Any], old: Any = None, **fields: Any) -> list[str]:
    with pytest.raises(Invalid) as raised:
        finish(kind, old, **fields)
    return [f"{cause['field']}: {cause['message']}" for cause in raised.value.details["causes"]]


def test_a_rule_needs_verbs_groups_and_resources() -> None:
    assert errors_of(CLUSTER_ROLE, rules=[{}, {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]) == [
        "rules[0].verbs: Required value: verbs must contain at least one value",
        "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        "rules[0].resources: Required value: resource rules must supply at least one resource",
    ]


def test_paths_stand_alone_and_not_in_a_namespace() -> None:
    paths = {"verbs": ["get"], "nonResourceURLs": ["/metrics"]}
    assert to_document(finish(CLUSTER_ROLE, rules=[paths]))["rules"] == [paths]
    assert errors_of(ROLE, rules=[{**paths, "resources": ["pods"]}]) == [
        'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: namespaced rules cannot apply to non-resource URLs',
        (
            'rules[0].nonResourceURLs: Invalid value: ["/metrics"]: '
            "rules cannot apply to both regular resources and non-resource URLs"
        ),
    ]


def test_an_aggregation_rule_needs_a_selector() -> None:
    assert errors_of(CLUSTER_ROLE, aggregationRule={}) == [
        (
            "aggregationRule.clusterRoleSelectors: Required value: "
            "at least one clusterRoleSelector required if aggregationRule is non-nil"
        )
    ]
    selector = {"matchExpressions": [{"key": "a", "operator": "In"}]}
    assert errors_of(CLUSTER_ROLE, aggregationRule={"clusterRoleSelectors": [selector]}) == [
        (
            "aggregationRule.clusterRoleSelectors[0].matchExpressions[0].values: Required value: "
            "must be specified when `operator` is 'In' or 'NotIn'"
        )
    ]


def test_groups_of_subjects_and_references_are_filled_in() -> None:
    subjects = [
        {"kind": "User", "name": "alice"},
        {"kind": "Group", "name": "dev"},
        {"kind": "ServiceAccount", "name": "ci", "namespace": "build"},
    ]
    binding = finish(ROLE_BINDING, subjects=subjects, roleRef={"kind": "Role", "name": "r"})
    assert [subject.api_group for subject in binding.subjects] == [GROUP, GROUP, None]
    assert binding.role_ref.api_group == GROUP


def test_references_and_subjects_are_checked() -> None:
    bad = {"apiGroup": "apps", "kind": "Thing", "name": "a/b"}
    subjects = [
        {"kind": "User", "name": ""},
        {"kind": "Robot", "name": "r2"},
        {"kind": "ServiceAccount", "name": "No_Name", "apiGroup": GROUP},
    ]
    errors = errors_of(CLUSTER_ROLE_BINDING, roleRef=bad, subjects=subjects)
    assert errors.pop(6).startswith('subjects[2].name: Invalid value: "No_Name": a lowercase RFC 1123 subdomain')
    assert errors == [
        f'roleRef.apiGroup: Unsupported value: "apps": supported values: "{GROUP}"',
        'roleRef.kind: Unsupported value: "Thing": supported values: "ClusterRole"',
        "roleRef.name: Invalid value: \"a/b\": may not contain '/'",
        "subjects[0].name: Required value",
        'subjects[0].name: Invalid value: "": user name cannot be empty',
        'subjects[1].kind: Unsupported value: "Robot": supported values: "ServiceAccount", "User", "Group"',
        f'subjects[2].apiGroup: Unsupported value: "{GROUP}": supported values: ""',
        "subjects[2].namespace: Required value",
    ]


def test_a_role_reference_cannot_be_changed() -> None:
    old = finish(ROLE_BINDING, roleRef=ROLE_REF)
    assert errors_of(ROLE_BINDING, old, roleRef={**ROLE_REF, "name": "edit"}) == [
        (
            f'roleRef: Invalid value: rbac.RoleRef{{APIGroup:"{GROUP}", Kind:"ClusterRole", Name:"edit"}}: '
            "cannot change roleRef"
        )
    ]
    finish(ROLE_BINDING, old, roleRef=ROLE_REF, subjects=[{"kind": "User", "name": "bob"}])


def role(name: str, *resources: str, **labels: str) -> ClusterRole:
    rules = [PolicyRule(verbs=["get"], api_groups=[""], resources=[resource]) for resource in resources]
    return ClusterRole(metadata=ObjectMeta(name=name, labels=labels), rules=rules)


def test_aggregation_takes_each_rule_of_the_selected_roles_once_and_in_order() -> None:
    total = role("total", "own", to="total")
    total.aggregation_rule = AggregationRule(cluster_role_selectors=[LabelSelector(match_labels={"to": "total"})])
    others = [role("b", "secrets", "pods", to="total"), role("a", "pods", to="total"), role("c", "nodes", to="other")]
    found = aggregated(total, [total, *others])
    assert [rule.resources for rule in found] == [["pods"], ["secrets"]]


def test_tables_show_what_kubectl_shows_of_kubernetes() -> None:
    meta = {"name": "x", "creationTimestamp": "2024-01-01T00:00:00Z"}
    form, now = Form("table", "v1"), dt.datetime(2024, 1, 1, 0, 5, tzinfo=dt.UTC)
    shown = table(ROLE, [{"metadata": meta}], {}, form, "None", now)
    assert [column["name"] for column in shown["columnDefinitions"]] == ["Name", "Created At"]
    assert shown["rows"][0]["cells"] == ["x", "2024-01-01T00:00:00Z"]
    subjects = [{"kind": "User", "name": "a"}, {"kind": "User", "name": "b"}]
    account = {"kind": "ServiceAccount", "name": "ci", "namespace": "build"}
    binding = {"metadata": meta, "roleRef": ROLE_REF, "subjects": [*subjects, account]}
    shown = table(ROLE_BINDING, [binding], {}, form, "None", now)
    columns = {column["name"]: column["priority"] for column in shown["columnDefinitions"]}
    assert columns == {"Name": 0, "Role": 0, "Age": 0, "Users": 1, "Groups": 1, "ServiceAccounts": 1}
    assert shown["rows"][0]["cells"] == ["x", "ClusterRole/view", "5m", "a, b", "", "build/ci"]
