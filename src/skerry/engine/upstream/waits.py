"""How a subrequest waits: it is a generator that yields what it waits for, and is resumed when that has come.

So its code reads like code that blocks, while one thread waits for all subrequests of an instance at once; closing the
generator ends the subrequest, and its `finally` blocks give back what it holds.
"""

import os
import sys
from collections.abc import Generator
from typing import NamedTuple, TypeVar

Result = TypeVar("Result")

#: Descriptors of waits for something that is no descriptor.
WOKEN = -1
ASKED = -2


class Wait(NamedTuple):
    """What a subrequest waits for.

    Attributes:
        descriptor: a file descriptor; `WOKEN` for a call of the waker, `ASKED` until the function asks for more.
        events: of `select.poll`, for a file descriptor.
        until: in seconds of the monotonic clock; then the generator is resumed with a TimeoutError.
        may_be_woken: a call of the waker ends a wait for a descriptor, too.
        doing: what takes so long then: "connecting", for the error's text.
    """

    descriptor: int
    events: int = 0
    until: float = sys.float_info.max
    doing: str = ""
    may_be_woken: bool = False


#: What a generator of subrequests is: it is sent nothing.
Steps = Generator[Wait, None, Result]

UNTIL_ASKED = Wait(ASKED)


class Waker:
    """Ends a thread's wait from another thread; its descriptor is ready to be read then."""

    def __init__(self) -> None:
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        """End the present wait, or the next one."""
        if self.descriptor >= 0:
            os.eventfd_write(self.descriptor, 1)

    def clear(self) -> None:
        """Forget what it was woken for."""
        os.eventfd_read(self.descriptor)

    def __del__(self) -> None:
        # Whoever may wake it still has it, so its number never names another's file by then; but where all of them are
        # garbage together, some may be ended after it.
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)
