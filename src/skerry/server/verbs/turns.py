"""Whose turn it is to change an object.

A write that finds a newer state than it was made for is made again. Where several writers do that at once, one of them
may be beaten any number of times; so those of one process go one after another. Two writes of one object can't share a
commit anyway, so nothing is lost by it. Writers of other processes, and those that write what they read before
(`Verbs.record`), still come between.
"""

import asyncio
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from skerry.server.verbs.requests import Target

if TYPE_CHECKING:
    from skerry.store.records import Key

#: Tries of one write against writers that come between.
RACES_MAX = 10


class Turns:
    """The turns of the objects that are being changed."""

    def __init__(self) -> None:
        self._turns: WeakValueDictionary[Key, asyncio.Lock] = WeakValueDictionary()

    def of(self, target: Target) -> asyncio.Lock:
        """Return the turn of an object, to be held while it is read and written; it is given in order of asking."""
        key = target.key
        turn = self._turns.get(key)
        if turn is None:
            turn = self._turns[key] = asyncio.Lock()
        return turn
