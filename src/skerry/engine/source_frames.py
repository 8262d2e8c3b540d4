"""Stack frames in the author's own files and lines, for a function's log.

The engine tells `name@function.js:LINE:COLUMN`, a place in the bundle. The bundle's source map lies in a custom section
of the function's binary (js-engine/README.md); it is read when the first frame is told, and kept with the code.

Invariant: a log line is never lost for want of a map. Frames without a place in the source stay as they are.
"""

import re
import threading
from collections.abc import Iterator
from pathlib import Path

from skerry.kit.source_map import SourceMap

#: The custom section with the source map, as JSON.
SOURCE_MAP_SECTION = b"skerry:source-map"
#: A larger map is not read: decoding takes half a second a MiB, of a thread that others may wait for.
SOURCE_MAP_BYTES_MAX = 1024 * 1024

_BUNDLE = b"@function.js:"
_FRAME = re.compile(
    r"^(?P<indent> *)(?P<name>[^\s@]*)@function\.js:(?P<line>\d{1,9}):(?P<column>\d{1,9})$", re.MULTILINE
)
_HEADER_BYTES = 8
_CUSTOM = 0


class SourceFrames:
    """Rewrites the frames of one revision; called from many threads.

    Args:
        binary: the path of its Wasm binary.
    """

    def __init__(self, binary: Path) -> None:
        self._binary = binary
        self._lock = threading.Lock()
        self._is_read = False
        self._map: SourceMap | None = None

    def in_source(self, text: str) -> str:
        """Rewrite every frame of a text: `fetch@function.js:5:11` becomes `    at fetch (src/main.ts:3:9)`."""
        if _BUNDLE.decode() not in text:
            return text
        found = self._source_map()
        return _FRAME.sub(lambda frame: _rewritten(frame, found), text) if found else text

    def in_source_bytes(self, message: bytes) -> bytes:
        """Rewrite every frame of a log message."""
        if _BUNDLE not in message:
            return message
        return self.in_source(message.decode(errors="replace")).encode()

    def _source_map(self) -> SourceMap | None:
        with self._lock:
            if not self._is_read:
                self._map, self._is_read = _read(self._binary), True
            return self._map


def _rewritten(frame: re.Match[str], source_map: SourceMap) -> str:
    place = source_map.origin(int(frame["line"]), int(frame["column"]))
    if place is None:
        return frame[0]
    at = f"{place.file}:{place.line}:{place.column}"
    name = frame["name"]
    return f"{frame['indent']}    at {f'{name} ({at})' if name else at}"


def _read(binary: Path) -> SourceMap | None:
    try:
        for name, content in _custom_sections(binary.read_bytes()):
            if name == SOURCE_MAP_SECTION and len(content) <= SOURCE_MAP_BYTES_MAX:
                return SourceMap.parse(bytes(content).decode())
    except (OSError, ValueError, IndexError, RecursionError):
        return None  # a binary that somebody else made: its frames stay as they are
    return None


def _custom_sections(module: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yield name and content of each custom section; raises IndexError where the module is cut short."""
    view, at = memoryview(module), _HEADER_BYTES
    while at < len(module):
        kind = module[at]
        size, start = _unsigned(module, at + 1)
        at = start + size
        if kind == _CUSTOM:
            name_bytes, name_at = _unsigned(module, start)
            yield bytes(view[name_at : name_at + name_bytes]), view[name_at + name_bytes : at]


def _unsigned(data: bytes, at: int) -> tuple[int, int]:
    """Read an unsigned LEB128; return it and the place after it."""
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return number, at
