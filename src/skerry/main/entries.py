"""Keys and values of functions in the database, as the engine sees them. Decides nothing."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from skerry.engine.key_values import KeyValueError, Listed, Value, namespace_full
from skerry.store.errors import NamespaceFull, StoreError
from skerry.store.postgres.entries import EntryKey, EntryValue, PostgresEntries


class DatabaseEntries:
    """`engine.kv_server.SharedEntries`, in a PostgreSQL database."""

    def __init__(self, entries: PostgresEntries) -> None:
        self._entries = entries

    async def get(self, namespace: str, key: bytes) -> Value | None:
        """Return a value; see `SharedEntries`."""
        with _mapped():
            found = await self._entries.get(EntryKey(namespace, key))
        return None if found is None else Value(*found)

    async def put(self, at: tuple[str, bytes], stored: Value, expires: float | None, *, bytes_max: int) -> None:
        """Set a value; see `SharedEntries`."""
        with _mapped():
            await self._entries.put(EntryKey(*at), EntryValue(*stored), expires, bytes_max=bytes_max)

    async def delete(self, namespace: str, key: bytes) -> None:
        """Remove a key; see `SharedEntries`."""
        with _mapped():
            await self._entries.delete(EntryKey(namespace, key))

    async def list(self, namespace: str, *, after: bytes, between: tuple[bytes, bytes], limit: int) -> Sequence[Listed]:
        """Return keys; see `SharedEntries`."""
        with _mapped():
            listed = await self._entries.list(namespace, after=after, between=between, limit=limit)
        return [Listed(entry.key.decode(), entry.metadata, entry.expires) for entry in listed]

    async def sweep(self) -> bool:
        """Remove some of what has expired; see `SharedEntries`."""
        with _mapped():
            return await self._entries.sweep()


@contextmanager
def _mapped() -> Iterator[None]:
    try:
        yield
    except NamespaceFull as error:
        raise namespace_full(error.held_bytes) from error
    except StoreError as error:
        raise KeyValueError(f"the shared key/value store failed: {error.public}", detail=error.detail) from error
