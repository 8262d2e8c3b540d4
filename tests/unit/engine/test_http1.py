"""Requests are fed whole and byte by byte."""

import json

import pytest

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.http1 import (
    CONTINUE,
    ERROR_MESSAGE_CHARACTERS_MAX,
    HEADER_BYTES_MAX,
    JOINED_BODY_BYTES_MAX,
    KEPT_HEAD_BYTES_MAX,
    REPLY_HEADER_BYTES_MAX,
    REPLY_HEADERS_MAX,
    TARGET_BYTES_MAX,
    Request,
    RequestError,
    RequestReader,
    checked_head,
    error_bytes,
    response_bytes,
    response_parts,
)


@pytest.fixture
def reader() -> RequestReader:
    return RequestReader(lambda _revision: 1000, lambda revision: revision == "streaming-1", idle_seconds_max=1.0)


def received(reader: RequestReader, data: bytes, *, step: int | None = None) -> Request:
    size = step or len(data)
    for start in range(0, len(data), size):
        assert not reader.requests
        reader.feed(data[start : start + size])
    return reader.requests.popleft()


GET = (
    b"GET /a?b=%20c HTTP/1.1\r\nHost: hello.test:8080\r\nX-Skerry-Revision: hello-1\r\nX-Skerry-Admin: yes\r\n"
    b"Connection: keep-alive\r\nX-Forwarded-Proto: https\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n"
)
CHUNKED = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"


def test_the_function_sees_the_url_and_headers_but_not_ours(reader: RequestReader):
    request = received(reader, GET)
    assert request.revision == "hello-1"
    assert request.head_lines().split(b"\n") == [
        b"GET",
        b"https://hello.test:8080/a?b=%20c",
        *(b"host", b"hello.test:8080"),
        *(b"x-forwarded-proto", b"https"),
        *(b"cookie", b"a=1"),
        *(b"cookie", b"b=2"),
    ]
    assert request.keep_alive


@pytest.mark.parametrize("step", [1, 7, None])
def test_a_chunked_body_is_whole_however_it_arrives(reader: RequestReader, step: int | None):
    assert received(reader, CHUNKED, step=step).body == b"abcde"


def test_pipelined_requests_come_out_in_order(reader: RequestReader):
    reader.feed(CHUNKED + GET + GET.replace(b"hello-1", b"hello-2"))
    seen = [(request.method, request.revision, request.body) for request in reader.requests]
    assert seen == [(b"POST", None, b"abcde"), (b"GET", "hello-1", b""), (b"GET", "hello-2", b"")]


def test_a_request_before_a_broken_one_is_still_answered(reader: RequestReader):
    reader.feed(GET + b"not http at all\r\n\r\n")
    assert len(reader.requests) == 1
    assert "HTTP" in str(reader.error)


def test_a_client_that_asks_whether_to_go_on_is_told_so(reader: RequestReader):
    reader.feed(b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\nexpect: 100-continue\r\n\r\n")
    assert reader.prompt() == CONTINUE
    request = received(reader, b"abc")
    assert reader.prompt() == b""
    assert request.body == b"abc"
    assert b"expect" not in request.head_lines()


@pytest.mark.parametrize(
    ("data", "status", "kind"),
    [
        (b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1001\r\n\r\n", 413, FailureKind.BODY_TOO_LARGE),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3e9\r\n" + b"x" * 1001,
            413,
            FailureKind.BODY_TOO_LARGE,
        ),
        (b"GET /" + b"x" * TARGET_BYTES_MAX + b" HTTP/1.1\r\n", 414, FailureKind.BAD_REQUEST),
        (
            b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * HEADER_BYTES_MAX + b"\r\n\r\n",
            431,
            FailureKind.BAD_REQUEST,
        ),
        (b"GET / HTTP/1.1\r\nhost: a\r\n" + b"x: y\r\n" * 201 + b"\r\n", 431, FailureKind.BAD_REQUEST),
        (
            b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            FailureKind.BAD_REQUEST,
        ),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: a\r\n b\r\n\r\n", 400, FailureKind.BAD_REQUEST),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx: a\x00b\r\n\r\n", 400, FailureKind.BAD_REQUEST),
        (b"\x16\x03\x01\x02\x00", 400, FailureKind.BAD_REQUEST),
    ],
)
def test_a_request_over_a_limit_or_against_the_grammar_is_refused(
    reader: RequestReader, data: bytes, status: int, kind: FailureKind
):
    reader.feed(data)
    assert not reader.requests
    assert reader.error is not None
    assert (reader.error.status, reader.error.kind) == (status, kind)


IN_CHUNKS = b"POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "begin",
    [b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\nx", IN_CHUNKS + b"1\r\na\r\n0\r\nx: ", IN_CHUNKS + b"1;x="],
    ids=["value", "name", "trailer", "extension"],
)
def test_what_a_peer_says_beside_a_body_is_bounded_though_no_line_of_it_ends(reader: RequestReader, begin: bytes):
    reader.feed(begin)
    for _ in range(8):
        assert reader.error is None or reader.error.status == 431
        reader.feed(b"a" * 65536)
    assert reader.error is not None
    assert not reader.requests


def test_trailers_are_no_headers(reader: RequestReader):
    request = received(reader, IN_CHUNKS + b"1\r\na\r\n0\r\nx-skerry-revision: b-1\r\nx: y\r\n\r\n")
    assert (request.revision, request.headers, request.body) == (None, [b"host", b"a"], b"a")


UPGRADE = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: %s\r\n\r\n\x01\x02"


def test_an_upgrade_is_answered_as_a_plain_request_that_ends_the_connection(reader: RequestReader):
    request = received(reader, UPGRADE % b"h2c")
    assert not request.keep_alive
    assert request.head_lines().startswith(b"GET\nhttp://a/")


def test_a_websocket_is_refused(reader: RequestReader):
    request = received(reader, UPGRADE % b"WebSocket")
    with pytest.raises(RequestError, match="no WebSocket connections") as told:
        request.head_lines()
    assert (told.value.status, told.value.kind) == (501, FailureKind.NOT_IMPLEMENTED)


@pytest.mark.parametrize("host", [b"", b"a b", b"a/b", b"a@b", b"a?b"])
def test_a_host_that_would_change_the_url_is_refused(reader: RequestReader, host: bytes):
    request = received(reader, b"GET / HTTP/1.1\r\nhost: " + host + b"\r\n\r\n")
    with pytest.raises(RequestError, match="Host"):
        request.head_lines()


@pytest.mark.parametrize(
    "head",
    [
        b"a: b\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"a: b\nc: d\r\n",
        b"a b: c\r\n",
        "a: 🦀\r\n".encode(),
        b"a: \xff\xfe\r\n",
    ],
)
def test_nothing_that_a_function_writes_can_end_its_response_early(head: bytes):
    with pytest.raises(CallError, match="not HTTP") as failed:
        checked_head(head)
    assert failed.value.kind is FailureKind.BAD_RESPONSE


@pytest.mark.parametrize(
    "head", [b"a: b\r\n" * REPLY_HEADERS_MAX, b"a: " + b"b" * (REPLY_HEADER_BYTES_MAX - 5) + b"\r\n"]
)
def test_a_response_with_more_headers_than_the_limit_is_refused_with_a_sentence(head: bytes):
    assert checked_head(head) == head
    with pytest.raises(CallError, match="over 100 headers or 61440 bytes") as failed:
        checked_head(head + b"c: d\r\n")
    assert failed.value.kind is FailureKind.BAD_RESPONSE


def test_length_connection_and_our_own_headers_of_a_function_are_dropped():
    head = b"content-length: 1\r\na: b\r\nTransfer-Encoding: chunked\r\nconnection: close\r\nx-skerry-error: none\r\n"
    assert checked_head(head) == b"a: b\r\n"
    assert checked_head("a: é\r\n".encode()) == b"a: \xe9\r\n"


def test_the_body_of_a_response_to_head_is_only_measured():
    request = Request()
    request.method = b"HEAD"
    assert (
        response_bytes(request, 200, b"a: b\r\n", b"12345") == b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: 5\r\n\r\n"
    )


def test_a_status_without_a_body_has_no_length():
    assert response_bytes(Request(), 204, b"", b"") == b"HTTP/1.1 204 No Content\r\n\r\n"


def test_reset_content_has_no_body_and_says_so():
    expected = b"HTTP/1.1 205 Reset Content\r\ncontent-length: 0\r\n\r\n"
    assert response_bytes(Request(), 205, b"", b"ignored") == expected


@pytest.mark.parametrize("length", [0, JOINED_BODY_BYTES_MAX, JOINED_BODY_BYTES_MAX + 1])
def test_the_parts_of_a_response_are_the_response(length: int):
    parts = response_parts(Request(), 200, b"a: b\r\n", bytes(length))
    expected = b"HTTP/1.1 200 OK\r\na: b\r\ncontent-length: %d\r\n\r\n" % length
    assert b"".join(parts) == expected + bytes(length)


def test_a_large_body_is_not_copied_behind_its_head():
    body = bytes(JOINED_BODY_BYTES_MAX + 1)
    assert response_parts(Request(), 200, b"", body)[-1] is body


@pytest.mark.parametrize("value", [b"b", b"b" * KEPT_HEAD_BYTES_MAX])
def test_a_head_is_checked_each_time(value: bytes):
    for _ in range(2):
        assert checked_head(b"a: %b\r\nte: c\r\n" % value) == b"a: %b\r\n" % value
        with pytest.raises(CallError):
            checked_head(b"a: %b\nte: c\r\n" % value)


def test_an_answer_to_what_could_not_be_read_ends_the_connection():
    answer = error_bytes(None, 413, FailureKind.BODY_TOO_LARGE, "too big")
    assert b"\r\nconnection: close\r\n" in answer
    assert b"\r\nx-skerry-error: body-too-large\r\n" in answer
    assert answer.endswith(b'{"error":"body-too-large","message":"too big"}')


def test_a_message_over_the_limit_is_cut_and_shows_it():
    def told(message: str) -> str:
        body = error_bytes(None, 500, FailureKind.EXCEPTION, message).partition(b"\r\n\r\n")[2]
        return str(json.loads(body)["message"])

    limit = ERROR_MESSAGE_CHARACTERS_MAX
    assert told("é" * limit) == "é" * limit
    assert told("é" * (limit + 1)) == "é" * (limit - 1) + "…"


STREAMED = b"POST / HTTP/1.1\r\nhost: a\r\nx-skerry-revision: streaming-1\r\ntransfer-encoding: chunked\r\n\r\n"


def test_a_request_that_is_streamed_comes_before_its_body(reader: RequestReader):
    reader.feed(STREAMED)
    request = reader.requests.popleft()
    assert not request.is_whole
    assert reader.is_within_body
    reader.feed(b"3\r\nabc\r\n")
    assert list(request.pieces) == [b"abc"]
    reader.feed(b"0\r\n\r\n" + GET)
    assert request.is_whole
    assert [each.target for each in reader.requests] == [b"/a?b=%20c"]


def test_a_streamed_body_over_the_limit_is_told_to_who_reads_it(reader: RequestReader):
    reader.feed(STREAMED)
    request = reader.requests.popleft()
    reader.feed(b"3e9\r\n%b" % bytes(1001))
    assert request.error is not None
    assert request.error.status == 413
