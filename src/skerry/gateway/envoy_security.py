"""Tokens and policies in Envoy's words: the filters jwt_authn and rbac.

Pure. What Envoy verified of a token is in its dynamic metadata, from where policies read it.
"""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any, TypeVar

from envoy.config.core.v3.address_pb2 import CidrRange
from envoy.config.rbac.v3 import rbac_pb2 as rules_pb2
from envoy.config.route.v3.route_components_pb2 import HeaderMatcher, RouteMatch
from envoy.extensions.filters.http.jwt_authn.v3 import config_pb2 as jwt
from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import HttpFilter
from envoy.type.matcher.v3.metadata_pb2 import MetadataMatcher
from envoy.type.matcher.v3.regex_pb2 import RegexMatcher
from envoy.type.matcher.v3.string_pb2 import StringMatcher
from google.protobuf.empty_pb2 import Empty

from skerry.gateway.envoy_words import any_of, duration
from skerry.gateway.ir.access import (
    AddressIn,
    AllOf,
    AnyOf,
    Authentication,
    Authorization,
    ClaimIs,
    Condition,
    HeaderIs,
    Not,
    PathIs,
    PortIs,
    RemoteKeys,
    TextMatch,
    TokenIssuer,
)

#: How long fetched keys are good for: that of a key which the issuer withdrew, too.
KEYS_CACHED_SECONDS = 300.0
#: After a fetch that failed.
KEYS_RETRY_SECONDS = 1.0
#: Claims that hold several values with spaces between (RFC 8693); Istio's choice.
SPACE_DELIMITED_CLAIMS = ("scope", "permission")
#: Of the statistics and the metadata of AUDIT policies.
AUDIT_PREFIX = "audit_"

_JWT_FILTER = "envoy.filters.http.jwt_authn"
_PAYLOAD = "payload"
_ACTIONS = {"allow": rules_pb2.RBAC.ALLOW, "deny": rules_pb2.RBAC.DENY, "audit": rules_pb2.RBAC.DENY}
_ANYTHING = "(?s).+"


def authentication_filter(model: Authentication) -> HttpFilter:
    """Write the check of tokens.

    Each token must be good or missing; or else one issuer's must be good, since several issuers' tokens may stand in
    one place (as in Istio).
    """
    providers = {issuer.name: _provider(issuer) for issuer in model.issuers}
    each = [_any_required(_required(name), jwt.JwtRequirement(allow_missing=Empty())) for name in providers]
    requires = each[0]
    if len(each) > 1:
        every = jwt.JwtRequirement(requires_all=jwt.JwtRequirementAndList(requirements=each))
        requires = _any_required(*(_required(name) for name in providers), every)
    message = jwt.JwtAuthentication(
        providers=providers,
        rules=[jwt.RequirementRule(match=RouteMatch(prefix="/"), requires=requires)],
        bypass_cors_preflight=True,
    )
    return HttpFilter(name=_JWT_FILTER, typed_config=any_of(message))


def _required(name: str) -> jwt.JwtRequirement:
    return jwt.JwtRequirement(provider_name=name)


def _any_required(*requirements: jwt.JwtRequirement) -> jwt.JwtRequirement:
    return jwt.JwtRequirement(requires_any=jwt.JwtRequirementOrList(requirements=requirements))


def _provider(issuer: TokenIssuer) -> jwt.JwtProvider:
    message = jwt.JwtProvider(
        issuer=issuer.issuer,
        audiences=issuer.audiences,
        forward=issuer.is_forwarded,
        from_headers=[jwt.JwtHeader(name=name, value_prefix=prefix) for name, prefix in issuer.headers],
        from_params=issuer.parameters,
        from_cookies=issuer.cookies,
        forward_payload_header=issuer.payload_header,
        claim_to_headers=[jwt.JwtClaimToHeader(header_name=name, claim_name=c) for name, c in issuer.claim_headers],
        payload_in_metadata=_PAYLOAD,
    )
    message.normalize_payload_in_metadata.space_delimited_claims.extend(SPACE_DELIMITED_CLAIMS)
    if isinstance(issuer.keys, RemoteKeys):
        remote = message.remote_jwks
        remote.http_uri.uri = issuer.keys.url
        remote.http_uri.cluster = issuer.keys.cluster
        remote.http_uri.timeout.CopyFrom(duration(issuer.keys.timeout_seconds))
        remote.cache_duration.CopyFrom(duration(KEYS_CACHED_SECONDS))
        # Fast: an issuer that is away must not keep the listener, and all who need no token, from starting.
        remote.async_fetch.fast_listener = True
        remote.async_fetch.failed_refetch_duration.CopyFrom(duration(KEYS_RETRY_SECONDS))
    else:
        message.local_jwks.inline_string = issuer.keys
    return message


def authorization_filter(model: Authorization) -> HttpFilter:
    """Write what policies decide."""
    rules = rules_pb2.RBAC(action=_ACTIONS[model.action])
    for policy in model.policies:
        rules.policies[policy.name].CopyFrom(
            rules_pb2.Policy(
                permissions=[_write(rules_pb2.Permission, policy.asked)],
                principals=[_write(rules_pb2.Principal, policy.asker)],
            )
        )
    if model.action == "audit":
        message = RBAC(shadow_rules=rules, shadow_rules_stat_prefix=AUDIT_PREFIX)
    else:
        message = RBAC(rules=rules, rules_stat_prefix=f"{model.action}_")
    return HttpFilter(name=f"envoy.filters.http.rbac.{model.action}", typed_config=any_of(message))


Side = TypeVar("Side", rules_pb2.Permission, rules_pb2.Principal)


def _write(side: type[Side], condition: Condition) -> Side:
    """Write a condition as a permission or a principal: two messages of one shape, but for some names."""
    is_permission = side is rules_pb2.Permission
    message: Any = side()
    match condition:
        case AllOf(()):
            message.any = True
        case AnyOf(()):
            _field(message, "not_rule", "not_id", is_permission=is_permission).any = True
        case AllOf(conditions):
            parts = _field(message, "and_rules", "and_ids", is_permission=is_permission)
            _extend(parts, (_write(side, part) for part in conditions), is_permission=is_permission)
        case AnyOf(conditions):
            parts = _field(message, "or_rules", "or_ids", is_permission=is_permission)
            _extend(parts, (_write(side, part) for part in conditions), is_permission=is_permission)
        case Not(negated):
            _field(message, "not_rule", "not_id", is_permission=is_permission).CopyFrom(_write(side, negated))
        case ClaimIs():
            parts = _field(message, "or_rules", "or_ids", is_permission=is_permission)
            write = _permission_by if is_permission else _principal_by
            _extend(parts, (write(m) for m in _claim(condition)), is_permission=is_permission)
        case _:
            _write_leaf(message, condition)
    result: Side = message
    return result


def _field(message: Any, permission: str, principal: str, *, is_permission: bool) -> Any:
    return getattr(message, permission if is_permission else principal)


def _extend(parts: Any, messages: Iterator[Any], *, is_permission: bool) -> None:
    (parts.rules if is_permission else parts.ids).extend(messages)


def _write_leaf(message: Any, condition: HeaderIs | PathIs | PortIs | AddressIn) -> None:
    match condition:
        case HeaderIs(name, TextMatch("present")):
            message.header.CopyFrom(HeaderMatcher(name=name, present_match=True))
        case HeaderIs(name, text):
            message.header.CopyFrom(HeaderMatcher(name=name, string_match=_text(text)))
        case PathIs(text):
            message.url_path.path.CopyFrom(_text(text))
        case PortIs(number):
            message.destination_port = number
        case AddressIn(whose, block):
            (message.direct_remote_ip if whose == "peer" else message.remote_ip).CopyFrom(_block(block))


def _permission_by(claim: MetadataMatcher) -> rules_pb2.Permission:
    return rules_pb2.Permission(metadata=claim)


def _principal_by(claim: MetadataMatcher) -> rules_pb2.Principal:
    return rules_pb2.Principal(sourced_metadata=rules_pb2.SourcedMetadata(metadata_matcher=claim))


def _claim(condition: ClaimIs) -> Iterator[MetadataMatcher]:
    """Write a condition on a claim: as a text, and as a list."""
    for is_list in (False, True):
        message = MetadataMatcher(filter=_JWT_FILTER)
        for name in (_PAYLOAD, *condition.path):
            message.path.add(key=name)
        value = message.value.list_match.one_of if is_list else message.value
        value.string_match.CopyFrom(_text(condition.text))
        yield message


def _text(text: TextMatch) -> StringMatcher:
    match text.kind:
        case "exact":
            return StringMatcher(exact=text.value)
        case "prefix":
            return StringMatcher(prefix=text.value)
        case "suffix":
            return StringMatcher(suffix=text.value)
        case "regex":
            return StringMatcher(safe_regex=RegexMatcher(regex=text.value))
        case "present":
            return StringMatcher(safe_regex=RegexMatcher(regex=_ANYTHING))


def _block(block: str) -> CidrRange:
    network = ip_network(block, strict=False)
    message = CidrRange(address_prefix=str(network.network_address))
    message.prefix_len.value = network.prefixlen
    return message
