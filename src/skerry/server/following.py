"""Follows one kind in the log for what decides about requests, and tells how far it has come.

Owns the place in the log: the present state first, then every change in order, from the start again where that
history is gone. Does not own what is made of an object (`take` and `drop` do).

Invariant: once `reached(revision)` returns, every change of the kind up to that revision has been taken. So a write
that waits for its own revision is in force for every request that begins after its answer.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, Protocol

from pydantic import ValidationError

from skerry.api.errors import ApiError, Expired, Timeout
from skerry.api.kinds import Kind
from skerry.api.model import R, from_document
from skerry.kit.backoff import Backoff
from skerry.kit.deadlines import within
from skerry.kit.logs import get_logger
from skerry.server.verbs.requests import Target, WatchOptions
from skerry.server.verbs.watching import Bookmark, Observed, Seen

log = get_logger(__name__)

#: How long a write waits to be in force; the log hands changes on within milliseconds.
IN_FORCE_SECONDS_MAX = 10.0

Key = tuple[str, str]
"""Namespace and name; the namespace is "" for cluster-scoped kinds."""


class Watches(Protocol):
    """Who shows a kind as it changes: the verbs."""

    def watch(
        self, target: Target, options: WatchOptions
    ) -> AbstractAsyncContextManager[AsyncIterator[Sequence[Seen]]]:
        """Follow a collection for the length of the block; raises ApiError, also while iterating."""
        ...


class Follower(Generic[R]):
    """Follows the objects of one kind.

    Attributes:
        position: the revision up to which every change has been taken.

    Args:
        kind: what is followed.
        take: called with every object, new or changed, and again with each after the history was gone.
        drop: called with the key of every object that is gone.
    """

    def __init__(self, kind: Kind[R], take: Callable[[R], None], drop: Callable[[Key], None]) -> None:
        self.kind = kind
        self._take = take
        self._drop = drop
        self._known: set[Key] = set()
        self.position = 0
        self._moved = asyncio.Event()
        self._synced = asyncio.Event()

    async def synced(self) -> None:
        """Wait until the whole present state has been taken."""
        await self._synced.wait()

    async def reached(self, revision: int) -> None:
        """Wait until every change up to a revision of this kind has been taken; raises Timeout."""
        try:
            with within(IN_FORCE_SECONDS_MAX):
                while self.position < revision:
                    await self._moved.wait()
        except TimeoutError as error:
            raise Timeout(
                f"the write is stored as revision {revision}, but it was not in force after "
                f"{IN_FORCE_SECONDS_MAX:.0f}s: it will be, once this server has caught up with its store"
            ) from error

    async def run(self, verbs: Watches) -> None:
        """Follow the kind; never returns. What was taken stays in force while the log is away."""
        backoff = Backoff(first_seconds=0.05)
        options = WatchOptions(bookmarks=True, initial_events=True)
        while True:
            try:
                async with verbs.watch(Target(self.kind), options) as batches:
                    await self._begin(batches)
                    backoff.reset()
                    async for batch in batches:
                        self._continue(batch)
            except Expired:
                log.info("history is gone, reading it all again", resource=self.kind.resource)
            except (ApiError, OSError) as error:
                delay = backoff.next_seconds()
                log.warning("lost the source of a kind", resource=self.kind.resource, error=str(error))
                await asyncio.sleep(delay)

    async def _begin(self, batches: AsyncIterator[Sequence[Seen]]) -> None:
        """Take the present state as a whole; what is not in it any more is dropped before the place moves."""
        found: set[Key] = set()
        async for batch in batches:
            for index, seen in enumerate(batch):
                if isinstance(seen, Observed):
                    found.add(_key(seen))
                    self._observe(seen)
                elif seen.ends_initial_events:
                    for gone in self._known - found:
                        self._remove(gone)
                    self._continue(batch[index:])
                    self._synced.set()
                    return

    def _continue(self, batch: Sequence[Seen]) -> None:
        for seen in batch:
            match seen:
                case Bookmark():
                    self._move(seen.revision)
                case Observed():
                    self._observe(seen)
                    self._move(seen.moment.revision)

    def _observe(self, seen: Observed) -> None:
        key = _key(seen)
        if seen.type == "DELETED":
            self._remove(key)
            return
        self._known.add(key)
        # Closed by default: what can't be read or taken gives nothing, and hurts no other object.
        try:
            self._take(from_document(self.kind.model, seen.object.document))
        except ValidationError as error:
            log.warning("object does not fit its kind, ignored", resource=self.kind.resource, error=str(error))
            self._remove(key)
        except Exception:
            log.exception("object can't be taken, ignored", resource=self.kind.resource, key=key)
            self._remove(key)

    def _remove(self, key: Key) -> None:
        self._known.discard(key)
        self._drop(key)

    def _move(self, revision: int) -> None:
        self.position = max(self.position, revision)
        moved, self._moved = self._moved, asyncio.Event()
        moved.set()


def _key(seen: Observed) -> Key:
    metadata: dict[str, Any] = seen.object.metadata
    return metadata.get("namespace", ""), metadata["name"]
