"""Envoy resources at one moment, as the xDS server serves them: by type and name, each with a version of its own."""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message

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


@dataclass(frozen=True, slots=True)
class XdsResource:
    """One Envoy resource.

    Attributes:
        name: unique within its type.
        body: the message, packed.
        version: a hash of the message.
        users: names of the listeners that name it: until one of them is taken, Envoy does not ask for it.
    """

    name: str
    body: AnyMessage
    version: str
    users: frozenset[str] = frozenset()

    @property
    def type_url(self) -> str:
        """The type, as xDS names it."""
        return self.body.type_url


def pack(name: str, message: Message, *, users: Iterable[str] = ()) -> XdsResource:
    """Make a resource of a message; equal messages give equal versions."""
    body = AnyMessage()
    body.Pack(message, deterministic=True)
    return XdsResource(name, body, hashlib.sha256(body.value).hexdigest()[:16], frozenset(users))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that Envoy shall have; equal contents have equal versions."""

    resources: Mapping[str, Mapping[str, XdsResource]]
    version: str

    @classmethod
    def of(cls, resources: Iterable[XdsResource]) -> "Snapshot":
        """Build a snapshot."""
        by_type: dict[str, dict[str, XdsResource]] = {type_url: {} for type_url in PUSH_ORDER}
        digest = hashlib.sha256()
        for resource in sorted(resources, key=lambda r: (r.type_url, r.name)):
            by_type[resource.type_url][resource.name] = resource
            digest.update(f"{resource.type_url}\0{resource.name}\0{resource.version}\0".encode())
        return cls(by_type, digest.hexdigest()[:16])


EMPTY = Snapshot.of(())
