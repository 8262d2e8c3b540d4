"""Room in a quota that nobody uses is given back, and room that somebody may use is not."""

from skerry.api.baetyl_registration import Product, ProductSpec
from skerry.api.model import ObjectMeta
from skerry.client.informers import Informers
from skerry.controllers.baetyl_products import SETTLED_SECONDS, ProductCounter
from skerry.fleet.registration import new_record
from skerry.testing.clock import FakeClock
from skerry.testing.control_plane import memory_control_plane
from skerry.testing.informed import shown


async def test_a_count_is_corrected_once_nothing_has_happened_for_longer_than_a_request_takes():
    clock = FakeClock()
    async with memory_control_plane() as client:
        spec = ProductSpec(security_key="k")
        product = await client.create(Product(metadata=ObjectMeta(name="factory", namespace="default"), spec=spec))
        await client.create(new_record(product, "sn1"))
        await client.change_status(product, lambda found: setattr(found.status, "records", 5))
        informers = Informers(client)
        counter = ProductCounter(client, informers, clock)
        async with informers.running():
            await counter.reconcile()
            clock.advance(SETTLED_SECONDS - 1)
            await counter.reconcile()
            products = informers.of(Product)
            assert products.get("factory", "default").status.records == 5  # type: ignore[union-attr]

            # Someone takes room now, so the wait begins anew.
            await client.change_status(product, lambda found: setattr(found.status, "records", 6))
            await shown(products, "factory", lambda found: found.status.records == 6)
            clock.advance(2)
            await counter.reconcile()
            assert products.get("factory", "default").status.records == 6  # type: ignore[union-attr]

            clock.advance(SETTLED_SECONDS)
            await counter.reconcile()
            await shown(products, "factory", lambda found: found.status.records == 1)
