"""Which fields of a kind hold secrets, and which are never shown, found from the marks in its model. Pure.

A kind with secret fields is sealed at rest as a whole (`store.sealing`), and errors never quote the values of these
fields (`decoding`).
"""

from collections.abc import Sequence
from typing import Any

from skerry.api.kinds import Kind
from skerry.api.marked_fields import ANY, FieldPath, marked
from skerry.api.model import SECRET_FIELD, WRITE_ONLY


def secret_fields(kind: Kind[Any]) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a kind that are marked `SECRET_FIELD`, by their names on the wire."""
    return marked(kind.model, SECRET_FIELD)


def write_only_fields(kind: Kind[Any]) -> tuple[FieldPath, ...]:
    """Return the paths of the fields of a kind that are marked `WRITE_ONLY`, likewise."""
    return marked(kind.model, WRITE_ONLY)


def may_show(kind: Kind[Any], location: Sequence[str | int]) -> bool:
    """Tell whether what stands at a location may be quoted: it is not in a secret field, and holds none."""
    return not any(
        all(step in {ANY, given} for step, given in zip(path, location, strict=False)) for path in secret_fields(kind)
    )


def confidential_resources(kinds: Sequence[Kind[Any]]) -> frozenset[str]:
    """Return the resources of the kinds that have secret fields."""
    return frozenset(kind.resource for kind in kinds if secret_fields(kind))
