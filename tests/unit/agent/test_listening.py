"""What applications on a port of this machine share: bodies in, bodies out, and clients that go."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from skerry.agent.listening import listening, read_body, send_body
from skerry.testing.waiting import SECONDS_MAX

START = {"type": "http.response.start", "status": 200, "headers": []}


async def test_a_body_is_sent_as_it_comes() -> None:
    taken = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        await taken.wait()
        yield b"second"

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send_body(pieces(), receive, send)

    async with (
        listening(app, "127.0.0.1", 0) as url,
        httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as http,
        http.stream("GET", url) as answer,
    ):
        arriving = answer.aiter_bytes()
        assert await anext(arriving) == b"first"
        taken.set()
        assert await anext(arriving) == b"second"


async def test_a_body_without_an_end_ends_with_who_takes_it() -> None:
    ended = asyncio.Event()

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        await send_body(pieces(), receive, send)

    async with listening(app, "127.0.0.1", 0) as url:
        async with httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as http, http.stream("GET", url) as answer:
            assert await anext(answer.aiter_bytes()) == b"first"
        await ended.wait()


async def test_what_a_body_ends_with_is_told() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"first"
        raise TimeoutError("the upstream's")

    raised = []

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        await send(START)
        with pytest.raises(TimeoutError, match="the upstream's") as error:
            await send_body(pieces(), receive, send)
        raised.append(error)

    async with listening(app, "127.0.0.1", 0) as url, httpx.AsyncClient(trust_env=False, timeout=SECONDS_MAX) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(url)
    assert raised


async def test_a_body_that_ends_early_is_none() -> None:
    outcomes: list[object] = []
    over = asyncio.Event()

    async def app(_scope: Any, receive: Any, _send: Any) -> None:
        try:
            outcomes.append(await read_body(receive, 1000))
        finally:
            over.set()

    async with listening(app, "127.0.0.1", 0) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 100\r\n\r\nhalf")
        await writer.drain()
        writer.close()
        await over.wait()
    assert outcomes == []
