"""Fetching over http and from files: boxes, pins, signatures, and servers that misbehave."""

import asyncio
import contextlib
import gzip
import hashlib
import ipaddress
import os
import ssl
import tracemalloc
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from prometheus_client import REGISTRY

from skerry.artifacts.errors import FetchError, SignatureError
from skerry.artifacts.fetching.fetcher import CodeFetcher
from skerry.artifacts.keep import ArtifactKeep
from skerry.testing.images import sign, tar_of
from skerry.testing.registry_process import write_certificate
from skerry.testing.scripted_server import (
    Script,
    endless,
    hang,
    reply,
    reply_in_full,
    reset,
    scripted_server,
)
from skerry.testing.wasm import proxy_wasm_module
from tests.contract.artifacts.conftest import MODULE, OpenFetcher, source

KEY = ed25519.Ed25519PrivateKey.generate()
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


@pytest.mark.parametrize(
    "body",
    [MODULE, gzip.compress(MODULE), tar_of("a", MODULE), gzip.compress(tar_of("a", MODULE))],
    ids=["plain", "gzip", "tar", "tar.gz"],
)
async def test_a_module_comes_over_http_whatever_its_box(body: bytes, fetcher: CodeFetcher, keep: ArtifactKeep) -> None:
    async with scripted_server({"/a.wasm": [reply(200, body)]}) as server:
        fetched = await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a.wasm?v=1"))
    assert await keep.read(fetched.digest) == MODULE
    assert server.paths() == ["/a.wasm?v=1"]


async def test_a_body_that_its_server_calls_encoded_is_a_box_like_any_other(fetcher: CodeFetcher) -> None:
    answer = reply(200, gzip.compress(MODULE), content_encoding="gzip")
    async with scripted_server({"/a.wasm": [answer]}) as server:
        assert (await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a.wasm"))).size_bytes == len(MODULE)


async def test_the_sha256_of_a_file_is_that_of_the_module_in_it(fetcher: CodeFetcher) -> None:
    right = hashlib.sha256(MODULE).hexdigest()
    async with scripted_server({"/a": [reply(200, gzip.compress(MODULE))]}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        assert (await fetcher.fetch(source(url, sha256=right))).digest.hexadecimal == right
        with pytest.raises(FetchError, match=f"has the sha256 {right}") as raised:
            await fetcher.fetch(source(url, sha256="ab" * 32))
        assert raised.value.reason == "DigestMismatch"


async def test_a_pinned_module_that_is_kept_is_not_downloaded(fetcher: CodeFetcher, keep: ArtifactKeep) -> None:
    digest = await keep.put(MODULE)
    async with scripted_server() as server:
        url = f"http://127.0.0.1:{server.port}/a"
        assert (await fetcher.fetch(source(url, sha256=digest.hexadecimal))).digest == digest
    assert server.seen == []


@pytest.mark.parametrize(
    ("failures", "requests"),
    [
        ([reply(500)], 2),
        ([reply(503), reply(502)], 3),
        ([reply(429)], 2),
        ([reset()], 2),
        ([reply_in_full(200, MODULE[:10], content_length=str(len(MODULE)))], 2),
        ([reply_in_full(200, b"x", content_length="not a number")], 2),
    ],
    ids=["500", "503, 502", "429", "reset", "shorter than its length", "no length"],
)
async def test_what_may_pass_is_tried_again(failures: list[Script], requests: int, fetcher: CodeFetcher) -> None:
    async with scripted_server({"/a": [*failures, reply(200, MODULE)]}) as server:
        assert await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))
    assert len(server.seen) == requests


@pytest.mark.parametrize(
    ("answer", "reason", "requests"),
    [
        (reply(404), "NotFound", 1),
        (reply(403), "Unauthorized", 1),
        (reply(401), "Unauthorized", 1),
        (reply(204), "DownloadFailed", 1),
        (reply(501), "DownloadFailed", 1),
        (reply(505), "DownloadFailed", 1),
        (reply(511), "DownloadFailed", 1),
        (reply(500), "DownloadFailed", 3),
        (reset(), "DownloadFailed", 3),
        (reply(200, b"<html>"), "NotWasm", 1),
        (reply(200, proxy_wasm_module(export="main")), "NotProxyWasm", 1),
    ],
    ids=["404", "403", "401", "204", "501", "505", "511", "500", "reset", "html", "no plugin"],
)
async def test_a_failure_is_told_and_only_what_may_pass_is_repeated(
    answer: Script, reason: str, requests: int, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    async with scripted_server({"/a": [answer]}) as server:
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))
    assert raised.value.reason == reason
    assert len(server.seen) == requests
    assert keep.statistics()["artifacts"] == 0


@pytest.mark.parametrize(
    "answer",
    [
        endless(),
        reply_in_full(200, b"", content_length=str(2**30)),
        reply(200, bytes(20_000)),
        reply(200, gzip.compress(b"\0asm" + bytes(2**20))),
    ],
    ids=["endless", "a length of 1 GB", "too long", "bomb"],
)
async def test_a_body_over_the_limit_is_refused(answer: Script, open_fetcher: OpenFetcher) -> None:
    fetcher = await open_fetcher(code_bytes_max=10_000)
    async with scripted_server({"/a": [answer]}) as server:
        with pytest.raises(FetchError, match="limit of 10000 bytes") as raised:
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))
    assert raised.value.reason == "TooLarge"


async def test_code_on_its_way_is_not_held_in_memory(open_fetcher: OpenFetcher) -> None:
    body, downloads, sent = bytes(4 * 1024 * 1024), 8, asyncio.Semaphore(0)

    async def all_but_the_last_byte(writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=0)
        writer.write(f"HTTP/1.1 200 x\r\ncontent-length: {len(body) + 1}\r\n\r\n".encode())
        writer.write(body)
        await writer.drain()
        sent.release()
        await asyncio.Event().wait()

    fetcher = await open_fetcher(per_host_max=downloads)
    paths = [f"/{number}" for number in range(downloads)]
    async with scripted_server({path: [all_but_the_last_byte] for path in paths}) as server:
        tracemalloc.start()
        tasks = [asyncio.ensure_future(fetcher.fetch(source(f"http://127.0.0.1:{server.port}{p}"))) for p in paths]
        for _ in tasks:
            await sent.acquire()
        held_bytes, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    assert held_bytes < 3 * len(body)


async def test_a_disk_that_takes_no_more_is_told(
    fetcher: CodeFetcher, keep: ArtifactKeep, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keep, "scratch", partial(Path("/dev/full").open, "w+b", buffering=0))
    async with scripted_server({"/a": [reply(200, MODULE)]}) as server:
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))
    assert raised.value.reason == "KeepFull"
    assert "can't be written to disk" in raised.value.public


async def test_a_server_that_hangs_is_given_up(open_fetcher: OpenFetcher) -> None:
    silent = await open_fetcher(idle_seconds_max=0.05, attempts_max=2)
    slow = await open_fetcher(fetch_seconds_max=0.1)
    async with scripted_server({"/a": [hang()]}) as server:
        url = f"http://127.0.0.1:{server.port}/a"
        for fetcher in (silent, slow):
            with pytest.raises(FetchError) as raised:
                await fetcher.fetch(source(url))
            assert raised.value.reason == "TimedOut"


async def test_a_host_that_hangs_leaves_room_for_others(fetcher: CodeFetcher) -> None:
    async with (
        scripted_server({f"/{n}": [hang()] for n in range(8)}) as slow,
        scripted_server({"/a": [reply(200, MODULE)]}) as quick,
        asyncio.TaskGroup() as group,
    ):
        stuck = [group.create_task(fetcher.fetch(source(f"http://127.0.0.1:{slow.port}/{n}"))) for n in range(8)]
        assert await fetcher.fetch(source(f"http://127.0.0.1:{quick.port}/a"))
        assert len(slow.seen) <= 2
        for task in stuck:
            task.cancel()


async def test_the_same_fetch_is_made_once_for_all_who_ask(fetcher: CodeFetcher) -> None:
    async with scripted_server({"/a": [reply(200, MODULE)]}) as server, asyncio.TaskGroup() as group:
        url = f"http://127.0.0.1:{server.port}/a"
        tasks = [group.create_task(fetcher.fetch(source(url))) for _ in range(20)]
    assert len({task.result().digest for task in tasks}) == 1
    assert len(server.seen) == 1


async def test_fetches_beyond_the_limit_of_those_that_wait_are_refused(open_fetcher: OpenFetcher) -> None:
    fetcher = await open_fetcher(waiting_max=1)
    async with scripted_server({"/a": [hang()]}) as server, asyncio.TaskGroup() as group:
        url = f"http://127.0.0.1:{server.port}"
        waiting = group.create_task(fetcher.fetch(source(f"{url}/a")))
        await server.asked.wait()
        with pytest.raises(FetchError, match="waiting already"):
            await fetcher.fetch(source(f"{url}/b"))
        waiting.cancel()


async def test_redirects_are_followed_to_their_bound(fetcher: CodeFetcher) -> None:
    scripts = {f"/{n}": [reply(302, location=f"/{n + 1}")] for n in range(10)}
    async with scripted_server(scripts | {"/5": [reply(200, MODULE)]}) as server:
        assert await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/0"))
    async with scripted_server(scripts) as server:
        with pytest.raises(FetchError, match="redirects more than 5 times"):
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/0"))


@pytest.mark.parametrize(
    ("location", "said"),
    [("ftp://h/a", "scheme ftp"), ("file:///etc/passwd", "scheme file"), ("http://169.254.169.254/a", "no address")],
)
async def test_a_redirect_to_where_nothing_may_be_fetched_is_refused(
    location: str, said: str, fetcher: CodeFetcher
) -> None:
    async with scripted_server({"/a": [reply(302, location=location)]}) as server:
        with pytest.raises(FetchError, match=said):
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))


async def test_a_blocked_network_is_not_fetched_from(open_fetcher: OpenFetcher) -> None:
    fetcher = await open_fetcher(blocked_networks=(ipaddress.ip_network("127.0.0.0/8"),))
    async with scripted_server({"/a": [reply(200, MODULE)]}) as server:
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a"))
    assert raised.value.reason == "EgressRefused"
    assert server.seen == []


async def test_tls_is_verified_and_never_left_by_a_redirect(open_fetcher: OpenFetcher, tmp_path: Path) -> None:
    write_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "ca.pem", tmp_path / "key.pem")
    trusting, unaware = await open_fetcher(ca_file=tmp_path / "ca.pem"), await open_fetcher()
    async with scripted_server({"/a": [reply(200, MODULE)]}) as plain:
        away = reply(302, location=f"http://127.0.0.1:{plain.port}/a")
        async with scripted_server({"/a": [reply(200, MODULE)], "/b": [away]}, tls=tls) as server:
            assert await trusting.fetch(source(f"https://localhost:{server.port}/a"))
            with pytest.raises(FetchError, match="from https to http"):
                await trusting.fetch(source(f"https://localhost:{server.port}/b"))
            with pytest.raises(FetchError, match="certificate"):
                await unaware.fetch(source(f"https://localhost:{server.port}/a"))


@pytest.mark.parametrize("path", ["/a.wasm", "/a.wasm?v=1"])
async def test_a_file_is_accepted_with_the_signature_beside_it(path: str, fetcher: CodeFetcher) -> None:
    body = gzip.compress(MODULE)
    scripts = {"/a.wasm": [reply(200, body)], "/a.wasm.sig": [reply(200, sign(KEY, body).encode())]}
    async with scripted_server(scripts) as server:
        assert await fetcher.fetch(source(f"http://127.0.0.1:{server.port}{path}", verification_key=PEM))


@pytest.mark.parametrize(
    "signature",
    [reply(404), reply(200, b"no signature"), reply(200, sign(KEY, b"other").encode()),
     reply(200, sign(ed25519.Ed25519PrivateKey.generate(), MODULE).encode())],
    ids=["missing", "damaged", "of another file", "of another key"],
)  # fmt: skip
async def test_a_file_that_is_not_signed_as_asked_is_not_kept(
    signature: Script, fetcher: CodeFetcher, keep: ArtifactKeep
) -> None:
    pinned = hashlib.sha256(MODULE).hexdigest()
    async with scripted_server({"/a": [reply(200, MODULE)], "/a.sig": [signature]}) as server:
        with pytest.raises(SignatureError):
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a", verification_key=PEM, sha256=pinned))
    assert keep.statistics()["artifacts"] == 0


async def test_a_file_of_this_machine_is_read_in_the_folders_allowed(open_fetcher: OpenFetcher, tmp_path: Path) -> None:
    allowed = tmp_path / "modules"
    allowed.mkdir()
    (allowed / "a.wasm").write_bytes(gzip.compress(MODULE))
    (tmp_path / "b.wasm").write_bytes(MODULE)
    (allowed / "link.wasm").symlink_to(tmp_path / "b.wasm")
    fetcher = await open_fetcher(file_dirs=(allowed,))
    assert (await fetcher.fetch(source(f"file://{allowed}/a.wasm"))).size_bytes == len(MODULE)
    for path in (tmp_path / "b.wasm", allowed / "link.wasm", allowed / ".." / "b.wasm"):
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"file://{path}"))
        assert raised.value.reason == "EgressRefused"
        assert "fetch_file_dirs" in raised.value.public


@pytest.mark.parametrize("name", ["a.wasm", "none.wasm"])
async def test_without_folders_no_file_is_read_nor_told_of(
    open_fetcher: OpenFetcher, tmp_path: Path, name: str
) -> None:
    (tmp_path / "a.wasm").write_bytes(MODULE)
    fetcher = await open_fetcher(file_dirs=())
    with pytest.raises(FetchError) as raised:
        await fetcher.fetch(source(f"file://{tmp_path}/{name}"))
    assert raised.value.reason == "EgressRefused"


async def test_what_is_no_readable_file_is_told(fetcher: CodeFetcher, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "none", tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(FetchError) as raised:
            await fetcher.fetch(source(f"file://{path}"))
        assert raised.value.reason == "NotFound"


async def test_a_signed_file_of_this_machine_is_accepted(fetcher: CodeFetcher, tmp_path: Path) -> None:
    (tmp_path / "a.wasm").write_bytes(MODULE)
    (tmp_path / "a.wasm.sig").write_text(sign(KEY, MODULE))
    assert await fetcher.fetch(source(f"file://{tmp_path}/a.wasm", verification_key=PEM))


@pytest.mark.parametrize(
    ("answer", "pin", "result"),
    [
        (reply(200, MODULE), "", "success"),
        (reply(200, MODULE), "ab" * 32, "checksum_mismatched"),
        (reply(404), "", "download_failure"),
        (reply(200, b"text"), "", "fetch_failure"),
    ],
)
async def test_fetches_are_counted_by_their_result(answer: Script, pin: str, result: str, fetcher: CodeFetcher) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("skerry_wasm_remote_fetch_count_total", {"result": result}) or 0.0

    before = count()
    async with scripted_server({"/a": [answer]}) as server:
        with contextlib.suppress(FetchError):
            await fetcher.fetch(source(f"http://127.0.0.1:{server.port}/a", sha256=pin))
    assert count() == before + 1
