"""The log as it is moved: its changes, each once, in the order of revisions, and how far it reaches.

A change is a row of the database as it lies there, sealed values sealed. So a log that was moved is the same log:
every revision that a client remembers stays valid, and a digest over it is the same whichever database keeps it.
"""

import hashlib
import struct
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from skerry.store.records import Key
from skerry.store.sealing.envelope import is_plain, key_id_of

#: Revision, created and previous revision, deleted, and the lengths of resource, namespace, name and value.
_HEAD = struct.Struct(">QQQ?IIII")

#: Changes that are read and written at once, and the bytes of their values after which fewer are (one more may come).
BATCH_CHANGES = 500
BATCH_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Change:
    """What one revision changed.

    Attributes:
        revision: its number.
        created_revision: the revision that created the entry (after its last deletion, if any).
        previous_revision: the revision of the state before; 0 where there was none.
        value: the new state, as it lies in the database; None for a delete.
    """

    revision: int
    key: Key
    created_revision: int
    previous_revision: int
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Span:
    """How far a log reaches.

    Attributes:
        latest: the newest revision; 0 in an empty log.
        compacted: the oldest revision that readers may ask for.
        swept: up to where the superseded states and tombstones below that are deleted already.
    """

    latest: int = 0
    compacted: int = 0
    swept: int = 0


class Snapshot(Protocol):
    """A log at one moment, whatever is written to its database meanwhile.

    Attributes:
        name: for messages; without a password.
        span: how far it reaches.
        count: how many changes there are in it.
    """

    name: str
    span: Span
    count: int

    def changes(self) -> AsyncIterator[Sequence[Change]]:
        """Yield every change in the order of revisions, in batches of bounded bytes."""
        ...

    async def confirm(self) -> None:
        """Insist that what was yielded is the log, after all of it was; raises MovingError."""
        ...


#: Told of what is under way: the stage, how much of it is done, and how much there is.
Progress: TypeAlias = Callable[[str, int, int], None]


def pack(change: Change) -> bytes:
    """Return a change in its one form as bytes: the same one for digests and for files."""
    key, value = change.key, change.value or b""
    names = [part.encode() for part in (key.resource, key.namespace, key.name)]
    revisions = (change.revision, change.created_revision, change.previous_revision)
    head = _HEAD.pack(*revisions, change.value is None, *map(len, names), len(value))
    return b"".join((head, *names, value))


def unpack(packed: bytes) -> Iterator[Change]:
    """Read changes that were packed one after the other; raises ValueError where they are cut off."""
    at = 0
    while at < len(packed):
        try:
            revision, created, previous, deleted, *lengths = _HEAD.unpack_from(packed, at)
        except struct.error as error:
            raise ValueError("a change is cut off") from error
        at += _HEAD.size
        parts = []
        for length in lengths:
            parts.append(packed[at : at + length])
            at += length
        if at > len(packed):
            raise ValueError("a change is cut off")
        resource, namespace, name = (part.decode() for part in parts[:3])
        yield Change(revision, Key(resource, namespace, name), created, previous, None if deleted else parts[3])


class Tally:
    """What is noted of changes that pass: a sha256 over them, their number, and the keys that seal values of theirs.

    Attributes:
        changes: how many passed.
        key_ids: of the encryption keys that it takes to read them.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.key_ids: set[str] = set()
        self._sha256 = hashlib.sha256()

    def add(self, changes: Sequence[Change]) -> None:
        """Go on with some changes."""
        for change in changes:
            self._sha256.update(pack(change))
            if change.value is not None and not is_plain(change.value):
                self.key_ids.add(key_id_of(change.value))
        self.changes += len(changes)

    def digest(self, span: Span) -> str:
        """Return the digest of a log that has these changes and reaches this far."""
        whole = self._sha256.copy()
        whole.update(struct.pack(">QQQ", span.latest, span.compacted, span.swept))
        return f"sha256:{whole.hexdigest()}"


async def digest_of(snapshot: Snapshot, tell: Callable[[int, int], None]) -> str:
    """Read a whole snapshot and return its digest; `tell` hears how many changes were read, and of how many."""
    tally = Tally()
    async for changes in snapshot.changes():
        tally.add(changes)
        tell(tally.changes, snapshot.count)
    return tally.digest(snapshot.span)
