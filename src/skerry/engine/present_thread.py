"""What belongs to the present thread: its processor clock, and the guest that it is inside of."""

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skerry.engine.platform_calls import Guest


class PresentThread(threading.local):
    """Attributes of the present thread.

    Attributes:
        clock: its processor clock, which other threads may read, too.
        guest: that it has entered; there is none while it is inside of no one.
    """

    guest: "Guest"

    def __init__(self) -> None:
        self.clock = time.pthread_getcpuclockid(threading.get_ident())


present_thread = PresentThread()
