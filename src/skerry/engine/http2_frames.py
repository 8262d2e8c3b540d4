"""The frames of HTTP/2, as far as one stream at a time needs them: written, and read from their payloads.

Owns what a frame looks like, the settings that a connection begins with, and header blocks, decoded once where they are
the same. Does not own a connection's state (`http2`). HPACK is a library's.

Source: RFC 9113 (HTTP/2), RFC 7541 (HPACK).
"""

import struct
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from typing import Final

from hpack import Decoder, Encoder, HPACKError

#: Of a stream's begin; it holds the names of a rule's filters.
HEADER_BLOCK_BYTES_MAX = 64 * 1024
#: Different begins that are kept decoded: one for each rule with filters, some hundred bytes each.
HEADER_BLOCKS_KEPT_MAX = 4096
#: What one stream sends in all its messages, at most.
STREAM_WINDOW_BYTES = 16 * 1024 * 1024
#: What a frame may hold, unless the peer says that it takes more: RFC 9113, 6.5.2.
FRAME_BYTES_MAX = 16 * 1024
WINDOW_DEFAULT = 65_535
CONNECTION_WINDOW_BYTES = 2**30
_HEAD_BYTES = 9
SETTING = struct.Struct(">HI")
_HEADER_TABLE_SIZE, _MAX_STREAMS, INITIAL_WINDOW = 1, 3, 4
END_STREAM = ACK = 1
END_HEADERS, _PADDED, PRIORITY = 4, 8, 32


class FrameType(IntEnum):
    """What a frame is."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


def frame(kind: FrameType, flags: int, stream: int, payload: bytes) -> bytes:
    """Write a frame; `stream` is 0 for the connection."""
    return b"".join(
        (len(payload).to_bytes(3, "big"), bytes((kind, flags)), stream.to_bytes(4, "big"), payload),
    )


def _encoded(*headers: tuple[str, str]) -> bytes:
    encoder = Encoder()
    encoder.header_table_size = 0
    return bytes(encoder.encode(headers))


RESPONSE_HEAD: Final = _encoded((":status", "200"), ("content-type", "application/grpc"))
TRAILERS: Final = _encoded(("grpc-status", "0"))
GREETING: Final = frame(
    FrameType.SETTINGS,
    0,
    0,
    SETTING.pack(_HEADER_TABLE_SIZE, 0)
    + SETTING.pack(_MAX_STREAMS, 1)
    + SETTING.pack(INITIAL_WINDOW, STREAM_WINDOW_BYTES),
) + frame(FrameType.WINDOW_UPDATE, 0, 0, (CONNECTION_WINDOW_BYTES - WINDOW_DEFAULT).to_bytes(4, "big"))


def frames_in(unread: bytearray) -> Iterator[tuple[int, int, int, bytes]]:
    """Take the frames that have arrived whole: type, flags, stream and payload of each.

    Raises:
        ConnectionAbortedError: one is longer than `FRAME_BYTES_MAX`.
    """
    data = bytes(unread)
    at = 0
    while len(data) - at >= _HEAD_BYTES:
        length = int.from_bytes(data[at : at + 3], "big")
        if length > FRAME_BYTES_MAX:
            raise ConnectionAbortedError(f"a frame of {length} bytes")
        end = at + _HEAD_BYTES + length
        if len(data) < end:
            break
        yield data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big"), data[at + 9 : end]
        at = end
    del unread[:at]


@lru_cache(maxsize=HEADER_BLOCKS_KEPT_MAX)
def decoded(block: bytes) -> Mapping[str, str]:
    """Return the headers of a whole block; raises ConnectionAbortedError for what is none."""
    decoder = Decoder(max_header_list_size=HEADER_BLOCK_BYTES_MAX)
    decoder.max_allowed_table_size = 0
    decoder.header_table_size = 0
    try:
        return {str(name): str(value) for name, value in decoder.decode(block)}
    except (HPACKError, UnicodeError) as error:
        raise ConnectionAbortedError(f"not a header block of HTTP/2: {error}") from error


def unpadded(flags: int, payload: bytes) -> bytes:
    """Return a payload without padding and priority."""
    if flags & _PADDED:
        payload = payload[1 : len(payload) - payload[0]]
    return payload[5:] if flags & PRIORITY else payload
