"""Makes the account `default` in every namespace, and again where someone deletes it.

Owns that it is there. Does not own what is in it: an account that exists is never written.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.core_service_account_v1 import DEFAULT_ACCOUNT, ServiceAccount
from skerry.api.core_v1 import Namespace
from skerry.api.errors import AlreadyExists, Forbidden, NotFound
from skerry.api.model import ObjectMeta
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.kit.tasks import KeyedWorkers, resynced

#: Namespaces worked on at once.
CONCURRENCY = 4
#: Every namespace is looked at again this often, whatever happened.
RESYNC_SECONDS = 600.0


class DefaultAccounts:
    """Keeps a `default` account in every namespace; `running()` is its life.

    Args:
        client: makes the accounts.
        informers: where the caches of namespaces and accounts come from.
    """

    def __init__(self, client: Client, informers: Informers) -> None:
        self._client = client
        self._namespaces = informers.of(Namespace)
        self._accounts = informers.of(ServiceAccount)
        self._workers = KeyedWorkers("service-accounts", self.reconcile, concurrency=CONCURRENCY)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Make accounts for the length of the block."""
        self._namespaces.on_change(lambda key: self._workers.add(key[1]))
        self._accounts.on_change(lambda key: self._workers.add(key[0]))
        async with resynced("service-accounts", self._resync, self._workers, resync_seconds=RESYNC_SECONDS):
            yield

    async def _resync(self) -> None:
        await self._namespaces.synced()
        for namespace in self._namespaces:
            self._workers.add(namespace.name)

    async def reconcile(self, name: str) -> None:
        """Make the account of one namespace, where it lacks; leaves a namespace alone that ends."""
        await self._namespaces.synced()
        await self._accounts.synced()
        namespace = self._namespaces.get(name)
        if namespace is None or namespace.metadata.deletion_timestamp or self._accounts.get(DEFAULT_ACCOUNT, name):
            return
        try:
            await self._client.create(ServiceAccount(metadata=ObjectMeta(name=DEFAULT_ACCOUNT, namespace=name)))
        except (AlreadyExists, NotFound, Forbidden):
            return  # made by someone else, or the namespace ends or is gone: each is told by a change
