"""Deletes objects of any kind in masses, and says what is left of them afterwards.

Owns the deleting and the counting, both live; `namespaces` does it for what is in a namespace, `definitions` for the
objects of a kind. Does not own when to begin, or what becomes of the owner.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from skerry.api.errors import ApiError, Conflict, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document
from skerry.client.paging import pages
from skerry.client.transport import DeleteConditions, Target, Transport
from skerry.kit.errors import SkerryError

#: Objects that are deleted at once.
DELETES_AT_ONCE = 32


class ContentFailedError(SkerryError):
    """Objects could not be deleted; it is tried again, with backoff."""


@dataclass(slots=True)
class Remains:
    """What is still there after everything was deleted.

    Attributes:
        objects: their number, by resource as `plural.group`.
        finalizers: the number of objects that each one holds.
        failures: why objects could not be deleted, one sentence each.
    """

    objects: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)


async def delete_all(transport: Transport, kinds: Sequence[Kind[Any]], namespace: str = "") -> Remains:
    """Ask for the deletion of every object of some kinds (in one namespace); return what is there afterwards."""
    remains = Remains()
    for kind in kinds:
        found = 0
        async for page in _metadata(transport, kind, namespace):
            found += len(page)
            await _delete_page(transport, kind, page, remains)
        if found:
            async for page in _metadata(transport, kind, namespace):
                _count(kind, page, remains)
    return remains


async def _metadata(transport: Transport, kind: Kind[Any], namespace: str) -> AsyncIterator[list[Document]]:
    """Yield the metadata of every object of a kind, read live, a page at a time."""
    async for page in pages(transport, Target(kind, namespace)):
        yield [item["metadata"] for item in page["items"]]


async def _delete_page(transport: Transport, kind: Kind[Any], page: Sequence[Document], remains: Remains) -> None:
    slots = asyncio.Semaphore(DELETES_AT_ONCE)

    async def delete(metadata: Document) -> None:
        target = Target(kind, metadata.get("namespace", ""), metadata["name"])
        try:
            async with slots:
                await transport.delete(target, DeleteConditions(uid=metadata["uid"]))
        except (NotFound, Conflict):
            return  # gone, or another one by now: the count that follows tells
        except ApiError as error:
            remains.failures.append(str(error))

    async with asyncio.TaskGroup() as group:
        for metadata in page:
            if "deletionTimestamp" not in metadata:
                group.create_task(delete(metadata))


def _count(kind: Kind[Any], page: Sequence[Document], remains: Remains) -> None:
    if page:
        remains.objects[f"{kind.plural}.{kind.group}"] += len(page)
    for metadata in page:
        remains.finalizers.update(metadata.get("finalizers") or ())
