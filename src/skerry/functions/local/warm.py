"""The instances of all deployments that wait for a run, the least recently used first.

Owns how long one waits, and how many processes may: a hundred functions that were deployed together leave as many
processes as are allowed, not a hundred. Does not own instances that run, which each deployment bounds (`pool`).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class WarmSettings:
    """Bounds of the instances that wait, of all deployments together.

    Attributes:
        processes_max: processes that wait: one of Python takes some 10 MB, one of Node.js 40. Instances within the
            engine are not counted, as its worker has a limit of its own.
        idle_seconds: how long an instance waits for the next run.
    """

    processes_max: int = 32
    idle_seconds: float = 300.0


class WarmInstance(Protocol):
    """What can wait for a run."""

    @property
    def is_process(self) -> bool:
        """Whether it takes a process of its own."""
        ...

    async def kill(self) -> None:
        """End it, and wait until it has ended."""
        ...


class WarmInstances:
    """Keeps instances that wait, and ends those that wait too long or are too many.

    Args:
        settings: their bounds.
    """

    def __init__(self, settings: WarmSettings) -> None:
        self._settings = settings
        #: Since when each waits, and who is told of its end; the one that has waited longest is first.
        self._waiting: OrderedDict[WarmInstance, tuple[float, Callable[[WarmInstance], None]]] = OrderedDict()
        #: Those that are processes, in the same order.
        self._processes: OrderedDict[WarmInstance, None] = OrderedDict()
        self._sweeping: asyncio.TimerHandle | None = None
        self._endings: set[asyncio.Task[None]] = set()

    def keep(self, instance: WarmInstance, forget: Callable[[WarmInstance], None]) -> None:
        """Let an instance wait from now on; `forget` is called when it is ended here, and may take it no more."""
        self._waiting[instance] = (time.monotonic(), forget)
        if instance.is_process:
            self._processes[instance] = None
            if len(self._processes) > self._settings.processes_max:
                self._end(next(iter(self._processes)))
        if self._sweeping is None:
            self._sweep_after(self._settings.idle_seconds)

    def take(self, instance: WarmInstance) -> None:
        """Let an instance go, to be used or ended by whoever takes it."""
        del self._waiting[instance]
        self._processes.pop(instance, None)

    def _end(self, instance: WarmInstance) -> None:
        _, forget = self._waiting[instance]
        self.take(instance)
        forget(instance)
        task = asyncio.get_running_loop().create_task(instance.kill())
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def _sweep(self) -> None:
        """End the instances that have waited for too long, and look again when the next one will have."""
        before, self._sweeping = time.monotonic() - self._settings.idle_seconds, None
        while self._waiting:
            instance, (since, _) = next(iter(self._waiting.items()))
            if since > before:
                self._sweep_after(since - before)
                return
            self._end(instance)

    def _sweep_after(self, seconds: float) -> None:
        self._sweeping = asyncio.get_running_loop().call_later(seconds, self._sweep)

    def statistics(self) -> dict[str, int]:
        """Return how many instances wait, and how many of them are processes."""
        return {"waiting": len(self._waiting), "processes": len(self._processes)}

    async def close(self) -> None:
        """Wait for those that are being ended; the others must have been taken."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        if self._endings:
            await asyncio.wait(self._endings)
