"""The egress policies of a node's functions, as workers read them: one file, written as a whole.

Whoever runs a node writes it at every change; a worker looks at the file when a function fetches, at most every
`LOOK_SECONDS`. So a change needs no restart and no revision, and is in force for connections that are kept, too.
Invariant: what can't be read denies everything, until it can.
"""

import ipaddress
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from skerry.engine.egress import EgressPolicy, EgressRule
from skerry.kit.records import Records

records = Records(__name__)

#: How soon a change is in force.
LOOK_SECONDS = 0.2
FILE_BYTES_MAX = 32 * 1024 * 1024

_NOTHING = EgressPolicy(deny=(EgressRule(),))


class WrittenPolicy(NamedTuple):
    """A policy, and the functions that it is about.

    Attributes:
        functions: their names; None for every function.
        allow, deny, is_closed: see `EgressPolicy`.
    """

    functions: frozenset[str] | None
    allow: tuple[EgressRule, ...]
    deny: tuple[EgressRule, ...]
    is_closed: bool


def write_policies(path: Path, policies: Iterable[WrittenPolicy]) -> None:
    """Put policies into force for every worker of this machine; atomic.

    Raises:
        ValueError: they are larger than a worker reads; those before stay in force.
    """
    data = orjson.dumps([_document(policy) for policy in policies])
    if len(data) > FILE_BYTES_MAX:
        raise ValueError(f"the egress policies of this node are larger than {FILE_BYTES_MAX} bytes")
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part.write_bytes(data)
    part.replace(path)


def _document(policy: WrittenPolicy) -> dict[str, Any]:
    return {
        "functions": None if policy.functions is None else sorted(policy.functions),
        "allow": [_rule_document(rule) for rule in policy.allow],
        "deny": [_rule_document(rule) for rule in policy.deny],
        "closed": policy.is_closed,
    }


def _rule_document(rule: EgressRule) -> dict[str, list[Any]]:
    return {
        "networks": [str(network) for network in rule.networks],
        "hosts": sorted(rule.hosts),
        "ports": sorted(rule.ports),
    }


def read_policies(path: Path) -> list[WrittenPolicy]:
    """Read what `write_policies` wrote; none where there is no file. Raises ValueError."""
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except FileNotFoundError:
        return []
    try:
        return [_policy(document) for document in orjson.loads(data)]
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not hold egress policies: {error}") from error


def _policy(document: Mapping[str, Any]) -> WrittenPolicy:
    functions = document["functions"]
    allow, deny = (tuple(map(_rule, document[name])) for name in ("allow", "deny"))
    return WrittenPolicy(None if functions is None else frozenset(functions), allow, deny, bool(document["closed"]))


def _rule(document: Mapping[str, Any]) -> EgressRule:
    networks = tuple(map(ipaddress.ip_network, document["networks"]))
    return EgressRule(networks, frozenset(document["hosts"]), frozenset(document["ports"]))


class EgressPolicies:
    """What each function may reach; called from many threads.

    Args:
        node: what the node itself allows, to every function.
        path: of the policies; None where there are none.
    """

    def __init__(self, node: EgressPolicy, path: Path | None) -> None:
        self._node = node
        self._path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = ()
        self._look_at = 0.0
        self._policies: Sequence[WrittenPolicy] | None = ()  # None: they can't be read
        self._of_function: dict[str, EgressPolicy] = {}
        self._combined: dict[tuple[int, ...], EgressPolicy] = {}

    def of(self, function: str) -> EgressPolicy:
        """Return what a function may reach now: the same object for as long as nothing has changed."""
        if self._path is None:
            return self._node
        now = time.monotonic()
        with self._lock:
            if now >= self._look_at:
                self._look_at = now + LOOK_SECONDS
                self._look(self._path)
            policy = self._of_function.get(function)
            if policy is None:
                policy = self._of_function[function] = self._combine(function)
            return policy

    def _look(self, path: Path) -> None:
        try:
            found = path.stat()
            seen: tuple[int, ...] | None = (found.st_ino, found.st_mtime_ns, found.st_size)
        except FileNotFoundError:
            seen = None
        if seen == self._seen:
            return
        self._seen = seen
        self._of_function, self._combined = {}, {}
        try:
            self._policies = read_policies(path)
        except (ValueError, OSError) as error:
            self._policies = None
            records.error("the egress policies can't be read, and functions fetch nothing", reason=str(error))

    def _combine(self, function: str) -> EgressPolicy:
        if self._policies is None:
            return _NOTHING
        chosen = tuple(
            index
            for index, policy in enumerate(self._policies)
            if policy.functions is None or function in policy.functions
        )
        if chosen not in self._combined:
            policies = [self._policies[index] for index in chosen]
            self._combined[chosen] = replace(
                self._node,
                allow=(*self._node.allow, *(rule for policy in policies for rule in policy.allow)),
                deny=tuple(rule for policy in policies for rule in policy.deny),
                is_closed=any(policy.is_closed for policy in policies),
            )
        return self._combined[chosen]
