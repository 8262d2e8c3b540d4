"""The rules of metadata that all kinds share: who fills what, what may change, what is valid.

Owns no I/O but two questions to the log, whether a namespace and a custom kind take new objects.
"""

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from skerry.api.apiextensions_v1 import CUSTOM_RESOURCE_DEFINITION
from skerry.api.errors import BadRequest, Conflict, MethodNotAllowed, NotFound
from skerry.api.fields import FieldError, forbidden, invalid, required, too_long
from skerry.api.kinds import Kind
from skerry.api.model import Document, ObjectMeta, OwnerReference
from skerry.api.names import LABEL_CHARACTERS_MAX, label_errors, label_key_error, name_errors
from skerry.kit.clock import Clock, rfc3339
from skerry.kit.ids import Ids
from skerry.server.verbs import answers
from skerry.server.verbs.requests import Target
from skerry.store.records import Entry, Key

#: Kubernetes' bound for all annotations of one object, keys and values together.
ANNOTATIONS_BYTES_MAX = 256 * 1024
GENERATED_CHARACTERS = 5


async def require_active_namespace(target: Target, get: Callable[[Key], Awaitable[Entry | None]]) -> None:
    """Refuse an object whose namespace does not exist (NotFound) or is ending (Forbidden)."""
    namespace = target.namespace
    entry = await get(Key("namespaces", "", namespace))
    if entry is None:
        raise NotFound(f'namespaces "{namespace}" not found', details={"name": namespace, "kind": "namespaces"})
    if _is_ending(entry):
        cause = {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
        why = f"unable to create new content in namespace {namespace} because it is being terminated"
        raise answers.forbidden(target, why, cause)


async def require_active_definition(target: Target, get: Callable[[Key], Awaitable[Entry | None]]) -> None:
    """Refuse an object whose kind's definition does not exist (NotFound) or is ending (MethodNotAllowed)."""
    entry = await get(Key(CUSTOM_RESOURCE_DEFINITION.resource, "", target.kind.resource))
    if entry is None:
        raise NotFound(f"the kind {target.kind.kind} is not defined any more: its definition was deleted")
    if _is_ending(entry):
        raise MethodNotAllowed("create not allowed while custom resource definition is terminating")


def _is_ending(entry: Entry) -> bool:
    # Most values do not hold the word at all; only the others are worth parsing.
    return b"deletionTimestamp" in entry.value and "deletionTimestamp" in orjson.loads(entry.value)["metadata"]


def check_type(kind: Kind[Any], document: Document) -> None:
    """Refuse a body of another kind than the path's; an absent apiVersion or kind is filled in."""
    for field, expected, spoken in (
        ("apiVersion", kind.api_version, "API version"),
        ("kind", kind.kind, "kind"),
    ):
        given = document.get(field)
        if given not in (None, "", expected):
            raise BadRequest(f"the {spoken} in the data ({given}) does not match the expected {spoken} ({expected})")
        document[field] = expected


def check_place(meta: ObjectMeta, target: Target) -> None:
    """Refuse a body that names another object or namespace than the path; fill in what it leaves open."""
    namespace = target.namespace if target.kind.namespaced else ""
    if meta.namespace and meta.namespace != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    meta.namespace = namespace or None
    if target.name:
        if meta.name and meta.name != target.name:
            raise BadRequest(f"the name of the object ({meta.name}) does not match the name on the URL ({target.name})")
        meta.name = target.name


def check_versions(meta: ObjectMeta, old: ObjectMeta, revision: int, target: Target) -> None:
    """Refuse a write that was made for another version (Conflict) or another life (Conflict) of the object."""
    if meta.resource_version and meta.resource_version not in {"0", str(revision)}:
        raise answers.modified(target)
    if meta.uid and meta.uid != old.uid:
        raise uid_conflict(target, wanted=meta.uid, found=old.uid or "")


def uid_conflict(target: Target, *, wanted: str, found: str) -> Conflict:
    """The object of that name is not the one that the caller knows."""
    return answers.conflict(target, f"Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}")


def give_identity(meta: ObjectMeta, target: Target, clock: Clock, ids: Ids) -> None:
    """Make metadata that of a new object; a client's values for the server's fields are dropped."""
    if not meta.name and meta.generate_name:
        meta.name = meta.generate_name[: LABEL_CHARACTERS_MAX - GENERATED_CHARACTERS] + ids.suffix(GENERATED_CHARACTERS)
    meta.uid = ids.uid()
    meta.creation_timestamp = rfc3339(clock.now())
    meta.generation = None if target.kind.core_semantics else 1
    meta.deletion_timestamp = meta.deletion_grace_period_seconds = None
    _drop_unkept(meta)


def keep_identity(meta: ObjectMeta, old: ObjectMeta) -> None:
    """Carry the server's fields of the stored object over a client's."""
    meta.generate_name = old.generate_name
    meta.uid = old.uid
    meta.creation_timestamp = old.creation_timestamp
    meta.generation = old.generation
    meta.deletion_timestamp = old.deletion_timestamp
    meta.deletion_grace_period_seconds = old.deletion_grace_period_seconds
    _drop_unkept(meta)


def _drop_unkept(meta: ObjectMeta) -> None:
    """Drop what the log does not hold; empty maps and lists are absent, as in Kubernetes."""
    meta.self_link = meta.resource_version = meta.managed_fields = None
    meta.labels = meta.labels or None
    meta.annotations = meta.annotations or None
    meta.finalizers = list(dict.fromkeys(meta.finalizers or ())) or None
    meta.owner_references = meta.owner_references or None


def errors(meta: ObjectMeta, old: ObjectMeta | None, kind: Kind[Any]) -> Iterator[FieldError]:
    """Yield everything that is wrong with an object's metadata."""
    if not meta.name:
        yield required("metadata.name", "name or generateName is required")
    elif old is None:
        yield from name_errors("metadata.name", meta.name, kind.name_format)
    yield from label_errors("metadata.labels", meta.labels or {})
    yield from _annotation_errors(meta.annotations or {})
    yield from _owner_errors(meta.owner_references or [])
    yield from _finalizer_errors(meta.finalizers or [], old)


def _annotation_errors(annotations: dict[str, str]) -> Iterator[FieldError]:
    size = 0
    for key, value in annotations.items():
        if wrong := label_key_error(key.lower()):
            yield invalid("metadata.annotations", key, wrong)
        size += len(key.encode()) + len(value.encode())
    if size > ANNOTATIONS_BYTES_MAX:
        yield too_long("metadata.annotations", ANNOTATIONS_BYTES_MAX)


def _owner_errors(owners: list[OwnerReference]) -> Iterator[FieldError]:
    for index, owner in enumerate(owners):
        for field, value in (
            ("apiVersion", owner.api_version),
            ("kind", owner.kind),
            ("name", owner.name),
            ("uid", owner.uid),
        ):
            if not value:
                yield invalid(f"metadata.ownerReferences[{index}].{field}", value, "must not be empty")
    if sum(bool(owner.controller) for owner in owners) > 1:
        given = [owner.name for owner in owners if owner.controller]
        yield invalid("metadata.ownerReferences", given, "Only one reference can have Controller set to true")


def _finalizer_errors(finalizers: list[str], old: ObjectMeta | None) -> Iterator[FieldError]:
    for finalizer in finalizers:
        if wrong := label_key_error(finalizer):
            yield invalid("metadata.finalizers", finalizer, wrong)
    added = [name for name in finalizers if name not in (old.finalizers or ())] if old else []
    if old and old.deletion_timestamp and added:
        listed = ", ".join(f'"{name}"' for name in added)
        yield forbidden(
            "metadata.finalizers",
            f"no new finalizers can be added if the object is being deleted, found new finalizers []string{{{listed}}}",
        )
