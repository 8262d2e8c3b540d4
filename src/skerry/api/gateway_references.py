"""gateway.networking.k8s.io/v1: names as its kinds write them, and references to other objects.

Fields, limits and rules as in `gateway_v1` and `gateway_http_route_v1`, whose objects these are a part of.
"""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from skerry.api.fields import FieldError, required
from skerry.api.model import Model, Port

GROUP = "gateway.networking.k8s.io"
VERSION = "v1"

DNS_PATTERN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"

Hostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^(\*\.)?{DNS_PATTERN}$")]
PreciseHostname = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{DNS_PATTERN}$")]
SectionName = Annotated[str, Field(min_length=1, max_length=253, pattern=rf"^{DNS_PATTERN}$")]
ObjectName = Annotated[str, Field(min_length=1, max_length=253)]
NamespaceName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")]
Group = Annotated[str, Field(max_length=253, pattern=rf"^$|^{DNS_PATTERN}$")]
KindName = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")]
ControllerName = Annotated[
    str, Field(min_length=1, max_length=253, pattern=rf"^{DNS_PATTERN}\/[A-Za-z0-9\/\-._~%!$&'()*+,;=:]+$")
]
AnnotationValue = Annotated[str, Field(max_length=4096)]


class LocalObjectReference(Model):
    """Names an object of the same namespace, or of a cluster-scoped kind."""

    group: Group
    """API group of the object; empty for the core group."""
    kind: KindName
    """Kind of the object."""
    name: ObjectName
    """Name of the object."""


class SecretObjectReference(Model):
    """Names a Secret, or another object that holds a certificate."""

    group: Group = ""
    """API group of the object; empty for the core group."""
    kind: KindName = "Secret"
    """Kind of the object."""
    name: ObjectName
    """Name of the object."""
    namespace: NamespaceName | None = None
    """Namespace of the object; that of the Gateway where absent."""


class ParentReference(Model):
    """Names the Gateway, or one of its listeners, that a route wants to be attached to."""

    group: Group = GROUP
    """API group of the parent."""
    kind: KindName = "Gateway"
    """Kind of the parent."""
    namespace: NamespaceName | None = None
    """Namespace of the parent; that of the route where absent."""
    name: ObjectName
    """Name of the parent."""
    section_name: SectionName | None = None
    """Name of one listener of the Gateway; all of its listeners where absent."""
    port: Port | None = None
    """Only listeners at this port; any port where absent."""


class BackendObjectReference(Model):
    """Names where requests are sent."""

    group: Group = ""
    """API group of the backend: core.apoxy.dev for a Backend, extensions.apoxy.dev for an EdgeFunction."""
    kind: KindName = "Service"
    """Kind of the backend: Backend or EdgeFunction."""
    name: ObjectName
    """Name of the backend."""
    namespace: NamespaceName | None = None
    """Namespace of the backend, for namespaced kinds."""
    port: Port | None = None
    """Port of the backend. A Backend needs one; an EdgeFunction has none."""


def backend_errors(path: str, backend: BackendObjectReference) -> Iterator[FieldError]:
    """Check the one rule between a backend reference's fields."""
    if backend.group == "" and backend.kind == "Service" and backend.port is None:
        yield required(f"{path}.port", "Must have port for Service reference")


class ParametersReference(Model):
    """Names an object with parameters for a controller."""

    group: Group
    """API group of the object."""
    kind: KindName
    """Kind of the object."""
    name: ObjectName
    """Name of the object."""
    namespace: NamespaceName | None = None
    """Namespace of the object; absent for cluster-scoped kinds."""
