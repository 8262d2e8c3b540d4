"""Warm instances, by revision: made on demand, reused, bounded, thrown away.

Owns: which instance answers a request, when one is made and when one is dropped. Does not own how a call runs
(`host`) or what is said over HTTP (`worker`).

Invariants: an instance serves one revision for all of its life, and one request at a time. A call that failed
takes its instance with it. `instances` counts every instance that exists, in use or idle; it never exceeds
`instances_max`, nor `instances_per_revision_max` for one revision.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from skerry.engine.errors import OverloadedError
from skerry.engine.host import Instance
from skerry.engine.manifest import FunctionManifest, manifest_path

StartInstance = Callable[[FunctionManifest, bytes], Instance]
LoadRevision = Callable[[str], tuple[FunctionManifest, bytes]]


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much one worker keeps and does at once.

    Attributes:
        instances_max: all revisions together; a small one takes 3 MB, a busy one up to its memory limit.
        instances_per_revision_max: how many requests of one revision run at once.
        waiting_per_revision_max: how many more may wait for one of these; each holds a connection's thread.
        waiting_seconds_max: how long they wait.
        idle_seconds_max: an instance without a request for so long is dropped.
    """

    instances_max: int = 200
    instances_per_revision_max: int = 16
    waiting_per_revision_max: int = 32
    waiting_seconds_max: float = 10.0
    idle_seconds_max: float = 300.0


@dataclass(slots=True)
class _Revision:
    manifest: FunctionManifest
    bundle: bytes
    idle: deque[tuple[Instance, float]] = field(default_factory=deque)  # newest last, with the time of return
    instances: int = 0
    waiting: int = 0


class Lease:
    """An instance for the length of one request."""

    __slots__ = ("instance", "keep", "manifest")

    def __init__(self, manifest: FunctionManifest, instance: Instance) -> None:
        self.manifest = manifest
        self.instance = instance
        self.keep = True

    def discard(self) -> None:
        """Say that the instance must not be used again."""
        self.keep = False


class InstancePool:
    """The instances of one worker; called from many threads."""

    def __init__(self, functions_dir: Path, load: LoadRevision, start: StartInstance, *, limits: PoolLimits) -> None:
        self._functions_dir = functions_dir
        self._load = load
        self._start = start
        self._limits = limits
        self._revisions: OrderedDict[str, _Revision] = OrderedDict()  # least recently used first
        self._changed = threading.Condition()
        self._instances = 0
        self._waiting = 0
        self._cold_starts = 0

    @contextmanager
    def lease(self, revision_name: str) -> Iterator[Lease]:
        """Lend an instance of a revision for one request; an exception in the block discards it.

        Raises:
            UnknownRevisionError: there is no manifest of this name.
            LoadError: its code does not load.
            OverloadedError: the limits are reached.
        """
        revision = self._revision(revision_name)
        instance = self._take(revision)
        keep = False
        try:
            if instance is None:
                instance = self._start(revision.manifest, revision.bundle)
            lease = Lease(revision.manifest, instance)
            yield lease
            keep = lease.keep
        finally:
            self._give_back(revision, instance if keep else None)

    def _revision(self, name: str) -> _Revision:
        with self._changed:
            revision = self._revisions.get(name)
            if revision is not None:
                self._revisions.move_to_end(name)
                return revision
        manifest, bundle = self._load(name)  # two threads may both load it: the first one's stays
        with self._changed:
            return self._revisions.setdefault(name, _Revision(manifest, bundle))

    def _take(self, revision: _Revision) -> Instance | None:
        """Return an idle instance, or None with the right to start one."""
        with self._changed:
            if revision.idle:
                return revision.idle.pop()[0]
            if not self._has_room(revision):
                self._wait(revision)
                if revision.idle:
                    return revision.idle.pop()[0]
            revision.instances += 1
            self._instances += 1
            self._cold_starts += 1
            return None

    def _has_room(self, revision: _Revision) -> bool:
        if revision.instances >= self._limits.instances_per_revision_max:
            return False
        return self._instances < self._limits.instances_max or self._evict_one()

    def _wait(self, revision: _Revision) -> None:
        limits = self._limits
        if revision.waiting >= limits.waiting_per_revision_max:
            raise OverloadedError(
                f"all instances are busy and {limits.waiting_per_revision_max} requests wait for one already"
            )
        revision.waiting += 1
        self._waiting += 1
        try:
            free = self._changed.wait_for(lambda: revision.idle or self._has_room(revision), limits.waiting_seconds_max)
        finally:
            revision.waiting -= 1
            self._waiting -= 1
        if not free:
            raise OverloadedError(f"no instance became free within {limits.waiting_seconds_max:g} s")

    def _evict_one(self) -> bool:
        """Drop the idle instance of the revision that was asked for least recently; False where all are busy."""
        for revision in self._revisions.values():
            if revision.idle:
                self._drop_oldest(revision)
                return True
        return False

    def _drop_oldest(self, revision: _Revision) -> None:
        revision.idle.popleft()
        revision.instances -= 1
        self._instances -= 1

    def _give_back(self, revision: _Revision, instance: Instance | None) -> None:
        with self._changed:
            if instance is None or self._revisions.get(revision.manifest.revision) is not revision:
                revision.instances -= 1
                self._instances -= 1
            else:
                revision.idle.append((instance, time.monotonic()))
            if self._waiting:
                self._changed.notify_all()

    def sweep(self) -> None:
        """Drop what has been idle for too long and revisions whose manifest is gone; call it every second."""
        with self._changed:
            names = list(self._revisions)
        gone = [name for name in names if not manifest_path(self._functions_dir, name).exists()]
        stale = time.monotonic() - self._limits.idle_seconds_max
        with self._changed:
            for name in gone:
                revision = self._revisions.pop(name)
                while revision.idle:
                    self._drop_oldest(revision)
            for name, revision in list(self._revisions.items()):
                while revision.idle and revision.idle[0][1] < stale:
                    self._drop_oldest(revision)
                if not revision.instances and not revision.waiting:
                    del self._revisions[name]  # its bundle is read again when it is asked for

    def statistics(self) -> dict[str, int]:
        """Return the present counts."""
        with self._changed:
            idle = sum(len(revision.idle) for revision in self._revisions.values())
            return {
                "revisions": len(self._revisions),
                "instances": self._instances,
                "instances_idle": idle,
                "requests_waiting": self._waiting,
                "cold_starts_total": self._cold_starts,
            }
