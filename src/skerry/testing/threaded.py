"""Servers of the standard library, in a thread of their own."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: How often a server looks whether it is to end.
_LOOK_SECONDS = 0.01


@contextmanager
def in_a_thread(server: socketserver.BaseServer) -> Iterator[None]:
    """Have a server answer for the length of the block; it is closed then."""
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
