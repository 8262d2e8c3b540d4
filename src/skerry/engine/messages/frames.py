"""Messages on a blocking socket: 4 bytes of length, big-endian, and as many of JSON, as every runtime speaks them."""

import socket
import struct
from typing import Any

import orjson

#: A message to or from a function.
MESSAGE_BYTES_MAX = 16 << 20

_LENGTH = struct.Struct(">I")


def send(connection: socket.socket, body: bytes) -> None:
    """Send one message; raises OSError where the other side is gone."""
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive(connection: socket.socket) -> bytes | None:
    """Receive one message; None at the end of the stream. Raises OSError, and ValueError for one that is too long."""
    head = _exactly(connection, _LENGTH.size)
    if head is None:
        return None
    (length,) = _LENGTH.unpack(head)
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message has {length} bytes, more than {MESSAGE_BYTES_MAX}")
    return _exactly(connection, length)


def _exactly(connection: socket.socket, length: int) -> bytes | None:
    received = bytearray()
    while len(received) < length:
        piece = connection.recv(length - len(received))
        if not piece:
            return None
        received += piece
    return bytes(received)


def failure(kind: str, message: str, stack: str = "") -> bytes:
    """Return the answer of a run that failed; `kind` is one of Dispatch's three error types."""
    error = {"type": kind, "message": message, "stacktrace": stack.splitlines()}
    return orjson.dumps({"context": {"error": error}, "payload": None})


def answer(message: bytes) -> bytes:
    """Return the last message of a run: what the function answered, as it wrote it."""
    return b'{"answer":' + message + b"}"


def line(level: int, text: str) -> bytes:
    """Return the message of one line that a function writes while it runs."""
    return orjson.dumps({"log": [level, text]})


def hello(error: dict[str, Any] | None) -> bytes:
    """Return the first message of a connection: whether the function loads."""
    return orjson.dumps({"error": error})
