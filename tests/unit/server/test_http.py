"""Streaming answers while they are opened: what ends that, and what is answered then."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import pytest

from skerry.api.errors import ServiceUnavailable, Timeout
from skerry.server import http
from skerry.server.http import Streaming, Streams


class Asked:
    """A request for something that is not opened before `may_open`, and its client."""

    def __init__(self) -> None:
        self.opening, self.may_open, self.closed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.client_goes = asyncio.Event()
        self.streams = Streams()
        self.sent: list[MutableMapping[str, Any]] = []

    @asynccontextmanager
    async def parts(self) -> AsyncIterator[AsyncIterator[bytes]]:
        self.opening.set()
        try:
            await self.may_open.wait()
            yield self.printed()
        finally:
            self.closed.set()

    async def printed(self) -> AsyncIterator[bytes]:
        yield b"a part"

    async def receive(self) -> MutableMapping[str, Any]:
        await self.client_goes.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        self.sent.append(message)

    async def answer(self) -> None:
        await self.streams.send(Streaming(self.parts(), 60.0), [], self.receive, self.send)


@pytest.fixture
def asked() -> Asked:
    return Asked()


async def test_what_opens_is_sent(asked: Asked) -> None:
    asked.may_open.set()
    await asked.answer()
    assert [message.get("body", message.get("status")) for message in asked.sent] == [200, b"a part", b""]
    assert len(asked.streams) == 0


async def test_an_answer_that_does_not_begin_in_time_is_an_error(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "OPENING_SECONDS", 0.01)
    with pytest.raises(Timeout, match="did not begin within"):
        await asked.answer()
    assert (asked.sent, asked.closed.is_set(), len(asked.streams)) == ([], True, 0)


@pytest.mark.parametrize("by", ["its client", "the server"])
async def test_an_answer_that_nobody_waits_for_is_not_opened_further(asked: Asked, by: str) -> None:
    answer = asyncio.get_running_loop().create_task(asked.answer())
    await asked.opening.wait()
    if by == "its client":
        asked.client_goes.set()
    else:
        asked.streams.end_all()
    async with asyncio.timeout(60):
        with pytest.raises(ServiceUnavailable):
            await answer
    assert (asked.sent, asked.closed.is_set(), len(asked.streams)) == ([], True, 0)
