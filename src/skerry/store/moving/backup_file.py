"""The form of a backup: one file, the same whichever database it is of, written and read from front to back.

    magic, 8 bytes | version, 1 byte | frames
    frame: kind, 1 byte | length of what follows, 4 bytes | content

    H  JSON: when and by which version it was made, the span of the log, how many changes follow
    C  changes as `changes.pack` has them, one after the other, deflated; any number of frames
    L  JSON: the number and the digest of the changes, and the encryption keys that it takes to read them
    K  keys and values of functions as `key_values.pack` has them, likewise; any number of frames
    A  JSON: the digest and the size of an artifact, whose bytes follow
    B  bytes of that artifact; any number of frames
    E  sha256 of all that is before this frame

Numbers are big-endian. Sealed values are in it as they lie in the database; the keys are not. It gets its name when it
is whole and on disk, so a file under that name is never a part of one.
"""

import hashlib
import struct
import zlib
from typing import Any, BinaryIO

import orjson

from skerry.store.moving.changes import BATCH_BYTES
from skerry.store.moving.errors import BackupDamagedError

MAGIC = b"\x89SKERRY\n"
VERSION = 1
HEADER, CHANGES, LOG, KEY_VALUES, ARTIFACT, BYTES, END = b"H", b"C", b"L", b"K", b"A", b"B", b"E"
_FRAME = struct.Struct(">cI")
#: A batch of changes with the one value that exceeds its bytes, and all names; what is larger was not written by us.
FRAME_BYTES_MAX = 4 * BATCH_BYTES
#: The fastest: documents shrink to a sixth all the same.
_DEFLATE_LEVEL = 1


class FrameWriter:
    """Writes frames; what it was handed is in the file in order. Blocking."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.bytes_written = 0
        self._put(MAGIC + bytes([VERSION]))

    def _put(self, data: bytes) -> None:
        self._file.write(data)
        self._sha256.update(data)
        self.bytes_written += len(data)

    def frame(self, kind: bytes, content: bytes) -> None:
        """Write one frame."""
        self._put(_FRAME.pack(kind, len(content)) + content)

    def document(self, kind: bytes, document: dict[str, Any]) -> None:
        """Write a frame of JSON."""
        self.frame(kind, orjson.dumps(document))

    def deflated(self, kind: bytes, content: bytes) -> None:
        """Write a frame that is deflated."""
        self.frame(kind, zlib.compress(content, _DEFLATE_LEVEL))

    def end(self) -> None:
        """Write the last frame."""
        self.frame(END, self._sha256.digest())


class FrameReader:
    """Reads frames, in order, and checks the last one. Blocking.

    Args:
        file: at its beginning.

    Raises:
        BackupDamagedError: by every method, where the file is not as it was written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        start = self._take(len(MAGIC) + 1)
        if not start.startswith(MAGIC):
            raise BackupDamagedError("it is no backup of Skerry")
        if start[-1] != VERSION:
            raise BackupDamagedError(f"it has the form {start[-1]}, this version of Skerry reads {VERSION}")

    def _take(self, size: int) -> bytes:
        data = self._file.read(size)
        if len(data) < size:
            raise BackupDamagedError("it is cut off")
        self._sha256.update(data)
        return data

    def next(self) -> tuple[bytes, bytes]:
        """Return the next frame's kind and content; for the last one, after it was checked, no content."""
        before = self._sha256.digest()
        kind, size = _FRAME.unpack(self._take(_FRAME.size))
        if size > FRAME_BYTES_MAX:
            raise BackupDamagedError("it is damaged: a frame is too large")
        content = self._take(size)
        if kind != END:
            return kind, content
        if content != before or self._file.read(1):
            raise BackupDamagedError("it is damaged: its bytes are not those that were written")
        return END, b""


def inflated(content: bytes) -> bytes:
    """Return what was deflated; raises BackupDamagedError."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(content, FRAME_BYTES_MAX)
    except zlib.error as error:
        raise BackupDamagedError("it is damaged: a frame can't be inflated") from error
    if not inflater.eof:
        raise BackupDamagedError("it is damaged: a frame is too large, or cut off")
    return data


def document_of(content: bytes) -> dict[str, Any]:
    """Return a frame's JSON; raises BackupDamagedError."""
    try:
        document = orjson.loads(content)
    except ValueError as error:
        raise BackupDamagedError("it is damaged: a frame is no JSON") from error
    if not isinstance(document, dict):
        raise BackupDamagedError("it is damaged: a frame is no JSON object")
    return document
