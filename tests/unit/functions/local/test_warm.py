"""Instances that wait for runs: so many processes, the least recently used end first, and none waits for ever."""

import asyncio
from dataclasses import dataclass, field

from skerry.functions.local.warm import WarmInstance, WarmInstances, WarmSettings

SECONDS_MAX = 60.0


@dataclass(eq=False)
class Instance:
    """Knows whether it was ended."""

    is_process: bool = True
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def kill(self) -> None:
        self.ended.set()


def ignored(_: WarmInstance) -> None:
    """Be told of an end."""


async def ended(*instances: Instance) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        for instance in instances:
            await instance.ended.wait()


async def test_of_more_processes_than_may_wait_the_least_recently_used_end() -> None:
    warm, told = WarmInstances(WarmSettings(processes_max=2)), list[WarmInstance]()
    first, second, third, fourth = instances = [Instance() for _ in range(4)]
    for instance in instances[:2]:
        warm.keep(instance, told.append)
    warm.take(first)
    warm.keep(first, told.append)  # used again, so that the second is the eldest
    warm.keep(third, told.append)
    warm.keep(fourth, told.append)
    assert told == [second, first]
    await ended(second, first)
    assert not third.ended.is_set()
    assert warm.statistics() == {"waiting": 2, "processes": 2}
    await warm.close()


async def test_what_takes_no_process_is_not_counted() -> None:
    warm = WarmInstances(WarmSettings(processes_max=1))
    within = [Instance(is_process=False) for _ in range(3)]
    for instance in (*within, Instance()):
        warm.keep(instance, ignored)
    assert warm.statistics() == {"waiting": 4, "processes": 1}
    await warm.close()


async def test_where_no_process_may_wait_each_ends_at_once() -> None:
    warm, instance = WarmInstances(WarmSettings(processes_max=0)), Instance()
    warm.keep(instance, ignored)
    await ended(instance)
    await warm.close()


async def test_an_instance_that_waits_too_long_ends_and_one_that_was_taken_does_not() -> None:
    warm, told = WarmInstances(WarmSettings(idle_seconds=0.001)), list[WarmInstance]()
    taken, *left = (Instance(is_process=process) for process in (True, True, False))
    for instance in (taken, *left):
        warm.keep(instance, told.append)
    warm.take(taken)
    await ended(*left)
    assert told == left
    assert not taken.ended.is_set()
    await warm.close()


async def test_a_close_waits_for_ends() -> None:
    class Slow(Instance):
        async def kill(self) -> None:
            for _ in range(10):
                await asyncio.sleep(0)  # lets others go on
            await super().kill()

    warm, instance = WarmInstances(WarmSettings(processes_max=0)), Slow()
    warm.keep(instance, ignored)
    await warm.close()
    assert instance.ended.is_set()
