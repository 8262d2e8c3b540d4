"""Which fields of a kind hold secrets, found from the marks in its model. Pure.

A kind with such fields is sealed at rest as a whole (`store.sealing`), and errors never quote the values of these
fields (`decoding`).
"""

from collections.abc import Iterator, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from skerry.api.kinds import Kind
from skerry.api.model import Model, SecretField

#: Stands for any item of a list, and any name in an object with free names.
ANY = "*"

FieldPath = tuple[str, ...]


def secret_fields(kind: Kind[Any]) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a kind that are marked `SECRET_FIELD`, by their names on the wire."""
    return _of_model(kind.model)


def may_show(kind: Kind[Any], location: Sequence[str | int]) -> bool:
    """Tell whether what stands at a location may be quoted: it is not in a secret field, and holds none."""
    return not any(
        all(step in {ANY, given} for step, given in zip(path, location, strict=False)) for path in secret_fields(kind)
    )


def confidential_resources(kinds: Sequence[Kind[Any]]) -> frozenset[str]:
    """Return the resources of the kinds that have secret fields."""
    return frozenset(kind.resource for kind in kinds if secret_fields(kind))


def _of_model(model: type[Model]) -> tuple[FieldPath, ...]:
    return _found_once(model)


@cache
def _found_once(model: type[Model]) -> tuple[FieldPath, ...]:
    return tuple(_paths(model, ()))


def _paths(model: type[Model], above: tuple[type[Model], ...]) -> Iterator[FieldPath]:
    if model in above:
        return  # a model that contains itself, such as a JSON schema
    for name, info in model.model_fields.items():
        wire = info.alias or name
        if any(isinstance(mark, SecretField) for mark in info.metadata):
            yield (wire,)
        else:
            yield from ((wire, *path) for path in _in_annotation(info.annotation, (*above, model)))


def _in_annotation(annotation: Any, above: tuple[type[Model], ...]) -> Iterator[FieldPath]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield from _paths(annotation, above)
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _in_annotation(arguments[0], above)
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _in_annotation(argument, above)
    elif origin in {list, dict}:
        yield from ((ANY, *path) for path in _in_annotation(arguments[-1], above))
