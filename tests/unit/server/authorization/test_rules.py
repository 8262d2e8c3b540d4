"""What a rule allows, and whether rules cover others; both against a plain reference."""

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.rbac_v1 import PolicyRule
from skerry.server.access import Act
from skerry.server.authorization.rules import EVERYTHING, Allowance, missing, quoted, told


def rule(verbs: str, groups: str = "", resources: str = "", names: str = "", paths: str = "") -> PolicyRule:
    """Build a rule from words; "core" stands for the core group."""
    return PolicyRule(
        verbs=verbs.split(),
        api_groups=[group.replace("core", "") for group in groups.split()] or None,
        resources=resources.split() or None,
        resource_names=names.split() or None,
        non_resource_urls=paths.split() or None,
    )


@pytest.mark.parametrize(
    ("given", "act", "allowed"),
    [
        (rule("get", "core", "pods"), Act("get", "", "pods", "", "n", "p"), True),
        (rule("get", "core", "pods"), Act("list", "", "pods"), False),
        (rule("get", "core", "pods"), Act("get", "apps", "pods"), False),
        (rule("get", "core", "pods"), Act("get", "", "pods", "log"), False),
        (rule("get", "core", "pods/log"), Act("get", "", "pods", "log"), True),
        (rule("get", "core", "pods/log"), Act("get", "", "pods"), False),
        (rule("update", "*", "*/status"), Act("update", "apps", "things", "status"), True),
        (rule("update", "*", "*/status"), Act("update", "apps", "things"), False),
        (rule("*", "*", "*"), Act("escalate", "x", "things", "any"), True),
        (rule("*", "*", "*"), Act("get", path="/metrics"), False),
        (rule("get", "core", "secrets", "a b"), Act("get", "", "secrets", name="b"), True),
        (rule("get list", "core", "secrets", "a b"), Act("list", "", "secrets"), False),
        (rule("get", paths="/api /api/*"), Act("get", path="/api/v1"), True),
        (rule("get", paths="/api /api/*"), Act("get", path="/apis"), False),
        (rule("get", paths="/api /api/*"), Act("post", path="/api"), False),
        (rule("get", paths="*"), Act("get", path="/anything"), True),
        (rule("get", paths="/api"), Act("get", "", "pods"), False),
    ],
)
def test_what_a_rule_allows(given: PolicyRule, act: Act, *, allowed: bool) -> None:
    assert Allowance(given).allows(act) is allowed


def test_what_is_missing_is_told_by_resource_as_kubernetes_tells_it() -> None:
    held = [rule("get list", "core", "pods secrets"), rule("get", "core", "configmaps", "a")]
    wanted = [
        rule("get list watch delete", "core", "pods"),
        rule("get", "core", "configmaps", "a b"),
        rule("get", "apps", "deployments/scale"),
        rule("get", paths="/metrics"),
    ]
    assert told(missing(held, wanted)).splitlines() == [
        '{APIGroups:[""], Resources:["configmaps"], ResourceNames:["b"], Verbs:["get"]}',
        '{APIGroups:[""], Resources:["pods"], Verbs:["watch" "delete"]}',
        '{APIGroups:["apps"], Resources:["deployments/scale"], Verbs:["get"]}',
        '{NonResourceURLs:["/metrics"], Verbs:["get"]}',
    ]
    assert quoted(['a"b', ""]) == '["a\\"b" ""]'


@pytest.mark.parametrize(
    ("held", "wanted", "covered"),
    [
        (rule("*", "*", "*"), rule("get", "core", "pods"), True),
        (rule("get", "core", "pods"), rule("*", "core", "pods"), False),
        (rule("get", "core", "*/status"), rule("get", "core", "pods/status"), True),
        (rule("get", "core", "*/status"), rule("get", "core", "pods"), False),
        (rule("get", "core", "pods", "a"), rule("get", "core", "pods"), False),
        (rule("get", "core", "pods"), rule("get", "core", "pods", "a"), True),
        (rule("get", paths="/api/*"), rule("get", paths="/api/v1"), True),
        (rule("get", paths="/api/v1"), rule("get", paths="/api/*"), False),
        (rule("*", "*", "*"), rule("get", paths="/api"), False),
    ],
)
def test_what_covers_what(held: PolicyRule, wanted: PolicyRule, *, covered: bool) -> None:
    assert (not missing([held], [wanted])) is covered


def test_administrators_hold_everything() -> None:
    assert not missing(EVERYTHING, [rule("a b", "core x", "y/z *", "n"), rule("get", paths="/x/* *")])


def some(*words: str) -> Any:
    return st.lists(st.sampled_from(words), min_size=1, max_size=2, unique=True)


RULES = st.builds(
    PolicyRule,
    verbs=some("get", "list", "*"),
    api_groups=some("", "apps", "*"),
    resources=some("pods", "nodes", "pods/log", "*/log", "*"),
    resource_names=st.none() | some("a", "b"),
)
ACTS = [
    Act(verb, group, resource, subresource, "", name)
    for verb, group, resource, subresource, name in product(
        ("get", "list", "watch"), ("", "apps", "x"), ("pods", "nodes"), ("", "log", "exec"), ("", "a", "c")
    )
]


@given(held=st.lists(RULES, max_size=4), wanted=st.lists(RULES, max_size=3))
def test_rules_that_lack_nothing_allow_all_that_the_others_allow(
    held: list[PolicyRule], wanted: list[PolicyRule]
) -> None:
    if missing(held, wanted):
        return
    mine, theirs = [Allowance(one) for one in held], [Allowance(one) for one in wanted]
    for act in ACTS:
        if any(one.allows(act) for one in theirs):
            assert any(one.allows(act) for one in mine), act
