"""Which fields of a model carry a mark, by their names on the wire. Pure."""

from collections.abc import Iterator
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from skerry.api.model import Model, SecretField, TimeField, WriteOnlyField

#: Stands for any item of a list, and any name in an object with free names.
ANY = "*"

FieldPath = tuple[str, ...]
Mark = SecretField | TimeField | WriteOnlyField


def marked(model: type[Model], mark: Mark) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a model that carry a mark."""
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
    if origin is Annotated and mark in arguments[1:]:
        yield ()
    elif origin is Annotated:
        yield from _in_annotation(arguments[0], mark, above)
    elif origin in {Union, UnionType}:
        for argument in arguments:
            yield from _in_annotation(argument, mark, above)
    elif origin in {list, dict}:
        yield from ((ANY, *path) for path in _in_annotation(arguments[-1], mark, above))
