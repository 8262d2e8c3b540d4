"""Keys and values that nodes share, as a worker has them: each operation is a question to a process of its machine.

That process (`kv_server`) has the database; the worker has no way to it, and no credentials. Owns the connections: as
many as threads ask at once, kept for the next ones up to `IDLE_CONNECTIONS_MAX`.

The invariant: an operation whose answer was lost is not asked for again. It may have been done; the function is told.
"""

import queue
import socket
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from skerry.engine import kv_wire
from skerry.engine.key_values import Keys, KeyValueError, KeyValues, Listed, Value
from skerry.engine.kv_wire import Asked
from skerry.kit.clock import Clock

#: Connections that are kept while nobody asks.
IDLE_CONNECTIONS_MAX = 16
#: How long a question waits at least: the deadline of its request may be near.
WAIT_SECONDS_MIN = 0.05


class SharedKeyValues(KeyValues):
    """A `KeyValues` behind a Unix socket.

    Args:
        path: of the socket.
        clock: tells when entries end.
    """

    is_elsewhere = True

    def __init__(self, path: Path, clock: Clock) -> None:
        super().__init__(clock)
        self._path = path
        self._idle: queue.LifoQueue[socket.socket] = queue.LifoQueue(IDLE_CONNECTIONS_MAX)

    def close(self) -> None:
        """End the connections that nobody uses."""
        while (connection := self._kept()) is not None:
            connection.close()

    def _get(self, namespace: str, key: bytes, wait_seconds: float) -> Value | None:
        found, value = self._ask(Asked("get", namespace, key.decode()), b"", wait_seconds)
        return Value(value, found["metadata"]) if found else None

    def _put(self, namespace: str, key: bytes, stored: Value, expires: float | None, wait_seconds: float) -> None:
        asked = Asked("put", namespace, key.decode(), metadata=stored.metadata, expires=expires)
        self._ask(asked, stored.value, wait_seconds)

    def _delete(self, namespace: str, key: bytes, wait_seconds: float) -> None:
        self._ask(Asked("delete", namespace, key.decode()), b"", wait_seconds)

    def _list(self, namespace: str, keys: Keys, wait_seconds: float) -> Sequence[Listed]:
        asked = Asked("list", namespace, keys.after, prefix=keys.prefix, limit=keys.limit)
        listed, _ = self._ask(asked, b"", wait_seconds)
        return [Listed(*entry) for entry in listed]

    def sweep(self) -> None:
        """Do nothing: what has expired is swept where the database is."""

    def _ask(self, asked: Asked, data: bytes, wait_seconds: float) -> tuple[Any, bytes]:
        """Ask, and return what was answered and the bytes of a value; raises KeyValueError."""
        ends = time.monotonic() + max(wait_seconds, WAIT_SECONDS_MIN)
        connection = self._kept()
        try:
            connection = connection or self._connected()
            _send(connection, kv_wire.framed(asked.encoded(), data), ends)
            head, value = _receive(connection, ends)
        except (OSError, ValueError) as error:  # TimeoutError among them
            if connection is not None:
                connection.close()
            raise KeyValueError(f"the shared key/value store can't be reached: {error or 'it is too slow'}") from error
        self._keep(connection)
        answer = kv_wire.decoded(head)
        if isinstance(answer, dict) and "error" in answer:
            raise KeyValueError(answer["error"])
        return answer, value

    def _kept(self) -> socket.socket | None:
        """Return a connection that is idle, and was not ended by the other side."""
        while True:
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                return None
            connection.setblocking(False)
            try:
                ended = connection.recv(1, socket.MSG_PEEK) is not None
            except BlockingIOError:
                return connection
            except OSError:
                ended = True
            if ended:
                connection.close()

    def _keep(self, connection: socket.socket) -> None:
        try:
            self._idle.put_nowait(connection)
        except queue.Full:
            connection.close()

    def _connected(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.connect(str(self._path))
        except OSError:
            connection.close()
            raise
        return connection


def _send(connection: socket.socket, message: bytes, ends: float) -> None:
    connection.settimeout(_left(ends))
    connection.sendall(message)


def _receive(connection: socket.socket, ends: float) -> tuple[bytes, bytes]:
    head, data = kv_wire.lengths(_read(connection, kv_wire.LENGTHS.size, ends))
    return _read(connection, head, ends), _read(connection, data, ends)


def _read(connection: socket.socket, count: int, ends: float) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        connection.settimeout(_left(ends))
        part = connection.recv(count - len(parts))
        if not part:
            raise ConnectionError("it has ended the connection")
        parts += part
    return bytes(parts)


def _left(ends: float) -> float:
    left_seconds = ends - time.monotonic()
    if left_seconds <= 0:
        raise TimeoutError("it is too slow")
    return left_seconds
