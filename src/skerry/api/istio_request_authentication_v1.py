"""security.istio.io/v1: RequestAuthentication, which JSON Web Tokens of requests are taken.

Source: Istio's security API, RequestAuthentication and JWTRule; docs/reference/security-policies.md tells each choice.
The agent writes the status.
"""

from collections.abc import Iterator
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from skerry.api.durations import parse_seconds
from skerry.api.fields import FieldError, forbidden, invalid, required
from skerry.api.istio_attachment import (
    TARGET_REFS_MAX,
    PolicyTargetReference,
    WorkloadSelector,
    attachment_errors,
)
from skerry.api.json_web_keys import check_key_set
from skerry.api.kinds import Column, Kind, condition_status
from skerry.api.model import LIST_ATOMIC, Conditions, Int64, Model, Resource, pending

GROUP = "security.istio.io"
VERSION = "v1"

RULES_MAX = 64
VALUES_MAX = 64
TEXT_CHARACTERS_MAX = 2048
#: Hundreds of keys; a set that is handed out whole by every change of a listener.
JWKS_CHARACTERS_MAX = 65536
TIMEOUT_SECONDS_MAX = 60.0

_PORTS = {"http": 80, "https": 443}


def _check_uri(text: str) -> str:
    parse_uri(text)
    return text


def _check_timeout(text: str) -> str:
    if not 0 < parse_seconds(text) <= TIMEOUT_SECONDS_MAX:
        raise ValueError(f"must be above 0s and at most {TIMEOUT_SECONDS_MAX:.0f}s")
    return text


Text = Annotated[str, Field(min_length=1, max_length=TEXT_CHARACTERS_MAX)]
HeaderName = Annotated[str, Field(min_length=1, max_length=256, pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
Texts = Annotated[list[Text] | None, Field(max_length=VALUES_MAX), LIST_ATOMIC]


class JwtHeader(Model):
    """A header that may hold a token."""

    name: HeaderName
    """Name of the header."""
    prefix: Annotated[str, Field(max_length=256, pattern=r"^[^\x00\r\n]*$")] = ""
    """What stands before the token, such as `Bearer ` with its space."""


class ClaimToHeader(Model):
    """A claim that is handed on as a header."""

    header: HeaderName
    """Name of the header; one that a client sends is dropped."""
    claim: Text
    """Name of the claim; nested ones with dots, such as `a.b`."""


class JwtRule(Model):
    """Tokens of one issuer."""

    issuer: Text
    """What the claim `iss` must be."""
    audiences: Texts = None
    """The claim `aud` must hold one of these; any where empty."""
    jwks_uri: Annotated[str, Field(max_length=TEXT_CHARACTERS_MAX), AfterValidator(_check_uri)] | None = None
    """Where the public keys are: a URL of http or https."""
    jwks: Annotated[str, Field(max_length=JWKS_CHARACTERS_MAX), AfterValidator(check_key_set)] | None = None
    """The public keys themselves: a JSON Web Key Set. Shared secrets (`oct`) have no place where everyone may read."""
    from_headers: Annotated[list[JwtHeader] | None, Field(max_length=VALUES_MAX), LIST_ATOMIC] = None
    """Headers that may hold the token. Where no place is given at all: `Authorization: Bearer`, then the query
    parameter `access_token`."""
    from_params: Texts = None
    """Query parameters that may hold the token."""
    from_cookies: Texts = None
    """Cookies that may hold the token."""
    output_payload_to_header: HeaderName | None = None
    """The header in which the payload is handed on, in base64url; one that a client sends is dropped."""
    forward_original_token: bool = False
    """Whether the token itself is handed on."""
    output_claim_to_headers: Annotated[list[ClaimToHeader] | None, Field(max_length=VALUES_MAX), LIST_ATOMIC] = None
    """Claims that are handed on as headers."""
    timeout: Annotated[str, AfterValidator(_check_timeout)] = "5s"
    """How long jwksUri may take to answer."""


class RequestAuthenticationSpec(Model):
    """Tokens that are taken, and where."""

    selector: WorkloadSelector | None = None
    """The workloads that this is for: those with these labels, in the same namespace, or in every namespace where
    this is in the root namespace. All of them where absent."""
    target_ref: PolicyTargetReference | None = None
    """What this is attached to. Use targetRefs."""
    target_refs: Annotated[list[PolicyTargetReference] | None, Field(max_length=TARGET_REFS_MAX), LIST_ATOMIC] = None
    """What this is attached to; in place of selector."""
    jwt_rules: Annotated[list[JwtRule] | None, Field(max_length=RULES_MAX), LIST_ATOMIC] = None
    """The tokens. A request with another one is refused (401); one without any passes, with no principal."""


class PolicyGateway(Model):
    """A Gateway that a security policy is for."""

    namespace: str
    """Its namespace."""
    name: str
    """Its name."""


class PolicyStatus(Model):
    """The present state of a security policy."""

    observed_generation: Int64 | None = None
    """The metadata.generation that the status tells of."""
    conditions: Annotated[Conditions, Field(max_length=16)] = None
    """Accepted, Programmed and Ready."""
    gateways: list[PolicyGateway] | None = None
    """The Gateways that it is for."""


class RequestAuthentication(Resource):
    """Which JSON Web Tokens the requests of gateways may bring."""

    spec: RequestAuthenticationSpec = Field(default_factory=RequestAuthenticationSpec)
    """The desired state."""
    status: PolicyStatus = Field(default_factory=PolicyStatus)
    """The present state."""


def parse_uri(text: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a jwksUri; raises ValueError with what is accepted."""
    try:
        parts = urlsplit(text)
        scheme, host, port = parts.scheme, parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"must be a URL: {error}") from None
    if scheme not in _PORTS or not host or parts.username or parts.fragment or not _is_plain(text) or port == 0:
        raise ValueError("must be a URL of http or https with a host, such as https://issuer.example/keys")
    return scheme, host, port or _PORTS[scheme]


def _is_plain(text: str) -> bool:
    """Tell whether a text is ASCII that can be seen: `urlsplit` leaves out line breaks, wherever they are."""
    return text.isascii() and text.isprintable() and " " not in text


def _prepare(policy: RequestAuthentication) -> None:
    policy.status = unseen()


def unseen() -> PolicyStatus:
    """Return the status of a policy that nobody has looked at."""
    return PolicyStatus(conditions=[pending("Accepted"), pending("Programmed"), pending("Ready")])


def _validate(policy: RequestAuthentication, _: RequestAuthentication | None) -> Iterator[FieldError]:
    yield from attachment_errors(policy.spec)
    for index, rule in enumerate(policy.spec.jwt_rules or ()):
        path = f"spec.jwtRules[{index}]"
        if rule.jwks is None and rule.jwks_uri is None:
            yield required(path, "one of jwks and jwksUri: keys are not looked for at the issuer")
        if rule.jwks is not None and rule.jwks_uri is not None:
            yield forbidden(f"{path}.jwksUri", "only one of jwks and jwksUri can be set")
        for number, claim in enumerate(rule.output_claim_to_headers or ()):
            if claim.header.lower() in {"host", "authorization"}:
                place = f"{path}.outputClaimToHeaders[{number}].header"
                yield invalid(place, claim.header, "this header has a meaning of its own")


def _warnings(policy: RequestAuthentication) -> Iterator[str]:
    if not policy.spec.jwt_rules:
        yield "spec.jwtRules: no rules are given, so no request is looked at"
    for index, rule in enumerate(policy.spec.jwt_rules or ()):
        if rule.jwks_uri and rule.jwks_uri.startswith("http:"):
            yield f"spec.jwtRules[{index}].jwksUri: over http, anyone on the way can put in keys of their own"


POLICY_COLUMNS = (Column("Ready", condition_status("Ready"), description="Whether requests meet the policy."),)

REQUEST_AUTHENTICATION = Kind(
    group=GROUP,
    version=VERSION,
    model=RequestAuthentication,
    plural="requestauthentications",
    namespaced=True,
    short_names=("ra",),
    categories=("istio-io", "security-istio-io"),
    columns=POLICY_COLUMNS,
    validate=_validate,
    prepare_create=_prepare,
    warnings=_warnings,
    read_by="view",
    written_by="edit",
)
