"""Whatever comes over the wire is answered with a 4xx or cut off, changes nothing, and the server goes on.

Raw sockets on loopback: no client library would send most of this.
"""

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from skerry.server import http as http_module
from skerry.server import serve as serve_module
from skerry.testing.api_server import ApiServer, run_api_server

CONFIGS = "/api/v1/namespaces/default/configmaps"
CONFIG = b'{"metadata":{"name":"c"},"data":{"a":"1"}}'
PROTOBUF = "application/vnd.kubernetes.protobuf"
APPLY = "application/apply-patch+yaml"
#: How long a test waits for an answer or an end.
ANSWER_SECONDS_MAX = 60.0

Conversation = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ApiServer]:
    async with run_api_server(tmp_path_factory.mktemp("hostile")) as running:
        yield running


@pytest.fixture
async def unharmed(server: ApiServer) -> AsyncIterator[ApiServer]:
    """The server; what the test sent has changed nothing, and others are answered as before."""
    before = await server.log.revision()
    yield server
    assert await server.log.revision() == before
    status, body = await ask(server, head("GET", "/healthz"))
    assert (status, body) == (200, b"ok")


@asynccontextmanager
async def conversation(server: ApiServer) -> AsyncIterator[Conversation]:
    context = ssl.create_default_context(cafile=str(server.authority))
    reader, writer = await asyncio.open_connection(server.at.host, server.at.port, ssl=context)
    try:
        async with asyncio.timeout(ANSWER_SECONDS_MAX):
            yield reader, writer
    finally:
        writer.transport.abort()


def head(method: str, target: str, *headers: str, token: str = "") -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "host: skerry", *headers]
    if token:
        lines.append(f"authorization: Bearer {token}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def request(server: ApiServer, method: str, target: str, body: bytes, media_type: str = "application/json") -> bytes:
    headers = (f"content-type: {media_type}", f"content-length: {len(body)}")
    return head(method, target, *headers, token=server.token) + body


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """Read one answer; (0, b"") where the server hung up."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return 0, b""
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]), await reader.readexactly(int(headers.get("content-length", "0")))


async def ask(server: ApiServer, raw: bytes) -> tuple[int, bytes]:
    async with conversation(server) as (reader, writer):
        writer.write(raw)
        return await answer(reader)


async def refused(server: ApiServer, raw: bytes) -> dict[str, Any]:
    """Send a request; insist on a 4xx with a Status that says so."""
    status, body = await ask(server, raw)
    told: dict[str, Any] = orjson.loads(body)
    assert 400 <= status < 500, told
    assert (told["kind"], told["status"], told["code"]) == ("Status", "Failure", status)
    return told


def chunked(*lines: bytes) -> Callable[[ApiServer], bytes]:
    def make(server: ApiServer) -> bytes:
        start = head("POST", CONFIGS, "transfer-encoding: chunked", token=server.token)
        return start + b"".join(lines)

    return make


NESTED = {"[": b"[" * 3_000_000, "{": b'{"a":' * 600_000, "closed": b"[" * 1_500_000 + b"]" * 1_500_000}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"}",
        b"nul",
        b"[]",
        b'"a"',
        b"1",
        b"\0",
        b"{\0}",
        b"\xff\xfe",
        b'{"a":"\xff"}',
        b"\xef\xbb\xbf{}",
        b'{"metadata":NaN}',
        b'{"metadata":Infinity}',
        b'{"metadata":1e400}',
        b'{"metadata":1%s}' % (b"0" * 400),
        b'{"metadata":{"name":"\\ud800"}}',
        b'{"metadata":{"name":"\\u0000"}}',
        b'{"metadata":{"name":"c\0"}}',
        b'{"metadata":{"name":1e300}}',
        b'{"metadata":{"name":"c","generation":1e300}}',
        b'{"metadata":[]}',
        b'{"metadata":{"name":"c","labels":{"\\u0000":"x"}}}',
        b'{"metadata":{"name":"c"},"data":{"\\u0000":"x"}}',
        b'{"metadata":{"name":"c"},"data":{"a":1}}',
        b'{"metadata":{"name":"c"},"binaryData":{"a":"\\udfff"}}',
        b'{"metadata":{"name":"%s"}}' % (b"x" * 300),
        b'{"kind":{},"metadata":{"name":"c"}}',
        *NESTED.values(),
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_hostile_json(unharmed: ApiServer, body: bytes) -> None:
    await refused(unharmed, request(unharmed, "POST", CONFIGS, body))
    await refused(unharmed, request(unharmed, "PUT", f"{CONFIGS}/c", body))
    for patch in (
        "application/merge-patch+json",
        "application/json-patch+json",
        "application/strategic-merge-patch+json",
    ):
        await refused(unharmed, request(unharmed, "PATCH", f"{CONFIGS}/c", body, patch))


async def test_duplicate_keys_are_refused_where_the_caller_is_strict(unharmed: ApiServer) -> None:
    twice = b'{"metadata":{"name":"c","name":"d"}}'
    told = await refused(unharmed, request(unharmed, "POST", f"{CONFIGS}?fieldValidation=Strict", twice))
    assert 'duplicate field "metadata.name"' in told["message"]
    strict = f"{CONFIGS}/c?fieldManager=m&fieldValidation=Strict"
    body = b"apiVersion: v1\nkind: ConfigMap\ndata:\n  a: x\n  a: y\n"
    told = await refused(unharmed, request(unharmed, "PATCH", strict, body, APPLY))
    assert 'duplicate field "data.a"' in told["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"a: [",
        b"- a",
        b"a: &x 1\nb: *x",
        b"a: !!python/object:os.system {}",
        b"a: !!bool x",
        b'a: !!int ""',
        b"metadata: .nan",
        b"metadata: .inf",
        b"metadata: 1.0e+400",
        b"a: 1" + b"0" * 400,
        b"1: a",
        b"? [a]\n: b",
        b'metadata: "\\ud800"',
        b"a: \0",
        b"\xff",
        b"a: 1\n---\nb: 2",
        b"- " * 1000 + b"a",
        b"[" * 1000,
        b"a: [" + b"a," * 150_000 + b"]",
    ],
    ids=lambda body: repr(body[:40]),
)
async def test_hostile_yaml(unharmed: ApiServer, body: bytes) -> None:
    await refused(unharmed, request(unharmed, "POST", CONFIGS, body, "application/yaml"))
    await refused(unharmed, request(unharmed, "PATCH", f"{CONFIGS}/c?fieldManager=m", body, APPLY))


ENVELOPE = b"k8s\0\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"k8s",
        b"k8s\0",
        b"k8s\0\xff",
        b"k8s\0\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"k8s\0" + b"\xff" * 100,
        ENVELOPE,
        ENVELOPE + b"\x05\x0a",
        ENVELOPE + b"\x7f\x0a",
        ENVELOPE + b"\x02\x08\x01",
        ENVELOPE + b"\x03\x0a\x01\xff",
        ENVELOPE + b"\x0c\x0a" + b"\xff" * 10 + b"\x7f",
        ENVELOPE + b"\x01\x0b",
        b"{}",
    ],
    ids=repr,
)
async def test_hostile_protobuf(unharmed: ApiServer, body: bytes) -> None:
    await refused(unharmed, request(unharmed, "POST", CONFIGS, body, PROTOBUF))


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "gzip, gzip", "x"])
async def test_compressed_bodies_are_not_unpacked(unharmed: ApiServer, encoding: str) -> None:
    bomb = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    headers = (f"content-encoding: {encoding}", f"content-length: {len(bomb)}")
    told = await refused(unharmed, head("POST", CONFIGS, *headers, token=unharmed.token) + bomb)
    assert told["code"] == 415
    assert "send the body as it is" in told["message"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "limit=1e3",
        "limit=9" + "9" * 400,
        "limit=%00",
        "limit=%D9%A3",
        "continue=x",
        "continue=e30",
        "continue=%00",
        "continue=WzE4NDQ2NzQ0MDczNzA5NTUxNjE1LCJhIiwiYiJd",
        "continue=" + "W" * 4000,
        "continue=WzFlMzAwLCJhIiwiYiJd",
        "resourceVersion=x",
        "resourceVersion=-1",
        "resourceVersion=1.0",
        "resourceVersion=%E2%91%A0",
        "resourceVersion=" + "9" * 99,
        "resourceVersionMatch=x",
        "resourceVersionMatch=Exact",
        "labelSelector=%3D",
        "labelSelector=a%20in",
        "labelSelector=a,,b",
        "labelSelector=a%00",
        "labelSelector=(",
        "labelSelector=" + "a," * 5000 + "-",
        "fieldSelector=x",
        "fieldSelector=spec.x=1",
        "fieldSelector=a%5C",
        "watch=maybe",
        "watch=1&timeoutSeconds=x",
        "watch=1&timeoutSeconds=-1",
        "watch=1&timeoutSeconds=1e9",
        "watch=1&allowWatchBookmarks=x",
        "watch=1&sendInitialEvents=1",
        "watch=1&resourceVersion=x",
        "%ff=1",
        "a=%ff",
        "&".join(f"a{number}=1" for number in range(200)),
    ],
    ids=lambda query: query[:40],
)
async def test_bad_queries(unharmed: ApiServer, query: str) -> None:
    await refused(unharmed, head("GET", f"{CONFIGS}?{query}", token=unharmed.token))


@pytest.mark.parametrize(
    "query",
    [
        "dryRun=x",
        "fieldValidation=x",
        "fieldManager=" + "m" * 200,
        "fieldManager=%00",
        "fieldManager=%E2%80%8B",
        "force=x",
    ],
)
async def test_bad_options_of_writes(unharmed: ApiServer, query: str) -> None:
    body = b'{"apiVersion":"v1","kind":"ConfigMap"}'
    given = query if query.startswith("fieldManager") else f"fieldManager=m&{query}"
    await refused(unharmed, request(unharmed, "PATCH", f"{CONFIGS}/c?{given}", body, APPLY))


@pytest.mark.parametrize(
    "target",
    [
        "/api/v1/namespaces/default/configmaps/%00",
        "/api/v1/namespaces/%00/configmaps",
        "/%2f",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/api/v1/namespaces/default/configmaps/..",
        "/api/v1/../../healthz/x",
        "/api/v1/namespaces/default/configmaps/a%2fb",
        "/api/v1/namespaces/default/configmaps/%ff",
        "/api/v1/namespaces/default/configmaps/%ED%A0%80",
        "//api/v1",
        "/api//v1",
        "/api/v1/namespaces/default/configmaps/" + "x" * 20_000,
        "/api/v1/" + "a/" * 5000,
        "/nothing",
        "/api/v1/configmaps/c",
        "/apis/%20/v1",
        "/openapi/v3/..%2f..",
        "/api/v1/namespaces/default/configmaps/c/log",
        "/openapi/v4",
    ],
    ids=lambda target: target[:50],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
async def test_bad_paths(unharmed: ApiServer, target: str, method: str) -> None:
    raw = head("GET", target, token=unharmed.token)
    await refused(unharmed, raw if method == "GET" else request(unharmed, method, target, CONFIG))


@pytest.mark.parametrize(
    "raw",
    [
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"FOO / HTTP/1.1\r\n\r\n",
        b"GET  / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx y: z\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n: z\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9e9\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999999999999999999\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
        b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: gzip\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nhost: a\r\n\r\n",
        b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer \xff\xfe\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nauthorization: Bearer " + b"x" * 60_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 15_000,
        b"GET http:///x HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n folded\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[:50]),
)
async def test_what_is_hardly_http(unharmed: ApiServer, raw: bytes) -> None:
    status, _ = await ask(unharmed, raw)
    assert 400 <= status < 500


@pytest.mark.parametrize(
    "header",
    ["accept: x", "accept: application/json;as=Nonsense;g=meta.k8s.io;v=v1", "accept: text/html", "accept: \xff"],
)
async def test_answers_that_can_not_be_given(unharmed: ApiServer, header: str) -> None:
    assert (await refused(unharmed, head("GET", CONFIGS, header, token=unharmed.token)))["code"] == 406


@pytest.mark.parametrize(
    "header",
    ["audit-id: \xff", "user-agent: \xff\x80", "content-type: \xff", 'if-none-match: "\xff', "accept: */*;q=x"],
)
async def test_odd_headers_do_no_harm(unharmed: ApiServer, header: str) -> None:
    status, _ = await ask(unharmed, head("GET", "/api/v1/namespaces", header, token=unharmed.token))
    assert status == 200


@pytest.mark.parametrize(
    "media_type", ["text/plain", "x", "\xff", "application/json+x", "multipart/form-data; boundary=a"]
)
async def test_unknown_content_types(unharmed: ApiServer, media_type: str) -> None:
    assert (await refused(unharmed, request(unharmed, "POST", CONFIGS, CONFIG, media_type)))["code"] == 415


async def test_a_body_over_the_limit(unharmed: ApiServer) -> None:
    told = await refused(unharmed, request(unharmed, "POST", CONFIGS, b"x" * 4_000_000))
    assert (told["code"], told["message"]) == (413, "Request entity too large: limit is 3145728")


@pytest.mark.parametrize(
    "make",
    [
        chunked(b"2\r\n{}\r\nzz\r\n"),
        chunked(b"-1\r\n"),
        chunked(b"ffffffffffffffffff\r\n"),
        chunked(b"2\r\n{}x\r\n"),
        chunked(b"2\r\n{}\r\n0\r\nbad trailer\r\n\r\n"),
    ],
)
async def test_broken_chunks(unharmed: ApiServer, make: Callable[[ApiServer], bytes]) -> None:
    status, _ = await ask(unharmed, make(unharmed))
    assert 400 <= status < 500


def over(server: ApiServer, cut: int) -> bytes:
    return request(server, "POST", CONFIGS, CONFIG)[:-cut]


@pytest.mark.parametrize("cut", [1, len(CONFIG), len(CONFIG) + 4, len(CONFIG) + 60])
async def test_a_request_that_breaks_off_is_not_done(unharmed: ApiServer, cut: int) -> None:
    async with conversation(unharmed) as (_, writer):
        writer.write(over(unharmed, cut))
        await writer.drain()
    await refused(unharmed, head("GET", f"{CONFIGS}/c", token=unharmed.token))


async def cut_off(reader: asyncio.StreamReader, keep_busy: Callable[[], Awaitable[None]]) -> None:
    """Wait for the end of a connection whose client goes on as it does."""
    reading = asyncio.ensure_future(reader.read())
    while not reading.done():
        await keep_busy()
        await asyncio.wait([reading], timeout=0.01)
    assert reading.exception() is None or isinstance(reading.exception(), ConnectionError)


async def test_a_body_that_never_ends_is_a_408_within_its_time(unharmed: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_module, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(serve_module, "LINGER_SECONDS", 0.05)
    async with conversation(unharmed) as (reader, writer):
        writer.write(over(unharmed, 10))
        status, body = await answer(reader)
        assert (status, orjson.loads(body)["reason"]) == (408, "RequestTimeout")
        assert await reader.read() == b""  # and the connection ends


async def test_a_body_that_trickles_is_cut_off(unharmed: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(http_module, "BODY_SECONDS", 0.05)
    monkeypatch.setattr(serve_module, "LINGER_SECONDS", 0.05)
    async with conversation(unharmed) as (reader, writer):
        writer.write(head("POST", CONFIGS, "transfer-encoding: chunked", token=unharmed.token))
        status, _ = await trickled(reader, writer)
        assert status == 408

        async def trickle() -> None:
            writer.write(b"1\r\n{\r\n")

        await cut_off(reader, trickle)


async def trickled(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> tuple[int, bytes]:
    """Send a byte now and then until there is an answer."""
    reading = asyncio.ensure_future(answer(reader))
    while not reading.done():
        writer.write(b"1\r\n{\r\n")
        await asyncio.wait([reading], timeout=0.01)
    return reading.result()


async def test_a_refused_request_that_goes_on_is_cut_off(unharmed: ApiServer, monkeypatch: Any) -> None:
    monkeypatch.setattr(serve_module, "LINGER_SECONDS", 0.05)
    async with conversation(unharmed) as (reader, writer):
        writer.write(head("POST", CONFIGS, "transfer-encoding: chunked"))  # nobody's: its body is not waited for
        status, _ = await answer(reader)
        assert status == 401

        async def trickle() -> None:
            writer.write(b"1\r\n{\r\n")

        await cut_off(reader, trickle)


async def test_a_refused_request_that_ends_in_time_keeps_its_connection(unharmed: ApiServer) -> None:
    async with conversation(unharmed) as (reader, writer):
        writer.write(head("POST", CONFIGS, "content-length: 4"))
        assert (await answer(reader))[0] == 401
        writer.write(b"true" + head("GET", "/healthz"))
        assert await answer(reader) == (200, b"ok")


async def test_empty_lines_between_requests_do_not_keep_a_connection(unharmed: ApiServer, monkeypatch: Any) -> None:
    async with conversation(unharmed) as (reader, writer):
        writer.write(head("GET", "/healthz"))
        assert await answer(reader) == (200, b"ok")
        monkeypatch.setattr(serve_module, "HEAD_SECONDS", 0.05)
        writer.write(b"\r\n")
        assert await reader.read() == b""
