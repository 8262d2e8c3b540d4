"""Messages on blocking sockets: 4 bytes of length, big-endian, and as many of JSON, as every runtime speaks them.

A connection begins with one that a descriptor goes along with, of the socket of packets from which messages are taken
then: `functions.local.message_queue` is its other side.
"""

import array
import os
import socket
import struct
from typing import Any

import orjson

#: A message to or from a function.
MESSAGE_BYTES_MAX = 16 << 20

_LENGTH = struct.Struct(">I")
#: More than a packet has.
_PACKET_BYTES = 1 << 16


def send(connection: socket.socket, body: bytes) -> None:
    """Send one message; raises OSError where the other side is gone."""
    connection.sendall(_LENGTH.pack(len(body)) + body)


def receive_first(connection: socket.socket) -> tuple[bytes, socket.socket] | None:
    """Receive the first message and the socket that goes along; None at the end of the stream.

    Raises:
        OSError: the other side is gone.
        ValueError: it is too long, or nothing goes along.
    """
    head, descriptor = _received(connection, _LENGTH.size)
    if not head:
        return None
    if descriptor is None:
        raise ValueError("no socket came with the first message")
    messages = socket.socket(fileno=descriptor)
    body = _exactly(connection, _length(head))
    if body is None:
        messages.close()
        return None
    return body, messages


def take(messages: socket.socket) -> bytes | None:
    """Take the next message of a socket of packets; None at its end. Raises OSError, and ValueError for one too long.

    A packet is a message, or the length of one whose rest is in the file that comes along.
    """
    packet, descriptor = _received(messages, _PACKET_BYTES)
    if len(packet) < _LENGTH.size:
        return None
    length = _length(packet)
    if descriptor is None:
        return packet[_LENGTH.size : _LENGTH.size + length]
    try:
        return os.pread(descriptor, length, 0)
    finally:
        os.close(descriptor)


def _received(sock: socket.socket, length: int) -> tuple[bytes, int | None]:
    """Receive bytes, and the descriptor that comes along where one does."""
    received, came_along, _, _ = sock.recvmsg(length, socket.CMSG_SPACE(array.array("i").itemsize))
    return received, array.array("i", came_along[0][2])[0] if came_along else None


def _length(head: bytes) -> int:
    length: int = _LENGTH.unpack_from(head)[0]
    if length > MESSAGE_BYTES_MAX:
        raise ValueError(f"a message has {length} bytes, more than {MESSAGE_BYTES_MAX}")
    return length


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


def answer(message: bytes, seconds: float) -> bytes:
    """Return the last message of a run: what the function answered, as it wrote it, and how long that took."""
    return b'{"seconds":%.6f,"answer":%s}' % (seconds, message)


def line(level: int, text: str) -> bytes:
    """Return the message of one line that a function writes while it runs."""
    return orjson.dumps({"log": [level, text]})


def hello(error: dict[str, Any] | None) -> bytes:
    """Return the first message of a connection: whether the function loads."""
    return orjson.dumps({"error": error})
