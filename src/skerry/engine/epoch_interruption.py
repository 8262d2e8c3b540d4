"""How a guest is interrupted that asks by itself: by the epoch deadline of its store; see `interruption`."""

import itertools
import weakref

from wasmtime import Store

from skerry.engine.calls import EpochDeadline, deadline_callback
from skerry.engine.interruption import LOOK_TICKS, Call


class EpochInterruption:
    """By the epoch deadline of a store, which is ours."""

    __slots__ = ("__weakref__", "_call", "_set_deadline")

    def __init__(self, store: Store) -> None:
        number = next(_numbers)
        _asking[number] = self
        self._call: Call | None = None
        self._set_deadline = EpochDeadline(store, _CALLBACK, number)

    def begin(self, call: Call) -> None:
        """As `Interruption` has it."""
        self._call = call
        self._set_deadline(LOOK_TICKS)

    def end(self) -> None:
        """As `Interruption` has it."""
        self._call = None

    def stop(self) -> None:
        """As `Interruption` has it, on the guest's thread."""
        self._set_deadline(0)

    def may_go_on(self) -> bool:
        """Look at the call, and tell whether its guest may go on."""
        call = self._call
        if call is None:
            return True
        if call.stopped is None:
            call.look()
        return call.stopped is None


_numbers = itertools.count(1)
_asking: weakref.WeakValueDictionary[int, EpochInterruption] = weakref.WeakValueDictionary()


def _asked(number: int) -> int | None:
    """Return for how many ticks a guest may go on; None ends it."""
    asking = _asking.get(number)
    return LOOK_TICKS if asking is None or asking.may_go_on() else None


_CALLBACK = deadline_callback(_asked)
