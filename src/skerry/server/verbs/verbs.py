"""What create, get, list, replace, patch, delete and watch mean, for every kind: the one implementation.

Every front door and the client in our own process call these; none of them adds a meaning of its own. Owns the
meaning of the verbs; does not own who may call them (the doors ask that first) or how they are spelled on a wire.

Invariant: what a verb returned is in the log, and what it refused changed nothing.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from skerry.api.catalogue import Catalogue
from skerry.api.errors import AlreadyExists, NotFound
from skerry.api.kinds import Kind
from skerry.api.model import Document, R
from skerry.kit.clock import Clock
from skerry.kit.ids import Ids
from skerry.server.verbs.admission import SYSTEM_NAMESPACES, NoPolicy, Policy, Surroundings, refuse_built_in
from skerry.server.verbs.answers import of_store
from skerry.server.verbs.apply.configuration import Configuration
from skerry.server.verbs.definitions import Definitions
from skerry.server.verbs.deleting import Deleter
from skerry.server.verbs.patches.patch import Patch
from skerry.server.verbs.reading import Reader
from skerry.server.verbs.requests import (
    Deleted,
    DeleteOptions,
    Listed,
    ListOptions,
    Target,
    WatchOptions,
    WriteOptions,
    Written,
)
from skerry.server.verbs.stored import Stored
from skerry.server.verbs.turns import Turns
from skerry.server.verbs.watching import Seen, Watcher
from skerry.server.verbs.writing import Writer
from skerry.store.errors import StoreError
from skerry.store.log import RevisionLog

_OWN_WRITE = WriteOptions(manager="skerry")


class Verbs:
    """The verbs over one log.

    Args:
        log: the revision log.
        kinds: the kinds that are always served; `namespaces` is among them. `definitions` adds others.
        clock: for creation and deletion times.
        ids: for uids and generated names.
        policy: what stored objects say about who may write.

    Attributes:
        kinds: every kind that is served now.
        definitions: keeps them at the state of the log while it runs.

    All verbs raise `ApiError`s only: besides those named below TooManyRequests and ServiceUnavailable, when the
    store is at a limit or away.
    """

    def __init__(
        self, log: RevisionLog, kinds: Sequence[Kind[Any]], clock: Clock, ids: Ids, policy: Policy | None = None
    ) -> None:
        self.kinds = Catalogue(kinds)
        self.definitions = Definitions(log, self.kinds)
        self._namespaces = next(kind for kind in kinds if kind.resource == "namespaces")
        self._policy = policy or NoPolicy()
        turns = Turns()
        self._writer = Writer(log, Surroundings(log, clock, ids, self._policy), turns)
        self._reader = Reader(log)
        self._watcher = Watcher(log, self._reader)
        self._deleter = Deleter(log, clock, self._policy, turns)

    async def bootstrap(self) -> None:
        """Make what must exist before the first request."""
        for name in SYSTEM_NAMESPACES:
            try:
                await self.create(Target(self._namespaces), {"metadata": {"name": name}}, _OWN_WRITE)
            except AlreadyExists:
                continue

    async def create(self, target: Target, document: Document, options: WriteOptions) -> Written:
        """Store a new object in the collection `target`.

        Raises:
            BadRequest: the document is of another kind or namespace, or has unknown fields (Strict).
            NotFound: the namespace does not exist.
            Forbidden: the namespace is ending.
            AlreadyExists: the name is taken.
            Invalid: with every broken rule.
        """
        try:
            return await self._in_force(target, await self._writer.create(target, document, options))
        except StoreError as error:
            raise of_store(error) from error

    async def record(self, target: Target, obj: R) -> R:
        """Store an object of Skerry's own making, new with its status, or with another status than it was read with.

        It is taken as it is, complete and valid; nobody is its manager, so there are no managedFields to work out.

        Args:
            target: the object, by its name.
            obj: a new one is given its identity, and keeps a creationTimestamp; one with a resourceVersion is put in
                place of that very state. It is given its new resourceVersion, and returned.

        Raises:
            NotFound: the namespace does not exist, or the object does not any more.
            Forbidden: the namespace is ending.
            AlreadyExists: the name of a new object is taken.
            Conflict: the object is not at its resourceVersion.
            RequestEntityTooLarge: it is over `OBJECT_BYTES_MAX`.
        """
        try:
            recorded = await self._writer.record(target, obj)
            await self._policy.in_force(target, int(recorded.metadata.resource_version or 0))
        except StoreError as error:
            raise of_store(error) from error
        return recorded

    async def get(self, target: Target, resource_version: str = "") -> Stored:
        """Return an object.

        Args:
            target: the object.
            resource_version: the answer is not older than this; "" for the newest.

        Raises:
            NotFound: there is none.
            Timeout: the revision has not been written yet.
        """
        try:
            return await self._reader.get(target, resource_version)
        except StoreError as error:
            raise of_store(error) from error

    async def get_at(self, target: Target, revision: int) -> Stored:
        """Return an object as it was at a revision, which is its newest state where that is not younger.

        Raises:
            NotFound: there was none.
            Expired: the history since the revision is gone.
            Timeout: the revision has not been written yet.
        """
        try:
            return await self._reader.get_at(target, revision)
        except StoreError as error:
            raise of_store(error) from error

    async def list(self, target: Target, options: ListOptions) -> Listed:
        """Return a collection, or a page of it.

        Raises:
            BadRequest: the continue token or the selection can't be read.
            Expired: the snapshot is not kept any more: start again without a token.
            Timeout: the revision has not been written yet.
            Invalid: resourceVersion and resourceVersionMatch do not go together.
        """
        try:
            return await self._reader.list(target, options)
        except StoreError as error:
            raise of_store(error) from error

    async def replace(self, target: Target, document: Document, options: WriteOptions) -> Written:
        """Put a whole new state (or status) in place of the stored one.

        Raises:
            NotFound: there is no such object.
            Conflict: it is not at the document's resourceVersion, or not of its uid.
            BadRequest, Invalid: as `create`.
        """
        refuse_built_in(target)
        try:
            return await self._in_force(target, await self._writer.replace(target, document, options))
        except StoreError as error:
            raise of_store(error) from error

    async def patch(self, target: Target, patch: Patch, options: WriteOptions) -> Written:
        """Change a part of an object (or of its status); tried again where another writer was quicker.

        Raises:
            NotFound, Conflict, BadRequest, Invalid: as `replace`; Invalid also where the patch does not fit.
        """
        refuse_built_in(target)
        try:
            return await self._in_force(target, await self._writer.patch(target, patch, options))
        except StoreError as error:
            raise of_store(error) from error

    async def apply(
        self, target: Target, config: Configuration, options: WriteOptions, before_create: Callable[[], None]
    ) -> Written:
        """Make an object hold a configuration, which its manager owns from now on; create it where it is missing.

        Args:
            target: the object.
            config: what the manager wants; fields that it applied before and leaves out now are removed.
            options: how; `force` takes fields from other managers.
            before_create: called before an object is created; raises Forbidden where the caller may only change.

        Raises:
            Conflict: other managers own fields that would change; also as `replace`.
            NotFound, Forbidden, BadRequest, Invalid: as `create` and `replace`.
        """
        refuse_built_in(target)
        try:
            return await self._in_force(target, await self._writer.apply(target, config, options, before_create))
        except StoreError as error:
            raise of_store(error) from error

    async def delete(self, target: Target, options: DeleteOptions) -> Deleted:
        """Delete an object: at once, or once its finalizers are done. A second delete changes nothing.

        What it sets off is the controllers' part: they collect dependents, and what is in a namespace.

        Raises:
            NotFound: there is none.
            Conflict: a precondition does not hold.
            Forbidden: it may not be deleted at all.
        """
        try:
            deleted = await self._deleter.delete(target, options)
            await self._policy.in_force(target, deleted.object.revision)
        except StoreError as error:
            raise of_store(error) from error
        return deleted

    async def _in_force(self, target: Target, written: Written) -> Written:
        await self._policy.in_force(target, written.object.revision)
        return written

    async def delete_collection(self, target: Target, listing: ListOptions, options: DeleteOptions) -> Listed:
        """Delete every selected object of a collection (at most `listing.limit`); return what was selected.

        Raises:
            BadRequest, Expired, Timeout, Invalid: as `list`.
            Forbidden: one of them may not be deleted; those before it are.
        """
        listed = await self.list(target, listing)
        for item in listed.items:
            meta = item.metadata
            try:
                await self.delete(Target(target.kind, meta.get("namespace", ""), meta["name"]), options)
            except NotFound:
                continue  # another one deleted it meanwhile, which is what was asked for
        return listed

    @asynccontextmanager
    async def watch(self, target: Target, options: WatchOptions) -> AsyncIterator[AsyncIterator[Sequence[Seen]]]:
        """Follow a collection for the length of the block; yields an iterator of batches, in order.

        Raises:
            Expired: the history since the revision is gone; also while iterating.
            Timeout: the revision has not been written yet.
            BadRequest: the selection can't be served.
        """
        try:
            async with self._watcher.watch(target, options) as seen:
                yield seen
        except StoreError as error:
            raise of_store(error) from error
