"""A keeper of log lines for tests: lines are put in by hand, and readers see them as the real keeper would."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager

from skerry.server.kube.logs import LogLine, LogQuery
from skerry.server.verbs.requests import Target


class LogLines:
    """Implements `skerry.server.kube.logs.LogReader` over lists in memory."""

    def __init__(self) -> None:
        self._lines: defaultdict[str, list[str]] = defaultdict(list)
        self._changed = asyncio.Condition()

    async def add(self, name: str, line: str) -> None:
        """Add a line to an object's log."""
        async with self._changed:
            self._lines[name].append(line)
            self._changed.notify_all()

    @asynccontextmanager
    async def read(self, target: Target, query: LogQuery) -> AsyncIterator[AsyncIterator[LogLine]]:
        """Open an object's lines; see `LogReader`."""
        async with aclosing(self._read(target.name, query)) as lines:
            yield lines

    async def _read(self, name: str, query: LogQuery) -> AsyncGenerator[LogLine, None]:
        lines = self._lines[name]
        place = 0 if query.tail_lines is None else max(0, len(lines) - query.tail_lines)
        while True:
            while place < len(lines):
                yield LogLine("", lines[place])
                place += 1
            if not query.follow:
                return
            async with self._changed:
                if place == len(lines):
                    await self._changed.wait()
