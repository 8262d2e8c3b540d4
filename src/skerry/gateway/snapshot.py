"""Envoy resources at one moment, as the xDS server serves them: by type and name, each with a version of its own."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

from skerry.kit.immutable_map import ImmutableMap

_ENVOY = "type.googleapis.com/envoy."
CLUSTER_TYPE = f"{_ENVOY}config.cluster.v3.Cluster"
SECRET_TYPE = f"{_ENVOY}extensions.transport_sockets.tls.v3.Secret"
LISTENER_TYPE = f"{_ENVOY}config.listener.v3.Listener"
ROUTE_TYPE = f"{_ENVOY}config.route.v3.RouteConfiguration"
EXTENSION_TYPE = f"{_ENVOY}config.core.v3.TypedExtensionConfig"

#: Make before break: what others name comes first; removals go in the opposite order. Plugins follow the listeners, as
#: routes do: Envoy asks for one once a listener names it.
PUSH_ORDER = (CLUSTER_TYPE, SECRET_TYPE, LISTENER_TYPE, EXTENSION_TYPE, ROUTE_TYPE)

#: Envoy asks for these as a whole, and for the others by name.
WILDCARD_TYPES = frozenset({CLUSTER_TYPE, LISTENER_TYPE})


Users: TypeAlias = Mapping[tuple[str, str], frozenset[str]]
"""By type and name of a resource, the listeners that name it: until one of them is taken, Envoy does not ask for it."""


@dataclass(frozen=True, slots=True)
class XdsResource:
    """One Envoy resource.

    Attributes:
        type_url: its type, as xDS names it.
        name: unique within its type.
        body: the message, packed.
        version: a hash of the message.
    """

    type_url: str
    name: str
    body: AnyMessage
    version: str


def pack(name: str, message: Message) -> XdsResource:
    """Make a resource of a message; equal messages give equal versions."""
    body = AnyMessage()
    body.Pack(message, deterministic=True)
    return XdsResource(body.type_url, name, body, hashlib.sha256(body.value).hexdigest()[:16])


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that Envoy shall have.

    Attributes:
        resources: by type, in the order of `PUSH_ORDER`, and by name.
        users: what names them.
    """

    resources: Mapping[str, ImmutableMap[str, XdsResource]]
    users: Users = field(default_factory=dict)

    @classmethod
    def of(cls, resources: Iterable[XdsResource], users: Users | None = None) -> "Snapshot":
        """Build a snapshot of single resources."""
        by_type: dict[str, dict[str, XdsResource]] = {type_url: {} for type_url in PUSH_ORDER}
        for resource in resources:
            by_type[resource.type_url][resource.name] = resource
        return cls({type_url: ImmutableMap(found) for type_url, found in by_type.items()}, users or {})


EMPTY = Snapshot.of(())
