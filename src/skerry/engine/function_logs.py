"""The reading side of a function's log: the last lines, and what comes after them.

Reads what `log_writer` writes: `<name>.log` and one older generation, `<name>.log.1`. Yields whole lines,
without their ends, oldest first. A follower goes on in the new file after a rotation; lines of a generation that
was rotated away twice between two looks are lost to it.
"""

import asyncio
import datetime as dt
import os
from collections import deque
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

from skerry.engine.errors import UnknownRevisionError
from skerry.engine.log_writer import LEVELS
from skerry.engine.manifest import is_name
from skerry.kit.tasks import run_blocking

#: How often a follower looks for new lines.
FOLLOW_SECONDS = 0.2
#: One read; also the longest line that is possible (a message of 16 KiB, each byte escaped as six).
CHUNK_BYTES = 256 * 1024
#: Both generations may be read at most; the default for a reader that names no number.
TAIL_LINES_MAX = 100_000
CONCURRENT_READS_MAX = 4

_TIME_BEGINS = '{"time":"'
_TIME = slice(len(_TIME_BEGINS), len(_TIME_BEGINS) + len("2026-01-01T00:00:00.000Z"))


@dataclass(frozen=True, slots=True)
class LineFilter:
    """Which lines are wanted.

    Attributes:
        since: of this time or later; None for any.
        level: as bad as this or worse, one of `log_writer.LEVELS`; None for any.
        request_id: said in a request whose id begins so: what people read shows its first characters; None for any.
    """

    since: dt.datetime | None = None
    level: str | None = None
    request_id: str | None = None

    @property
    def wants_all(self) -> bool:
        """Whether there is nothing to look at in a line."""
        return self == LineFilter()

    def takes(self, line: bytes) -> bool:
        """Tell whether a line is wanted. What is no line of ours is too old for any time, and says nothing else."""
        try:
            told = orjson.loads(line)
            time = str(told["time"]).replace("Z", "+00:00")
            level = LEVELS.index(told["level"])
        except (ValueError, KeyError, TypeError):
            return False
        if self.since and time < self.since.astimezone(dt.UTC).isoformat(timespec="milliseconds"):
            return False
        if self.level and level < LEVELS.index(self.level):
            return False
        return self.request_id is None or str(told.get("requestId", "")).startswith(self.request_id)


class FunctionLogs:
    """Reads logs; `close` it at the end."""

    def __init__(self, logs_dir: Path) -> None:
        self._logs_dir = logs_dir
        self._executor = ThreadPoolExecutor(CONCURRENT_READS_MAX, thread_name_prefix="function-logs")

    def close(self) -> None:
        """Stop the reading threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def read(
        self,
        name: str,
        *,
        follow: bool = False,
        tail_lines: int | None = None,
        wanted: LineFilter | None = None,
    ) -> AsyncIterator[str]:
        """Yield lines (JSON documents, see `log_writer`) of one function's log.

        Args:
            name: of the log (`manifest.log_name`); one that is not there yields nothing (or waits, when following).
            follow: go on with lines as they are written, until the iterator is closed.
            tail_lines: only so many of the last lines that are wanted; None for all that are kept.
            wanted: which lines; None for all.

        Raises:
            UnknownRevisionError: `name` is not a name.
        """
        if not is_name(name):
            raise UnknownRevisionError(f"not the name of a log: {name[:100]!r}")
        tail = _Tail(self._logs_dir / f"{name}.log", wanted or LineFilter())
        try:
            count = TAIL_LINES_MAX if tail_lines is None else min(tail_lines, TAIL_LINES_MAX)
            for line in await run_blocking(self._executor, lambda: tail.last(count)):
                yield line
            while follow:
                lines = await run_blocking(self._executor, tail.more)
                for line in lines:
                    yield line
                if not lines:
                    await asyncio.sleep(FOLLOW_SECONDS)
        finally:
            tail.close()


def list_logs(logs_dir: Path) -> set[str]:
    """Return the names of the logs that are there."""
    return {path.name.removesuffix(".1").removesuffix(".log") for path in logs_dir.iterdir()}


def remove_log(logs_dir: Path, name: str) -> None:
    """Remove a log; one that is not there is fine, and one that is written meanwhile begins anew."""
    for generation in (f"{name}.log.1", f"{name}.log"):
        (logs_dir / generation).unlink(missing_ok=True)


class _Tail:
    """A position in a log that is being written; used by one thread at a time."""

    def __init__(self, path: Path, wanted: LineFilter) -> None:
        self._path = path
        self._filter = None if wanted.wants_all else wanted
        self._file: BinaryIO | None = None
        self._partial = b""

    def last(self, count: int) -> list[str]:
        """Return the last lines that are there, and stay behind them."""
        kept: deque[str] = deque(maxlen=count)
        older = self._path.with_name(self._path.name + ".1")
        if older.exists():
            with older.open("rb") as file:
                kept.extend(self._wanted(_lines_of(file)))
        while lines := self.more():
            kept.extend(lines)
        return list(kept)

    def more(self) -> list[str]:
        """Return wanted lines that were written since the last look, those of a chunk at most; [] at the end."""
        if self._file is None and not self._open():
            return []
        while True:
            data = self._read()
            if not data and self._was_rotated():
                self.close()
                if not self._open():
                    return []
                continue
            *lines, self._partial = (self._partial + data).split(b"\n")
            wanted = list(self._wanted(lines))
            if wanted or not data:
                return wanted

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial = b""

    def _open(self) -> bool:
        try:
            self._file = self._path.open("rb")
        except FileNotFoundError:
            return False
        return True

    def _read(self) -> bytes:
        return self._file.read(CHUNK_BYTES) if self._file is not None else b""

    def _was_rotated(self) -> bool:
        if self._file is None:
            return False
        try:
            there = self._path.stat()
        except FileNotFoundError:
            return False
        return os.fstat(self._file.fileno()).st_ino != there.st_ino

    def _wanted(self, lines: Iterator[bytes] | list[bytes]) -> Iterator[str]:
        for line in lines:
            if line and (self._filter is None or self._filter.takes(line)):
                yield line.decode(errors="replace")


def _lines_of(file: BinaryIO) -> Iterator[bytes]:
    for line in file:
        yield line.rstrip(b"\n")


def time_of(line: str) -> str:
    """Return when a line was written (RFC 3339), without a look at the rest; "" for what is no line of ours."""
    return line[_TIME] if line.startswith(_TIME_BEGINS) else ""
