"""The client's transport within one process: straight to the verbs, without HTTP.

`main` hands it to the controllers and the agent of `skerry up`. It answers what `client.http.HttpTransport` answers
over the wire; tests/contract/client holds both to the same words.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, cast

from skerry.api.catalogue import Catalogue
from skerry.api.model import Document
from skerry.api.selectors import parse_field_selector, parse_label_selector
from skerry.client.transport import ANY_STATE, DeleteConditions, WatchBatch, WatchEvent
from skerry.client.transport import Target as ClientTarget
from skerry.server.verbs.patches.merge_patch import MergePatch
from skerry.server.verbs.requests import (
    DeleteOptions,
    ListOptions,
    Selection,
    Subresource,
    Target,
    WatchOptions,
    WriteOptions,
)
from skerry.server.verbs.verbs import Verbs
from skerry.server.verbs.watching import Bookmark, Observed, Seen


class LocalTransport:
    """Carries requests to the verbs of this process.

    Args:
        verbs: the verbs.
        manager: who writes, for managedFields.
    """

    def __init__(self, verbs: Verbs, *, manager: str) -> None:
        self._verbs = verbs
        self._options = WriteOptions(field_validation="Strict", manager=manager)

    @property
    def kinds(self) -> Catalogue:
        """Every kind that is served now."""
        return self._verbs.kinds

    async def get(self, target: ClientTarget) -> Document:
        """Return one object."""
        return (await self._verbs.get(_target(target))).fresh_document()

    async def list(self, target: ClientTarget, *, label_selector: str, limit: int, continue_token: str) -> Document:
        """Return one page: a List document."""
        selection = Selection(parse_label_selector(label_selector), parse_field_selector(target.field_selector))
        options = ListOptions(selection, limit=limit, continue_token=continue_token)
        listed = await self._verbs.list(_target(target), options)
        metadata: dict[str, Any] = {"resourceVersion": str(listed.revision)}
        if listed.continue_token:
            metadata["continue"] = listed.continue_token
        if target.metadata_only:
            return {"metadata": metadata, "items": [{"metadata": item.metadata} for item in listed.items]}
        return {"metadata": metadata, "items": [item.fresh_document() for item in listed.items]}

    async def create(self, target: ClientTarget, document: Document) -> Document:
        """Store a new object and return it as stored."""
        collection = Target(target.kind, target.namespace)
        return (await self._verbs.create(collection, document, self._options)).object.fresh_document()

    async def replace(self, target: ClientTarget, document: Document) -> Document:
        """Replace an object (or its subresource) and return it as stored."""
        return (await self._verbs.replace(_target(target), document, self._options)).object.fresh_document()

    async def merge_patch(self, target: ClientTarget, patch: Document) -> Document:
        """Apply a JSON merge patch (RFC 7386) and return the object as stored."""
        return (await self._verbs.patch(_target(target), MergePatch(patch), self._options)).object.fresh_document()

    async def delete(self, target: ClientTarget, conditions: DeleteConditions = ANY_STATE) -> None:
        """Ask for an object's deletion; raises Conflict where it is not as the conditions say."""
        options = DeleteOptions(
            uid=conditions.uid or None,
            resource_version=conditions.resource_version or None,
            propagation=conditions.propagation,
        )
        await self._verbs.delete(_target(target), options)

    @asynccontextmanager
    async def watch(self, target: ClientTarget, *, resource_version: str) -> AsyncIterator[AsyncIterator[WatchBatch]]:
        """Watch a collection from a resource version on."""
        selection = Selection(fields=parse_field_selector(target.field_selector))
        options = WatchOptions(selection, resource_version=resource_version, bookmarks=True)
        async with self._verbs.watch(_target(target), options) as batches:
            yield _events(batches, metadata_only=target.metadata_only)


async def _events(batches: AsyncIterator[Sequence[Seen]], *, metadata_only: bool) -> AsyncIterator[WatchBatch]:
    async for batch in batches:
        yield [_event(seen, metadata_only=metadata_only) for seen in batch]


def _event(seen: Seen, *, metadata_only: bool) -> WatchEvent:
    match seen:
        case Observed():
            document = seen.object.document
            return WatchEvent(seen.type, {"metadata": document["metadata"]} if metadata_only else document)
        case Bookmark():
            return WatchEvent("BOOKMARK", {"metadata": {"resourceVersion": str(seen.revision)}})


def _target(target: ClientTarget) -> Target:
    subresource = cast("Subresource", target.subresource)
    return Target(target.kind, target.namespace, target.name, subresource)
