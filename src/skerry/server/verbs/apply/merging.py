"""Putting an applied configuration into an object, and taking out what a manager does not apply any more.

Rules: sigs.k8s.io/structured-merge-diff, typed/merge.go and merge/update.go (prune).
"""

from collections.abc import Iterable
from typing import Any

from skerry.api.fields import FieldError, duplicate, path_of, required, type_invalid
from skerry.server.verbs.apply.comparing import children
from skerry.server.verbs.apply.fieldpath import FieldSet, is_member
from skerry.server.verbs.apply.schema import ListMap, ListSet, Map, Shape, Struct, child, elements

#: Stands for a value that is gone.
_GONE: Any = object()

Location = tuple[str | int, ...]


def merge(live: Any, config: Any, shape: Shape) -> Any:
    """Return the live value with the applied one in it; what the configuration does not say stays."""
    if not isinstance(config, dict | list):
        return config
    match shape:
        case Struct() | Map() if isinstance(live, dict) and isinstance(config, dict):
            merged = dict(live)
            for name, item in config.items():
                merged[name] = merge(live[name], item, child(shape, name)) if name in live else item
            return merged
        case ListMap(items=items) if isinstance(live, list) and isinstance(config, list):
            return _merge_lists(elements(shape, live), elements(shape, config), items)
        case ListSet() if isinstance(live, list) and isinstance(config, list):
            return _merge_lists(elements(shape, live), elements(shape, config), None)
        case _:
            return config


def _merge_lists(live: dict[str, Any], config: dict[str, Any], shape: Shape | None) -> list[Any]:
    """Merge two lists item by item: applied items in the order they are applied in, others where they are."""
    shared = [element for element in config if element in live]
    order: list[str] = []
    pending, following = iter(config), iter(shared)
    next_shared = next(following, None)
    for element in live:
        if element not in config:
            order.append(element)
        elif element == next_shared:
            for applied in pending:  # what is applied before this item stands before it
                order.append(applied)
                if applied == element:
                    break
            next_shared = next(following, None)
    order += pending
    return [_merge_item(element, live, config, shape) for element in order]


def _merge_item(element: str, live: dict[str, Any], config: dict[str, Any], shape: Shape | None) -> Any:
    if element not in config:
        return live[element]
    if element not in live or shape is None:
        return config[element]
    return merge(live[element], config[element], shape)


def prune(value: dict[str, Any], before: FieldSet, kept: FieldSet, shape: Struct) -> dict[str, Any]:
    """Return an object without what a manager applied before and nobody holds now.

    Args:
        value: the merged object.
        before: what the manager applied the last time.
        kept: what it applies now and what all others own.
        shape: the object's shape.
    """
    pruned = {}
    for name, item in value.items():
        left = _pruned(item, before.get(f"f:{name}"), kept.get(f"f:{name}"), (child(shape, name), False))
        if left is not _GONE:
            pruned[name] = left
    return pruned


def _pruned(value: Any, before: FieldSet | None, kept: FieldSet | None, place: tuple[Shape, bool]) -> Any:
    """Prune one value; `place` is its shape, and whether it is an item of a list or map.

    An item goes when nobody owns the item itself, whatever others own inside of it. A struct's field goes when
    nobody owns anything inside of it; with it goes what the server filled in beside.
    """
    shape, is_item = place
    if before is None:
        return value
    if kept is None or (is_item and is_member(before) and not is_member(kept)):
        return _GONE
    inside = children(value, shape)
    if inside is None:
        return value
    items = not isinstance(shape, Struct)
    left = {
        element: _pruned(item, before.get(element), kept.get(element), (inner, items))
        for element, (item, inner) in inside.items()
    }
    remaining = {element: item for element, item in left.items() if item is not _GONE}
    if isinstance(value, dict):
        return {element.removeprefix("f:"): item for element, item in remaining.items()}
    return list(remaining.values())


def known(config: Any, shape: Shape, at: Location = ()) -> tuple[Any, list[str]]:
    """Return a configuration without fields that its kind does not have, and the paths of those."""
    unknown: list[str] = []
    return _known(config, shape, at, unknown), unknown


def _known(config: Any, shape: Shape, at: Location, unknown: list[str]) -> Any:
    if not isinstance(config, dict | list):
        return config
    match shape:
        case Struct() if isinstance(config, dict):
            kept = {}
            for name, item in config.items():
                if name in shape.fields or shape.others is not None:
                    kept[name] = _known(item, child(shape, name), (*at, name), unknown)
                else:
                    unknown.append(path_of((*at, name)))
            return kept
        case Map(values) if isinstance(config, dict) and values is not None:
            return {name: _known(item, values, (*at, name), unknown) for name, item in config.items()}
        case ListMap(items=items) if isinstance(config, list):
            return [_known(item, items, (*at, index), unknown) for index, item in enumerate(config)]
        case _:
            return config


def list_errors(config: Any, shape: Shape, at: Location = ()) -> Iterable[FieldError]:
    """Yield what keeps the lists of a configuration from being merged: items without keys, or with equal ones."""
    inside: list[tuple[str | int, Any, Shape]] = []
    match shape:
        case Struct() | Map() if isinstance(config, dict):
            inside = [(name, item, child(shape, name)) for name, item in config.items()]
        case ListMap(items=items) if isinstance(config, list):
            yield from _item_errors(config, shape, at)
            inside = [(index, item, items) for index, item in enumerate(config)]
        case ListSet() if isinstance(config, list):
            seen: list[Any] = []
            for index, item in enumerate(config):
                if item in seen:
                    yield duplicate(path_of((*at, index)), item)
                seen.append(item)
    for name, item, inner in inside:
        if isinstance(item, dict | list):
            yield from list_errors(item, inner, (*at, name))


def _item_errors(items: list[Any], shape: ListMap, at: Location) -> Iterable[FieldError]:
    seen: set[str] = set()
    for index, item in enumerate(items):
        here = path_of((*at, index))
        if not isinstance(item, dict):
            yield type_invalid(here, item, "object")
            continue
        missing = shape.missing(item)
        for name in missing:
            yield required(f"{here}.{name}")
        identity = repr(shape.identity(item))
        if identity in seen and not missing:
            yield duplicate(here, shape.identity(item))
        seen.add(identity)
