"""Create, replace and patch: from a client's document to a revision of the log.

One loop serves every update: read the object, make its new state, admit it, write it if the object is still
what was read. A caller that names a resourceVersion gets Conflict where another writer was quicker; for others
the loop takes the newer state and tries again, up to `RACES_MAX` times. Writers of one process go in turn (`Turns`), so
who is beaten was beaten by another process.

managedFields are taken off a stored state before anything looks at it, and put on the new state last: neither models
nor rules see them.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import orjson

from skerry.api.decoding import decode
from skerry.api.errors import AlreadyExists, BadRequest, Invalid
from skerry.api.fields import FieldError
from skerry.api.kinds import Kind
from skerry.api.model import Document, ObjectMeta, R, from_document, set_fields, to_document
from skerry.kit.clock import rfc3339
from skerry.server.verbs import answers, metadata
from skerry.server.verbs.admission import Change, Surroundings, admit
from skerry.server.verbs.apply import managers
from skerry.server.verbs.apply.configuration import Configuration
from skerry.server.verbs.apply.managers import Manager, Operation, Owners, Write
from skerry.server.verbs.edits import Before, Edit, apply, applying, patching, replacing, without_managed_fields
from skerry.server.verbs.finalizers import is_held_back, keep_namespace_finalizers
from skerry.server.verbs.limits import OBJECT_BYTES_MAX, too_large
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.requests import Target, WriteOptions, Written
from skerry.server.verbs.stored import Stored, encode, encode_model
from skerry.server.verbs.turns import RACES_MAX, Turns
from skerry.server.verbs.versions import is_kept, kept, shown
from skerry.server.verbs.withheld import told, without_withheld
from skerry.store import errors as store
from skerry.store.log import RevisionLog
from skerry.store.records import Entry


class Writer:
    """Writes objects of every kind."""

    def __init__(self, log: RevisionLog, surroundings: Surroundings, turns: Turns) -> None:
        self._log = log
        self._surroundings = surroundings
        self._turns = turns

    async def create(self, target: Target, document: Document, options: WriteOptions) -> Written:
        """Store a new object; see `Verbs.create`."""
        if not (target.name or _given_name(document)):
            return await self._create_generated(target, document, options)
        return await self._create_once(target, document, options)

    async def _create_generated(self, target: Target, document: Document, options: WriteOptions) -> Written:
        """Try new random names while they are taken."""
        for _ in range(RACES_MAX - 1):
            try:
                return await self._create_once(target, document, options)
            except AlreadyExists:
                continue
        return await self._create_once(target, document, options)

    async def _create_once(
        self, target: Target, document: Document, options: WriteOptions, owners: Owners | None = None
    ) -> Written:
        """Create an object; `owners` are given where it is applied."""
        kind = target.kind
        document, _ = without_managed_fields(document)
        if kind.has_status:
            document = {key: value for key, value in document.items() if key != "status"}
        metadata.check_type(kind, document)
        obj, warnings = _decode(target, document, options)
        if obj.metadata.resource_version not in {None, "", "0"}:
            raise BadRequest("resourceVersion should not be set on objects to be created")
        metadata.check_place(obj.metadata, target)
        change = Change("create", target, obj, user=options.user, warnings=warnings)
        await admit(change, self._surroundings)
        target, new = Target(kind, obj.namespace, obj.name), to_document(obj)
        if owners is None:
            owners = managers.updated({}, self._write(target, options, "Update"), None, without_withheld(kind, new))
        value = _encode(kind, new, managers.write(owners, kind.api_version))
        if options.dry_run:
            await self._require_absent(target)
            return Written(Stored(value, 0), created=True, warnings=tuple(change.warnings))
        try:
            revision = await self._log.put(target.key, value, expected_revision=0)
        except store.Conflict as error:
            raise answers.already_exists(target, deleting=_deleting(error.current)) from error
        return Written(Stored(value, revision), created=True, warnings=tuple(change.warnings))

    async def record(self, target: Target, obj: R) -> R:
        """Store an object that is Skerry's own, new or read before; see `Verbs.record`."""
        known = int(obj.metadata.resource_version or 0)
        if not known:
            await metadata.require_active_namespace(target, self._log.get)
            identity = {
                "uid": self._surroundings.ids.uid(),
                "generation": None if target.kind.core_semantics else 1,
                "creation_timestamp": obj.metadata.creation_timestamp or rfc3339(self._surroundings.clock.now()),
            }
            set_fields(obj.metadata, identity)
        value = encode_model(obj)
        if len(value) > OBJECT_BYTES_MAX:
            raise too_large()
        try:
            revision = await self._log.put(target.key, value, expected_revision=known)
        except store.Conflict as error:
            if not known:
                raise answers.already_exists(target, deleting=_deleting(error.current)) from error
            raise (answers.modified(target) if error.current else answers.not_found(target)) from error
        set_fields(obj.metadata, {"resource_version": str(revision)})
        return obj

    async def _require_absent(self, target: Target) -> None:
        entry = await self._log.get(target.key)
        if entry is not None:
            raise answers.already_exists(target, deleting=_deleting(entry))

    async def replace(self, target: Target, document: Document, options: WriteOptions) -> Written:
        """Put a whole new state in place of the stored one; see `Verbs.replace`."""
        metadata.check_type(target.kind, document)
        return await self._update(target, replacing(target, document), options)

    async def patch(self, target: Target, patch: Patch, options: WriteOptions) -> Written:
        """Change parts of an object; see `Verbs.patch`."""
        return await self._update(target, patching(target, patch), options)

    async def apply(
        self, target: Target, config: Configuration, options: WriteOptions, before_create: Callable[[], None]
    ) -> Written:
        """Make an object hold a configuration, or create it so; see `Verbs.apply`."""
        document, unknown = config.for_endpoint(target.kind, target.subresource)
        metadata.check_type(target.kind, document)
        told = _tell(target.kind, options, unknown)
        options = replace(options, duplicates=())  # those have been told now
        edit = applying(document, force=options.force)
        async with self._turns.of(target):
            entry = await self._log.get(target.key)
            for _ in range(RACES_MAX):
                try:
                    if entry is None:
                        before_create()
                        written = await self._create_applied(target, document, options)
                    else:
                        written = await self._update_once(target, entry, edit, options)
                except store.Conflict as error:
                    entry = error.current
                except AlreadyExists:
                    entry = await self._log.get(target.key)
                else:
                    return replace(written, warnings=(*told, *written.warnings))
        raise answers.modified(target)

    async def _create_applied(self, target: Target, config: Document, options: WriteOptions) -> Written:
        """Create an object from a configuration; raises AlreadyExists where another writer was quicker."""
        if target.subresource:
            raise answers.not_found(target)
        meta = config.get("metadata") or {}
        if meta.get("uid"):
            why = f"uid mismatch: the provided object specified uid {meta['uid']}, and no existing object was found"
            raise answers.conflict(target, why)
        if meta.get("resourceVersion") not in (None, "", "0"):
            raise answers.modified(target)
        merged, owners = apply(None, self._write(target, options, "Apply"), config, force=options.force)
        return await self._create_once(target, merged, options, owners)

    async def _update(self, target: Target, edit: Edit, options: WriteOptions) -> Written:
        async with self._turns.of(target):
            entry = await self._log.get(target.key)
            for _ in range(RACES_MAX):
                if entry is None:
                    raise answers.not_found(target)
                try:
                    return await self._update_once(target, entry, edit, options)
                except store.Conflict as error:
                    entry = error.current
        raise answers.modified(target)

    async def _update_once(self, target: Target, entry: Entry, edit: Edit, options: WriteOptions) -> Written:
        """Make and write one new state of `entry`; raises the store's Conflict where it is not the newest."""
        stored, version = Stored(entry.value, entry.revision), target.kind.api_version
        live = shown(target.kind, stored)
        old: Document = orjson.loads(live.value)
        old_fields = old["metadata"].pop("managedFields", None)
        before = Before(live, old, old_fields)
        if options.user is not None:
            before = Before(told(target.kind, stored), without_withheld(target.kind, old), old_fields)
        wanted = edit.make(before, self._write(target, options, edit.operation))
        new, warnings = await self._admitted(target, (old, entry.revision), wanted.document, options)
        new_fields = managers.write(wanted.owners(without_withheld(target.kind, new)), version)
        if new == old and managers.same(old_fields, new_fields) and is_kept(target.kind, stored):
            return Written(live, warnings=warnings)
        removed = bool(new["metadata"].get("deletionTimestamp")) and not is_held_back(target.kind, new)
        value = _encode(target.kind, new, new_fields)
        if options.dry_run:
            return Written(Stored(value, entry.revision), warnings=warnings)
        if removed:
            revision = await self._log.delete(target.key, expected_revision=entry.revision)
            return Written(Stored(value, revision), warnings=warnings)
        revision = await self._log.put(target.key, value, expected_revision=entry.revision)
        return Written(Stored(value, revision), warnings=warnings)

    def _write(self, target: Target, options: WriteOptions, operation: Operation) -> Write:
        manager = Manager(operation, options.manager, target.subresource)
        return Write(target.kind, manager, rfc3339(self._surroundings.clock.now()))

    async def _admitted(
        self, target: Target, live: tuple[Document, int], wanted: Document, options: WriteOptions
    ) -> tuple[Document, tuple[str, ...]]:
        """Return the state to store and the warnings, for an object whose state and revision are `live`."""
        kind, (old, revision) = target.kind, live
        keep_namespace_finalizers(target, old, wanted)
        if kind.has_status and target.subresource != "status":
            wanted["status"] = old.get("status")
        elif target.subresource == "status":
            wanted = {**old, "status": wanted.get("status"), "metadata": wanted.get("metadata")}
        obj, warnings = _decode(target, wanted, options, old)
        old_obj = from_document(kind.model, old)
        metadata.check_versions(obj.metadata, old_obj.metadata, revision, target)
        metadata.check_place(obj.metadata, target)
        if target.subresource == "status":
            return _with_status(old, to_document(obj).get("status")), tuple(warnings)
        change = Change("update", target, obj, old_obj, options.user, warnings=warnings)
        await admit(change, self._surroundings)
        new = to_document(obj)
        if not kind.core_semantics and _desire(new) != _desire(old):
            new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1
        return new, tuple(change.warnings)


def _given_name(document: Document) -> bool:
    meta = document.get("metadata")
    return isinstance(meta, dict) and bool(meta.get("name"))


def _deleting(entry: Entry | None) -> bool:
    return entry is not None and "deletionTimestamp" in orjson.loads(entry.value)["metadata"]


def _desire(document: Document) -> Document:
    """What a generation counts the changes of."""
    return {key: value for key, value in document.items() if key not in {"metadata", "status"}}


def _with_status(document: Document, status: Any) -> Document:
    rest = {key: value for key, value in document.items() if key != "status"}
    return rest if status is None else {**rest, "status": status}


def _encode(kind: Kind[Any], document: Document, managed_fields: list[Document]) -> bytes:
    if managed_fields:
        document = {**document, "metadata": {**document["metadata"], "managedFields": managed_fields}}
    value = encode(kept(kind, document))
    if len(value) > OBJECT_BYTES_MAX:
        raise too_large()
    return value


def _decode(
    target: Target, document: Document, options: WriteOptions, old: Document | None = None
) -> tuple[Any, list[str]]:
    """Return the model of a document, and what to warn of; every error of structure and name is raised at once."""
    kind = target.kind
    try:
        decoded = decode(kind, document, old)
    except Invalid as error:
        structural = [FieldError(c["reason"], c["field"], c["message"]) for c in error.details["causes"]]
        more = _metadata_errors(kind, document) if not target.name else []
        raise Invalid.of(kind.kind, kind.group, error.details["name"], [*more, *structural]) from error
    return decoded.object, _tell(kind, options, decoded.unknown)


def _tell(kind: Kind[Any], options: WriteOptions, unknown: Iterable[str]) -> list[str]:
    """Return what to warn of unknown and duplicate fields; raises BadRequest where the caller is strict."""
    told = [
        *(f'unknown field "{path}"' for path in unknown),
        *(f'duplicate field "{path}"' for path in options.duplicates),
    ]
    if told and options.field_validation == "Strict":
        raise BadRequest(
            f'{kind.kind} in version "{kind.version}" cannot be handled as a {kind.kind}: '
            f"strict decoding error: {', '.join(told)}"
        )
    return told if options.field_validation == "Warn" else []


def _metadata_errors(kind: Kind[Any], document: Document) -> list[FieldError]:
    """Return the errors of metadata that is sound in itself, in a document that is not."""
    try:
        meta = ObjectMeta.model_validate(document.get("metadata") or {}, by_alias=True, by_name=False)
    except ValueError:
        return []
    if not meta.name and meta.generate_name:
        return []
    return list(metadata.errors(meta, None, kind))
