"""Which tokens and policies are in force where. Pure.

Owns the conditions Accepted and Programmed's NoMatchingGateway of RequestAuthentication and AuthorizationPolicy.
Selection is that of plugins (`selection.py`).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Literal

from skerry.api.durations import parse_seconds
from skerry.api.istio_authorization_policy_v1 import AuthorizationPolicy
from skerry.api.istio_request_authentication_v1 import JwtRule, RequestAuthentication, parse_uri
from skerry.gateway import ir
from skerry.gateway.authorization import policies_of
from skerry.gateway.decisions import Key, PolicyReport, no
from skerry.gateway.gateways import GatewayPlan, binding_name
from skerry.gateway.ir.access import Authentication, Authorization, Policy, RemoteKeys, TokenIssuer
from skerry.gateway.plugins import Uses
from skerry.gateway.resources import NodeFacts, Resources
from skerry.gateway.selection import accepted_attachment, selected


@dataclass(frozen=True, slots=True)
class Guards:
    """What the requests of one Gateway meet."""

    authentication: tuple[Authentication, ...] = ()
    authorizations: tuple[Authorization, ...] = ()


@dataclass(frozen=True, slots=True)
class Security:
    """Every policy in its places.

    Attributes:
        guards: by Gateway.
        clusters: from which keys are fetched, by name.
        authentications: a report of each RequestAuthentication.
        policies: a report of each AuthorizationPolicy.
    """

    guards: Mapping[Key, Guards] = field(default_factory=dict)
    clusters: Mapping[str, ir.Cluster] = field(default_factory=dict)
    authentications: Mapping[Key, PolicyReport] = field(default_factory=dict)
    policies: Mapping[Key, PolicyReport] = field(default_factory=dict)


def place_security(resources: Resources, plans: Sequence[GatewayPlan]) -> Security:
    """Decide for every Gateway which tokens are taken, and which policies decide."""
    issuers: dict[Key, list[TokenIssuer]] = {}
    policies: dict[Key, list[AuthorizationPolicy]] = {}
    clusters: dict[str, ir.Cluster] = {}
    authentication_reports, policy_reports = {}, {}
    for authentication in sorted(resources.authentications, key=_key):
        report, found = _place(authentication, plans, resources.node)
        authentication_reports[_key(authentication)] = report
        for plan in found:
            for index, rule in enumerate(authentication.spec.jwt_rules or ()):
                issuer = _issuer(f"{authentication.namespace}/{authentication.name}/{index}", rule)
                issuers.setdefault(plan.key, []).append(issuer)
                if rule.jwks_uri is not None:
                    cluster = _keys_cluster(rule.jwks_uri)
                    clusters[cluster.name] = cluster
    for policy in sorted(resources.policies, key=_key):
        policy_reports[_key(policy)], found = _place(policy, plans, resources.node)
        for plan in found:
            policies.setdefault(plan.key, []).append(policy)
    guards = {
        key: Guards(
            authentication=(Authentication(tuple(issuers[key])),) if key in issuers else (),
            authorizations=tuple(_authorizations(policies.get(key, ()))),
        )
        for key in issuers.keys() | policies.keys()
    }
    return Security(guards, clusters, authentication_reports, policy_reports)


def http_filters(uses: Uses, guards: Guards) -> tuple[ir.HttpFilter, ...]:
    """Return what requests meet before the filters of their routes, in order: the anchors, and plugins around them."""
    return (
        *uses.before_authentication,
        *guards.authentication,
        *uses.before_authorization,
        *guards.authorizations,
        *uses.before_functions,
    )


def _key(obj: RequestAuthentication | AuthorizationPolicy) -> Key:
    return (obj.namespace, obj.name)


def _place(
    obj: RequestAuthentication | AuthorizationPolicy, plans: Sequence[GatewayPlan], node: NodeFacts
) -> tuple[PolicyReport, list[GatewayPlan]]:
    found = list(selected(obj, plans, node))
    gateways = {plan.key: names for plan in found if (names := tuple(_bindings(plan)))}
    obstacle = None
    if not gateways:
        message = "no listener of a Gateway is selected: see spec.selector and spec.targetRefs"
        obstacle = no("Programmed", "NoMatchingGateway", message)
    return PolicyReport(accepted_attachment(obj, "policy", plans, node), gateways, obstacle), found


def _bindings(plan: GatewayPlan) -> Iterator[str]:
    for port in sorted({listener.spec.port for listener in plan.listeners if listener.usable}):
        yield from (binding_name(plan.key, address, port) for address in plan.addresses)


_ACTIONS: tuple[tuple[str, Literal["audit", "deny", "allow"]], ...] = (
    ("AUDIT", "audit"),  # first, so that what is denied is noted too
    ("DENY", "deny"),
    ("ALLOW", "allow"),
)


def _authorizations(policies: Sequence[AuthorizationPolicy]) -> Iterator[Authorization]:
    """Yield the decisions in their order; an ALLOW policy without rules still means that the rest is denied."""
    for wanted, action in _ACTIONS:
        chosen = [policy for policy in policies if policy.spec.action == wanted]
        rules: list[Policy] = [rule for policy in chosen for rule in policies_of(policy)]
        if rules or (chosen and action == "allow"):
            yield Authorization(action, tuple(rules))


def _issuer(name: str, rule: JwtRule) -> TokenIssuer:
    keys: str | RemoteKeys = rule.jwks or ""
    if rule.jwks_uri is not None:
        keys = RemoteKeys(rule.jwks_uri, _keys_cluster(rule.jwks_uri).name, parse_seconds(rule.timeout))
    return TokenIssuer(
        name=name,
        issuer=rule.issuer,
        keys=keys,
        audiences=tuple(rule.audiences or ()),
        headers=tuple((header.name, header.prefix) for header in rule.from_headers or ()),
        parameters=tuple(rule.from_params or ()),
        cookies=tuple(rule.from_cookies or ()),
        is_forwarded=rule.forward_original_token,
        payload_header=rule.output_payload_to_header or "",
        claim_headers=tuple((each.header, each.claim) for each in rule.output_claim_to_headers or ()),
    )


def _keys_cluster(uri: str) -> ir.NetworkCluster:
    scheme, host, port = parse_uri(uri)
    return ir.NetworkCluster(
        name=f"jwks/{scheme}/{host}/{port}",
        hosts=(ir.Host(host, port),),
        protocol="tls" if scheme == "https" else "http1",
        dns=not _is_address(host),
    )


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


__all__ = ["Guards", "Security", "http_filters", "place_security"]
