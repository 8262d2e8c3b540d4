"""What the client needs of whatever carries its requests.

Two implementations: `http.HttpTransport` (over the wire) and `server.local.LocalTransport` (in process, handed in
by main). Both speak documents and raise `api.errors.ApiError`; tests/contract/client holds them to the same words.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from skerry.api.kinds import Kind
from skerry.api.model import Document

Propagation = Literal["Background", "Foreground", "Orphan"]
EventType = Literal["ADDED", "MODIFIED", "DELETED", "BOOKMARK"]


class WatchEvent(NamedTuple):
    """One event of a watch. A BOOKMARK's document holds nothing but `metadata.resourceVersion`."""

    type: EventType
    document: Document


#: Events that came together, in their order; never empty.
WatchBatch = Sequence[WatchEvent]


class Target(NamedTuple):
    """What a request is about.

    Attributes:
        namespace: "" for cluster scope, or all.
        name: "" for the collection.
        metadata_only: what is listed or watched comes as its metadata alone.
        field_selector: which objects of a collection are listed or watched; "" for all.
    """

    kind: Kind[Any]
    namespace: str = ""
    name: str = ""
    subresource: str = ""
    metadata_only: bool = False
    field_selector: str = ""


@dataclass(frozen=True, slots=True)
class DeleteConditions:
    """What must hold of an object that is deleted, and what becomes of its dependents.

    Attributes:
        uid: it is this very object; "" for any of the name.
        resource_version: it has not changed since; "" for any state.
        propagation: None for what its finalizers say, and Background where they say nothing.
    """

    uid: str = ""
    resource_version: str = ""
    propagation: Propagation | None = None


#: Delete whatever has the name.
ANY_STATE = DeleteConditions()


class Transport(Protocol):
    """Carries one request each; safe for concurrent use. Every method raises `ApiError` for what is no success."""

    async def get(self, target: Target) -> Document:
        """Return one object."""
        ...

    async def list(self, target: Target, *, label_selector: str, limit: int, continue_token: str) -> Document:
        """Return one page: a List document."""
        ...

    async def create(self, target: Target, document: Document) -> Document:
        """Store a new object and return it as stored."""
        ...

    async def replace(self, target: Target, document: Document) -> Document:
        """Replace an object (or its subresource) and return it as stored."""
        ...

    async def merge_patch(self, target: Target, patch: Document) -> Document:
        """Apply a JSON merge patch (RFC 7386) and return the object as stored."""
        ...

    async def delete(self, target: Target, conditions: DeleteConditions = ANY_STATE) -> None:
        """Ask for an object's deletion; raises Conflict where it is not as the conditions say."""
        ...

    def watch(self, target: Target, *, resource_version: str) -> AbstractAsyncContextManager[AsyncIterator[WatchBatch]]:
        """Watch a collection from a resource version on; raises Expired (on entry or later) when it is too old."""
        ...
