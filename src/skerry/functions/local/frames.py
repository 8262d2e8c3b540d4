"""Messages on a stream to where a function runs: 4 bytes of length, big-endian, and as many of JSON."""

import asyncio
import json
import struct
from typing import Any

import orjson

from skerry.functions.errors import FunctionError, SystemError  # noqa: A004 - see errors
from skerry.functions.messages import Message

#: A message to or from a function: context and payload, as JSON.
MESSAGE_BYTES_MAX = 16 << 20
#: How long a function may take to load.
LOAD_SECONDS_MAX = 60.0

_LENGTH = struct.Struct(">I")


def framed(body: bytes) -> bytes:
    """Return a message as it is sent."""
    return _LENGTH.pack(len(body)) + body


def framed_message(message: Message) -> bytes:
    """Return a message to a function as it is sent; raises SystemError where it can't be."""
    try:
        body = orjson.dumps(message.as_object(), option=orjson.OPT_NON_STR_KEYS)
    except TypeError as error:
        raise SystemError(f"the message to the function is no JSON: {error}") from error
    if len(body) > MESSAGE_BYTES_MAX:
        raise SystemError(f"the message to the function has {len(body)} bytes, more than {MESSAGE_BYTES_MAX}")
    return framed(body)


async def read_frame(reader: asyncio.StreamReader) -> Any:
    """Read one message, parsed.

    Raises:
        FunctionError: it is over `MESSAGE_BYTES_MAX`, or no JSON.
        asyncio.IncompleteReadError, ConnectionError: the stream ended.
    """
    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
    if length > MESSAGE_BYTES_MAX:
        raise FunctionError(f"the output has {length} bytes, more than {MESSAGE_BYTES_MAX}")
    try:
        return json.loads(await reader.readexactly(length))
    except ValueError as error:
        raise FunctionError(f"the output is no JSON: {error}") from error
