"""Tables and bare metadata: what `kubectl get` prints, as meta.k8s.io has it. Pure."""

import datetime as dt
from collections.abc import Sequence
from typing import Any

from skerry.api.durations import humanize
from skerry.api.kinds import Column, Kind, age_of
from skerry.api.model import Document
from skerry.kit.clock import from_rfc3339
from skerry.server.kube.negotiation import Form, Include

_NAME = Column("Name", lambda document: document["metadata"].get("name"), description="Unique within its scope.")
_AGE = Column("Age", age_of, type="date", description="Time since the object was created.")


def table(
    kind: Kind[Any], items: Sequence[Document], metadata: Document, form: Form, include: Include, now: dt.datetime
) -> Document:
    """Return a table of objects.

    Args:
        kind: of the objects; its columns stand between Name and Age.
        items: the objects, stamped with their resourceVersions.
        metadata: of the list, or of the one object.
        form: a table's form.
        include: what each row carries besides its cells.
        now: what ages are counted from.
    """
    columns = _columns(kind)
    return {
        "kind": "Table",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": metadata,
        "columnDefinitions": [_definition(column) for column in columns],
        "rows": [_row(item, columns, form, include, now) for item in items],
    }


def partial_metadata(item: Document, form: Form) -> Document:
    """Return an object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": f"meta.k8s.io/{form.version}",
        "metadata": item["metadata"],
    }


def _columns(kind: Kind[Any]) -> list[Column]:
    if kind.columns and kind.columns[0].type == "date":
        return [*kind.columns]  # a chronicle, such as events: told apart by time, not by name
    return [_NAME, *kind.columns, *([_AGE] if kind.ages else [])]


def _definition(column: Column) -> Document:
    return {
        "name": column.name,
        "type": "string" if column.type == "date" else column.type,
        "format": "name" if column is _NAME else "",
        "description": column.description,
        "priority": column.priority,
    }


def _row(item: Document, columns: Sequence[Column], form: Form, include: Include, now: dt.datetime) -> Document:
    row: Document = {"cells": [_cell(column, item, now) for column in columns]}
    if include == "Metadata":
        row["object"] = partial_metadata(item, form)
    elif include == "Object":
        row["object"] = item
    return row


def _cell(column: Column, item: Document, now: dt.datetime) -> Any:
    value = column.value(item)
    if value is None and column is not _AGE:
        return "" if column.type == "string" else None
    return _age(value, now) if column.type == "date" else value


def _age(value: Any, now: dt.datetime) -> str:
    try:
        return humanize((now - from_rfc3339(str(value))).total_seconds())
    except ValueError:
        return "<unknown>"
