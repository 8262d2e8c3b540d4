"""The OpenAPI document of this door, made of its own table of operations and of what its bodies are read with.

What an operation takes and answers follows from its verb and its kind (`_NOUNS`); where one differs, `_OTHERWISE` says
so.
An operation of a kind that is not told here is refused when the door is made, so nothing is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import BaseModel

from skerry.api.core_v1 import SECRET
from skerry.api.dispatch_drivers import EVENT_DRIVER, EVENT_DRIVER_TYPE
from skerry.api.dispatch_endpoints import ENDPOINT
from skerry.api.dispatch_events import SUBSCRIPTION
from skerry.api.dispatch_images import BASE_IMAGE, IMAGE
from skerry.api.dispatch_services import SERVICE_CLASS, SERVICE_INSTANCE
from skerry.api.dispatch_v1 import FUNCTION, RUN
from skerry.api.model import Document
from skerry.server.dispatch.bodies import FunctionBody, RunBody, SecretBody
from skerry.server.dispatch.door import Operation
from skerry.server.dispatch.drivers import DriverBody, DriverTypeBody
from skerry.server.dispatch.endpoints import EndpointBody
from skerry.server.dispatch.events import SubscriptionBody
from skerry.server.dispatch.image_bodies import BaseImageBody, ImageBody
from skerry.server.dispatch.services import InstanceBody
from skerry.server.model_schemas import model_schemas
from skerry.server.operations import path_parameters, query_parameters

OPENAPI_PATH: Final = "/v1/openapi.json"
_REF = "#/components/schemas/"
_TEXT: Document = {"type": "string"}
_MAYBE_TEXT: Document = {"type": ["string", "null"]}
_ANY: Document = {}
_NUMBER: Document = {"type": "integer"}
_MAYBE_MAP: Document = {"type": ["object", "null"]}
_MAYBE_LINES: Document = {"type": ["array", "null"], "items": _TEXT}
_SECONDS: Document = {"type": "integer", "description": "Seconds since 1970; -62135596800 for what has not come."}
_STATE: Document = {
    "enum": ["INITIALIZED", "CREATING", "READY", "UPDATING", "ERROR", "DELETING", None],
    "description": "How far it is.",
}
_COMMON: Document = {"id": _TEXT, "kind": _TEXT}
_MADE: Document = {**_COMMON, "createdTime": _SECONDS, "status": _STATE, "reason": _MAYBE_LINES}
_RUN: Document = {
    "name": {"type": "string", "format": "uuid"},
    "functionName": _TEXT,
    "functionId": _TEXT,
    "faasId": _TEXT,
    "output": _ANY,
    "error": {"$ref": f"{_REF}RunError"},
    "logs": {"$ref": f"{_REF}Logs"},
    "attempts": _NUMBER,
    "traceparent": _TEXT,
    "deadLetter": _MAYBE_MAP,
    "deadLetterOf": _TEXT,
    "status": _STATE,
    "reason": _MAYBE_LINES,
    "executedTime": _SECONDS,
    "finishedTime": _SECONDS,
}
_BINDING: Document = {
    "type": ["object", "null"],
    "properties": {
        "status": _STATE,
        "reason": _MAYBE_LINES,
        "parameters": _MAYBE_MAP,
        "secretParameters": _MAYBE_LINES,
        "bindingSecret": _MAYBE_TEXT,
        "createdTime": _SECONDS,
    },
}
_SHARED: Document = {
    "Error": {
        "type": "object",
        "required": ["code", "message"],
        "properties": {"code": _NUMBER, "message": _TEXT},
        "description": "What was wrong; a code above 600 is told with 422.",
    },
    "RunError": {
        "type": "object",
        "required": ["type", "message", "stacktrace"],
        "properties": {
            "type": {"enum": ["InputError", "FunctionError", "SystemError"]},
            "message": _TEXT,
            "stacktrace": {"type": "array", "items": _TEXT},
        },
    },
    "FailedRun": {
        "anyOf": [{"$ref": f"{_REF}Error"}, {"$ref": f"{_REF}Run"}],
        "description": "A run that failed, where `Prefer: status=strict` was asked for; or an error.",
    },
    "Logs": {"type": "object", "properties": {"stdout": _MAYBE_LINES, "stderr": _MAYBE_LINES}},
    "RunNames": {"type": "object", "properties": {"runs": {"type": "array", "items": _TEXT}}},
    "Event": {"type": "object", "description": "A CloudEvent, 1.0 or 0.1, as JSON or in the headers; or a batch."},
}

#: What a run that failed is answered with, where `Prefer: status=strict` is asked for.
_STRICT = (422, 500, 502)


@dataclass(frozen=True, slots=True)
class _Noun:
    """What the objects of a kind are.

    Attributes:
        name: of the schema.
        body: what they are created of; None for what is only read.
        told: members of an answer that are not read, or are of another form than what is read.
        kept: members that are read and never answered.
    """

    name: str
    body: type[BaseModel] | None
    told: Document = field(default_factory=dict)
    kept: frozenset[str] = frozenset()


_NOUNS: Mapping[str, _Noun] = {
    FUNCTION.resource: _Noun(
        "Function", FunctionBody, _MADE | {"faasId": _TEXT}, frozenset(("source", "sourceURL", "code", "main"))
    ),
    RUN.resource: _Noun("Run", RunBody, _RUN, frozenset(("retries", "backoff"))),
    SECRET.resource: _Noun("Secret", SecretBody, _COMMON),
    IMAGE.resource: _Noun("Image", ImageBody, _MADE | {"dockerUrl": _TEXT, "language": _TEXT}),
    BASE_IMAGE.resource: _Noun("BaseImage", BaseImageBody, _MADE),
    SUBSCRIPTION.resource: _Noun("Subscription", SubscriptionBody, _MADE),
    ENDPOINT.resource: _Noun("API", EndpointBody, _MADE | {"urls": _MAYBE_LINES}),
    EVENT_DRIVER.resource: _Noun(
        "Driver",
        DriverBody,
        _COMMON
        | {"created-time": _SECONDS, "status": _STATE, "reason": _MAYBE_LINES}
        | {"expose": {"type": "boolean"}, "restarts": {"type": ["integer", "null"]}},
    ),
    EVENT_DRIVER_TYPE.resource: _Noun(
        "DriverType",
        DriverTypeBody,
        _COMMON | {"built-in": {"type": "boolean"}, "command": _MAYBE_LINES, "created-time": _SECONDS},
        frozenset(("image",)),
    ),
    SERVICE_INSTANCE.resource: _Noun("ServiceInstance", InstanceBody, _MADE | {"binding": _BINDING}),
    SERVICE_CLASS.resource: _Noun(
        "ServiceClass",
        None,
        _COMMON
        | {"name": _TEXT, "broker": _MAYBE_TEXT, "description": _MAYBE_TEXT, "bindable": {"type": "boolean"}}
        | {"plans": {"type": "array", "items": {"type": "object"}}, "status": _STATE},
    ),
}

#: Of an operation, by its verb.
_STATUSES: Mapping[str, tuple[int, ...]] = {
    "create": (201,),
    "list": (200,),
    "get": (200,),
    "update": (200,),
    "delete": (200,),
}


@dataclass(frozen=True, slots=True)
class _Otherwise:
    """How an operation differs from what its verb says.

    Attributes:
        statuses: of its answers that are no errors.
        takes: name of a shared schema; "" for the noun's.
        answers: name of a shared schema, by status; the noun's for any other.
        query: what may be in the query.
    """

    statuses: tuple[int, ...] = ()
    takes: str = ""
    answers: Mapping[int, str] = field(default_factory=dict)
    query: tuple[str, ...] = ()


_OTHERWISE: Mapping[tuple[str, str], _Otherwise] = {
    ("POST", "/v1/runs"): _Otherwise((200, 202), answers=dict.fromkeys(_STRICT, "FailedRun"), query=("functionName",)),
    ("GET", "/v1/runs"): _Otherwise(query=("functionName", "since", "tags")),
    ("GET", "/v1/runs/{name}"): _Otherwise(query=("functionName", "since")),
    ("GET", "/v1/runs/{name}/logs"): _Otherwise(answers={200: "Logs"}, query=("follow",)),
    ("DELETE", "/v1/runs/{name}"): _Otherwise((200, 202)),
    ("PUT", "/v1/secret/{name}"): _Otherwise((201,)),
    ("DELETE", "/v1/secret/{name}"): _Otherwise((204,)),
    ("GET", "/v1/secret"): _Otherwise(query=("values",)),
    ("GET", "/v1/secret/{name}"): _Otherwise(query=("values",)),
    ("POST", "/v1/event"): _Otherwise((200, 202), "Event", {200: "Event", 202: "RunNames"}),
    ("POST", "/v1/api"): _Otherwise((200,)),
    ("POST", "/v1/endpoint"): _Otherwise((200,)),
    ("GET", "/v1/api"): _Otherwise(query=("function", "tags")),
    ("GET", "/v1/endpoint"): _Otherwise(query=("function", "tags")),
    ("GET", "/v1/image"): _Otherwise(query=("language", "tags")),
    ("GET", "/v1/serviceclass"): _Otherwise(query=("broker", "tags")),
}
_AS_USUAL = _Otherwise()

_QUERY: Mapping[str, str] = {
    "functionName": "The function.",
    "since": "Only what changed after this, in seconds since 1970.",
    "tags": "`Application=NAME`; may be given more than once.",
    "follow": "`true`: server-sent events, as lines are printed.",
    "values": "`true`: with the values, which are hidden otherwise.",
    "function": "Only those of this function.",
    "language": "Only those of this language.",
    "broker": "Only those of this broker.",
}
_ORGANIZATION: Document = {
    "name": "X-Dispatch-Org",
    "in": "header",
    "required": True,
    "description": "The organization: a namespace.",
    "schema": _TEXT,
}


def openapi_document(operations: Iterable[Operation]) -> Document:
    """Describe operations; raises KeyError for one of a kind that is not told here."""
    paths: dict[str, Document] = {}
    for operation in operations:
        path = paths.setdefault(operation.path, {"parameters": [_ORGANIZATION, *path_parameters(operation)]})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Dispatch functions, by Skerry",
            "version": "v1",
            "description": "Functions with typed input and output, and all that begins their runs.",
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
        },
    }


def _operation(operation: Operation) -> Document:
    noun = _NOUNS[operation.kind.resource]
    otherwise = _OTHERWISE.get((operation.method, operation.path), _AS_USUAL)
    query = otherwise.query or (("tags",) if operation.verb == "list" else ())
    written: Document = {
        "summary": operation.summary,
        "operationId": operation.operation_id,
        "tags": [noun.name],
        "parameters": query_parameters(_QUERY, query),
        "responses": _responses(operation, noun, otherwise),
    }
    if operation.verb in {"create", "update"} and noun.body:
        takes = otherwise.takes or noun.body.__name__
        written["requestBody"] = {"required": True, "content": _content(_ref(takes))}
    return written


def _responses(operation: Operation, noun: _Noun, otherwise: _Otherwise) -> Document:
    responses: Document = {"default": {"description": "What was wrong.", "content": _content(_ref("Error"))}}
    for status in otherwise.answers.keys() - set(otherwise.statuses):
        responses[str(status)] = {"description": "Failed.", "content": _content(_ref(otherwise.answers[status]))}
    for status in otherwise.statuses or _STATUSES[operation.verb]:
        schema = _ref(otherwise.answers.get(status, noun.name))
        if operation.verb == "list":
            schema = {"type": "array", "items": schema}
        responses[str(status)] = {"description": "Done."} | ({"content": _content(schema)} if status != 204 else {})
    return responses


def _content(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _ref(name: str) -> Document:
    return {"$ref": _REF + name}


def _schemas() -> Document:
    bodies = [noun.body for noun in _NOUNS.values() if noun.body]
    schemas: dict[str, Any] = {**model_schemas(bodies, _REF + "{model}"), **_SHARED}
    for noun in _NOUNS.values():
        read = schemas[noun.body.__name__]["properties"] if noun.body else {}
        schemas[noun.name] = {
            "type": "object",
            "properties": {name: schema for name, schema in read.items() if name not in noun.kept} | noun.told,
            "additionalProperties": False,
        }
    return schemas
