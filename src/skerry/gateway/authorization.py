"""AuthorizationPolicies as our model has them: conditions over requests. Pure.

Source: Istio, AuthorizationPolicy: a rule holds where any of `from`, any of `to` and all of `when` hold; a source or an
operation where all its fields do; a field where one of its values does; values match whole, by prefix (`a*`), by suffix
(`*a`), or by being there (`*`).
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Literal

from skerry.api.istio_authorization_policy_v1 import (
    PEER_CONDITIONS,
    AuthorizationPolicy,
    Operation,
    Rule,
    Source,
    When,
    claim_of,
    header_of,
)
from skerry.gateway.ir.access import (
    ALWAYS,
    NEVER,
    AddressIn,
    AllOf,
    AnyOf,
    ClaimIs,
    Condition,
    HeaderIs,
    Not,
    PathIs,
    Policy,
    PortIs,
    TextMatch,
)

Leaf = Callable[[str], Condition]

_PORT = re.compile(r":[0-9]+$")
_PRESENT = TextMatch("present")


def policies_of(policy: AuthorizationPolicy) -> Iterator[Policy]:
    """Yield each rule of a policy."""
    for index, rule in enumerate(policy.spec.rules or ()):
        yield Policy(f"{policy.namespace}/{policy.name}/rule/{index}", _asked(rule), _asker(rule))


def _asked(rule: Rule) -> Condition:
    parts = [AnyOf(tuple(_operation(to.operation) for to in rule.to))] if rule.to else []
    return _all([*parts, *(_when(when) for when in rule.when or () if when.key == "destination.port")])


def _asker(rule: Rule) -> Condition:
    parts = [AnyOf(tuple(_source(each.source) for each in rule.from_))] if rule.from_ else []
    return _all([*parts, *(_when(when) for when in rule.when or () if when.key != "destination.port")])


def _source(source: Source) -> Condition:
    return _all(
        [
            *_field(source.principals, source.not_principals, _never),
            *_field(source.request_principals, source.not_request_principals, _principal),
            *_field(source.namespaces, source.not_namespaces, _never),
            *_field(source.ip_blocks, source.not_ip_blocks, _peer),
            *_field(source.remote_ip_blocks, source.not_remote_ip_blocks, _client),
        ]
    )


def _operation(operation: Operation) -> Condition:
    return _all(
        [
            *_field(operation.hosts, operation.not_hosts, _host),
            *_field(operation.ports, operation.not_ports, _port),
            *_field(operation.methods, operation.not_methods, lambda text: HeaderIs(":method", _pattern(text))),
            *_field(operation.paths, operation.not_paths, lambda text: PathIs(_pattern(text))),
        ]
    )


def _when(when: When) -> Condition:
    return _all(_field(when.values, when.not_values, _leaf_of(when.key)))


def _leaf_of(key: str) -> Leaf:
    if (header := header_of(key)) is not None:
        return lambda text: HeaderIs(header, _pattern(text))
    if (claim := claim_of(key)) is not None:
        return lambda text: ClaimIs(claim, _pattern(text))
    return _LEAVES[key]


def _field(values: list[str] | None, not_values: list[str] | None, leaf: Leaf) -> Iterator[Condition]:
    if values:
        yield AnyOf(tuple(leaf(value) for value in values))
    if not_values:
        yield Not(AnyOf(tuple(leaf(value) for value in not_values)))


def _all(conditions: Iterable[Condition]) -> Condition:
    found = tuple(conditions)
    return found[0] if len(found) == 1 else AllOf(found) if found else ALWAYS


def _pattern(text: str) -> TextMatch:
    if text == "*":
        return _PRESENT
    if text.startswith("*"):
        return TextMatch("suffix", text[1:])
    if text.endswith("*"):
        return TextMatch("prefix", text[:-1])
    return TextMatch("exact", text)


def _host(text: str) -> Condition:
    """Match a host in any case; with any port, or none, where the pattern has no port: no spelling slips past."""
    pattern = _pattern(text)
    quoted = re.escape(pattern.value)
    port = "" if _PORT.search(text) else "(?::[0-9]+)?"
    expressions = {"exact": f"{quoted}{port}", "suffix": f".*{quoted}{port}", "prefix": f"{quoted}.*", "present": ".+"}
    return HeaderIs(":authority", TextMatch("regex", f"(?is){expressions[pattern.kind]}"))


def _principal(text: str) -> Condition:
    """Match `<iss>/<sub>`, whose parts the proxy knows apart, at each slash of the pattern."""
    pattern = _pattern(text)
    if pattern.kind == "present":
        return _identity(_PRESENT, _PRESENT)
    cuts = [index for index, character in enumerate(pattern.value) if character == "/"]
    ways = []
    for cut in cuts:
        issuer, subject = pattern.value[:cut], pattern.value[cut + 1 :]
        before = _part("suffix" if pattern.kind == "suffix" else "exact", issuer)
        ways.append(_identity(before, _part("prefix" if pattern.kind == "prefix" else "exact", subject)))
    if pattern.kind == "prefix":
        ways.append(_identity(pattern, _PRESENT))
    elif pattern.kind == "suffix":
        ways.append(_identity(_PRESENT, pattern))
    return AnyOf(tuple(ways))


def _part(kind: Literal["exact", "prefix", "suffix"], text: str) -> TextMatch:
    """Match a part of a principal, of which a pattern may leave nothing."""
    return TextMatch(kind, text) if text or kind == "exact" else _PRESENT


def _identity(issuer: TextMatch, subject: TextMatch) -> Condition:
    return AllOf((ClaimIs(("iss",), issuer), ClaimIs(("sub",), subject)))


def _peer(block: str) -> Condition:
    return AddressIn("peer", block)


def _client(block: str) -> Condition:
    return AddressIn("client", block)


def _port(text: str) -> Condition:
    return PortIs(int(text))


def _never(_: str) -> Condition:
    """Match an identity of a mesh: nobody who comes to a gateway has one."""
    return NEVER


_LEAVES: dict[str, Leaf] = {
    "source.ip": _peer,
    "remote.ip": _client,
    "request.auth.principal": _principal,
    "request.auth.audiences": lambda text: ClaimIs(("aud",), _pattern(text)),
    "request.auth.presenter": lambda text: ClaimIs(("azp",), _pattern(text)),
    "destination.port": _port,
    **dict.fromkeys(PEER_CONDITIONS, _never),
}
