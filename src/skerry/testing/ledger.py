"""Writers and watchers at several replicas, who keep a book of what they were promised and of what they saw.

async with Ledger.kept({"a": first, "b": second}, "killed") as ledger:
    await ledger.writes(100)
    first.kill()
    await ledger.writes(100)
assert ledger.acknowledged.keys() <= {name for _, name in ledger.views["b"].seen}
"""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import orjson

from skerry.kit.deadlines import within
from skerry.testing.skerry_process import SkerryProcess

#: How long a writer rests after each answer, which leaves some of the cores to what is tested.
REST_SECONDS = 0.01
#: And how long whoever was refused waits before it asks another replica.
RETRY_SECONDS = 0.1
WRITERS_PER_REPLICA = 2
#: After which a writer goes home again.
WRITES_PER_CONNECTION = 5
STATE_SECONDS_MAX = 120.0
LAST = "last"
NAMESPACES = "/api/v1/namespaces"


@dataclass
class View:
    """What a watcher saw, over all its connections.

    Attributes:
        seen: the revision and the name of each object that was added, in the order in which it was told of them.
        position: the revision from which it goes on.
        connections: how many it took.
        ended: set when it has seen what nothing comes after.
    """

    position: str
    seen: list[tuple[int, str]] = field(default_factory=list)
    connections: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, kind: str, document: Mapping[str, Any]) -> None:
        """Note an event; all objects are created, so any other than that one tells of a defect."""
        if kind not in {"ADDED", "BOOKMARK"}:
            raise AssertionError(f"a watcher was told {kind}: {document}")
        self.position = document["metadata"]["resourceVersion"]
        if kind == "ADDED":
            self.seen.append((int(self.position), document["metadata"]["name"]))
        if kind == "ADDED" and document["metadata"]["name"] == LAST:
            self.ended.set()


@dataclass(frozen=True)
class Acknowledged:
    """An answer to a writer: when (of the monotonic clock, in seconds), and whose."""

    seconds: float
    replica: str


class Ledger:
    """The book.

    Attributes:
        path: of the collection that all write to, and watch.
        acknowledged: the revision of each object that a writer was told is there; it asks for no name twice.
        refused: how many writes were not acknowledged, by status or error. Some of those may be there none the less.
        views: what the watcher of each replica saw.
    """

    def __init__(self, replicas: Mapping[str, SkerryProcess], namespace: str) -> None:
        self.path = f"{NAMESPACES}/{namespace}/configmaps"
        self.acknowledged: dict[str, int] = {}
        self.refused: Counter[str] = Counter()
        self.views: dict[str, View] = {}
        self._replicas = replicas
        self._answers: list[Acknowledged] = []
        self._numbers = itertools.count()
        self._answered = asyncio.Event()
        self._stopping = False

    @classmethod
    @asynccontextmanager
    async def kept(cls, replicas: Mapping[str, SkerryProcess], namespace: str) -> AsyncIterator["Ledger"]:
        """Write and watch at all replicas for the length of the block; then wait until every watcher has seen it all.

        Args:
            replicas: by names of the test's choice.
            namespace: of its own, which is made.
        """
        ledger = cls(replicas, namespace)
        begin = await ledger._begin(namespace)
        async with asyncio.TaskGroup() as watchers:
            for name in replicas:
                ledger.views[name] = View(begin)
                watchers.create_task(ledger._watch(name))
            async with asyncio.TaskGroup() as writers:
                for name in [*replicas] * WRITERS_PER_REPLICA:
                    writers.create_task(ledger._write(name))
                yield ledger
                ledger._stopping = True
            with within(STATE_SECONDS_MAX):
                await ledger._write_last()
                for view in ledger.views.values():
                    await view.ended.wait()

    async def refusals(self, number: int, why: str) -> None:
        """Wait until so many writes were refused for a reason."""
        await self._until(lambda: self.refused[why] >= number)

    async def writes(self, number: int, *, at: str = "") -> None:
        """Wait until so many more writes were acknowledged, by one replica or by any."""
        wanted = self._count(at) + number
        await self._until(lambda: self._count(at) >= wanted)

    async def told(self, revision: int) -> None:
        """Wait until the watcher of each replica was told of a revision, or of a later one."""
        await self._until(lambda: all(int(view.position) >= revision for view in self.views.values()))

    async def _until(self, holds: Callable[[], bool]) -> None:
        with within(STATE_SECONDS_MAX):
            while not holds():
                self._answered.clear()
                await self._answered.wait()

    def longest_pause_seconds(self, since: float, *, at: str = "") -> float:
        """Return the longest time after a moment in which no write was acknowledged, by one replica or by any."""
        times = [since, *(one.seconds for one in self._answers if one.seconds > since and at in {"", one.replica})]
        return max(after - before for before, after in itertools.pairwise(times))

    def _count(self, at: str) -> int:
        return sum(1 for answer in self._answers if at in {"", answer.replica})

    async def _begin(self, namespace: str) -> str:
        async with next(iter(self._replicas.values())).async_api_client() as client:
            (await client.post(NAMESPACES, json={"metadata": {"name": namespace}})).raise_for_status()
            return str((await client.get(self.path)).json()["metadata"]["resourceVersion"])

    async def _write(self, home: str) -> None:
        """Create one object after the other, at home; where one is refused, some at the next replica."""
        asked = self._from(home)
        while not self._stopping:
            replica = next(asked)
            async with self._replicas[replica].async_api_client() as client:
                for _ in range(WRITES_PER_CONNECTION):
                    if self._stopping or not await self._create(client, f"n-{next(self._numbers)}", replica):
                        break
                    await asyncio.sleep(REST_SECONDS)
                else:
                    asked = self._from(home)
            await asyncio.sleep(RETRY_SECONDS)

    async def _write_last(self) -> None:
        """Create what tells the watchers that nothing comes after it; an attempt may be there though it was refused."""
        for replica in self._from(next(iter(self._replicas))):
            async with self._replicas[replica].async_api_client() as client:
                found = await self._create(client, LAST, replica)
                if found or self.refused[str(HTTPStatus.CONFLICT.value)]:
                    return
            await asyncio.sleep(RETRY_SECONDS)

    def _from(self, home: str) -> Iterator[str]:
        """Name replicas for ever, home first."""
        names = [*self._replicas]
        return itertools.islice(itertools.cycle(names), names.index(home), None)

    async def _create(self, client: httpx.AsyncClient, name: str, replica: str) -> bool:
        try:
            answer = await client.post(self.path, json={"metadata": {"name": name}})
            refused = "" if answer.status_code == HTTPStatus.CREATED else str(answer.status_code)
        except httpx.TransportError as error:
            refused = type(error).__name__
        if refused:
            self.refused[refused] += 1
        else:
            self.acknowledged[name] = int(answer.json()["metadata"]["resourceVersion"])
            self._answers.append(Acknowledged(time.monotonic(), replica))
        self._answered.set()
        return not refused

    async def _watch(self, home: str) -> None:
        """Follow the collection at home, and go on at the next replica where that ends, as any client does."""
        view = self.views[home]
        for replica in self._from(home):
            view.connections += 1
            with suppress(httpx.TransportError):
                async with self._replicas[replica].async_api_client() as client:
                    await self._follow(client, view)
            if view.ended.is_set():
                return
            await asyncio.sleep(RETRY_SECONDS)

    async def _follow(self, client: httpx.AsyncClient, view: View) -> None:
        query = {"watch": "1", "resourceVersion": view.position, "allowWatchBookmarks": "true"}
        async with client.stream("GET", self.path, params=query) as answer:
            if answer.status_code != HTTPStatus.OK:
                self.refused[f"watch {answer.status_code}"] += 1
                return
            async for line in answer.aiter_lines():
                event = orjson.loads(line)
                view.take(event["type"], event["object"])
                if view.ended.is_set():
                    return
