"""Databases of each kind, by pairs: a log is moved from either to either."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from skerry.store.driver import Driver
from skerry.store.moving.changes import Change
from skerry.store.moving.databases import Database
from skerry.store.moving.errors import ArtifactGoneError
from skerry.store.moving.key_values import KeyValue
from skerry.store.moving.postgres import PostgresDatabase
from skerry.store.moving.sqlite import SqliteDatabase
from skerry.store.postgres.driver import open_postgres
from skerry.store.records import Key, Write
from skerry.store.sqlite import open_sqlite

KINDS = ("sqlite", "postgres")


@dataclass(frozen=True)
class Place:
    """A database to be moved, and how a control plane opens it."""

    database: Database
    open_driver: Callable[[], AbstractAsyncContextManager[Driver]]
    #: How anybody else reaches it, to damage it: a path, or a URL.
    address: Path | str


MakePlace = Callable[[str], Place]


@pytest.fixture
def make_place(request: pytest.FixtureRequest, tmp_path: Path) -> MakePlace:
    """How to make an empty database of a kind."""
    made = 0

    def make(kind: str) -> Place:
        nonlocal made
        made += 1
        if kind == "sqlite":
            path = tmp_path / f"{made}.db"
            return Place(SqliteDatabase(path), lambda: open_sqlite(path), path)
        url = request.getfixturevalue("postgres").create_schema()
        return Place(PostgresDatabase(url), lambda: open_postgres(url), url)

    return make


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, make_place: MakePlace) -> Place:
    """An empty database of each kind."""
    return make_place(request.param)


@pytest.fixture(params=[(first, second) for first in KINDS for second in KINDS], ids="-to-".join)
def pair(request: pytest.FixtureRequest, make_place: MakePlace) -> tuple[Place, Place]:
    """Two empty databases, of every pair of kinds."""
    first, second = request.param
    return make_place(first), make_place(second)


def key(name: str) -> Key:
    return Key("configmaps", "default", name)


async def write_history(driver: Driver, *, entries: int = 40) -> None:
    """Write entries that are created, changed, deleted and created again, and compact some of that away."""
    for number in range(entries):
        first = await driver.append(Write(key(f"a-{number}"), b'{"n":1}', 0))
        if number % 2:
            second = await driver.append(Write(key(f"a-{number}"), b'{"n":2}', first))
            if number % 3 == 0:
                await driver.append(Write(key(f"a-{number}"), None, second))
            if number % 9 == 0:
                await driver.append(Write(key(f"a-{number}"), b'{"n":3}', 0))
    await driver.compact((await driver.bounds()).latest // 2)


@asynccontextmanager
async def filled(place: Place) -> AsyncIterator[Driver]:
    """Open a database with a history in it."""
    async with place.open_driver() as driver:
        await write_history(driver)
        yield driver


def quiet(_stage: str, _done: int, _total: int) -> None:
    """Hear of nothing."""


async def accept(_change: Change, _is_present: bool) -> str:  # noqa: FBT001 - the form of `Examine`
    """Find nothing wrong with a value."""
    return ""


#: In the order of (namespace, key): of bytes.
ENTRIES = [
    KeyValue("a", "ä".encode(), b"\0\1", '{"ü":1}', None),
    KeyValue("b", b"k", b"", None, 4102444800.5),
    KeyValue("b", b"l", b"x" * 5000, "", None),
]


class FakeKeyValues:
    """Keys and values of functions in memory, which are read one by one."""

    def __init__(self, kept: Sequence[KeyValue] = ()) -> None:
        self.kept = list(kept)

    async def entries(self) -> AsyncIterator[Sequence[KeyValue]]:
        for entry in self.kept:
            yield [entry]

    async def replace(self, entries: AsyncIterator[Sequence[KeyValue]]) -> None:
        self.kept = [entry async for batch in entries for entry in batch]


class FakeArtifacts:
    """Artifacts in memory."""

    def __init__(self, *contents: bytes, gone: str = "") -> None:
        self.kept = {f"sha256:{hashlib.sha256(content).hexdigest()}": content for content in contents}
        self._gone = gone

    async def digests(self) -> Sequence[str]:
        return sorted(self.kept)

    async def read(self, digest: str) -> AsyncIterator[bytes]:
        if digest == self._gone:
            raise ArtifactGoneError(digest)
        for at in range(0, len(self.kept[digest]), 1000):
            yield self.kept[digest][at : at + 1000]

    async def write(self, digest: str, pieces: AsyncIterator[bytes]) -> None:
        self.kept[digest] = b"".join([piece async for piece in pieces])
