"""The OpenAPI document of this door, made of its own table of operations and of what its bodies are read with.

An operation names the schema that it answers; one that is not told in `schemas` is refused when the door is made.
"""

from collections.abc import Iterable
from typing import Final

from skerry.api.model import Document
from skerry.server.baetyl.door import Operation
from skerry.server.baetyl.joining_openapi import JOINING_BODIES, JOINING_SCHEMAS, joining_paths
from skerry.server.baetyl.schemas import REF, SCHEMAS, ref
from skerry.server.model_schemas import model_schemas
from skerry.server.operations import path_parameters, query_parameters

OPENAPI_PATH: Final = "/v1/fleet/openapi.json"

_QUERY = {
    "selector": "A label selector in Kubernetes' grammar.",
    "fieldSelector": "A field selector, such as metadata.name=test.",
    "limit": "Most objects in the answer.",
    "continue": "The token of the page before.",
    "pageNo": "Which page, from 1.",
    "pageSize": "Objects of a page; all by default.",
    "name": "A part of the name.",
    "batch": "Must be there: the nodes that the body names are got.",
    "ready": "online, offline or uninstall.",
    "cluster": "single or cluster.",
    "createSort": "asc or desc, by the time of creation.",
    "base": "An application whose services and volumes come first.",
    "mode": "kube or native; both get the same command.",
    "once": "true: the command is good for one device.",
    "instance": "An instance that the node reported; the first one by default.",
    "container": "One of the containers of an instance, for clusters.",
    "follow": "true: go on with what comes.",
    "previous": "true: the log from before it was begun anew.",
    "tailLines": "Begin with so many of the newest lines.",
    "sinceSeconds": "Only lines not older than this; containers have that.",
    "limitBytes": "End after so many bytes.",
    "timestamps": "true: each line with its time; containers have that.",
    "from": "An application that is copied; the body goes before it.",
}
_HEADERS: list[Document] = [
    {
        "name": name,
        "in": "header",
        "description": description,
        "schema": {"type": "string", "pattern": pattern},
    }
    for name, description, pattern in (
        ("x-bce-request-id", "An id of the request; it is answered with.", r"^[\w.:-]{1,128}$"),
    )
]


def openapi_document(operations: Iterable[Operation]) -> Document:
    """Describe operations; raises KeyError for one whose answer is not told."""
    paths: dict[str, Document] = {}
    known = list(operations)
    for operation in known:
        path = paths.setdefault(operation.path, {"parameters": [*_HEADERS, *path_parameters(operation)]})
        path[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Fleets, by Skerry",
            "version": "v1",
            "description": "Nodes, and the applications, configurations and secrets that are meant for them.",
        },
        "security": [{"token": []}],
        "paths": {**paths, **joining_paths()},
        "components": {
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "certificate": {"type": "mutualTLS"},
            },
            "schemas": {**_bodies(known), **SCHEMAS, **JOINING_SCHEMAS},
        },
    }


def _operation(operation: Operation) -> Document:
    described = operation.described
    if described.answers not in SCHEMAS:
        raise KeyError(f"{operation.method} {operation.path} answers {described.answers}, which no schema tells")
    written: Document = {
        "summary": operation.summary,
        "operationId": operation.operation_id,
        "tags": [operation.kind.kind],
        "parameters": query_parameters(_QUERY, described.query),
        "responses": {
            "200": {"description": "Done.", "content": _content(ref(described.answers), described.form)},
            "default": {"description": "What was wrong.", "content": _content(ref("Error"))},
        },
    }
    if described.takes:
        written["requestBody"] = {"required": True, "content": _content(ref(described.takes.__name__))}
    return written


def _content(schema: Document, form: str = "application/json") -> Document:
    return {form: {"schema": schema}}


def _bodies(operations: Iterable[Operation]) -> Document:
    taken = (operation.described.takes for operation in operations if operation.described.takes)
    return dict(model_schemas(list(dict.fromkeys((*taken, *JOINING_BODIES))), REF + "{model}"))
