"""What the transport over the wire makes of servers that are none of ours."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import ApiError, Forbidden, InternalError
from skerry.client.http import HttpTransport
from skerry.client.transport import Target
from skerry.testing.scripted_server import Script, endless, reply, scripted_server
from skerry.testing.waiting import SECONDS_MAX

NAMED = Target(CONFIG_MAP, "default", "a")
ALL = Target(CONFIG_MAP, "default")


@asynccontextmanager
async def answering(*scripts: Script) -> AsyncIterator[HttpTransport]:
    """A transport to a server that answers so whatever it is asked."""
    paths = [target.kind.path(target.namespace, target.name) for target in (NAMED, ALL)]
    async with (
        scripted_server(dict.fromkeys(paths, scripts)) as server,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", trust_env=False, timeout=SECONDS_MAX) as http,
    ):
        yield HttpTransport(http)


async def watched(transport: HttpTransport) -> None:
    async with transport.watch(ALL, resource_version="1"):
        """It does not begin."""


async def read_lines(transport: HttpTransport) -> None:
    async with transport.lines(NAMED, {}):
        """It does not begin."""


@pytest.mark.parametrize(
    "ask", [lambda transport: transport.get(NAMED), watched, read_lines], ids=["get", "watch", "lines"]
)
async def test_of_a_refusal_without_an_end_the_beginning_is_told(
    ask: Callable[[HttpTransport], Awaitable[object]],
) -> None:
    async with answering(endless(403)) as transport:
        with pytest.raises(Forbidden) as refused:
            await ask(transport)
    assert len(refused.value.public) <= 500


async def all_of(transport: HttpTransport) -> None:
    await transport.list(ALL, label_selector="", limit=500, continue_token="")


async def all_events(transport: HttpTransport) -> list[str]:
    async with transport.watch(ALL, resource_version="1") as batches:
        return [event.document["data"]["text"] async for batch in batches for event in batch]


async def all_lines(transport: HttpTransport) -> list[str]:
    async with transport.lines(NAMED, {}) as lines:
        return [line async for line in lines]


@pytest.mark.parametrize(
    "ask",
    [lambda transport: transport.get(NAMED), all_of, all_events, all_lines],
    ids=["get", "list", "watch", "lines"],
)
async def test_an_answer_or_a_line_without_an_end_is_told_with_its_limit(
    ask: Callable[[HttpTransport], Awaitable[object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skerry.client.http.LIST_BYTES_MAX", 1 << 20)
    async with answering(endless(200)) as transport:
        with pytest.raises(InternalError, match="longer than [0-9]+ bytes"):
            await ask(transport)


@pytest.mark.parametrize(
    ("ask", "body"),
    [
        (lambda transport: transport.get(NAMED), b"<html>"),
        (lambda transport: transport.get(NAMED), b"[1]"),
        (all_events, b"<html>"),
        (all_events, b'{"type": "ADDED"}'),
        (all_events, b'{"type": "ADDED", "object": 1}'),
    ],
)
async def test_a_success_that_is_not_what_was_asked_for_is_told(
    ask: Callable[[HttpTransport], Awaitable[object]], body: bytes
) -> None:
    async with answering(reply(200, body)) as transport:
        with pytest.raises(InternalError, match="the server's"):
            await ask(transport)


async def test_only_a_line_feed_ends_a_line() -> None:
    text = "a\u2028b\x0bc\u0085d"
    event = json.dumps({"type": "ADDED", "object": {"data": {"text": text}}}, ensure_ascii=False)
    async with answering(reply(200, f"{event}\n\n{event}\n".encode())) as transport:
        assert await all_events(transport) == [text, text]
        assert await all_lines(transport) == [event, "", event]


@pytest.mark.parametrize(
    "status",
    [{"reason": ["a"], "code": {}, "message": 5, "details": "x"}, {"details": [1]}, {}],
    ids=["types", "details", "nothing"],
)
async def test_a_status_of_other_types_is_an_error_all_the_same(status: dict[str, object]) -> None:
    async with answering(reply(409, json.dumps({"kind": "Status", **status}).encode())) as transport:
        with pytest.raises(ApiError):
            await transport.get(NAMED)
