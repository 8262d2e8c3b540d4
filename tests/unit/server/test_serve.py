"""The listening server: TLS, bounds, streams, and an orderly end. Real sockets on loopback."""

import asyncio
import gc
import json
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from skerry.kit.errors import ConfigurationError, StartError
from skerry.server import serve as serve_module
from skerry.server.serve import ServeSettings
from skerry.testing.api_server import ApiServer, ApiServerParts, run_api_server
from skerry.testing.clock import LoopClock
from skerry.testing.waiting import SECONDS_MAX

CONFIGS = "/api/v1/namespaces/default/configmaps"
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with run_api_server(tmp_path) as running:
        yield running


@asynccontextmanager
async def client(server: ApiServer) -> AsyncIterator[httpx.AsyncClient]:
    context = ssl.create_default_context(cafile=str(server.authority))
    headers = {"authorization": f"Bearer {server.token}"}
    async with httpx.AsyncClient(base_url=server.at.url, verify=context, headers=headers, timeout=SECONDS_MAX) as http:
        yield http


@asynccontextmanager
async def raw(server: ApiServer) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    context = ssl.create_default_context(cafile=str(server.authority))
    reader, writer = await asyncio.open_connection(server.at.host, server.at.port, ssl=context)
    try:
        yield reader, writer
    finally:
        writer.close()


async def event(lines: Any) -> Any:
    return json.loads(await anext(lines))


async def test_a_client_that_trusts_the_authority_is_served(server: ApiServer) -> None:
    async with client(server) as http:
        assert (await http.get(CONFIGS)).status_code == 200
        assert (await http.get(f"https://localhost:{server.at.port}/healthz")).text == "ok"


async def test_answered_requests_are_freed_without_a_search_for_cycles(server: ApiServer) -> None:
    gc.collect()
    gc.disable()
    try:
        async with client(server) as http:
            for _ in range(20):
                assert (await http.get(CONFIGS)).status_code == 200
        left = [each for each in gc.get_objects() if isinstance(each, RequestResponseCycle)]
    finally:
        gc.enable()
    assert len(left) <= 1  # the last, which its connection has


async def test_a_taken_port_is_a_start_error(server: ApiServer, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=f"the API can't listen on 127.0.0.1:{server.at.port}"):
        async with run_api_server(tmp_path / "second", ApiServerParts(serving=ServeSettings(port=server.at.port))):
            pass


def test_settings_that_make_no_sense() -> None:
    with pytest.raises(ConfigurationError, match="port: 70000"):
        ServeSettings(port=70000)
    with pytest.raises(ConfigurationError):
        ServeSettings(drain_seconds=0)


async def test_a_watch_over_the_wire(server: ApiServer) -> None:
    async with client(server) as http, http.stream("GET", f"{CONFIGS}?watch=1&allowWatchBookmarks=true") as answer:
        assert answer.headers["content-type"] == "application/json"
        lines = answer.aiter_lines()
        first = await event(lines)
        assert first["type"] == "BOOKMARK"
        assert first["object"]["kind"] == "ConfigMap"
        await http.post(CONFIGS, json={"metadata": {"name": "c"}})
        added = await event(lines)
        assert (added["type"], added["object"]["metadata"]["name"]) == ("ADDED", "c")
        await http.delete(f"{CONFIGS}/c")
        deleted = await event(lines)
        assert deleted["type"] == "DELETED"
        assert int(deleted["object"]["metadata"]["resourceVersion"]) > int(
            added["object"]["metadata"]["resourceVersion"]
        )


async def test_a_watch_in_tables(server: ApiServer) -> None:
    accept = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    async with client(server) as http, http.stream("GET", f"{CONFIGS}?watch=true", headers=accept) as answer:
        await http.post(CONFIGS, json={"metadata": {"name": "c"}})
        table = (await event(answer.aiter_lines()))["object"]
        assert (table["kind"], table["rows"][0]["cells"][0]) == ("Table", "c")


async def test_history_that_is_gone_is_an_error_event(server: ApiServer) -> None:
    async with client(server) as http:
        await http.post(CONFIGS, json={"metadata": {"name": "c"}})
        await server.log.compact(await server.log.revision())
        answer = await http.get(f"{CONFIGS}?watch=true&resourceVersion=1")
    assert answer.status_code == 200
    told = answer.json()
    assert told["type"] == "ERROR"
    assert (told["object"]["code"], told["object"]["reason"]) == (410, "Expired")
    assert told["object"]["message"].startswith("too old resource version: 1 (")


async def test_a_watch_that_can_not_be_served_is_refused_as_a_request(server: ApiServer) -> None:
    async with client(server) as http:
        assert (await http.get(f"{CONFIGS}?watch=true&fieldSelector=spec.x=1")).status_code == 400
        assert (await http.get(f"{CONFIGS}?watch=true&resourceVersion=999")).status_code == 504


async def test_a_watch_ends_cleanly_when_its_time_is_up(server: ApiServer) -> None:
    async with client(server) as http:
        answer = await http.get(f"{CONFIGS}?watch=true&timeoutSeconds=1")
    assert (answer.status_code, answer.content) == (200, b"")


async def test_a_client_that_goes_ends_its_watch(server: ApiServer) -> None:
    own = server.log.statistics()["watchers"]
    async with client(server) as http, http.stream("GET", f"{CONFIGS}?watch=true"):
        assert server.app.statistics()["streams"] == 1
    async with asyncio.timeout(60):
        while server.app.statistics()["streams"] or server.log.statistics()["watchers"] > own:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def test_stopping_ends_watches_cleanly_and_at_once(tmp_path: Path) -> None:
    async with run_api_server(tmp_path) as server, client(server) as http:
        request = http.build_request("GET", f"{CONFIGS}?watch=true")
        answer = await http.send(request, stream=True)
        server.app.end_streams()
        assert await answer.aread() == b""
        late = await http.get(f"{CONFIGS}?watch=true")
        assert (late.status_code, late.content) == (200, b"")


async def test_stopping_does_not_wait_for_clients_that_idle(tmp_path: Path) -> None:
    never = ApiServerParts(serving=ServeSettings(port=0, drain_seconds=3600))
    async with run_api_server(tmp_path, never) as server, raw(server) as (reader, writer):
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n")
        assert await reader.readuntil(b"ok")
        transport: Any = writer.transport
        transport.pause_reading()  # from here on the client hears no farewell
    assert server.app.statistics()["streams"] == 0


async def test_many_watchers_see_the_same_events_in_the_same_order(server: ApiServer) -> None:
    seen: list[list[str]] = []

    async def watch(http: httpx.AsyncClient) -> None:
        async with http.stream("GET", f"{CONFIGS}?watch=true&resourceVersion=2") as answer:
            lines = answer.aiter_lines()
            seen.append([(await event(lines))["object"]["metadata"]["resourceVersion"] for _ in range(20)])

    async with client(server) as http, asyncio.TaskGroup() as group:
        for _ in range(10):
            group.create_task(watch(http))
        for number in range(20):
            await http.post(CONFIGS, json={"metadata": {"name": f"c{number}"}})
    assert len(seen) == 10
    assert all(versions == seen[0] for versions in seen)
    assert seen[0] == sorted(set(seen[0]), key=int)


async def test_a_request_head_over_the_limit_is_refused(server: ApiServer) -> None:
    async with raw(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost: x\r\nx: ")
        for _ in range(3):
            writer.write(b"y" * 32_768)
            await writer.drain()
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 400")
    assert b"The request's head is over 65536 bytes." in answer


async def test_a_request_head_that_never_ends_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve_module, "HEAD_SECONDS", 0.05)
    async with run_api_server(tmp_path) as server, raw(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\nhost:")
        assert await reader.read() == b""


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT"])
async def test_plain_http_is_told_to_be_so_and_nothing_else(server: ApiServer, method: str) -> None:
    async with httpx.AsyncClient(timeout=SECONDS_MAX) as http:
        answer = await http.request(method, f"http://127.0.0.1:{server.at.port}/healthz")
    assert answer.status_code == 400
    told = "" if method == "HEAD" else "Client sent an HTTP request to an HTTPS server.\n"
    assert answer.text == told


async def test_what_a_client_of_plain_http_says_after_that_ends_its_connection(server: ApiServer) -> None:
    reader, writer = await asyncio.open_connection(server.at.host, server.at.port)
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 400")
    writer.write(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
    assert (await reader.read()).endswith(b"to an HTTPS server.\n")
    writer.close()


async def test_a_watcher_that_never_reads_is_cut(server: ApiServer) -> None:
    loop_clock = LoopClock()
    large = {"metadata": {"name": "large"}, "data": {"a": "x" * 900_000}}
    async with client(server) as http, raw(server) as (_, writer):
        request = f"GET {CONFIGS}?watch=true HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {server.token}\r\n\r\n"
        writer.write(request.encode())
        while not server.app.statistics()["streams"]:  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)
        await http.post(CONFIGS, json=large)
        for turn in range(40):  # far beyond what sockets hold
            await http.patch(f"{CONFIGS}/large", json={"data": {"b": str(turn)}}, headers=MERGE)
        while server.app.statistics()["streams"]:
            loop_clock.advance(serve_module.STALLED_SECONDS)
            await asyncio.sleep(0.01)
    async with client(server) as http:
        assert (await http.get(f"{CONFIGS}/large")).status_code == 200


LARGE_OBJECTS = 20


async def ask_for_a_large_list(server: ApiServer, writer: asyncio.StreamWriter, header: str) -> None:
    async with client(server) as http:
        for number in range(LARGE_OBJECTS):
            await http.post(CONFIGS, json={"metadata": {"name": f"c{number}"}, "data": {"a": "x" * 900_000}})
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)  # the rest waits there
    writer.write(
        f"GET {CONFIGS} HTTP/1.1\r\nHost: x\r\n{header}\r\nAuthorization: Bearer {server.token}\r\n\r\n".encode()
    )


@pytest.mark.parametrize("connection", ["close", "keep-alive"])
async def test_a_slow_reader_of_a_large_list_gets_all_of_it(server: ApiServer, connection: str) -> None:
    loop_clock = LoopClock()
    async with raw(server) as (reader, writer):
        await ask_for_a_large_list(server, writer, f"Connection: {connection}")
        size = 0
        while size < LARGE_OBJECTS * 900_000:
            part = await reader.read(1024 * 1024)
            assert part, f"it ended after {size} bytes"
            size += len(part)
            loop_clock.advance(len(part) / (1024 * 1024) * serve_module.STALLED_SECONDS / 6)  # three minutes for all


async def test_who_never_reads_a_large_list_is_cut(server: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    loop_clock, cut = LoopClock(), asyncio.Event()
    abort = serve_module.BoundedHttpProtocol.abort

    def note_and_abort(connection: serve_module.BoundedHttpProtocol) -> None:
        cut.set()
        abort(connection)

    monkeypatch.setattr(serve_module.BoundedHttpProtocol, "abort", note_and_abort)
    async with raw(server) as (reader, writer):
        await ask_for_a_large_list(server, writer, "Connection: keep-alive")
        await reader.readline()  # it has begun
        while not cut.is_set():
            loop_clock.advance(serve_module.STALLED_SECONDS)
            await asyncio.sleep(0.01)
        with pytest.raises((ConnectionError, ssl.SSLError, asyncio.IncompleteReadError)):
            await reader.readexactly(LARGE_OBJECTS * 900_000)
