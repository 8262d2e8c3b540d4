"""Strategic merge patch, for the core kinds: a merge patch that knows which lists are maps and which are sets.

Rules: k8s.io/apimachinery, pkg/util/strategicpatch. What a list is follows from the models: a list of objects with
`x-kubernetes-list-map-keys` merges item by item, a list of type `set` merges as a set, any other is replaced.
Directives: `null` deletes, `$patch: replace|delete|merge`, `$retainKeys`, `$setElementOrder/<list>`,
`$deleteFromPrimitiveList/<list>`.
"""

from dataclasses import dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, cast, get_args, get_origin

from pydantic.fields import FieldInfo

from skerry.api.errors import BadRequest
from skerry.api.kinds import Kind
from skerry.api.model import Document, Model

_PATCH = "$patch"
_RETAIN_KEYS = "$retainKeys"
_ORDER = "$setElementOrder/"
_DELETE = "$deleteFromPrimitiveList/"


@dataclass(frozen=True, slots=True)
class Shape:
    """What a field holds, as far as merging cares.

    Attributes:
        model: the model of the object, or of each item of a list; None for free data and scalars.
        keys: what tells the items of a list apart; () for a list that is no map.
        is_set: whether a list of scalars merges as a set.
    """

    model: type[Model] | None = None
    keys: tuple[str, ...] = ()
    is_set: bool = False


_FREE = Shape()


@dataclass(frozen=True, slots=True)
class StrategicPatch:
    """A strategic merge patch, as parsed from its body."""

    patch: Document

    def apply(self, live: Document, kind: Kind[Any]) -> Document:
        """Return the merged object; see `Patch`."""
        return _merge_object(live, self.patch, kind.model)


def strategic_patch(body: Any) -> StrategicPatch:
    """Read a strategic merge patch; raises BadRequest unless it is an object."""
    if not isinstance(body, dict):
        raise BadRequest("a strategic merge patch must be a JSON object")
    return StrategicPatch(body)


def _merge_object(live: Any, patch: dict[str, Any], model: type[Model] | None) -> dict[str, Any]:
    directive = patch.get(_PATCH)
    fields = {key: value for key, value in patch.items() if not key.startswith("$")}
    match directive:
        case "delete":
            return {}
        case "replace":
            return fields
        case None | "merge":
            merged = dict(live) if isinstance(live, dict) else {}
        case _:
            raise BadRequest(f'Unknown patch type: "{directive}"; supported are delete, merge and replace')
    shapes = _shapes(model) if model else {}
    for key, value in fields.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_value(merged.get(key), value, shapes.get(key, _FREE))
    _apply_list_directives(merged, patch, shapes)
    if (retained := patch.get(_RETAIN_KEYS)) is not None:
        _check_list(_RETAIN_KEYS, retained)
        merged = {key: value for key, value in merged.items() if key in retained}
    return merged


def _merge_value(live: Any, patch: Any, shape: Shape) -> Any:
    match patch:
        case dict():
            return _merge_object(live, patch, shape.model)
        case list() if shape.keys:
            return _merge_list_map(live if isinstance(live, list) else [], patch, shape)
        case list() if shape.is_set:
            return _union(live if isinstance(live, list) else [], patch)
        case list():
            return [item for item in patch if not (isinstance(item, dict) and _PATCH in item and len(item) == 1)]
        case _:
            return patch


def _merge_list_map(live: list[Any], patch: list[Any], shape: Shape) -> list[Any]:
    """Merge item by item; `$patch: replace` as an item of its own replaces the list, `delete` removes an item."""
    if any(isinstance(item, dict) and item.get(_PATCH) == "replace" and len(item) == 1 for item in patch):
        return [item for item in patch if not (isinstance(item, dict) and _PATCH in item)]
    merged = list(live)
    for item in patch:
        if not isinstance(item, dict):
            raise BadRequest(f"the items of a list that merges by {', '.join(shape.keys)} must be objects")
        key = _key_of(item, shape.keys)
        place = next((i for i, old in enumerate(merged) if _key_of(old, shape.keys, lenient=True) == key), None)
        if item.get(_PATCH) == "delete":
            if place is not None:
                del merged[place]
        elif place is None:
            merged.append(_merge_object({}, item, shape.model))
        else:
            merged[place] = _merge_object(merged[place], item, shape.model)
    return merged


def _key_of(item: Any, keys: tuple[str, ...], *, lenient: bool = False) -> tuple[Any, ...]:
    if not isinstance(item, dict):
        return ()
    missing = [key for key in keys if key not in item]
    if missing and not lenient:
        raise BadRequest(f"map: {item} does not contain declared merge key: {missing[0]}")
    return tuple(str(item.get(key)) for key in keys)


def _union(live: list[Any], patch: list[Any]) -> list[Any]:
    return live + [item for item in patch if item not in live]


def _apply_list_directives(merged: dict[str, Any], patch: dict[str, Any], shapes: dict[str, Shape]) -> None:
    for directive, value in patch.items():
        if directive.startswith(_DELETE):
            field = directive.removeprefix(_DELETE)
            _check_list(directive, value)
            if isinstance(merged.get(field), list):
                merged[field] = [item for item in merged[field] if item not in value]
        elif directive.startswith(_ORDER):
            field = directive.removeprefix(_ORDER)
            _check_list(directive, value)
            if isinstance(merged.get(field), list):
                merged[field] = _ordered(merged[field], value, shapes.get(field, _FREE).keys)
        elif directive.startswith("$") and directive not in {_PATCH, _RETAIN_KEYS}:
            raise BadRequest(f"Unknown directive in the strategic merge patch: {directive}")


def _ordered(items: list[Any], order: list[Any], keys: tuple[str, ...]) -> list[Any]:
    """Put the named items into the asked order; the others keep their places behind their predecessor."""

    def identity(item: Any) -> Any:
        return _key_of(item, keys, lenient=True) if keys else item

    wanted = [identity(item) for item in order]
    named = sorted((item for item in items if identity(item) in wanted), key=lambda item: wanted.index(identity(item)))
    replacement = iter(named)
    return [next(replacement) if identity(item) in wanted else item for item in items]


def _check_list(directive: str, value: Any) -> None:
    if not isinstance(value, list):
        raise BadRequest(f"{directive} must be a list")


@cache
def _shapes(model: type[Model]) -> dict[str, Shape]:
    """Return the shapes of a model's fields, by their names on the wire."""
    return {field.alias or name: _shape(field) for name, field in model.model_fields.items()}


def _shape(field: FieldInfo) -> Shape:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    keys = cast("list[str]", extra.get("x-kubernetes-list-map-keys") or [])
    is_set = extra.get("x-kubernetes-list-type") == "set"
    return Shape(_model_in(field.annotation), tuple(keys), is_set)


def _model_in(annotation: Any) -> type[Model] | None:
    """Find the model that an annotation holds, alone, optional or as the items of a list."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    if get_origin(annotation) in {Union, UnionType, list, Annotated}:
        return next((model for part in get_args(annotation) if (model := _model_in(part))), None)
    return None
