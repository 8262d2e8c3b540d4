"""What is taken and never given back: an object as the front doors show it.

Fields that their kind marks `WRITE_ONLY` are left out, and so they are of what kubectl keeps of the object that it was
given. An edit of someone else than Skerry starts from the object without them too, so that no patch can copy one to
where it is shown.
"""

from typing import Any

import orjson

from skerry.api.kinds import Kind
from skerry.api.marked_fields import ANY, FieldPath
from skerry.api.model import Document
from skerry.api.secret_fields import write_only_fields
from skerry.server.verbs.stored import Stored, encode
from skerry.server.verbs.versions import shown

#: Where `kubectl apply` keeps the whole object that it was given, as JSON.
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def told(kind: Kind[Any], stored: Stored) -> Stored:
    """Return a stored state as it is shown, under the version of its kind and without what is withheld."""
    stored = shown(kind, stored)
    if not write_only_fields(kind):
        return stored
    return Stored(encode(without_withheld(kind, orjson.loads(stored.value))), stored.revision)


def without_withheld(kind: Kind[Any], document: Document) -> Document:
    """Return an object without what is withheld; it may share parts with the given one, which is not changed."""
    for path in write_only_fields(kind):
        document = _without(document, path)
        document = _without_in_last_applied(document, path)
    return document


def _without_in_last_applied(document: Document, path: FieldPath) -> Document:
    metadata: Document = document["metadata"]
    annotations: Document = metadata.get("annotations") or {}
    kept = annotations.get(LAST_APPLIED)
    if not isinstance(kept, str) or path[-1] not in kept:
        return document
    try:
        shortened = orjson.dumps(_without(orjson.loads(kept), path)).decode()
    except orjson.JSONDecodeError:
        shortened = "{}"  # it is no object, and may hold anything
    return {**document, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: shortened}}}


def _without(value: Any, path: FieldPath) -> Any:
    """Copy a JSON value without the fields at a path, as far as the path leads through it."""
    first, *rest = path
    if isinstance(value, list) and first == ANY:
        return [_without(item, tuple(rest)) for item in value]
    if not isinstance(value, dict):
        return value
    names = list(value) if first == ANY else [name for name in (first,) if name in value]
    if not rest:
        return {name: item for name, item in value.items() if name not in names}
    return {name: _without(item, tuple(rest)) if name in names else item for name, item in value.items()}


__all__ = ["LAST_APPLIED", "told", "without_withheld"]
