"""security.istio.io/v1: AuthorizationPolicy, which requests are allowed, denied or noted.

Source: Istio's security API, AuthorizationPolicy; docs/reference/security-policies.md tells each choice. What Istio
takes and matches literally, though its author can't have meant it, is refused: a policy that never matches is a hole.
"""

import re
from collections.abc import Iterator
from ipaddress import ip_network
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from skerry.api.fields import FieldError, forbidden, invalid, required
from skerry.api.istio_attachment import (
    TARGET_REFS_MAX,
    PolicyTargetReference,
    WorkloadSelector,
    attachment_errors,
)
from skerry.api.istio_request_authentication_v1 import GROUP, POLICY_COLUMNS, VERSION, PolicyStatus, unseen
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import LIST_ATOMIC, Model, Resource

RULES_MAX = 512
ENTRIES_MAX = 64
VALUES_MAX = 512
PATTERN_CHARACTERS_MAX = 2048
#: A principal is an issuer, a slash and a subject, each of which may have slashes: every one is a place to look at.
PRINCIPAL_SLASHES_MAX = 32

#: Conditions on who has a certificate of the mesh, which no client of a gateway has.
PEER_CONDITIONS = ("source.principal", "source.namespace", "source.serviceAccount")
_PLAIN_CONDITIONS = (
    "source.ip",
    "remote.ip",
    "request.auth.principal",
    "request.auth.audiences",
    "request.auth.presenter",
    "destination.port",
    *PEER_CONDITIONS,
)
_HEADER_CONDITION = re.compile(r"request\.headers\[([!#$%&'*+.^_`|~0-9A-Za-z-]+)\]")
_CLAIM_CONDITION = re.compile(r"request\.auth\.claims((?:\[[^\[\]]+\])+)")

Action = Literal["ALLOW", "DENY", "AUDIT", "CUSTOM"]


def _check_pattern(text: str) -> str:
    if "*" in text[1:-1] or (len(text) > 1 and text[0] == text[-1] == "*"):
        raise ValueError("'*' may only be the first character, the last one, or the only one")
    return text


def _check_path(text: str) -> str:
    if "{*}" in text or "{**}" in text:
        raise ValueError("path templates ({*}, {**}) are not supported: use a prefix (/a/*) or a suffix (*/b)")
    return _check_pattern(text)


def _check_principal(text: str) -> str:
    if text.count("/") > PRINCIPAL_SLASHES_MAX:
        raise ValueError(f"must have at most {PRINCIPAL_SLASHES_MAX} slashes")
    return _check_pattern(text)


def _check_block(text: str) -> str:
    if "%" in text:
        raise ValueError("must be an address without a zone: a request has none")
    ip_network(text, strict=False)  # its ValueError says what is wrong
    return text


def _check_port(text: str) -> str:
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("must be the number of a port, 1 to 65535")
    return text


_Text = Annotated[str, Field(min_length=1, max_length=PATTERN_CHARACTERS_MAX)]
_SIZE = Field(min_length=1, max_length=VALUES_MAX)
_Patterns = Annotated[list[Annotated[_Text, AfterValidator(_check_pattern)]] | None, _SIZE, LIST_ATOMIC]
_Principals = Annotated[list[Annotated[_Text, AfterValidator(_check_principal)]] | None, _SIZE, LIST_ATOMIC]
_Paths = Annotated[list[Annotated[_Text, AfterValidator(_check_path)]] | None, _SIZE, LIST_ATOMIC]
_Blocks = Annotated[list[Annotated[_Text, AfterValidator(_check_block)]] | None, _SIZE, LIST_ATOMIC]
_Ports = Annotated[list[Annotated[_Text, AfterValidator(_check_port)]] | None, _SIZE, LIST_ATOMIC]
_Values = Annotated[list[_Text] | None, _SIZE, LIST_ATOMIC]


class Source(Model):
    """Who asks; all given fields must hold, each by one of its values (`not...`: by none)."""

    principals: _Patterns = None
    """Identities of a mesh, which no client of a gateway has: never holds."""
    not_principals: _Patterns = None
    """The opposite: always holds."""
    request_principals: _Principals = None
    """`<iss>/<sub>` of the request's token; `*` for any request with a token that was taken."""
    not_request_principals: _Principals = None
    """The opposite: holds without a token, too."""
    namespaces: _Patterns = None
    """Namespaces of a mesh's clients, which no client of a gateway has: never holds."""
    not_namespaces: _Patterns = None
    """The opposite: always holds."""
    ip_blocks: _Blocks = None
    """IP addresses or CIDR blocks of the connection."""
    not_ip_blocks: _Blocks = None
    """The opposite."""
    remote_ip_blocks: _Blocks = None
    """IP addresses or CIDR blocks of the client. No proxy before the gateway is trusted: as ipBlocks."""
    not_remote_ip_blocks: _Blocks = None
    """The opposite."""


class Operation(Model):
    """What is asked; all given fields must hold, each by one of its values (`not...`: by none)."""

    hosts: _Patterns = None
    """The request's host, in any case; one without a port holds for every port."""
    not_hosts: _Patterns = None
    """The opposite."""
    ports: _Ports = None
    """The listener's port."""
    not_ports: _Ports = None
    """The opposite."""
    methods: _Patterns = None
    """The HTTP method."""
    not_methods: _Patterns = None
    """The opposite."""
    paths: _Paths = None
    """The path, normalised and without the query."""
    not_paths: _Paths = None
    """The opposite."""


class From(Model):
    """Who asks."""

    source: Source
    """The source."""


class To(Model):
    """What is asked."""

    operation: Operation
    """The operation."""


class When(Model):
    """A further condition on the request."""

    key: _Text
    """What is looked at, such as `request.headers[x-tenant]` or `request.auth.claims[groups]`."""
    values: _Values = None
    """One of these must hold."""
    not_values: _Values = None
    """None of these may hold."""


class Rule(Model):
    """A kind of request: any of `from`, any of `to`, and all of `when`; what is absent holds."""

    from_: Annotated[list[From] | None, Field(alias="from", min_length=1, max_length=ENTRIES_MAX), LIST_ATOMIC] = None
    """Who asks; anyone where absent."""
    to: Annotated[list[To] | None, Field(min_length=1, max_length=ENTRIES_MAX), LIST_ATOMIC] = None
    """What is asked; anything where absent."""
    when: Annotated[list[When] | None, Field(min_length=1, max_length=ENTRIES_MAX), LIST_ATOMIC] = None
    """Further conditions."""


class ExtensionProvider(Model):
    """Names who decides, for CUSTOM."""

    name: str = ""
    """Name of the provider."""


class AuthorizationPolicySpec(Model):
    """Requests, and what becomes of them."""

    selector: WorkloadSelector | None = None
    """The workloads that this is for: those with these labels, in the same namespace, or in every namespace where
    this is in the root namespace. All of them where absent."""
    target_ref: PolicyTargetReference | None = None
    """What this is attached to. Use targetRefs."""
    target_refs: Annotated[list[PolicyTargetReference] | None, Field(max_length=TARGET_REFS_MAX), LIST_ATOMIC] = None
    """What this is attached to; in place of selector."""
    action: Action = "ALLOW"
    """ALLOW, DENY, or AUDIT. CUSTOM is not supported."""
    provider: ExtensionProvider | None = None
    """For CUSTOM, which is not supported."""
    rules: Annotated[list[Rule] | None, Field(max_length=RULES_MAX), LIST_ATOMIC] = None
    """Requests that this is about: those that fit one of the rules. None at all where absent."""


class AuthorizationPolicy(Resource):
    """Which requests gateways allow, deny or note."""

    spec: AuthorizationPolicySpec = Field(default_factory=AuthorizationPolicySpec)
    """The desired state."""
    status: PolicyStatus = Field(default_factory=PolicyStatus)
    """The present state."""


def header_of(key: str) -> str | None:
    """Return the header that a condition's key names, or None."""
    found = _HEADER_CONDITION.fullmatch(key)
    return found[1].lower() if found else None


def claim_of(key: str) -> tuple[str, ...] | None:
    """Return the path of the claim that a condition's key names, or None."""
    found = _CLAIM_CONDITION.fullmatch(key)
    return tuple(found[1][1:-1].split("][")) if found else None


def _prepare(policy: AuthorizationPolicy) -> None:
    policy.status = unseen()


def _validate(policy: AuthorizationPolicy, _: AuthorizationPolicy | None) -> Iterator[FieldError]:
    spec = policy.spec
    yield from attachment_errors(spec)
    if spec.action == "CUSTOM":
        yield forbidden("spec.action", "CUSTOM is not supported: ask an authorizer of your own in a WasmPlugin (AUTHZ)")
    elif spec.provider is not None:
        yield forbidden("spec.provider", "only for the action CUSTOM, which is not supported")
    for index, rule in enumerate(spec.rules or ()):
        path = f"spec.rules[{index}]"
        for number, entry in enumerate(rule.from_ or ()):
            if not entry.source.model_fields_set:
                yield required(f"{path}.from[{number}].source", "at least one field")
        for number, target in enumerate(rule.to or ()):
            if not target.operation.model_fields_set:
                yield required(f"{path}.to[{number}].operation", "at least one field")
        for number, condition in enumerate(rule.when or ()):
            yield from _condition_errors(f"{path}.when[{number}]", condition)


def _condition_errors(path: str, condition: When) -> Iterator[FieldError]:
    key = condition.key
    if key not in _PLAIN_CONDITIONS and header_of(key) is None and claim_of(key) is None:
        known = (*_PLAIN_CONDITIONS, "request.headers[NAME]", "request.auth.claims[NAME]")
        yield invalid(f"{path}.key", key, f"must be one of {', '.join(known)}")
        return
    if not condition.values and not condition.not_values:
        yield required(path, "one of values and notValues")
    check = {
        "source.ip": _check_block,
        "remote.ip": _check_block,
        "destination.port": _check_port,
        "request.auth.principal": _check_principal,
    }.get(key, _check_pattern)
    for name, values in (("values", condition.values), ("notValues", condition.not_values)):
        for index, value in enumerate(values or ()):
            try:
                check(value)
            except ValueError as error:
                yield invalid(f"{path}.{name}[{index}]", value, str(error))


def _warnings(policy: AuthorizationPolicy) -> Iterator[str]:
    spec = policy.spec
    if not spec.rules:
        means = "every request is denied" if spec.action == "ALLOW" else "the policy has no effect"
        yield f"spec.rules: no rules are given, so {means}"
    for index, rule in enumerate(spec.rules or ()):
        sources = [(f"from[{n}].source", entry.source.model_fields_set) for n, entry in enumerate(rule.from_ or ())]
        keys = [(f"when[{n}].key", condition.key) for n, condition in enumerate(rule.when or ())]
        places = [place for place, given in sources if given & _PEER_FIELDS]
        for place in [*places, *(place for place, key in keys if key in PEER_CONDITIONS)]:
            yield f"spec.rules[{index}].{place}: clients of a gateway have no identity of a mesh, so this never matches"


_PEER_FIELDS = {"principals", "not_principals", "namespaces", "not_namespaces"}

AUTHORIZATION_POLICY = Kind(
    group=GROUP,
    version=VERSION,
    model=AuthorizationPolicy,
    plural="authorizationpolicies",
    namespaced=True,
    short_names=("ap",),
    categories=("istio-io", "security-istio-io"),
    columns=(Column("Action", value_at(".spec.action"), description="What becomes of requests."), *POLICY_COLUMNS),
    validate=_validate,
    prepare_create=_prepare,
    warnings=_warnings,
    read_by="view",
    written_by="edit",
)
