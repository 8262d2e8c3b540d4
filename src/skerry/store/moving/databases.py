"""What moving asks of a database, besides being a `Driver`: all of it at one moment, and filling it from nothing.

Who uses a database holds its *use*, shared with others; who moves a log out of it for good, or into it, holds the use
alone. A database that is being filled is marked as half done, and no control plane starts on it, until it is whole.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from skerry.store.moving.artifacts import ArtifactPlace
from skerry.store.moving.changes import Change, Snapshot, Span
from skerry.store.moving.key_values import KeyValuePlace

#: Faults of one sort that are told one by one.
FAULTS_TOLD_MAX = 20


@dataclass(frozen=True, slots=True)
class State:
    """A kept state of an entry, as its neighbours in time see it.

    Attributes:
        deleted: whether it is a tombstone.
    """

    revision: int
    created_revision: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where a change stands among the others of its entry.

    Attributes:
        older: the state before it that is kept, if any.
        newer_revision: that of the state after it, if any.
        indexed: what the index of present states says of the entry: revision and created revision; None: it is absent.
    """

    change: Change
    older: State | None
    newer_revision: int | None
    indexed: tuple[int, int] | None


class DatabaseSnapshot(Snapshot, Protocol):
    """A log in a database at one moment, with what else it takes to check it.

    Attributes:
        half_done: whether it is the half of a copy.
        artifacts: those that are kept in the database; None where artifacts are kept elsewhere.
        key_values: those of functions, likewise.
    """

    half_done: bool

    @property
    def artifacts(self) -> ArtifactPlace | None: ...  # noqa: D102 - told above

    @property
    def key_values(self) -> KeyValuePlace | None: ...  # noqa: D102 - told above

    def places(self) -> AsyncIterator[Sequence[Place]]:
        """Yield every change in the order of revisions, with its neighbours."""
        ...

    async def strays(self) -> Sequence[str]:
        """Return names in the index of present states that no change stands behind; at most `FAULTS_TOLD_MAX`."""
        ...

    async def damage(self) -> Sequence[str]:
        """Return what the database itself finds wrong with its files, a sentence each; at most `FAULTS_TOLD_MAX`."""
        ...


class Content(Enum):
    """What lies in a database that is to be filled."""

    NOTHING = "nothing"
    HALF = "a part of a log, which was being moved here"
    LOG = "a log"


class Incoming(Protocol):
    """A database that is being filled, by us alone.

    Attributes:
        artifacts: where it keeps them itself; None where they are kept elsewhere.
        key_values: likewise.
    """

    @property
    def artifacts(self) -> ArtifactPlace | None: ...  # noqa: D102 - told above

    @property
    def key_values(self) -> KeyValuePlace | None: ...  # noqa: D102 - told above

    async def content(self) -> Content:
        """Return what lies there."""
        ...

    async def begin(self, span: Span) -> None:
        """Mark it as half done, with nothing in it yet of a log that is compacted as far as `span` says."""
        ...

    async def append(self, changes: Sequence[Change]) -> None:
        """Add changes behind those that are there, in one transaction; durable when this returns."""
        ...

    async def settle(self, span: Span) -> None:
        """Set how far the log reaches, and delete what is swept there and not yet here."""
        ...

    async def finish(self) -> None:
        """Take the mark away: it is whole."""
        ...

    def snapshot(self) -> AbstractAsyncContextManager[DatabaseSnapshot]:
        """Hold what is there now for the length of the block."""
        ...


class Database(Protocol):
    """A database by its address; nothing is opened before it is asked for.

    Attributes:
        name: for messages; without a password.
    """

    name: str

    def snapshot(self, *, alone: bool = False) -> AbstractAsyncContextManager[DatabaseSnapshot]:
        """Hold its log as it is now for the length of the block.

        Args:
            alone: keep control planes off for as long.

        Raises:
            MovingError: there is no log of ours, or it is of a newer version.
            InUseError: it is to be alone, and a control plane is there.
        """
        ...

    def incoming(self) -> AbstractAsyncContextManager[Incoming]:
        """Hold it alone to be filled, its schema up to date; raises InUseError."""
        ...
