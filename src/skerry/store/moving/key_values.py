"""Keys and values of functions as they are moved, beside the log: they take the place of what was there."""

import hashlib
import math
import struct
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from skerry.store.moving.errors import DigestError

#: Lengths of namespace, key, value and metadata (-1: none), and when the entry ends (not a number: never).
_HEAD = struct.Struct(">IIIid")


@dataclass(frozen=True, slots=True)
class KeyValue:
    """An entry.

    Attributes:
        metadata: as JSON text.
        expires: seconds since the epoch; None for never.
    """

    namespace: str
    key: bytes
    value: bytes
    metadata: str | None
    expires: float | None


class KeyValuePlace(Protocol):
    """Where entries are."""

    def entries(self) -> AsyncIterator[Sequence[KeyValue]]:
        """Yield all of them, in the order of (namespace, key), in batches of bounded bytes."""
        ...

    async def replace(self, entries: AsyncIterator[Sequence[KeyValue]]) -> None:
        """Keep these and no others; cut off, it keeps some of them."""
        ...


def pack(entry: KeyValue) -> bytes:
    """Return an entry in its one form as bytes."""
    namespace, metadata = entry.namespace.encode(), (entry.metadata or "").encode()
    lengths = (len(namespace), len(entry.key), len(entry.value), -1 if entry.metadata is None else len(metadata))
    head = _HEAD.pack(*lengths, math.nan if entry.expires is None else entry.expires)
    return b"".join((head, namespace, entry.key, entry.value, metadata))


def unpack(packed: bytes) -> Iterator[KeyValue]:
    """Read entries that were packed one after the other; raises ValueError where they are cut off."""
    at = 0
    while at < len(packed):
        try:
            *lengths, metadata_bytes, expires = _HEAD.unpack_from(packed, at)
        except struct.error as error:
            raise ValueError("an entry is cut off") from error
        at += _HEAD.size
        parts = []
        for length in (*lengths, max(0, metadata_bytes)):
            parts.append(packed[at : at + length])
            at += length
        if at > len(packed):
            raise ValueError("an entry is cut off")
        namespace, key, value, metadata = parts
        yield KeyValue(
            namespace.decode(),
            key,
            value,
            None if metadata_bytes < 0 else metadata.decode(),
            None if math.isnan(expires) else expires,
        )


async def bring(entries: AsyncIterator[Sequence[KeyValue]], target: KeyValuePlace) -> int:
    """Let entries take the place of a target's, and return how many there are; raises DigestError where one differs."""
    sent, arrived, count = hashlib.sha256(), hashlib.sha256(), 0

    async def noted() -> AsyncIterator[Sequence[KeyValue]]:
        nonlocal count
        async for batch in entries:
            sent.update(b"".join(map(pack, batch)))
            count += len(batch)
            yield batch

    await target.replace(noted())
    async for batch in target.entries():
        arrived.update(b"".join(map(pack, batch)))
    if sent.digest() != arrived.digest():
        raise DigestError("the keys and values of functions that arrived are not those that were sent: start again")
    return count
