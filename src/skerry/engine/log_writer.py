"""The writing side of a function's log: one JSON line for each console call, appended to one file a function.

The file has the name of the log (`FunctionManifest.log_name`): a function of the name of one that was deleted
has a log of its own.

    {"time": "2026-01-01T00:00:00.000Z", "function": …, "revision": …, "level": …, "requestId": …, "message": …}

Several workers write to the same file: each line is one `write` to a descriptor opened with O_APPEND; one that a full
disk takes a part of is lost whole. A file that
has reached its size becomes `<name>.log.1` (replacing the one before it) under an exclusive lock, so a
function's log takes two files of `FILE_BYTES_MAX` at most. A function that floods its log loses lines, and the log
says how many: before the next line that is written, or when the worker sweeps.
"""

import contextlib
import errno
import fcntl
import os
import threading
from collections import OrderedDict
from pathlib import Path

import orjson

from skerry.engine.manifest import FunctionManifest
from skerry.kit.clock import Clock

#: A longer message is cut, with a mark.
MESSAGE_BYTES_MAX = 16 * 1024
#: A file is rotated when it has grown beyond this; one older generation is kept.
FILE_BYTES_MAX = 8 * 1024 * 1024
#: Lines a second of one function in one worker; a burst may take as many at once.
LINES_PER_SECOND_MAX = 1000
#: Likewise of messages: what one function writes must not take the disk from the others.
MESSAGE_BYTES_PER_SECOND_MAX = 1024 * 1024
#: Open files; the one that was written least recently is closed.
OPEN_FILES_MAX = 256

LEVELS = ("debug", "info", "warn", "error")
_CUT_MARK = " …(cut)"


class _LogFile:
    """One function's open file and its rate; `manifest` is of the revision that wrote last."""

    def __init__(self, path: Path, manifest: FunctionManifest, now_seconds: float) -> None:
        self.path = path
        self.manifest = manifest
        self.descriptor = _open(path)
        self.lines = float(LINES_PER_SECOND_MAX)
        self.bytes = float(MESSAGE_BYTES_PER_SECOND_MAX)
        self.refilled_seconds = now_seconds
        self.dropped = 0

    def take(self, message_bytes: int, now_seconds: float) -> bool:
        """Tell whether one more line may be written now."""
        gained = now_seconds - self.refilled_seconds
        self.refilled_seconds = now_seconds
        self.lines = min(self.lines + gained * LINES_PER_SECOND_MAX, LINES_PER_SECOND_MAX)
        self.bytes = min(self.bytes + gained * MESSAGE_BYTES_PER_SECOND_MAX, MESSAGE_BYTES_PER_SECOND_MAX)
        if self.lines < 1 or self.bytes < message_bytes:
            self.dropped += 1
            return False
        self.lines -= 1
        self.bytes -= message_bytes
        return True

    def append(self, line: bytes) -> None:
        """Write one line, into a new file where this one is full or was rotated by another process."""
        if not _is_still(self.descriptor, self.path) or os.fstat(self.descriptor).st_size > FILE_BYTES_MAX:
            self._reopen()
        written = os.write(self.descriptor, line)
        if written < len(line):
            self._take_back(written)
            raise OSError(errno.ENOSPC, "the disk took a part of a line")

    def _take_back(self, written: int) -> None:
        """Remove what a full disk took of a line, unless another process' line is behind it by now."""
        end = os.lseek(self.descriptor, 0, os.SEEK_CUR)
        if os.fstat(self.descriptor).st_size == end:
            os.ftruncate(self.descriptor, end - written)

    def _reopen(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_EX)  # released by closing
        if _is_still(self.descriptor, self.path):
            self.path.replace(self.path.with_name(self.path.name + ".1"))
        os.close(self.descriptor)
        self.descriptor = _open(self.path)


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _is_still(descriptor: int, path: Path) -> bool:
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    here = os.fstat(descriptor)
    return (here.st_ino, here.st_dev) == (there.st_ino, there.st_dev)


class FunctionLogWriter:
    """Appends console output; called from many threads."""

    def __init__(self, logs_dir: Path, clock: Clock) -> None:
        logs_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._logs_dir = logs_dir
        self._clock = clock
        self._files: OrderedDict[str, _LogFile] = OrderedDict()
        self._lock = threading.Lock()
        self.dropped_lines = 0

    def write(self, manifest: FunctionManifest, level: int, message: bytes, request_id: str = "") -> bool:
        """Append one line; returns False where it was dropped instead, which is counted.

        Args:
            manifest: of the revision that says it.
            level: an index of `LEVELS`.
            message: UTF-8; cut at `MESSAGE_BYTES_MAX`.
            request_id: of the request that it was said in; "" for none.
        """
        now_seconds = self._clock.monotonic_seconds()
        with self._lock:
            try:
                file = self._file(manifest, now_seconds)
                if not file.take(min(len(message), MESSAGE_BYTES_MAX), now_seconds):
                    self.dropped_lines += 1
                    return False
                file.manifest = manifest
                self._tell_dropped(file)
                level_name = LEVELS[min(level, len(LEVELS) - 1)]
                file.append(self._line(manifest, level_name, _text(message), request_id))
            except OSError:  # a full disk must not fail requests; the count tells of it
                self.dropped_lines += 1
                return False
        return True

    def sweep(self) -> None:
        """Tell of lines that were dropped, where nothing was written since; call it every second."""
        with self._lock:
            for file in self._files.values():
                with contextlib.suppress(OSError):  # as in `write`; it stays to be told
                    self._tell_dropped(file)

    def _tell_dropped(self, file: _LogFile) -> None:
        if file.dropped:
            limits = f"{LINES_PER_SECOND_MAX} lines or {MESSAGE_BYTES_PER_SECOND_MAX >> 20} MiB a second"
            message = f"{file.dropped} lines were dropped: over {limits}"
            file.append(self._line(file.manifest, "warn", message, ""))
            file.dropped = 0

    def _file(self, manifest: FunctionManifest, now_seconds: float) -> _LogFile:
        name = manifest.log_name
        file = self._files.get(name)
        if file is None:
            if len(self._files) >= OPEN_FILES_MAX:
                _, oldest = self._files.popitem(last=False)
                os.close(oldest.descriptor)
            file = self._files[name] = _LogFile(self._logs_dir / f"{name}.log", manifest, now_seconds)
        self._files.move_to_end(name)
        return file

    def _line(self, manifest: FunctionManifest, level: str, message: str, request_id: str) -> bytes:
        time = self._clock.now().isoformat(timespec="milliseconds").replace("+00:00", "Z")
        document = {"time": time, "function": manifest.function, "revision": manifest.revision}
        document["level"] = level
        if request_id:
            document["requestId"] = request_id
        document["message"] = message
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def _text(message: bytes) -> str:
    text = message[:MESSAGE_BYTES_MAX].decode(errors="replace")
    return text if len(message) <= MESSAGE_BYTES_MAX else text + _CUT_MARK
