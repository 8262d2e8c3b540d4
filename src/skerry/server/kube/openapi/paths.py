"""The operations of the API, one path item for each thing that a path can name."""

from typing import Any

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.kube.openapi.schemas import DELETE_OPTIONS, REF, SCALE, STATUS, TOKEN_REQUEST, schema_name

_DRY_RUN = "All: check everything, store nothing."
_MANAGER = "Who writes: the name that field ownership is recorded under."
_VALIDATION = "What happens to unknown and duplicate fields: Ignore, Warn (default) or Strict."
_SELECTORS = {
    "labelSelector": "Only objects whose labels match.",
    "fieldSelector": "Only objects whose fields match.",
}
_LIST: dict[str, str] = {
    **_SELECTORS,
    "limit": "Most objects of one answer.",
    "continue": "Of the page before, to get the next one.",
    "resourceVersion": "As of which revision.",
    "resourceVersionMatch": "Exact or NotOlderThan.",
    "watch": "Follow the changes instead of listing.",
    "allowWatchBookmarks": "Tell a watcher now and then how far it has seen.",
    "sendInitialEvents": "Begin a watch with the present state.",
    "timeoutSeconds": "How long a watch lasts.",
}
_TYPES = {
    "limit": "integer",
    "timeoutSeconds": "integer",
    "watch": "boolean",
    "allowWatchBookmarks": "boolean",
    "sendInitialEvents": "boolean",
    "force": "boolean",
}
_WRITE = {"dryRun": _DRY_RUN, "fieldManager": _MANAGER, "fieldValidation": _VALIDATION}
_DELETE = {
    "dryRun": _DRY_RUN,
    "propagationPolicy": "Background, Foreground or Orphan.",
    "gracePeriodSeconds": "Ignored.",
}
_FAILURES = {
    "4XX": "Refused: the Status says why, and what is accepted.",
    "503": "A part that the answer needs is not there now.",
    "504": "The answer was not there in time, or is asked for of a revision that is not written yet.",
}
_PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")


def path_items(kind: Kind[Any]) -> dict[str, Document]:
    """Return the path items of a kind, by path."""
    collection = kind.path("{namespace}") if kind.namespaced else kind.path()
    one = f"{collection}/{{name}}"
    items = {collection: _collection(kind), one: _object(kind)}
    if kind.namespaced:
        items[kind.path()] = {
            "get": _operation(kind, "list", _LIST, f"{schema_name(kind)}List", suffix="ForAllNamespaces")
        }
    if kind.scale is not None:
        items[f"{one}/scale"] = _scale(kind)
    if kind.has_status:
        items[f"{one}/status"] = _status(kind)
    for subresource in kind.subresources:
        items[f"{one}/{subresource}"] = _subresource(kind, subresource)
    return items


def _collection(kind: Kind[Any]) -> Document:
    name = schema_name(kind)
    return {
        "get": _operation(kind, "list", _LIST, f"{name}List"),
        "post": _operation(kind, "post", _WRITE, name, body=name),
        "delete": _operation(kind, "deletecollection", {**_LIST, **_DELETE}, f"{name}List", body=DELETE_OPTIONS),
        "parameters": _place(kind, named=False),
    }


def _object(kind: Kind[Any]) -> Document:
    name = schema_name(kind)
    return {
        "get": _operation(kind, "get", {"resourceVersion": _LIST["resourceVersion"]}, name),
        "put": _operation(kind, "put", _WRITE, name, body=name),
        "patch": _patch(kind),
        "delete": _delete(kind),
        "parameters": _place(kind, named=True),
    }


def _delete(kind: Kind[Any]) -> Document:
    operation = _operation(kind, "delete", _DELETE, STATUS, body=DELETE_OPTIONS)
    # What finalizers hold back, and every namespace, is answered with the object itself.
    either = {"anyOf": [{"$ref": REF + name} for name in (STATUS, schema_name(kind))]}
    operation["responses"]["200"]["content"]["application/json"]["schema"] = either
    return operation


def _status(kind: Kind[Any]) -> Document:
    name = schema_name(kind)
    return {
        "get": _operation(kind, "get", {}, name, suffix="Status"),
        "put": _operation(kind, "put", _WRITE, name, body=name, suffix="Status"),
        "patch": _patch(kind, suffix="Status"),
        "parameters": _place(kind, named=True),
    }


def _scale(kind: Kind[Any]) -> Document:
    item: Document = {
        "get": _operation(kind, "get", {}, SCALE, suffix="Scale"),
        "put": _operation(kind, "put", _WRITE, SCALE, body=SCALE, suffix="Scale"),
        "patch": _operation(kind, "patch", _WRITE, SCALE, suffix="Scale"),
        "parameters": _place(kind, named=True),
    }
    content: Document = {media_type: {"schema": {}} for media_type in _PATCH_TYPES[:2]}
    item["patch"]["requestBody"] = {"required": True, "content": content}
    del item["patch"]["responses"]["201"]
    for method in ("get", "put", "patch"):
        item[method]["x-kubernetes-group-version-kind"] = {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    return item


def _subresource(kind: Kind[Any], subresource: str) -> Document:
    if subresource == "finalize":
        name = schema_name(kind)
        return {
            "put": _operation(kind, "put", _WRITE, name, body=name, suffix="Finalize"),
            "parameters": _place(kind, named=True),
        }
    if subresource == "token":
        post = _operation(kind, "post", {}, TOKEN_REQUEST, body=TOKEN_REQUEST, suffix="Token")
        post["x-kubernetes-group-version-kind"] = {
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
        }
        return {"post": post, "parameters": _place(kind, named=True)}
    return {"get": _text(kind, subresource), "parameters": _place(kind, named=True)}


def _patch(kind: Kind[Any], suffix: str = "") -> Document:
    operation = _operation(
        kind, "patch", {**_WRITE, "force": "For server-side apply only."}, schema_name(kind), suffix=suffix
    )
    types = (*_PATCH_TYPES, *(("application/strategic-merge-patch+json",) if kind.core_semantics else ()))
    # A JSON patch is a list, the others are objects; OpenAPI 2 and 3.0 have no type for both.
    operation["requestBody"] = {"required": True, "content": {media_type: {"schema": {}} for media_type in types}}
    return operation


def _operation(
    kind: Kind[Any],
    action: str,
    parameters: dict[str, str],
    answer: str,
    *,
    body: str = "",
    suffix: str = "",
) -> Document:
    operation: Document = {
        "operationId": f"{action}{_camel(kind)}{suffix}",
        "tags": [_camel(kind, with_kind=False)],
        "parameters": [_parameter(name, description) for name, description in parameters.items()],
        "responses": {
            "200": _response("OK", answer),
            **({"201": _response("Created", answer)} if action in {"post", "patch"} else {}),
            **{code: _response(description, STATUS) for code, description in _FAILURES.items()},
        },
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
    }
    if body:
        required = action in {"post", "put"}
        content = {"application/json": {"schema": {"$ref": REF + body}}}
        operation["requestBody"] = {"required": required, "content": content}
    return operation


def _text(kind: Kind[Any], subresource: str) -> Document:
    operation = _operation(kind, "connect", _LOG, STATUS, suffix=subresource.capitalize())
    operation["responses"]["200"] = {"description": "OK", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return operation


_LOG = {
    "follow": "Go on with new lines.",
    "tailLines": "Begin with this many lines.",
    "sinceSeconds": "Only lines not older than this.",
}


def _response(description: str, schema: str) -> Document:
    return {"description": description, "content": {"application/json": {"schema": {"$ref": REF + schema}}}}


def _parameter(name: str, description: str) -> Document:
    schema = {"type": _TYPES.get(name, "string")}
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _place(kind: Kind[Any], *, named: bool) -> list[Document]:
    names = [*(["namespace"] if kind.namespaced else []), *(["name"] if named else [])]
    return [{"name": n, "in": "path", "required": True, "schema": {"type": "string"}} for n in names]


def _camel(kind: Kind[Any], *, with_kind: bool = True) -> str:
    domain = kind.group.partition(".")[0] or "core"
    return f"{domain.capitalize()}{kind.version.capitalize()}{kind.kind if with_kind else ''}"
