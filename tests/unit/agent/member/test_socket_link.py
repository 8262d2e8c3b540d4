"""When a node tries its link again: the waits never end by themselves here, and the other side is a script."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response

from skerry.agent.member import socket_link
from skerry.agent.member.socket_link import SocketLink
from skerry.kit.backoff import Backoff
from skerry.kit.tasks import background
from skerry.kit.tls import no_trust

NOT_OFFERED = InvalidStatus(Response(404, "", Headers()))
OVERLOADED = InvalidStatus(Response(429, "", Headers()))


class Tries:
    """Tries to connect, each of which fails.

    Attributes:
        number: how many there were.
        failure: of the next.
    """

    def __init__(self) -> None:
        self.number = 0
        self.failure: Exception = ConnectionRefusedError("nobody is there")

    @asynccontextmanager
    async def connect(self, _uri: str, *, ssl: ssl.SSLContext, **_options: object) -> AsyncIterator[None]:
        """Take the place of `websockets.connect`."""
        assert ssl is not None
        self.number += 1
        raise self.failure
        yield

    async def are(self, is_so: Callable[[int], bool]) -> None:
        """Wait until there were as many."""
        async with asyncio.timeout(60):
            while not is_so(self.number):  # noqa: ASYNC110 - a count, which has no event
                await asyncio.sleep(0)


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    found = Tries()
    monkeypatch.setattr(socket_link, "connect", found.connect)
    return found


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have every wait last, and tell of them and of new beginnings."""
    told: list[str] = []

    def wait(_: Backoff) -> float:
        told.append("wait")
        return 3600.0

    monkeypatch.setattr(Backoff, "next_seconds", wait)
    monkeypatch.setattr(Backoff, "reset", lambda _: told.append("reset"))
    return told


def link() -> SocketLink:
    return SocketLink(["https://127.0.0.1:1"], no_trust(), lambda: None, lambda _: None)


async def test_a_control_plane_that_answers_again_is_tried_at_once_and_the_waits_begin_anew(
    tries: Tries, waits: list[str]
):
    lost = link()
    async with background(("link", lost.run)):
        await tries.are(lambda number: number == 1)
        lost.look_again()
        await tries.are(lambda number: number == 2)
    assert waits == ["wait", "reset", "wait"]


@pytest.mark.parametrize("refusal", [NOT_OFFERED, OVERLOADED], ids=["not offered", "overloaded"])
async def test_one_that_refuses_links_is_not_tried_because_it_takes_reports(
    tries: Tries, waits: list[str], refusal: Exception
):
    refused, tries.failure = link(), refusal
    async with background(("link", refused.run)):
        await tries.are(lambda number: number == 1)
        refused.look_again()
        for _ in range(100):
            await asyncio.sleep(0)
        assert tries.number == 1
    assert "reset" not in waits


class Links:
    """Links that each tell one frame, and are lost then.

    Attributes:
        told: what each says of the time over which nodes come back, the first first.
    """

    def __init__(self, *told: str) -> None:
        self.told = list(told)
        self.close_code = 1012

    @asynccontextmanager
    async def connect(self, _uri: str, *, ssl: ssl.SSLContext, **_options: object) -> AsyncIterator["Links"]:
        """Take the place of `websockets.connect`."""
        assert ssl is not None
        if not self.told:
            raise ConnectionRefusedError("nobody is there")
        yield self

    async def __aiter__(self) -> AsyncIterator[str]:
        meta = f'{{"x-skerry-relink-seconds": "{seconds}"}}' if (seconds := self.told.pop(0)) else "{}"
        yield f'{{"kind": "report", "meta": {meta}, "content": {{}}}}'


@pytest.mark.parametrize(
    ("told", "waits"),
    [
        (("",), [1.0]),
        (("1",), [1.0]),
        (("20", "20"), [20.0, 20.0]),
        (("20", "1", "", "40"), [20.0, 10.0, 5.0, 40.0]),
        (("3600",), [60.0]),
        (("soon",), [1.0]),
    ],
)
async def test_a_lost_link_is_tried_again_over_as_long_as_the_control_plane_said(
    monkeypatch: pytest.MonkeyPatch, told: tuple[str, ...], waits: list[float]
):
    links, firsts = Links(*told), list[float]()
    everything_told = asyncio.Event()

    def wait(backoff: Backoff) -> float:
        firsts.append(backoff.first_seconds)
        if len(firsts) == len(waits):
            everything_told.set()
        return 0.0

    monkeypatch.setattr(socket_link, "connect", links.connect)
    monkeypatch.setattr(Backoff, "next_seconds", wait)
    async with background(("link", link().run)), asyncio.timeout(60):
        await everything_told.wait()
    assert firsts[: len(waits)] == waits
