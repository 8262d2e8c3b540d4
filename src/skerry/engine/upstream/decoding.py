"""Content codings, undone in pieces that are bounded however much a body unpacks to.

gzip, deflate, br and zstd, as https://fetch.spec.whatwg.org/#handle-content-codings has it; a body in another coding
is handed on as it came.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import IO, Protocol, cast

from skerry.engine.upstream.errors import UpstreamError

#: A piece of a body, as the function gets it.
PIECE_BYTES_MAX = 64 * 1024
#: Of one body. More than one is rare, and each multiplies what a byte can unpack to.
CODINGS_MAX = 3
#: As browsers have it (RFC 9659).
ZSTD_WINDOW_BYTES_MAX = 8 * 1024 * 1024

#: A limit that it goes over by half.
_BROTLI_OUTPUT = {"output_buffer_limit": PIECE_BYTES_MAX // 2}
_ENDS_EARLY = "the body ends within its compression"
_GZIP, _ZLIB, _RAW = 16 + zlib.MAX_WBITS, zlib.MAX_WBITS, -zlib.MAX_WBITS


class Decoder(Protocol):
    """Undoes one coding."""

    def decode(self, data: bytes) -> Iterator[bytes]:
        """Yield what a piece unpacks to, in pieces of about `PIECE_BYTES_MAX`; raises UpstreamError."""
        ...

    def finish(self) -> None:
        """Raise UpstreamError where the coding is not at its end."""
        ...


class _Zlib:
    """gzip, in as many members as there are, and deflate, with zlib's head (as it should be) or without."""

    def __init__(self, bits: int) -> None:
        self._bits = bits
        self._decoder: zlib._Decompress | None = None

    def decode(self, data: bytes) -> Iterator[bytes]:
        while data:
            if self._decoder is None:
                is_raw = self._bits == _ZLIB and data[0] & 0x0F != zlib.DEFLATED
                self._decoder = zlib.decompressobj(_RAW if is_raw else self._bits)
            decoder = self._decoder
            try:
                if piece := decoder.decompress(data, PIECE_BYTES_MAX):
                    yield piece
            except zlib.error as error:
                raise UpstreamError(f"the body can't be unpacked: {error}") from error
            data = decoder.unconsumed_tail
            if decoder.eof:
                data = decoder.unused_data if self._bits == _GZIP else b""
                if not data.startswith(b"\x1f"):
                    return  # what follows is no further member: padding
                self._decoder = None

    def finish(self) -> None:
        if self._decoder is not None and not self._decoder.eof:
            raise UpstreamError(_ENDS_EARLY)


class _Brotli:
    def __init__(self) -> None:
        import brotli  # most functions fetch nothing that needs it

        self._decoder = brotli.Decompressor()
        self._error = brotli.error

    def decode(self, data: bytes) -> Iterator[bytes]:
        try:
            while not self._decoder.is_finished() and (piece := self._decoder.process(data, **_BROTLI_OUTPUT)):
                yield piece
                data = b""
        except self._error as error:
            raise UpstreamError(f"the body can't be unpacked: {error}") from error

    def finish(self) -> None:
        if not self._decoder.is_finished():
            raise UpstreamError(_ENDS_EARLY)


class _Zstd:
    """Reads what was fed so far; an exception, unlike an end, lets the reader go on later.

    It does not tell where a frame ends, so a body that is cut off is seen by its length alone.
    """

    def __init__(self) -> None:
        import zstandard  # likewise

        self._fed = b""
        self._decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
        self._reader = self._decoder.stream_reader(
            cast("IO[bytes]", self), read_size=PIECE_BYTES_MAX, read_across_frames=True
        )
        self._error = zstandard.ZstdError

    def read(self, size: int) -> bytes:
        """Give the decoder what there is."""
        if not self._fed:
            raise BlockingIOError
        data, self._fed = self._fed[:size], self._fed[size:]
        return data

    def decode(self, data: bytes) -> Iterator[bytes]:
        self._fed += data
        try:
            while piece := self._reader.read1(PIECE_BYTES_MAX):
                yield piece
        except BlockingIOError:
            return
        except self._error as error:
            raise UpstreamError(f"the body can't be unpacked: {error}") from error

    def finish(self) -> None:
        return


def decoders_of(content_encoding: bytes) -> list[Decoder] | None:
    """Return what undoes a Content-Encoding, in order; none for no coding; None for one that is not known."""
    if not content_encoding:
        return []
    names = [name for each in content_encoding.lower().split(b",") if (name := each.strip()) not in {b"", b"identity"}]
    if len(names) > CODINGS_MAX or any(name not in _MADE_BY for name in names):
        return None
    return [_MADE_BY[name]() for name in reversed(names)]


_MADE_BY: Mapping[bytes, Callable[[], Decoder]] = {
    b"gzip": lambda: _Zlib(_GZIP),
    b"x-gzip": lambda: _Zlib(_GZIP),
    b"deflate": lambda: _Zlib(_ZLIB),
    b"br": _Brotli,
    b"zstd": _Zstd,
}


def decoded(decoders: list[Decoder], data: bytes) -> Iterator[bytes]:
    """Yield what a piece of an encoded body unpacks to."""
    if not decoders:
        for at in range(0, len(data), PIECE_BYTES_MAX):
            yield data[at : at + PIECE_BYTES_MAX]
        return
    for piece in decoders[0].decode(data):
        yield from decoded(decoders[1:], piece)
