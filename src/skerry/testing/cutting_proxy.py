"""A TCP proxy before a PostgreSQL, which cuts the connection of a write at a moment of the test's choice.

with CuttingProxy.running(postgres.directory) as proxy:
    proxy.cut(Moment.BEFORE_ANSWER, b"a-name")
    ...  # the statement with these bytes in it is executed, and its answer never comes
    assert proxy.cuts == [Moment.BEFORE_ANSWER]
"""

import socket
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from pathlib import Path

from skerry.testing.threaded import in_a_thread

CHUNK_BYTES = 64 * 1024
#: PostgreSQL names its socket by its port.
SOCKET = ".s.PGSQL.5432"


class Moment(Enum):
    """When a connection is cut, as the server sees it."""

    BEFORE_STATEMENT = "before the server has heard of the statement"
    WITHIN_STATEMENT = "when the server has half of it"
    BEFORE_ANSWER = "after the commit, before the answer"


class CuttingProxy:
    """A running proxy.

    Attributes:
        port: on loopback.
        cuts: what was done, in order.
    """

    def __init__(self, target: Path) -> None:
        self.port = 0
        self.cuts: list[Moment] = []
        self._target = target
        self._next: tuple[Moment, bytes] | None = None
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def running(cls, directory: Path) -> Iterator["CuttingProxy"]:
        """Run one for the length of the block, before the PostgreSQL whose socket is in a folder."""
        proxy = cls(directory / SOCKET)

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                proxy._serve(self.request)

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        proxy.port = server.server_address[1]
        with in_a_thread(server):
            yield proxy

    def cut(self, moment: Moment, marker: bytes) -> None:
        """Cut the connection of the next statement that has these bytes in it, once."""
        with self._lock:
            self._next = (moment, marker)

    def _moment_of(self, sent: bytes) -> Moment | None:
        with self._lock:
            if self._next is None or self._next[1] not in sent:
                return None
            moment, self._next = self._next[0], None
            self.cuts.append(moment)
            return moment

    def _serve(self, client: socket.socket) -> None:
        swallows = threading.Event()
        with socket.socket(socket.AF_UNIX) as server, suppress(OSError):  # either side may go at any time
            server.connect(str(self._target))
            answers = threading.Thread(target=_pass_answers, args=(server, client, swallows), daemon=True)
            answers.start()
            while sent := client.recv(CHUNK_BYTES):
                moment = self._moment_of(sent)
                if moment is Moment.BEFORE_STATEMENT:
                    break
                if moment is Moment.WITHIN_STATEMENT:
                    server.sendall(sent[: len(sent) // 2])
                    break
                if moment is Moment.BEFORE_ANSWER:
                    swallows.set()
                server.sendall(sent)
            _end(server)
            answers.join()


def _pass_answers(server: socket.socket, client: socket.socket, swallows: threading.Event) -> None:
    """Hand on what the server says, until it ends or its answer is to be lost."""
    with suppress(OSError):
        while answer := server.recv(CHUNK_BYTES):
            if swallows.is_set():
                break
            client.sendall(answer)
    _end(server)
    _end(client)


def _end(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
