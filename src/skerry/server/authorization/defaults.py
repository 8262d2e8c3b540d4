"""The roles and bindings that every Skerry has, made of the kinds it serves. Pure.

Names, labels and meaning are Kubernetes' (plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go): `view`, `edit`
and `admin` gather the roles labelled for them, so that a role of one's own can join by its label. What each kind gives
to whom stands in its declaration (`Kind.read_by`, `Kind.written_by`); one that says nothing is cluster-admin's alone.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from skerry.api.dispatch_v1 import GROUP as DISPATCH_GROUP
from skerry.api.kinds import DefaultRole, Kind
from skerry.api.label_selector import LabelSelector
from skerry.api.model import ObjectMeta
from skerry.api.rbac_v1 import GROUP as RBAC
from skerry.api.rbac_v1 import (
    AggregationRule,
    ClusterRole,
    ClusterRoleBinding,
    PolicyRule,
    RoleRef,
    Subject,
    aggregated,
)
from skerry.server.auth import ADMINISTRATORS, ANONYMOUS, AUTHENTICATED, BAETYL_NODES
from skerry.server.authorization.nodes import NODES
from skerry.server.authorization.rules import EVERYTHING

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"
#: The group whose members may read the metrics.
MONITORING = "system:monitoring"

_LABELS = {"kubernetes.io/bootstrapping": "rbac-defaults"}
#: Subresources that nobody reads.
_NOT_READ = frozenset({"finalize", "token"})
_READ = ("get", "list", "watch")
_WRITE = ("create", "delete", "deletecollection", "patch", "update")
_UNAUTHENTICATED = ANONYMOUS.groups[0]

_HEALTH = ("/healthz", "/livez", "/readyz", "/version")
#: What describes an API to people and tools, and nothing else.
PUBLIC_DOCUMENTS = ("/docs", "/v1/fleet/openapi.json", "/v1/openapi.json")
#: Where devices join, which have no credential yet: what they show there is their product's token, or an install token.
JOINING_PREFIXES = ("/v1/active", "/v1/init")
_JOINING = ("/v1/active", "/v1/active/*", "/v1/init/*")
#: What nodes say and fetch, their slice of the log among it.
_SYNC = ("/v1/slice", "/v1/slice/*", "/v1/sync", "/v1/sync/*")
_DISCOVERY = ("/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*", *_HEALTH)
_AUTHORIZATION, _AUTHENTICATION = "authorization.k8s.io", "authentication.k8s.io"


def default_roles(kinds: Sequence[Kind[Any]]) -> list[ClusterRole]:
    """Return the default roles; those that gather others come last and are complete already."""
    apart = [
        _role("cluster-admin", EVERYTHING),
        _role("system:discovery", [_paths(_DISCOVERY)]),
        _role("system:public-info-viewer", [_paths((*_HEALTH, *PUBLIC_DOCUMENTS))]),
        _role("system:baetyl-joining", [_paths(_JOINING, "get", "post")]),
        _role("system:baetyl-node", [_paths(_SYNC, "get", "post")]),
        _role("system:monitoring", [_paths(("/metrics", *_HEALTH))]),
        _role(
            "system:basic-user",
            [
                _rule(["create"], _AUTHORIZATION, ["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
                _rule(["create"], _AUTHENTICATION, ["selfsubjectreviews"]),
            ],
        ),
        _role(
            "system:auth-delegator",
            [
                _rule(["create"], _AUTHENTICATION, ["tokenreviews"]),
                _rule(["create"], _AUTHORIZATION, ["subjectaccessreviews"]),
            ],
        ),
        _role("system:node", _node_rules()),
    ]
    as_accounts = [
        _rule(["impersonate"], "", ["serviceaccounts"]),
        _rule(["create"], "", ["serviceaccounts/token"]),
    ]
    local_review = _rule(["create"], _AUTHORIZATION, ["localsubjectaccessreviews"])
    parts = [
        _role("system:aggregate-to-view", _rules_of(kinds, "view"), joins="view"),
        _role("system:aggregate-to-edit", [*_rules_of(kinds, "edit"), *as_accounts], joins="edit"),
        _role("system:aggregate-to-admin", [*_rules_of(kinds, "admin"), local_review], joins="admin"),
    ]
    for name, joins in (("view", "edit"), ("edit", "admin"), ("admin", "")):
        role = _role(name, (), joins=joins)
        role.aggregation_rule = AggregationRule(cluster_role_selectors=[LabelSelector(match_labels=_joining(name))])
        role.rules = aggregated(role, parts)
        parts.append(role)
    return [*apart, *parts]


def default_bindings() -> list[ClusterRoleBinding]:
    """Return the default bindings, all to groups."""
    return [
        _binding("cluster-admin", ADMINISTRATORS),
        _binding("system:discovery", AUTHENTICATED),
        _binding("system:basic-user", AUTHENTICATED),
        _binding("system:public-info-viewer", AUTHENTICATED, _UNAUTHENTICATED),
        _binding("system:baetyl-joining", AUTHENTICATED, _UNAUTHENTICATED),
        _binding("system:baetyl-node", BAETYL_NODES),
        _binding("system:monitoring", MONITORING),
        _binding("system:node", NODES),
    ]


def _rules_of(kinds: Iterable[Kind[Any]], role: DefaultRole) -> list[PolicyRule]:
    """Return what the kinds give to a default role and to none below it; a rule for each group."""
    read: dict[str, list[str]] = {}
    written: dict[str, list[str]] = {}
    for kind in kinds:
        if kind.read_by == role:
            below = (*(("status",) if kind.has_status else ()), *(s for s in kind.subresources if s not in _NOT_READ))
            read.setdefault(kind.group, []).extend([kind.plural, *(f"{kind.plural}/{part}" for part in below)])
        if kind.written_by == role:
            written.setdefault(kind.group, []).append(kind.plural)
    return [
        *(_rule(_READ, group, resources) for group, resources in sorted(read.items())),
        *(_rule(_WRITE, group, resources) for group, resources in sorted(written.items())),
    ]


def _node_rules() -> list[PolicyRule]:
    """Return what a node reads of the log (`agent.slice`), less Secrets (`nodes`), and the statuses it reports."""
    gateways, plugins = "gateway.networking.k8s.io", "extensions.istio.io"
    functions, core, security = "extensions.apoxy.dev", "core.apoxy.dev", "security.istio.io"
    return [
        _rule(_READ, "", ["namespaces"]),
        _rule(_READ, gateways, ["gatewayclasses", "gateways", "httproutes"]),
        _rule(_READ, functions, ["directresponses", "edgefunctionrevisions", "edgefunctions"]),
        _rule(_READ, "extensions.skerry.dev", ["egresspolicies"]),
        _rule(_READ, core, ["backends"]),
        _rule(_READ, DISPATCH_GROUP, ["endpoints"]),
        _rule(_READ, plugins, ["wasmplugins"]),
        _rule(_READ, security, ["authorizationpolicies", "requestauthentications"]),
        _rule(["patch", "update"], gateways, ["gatewayclasses/status", "gateways/status", "httproutes/status"]),
        _rule(["patch", "update"], functions, ["edgefunctions/status"]),
        _rule(["patch", "update"], DISPATCH_GROUP, ["endpoints/status"]),
        _rule(["patch", "update"], plugins, ["wasmplugins/status"]),
        _rule(["patch", "update"], security, ["authorizationpolicies/status", "requestauthentications/status"]),
        _rule(["create", "patch"], "", ["events"]),
    ]


def _role(name: str, rules: Iterable[PolicyRule], *, joins: str = "") -> ClusterRole:
    meta = _metadata(name)
    meta.labels = {**_LABELS, **(_joining(joins) if joins else {})}
    return ClusterRole(metadata=meta, rules=list(rules))


def _joining(name: str) -> dict[str, str]:
    return {f"{RBAC}/aggregate-to-{name}": "true"}


def _binding(name: str, *groups: str) -> ClusterRoleBinding:
    return ClusterRoleBinding(
        metadata=_metadata(name),
        subjects=[Subject(kind="Group", api_group=RBAC, name=group) for group in groups],
        role_ref=RoleRef(kind="ClusterRole", name=name),
    )


def _metadata(name: str) -> ObjectMeta:
    return ObjectMeta(name=name, labels=dict(_LABELS), annotations={AUTOUPDATE: "true"})


def _rule(verbs: Sequence[str], group: str, resources: Sequence[str]) -> PolicyRule:
    return PolicyRule(verbs=list(verbs), api_groups=[group], resources=list(resources))


def _paths(paths: Sequence[str], *verbs: str) -> PolicyRule:
    return PolicyRule(verbs=list(verbs or ("get",)), non_resource_urls=list(paths))
