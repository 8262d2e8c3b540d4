r"""Kubernetes' protobuf bodies, decoded into JSON documents. Pure.

kubectl 1.32 and newer send these from its typed commands (`create secret`, `auth can-i`, ...), and nothing else can be
negotiated. The envelope is `k8s\0` and a message `Unknown` (1: TypeMeta, 2: raw); the field numbers of what is
inside are those of the generated.proto files in k8s.io/api and k8s.io/apimachinery.

Go writes zero values, so an empty text, a zero and an empty message mean "absent" here.
"""

import base64
import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal, cast

from skerry.api.errors import BadRequest, UnsupportedMediaType
from skerry.api.model import Document
from skerry.kit.clock import rfc3339

_MAGIC = b"k8s\0"
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_VARINT_BYTES_MAX = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

Scalar = Literal["string", "bytes", "raw", "int", "bool", "time", "texts", "blobs"]
"""`bytes` become base64, `raw` ones stay; `texts` and `blobs` are maps from text to text and to bytes."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of a message: its name in JSON, and what it holds.

    Attributes:
        type: a scalar, or the fields of a nested message by their numbers.
        repeated: whether it is a list.
    """

    name: str
    type: "Scalar | Message"
    repeated: bool = False


Message = dict[int, Field]

OWNER: Message = {
    1: Field("kind", "string"),
    3: Field("name", "string"),
    4: Field("uid", "string"),
    5: Field("apiVersion", "string"),
    6: Field("controller", "bool"),
    7: Field("blockOwnerDeletion", "bool"),
}
METADATA: Message = {
    1: Field("name", "string"),
    2: Field("generateName", "string"),
    3: Field("namespace", "string"),
    5: Field("uid", "string"),
    6: Field("resourceVersion", "string"),
    11: Field("labels", "texts"),
    12: Field("annotations", "texts"),
    13: Field("ownerReferences", OWNER, repeated=True),
    14: Field("finalizers", "string", repeated=True),
}
REFERENCE: Message = {
    1: Field("kind", "string"),
    2: Field("namespace", "string"),
    3: Field("name", "string"),
    4: Field("uid", "string"),
    5: Field("apiVersion", "string"),
    6: Field("resourceVersion", "string"),
    7: Field("fieldPath", "string"),
}
_ACCESS: Message = {
    1: Field(
        "resourceAttributes",
        {
            1: Field("namespace", "string"),
            2: Field("verb", "string"),
            3: Field("group", "string"),
            4: Field("version", "string"),
            5: Field("resource", "string"),
            6: Field("subresource", "string"),
            7: Field("name", "string"),
        },
    ),
    2: Field("nonResourceAttributes", {1: Field("path", "string"), 2: Field("verb", "string")}),
}

_SUBJECT_ACCESS: Message = {
    **_ACCESS,
    3: Field("user", "string"),
    4: Field("groups", "string", repeated=True),
    6: Field("uid", "string"),
}
_SELECTOR: Message = {
    1: Field("matchLabels", "texts"),
    2: Field(
        "matchExpressions",
        {1: Field("key", "string"), 2: Field("operator", "string"), 3: Field("values", "string", repeated=True)},
        repeated=True,
    ),
}
_RULE: Message = {
    number: Field(name, "string", repeated=True)
    for number, name in enumerate(("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs"), start=1)
}
_ROLE: Message = {
    1: Field("metadata", METADATA),
    2: Field("rules", _RULE, repeated=True),
    3: Field("aggregationRule", {1: Field("clusterRoleSelectors", _SELECTOR, repeated=True)}),
}
_SUBJECT: Message = {
    1: Field("kind", "string"),
    2: Field("apiGroup", "string"),
    3: Field("name", "string"),
    4: Field("namespace", "string"),
}
_BINDING: Message = {
    1: Field("metadata", METADATA),
    2: Field("subjects", _SUBJECT, repeated=True),
    3: Field("roleRef", {1: Field("apiGroup", "string"), 2: Field("kind", "string"), 3: Field("name", "string")}),
}

_BOUND_OBJECT: Message = {
    1: Field("kind", "string"),
    2: Field("apiVersion", "string"),
    3: Field("name", "string"),
    4: Field("uid", "string"),
}

#: The messages that are read, by the apiVersion and kind in their envelope.
MESSAGES: dict[tuple[str, str], Message] = {
    ("v1", "Namespace"): {
        1: Field("metadata", METADATA),
        2: Field("spec", {1: Field("finalizers", "string", repeated=True)}),
        3: Field("status", {1: Field("phase", "string")}),
    },
    ("v1", "ConfigMap"): {
        1: Field("metadata", METADATA),
        2: Field("data", "texts"),
        3: Field("binaryData", "blobs"),
        4: Field("immutable", "bool"),
    },
    ("v1", "Secret"): {
        1: Field("metadata", METADATA),
        2: Field("data", "blobs"),
        3: Field("type", "string"),
        4: Field("stringData", "texts"),
        5: Field("immutable", "bool"),
    },
    ("v1", "Event"): {
        1: Field("metadata", METADATA),
        2: Field("involvedObject", REFERENCE),
        3: Field("reason", "string"),
        4: Field("message", "string"),
        5: Field("source", {1: Field("component", "string"), 2: Field("host", "string")}),
        6: Field("firstTimestamp", "time"),
        7: Field("lastTimestamp", "time"),
        8: Field("count", "int"),
        9: Field("type", "string"),
        10: Field("eventTime", "time"),
        11: Field("series", {1: Field("count", "int"), 2: Field("lastObservedTime", "time")}),
        12: Field("action", "string"),
        13: Field("related", REFERENCE),
        14: Field("reportingComponent", "string"),
        15: Field("reportingInstance", "string"),
    },
    ("v1", "ServiceAccount"): {
        1: Field("metadata", METADATA),
        2: Field("secrets", REFERENCE, repeated=True),
        3: Field("imagePullSecrets", {1: Field("name", "string")}, repeated=True),
        4: Field("automountServiceAccountToken", "bool"),
    },
    ("v1", "DeleteOptions"): {
        1: Field("gracePeriodSeconds", "int"),
        2: Field("preconditions", {1: Field("uid", "string"), 2: Field("resourceVersion", "string")}),
        3: Field("orphanDependents", "bool"),
        4: Field("propagationPolicy", "string"),
        5: Field("dryRun", "string", repeated=True),
    },
    ("authorization.k8s.io/v1", "SelfSubjectAccessReview"): {
        1: Field("metadata", METADATA),
        2: Field("spec", _ACCESS),
    },
    ("authorization.k8s.io/v1", "SelfSubjectRulesReview"): {
        1: Field("metadata", METADATA),
        2: Field("spec", {1: Field("namespace", "string")}),
    },
    ("authorization.k8s.io/v1", "SubjectAccessReview"): {
        1: Field("metadata", METADATA),
        2: Field("spec", _SUBJECT_ACCESS),
    },
    ("authorization.k8s.io/v1", "LocalSubjectAccessReview"): {
        1: Field("metadata", METADATA),
        2: Field("spec", _SUBJECT_ACCESS),
    },
    ("rbac.authorization.k8s.io/v1", "ClusterRole"): _ROLE,
    ("rbac.authorization.k8s.io/v1", "Role"): _ROLE,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): _BINDING,
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): _BINDING,
    ("authentication.k8s.io/v1", "SelfSubjectReview"): {1: Field("metadata", METADATA)},
    ("authentication.k8s.io/v1", "TokenReview"): {
        1: Field("metadata", METADATA),
        2: Field("spec", {1: Field("token", "string"), 2: Field("audiences", "string", repeated=True)}),
    },
    ("authentication.k8s.io/v1", "TokenRequest"): {
        1: Field("metadata", METADATA),
        2: Field(
            "spec",
            {
                1: Field("audiences", "string", repeated=True),
                3: Field("boundObjectRef", _BOUND_OBJECT),
                4: Field("expirationSeconds", "int"),
            },
        ),
    },
}
_ENVELOPE: Message = {
    1: Field("type", {1: Field("apiVersion", "string"), 2: Field("kind", "string")}),
    2: Field("raw", "raw"),
}


def decode(body: bytes) -> Document:
    """Return the JSON document of a body in its envelope.

    Raises:
        BadRequest: the bytes are no such envelope, or cut short.
        UnsupportedMediaType: the message is of a kind that is not read here.
    """
    if not body.startswith(_MAGIC):
        raise BadRequest("the body of the request is not in Kubernetes' protobuf envelope (it must start with k8s\\0)")
    try:
        envelope = _message(memoryview(body)[len(_MAGIC) :], _ENVELOPE)
        found = envelope.get("type", {})
        api_version, kind = found.get("apiVersion", ""), found.get("kind", "")
        if api_version == "meta.k8s.io/v1" or (kind == "DeleteOptions"):
            api_version = "v1"
        message = MESSAGES.get((api_version, kind))
        if message is None:
            raise UnsupportedMediaType(f"{api_version}, Kind={kind} is not accepted as protobuf: send application/json")
        return {"apiVersion": api_version, "kind": kind, **_message(envelope.get("raw", memoryview(b"")), message)}
    except (IndexError, ValueError, OverflowError) as error:
        raise BadRequest(f"the body of the request is not valid protobuf: {error}") from error


def _message(data: memoryview, fields: Message) -> Document:
    document: Document = {}
    for number, wire_type, raw in _parts(data):
        field = fields.get(number)
        if field is None:
            continue
        expected = _VARINT if field.type in ("int", "bool") else _BYTES
        if wire_type != expected:
            raise ValueError(f"{field.name} has wire type {wire_type}")
        value = _value(raw, field)
        if isinstance(field.type, str) and field.type in {"texts", "blobs"}:
            document.setdefault(field.name, {}).update(cast("dict[str, str]", value))
        elif field.repeated:
            document.setdefault(field.name, []).append(value)
        elif value not in ("", 0, {}, None):
            document[field.name] = value
    return document


def _value(raw: Any, field: Field) -> Any:
    match field.type:
        case "string":
            return bytes(raw).decode()
        case "bytes":
            return base64.b64encode(raw).decode()
        case "raw":
            return raw
        case "int":
            return raw - (1 << 64) if raw >= 1 << 63 else raw
        case "bool":
            return bool(raw)
        case "time":
            return _time(raw)
        case "texts" | "blobs" as kind:
            entry = _message(
                raw, {1: Field("key", "string"), 2: Field("value", "string" if kind == "texts" else "bytes")}
            )
            return {entry.get("key", ""): entry.get("value", "")}
        case nested:
            return _message(raw, nested)


def _time(raw: memoryview) -> str | None:
    """Read a Time or Timestamp {1: seconds, 2: nanoseconds}; the zero time is absent."""
    found = _message(raw, {1: Field("seconds", "int"), 2: Field("nanos", "int")})
    seconds = found.get("seconds", 0)
    return rfc3339(_EPOCH + dt.timedelta(seconds=seconds)) if seconds > 0 else None


def _parts(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    """Yield (field number, wire type, number or bytes) of a message."""
    place = 0
    while place < len(data):
        tag, place = _varint(data, place)
        number, wire_type = tag >> 3, tag & 7
        if wire_type == _VARINT:
            value, place = _varint(data, place)
            yield number, wire_type, value
            continue
        if wire_type == _BYTES:
            size, place = _varint(data, place)
        elif wire_type in {_FIXED64, _FIXED32}:
            size = 8 if wire_type == _FIXED64 else 4
        else:
            raise ValueError(f"wire type {wire_type}")
        if place + size > len(data):
            raise ValueError("a field ends behind the body's end")
        yield number, wire_type, data[place : place + size]
        place += size


def _varint(data: memoryview, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(_VARINT_BYTES_MAX):
        byte = data[place + shift]
        value |= (byte & 0x7F) << (7 * shift)
        if not byte & 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, place + shift + 1
    raise ValueError("a number is longer than 64 bits")
