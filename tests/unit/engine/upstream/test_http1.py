"""Upstreams that are slow, hang, reset and lie: a TypeError for the function, and nothing for the next request."""

import gzip
import os
import socket
import struct
import threading
import zlib
from typing import TYPE_CHECKING

import brotli
import pytest
import zstandard

from skerry.engine.fetching import EventKind
from skerry.engine.upstream.limits import FetchLimits
from tests.unit.engine.upstream.conftest import Function, read_request, saying

if TYPE_CHECKING:
    from tests.unit.engine.upstream.conftest import Lab

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"


def test_interim_responses_are_passed_over(lab: "Lab"):
    upstream = lab.upstream(saying(b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n" + OK))
    done = lab.function().fetch(upstream.url)
    assert (done.status, done.body, done.header("link")) == (200, b"ok", None)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 900\r\n\r\n",
        CHUNKED + b"\r\n1\r\no\r\n1\r\nk\r\n0\r\ntrailer: t\r\n\r\n",
        OK,
    ],
)
def test_a_connection_is_used_again_after_each_way_to_end_a_response(lab: "Lab", answer: bytes):
    upstream, function = lab.upstream(saying(answer, OK)), lab.function()
    assert function.fetch(upstream.url).problem == ""
    assert function.fetch(upstream.url).body == b"ok"
    assert upstream.connections == 1


def test_a_head_request_has_the_length_and_no_body_and_its_connection_is_used_again(lab: "Lab"):
    upstream, function = lab.upstream(saying(OK.removesuffix(b"ok"), OK)), lab.function()
    done = function.fetch(upstream.url, b"", "HEAD")
    assert (done.body, done.header("content-length")) == (b"", "2")
    assert function.fetch(upstream.url).body == b"ok"
    assert upstream.connections == 1


def test_a_body_without_a_length_ends_with_the_connection(lab: "Lab"):
    upstream = lab.upstream(saying(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 200_000))
    assert lab.function().fetch(upstream.url).body == b"x" * 200_000


def test_a_large_body_comes_in_pieces_and_leaves_the_connection(lab: "Lab"):
    body = os.urandom(300_000)
    upstream = lab.upstream(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + body, OK))
    function = lab.function()
    done = function.fetch(upstream.url)
    assert (done.body, done.kinds[0], done.kinds[-1]) == (body, EventKind.HEAD, EventKind.END)
    assert function.fetch(upstream.url).body == b"ok"
    assert upstream.connections == 1


def test_an_upstream_may_answer_while_it_reads(lab: "Lab"):
    """An echo that sends each piece back at once: who sends all before they read would wait for ever."""
    size = 8 * 1024 * 1024

    def echo(sock: socket.socket) -> None:
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(65536)
        rest = data.partition(b"\r\n\r\n")[2]
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + rest)
        left = size - len(rest)
        while left:
            piece = sock.recv(65536)
            sock.sendall(piece)
            left -= len(piece)

    body = os.urandom(size)
    assert lab.function().fetch(lab.upstream(echo).url, body).body == body


def test_an_answer_before_the_request_was_read_is_an_answer(lab: "Lab"):
    def refuse(sock: socket.socket) -> None:
        sock.recv(1000)
        sock.sendall(b"HTTP/1.1 413 Too Large\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
        sock.shutdown(socket.SHUT_WR)
        while sock.recv(65536):
            pass

    done = lab.function().fetch(lab.upstream(refuse).url, b"x" * 20_000_000)
    assert (done.status, done.body) == (413, b"no")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort", "before its response was complete"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\nok", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", "not HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok", "not HTTP/1.1"),
        (CHUNKED + b"\r\nxyz\r\nok", "not HTTP/1.1"),
        (CHUNKED + b"\r\n5\r\nshort", "before its response was complete"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "another protocol"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100, "interim responses"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 1000 + b"\r\n", "200 headers"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 100_000 + b"\r\n\r\n", "bytes of them"),
        (b"", "before its response was complete"),
    ],
)
def test_what_is_no_response_is_an_error_that_says_so(lab: "Lab", answer: bytes, problem: str):
    function = lab.function()
    assert problem in function.fetch(lab.upstream(saying(answer)).url).problem
    assert function.fetch(lab.upstream(saying(OK)).url).body == b"ok"


@pytest.mark.parametrize(
    "begin",
    [
        b"HTTP/1.1 200 ",
        b"HTTP/1.1 200 OK\r\nx: ",
        b"HTTP/1.1 200 OK\r\nx",
        CHUNKED + b"\r\n2\r\nok\r\n0\r\nx: ",
        CHUNKED + b"\r\n2;x=",
    ],
    ids=["reason", "value", "name", "trailer", "extension"],
)
def test_what_an_upstream_says_beside_a_body_is_bounded_though_no_line_of_it_ends(lab: "Lab", begin: bytes):
    sent = []

    def say_on(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(begin)
        for _ in range(1_000):
            sock.sendall(b"a" * 65536)
            sent.append(65536)

    assert "bytes of them" in lab.function().fetch(lab.upstream(say_on).url).problem
    assert sum(sent) < 32 * 1024 * 1024  # the system's own buffers take some


def test_what_follows_a_response_is_nobodys_answer(lab: "Lab"):
    poison = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison"
    upstream, function = lab.upstream(saying(OK + poison)), lab.function()
    assert [function.fetch(upstream.url).body for _ in range(3)] == [b"ok"] * 3
    assert upstream.connections == 3


def test_what_comes_between_two_requests_ends_the_connection(lab: "Lab"):
    said = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(OK)
        sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
        said.set()

    upstream, function = lab.upstream(serve), lab.function()
    assert function.fetch(upstream.url).body == b"ok"
    assert said.wait(60)
    assert function.fetch(upstream.url).body == b"ok"


def reset_the_second(sock: socket.socket) -> None:
    read_request(sock)
    sock.sendall(OK)
    if read_request(sock):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close sends a reset


@pytest.mark.parametrize(("method", "expected"), [("GET", b"ok"), ("PUT", b"ok"), ("POST", b"")])
def test_a_request_that_met_a_kept_connections_end_is_repeated_where_that_does_no_harm(
    lab: "Lab", method: str, expected: bytes
):
    upstream, function = lab.upstream(reset_the_second), lab.function()
    assert function.fetch(upstream.url).body == b"ok"
    done = function.fetch(upstream.url, b"" if method == "GET" else b"b", method)
    assert done.body == expected
    assert expected or "without an answer" in done.problem


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nab"])
def test_an_upstream_that_hangs_is_given_up(lab: "Lab", part: bytes):
    released = threading.Event()

    def hang(sock: socket.socket) -> None:
        read_request(sock)
        sock.sendall(part)
        released.wait(60)

    limits = FetchLimits(head_seconds_max=0.05, idle_seconds_max=0.05)
    done = lab.function(limits=limits).fetch(lab.upstream(hang).url)
    released.set()
    assert "took too long" in done.problem


def test_a_function_that_cancels_gives_the_place_back(lab: "Lab"):
    gone = threading.Event()

    def serve(sock: socket.socket) -> None:
        read_request(sock)
        if not sock.recv(1):
            gone.set()

    fetcher = lab.fetcher()
    function = Function(fetcher)
    number = function.start(lab.upstream(serve).url)
    assert fetcher.statistics()["fetch_connections"] == 1
    function.subrequests.cancel(number)
    assert gone.wait(60)
    assert fetcher.statistics()["fetch_connections"] == 0


ZSTD = zstandard.ZstdCompressor().compress
CODINGS = {"gzip": gzip.compress, "deflate": zlib.compress, "br": brotli.compress, "zstd": ZSTD,
           "gzip, br": lambda data: brotli.compress(gzip.compress(data)),
           "identity": bytes}  # fmt: skip


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("size", [0, 10, 3_000_000])
def test_content_codings_are_undone_in_bounded_pieces(lab: "Lab", coding: str, size: int):
    data = b"0123456789" * (size // 10)
    packed = CODINGS[coding](data)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (coding.encode(), len(packed))
    function = lab.function()
    number = function.start(lab.upstream(saying(head + packed)).url)
    pieces = []
    for event in iter(function.next_event, None):
        pieces.append(event.data)
        if event.kind in {EventKind.WHOLE, EventKind.END}:
            break
        assert event.kind is not EventKind.FAILED, event.text
        function.subrequests.read(number)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) <= 2 * 65_536


def test_deflate_without_zlibs_head_is_undone_too(lab: "Lab"):
    raw = zlib.compressobj(wbits=-15)
    packed = raw.compress(b"hello") + raw.flush()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: %d\r\n\r\n" % len(packed)
    assert lab.function().fetch(lab.upstream(saying(head + packed)).url).body == b"hello"


@pytest.mark.parametrize(
    ("coding", "sent"),
    [
        *((each, CODINGS[each](b"01234" * 100)[:-5]) for each in ("gzip", "deflate", "br")),
        *((each, b"\x1f\x8bgarbage") for each in ("gzip", "deflate", "br", "zstd")),
    ],
)
def test_a_damaged_coding_is_an_error(lab: "Lab", coding: str, sent: bytes):
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n" % (coding.encode(), len(sent))
    assert "pack" in (problem := lab.function().fetch(lab.upstream(saying(head + sent)).url).problem) or (
        "compression" in problem
    )


def test_an_unknown_coding_is_left_to_the_function(lab: "Lab"):
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: compress\r\ncontent-length: 2\r\n\r\nok"
    done = lab.function().fetch(lab.upstream(saying(head)).url)
    assert (done.body, done.header("content-encoding")) == (b"ok", "compress")


def test_a_bomb_of_bombs_ends_at_the_limit_of_a_body(lab: "Lab"):
    packed = gzip.compress(gzip.compress(b"\0" * 50_000_000))
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip, gzip\r\ncontent-length: %d\r\n\r\n" % len(packed)
    function = lab.function(limits=FetchLimits(body_bytes_max=1_000_000))
    assert "larger than 1000000 bytes" in function.fetch(lab.upstream(saying(head + packed)).url).problem


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["GET", "http://a.test/", "x\r\ny", "z"], "not HTTP"),
        (["GET", "http://a.test/", "x", "y\r\nz: 1"], "not HTTP"),
        (["GET", "http://a.test/\r\nHost: b", "x", "y"], "not one that HTTP"),
        (["GET /x HTTP/1.1\r\nA:", "http://a.test/"], "only http"),
        (["CONNECT", "http://a.test/"], "can't be fetched with"),
        (["GET", "http://user:pass@a.test/"], "not one that HTTP"),
        (["GET", "http://a.test:99999/"], "no port"),
        (["GET", "ftp://a.test/"], "only http: and https:"),
        (["GET", "http:///x"], "not one that HTTP"),
        (["GET", "http://a.test/", *["n", "v"] * 300], "200 headers"),
    ],
)
def test_a_request_that_a_functions_code_wrote_by_itself_is_checked(lab: "Lab", lines: list[str], problem: str):
    function = lab.function()
    number = function.subrequests.start("\n".join(lines).encode(), b"")
    assert problem in function.finish(number).problem
