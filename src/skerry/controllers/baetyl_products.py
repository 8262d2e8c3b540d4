"""Gives back room in the quota of products that nobody uses: a crash between taking room and using it leaves some.

Owns `Product.status.records` while nothing happens to a product. Whoever makes records counts first
(`server.baetyl.registrar`), so a count that is not that of the records is right for as long as some are being made;
only where a product has not been written for longer than any request takes, it is wrong.
"""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from skerry.api.baetyl_registration import Product, Record
from skerry.api.errors import Conflict, NotFound
from skerry.api.model import to_document
from skerry.api.registry import kind_of
from skerry.client.client import Client
from skerry.client.informers import Informers
from skerry.client.transport import Target
from skerry.kit.clock import Clock
from skerry.kit.tasks import Wakeup, background, keep_running

#: How long a product must not have been written: five times what a request may take.
SETTLED_SECONDS = 300.0
LOOK_SECONDS = 60.0


class ProductCounter:
    """Corrects counts; `running()` is its life.

    Args:
        client: writes.
        informers: where the caches of products and records come from.
        clock: tells how long nothing has happened.
    """

    def __init__(self, client: Client, informers: Informers, clock: Clock) -> None:
        self._client = client
        self._products = informers.of(Product)
        self._records = informers.of(Record)
        self._clock = clock
        #: Products with a wrong count: their version, and since when they have it.
        self._suspects: dict[tuple[str, str], tuple[str | None, float]] = {}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Look after counts for the length of the block."""
        async with background(("baetyl-products", self._run)):
            yield

    async def _run(self) -> None:
        await keep_running("baetyl-products", self.reconcile, wakeup=Wakeup(), resync_seconds=LOOK_SECONDS)

    async def reconcile(self) -> None:
        """Look at every product once."""
        await self._products.synced()
        await self._records.synced()
        counts = Counter((record.namespace, record.spec.batch_name) for record in self._records)
        now, before = self._clock.monotonic_seconds(), self._suspects
        self._suspects = {}
        for product in self._products:
            key, version = (product.namespace, product.name), product.metadata.resource_version
            if product.status.records == counts[key]:
                continue
            known, since = before.get(key, (None, now))
            if known != version:
                since = now
            self._suspects[key] = (version, since)
            if now - since >= SETTLED_SECONDS:
                await self._correct(product, counts[key])

    async def _correct(self, product: Product, count: int) -> None:
        """Write a count into the very state that was looked at."""
        corrected = product.model_copy(deep=True)
        corrected.status.records = count
        target = Target(kind_of(Product), product.namespace, product.name, "status")
        try:
            await self._client.transport.replace(target, to_document(corrected))
        except (Conflict, NotFound):
            return  # something happens to it after all
