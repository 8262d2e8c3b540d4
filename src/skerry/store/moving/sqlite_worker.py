"""A SQLite file and the one thread that works with it, for as long as something is moved."""

import sqlite3
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from skerry.kit.tasks import run_blocking
from skerry.store.moving.errors import MovingError
from skerry.store.sqlite_connection import Connection

T = TypeVar("T")


class Worker:
    """A connection, and the thread that works with it, as `worker_on` yields them."""

    def __init__(self, raw: sqlite3.Connection, executor: ThreadPoolExecutor, name: str) -> None:
        self.raw = raw
        self.connection = Connection(raw)
        self._executor = executor
        self._name = name

    async def do(self, call: Callable[[], T]) -> T:
        """Call something in the thread; raises MovingError where the database can't do it."""
        try:
            return await run_blocking(self._executor, call)
        except (sqlite3.Error, OSError) as error:
            raise MovingError(f"the database {self._name} fails: {error}", detail=str(error)) from error


@asynccontextmanager
async def worker_on(connect: Callable[[], sqlite3.Connection], name: str) -> AsyncIterator[Worker]:
    """Open a connection in a thread of its own for the length of the block; raises MovingError."""
    with ThreadPoolExecutor(1, "store-moving") as executor:
        try:
            raw = await run_blocking(executor, connect)
        except (sqlite3.Error, OSError) as error:
            raise MovingError(f"cannot open the database {name}: {error}") from error
        try:
            yield Worker(raw, executor, name)
        finally:
            await run_blocking(executor, raw.close)
