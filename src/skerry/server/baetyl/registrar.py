"""Products and their records, as both front doors and activations change them.

Owns the quota and what may go. A product counts its records, and room for those that are being made: whoever makes
some takes room first, by compare-and-swap, and gives back what was not needed. So records never outnumber the quota,
however many replicas make some; a crash between the two steps leaves room taken that `controllers.baetyl_products`
gives back. That a fingerprint is registered once, the names of records see to.
"""

import asyncio
from collections.abc import Sequence

from skerry.api.baetyl_registration import PRODUCT, PRODUCT_LABEL, RECORD, Product, Record, record_object_name
from skerry.api.errors import ApiError, NotFound
from skerry.api.model import from_document, to_document
from skerry.api.selectors import parse_label_selector
from skerry.fleet.record_counts import RecordCounts
from skerry.server.baetyl import errors
from skerry.server.verbs.patches.model_patch import ModelPatch
from skerry.server.verbs.requests import DeleteOptions, ListOptions, Selection, Target, WriteOptions
from skerry.server.verbs.verbs import Verbs

#: Records that are written at once: the log commits those together.
TOGETHER_MAX = 64
#: Written for nobody in particular, as the room is taken: see `Fleet.check`.
_OPTIONS = WriteOptions(field_validation="Strict", manager="baetyl")


class Registrar:
    """Makes and removes records, within the quota of their product.

    Args:
        verbs: reads and writes.
        counts: tells of records that were made another way.
    """

    def __init__(self, verbs: Verbs, counts: RecordCounts) -> None:
        self._verbs = verbs
        self._counts = counts

    async def product(self, namespace: str, name: str) -> Product:
        """Return a product; raises BaetylError where there is none."""
        try:
            stored = await self._verbs.get(Target(PRODUCT, namespace, name))
        except NotFound as error:
            raise errors.not_found("batch", name) from error
        return from_document(Product, stored.document)

    async def record(self, product: Product, name: str) -> Record:
        """Return a record by its fingerprint, or else by its name; raises BaetylError where there is none."""
        if (found := await self.by_fingerprint(product, name)) is not None:
            return found
        for record in await self.records(product):
            if record.spec.name == name:
                return record
        raise errors.not_found("record", name)

    async def by_fingerprint(self, product: Product, fingerprint: str) -> Record | None:
        """Return the record of a device; None where there is none."""
        target = Target(RECORD, product.namespace, record_object_name(product.name, fingerprint))
        try:
            return from_document(Record, (await self._verbs.get(target)).document)
        except NotFound:
            return None

    async def records(self, product: Product) -> list[Record]:
        """Return all records of a product, the newest first."""
        selection = Selection(parse_label_selector(f"{PRODUCT_LABEL}={product.name}"))
        listed = await self._verbs.list(Target(RECORD, product.namespace), ListOptions(selection))
        found = [from_document(Record, item.document) for item in listed.items]
        found.sort(key=lambda record: record.metadata.creation_timestamp or "", reverse=True)
        return found

    async def add(self, product: Product, records: Sequence[Record]) -> list[Record]:
        """Store new records.

        Raises:
            BaetylError: the quota has no room for all of them; nothing was stored.
            AlreadyExists: a fingerprint is registered already; others may be stored.
        """
        await self._count(product, len(records))
        stored: list[Record] = []
        try:
            for start in range(0, len(records), TOGETHER_MAX):
                await self._create(records[start : start + TOGETHER_MAX], stored)
        finally:
            if missing := len(records) - len(stored):
                await self._count(product, -missing)
        return stored

    async def _create(self, records: Sequence[Record], stored: list[Record]) -> None:
        """Store some records at once; what failed is raised when all are done."""
        failures: list[ApiError] = []

        async def create(record: Record) -> None:
            record.api_version, record.kind = RECORD.api_version, RECORD.kind
            target = Target(RECORD, record.namespace)
            try:
                written = await self._verbs.create(target, to_document(record), _OPTIONS)
            except ApiError as error:
                failures.append(error)
            else:
                stored.append(from_document(Record, written.object.document))

        async with asyncio.TaskGroup() as group:
            for record in records:
                group.create_task(create(record))
        if failures:
            raise failures[0]

    async def remove(self, record: Record) -> None:
        """Remove a record that is not active; raises BaetylError for one that is, and NotFound."""
        if record.status.active:
            raise errors.BaetylError("ErrRegisterRecordActivated", "The record is activated.")
        options = DeleteOptions(uid=record.uid, resource_version=record.metadata.resource_version)
        await self._verbs.delete(Target(RECORD, record.namespace, record.name), options)
        product = await self.product(record.namespace, record.spec.batch_name)
        await self._count(product, -1)

    async def remove_product(self, product: Product) -> None:
        """Remove a product without records.

        Raises:
            BaetylError: it has records.
            Conflict: one is being made.
        """
        if await self.records(product):
            message = f"Batch ({product.name}) delete failed, record not null."
            raise errors.BaetylError("ErrRegisterDeleteRecord", message)
        options = DeleteOptions(uid=product.uid, resource_version=product.metadata.resource_version)
        await self._verbs.delete(Target(PRODUCT, product.namespace, product.name), options)

    async def _count(self, product: Product, more: int) -> None:
        """Change the count of a product's records; raises BaetylError where the quota has no room for more."""
        key = (product.namespace, product.name)

        def count(present: Product) -> None:
            taken = max(present.status.records, self._counts.count_of(key) if more > 0 else 0) + more
            if more > 0 and taken > present.spec.quota_num:
                limit = present.spec.quota_num
                raise errors.BaetylError("ErrRegisterQuotaNumOut", f"Number reached the upper limit ({limit})")
            present.status.records = max(0, taken)

        try:
            await self._verbs.patch(Target(PRODUCT, *key, "status"), ModelPatch(count), _OPTIONS)
        except NotFound:
            return  # there is nothing left to count
