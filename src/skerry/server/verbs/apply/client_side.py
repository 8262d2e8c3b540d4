"""The hand-over from client-side apply: what `kubectl apply` has put into its annotation is kubectl's to change.

The manager that is exactly `kubectl` may take a field from another manager where the annotation of the live object
holds the field with its live value: it was kubectl that wrote it. The annotation then follows what is applied, so
that going back to client-side apply stays possible. Any other name opts out.
Rules: k8s.io/apimachinery, pkg/util/managedfields/internal/lastapplied{manager,updater}.go.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from skerry.api.model import Document
from skerry.server.verbs.apply import fieldpath
from skerry.server.verbs.apply.comparing import applied, compare
from skerry.server.verbs.apply.fieldpath import FieldSet, difference, intersection
from skerry.server.verbs.apply.managers import FieldConflict, FieldConflicts, Owners, Write, apply
from skerry.server.verbs.metadata import ANNOTATIONS_BYTES_MAX

MANAGER = "kubectl"
ANNOTATION = "kubectl.kubernetes.io/last-applied-configuration"


def apply_after_client_side(
    owners: Owners, by: Write, live: Document | None, config: Document, *, force: bool
) -> tuple[Document, Owners]:
    """Apply as `managers.apply`, minding what client-side apply left behind."""
    if by.manager.name != MANAGER:
        return apply(owners, by, live, config, force=force)
    try:
        merged, left = apply(owners, by, live, config, force=force)
    except FieldConflicts as error:
        remaining = _without_allowed(error.conflicts, _last_applied(by, live))
        if remaining:
            raise FieldConflicts(remaining) from error
        merged, left = apply(owners, by, live, config, force=True)
    return _with_annotation(merged, config), left


def _annotations(document: Document | None) -> Document:
    metadata = (document or {}).get("metadata") or {}
    annotations = metadata.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def _last_applied(by: Write, live: Document | None) -> FieldSet:
    """Return the fields that client-side apply has set and nobody has changed since."""
    try:
        config: Any = orjson.loads(_annotations(live).get(ANNOTATION) or b"null")
    except orjson.JSONDecodeError:
        return {}
    if live is None or not isinstance(config, dict) or config.get("apiVersion") != by.kind.api_version:
        return {}
    if not isinstance(config.get("metadata") or {}, dict):
        return {}
    last, now = by.scope(config), by.scope(live)
    made = compare(last, now, by.shape)
    return difference(difference(applied(last, by.shape), made.changed), made.removed)


def _without_allowed(conflicts: Sequence[FieldConflict], allowed: FieldSet) -> list[FieldConflict]:
    return [conflict for conflict in conflicts if not intersection(allowed, fieldpath.from_path(conflict.path))]


def _with_annotation(merged: Document, config: Document) -> Document:
    """Write what is applied into the annotation, where there is one; without it where it would be too large."""
    annotations = dict(_annotations(merged))
    if not annotations.get(ANNOTATION):
        return merged
    metadata = dict(config.get("metadata") or {})
    if isinstance(own := metadata.get("annotations"), dict):
        metadata["annotations"] = {name: text for name, text in own.items() if name != ANNOTATION}
    text = orjson.dumps({**config, "metadata": metadata}, option=orjson.OPT_SORT_KEYS).decode() + "\n"
    annotations[ANNOTATION] = text
    if sum(len(name.encode()) + len(str(item).encode()) for name, item in annotations.items()) > ANNOTATIONS_BYTES_MAX:
        del annotations[ANNOTATION]
    return {**merged, "metadata": {**merged["metadata"], "annotations": annotations}}
