"""Whatever changes while a link is busy is told over it: the last that a node hears is what is wanted of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, MutableMapping
from contextlib import asynccontextmanager, suppress
from typing import Any, NoReturn, cast

import orjson
import pytest

from skerry.fleet.desire import Desire, Wanted
from skerry.server.baetyl.errors import BaetylError
from skerry.server.baetyl.links import Links
from skerry.server.baetyl.sync import Basis, Sync, Told
from skerry.server.conversations import Peer, PeerGone

PLACE = ("default", "sn001")
SECONDS_MAX = 60.0


class Turning:
    """A node, its link, and what is wanted of it: one application, in a version. A `Sync` as far as links ask it.

    What is in `meanwhile` is called at the places that it names, once: where a report's answer or a change has been
    worked out and is not told yet, and where a frame is being sent.
    """

    def __init__(self) -> None:
        self.version = 1
        self.is_ready = True
        self.meanwhile: dict[str, Callable[[], None]] = {}
        self.links = Links(cast("Sync", self))
        self.heard: list[Any] = []
        self.came = asyncio.Condition()
        self.said: asyncio.Queue[MutableMapping[str, Any]] = asyncio.Queue()

    def change(self, version: int) -> None:
        self.version, self.is_ready = version, True
        self.links.look([PLACE])

    async def _at(self, where: str) -> None:
        if (call := self.meanwhile.pop(where, None)) is not None:
            call()
            for _ in range(10):
                await asyncio.sleep(0)  # whoever that woke has its turn

    def _told(self) -> Told:
        basis = Basis(Desire(apps=(Wanted("web", self.version),)), {}, 20)
        return Told({"version": self.version}, 20, basis)

    async def report(self, *_: object, **_meta: object) -> Told:
        told = self._told()
        await self._at("report")
        if not self.is_ready:
            raise BaetylError("ErrNodeNotReady", "The node is not ready, please retry later.")
        return told

    async def wanted(self, _place: object) -> Told:
        told = self._told() if self.is_ready else Told({}, 20)
        await self._at("wanted")
        return told

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        await self._at("send")
        async with self.came:
            self.heard.append(orjson.loads(message["text"])["content"])
            self.came.notify_all()

    @asynccontextmanager
    async def _admit(self) -> AsyncIterator[None]:
        yield

    async def reports(self) -> None:
        """Report, and wait for the answer and whatever else comes."""
        count = len(self.heard)
        self.said.put_nowait({"type": "websocket.receive", "text": '{"kind": "report", "meta": {}, "content": {}}'})
        await self.until(lambda: len(self.heard) > count)

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(SECONDS_MAX), self.came:
            await self.came.wait_for(holds)

    async def hears(self, version: int) -> None:
        """Wait until the last that was heard is a version."""
        await self.until(lambda: self.heard[-1] == {"version": version})

    async def hold(self) -> None:
        with suppress(PeerGone):
            await self.links.hold(PLACE, "c1", _nothing_is_fetched, self._peer())

    def _peer(self) -> Peer:
        return Peer(self.said.get, self._send, self._admit)


def _nothing_is_fetched() -> NoReturn:
    raise AssertionError


@pytest.fixture
async def node() -> AsyncIterator[Turning]:
    node = Turning()
    async with asyncio.TaskGroup() as group:
        group.create_task(node.hold())
        yield node
        node.said.put_nowait({"type": "websocket.disconnect"})


@pytest.mark.parametrize("where", ["wanted", "send"])
async def test_a_change_while_another_is_told_is_told_after_it(node: Turning, where: str) -> None:
    await node.reports()
    node.meanwhile[where] = lambda: node.change(3)
    node.change(2)
    await node.hears(3)


@pytest.mark.parametrize("where", ["report", "send"])
async def test_a_change_while_the_first_report_is_answered_is_told_after_the_answer(node: Turning, where: str) -> None:
    node.meanwhile[where] = lambda: node.change(2)
    await node.reports()
    await node.hears(2)


async def test_a_change_that_is_told_before_an_older_answer_is_told_again(node: Turning) -> None:
    await node.reports()
    node.meanwhile["report"] = lambda: node.change(2)
    await node.reports()
    await node.until(lambda: len(node.heard) == 4)
    assert node.heard == [{"version": version} for version in (1, 2, 1, 2)]


async def test_a_change_that_an_answer_told_is_told_again_when_it_is_undone(node: Turning) -> None:
    await node.reports()
    node.change(2)
    await node.hears(2)
    node.version = 3  # of which the answer knows before the link is woken
    await node.reports()
    await node.hears(3)
    node.change(2)
    await node.hears(2)


async def test_a_node_that_was_not_ready_for_its_first_report_is_told_when_it_is(node: Turning) -> None:
    node.is_ready = False
    await node.reports()
    assert "not ready" in node.heard[0]
    node.change(2)
    await node.hears(2)


async def test_what_an_answer_told_is_not_told_again(node: Turning) -> None:
    await node.reports()
    node.change(1)
    node.meanwhile["wanted"] = lambda: node.change(2)
    await node.hears(2)
    assert node.heard == [{"version": 1}, {"version": 2}]
