"""What is wanted to be tried, and what came of it: the queue and the memory of a trial.

Owns the order, the waiting, and how many verdicts are kept. Does not own how something is tried.

Invariant: who asks waits no longer than they say, and is told of a verdict that comes later.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable
from typing import Generic, TypeVar

from skerry.kit.deadlines import within
from skerry.kit.tasks import Wakeup

S = TypeVar("S", bound=Hashable)

#: Verdicts kept: some hundred bytes each, and the plugin's configuration.
VERDICTS_MAX = 8192

PASSED = ""


class Verdicts(Generic[S]):
    """The verdicts on subjects of one kind.

    Args:
        on_late_verdict: called when a verdict is there that `judge` did not wait for.
    """

    def __init__(self, on_late_verdict: Callable[[], None]) -> None:
        self._on_late_verdict = on_late_verdict
        self._wanted: OrderedDict[S, None] = OrderedDict()
        self._late: set[S] = set()
        self._verdicts: OrderedDict[S, str] = OrderedDict()
        self._wakeup = Wakeup()
        self._progress = asyncio.Condition()

    def get(self, subject: S) -> str | None:
        """Return why a subject was refused, `PASSED`, or None while it is not tried."""
        return self._verdicts.get(subject)

    async def judge(self, subjects: Collection[S], *, wait_seconds: float) -> None:
        """Have these tried, and wait a while for the verdicts of those that are new; others are wanted no more."""
        wanted = set(subjects)
        new = {each for each in wanted if each not in self._verdicts and each not in self._wanted}
        self._wanted = OrderedDict.fromkeys([*(s for s in self._wanted if s in wanted), *new])
        self._late &= wanted
        if not new:
            return
        self._wakeup.set()
        try:
            with within(wait_seconds):
                async with self._progress:
                    await self._progress.wait_for(lambda: new <= self._verdicts.keys())
        except TimeoutError:
            self._late |= new - self._verdicts.keys()

    async def next(self) -> S:
        """Wait for a subject that is wanted; it stays so until it is concluded."""
        while not self._wanted:
            await self._wakeup.wait()
        return next(iter(self._wanted))

    async def conclude(self, subject: S, verdict: str) -> None:
        """Note a verdict, and tell those who wait for it."""
        self._verdicts[subject] = verdict
        while len(self._verdicts) > VERDICTS_MAX:
            self._verdicts.popitem(last=False)
        self._wanted.pop(subject, None)
        async with self._progress:
            self._progress.notify_all()
        if subject in self._late:
            self._late.discard(subject)
            self._on_late_verdict()

    def statistics(self) -> dict[str, int]:
        """Return how many subjects wait for their trial, and how many verdicts are known."""
        return {"wanted": len(self._wanted), "verdicts": len(self._verdicts)}


__all__ = ["PASSED", "VERDICTS_MAX", "Verdicts"]
