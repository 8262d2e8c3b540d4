"""Warm instances, by revision: made on demand, reused, bounded, thrown away; and who gets his turn.

Owns: which instance answers a request, when one is made and when one is dropped, and how much of a worker a function
may have. Does not own how a call runs (`host`) or what is said over HTTP (`serving`).

Invariants: an instance serves one revision for all of its life, and one request at a time, unless that was asked for
`together` with others: they join one that is lent already, for one instance stays in the processor's caches where many
do not. A call that failed takes its instance with it, once the others in it are over. `instances` counts every instance
that exists, in use or idle; it never exceeds `instances_max`. `memory_bytes` is what all of them took when each was
last measured: when it had started, before it waits, while it computes, and when it is given back.

What is scarce is shared in equal parts (max-min fairness): while there is enough, nobody is held to a share. Where the
threads run short, a function that has its share gets no further one; where memory does, a function that has more than
its share gives it back, and one below its share is not refused.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from skerry.engine.code import Code
from skerry.engine.errors import ConcurrencyError, OverloadedError
from skerry.engine.instances import PooledInstance, RevisionInstance
from skerry.engine.javascript_guest import INSTANCE_BYTES
from skerry.engine.leases import FunctionUse, Lease, PooledRevision
from skerry.engine.manifest import FunctionManifest, manifest_version

StartInstance = Callable[[FunctionManifest, Code], RevisionInstance]
LoadRevision = Callable[[str], tuple[FunctionManifest, Code]]

#: How many requests of a function may wait, for each that runs.
WAITING_PER_RUNNING = 2


@dataclass(frozen=True, slots=True)
class PoolLimits:
    """How much one worker keeps and does at once.

    Attributes:
        instances_max: all revisions together.
        memory_bytes_max: all instances together (their `memory_bytes`); see above for what happens over it.
        kept_bytes_max: an instance that takes more is dropped after its request. A busy one grows by 80 MiB before
            SpiderMonkey collects its heap, by 112 MiB where it handles bodies of 1 MB; what is above has kept something
            large. A new one costs more than its start: each of its pages is cleared again.
        threads_max: each request that runs or waits may hold one.
        waiting_seconds_max: how long a request waits for its turn.
        idle_seconds_max: an instance without a request for so long is dropped.
    """

    instances_max: int = 200
    memory_bytes_max: int = 1024 * 1024 * 1024
    kept_bytes_max: int = 128 * 1024 * 1024
    threads_max: int = 256
    waiting_seconds_max: float = 10.0
    idle_seconds_max: float = 300.0


class InstancePool:
    """The instances of one worker; called from many threads.

    Args:
        functions_dir: of the manifests.
        load: reads a revision; called without a lock, as `start` is.
        start: makes an instance.
        limits: how much is kept.
        before_wait: called before a request waits for an instance, with the lock held.
    """

    def __init__(
        self,
        functions_dir: Path,
        load: LoadRevision,
        start: StartInstance,
        *,
        limits: PoolLimits,
        before_wait: Callable[[], None],
    ) -> None:
        self._functions_dir = functions_dir
        self._load = load
        self._start = start
        self._limits = limits
        self._before_wait = before_wait
        self._revisions: OrderedDict[str, PooledRevision] = OrderedDict()  # least recently used first
        self._functions: dict[str, FunctionUse] = {}
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._instances = 0
        self._memory_bytes = 0
        self._running = 0
        self._waiting = 0
        self._cold_starts = 0

    def lease(self, revision_name: str, *, together: bool = False) -> Lease:
        """Lend an instance of a revision for one request, until the end of the `with` block that must follow.

        Args:
            revision_name: of the revision.
            together: a `ConcurrentInstance` may have other requests besides.

        Raises:
            UnknownRevisionError: there is no manifest of this name.
            LoadError: its code does not load.
            ConcurrencyError: the function has as many requests as it may.
            OverloadedError: the worker's limits are reached.
        """
        with self._lock:
            revision = self._revisions.get(revision_name)
            if revision is not None:
                self._revisions.move_to_end(revision_name)
                if not revision.is_full and not self._is_short_of_threads():
                    instance = revision.taken(together=together)
                    if instance is not None:
                        self._begin_turn(revision)
                        return Lease(self, revision, instance)
        if revision is None:
            revision = self._loaded(revision_name)
        instance = self._take(revision, together=together) or self._started(revision, together=together)
        return Lease(self, revision, instance)

    def manifest(self, revision_name: str) -> FunctionManifest | None:
        """Return the manifest of a revision that is loaded."""
        with self._lock:
            revision = self._revisions.get(revision_name)
        return revision.manifest if revision else None

    def streams(self, revision_name: str) -> bool:
        """Tell whether a revision's requests are answered while they arrive; of one that is not loaded, maybe."""
        with self._lock:
            revision = self._revisions.get(revision_name)
        return revision is None or revision.code.streams

    def _loaded(self, name: str) -> PooledRevision:
        version = manifest_version(self._functions_dir, name)  # before it is read: else a newer one could pass for it
        manifest, code = self._load(name)  # two threads may both load it: the first one's stays
        with self._lock:
            function = self._functions.setdefault(manifest.function, FunctionUse())
            return self._revisions.setdefault(name, PooledRevision(manifest, version, code, function))

    def _take(self, revision: PooledRevision, *, together: bool) -> RevisionInstance | None:
        """Return an idle instance, or None with the right to start one; either way the request runs from here on."""
        with self._lock:
            instance = None if self._is_refused(revision) else revision.taken(together=together)
            if instance is None and not self._may_run(revision):
                self._wait(revision)
            self._begin_turn(revision)
            instance = instance or revision.taken(together=together)
            if instance is not None:
                return instance
            revision.instances += 1
            revision.function.instances += 1
            self._instances += 1
            self._charge(revision.function, INSTANCE_BYTES)
            self._cold_starts += 1
            return None

    def _started(self, revision: PooledRevision, *, together: bool) -> RevisionInstance:
        try:
            instance = self._start(revision.manifest, revision.code)
        except BaseException:
            with self._lock:
                self._forget(revision, INSTANCE_BYTES)
                self._end_turn(revision)
            raise
        instance.counted_bytes = INSTANCE_BYTES
        self.measure(instance, revision.manifest.function)
        with self._lock:
            return revision.begun(instance, together=together)

    def _may_run(self, revision: PooledRevision) -> bool:
        if self._is_refused(revision):
            return False
        return bool(revision.idle) or self._has_room(revision.function)

    def _is_refused(self, revision: PooledRevision) -> bool:
        return revision.is_full or self._lacks_threads(revision.function)

    def _is_short_of_threads(self) -> bool:
        return 2 * (self._running + self._waiting) > self._limits.threads_max

    def _lacks_threads(self, function: FunctionUse) -> bool:
        """Tell whether threads are scarce and a function has its share. One share always stays for a newcomer."""
        if not self._is_short_of_threads():
            return False
        active = sum(1 for each in self._functions.values() if each.running or each.waiting)
        return function.running + function.waiting >= self._limits.threads_max // (active + 1)

    def _has_room(self, function: FunctionUse) -> bool:
        while self._instances >= self._limits.instances_max:
            if not self._evict_one(lambda _: True):
                return False
        while self._is_memory_full():
            if not self._evict_one(self._is_over_share):
                return not self._is_over_share(function)
        return True

    def _is_memory_full(self) -> bool:
        return self._memory_bytes + INSTANCE_BYTES > self._limits.memory_bytes_max

    def _is_over_share(self, function: FunctionUse) -> bool:
        holders = sum(1 for each in self._functions.values() if each.instances or each is function)
        return (function.memory_bytes + INSTANCE_BYTES) * max(1, holders) > self._limits.memory_bytes_max

    def _wait(self, revision: PooledRevision) -> None:
        function, limits = revision.function, self._limits
        if self._lacks_threads(function):
            raise ConcurrencyError(f"of the worker's {limits.threads_max} threads the function has its share already")
        if not revision.is_full and self._is_memory_full():
            # It may take long, and a request that waits holds a thread: other functions need those.
            raise OverloadedError(
                f"the instances in use hold all of the {limits.memory_bytes_max >> 20} MiB that a worker's may take"
            )
        if function.waiting >= WAITING_PER_RUNNING * revision.manifest.concurrency_max:
            raise ConcurrencyError(f"{_concurrency(revision)}, and {function.waiting} wait already")
        self._before_wait()
        function.waiting += 1
        self._waiting += 1
        try:
            may_run = self._changed.wait_for(lambda: self._may_run(revision), limits.waiting_seconds_max)
        finally:
            function.waiting -= 1
            self._waiting -= 1
        if not may_run and revision.is_full:
            raise ConcurrencyError(f"{_concurrency(revision)}, and none ended within {limits.waiting_seconds_max:g} s")
        if not may_run:
            raise OverloadedError(f"no instance became free within {limits.waiting_seconds_max:g} s")

    def _evict_one(self, of: Callable[[FunctionUse], bool]) -> bool:
        """Drop the idle instance of the revision that was asked for least recently; False where all are busy."""
        for revision in self._revisions.values():
            if revision.idle and of(revision.function):
                self._drop_oldest(revision)
                return True
        return False

    def _drop_oldest(self, revision: PooledRevision) -> None:
        self._forget(revision, revision.idle.popleft()[0].counted_bytes)

    def _forget(self, revision: PooledRevision, counted_bytes: int) -> None:
        revision.instances -= 1
        revision.function.instances -= 1
        self._instances -= 1
        self._charge(revision.function, -counted_bytes)

    def _charge(self, function: FunctionUse, change_bytes: int) -> None:
        function.memory_bytes += change_bytes
        self._memory_bytes += change_bytes

    def measure(self, instance: PooledInstance, function_name: str) -> bool:
        """Count what a lent instance takes by now; returns whether its function must give memory back.

        Call it on the instance's thread or in a look at its call, and stop the call where it returns True.
        """
        now_bytes = instance.memory_bytes
        with self._lock:
            function = self._functions.get(function_name)
            if function is None or not instance.counted_bytes:  # the latter is still being started
                return False
            self._count(function, instance, now_bytes)
            self._shrink()
            if self._waiting:
                self._changed.notify_all()
            return self._memory_bytes > self._limits.memory_bytes_max and self._is_over_share(function)

    def give_back(self, revision: PooledRevision, instance: RevisionInstance, *, keep: bool) -> None:
        """Take an instance back; without `keep`, it is gone. `Lease` calls it."""
        now_bytes = instance.memory_bytes
        keep = keep and now_bytes <= self._limits.kept_bytes_max and revision.manifest.isolation == "instance"
        with self._lock:
            if now_bytes != instance.counted_bytes:
                self._count(revision.function, instance, now_bytes)
            is_last, keep = revision.parted(instance, keep=keep)
            if not is_last:
                pass  # others have it
            elif keep and self._revisions.get(revision.manifest.revision) is revision:
                revision.idle.append((instance, time.monotonic()))
            else:
                self._forget(revision, now_bytes)
            if self._memory_bytes > self._limits.memory_bytes_max:
                self._shrink()
            self._end_turn(revision)

    def _begin_turn(self, revision: PooledRevision) -> None:
        revision.function.running += 1
        self._running += 1

    def _end_turn(self, revision: PooledRevision) -> None:
        revision.function.running -= 1
        self._running -= 1
        if self._waiting:
            self._changed.notify_all()

    def _count(self, function: FunctionUse, instance: PooledInstance, now_bytes: int) -> None:
        self._charge(function, now_bytes - instance.counted_bytes)
        instance.counted_bytes = now_bytes

    def _shrink(self) -> None:
        while self._memory_bytes > self._limits.memory_bytes_max and self._evict_one(self._is_over_share):
            pass

    def sweep(self) -> None:
        """Drop what is idle for too long, and revisions whose manifest is gone or another one; call it every second."""
        with self._lock:
            known = [(name, revision.version) for name, revision in self._revisions.items()]
        gone = [name for name, version in known if manifest_version(self._functions_dir, name) != version]
        stale = time.monotonic() - self._limits.idle_seconds_max
        with self._lock:
            for name in gone:
                revision = self._revisions.pop(name)
                while revision.idle:
                    self._drop_oldest(revision)
            for name, revision in list(self._revisions.items()):
                while revision.idle and revision.idle[0][1] < stale:
                    self._drop_oldest(revision)
                if not revision.instances and not revision.function.waiting:
                    del self._revisions[name]  # its code is read again when it is asked for
            used = {revision.manifest.function for revision in self._revisions.values()}
            for name, function in list(self._functions.items()):
                if name not in used and not function.running and not function.waiting:
                    del self._functions[name]

    def by_function(self) -> dict[str, dict[str, int]]:
        """Return what each function has at present."""
        with self._lock:
            return {
                name: {
                    "instances": use.instances,
                    "memoryBytes": use.memory_bytes,
                    "running": use.running,
                    "waiting": use.waiting,
                }
                for name, use in self._functions.items()
            }

    def statistics(self) -> dict[str, int]:
        """Return the present counts."""
        with self._lock:
            idle = sum(len(revision.idle) for revision in self._revisions.values())
            return {
                "revisions": len(self._revisions),
                "instances": self._instances,
                "instances_idle": idle,
                "instances_memory_bytes": self._memory_bytes,
                "requests_running": self._running,
                "requests_waiting": self._waiting,
                "cold_starts_total": self._cold_starts,
            }


def _concurrency(revision: PooledRevision) -> str:
    limit = f"{revision.manifest.concurrency_max} in one worker (runtime.limits.concurrency)"
    return f"the function has as many requests at once as it may, {limit}"
