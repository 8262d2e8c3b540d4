"""An address that stays while what is behind it restarts elsewhere, as a load balancer's does.

with StableAddress.running() as address:
    address.target = 34567  # where connections go from now on
    connect(address.port)
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from skerry.testing.threaded import in_a_thread

CHUNK_BYTES = 64 * 1024


class StableAddress:
    """Hands connections on.

    Attributes:
        port: where it listens, on loopback.
        target: a port on loopback; 0 refuses connections.
    """

    def __init__(self) -> None:
        self.port = 0
        self.target = 0

    @classmethod
    @contextmanager
    def running(cls, listener: socket.socket | None = None) -> Iterator["StableAddress"]:
        """Listen for the length of the block: on a free port, or where the listener given does."""
        address = cls()

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError):  # nobody is there, or either side went
                    _join(self.request, address.target)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.socket.close()
        server.socket = listener or socket.create_server(("127.0.0.1", 0))
        server.server_address = server.socket.getsockname()
        server.daemon_threads = True
        server.block_on_close = False
        address.port = server.server_address[1]
        with in_a_thread(server):
            yield address


def _join(client: socket.socket, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port)) as server:
        answers = threading.Thread(target=_pass, args=(server, client), daemon=True)
        answers.start()
        _pass(client, server)
        answers.join()


def _pass(source: socket.socket, sink: socket.socket) -> None:
    """Hand on what comes, until either side ends; then end both."""
    with suppress(OSError):
        while chunk := source.recv(CHUNK_BYTES):
            sink.sendall(chunk)
    for connection in (source, sink):
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
