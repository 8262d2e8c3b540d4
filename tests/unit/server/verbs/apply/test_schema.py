"""Merging follows the marks that OpenAPI publishes, for every kind."""

from collections.abc import Iterator
from typing import Any

import pytest

from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.api.gateway_v1 import GATEWAY
from skerry.api.kinds import Kind
from skerry.api.registry import KINDS
from skerry.server.kube.openapi.schemas import REF, kind_schemas, schema_name
from skerry.server.verbs.apply.schema import ATOMIC, FREE, ListMap, ListSet, Map, Shape, Struct, struct


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_every_field_merges_as_the_published_schema_says(kind: Kind[Any]) -> None:
    schemas = kind_schemas([kind])
    differing = list(differences(struct(kind.model), schemas[schema_name(kind)], schemas, kind.kind))
    assert differing == []


def differences(shape: Shape, schema: Any, schemas: Any, at: str) -> Iterator[str]:
    """Yield the paths where a shape and a schema do not say the same."""
    while "allOf" in schema:
        schema = schemas[schema["allOf"][0]["$ref"].removeprefix(REF)]
    if not says(shape, schema):
        yield at
        return
    if isinstance(shape, Struct):
        for name, inner in shape.fields.items():
            yield from differences(inner, schema["properties"][name], schemas, f"{at}.{name}")
    if isinstance(shape, ListMap):
        yield from differences(shape.items, schema["items"], schemas, f"{at}[]")


def says(shape: Shape, schema: Any) -> bool:
    match schema:
        case {"x-kubernetes-map-type": "atomic"}:
            return shape == ATOMIC
        case {"properties": properties}:
            return isinstance(shape, Struct) and shape.fields.keys() == properties.keys()
        case {"x-kubernetes-preserve-unknown-fields": True}:
            return shape == FREE
        case {"type": "object"}:
            return isinstance(shape, Map)
        case {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": keys}:
            return isinstance(shape, ListMap) and list(shape.keys) == keys
        case {"x-kubernetes-list-type": "set"}:
            return shape == ListSet()
        case _:
            return shape == ATOMIC


def test_the_shapes_of_some_fields_in_full() -> None:
    metadata = struct(EDGE_FUNCTION.model).fields["metadata"]
    assert isinstance(metadata, Struct)
    assert metadata.fields["labels"] == Map(ATOMIC)
    assert metadata.fields["finalizers"] == ListSet()
    assert metadata.fields["ownerReferences"] == ListMap(("uid",), ATOMIC)
    spec = struct(GATEWAY.model).fields["spec"]
    assert isinstance(spec, Struct)
    listeners = spec.fields["listeners"]
    assert isinstance(listeners, ListMap)
    assert listeners.keys == ("name",)
    assert spec.fields["addresses"] == ATOMIC
