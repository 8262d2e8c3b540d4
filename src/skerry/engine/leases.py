"""What a pool counts of a function and of each of its revisions, and what it lends: an instance for one request."""

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from skerry.engine.code import Code
from skerry.engine.instances import RevisionInstance
from skerry.engine.manifest import FunctionManifest, ManifestVersion


@dataclass(slots=True)
class FunctionUse:
    """What the revisions of one function have together."""

    running: int = 0
    waiting: int = 0
    instances: int = 0
    memory_bytes: int = 0


@dataclass(slots=True)
class PooledRevision:
    """One revision that is loaded, and its idle instances: newest last, each with the time of its return."""

    manifest: FunctionManifest
    version: ManifestVersion | None
    code: Code
    function: FunctionUse
    idle: deque[tuple[RevisionInstance, float]] = field(default_factory=deque)
    instances: int = 0
    is_slow: bool = False

    @property
    def is_full(self) -> bool:
        """Whether the function has as many requests as it may."""
        return self.function.running >= self.manifest.concurrency_max


class Pool(Protocol):
    """What lends instances."""

    def give_back(self, revision: PooledRevision, instance: RevisionInstance, *, keep: bool) -> None:
        """Take an instance back; without `keep`, it is gone."""
        ...


class Lease:
    """An instance for the length of one request.

    A context manager: the instance goes back to the pool at the block's end, or is gone where an exception ends it.

    Attributes:
        manifest: of the revision.
        instance: no one else has it.
        goes_on: set in the block: it does not end the lease, a second block will.
    """

    __slots__ = ("_keep", "_pool", "_revision", "goes_on", "instance", "manifest")

    def __init__(self, pool: Pool, revision: PooledRevision, instance: RevisionInstance) -> None:
        self._pool = pool
        self._revision = revision
        self._keep = True
        self.manifest = revision.manifest
        self.instance = instance

    def __enter__(self) -> Self:
        self.goes_on = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None or not self.goes_on:
            self._pool.give_back(self._revision, self.instance, keep=self._keep and kind is None)

    def discard(self) -> None:
        """Say that the instance must not be used again."""
        self._keep = False

    @property
    def is_slow(self) -> bool:
        """Whether the revision's last call took long, as the caller has said here."""
        return self._revision.is_slow

    @is_slow.setter
    def is_slow(self, slow: bool) -> None:
        self._revision.is_slow = slow
