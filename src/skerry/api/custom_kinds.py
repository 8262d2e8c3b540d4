"""From a definition to the kinds that it makes: one for every version that is served.

A custom kind is a `Kind` like any other: its model takes any content, and its schema says what that may be. Nobody
who uses kinds tells the two apart. A definition makes kinds once its names are accepted (status condition
`Established`), by the names that were accepted; so every replica that reads the log serves the same. Pure.
"""

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import orjson
from pydantic import ConfigDict

from skerry.api.json_path import JsonPath, json_path
from skerry.api.kinds import Column, Kind, KindNames, ScalePaths
from skerry.api.model import Document, Resource
from skerry.api.structural.schema import Schema


class CustomResource(Resource):
    """An object of a custom kind."""

    model_config = ConfigDict(extra="allow")


class CustomResourceWithStatus(CustomResource):
    """An object of a custom kind whose status is written apart."""

    status: Any = None
    """The present state."""


def is_established(definition: Document) -> bool:
    """Tell whether a definition's kinds are served."""
    conditions = (definition.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)


def kinds_of(definition: Document) -> tuple[Kind[Any], ...]:
    """Return the kinds of a stored definition, in the order of its versions; none before it is established."""
    if not is_established(definition):
        return ()
    spec = definition["spec"]
    versions = spec["versions"]
    # Versions that are not served any more may still be those of stored objects.
    names = sorted((version["name"] for version in versions), key=_is_other(versions))
    return tuple(
        _kind(definition, version, tuple(names) if len(names) > 1 else ())
        for version in sorted(versions, key=_priority)
        if version["served"]
    )


def stored_kind(definition: Document) -> Kind[Any]:
    """Return the kind by which the objects of a definition lie in the log, whether or not any version is served."""
    spec = definition["spec"]
    names = spec["names"]
    return Kind(
        group=spec["group"],
        version=next(version["name"] for version in spec["versions"] if version["storage"]),
        model=CustomResource,
        plural=names["plural"],
        namespaced=spec["scope"] == "Namespaced",
        names=KindNames(names["kind"], names["singular"], names["listKind"]),
    )


def _is_other(versions: list[Document]) -> Callable[[str], bool]:
    storage = {version["name"] for version in versions if version["storage"]}
    return lambda name: name not in storage


def _priority(version: Document) -> tuple[int, int, int]:
    """Order versions as Kubernetes prefers them: stable ones first, then beta, alpha, others; newest first."""
    name = version["name"]
    digits, stage, number = name[1:].partition("beta")
    rank = 1
    if not stage:
        digits, stage, number = name[1:].partition("alpha")
        rank = 2
    if not stage:
        rank = 0
    if name[:1] != "v" or not digits.isdigit() or (number and not number.isdigit()):
        return (3, 0, 0)
    return (rank, -int(digits), -int(number or 0))


def _kind(definition: Document, version: Document, versions: tuple[str, ...]) -> Kind[Any]:
    spec, accepted = definition["spec"], definition["status"]["acceptedNames"]
    subresources = version.get("subresources") or {}
    columns = version.get("additionalPrinterColumns") or ()
    kind: Kind[Any] = Kind(
        group=spec["group"],
        version=version["name"],
        model=CustomResourceWithStatus if "status" in subresources else CustomResource,
        plural=accepted["plural"],
        namespaced=spec["scope"] == "Namespaced",
        short_names=tuple(accepted.get("shortNames") or ()),
        categories=tuple(accepted.get("categories") or ()),
        columns=tuple(map(_column, columns)),
        ages=not columns,
        schema=Schema(version["schema"]["openAPIV3Schema"]),
        names=KindNames(accepted["kind"], accepted["singular"], accepted["listKind"]),
        versions=versions,
        selectable=dict(_selectable(version)),
        scale=_scale(subresources.get("scale")),
        warnings=partial(_deprecated, _deprecation(spec["group"], accepted["kind"], version)),
    )
    return kind


def _column(column: Document) -> Column:
    read = json_path(column["jsonPath"])
    return Column(
        column["name"],
        partial(_printed, read) if column["type"] == "string" else read,
        type=column["type"],
        description=column.get("description", ""),
        priority=column.get("priority", 0),
    )


def _printed(path: JsonPath, document: Document) -> str | None:
    """Return all values of a column as one text, as Kubernetes prints them."""
    found = [value if isinstance(value, str) else orjson.dumps(value).decode() for value in path.values(document)]
    return " ".join(found) if found else None


def _selectable(version: Document) -> Iterable[tuple[str, Callable[[Document], str]]]:
    for field in version.get("selectableFields") or ():
        path = json_path(field["jsonPath"])
        yield field["jsonPath"].removeprefix("."), partial(_selected, path)


def _selected(path: JsonPath, document: Document) -> str:
    value = path(document)
    return "" if value is None else value if isinstance(value, str) else orjson.dumps(value).decode()


def _scale(scale: Document | None) -> ScalePaths | None:
    if scale is None:
        return None
    selector = scale.get("labelSelectorPath")
    return ScalePaths(
        json_path(scale["specReplicasPath"]),
        json_path(scale["statusReplicasPath"]),
        json_path(selector) if selector else None,
    )


def _deprecation(group: str, kind: str, version: Document) -> str:
    if not version.get("deprecated"):
        return ""
    return version.get("deprecationWarning") or f"{group}/{version['name']} {kind} is deprecated"


def _deprecated(warning: str, _: Any) -> Iterable[str]:
    return (warning,) if warning else ()
