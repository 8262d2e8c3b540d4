"""Servers of the standard library, in a thread of their own."""

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Connections that wait to be taken, as many as a test may open together: by itself such a server lets 5 wait, and the
#: client of another one tries again a second later.
BACKLOG = 1024
#: How often a server looks whether it is to end.
_LOOK_SECONDS = 0.01


@contextmanager
def in_a_thread(server: socketserver.TCPServer) -> Iterator[None]:
    """Have a server answer for the length of the block; it is closed then."""
    with server:
        server.socket.listen(BACKLOG)
        thread = threading.Thread(target=server.serve_forever, args=(_LOOK_SECONDS,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()
