"""core/v1: Namespace, Secret, ConfigMap, Event, with Kubernetes' own rules."""

import base64
import binascii
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from skerry.api.baetyl_secrets import typed_secret_errors
from skerry.api.fields import FieldError, forbidden, invalid, required, too_long
from skerry.api.kinds import Column, Kind, value_at
from skerry.api.model import (
    LIST_ATOMIC,
    MAP_ATOMIC,
    SECRET_FIELD,
    Conditions,
    Document,
    Int32,
    Model,
    Resource,
    Time,
)
from skerry.api.names import data_key_errors

#: Kubernetes' bound for the data of one Secret or ConfigMap.
DATA_BYTES_MAX = 1024 * 1024


class NamespaceSpec(Model):
    """The desired state of a namespace."""

    finalizers: Annotated[list[str] | None, LIST_ATOMIC] = None
    """Must be empty before the namespace is removed; the finalize subresource changes them."""


class NamespaceStatus(Model):
    """The present state of a namespace."""

    phase: Literal["Active", "Terminating"] | None = None
    """Active, or Terminating while its contents are being deleted."""
    conditions: Conditions = None
    """What holds up a namespace's end."""


class Namespace(Resource):
    """A scope for names."""

    spec: NamespaceSpec = Field(default_factory=NamespaceSpec)
    """The desired state."""
    status: NamespaceStatus = Field(default_factory=NamespaceStatus)
    """The present state."""


def _default_namespace(namespace: Namespace) -> None:
    labels = namespace.metadata.labels or {}
    namespace.metadata.labels = labels | {"kubernetes.io/metadata.name": namespace.name}


def _prepare_namespace(namespace: Namespace) -> None:
    namespace.spec.finalizers = ["kubernetes"]
    namespace.status.phase = "Active"


NAMESPACE = Kind(
    group="",
    version="v1",
    model=Namespace,
    plural="namespaces",
    namespaced=False,
    short_names=("ns",),
    columns=(Column("Status", value_at(".status.phase"), description="The phase of the namespace."),),
    name_format="label",
    default=_default_namespace,
    prepare_create=_prepare_namespace,
    selectable={"status.phase": lambda d: str(value_at(".status.phase")(d) or "")},
    subresources=("finalize",),
    core_semantics=True,
    read_by="view",
)


class Secret(Resource):
    """Sensitive data, kept apart from what uses it."""

    type: str = "Opaque"
    """Tells what the data is for; it can't be changed."""
    data: Annotated[dict[str, str] | None, SECRET_FIELD] = None
    """The data; each value base64 encoded."""
    string_data: Annotated[dict[str, str] | None, SECRET_FIELD] = None
    """Write-only: plain text that is merged into data."""
    immutable: bool | None = None
    """If true, the data can't be changed any more."""


def _default_secret(secret: Secret) -> None:
    if secret.string_data:
        plain = {key: base64.b64encode(text.encode()).decode() for key, text in secret.string_data.items()}
        secret.data = (secret.data or {}) | plain
    secret.string_data = None


#: The keys that a secret of a type must have, and a check of their content.
_REQUIRED_KEYS: dict[str, tuple[tuple[str, ...], Callable[[bytes], Any]]] = {
    "kubernetes.io/dockerconfigjson": ((".dockerconfigjson",), json.loads),
    "kubernetes.io/dockercfg": ((".dockercfg",), json.loads),
    "kubernetes.io/tls": (("tls.crt", "tls.key"), len),
    "kubernetes.io/ssh-auth": (("ssh-privatekey",), len),
}


def _validate_secret(secret: Secret, old: Secret | None) -> Iterator[FieldError]:
    data = secret.data or {}
    yield from data_key_errors("data", data)
    size, plain = 0, {}
    for key, text in data.items():
        try:
            plain[key] = base64.b64decode(text, validate=True)
            size += len(plain[key])
        except (binascii.Error, ValueError):
            yield invalid(f"data[{key}]", "<omitted>", "must be base64 encoded; plain text goes into stringData")
    if size > DATA_BYTES_MAX:
        yield too_long("data", DATA_BYTES_MAX)
    if old is None or (data, secret.metadata.labels) != (old.data or {}, old.metadata.labels):
        yield from typed_secret_errors(secret.metadata.labels, data, plain)  # what was taken before these rules stays
    yield from _required_key_errors(secret, plain)
    if old is not None:
        if secret.type != old.type:
            yield invalid("type", secret.type, "field is immutable")
        yield from _validate_immutable(secret, old, changed=secret.data != old.data)


def _required_key_errors(secret: Secret, plain: Mapping[str, bytes]) -> Iterator[FieldError]:
    keys, check = _REQUIRED_KEYS.get(secret.type, ((), len))
    for key in keys:
        if key not in (secret.data or {}):
            yield required(f"data[{key}]")
        elif key in plain:
            try:
                check(plain[key])
            except ValueError:
                yield invalid(f"data[{key}]", "<secret contents redacted>", "must be valid JSON")


def _validate_immutable(obj: Any, old: Any, *, changed: bool) -> Iterator[FieldError]:
    if not old.immutable:
        return
    if not obj.immutable:
        yield forbidden("immutable", "field is immutable when `immutable` is set")
    if changed:
        yield forbidden("data", "field is immutable when `immutable` is set")


SECRET = Kind(
    group="",
    version="v1",
    model=Secret,
    plural="secrets",
    namespaced=True,
    columns=(
        Column("Type", value_at(".type"), description="Tells what the data is for."),
        Column("Data", lambda d: len(d.get("data") or {}), type="integer", description="The number of keys."),
    ),
    default=_default_secret,
    validate=_validate_secret,
    selectable={"type": lambda d: str(d.get("type", ""))},
    core_semantics=True,
    read_by="edit",
    written_by="edit",
)


class ConfigMap(Resource):
    """Configuration for others to read."""

    data: dict[str, str] | None = None
    """The data, as text."""
    binary_data: dict[str, str] | None = None
    """The data, as bytes; each value base64 encoded."""
    immutable: bool | None = None
    """If true, the data can't be changed any more."""


def _validate_config_map(config: ConfigMap, old: ConfigMap | None) -> Iterator[FieldError]:
    data, binary = config.data or {}, config.binary_data or {}
    yield from data_key_errors("data", data)
    yield from data_key_errors("binaryData", binary)
    for key in data.keys() & binary.keys():
        yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    size = sum(len(text.encode()) for text in data.values())
    for key, text in binary.items():
        try:
            size += len(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError):
            yield invalid(f"binaryData[{key}]", text, "must be base64 encoded")
    if size > DATA_BYTES_MAX:
        yield too_long("", DATA_BYTES_MAX)
    if old is not None:
        changed = (config.data, config.binary_data) != (old.data, old.binary_data)
        yield from _validate_immutable(config, old, changed=changed)


CONFIG_MAP = Kind(
    group="",
    version="v1",
    model=ConfigMap,
    plural="configmaps",
    namespaced=True,
    short_names=("cm",),
    columns=(
        Column(
            "Data",
            lambda d: len(d.get("data") or {}) + len(d.get("binaryData") or {}),
            type="integer",
            description="The number of keys.",
        ),
    ),
    validate=_validate_config_map,
    core_semantics=True,
    read_by="view",
    written_by="edit",
)


class ObjectReference(Model):
    """Names another object."""

    model_config = MAP_ATOMIC

    api_version: str | None = None
    """API version of the object."""
    kind: str | None = None
    """Kind of the object."""
    namespace: str | None = None
    """Namespace of the object."""
    name: str | None = None
    """Name of the object."""
    uid: str | None = None
    """UID of the object."""
    resource_version: str | None = None
    """The version of the object that is meant."""
    field_path: str | None = None
    """A part of the object instead of the whole."""


class EventSource(Model):
    """Where an event comes from."""

    component: str | None = None
    """The component that reports it."""
    host: str | None = None
    """The node that reports it."""


class EventSeries(Model):
    """Many equal events told as one."""

    count: Int32 | None = None
    """How often it happened."""
    last_observed_time: Time | None = None
    """When it happened last."""


class Event(Resource):
    """Something that happened to an object, told to people."""

    involved_object: ObjectReference
    """What it happened to."""
    reason: str | None = None
    """A word that tells why."""
    message: str | None = None
    """The details, for a person."""
    source: EventSource | None = None
    """Who reports it."""
    first_timestamp: Time | None = None
    """When it happened first."""
    last_timestamp: Time | None = None
    """When it happened last."""
    count: Int32 | None = None
    """How often it happened."""
    type: str | None = None
    """Normal or Warning."""
    event_time: Time | None = None
    """When it happened, precisely."""
    series: EventSeries | None = None
    """The series that this event belongs to."""
    action: str | None = None
    """What was done."""
    related: ObjectReference | None = None
    """A second object that is concerned."""
    reporting_component: str | None = None
    """The controller that reports it."""
    reporting_instance: str | None = None
    """Which instance of it."""


def _validate_event(event: Event, _: Event | None) -> Iterator[FieldError]:
    place = event.involved_object.namespace or "default"
    if place != event.namespace:
        yield invalid("involvedObject.namespace", place, "does not match event.namespace")


def _involved(document: Document) -> str:
    reference = document.get("involvedObject") or {}
    return f"{str(reference.get('kind', '')).lower()}/{reference.get('name', '')}"


def _text_at(path: str) -> Callable[[Document], str]:
    read = value_at(path)
    return lambda document: str(read(document) or "")


EVENT = Kind(
    group="",
    version="v1",
    model=Event,
    plural="events",
    namespaced=True,
    short_names=("ev",),
    columns=(
        Column("Last Seen", value_at(".lastTimestamp"), type="date", description="When it happened last."),
        Column("Type", value_at(".type"), description="Normal or Warning."),
        Column("Reason", value_at(".reason"), description="A word that tells why."),
        Column("Object", _involved, description="What it happened to."),
        Column("Message", value_at(".message"), description="The details."),
    ),
    validate=_validate_event,
    selectable={
        "involvedObject.kind": _text_at(".involvedObject.kind"),
        "involvedObject.namespace": _text_at(".involvedObject.namespace"),
        "involvedObject.name": _text_at(".involvedObject.name"),
        "involvedObject.uid": _text_at(".involvedObject.uid"),
        "involvedObject.apiVersion": _text_at(".involvedObject.apiVersion"),
        "involvedObject.resourceVersion": _text_at(".involvedObject.resourceVersion"),
        "involvedObject.fieldPath": _text_at(".involvedObject.fieldPath"),
        "reason": _text_at(".reason"),
        "type": _text_at(".type"),
        "source": _text_at(".source.component"),
        "reportingComponent": _text_at(".reportingComponent"),
    },
    core_semantics=True,
    read_by="view",
)
