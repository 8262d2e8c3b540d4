"""Waiting for what an informer shows."""

import asyncio
from collections.abc import Callable

from skerry.api.model import R
from skerry.client.informer import Informer

#: How long a change may take to be shown on a busy machine.
SHOWN_SECONDS_MAX = 60.0


async def shown(informer: Informer[R], name: str, holds: Callable[[R], bool], *, namespace: str = "default") -> R:
    """Wait until an informer shows an object so, and return it."""
    changed = asyncio.Event()
    informer.on_change(lambda _: changed.set())
    async with asyncio.timeout(SHOWN_SECONDS_MAX):
        while (found := informer.get(name, namespace)) is None or not holds(found):
            await changed.wait()
            changed.clear()
    return found
