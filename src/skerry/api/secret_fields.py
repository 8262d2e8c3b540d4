"""Which fields of a kind hold secrets, and which are never shown, found from the marks in its model. Pure.

A kind with secret fields is sealed at rest as a whole (`store.sealing`), and errors never quote the values of these
fields (`decoding`).
"""

from collections.abc import Iterator, Sequence
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from skerry.api.kinds import Kind
from skerry.api.model import SECRET_FIELD, WRITE_ONLY, Model, SecretField, WriteOnlyField

#: Stands for any item of a list, and any name in an object with free names.
ANY = "*"

FieldPath = tuple[str, ...]
Mark = SecretField | WriteOnlyField


def secret_fields(kind: Kind[Any]) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a kind that are marked `SECRET_FIELD`, by their names on the wire."""
    return _marked(kind.model, SECRET_FIELD)


def write_only_fields(kind: Kind[Any]) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a kind that are marked `WRITE_ONLY`, likewise."""
    return _marked(kind.model, WRITE_ONLY)


def may_show(kind: Kind[Any], location: Sequence[str | int]) -> bool:
    """Tell whether what stands at a location may be quoted: it is not in a secret field, and holds none."""
    return not any(
        all(step in {ANY, given} for step, given in zip(path, location, strict=False)) for path in secret_fields(kind)
    )


def confidential_resources(kinds: Sequence[Kind[Any]]) -> frozenset[str]:
    """Return the resources of the kinds that have secret fields."""
    return frozenset(kind.resource for kind in kinds if secret_fields(kind))


def _marked(model: type[Model], mark: Mark) -> tuple[FieldPath, ...]:
    return _found_once(model, mark)


@cache
def _found_once(model: type[Model], mark: Mark) -> tuple[FieldPath, ...]:
    return tuple(_paths(model, mark, ()))


def _paths(model: type[Model], mark: Mark, above: tuple[type[Model], ...]) -> Iterator[FieldPath]:
    if model in above:
        return  # a model that contains itself, such as a JSON schema
    for name, info in model.model_fields.items():
        wire = info.alias or name
        if any(found == mark for found in info.metadata):
            yield (wire,)
        else:
            yield from ((wire, *path) for path in _in_annotation(info.annotation, mark, (*above, model)))


def _in_annotation(annotation: Any, mark: Mark, above: tuple[type[Model], ...]) -> Iterator[FieldPath]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield from _paths(annotation, mark, above)
        return
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _in_annotation(arguments[0], mark, above)
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _in_annotation(argument, mark, above)
    elif origin in {list, dict}:
        yield from ((ANY, *path) for path in _in_annotation(arguments[-1], mark, above))
