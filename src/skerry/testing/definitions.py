"""A small definition, to be varied: `widgets.example.com`."""

from copy import deepcopy
from typing import Any

from skerry.api.model import Document

SCHEMA: Document = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "maximum": 10},
                "color": {"type": "string", "default": "red", "enum": ["red", "blue"]},
                "hosts": {"type": "array", "items": {"type": "string"}},
            },
        },
        "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    },
}


def definition(
    *,
    group: str = "example.com",
    plural: str = "widgets",
    version: str = "v1",
    versions: list[Document] | None = None,
    names: Document | None = None,
    **of_version: Any,
) -> Document:
    """Return the definition; `of_version` is set in its only version, unless there are others."""
    only = {
        "name": version,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": deepcopy(SCHEMA)},
        "subresources": {"status": {}},
        **of_version,
    }
    named = {"plural": plural, "kind": "Widget", "shortNames": ["wd"], **(names or {})}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {"group": group, "names": named, "scope": "Namespaced", "versions": versions or [only]},
    }


def established(document: Document) -> Document:
    """Return a definition as it is stored once its names are accepted."""
    names = document["spec"]["names"]
    accepted = {"singular": names["kind"].lower(), "listKind": f"{names['kind']}List", **names}
    condition = {"type": "Established", "status": "True"}
    return {**document, "status": {"conditions": [condition], "acceptedNames": deepcopy(accepted)}}
