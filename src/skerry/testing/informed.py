"""Waiting for what an informer shows."""

import asyncio
from collections.abc import Callable

from skerry.api.model import R
from skerry.client.informer import Informer
from skerry.kit.deadlines import within

#: How long a change may take to be shown on a busy machine.
SHOWN_SECONDS_MAX = 60.0


async def shown(informer: Informer[R], name: str, holds: Callable[[R], bool], *, namespace: str = "default") -> R:
    """Wait until an informer shows an object so, and return it."""

    def holds_there(objects: Informer[R]) -> bool:
        found = objects.get(name, namespace)
        return found is not None and holds(found)

    await until(informer, holds_there)
    found = informer.get(name, namespace)
    assert found is not None  # noqa: S101 - it was there, and nothing has run since
    return found


async def until(informer: Informer[R], holds: Callable[[Informer[R]], bool]) -> None:
    """Wait until something holds of all that an informer shows."""
    changed = asyncio.Event()
    informer.on_change(lambda _: changed.set())
    with within(SHOWN_SECONDS_MAX):
        while not holds(informer):
            await changed.wait()
            changed.clear()
