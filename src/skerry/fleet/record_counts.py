"""How many records each product has, and what its quota says of one more. Pure: it is told of changes, and asked.

A product counts its records itself, with room for those that are being made (`server.baetyl.registrar`). Records that
come another way are in nobody's count, and are seen here, as they are in the log.
"""

from skerry.api.baetyl_registration import Product, Record

Key = tuple[str, str]
"""Namespace and name."""


class RecordCounts:
    """Records and quotas of all products."""

    def __init__(self) -> None:
        self._records: dict[Key, set[str]] = {}
        self._products: dict[Key, tuple[int, int]] = {}

    def put_record(self, record: Record) -> None:
        """Take a record, new or changed."""
        self._records.setdefault((record.namespace, record.spec.batch_name), set()).add(record.name)

    def drop_record(self, key: Key) -> None:
        """Forget a record, whose name begins with that of its product."""
        product = key[0], key[1].partition(":")[0]
        names = self._records.get(product, set())
        names.discard(key[1])
        if not names:
            self._records.pop(product, None)

    def put_product(self, product: Product) -> None:
        """Take a product, new or changed."""
        self._products[product.namespace, product.name] = (product.spec.quota_num, product.status.records)

    def drop_product(self, key: Key) -> None:
        """Forget a product."""
        self._products.pop(key, None)

    def count_of(self, product: Key) -> int:
        """Return how many records of a product there are."""
        return len(self._records.get(product, ()))

    def refusal(self, product: Key) -> str:
        """Return why a product has no room for one more record; "" where it has, or there is no such product."""
        quota, counted = self._products.get(product, (None, 0))
        if quota is None or max(counted, self.count_of(product)) < quota:
            return ""
        return f"the product {product[1]} has room for {quota} records (spec.quotaNum), and has them"
