"""Our own model of who may ask what: tokens that are taken, and policies over requests. Part of `ir`.

Invariant: everything is a value, as there.
"""

from dataclasses import dataclass
from typing import Literal, TypeAlias


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A condition on a text.

    Attributes:
        kind: the whole text, its begin, its end, an RE2 expression over the whole, or that it is there.
        value: "" for `present`.
    """

    kind: Literal["exact", "prefix", "suffix", "regex", "present"]
    value: str = ""


@dataclass(frozen=True, slots=True)
class HeaderIs:
    """A condition on a header."""

    name: str
    text: TextMatch


@dataclass(frozen=True, slots=True)
class PathIs:
    """A condition on the path, without its query."""

    text: TextMatch


@dataclass(frozen=True, slots=True)
class ClaimIs:
    """A condition on a claim of the request's token: that it is such a text, or a list that holds one.

    Attributes:
        path: names, from the outermost.
        text: the condition.
    """

    path: tuple[str, ...]
    text: TextMatch


@dataclass(frozen=True, slots=True)
class PortIs:
    """A condition on the port that the request came to."""

    number: int


@dataclass(frozen=True, slots=True)
class AddressIn:
    """A condition on an address: of the connection's other end, or of the client; `block` is CIDR."""

    whose: Literal["peer", "client"]
    block: str


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every one holds; also where there is none."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class AnyOf:
    """One holds at least; not where there is none."""

    conditions: tuple["Condition", ...] = ()


@dataclass(frozen=True, slots=True)
class Not:
    """It does not hold."""

    condition: "Condition"


Condition: TypeAlias = HeaderIs | PathIs | ClaimIs | PortIs | AddressIn | AllOf | AnyOf | Not

ALWAYS = AllOf()
NEVER = AnyOf()


@dataclass(frozen=True, slots=True)
class Policy:
    """Requests; both conditions must hold. Proxies look at ports on one side only, and at addresses on the other.

    Attributes:
        name: where it comes from, such as `default/admins/rule/0`.
        asked: what is asked; no addresses.
        asker: who asks; no ports.
    """

    name: str
    asked: Condition = ALWAYS
    asker: Condition = ALWAYS


@dataclass(frozen=True, slots=True)
class Authorization:
    """A place in the chain where policies decide: requests that fit none of `allow` or one of `deny` are refused.

    `audit` lets everything pass, and notes which policy fits.
    """

    action: Literal["audit", "deny", "allow"]
    policies: tuple[Policy, ...]


@dataclass(frozen=True, slots=True)
class RemoteKeys:
    """Public keys that the proxy fetches.

    Attributes:
        url: of a JSON Web Key Set.
        cluster: where it is.
        timeout_seconds: for each fetch.
    """

    url: str
    cluster: str
    timeout_seconds: float


@dataclass(frozen=True, slots=True)
class TokenIssuer:
    """Tokens of one issuer.

    Attributes:
        name: where it comes from, such as `default/tokens/0`.
        issuer: what `iss` must be.
        keys: a JSON Web Key Set, or where it is.
        audiences: one of them must be in `aud`; any where empty.
        headers: (name, what stands before the token); with `parameters` and `cookies`, where tokens may be. Where all
            are empty: `Authorization: Bearer`, then the query parameter `access_token`.
        parameters: of the query.
        cookies: names of cookies.
        is_forwarded: whether the token itself is handed on.
        payload_header: in which the payload is handed on, or "".
        claim_headers: (header, claim) handed on.
    """

    name: str
    issuer: str
    keys: str | RemoteKeys
    audiences: tuple[str, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    parameters: tuple[str, ...] = ()
    cookies: tuple[str, ...] = ()
    is_forwarded: bool = False
    payload_header: str = ""
    claim_headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Authentication:
    """A place in the chain where tokens are checked: a bad one is refused, a request without any passes."""

    issuers: tuple[TokenIssuer, ...]
