"""Keys and values of functions that nodes keep in their database (`store.postgres.entries`), moved."""

from collections.abc import AsyncIterator, Sequence

from skerry.store.moving import postgres_statements as statements
from skerry.store.moving.changes import BATCH_BYTES, BATCH_CHANGES
from skerry.store.moving.key_values import KeyValue
from skerry.store.moving.postgres_failures import failures_told
from skerry.store.postgres.session import Connection


class PostgresKeyValues:
    """A `KeyValuePlace` on a server.

    Args:
        connection: in a transaction to be read from, in none to be written to.
        name: of the database, for messages.
    """

    def __init__(self, connection: Connection, name: str) -> None:
        self._connection = connection
        self._name = name

    async def entries(self) -> AsyncIterator[Sequence[KeyValue]]:
        """Yield all entries; nothing by a version that kept none. See `KeyValuePlace`."""
        after = ("", b"")
        while batch := await self._next(after):
            yield batch
            after = (batch[-1].namespace, batch[-1].key)

    async def _next(self, after: tuple[str, bytes]) -> list[KeyValue]:
        with failures_told(self._name):
            if await self._connection.raw.fetchval("SELECT to_regclass('kv_entries')") is None:
                return []
            rows = await self._connection.rows(statements.KEY_VALUES_AFTER, *after, BATCH_CHANGES, BATCH_BYTES)
        return [KeyValue(*row) for row in rows]

    async def replace(self, entries: AsyncIterator[Sequence[KeyValue]]) -> None:
        """Keep these and no others; see `KeyValuePlace`."""
        raw = self._connection.raw
        with failures_told(self._name):
            await raw.execute("TRUNCATE kv_entries, kv_namespaces")
        async for batch in entries:
            columns = (
                [entry.namespace for entry in batch],
                [entry.key for entry in batch],
                [entry.value for entry in batch],
                [entry.metadata for entry in batch],
                [entry.expires for entry in batch],
            )
            with failures_told(self._name):
                async with raw.transaction():
                    await raw.execute(statements.ADD_NAMESPACES, columns[0])
                    await raw.execute(statements.ADD_KEY_VALUES, *columns)
        with failures_told(self._name):
            await raw.execute(statements.COUNT_NAMESPACES)
