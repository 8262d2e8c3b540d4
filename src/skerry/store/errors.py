"""What the store may answer instead of a result.

    SkerryError
    └── StoreError
        ├── Conflict          the entry is not at the expected revision; carries the entry as it is now
        ├── Compacted         that revision's history is gone; carries the oldest one that is left
        ├── FutureRevision    that revision is not written yet; carries the newest one that is
        ├── ValueTooLarge     the value exceeds `LogSettings.value_bytes_max`
        ├── BlobsFull         a blob would exceed `BlobSettings.bytes_max`
        ├── NamespaceFull     an entry would exceed the limit of its namespace (keys and values of functions)
        ├── Undecryptable     a sealed value can't be opened: its key is missing, or it is not what was sealed
        ├── Overloaded        a bounded queue of the store is full; nothing was done, try again
        └── Unavailable       the database cannot serve (locked, closed, away)
            └── OutOfSpace    its disk is full; nothing was done, and reads go on

A database that cannot be opened at all is a `StartError` of the kit.
"""

from skerry.kit.errors import SkerryError
from skerry.store.records import Entry, Key


class StoreError(SkerryError):
    """Any expected failure of the store."""


class Conflict(StoreError):
    """The entry is not at the expected revision.

    Attributes:
        current: the entry as it is now; None where there is none.
    """

    def __init__(self, key: Key, *, expected_revision: int, current: Entry | None) -> None:
        found = f"at revision {current.revision}" if current else "absent"
        wanted = f"at revision {expected_revision}" if expected_revision else "absent"
        super().__init__(f"{key} was expected {wanted} but is {found}")
        self.current = current


class Compacted(StoreError):
    """The history before `oldest` has been compacted away: list again and go on from there.

    Attributes:
        oldest: the oldest revision that can still be listed, or watched from.
    """

    def __init__(self, oldest: int) -> None:
        super().__init__(f"the requested revision is older than {oldest}, the oldest one that is kept")
        self.oldest = oldest


class FutureRevision(StoreError):
    """The asked revision has not been written yet.

    Attributes:
        current: the newest revision.
    """

    def __init__(self, current: int) -> None:
        super().__init__(f"the requested revision is newer than {current}, the newest one")
        self.current = current


class ValueTooLarge(StoreError):
    """A value exceeds the limit of one entry."""

    def __init__(self, key: Key, *, value_bytes: int, value_bytes_max: int) -> None:
        super().__init__(f"{key} has {value_bytes} bytes, the limit of one entry is {value_bytes_max}")


class BlobsFull(StoreError):
    """There is no room for a blob; nothing was stored."""

    def __init__(self, size_bytes: int, *, held_bytes: int, bytes_max: int) -> None:
        super().__init__(
            f"{size_bytes} more bytes would exceed the limit of artifacts in the database, {bytes_max} bytes "
            f"({held_bytes} in use)"
        )


class NamespaceFull(StoreError):
    """There is no room for an entry in its namespace; nothing was changed.

    Attributes:
        held_bytes: what the namespace would hold.
    """

    def __init__(self, held_bytes: int, *, bytes_max: int) -> None:
        super().__init__(f"a namespace may hold {bytes_max} bytes, and this would be {held_bytes}")
        self.held_bytes = held_bytes


class Undecryptable(StoreError):
    """A sealed value can't be opened.

    Args:
        key: the entry.
        why: names the missing key, or says that the value is damaged.
    """

    def __init__(self, key: Key, why: str) -> None:
        super().__init__(f"{key} can't be decrypted: {why}")


class Overloaded(StoreError):
    """A bounded queue is full; nothing was done.

    Args:
        limit_name: the setting that bounds the queue.
        limit: its value.
    """

    def __init__(self, limit_name: str, limit: int) -> None:
        super().__init__(f"the store is busy ({limit_name}={limit} reached), try again")


class Unavailable(StoreError):
    """The database cannot serve now; after a failed write the caller must read to learn its outcome."""


class OutOfSpace(Unavailable):
    """The database found no room for a write, which changed nothing."""

    @classmethod
    def told_by(cls, cause: Exception) -> "OutOfSpace":
        """Return the error for what the database said."""
        return cls("the disk of the database is full, so nothing was written: free space on it", detail=str(cause))
