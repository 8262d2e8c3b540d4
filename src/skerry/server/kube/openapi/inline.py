"""The schemas of our own kinds as definitions have them: structural, with nothing referred to."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.server.kube.openapi.schemas import REF, Schemas, kind_schemas, schema_name


def structural_schemas(kinds: Sequence[Kind[Any]]) -> Mapping[str, Document]:
    """Return the structural schemas of kinds that are declared by models, by their resources."""
    return {kind.resource: _structural(kind, schemas) for group, schemas in _by_group(kinds) for kind in group}


def _by_group(kinds: Sequence[Kind[Any]]) -> Iterator[tuple[Sequence[Kind[Any]], Schemas]]:
    groups: dict[str, list[Kind[Any]]] = {}
    for kind in kinds:
        groups.setdefault(kind.root_path, []).append(kind)
    for group in groups.values():
        yield group, kind_schemas(group)


def _structural(kind: Kind[Any], schemas: Schemas) -> Document:
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
