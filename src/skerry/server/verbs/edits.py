"""Replace, patch and apply, each as a function from the state that an object has to the one it shall have.

An edit may run several times, against newer and newer states; so it changes nothing it is given. managedFields travel
beside the object: an edit takes them off what a client sent, and says who will own what. Pure.
"""

from collections.abc import Callable
from dataclasses import dataclass

from skerry.api.errors import Invalid
from skerry.api.fields import invalid
from skerry.api.model import Document
from skerry.api.shapes import check_shape
from skerry.server.verbs import metadata
from skerry.server.verbs.apply import managers
from skerry.server.verbs.apply.client_side import apply_after_client_side
from skerry.server.verbs.apply.conflicts import refusal
from skerry.server.verbs.apply.managers import FieldConflicts, Operation, Owners, Write
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.requests import Target
from skerry.server.verbs.stored import Stored


@dataclass(frozen=True, slots=True)
class Before:
    """An object as an edit finds it.

    Attributes:
        live: the stored state.
        document: the object without managedFields and resourceVersion. Shared: do not change it.
        managed_fields: as they are stored; None for an object that is not tracked.
    """

    live: Stored
    document: Document
    managed_fields: list[Document] | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an edit makes of an object.

    Attributes:
        document: the object, to be decoded and admitted; the caller's to change at its top level.
        owners: from the object as it will be stored to the owners of its fields.
    """

    document: Document
    owners: Callable[[Document], Owners]


@dataclass(frozen=True, slots=True)
class Edit:
    """One way to change an object.

    Attributes:
        operation: how managedFields call it.
        make: the change.
    """

    operation: Operation
    make: Callable[[Before, Write], Wanted]


def replacing(target: Target, document: Document) -> Edit:
    """Put a whole new state in place of the present one."""
    kind = target.kind

    def change(live: Document) -> Document:
        given = document.get("metadata")
        version = given.get("resourceVersion") if isinstance(given, dict) else None
        if version in (None, "", "0") and not kind.core_semantics:
            wrong = invalid("metadata.resourceVersion", 0, "must be specified for an update")
            raise Invalid.of(kind.kind, kind.group, live["metadata"]["name"], [wrong])
        return document

    return _updating(change)


def patching(target: Target, patch: Patch) -> Edit:
    """Change parts of an object."""

    def change(live: Document) -> Document:
        patched = patch.apply(live, target.kind)
        check_shape(without_managed_fields(patched)[0])  # of many small patches, as of one body
        metadata.check_type(target.kind, patched)
        return patched

    return _updating(change)


def _updating(change: Callable[[Document], Document]) -> Edit:
    """Make an edit of a change to the live document, which is the change's own copy."""

    def make(before: Before, write: Write) -> Wanted:
        document, raw = without_managed_fields(change(before.live.fresh_document()))
        owners = managers.given(raw, before.managed_fields, write.kind.api_version)
        return Wanted(document, lambda new: managers.updated(owners, write, before.document, new))

    return Edit("Update", make)


def applying(config: Document, *, force: bool) -> Edit:
    """Make an object hold a configuration."""

    def make(before: Before, write: Write) -> Wanted:
        merged, owners = apply(before, write, config, force=force)
        check_shape(merged)
        return Wanted(merged, lambda _: owners)

    return Edit("Apply", make)


def apply(before: Before | None, write: Write, config: Document, *, force: bool) -> tuple[Document, Owners]:
    """Return a configuration merged into an object (None: a new one), and its owners; raises Conflict."""
    live = before.document if before else None
    owners = managers.read(before.managed_fields, write.kind.api_version) if before else {}
    try:
        return apply_after_client_side(owners, write, live, config, force=force)
    except FieldConflicts as error:
        raise refusal(error.conflicts, write.kind.api_version) from error


def without_managed_fields(document: Document) -> tuple[Document, list[Document] | None]:
    """Return a copy of a client's document without managedFields, and those.

    What is no list of objects stays where it is, for the validation to refuse.
    """
    meta = document.get("metadata")
    raw = meta.get("managedFields") if isinstance(meta, dict) else None
    if not isinstance(meta, dict) or not isinstance(raw, list) or not all(isinstance(item, dict) for item in raw):
        return dict(document), None
    return {**document, "metadata": {name: item for name, item in meta.items() if name != "managedFields"}}, raw
