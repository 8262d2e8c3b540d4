"""The OpenAPI documents as they are served: bytes with their hashes, built once for each set of kinds.

Each is made when it is first asked for. Where kinds come or go, only the documents of their groups are made again.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.kube.openapi.paths import path_items
from skerry.server.kube.openapi.schemas import as_version_2, kind_schemas


@dataclass(frozen=True, slots=True)
class Published:
    """A document and the hash of its bytes, which is its ETag."""

    body: bytes
    hash: str


def _publish(document: Document) -> Published:
    body = orjson.dumps(document)
    return Published(body, hashlib.sha256(body).hexdigest().upper())


class OpenApi:
    """Every OpenAPI document of some kinds.

    Attributes:
        groups: the documents of each group and version, by the path that `by_path` has.
        index: the document at `/openapi/v3`, which names the others.
        by_path: those, by what follows `/openapi/v3/`, such as "apis/extensions.apoxy.dev/v1alpha2".
        version_2: all in one, for clients that read JSON of OpenAPI 2.

    Args:
        kinds: what is served.
        version: of Skerry.
        before: the documents of another set of kinds; those of groups that are the same are taken over.
    """

    def __init__(self, kinds: Sequence[Kind[Any]], version: str, before: "OpenApi | None" = None) -> None:
        groups: dict[str, list[Kind[Any]]] = {}
        for kind in kinds:
            groups.setdefault(kind.root_path.lstrip("/"), []).append(kind)
        self._info = {"title": "Skerry", "version": version}
        known = before.groups if before else {}
        self.groups: dict[str, _Group] = {
            path: known[path] if path in known and known[path].kinds == found else _Group(found, self._info)
            for path, found in groups.items()
        }

    @cached_property
    def by_path(self) -> dict[str, Published]:
        """The document of each group and version."""
        return {path: group.published for path, group in self.groups.items()}

    @cached_property
    def index(self) -> Published:
        """The document that names the others."""
        return _publish(
            {
                "paths": {
                    path: {"serverRelativeURL": f"/openapi/v3/{path}?hash={published.hash}"}
                    for path, published in self.by_path.items()
                }
            }
        )

    @cached_property
    def version_2(self) -> Published:
        """All in one."""
        return _publish(_version_2([group.document for group in self.groups.values()], self._info))


class _Group:
    """The document of the kinds of one group and version."""

    def __init__(self, kinds: Sequence[Kind[Any]], info: Document) -> None:
        self.kinds = kinds
        self._info = info

    @cached_property
    def document(self) -> Document:
        return _version_3(self.kinds, self._info)

    @cached_property
    def published(self) -> Published:
        return _publish(self.document)


def _version_3(kinds: Sequence[Kind[Any]], info: Document) -> Document:
    paths = {path: item for kind in kinds for path, item in path_items(kind).items()}
    return {"openapi": "3.0.0", "info": info, "paths": paths, "components": {"schemas": kind_schemas(kinds)}}


def _version_2(documents: Sequence[Document], info: Document) -> Document:
    schemas = {name: schema for d in documents for name, schema in d["components"]["schemas"].items()}
    return {
        "swagger": "2.0",
        "info": info,
        "paths": {path: _path_version_2(item) for d in documents for path, item in d["paths"].items()},
        "definitions": {name: as_version_2(schema) for name, schema in schemas.items()},
    }


def _path_version_2(item: Document) -> Document:
    return {
        method: [_parameter_version_2(p) for p in operation]
        if method == "parameters"
        else _operation_version_2(operation)
        for method, operation in item.items()
    }


def _parameter_version_2(parameter: Document) -> Document:
    rest = {key: value for key, value in parameter.items() if key != "schema"}
    return {**rest, **parameter["schema"]}


def _operation_version_2(operation: Document) -> Document:
    rest = {key: value for key, value in operation.items() if key not in {"requestBody", "parameters", "responses"}}
    parameters = [_parameter_version_2(parameter) for parameter in operation["parameters"]]
    consumes = ["*/*"]
    if body := operation.get("requestBody"):
        consumes = list(body["content"])
        schema = as_version_2(next(iter(body["content"].values()))["schema"])
        parameters.append({"name": "body", "in": "body", "required": body["required"], "schema": schema})
    responses = {
        "default" if code == "4XX" else code: {
            "description": response["description"],
            "schema": as_version_2(next(iter(response["content"].values()))["schema"]),
        }
        for code, response in operation["responses"].items()
    }
    produces = list(operation["responses"]["200"]["content"])
    return {**rest, "consumes": consumes, "produces": produces, "parameters": parameters, "responses": responses}
