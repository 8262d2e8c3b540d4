"""How answers over HTTP are read: each within bounds, whoever sent it, and whatever it is.

Owns the bounds, and what is told of an answer that is no success: a server's own sentence, or the beginning of what a
proxy between says. Does not own requests.
"""

from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import httpx
import orjson

from skerry.api.errors import ApiError, InternalError, from_status
from skerry.api.model import Document
from skerry.kit.deadlines import within

#: What is read of an answer that is no success: a Status with every error of a large object.
REFUSAL_BYTES_MAX = 1024 * 1024
REFUSAL_SECONDS_MAX = 30.0
#: One object as it is answered: the log takes 3 MiB.
OBJECT_BYTES_MAX = 8 * 1024 * 1024
#: A page of a list: 500 objects of a megabyte each.
LIST_BYTES_MAX = 512 * 1024 * 1024
#: A line of a stream: an event of a watch, with its object, or what a function wrote at once.
LINE_BYTES_MAX = OBJECT_BYTES_MAX
#: What is told of an answer that is none of ours, in characters.
_TOLD_MAX = 500


async def read_answer(response: httpx.Response, bytes_max: int) -> bytes:
    """Return the body of a streamed answer.

    Raises:
        InternalError: it is longer than `bytes_max`.
        httpx.HTTPError: it broke off.
    """
    body = bytearray()
    async for piece in response.aiter_bytes():
        body += piece
        if len(body) > bytes_max:
            raise _too_long(bytes_max)
    return bytes(body)


async def read_refusal(response: httpx.Response) -> bytes:
    """Return the body of a streamed answer that is no success: what comes of it within its bounds.

    Raises:
        httpx.HTTPError: it broke off.
    """
    body = bytearray()
    with suppress(TimeoutError), within(REFUSAL_SECONDS_MAX):
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) >= REFUSAL_BYTES_MAX:
                break
    return bytes(body[:REFUSAL_BYTES_MAX])


async def read_lines(response: httpx.Response, bytes_max: int = LINE_BYTES_MAX) -> AsyncIterator[bytes]:
    """Yield the lines of a streamed answer, without the line feed, as they come.

    Nothing else ends a line: JSON may have U+2028 in a string.

    Raises:
        InternalError: a line is longer than `bytes_max`.
        httpx.HTTPError: it broke off.
    """
    begun = bytearray()
    async for piece in response.aiter_bytes():
        first, *others = piece.split(b"\n")
        begun += first
        for following in others:
            if len(begun) > bytes_max:
                raise _too_long(bytes_max)
            yield bytes(begun)
            begun = bytearray(following)
        if len(begun) > bytes_max:
            raise _too_long(bytes_max)
    if begun:
        yield bytes(begun)


def parsed(body: bytes) -> Any:
    """Return the value of a JSON answer; raises InternalError where it is none, such as a page of a proxy."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InternalError(f"the server's answer is no JSON: {_beginning(body)}") from error


def refusal(code: int, body: bytes) -> Document:
    """Return what an answer that is no success tells: its object, or one with `code` and `message`."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        told = None
    return told if isinstance(told, dict) else {"code": code, "message": _beginning(body) or f"HTTP status {code}"}


def error_of(code: int, body: bytes) -> ApiError:
    """Return the error that an answer tells, whether or not its body is a Status."""
    told = refusal(code, body)
    if told.get("kind") == "Status":
        return from_status(told)
    return from_status({"code": code, "message": told.get("message") or _beginning(body)})


def _beginning(body: bytes) -> str:
    return body[:_TOLD_MAX].decode(errors="replace")


def _too_long(bytes_max: int) -> InternalError:
    return InternalError(f"the server's answer is longer than {bytes_max} bytes")
