"""What a pool counts of a function and of each of its revisions, and what it lends: an instance for one request."""

import time
from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from skerry.engine.code import Code
from skerry.engine.concurrent_instance import ConcurrentInstance
from skerry.engine.instances import RevisionInstance
from skerry.engine.invocation import request_id_of
from skerry.engine.manifest import FunctionManifest, ManifestVersion

if TYPE_CHECKING:
    from skerry.engine.open_calls import OpenCall

#: After a request that ended others in its instance.
ALONE_SECONDS = 60.0


@dataclass(slots=True)
class FunctionUse:
    """What the revisions of one function have together."""

    running: int = 0
    waiting: int = 0
    instances: int = 0
    memory_bytes: int = 0


@dataclass(slots=True)
class Sharers:
    """Those who have an instance together: how many, and whether it may be used when all have given it back."""

    instance: ConcurrentInstance
    count: int = 1
    keep: bool = True


@dataclass(slots=True)
class PooledRevision:
    """One revision that is loaded, and its idle instances: newest last, each with the time of its return.

    Attributes:
        shared: the instances that are lent, and take another request besides.
        is_slow: its last call computed for long: others would wait for the next one.
        alone_until: until then no request shares an instance with another, since one has ended those beside it.
    """

    manifest: FunctionManifest
    version: ManifestVersion | None
    code: Code
    function: FunctionUse
    idle: deque[tuple[RevisionInstance, float]] = field(default_factory=deque)
    shared: dict[RevisionInstance, Sharers] = field(default_factory=dict)
    instances: int = 0
    is_slow: bool = False
    alone_until: float = 0.0

    @property
    def shares(self) -> bool:
        """Whether its requests may be in one instance together."""
        if self.alone_until and time.monotonic() >= self.alone_until:
            self.alone_until = 0.0
        return not self.is_slow and not self.alone_until and self.manifest.isolation == "instance"

    def taken(self, *, together: bool) -> RevisionInstance | None:
        """Return an instance for a request; None where another one is needed.

        Args:
            together: others may be in it.
        """
        shares = together and self.shares
        if shares:
            for sharers in self.shared.values():
                if sharers.keep and sharers.instance.may_be_joined:
                    sharers.count += 1
                    return sharers.instance
        return self.begun(self.idle.pop()[0], together=together) if self.idle else None

    def begun(self, instance: RevisionInstance, *, together: bool) -> RevisionInstance:
        """Return an instance that nobody else has, as `taken` does."""
        if together and self.shares and isinstance(instance, ConcurrentInstance):
            self.shared[instance] = Sharers(instance)
        return instance

    def parted(self, instance: RevisionInstance, *, keep: bool) -> tuple[bool, bool]:
        """Take an instance back from one of its sharers; returns whether nobody has it any more, and `keep` of all."""
        sharers = self.shared.get(instance)
        if sharers is None:
            return True, keep
        sharers.count -= 1
        sharers.keep = sharers.keep and keep
        if not sharers.count:
            del self.shared[instance]
        return not sharers.count, sharers.keep

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
        revision: whose it is; the caller says there whether its calls take long.
        manifest: of the revision.
        instance: no one else has it, unless it was asked for `together`.
        call: of the request, where that is not the only one in the instance.
        goes_on: set in the block: it does not end the lease, a second block will.
    """

    __slots__ = ("_keep", "_pool", "call", "goes_on", "instance", "manifest", "revision")

    def __init__(self, pool: Pool, revision: PooledRevision, instance: RevisionInstance) -> None:
        self._pool = pool
        self.call: OpenCall | None = None
        self.goes_on = False
        self.revision = revision
        self._keep = True
        self.manifest = revision.manifest
        self.instance = instance

    def __enter__(self) -> Self:
        self.goes_on = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(keep=kind is None)

    def end(self, *, keep: bool) -> None:
        """Give the instance back, unless the request goes on; without `keep`, or where it has died, it is gone."""
        if isinstance(self.instance, ConcurrentInstance) and self.instance.is_dead:
            keep = False  # after its answer, maybe
        if not keep or not self.goes_on:
            self._pool.give_back(self.revision, self.instance, keep=self._keep and keep)

    def discard(self) -> None:
        """Say that the instance must not be used again."""
        self._keep = False

    @property
    def used(self) -> tuple[int, int]:
        """For how many nanoseconds the request has computed, and how many subrequests it has caused."""
        if self.call is not None:
            return self.call.cpu_ns, self.call.held[1]
        return self.instance.cpu_ns, self.instance.invocation.subrequests

    @property
    def request_id(self) -> str:
        """What the request is called in logs."""
        invocation = self.instance.invocation
        return invocation.request_id if self.call is None else request_id_of(self.call.held[0])

    def be_alone(self) -> None:
        """Say that the request has ended all others in its instance: for a while none of the revision share one."""
        self.revision.alone_until = time.monotonic() + ALONE_SECONDS
