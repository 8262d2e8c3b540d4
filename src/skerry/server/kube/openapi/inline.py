"""The schema of one of our own kinds as a definition has it: structural, with nothing referred to."""

from typing import Any, cast

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.kube.openapi.schemas import REF, Schemas, kind_schemas, schema_name


def structural_schema(kind: Kind[Any]) -> Document:
    """Return the structural schema of a kind that is declared by a model."""
    schemas = kind_schemas([kind])
    root: Document = _inlined(schemas[schema_name(kind)], schemas)
    root.pop("x-kubernetes-group-version-kind", None)
    root["properties"]["metadata"] = {"type": "object"}
    return root


def _inlined(schema: Any, schemas: Schemas) -> Any:
    match schema:
        case {"allOf": [{"$ref": ref}], **rest}:
            found = _inlined(schemas[cast("str", ref).removeprefix(REF)], schemas)
            return {**found, **_inlined(rest, schemas)}
        case {"$ref": str(ref)}:
            return _inlined(schemas[ref.removeprefix(REF)], schemas)
        case dict():
            return {name: _inlined(item, schemas) for name, item in schema.items()}
        case list():
            return [_inlined(item, schemas) for item in schema]
        case _:
            return schema
