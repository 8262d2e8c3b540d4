"""What the translator decided about Gateways, routes and plugins: condition types and reasons of the Gateway API.

A `Decision` is a condition without its times: those are added where a status is written (`status.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from skerry.api.gateway_references import ParentReference
from skerry.kit.immutable_map import ImmutableMap

ConditionStatus = Literal["True", "False"]

Key: TypeAlias = tuple[str, str]
"""Namespace and name of an object."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One condition: its type, status, reason and message for a person."""

    type: str
    status: ConditionStatus
    reason: str
    message: str = ""


def yes(condition_type: str, reason: str = "", message: str = "") -> Decision:
    """Decide that a condition holds; its reason is its type's name where none is given."""
    return Decision(condition_type, "True", reason or condition_type, message)


def no(condition_type: str, reason: str, message: str = "") -> Decision:
    """Decide that a condition does not hold."""
    return Decision(condition_type, "False", reason, message)


@dataclass(frozen=True, slots=True)
class ListenerReport:
    """What was decided about one listener of a Gateway.

    Attributes:
        name: the listener's name.
        supported_kinds: kinds of routes (of gateway.networking.k8s.io) that may attach.
        attached_routes: how many routes are attached.
        decisions: Accepted, Conflicted, ResolvedRefs.
        bindings: names of the bindings that serve it; empty where it can't be served.
        table: name of its route table.
    """

    name: str
    supported_kinds: tuple[str, ...]
    attached_routes: int
    decisions: tuple[Decision, ...]
    bindings: tuple[str, ...] = ()
    table: str = ""


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """What was decided about a Gateway: Accepted, each listener's report, and the addresses that it serves."""

    accepted: Decision
    listeners: tuple[ListenerReport, ...]
    addresses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ParentReport:
    """What was decided about a route at one of its parents: Accepted, ResolvedRefs, perhaps PartiallyInvalid."""

    parent: ParentReference
    decisions: tuple[Decision, ...]


@dataclass(frozen=True, slots=True)
class PluginReport:
    """What was decided about a plugin.

    Attributes:
        accepted: whether what it asks for can be done here.
        resource: name of its resource in the proxy.
        gateways: the Gateways that it applies to, each with the names of the bindings that run it.
        obstacle: why Gateways don't run it, before the proxy was even asked; None where they may.
        digest: of the module that the proxy is to run; None where a stand-in takes its place.
    """

    accepted: Decision
    resource: str
    gateways: Mapping[Key, tuple[str, ...]]
    obstacle: Decision | None = None
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class PolicyReport:
    """What was decided about a security policy.

    Attributes:
        accepted: whether what it is attached to is there.
        gateways: the Gateways that it applies to, each with the names of its bindings.
        obstacle: why it is in force nowhere, before the proxy was even asked; None where it may be.
    """

    accepted: Decision
    gateways: Mapping[Key, tuple[str, ...]]
    obstacle: Decision | None = None


@dataclass(frozen=True, slots=True)
class Conditions:
    """Every decision: by class name, and by namespace and name; only of objects that are ours to decide on.

    Attributes:
        addresses: URLs of functions' tags, by function and tag.
        endpoints: URLs of each endpoint.
    """

    classes: Mapping[str, Decision] = field(default_factory=dict)
    gateways: Mapping[Key, GatewayReport] = field(default_factory=dict)
    routes: Mapping[Key, tuple[ParentReport, ...]] = field(default_factory=dict)
    plugins: ImmutableMap[Key, PluginReport] = field(default_factory=ImmutableMap)
    authentications: Mapping[Key, PolicyReport] = field(default_factory=dict)
    policies: Mapping[Key, PolicyReport] = field(default_factory=dict)
    addresses: Mapping[tuple[str, str], str] = field(default_factory=dict)
    endpoints: Mapping[Key, tuple[str, ...]] = field(default_factory=dict)
