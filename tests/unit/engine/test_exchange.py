"""The exchange of a function that streams, with a peer whose sockets are lists."""

import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from skerry.engine.errors import CallError, FailureKind
from skerry.engine.exchange import SENT_TOGETHER_BYTES, Exchange, PeerGoneError
from skerry.engine.http1 import Request, RequestError
from skerry.engine.manifest import FunctionManifest

MANIFEST = FunctionManifest(revision="f-1", function="f", artifact=Path("/x"), timeout_seconds=5)
HEAD = b"content-type: text/plain\r\n"


class Peer:
    """Sends what it was given to a request, and keeps what it is sent."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.coming: deque[bytes | OSError] = deque()
        self.sent = b""
        self.is_full = False
        self.is_abandoned = False
        self.readable, self._writable = os.pipe()

    def receive(self) -> None:
        if self.coming:
            piece = self.coming.popleft()
            if isinstance(piece, OSError):
                raise piece
            self.request.pieces.append(piece)
            self.request.is_whole = not self.coming

    def send(self, data: bytes) -> None:
        self.sent += data

    def flush_now(self) -> bool:
        return not self.is_full

    def fileno(self) -> int:
        return self.readable

    def abandon(self) -> None:
        self.is_abandoned = True

    def close(self) -> None:
        os.close(self.readable)
        os.close(self._writable)


@pytest.fixture
def request_() -> Request:
    request = Request()
    request.method, request.is_whole = b"POST", False
    return request


@pytest.fixture
def peer(request_: Request) -> Iterator[Peer]:
    peer = Peer(request_)
    yield peer
    peer.close()


@pytest.fixture
def exchange(request_: Request, peer: Peer) -> Exchange:
    return Exchange(request_, peer, MANIFEST, lambda: None)


def test_a_body_is_read_piece_by_piece_and_no_further_than_asked(exchange: Exchange, peer: Peer):
    peer.coming += (b"onetwo", b"three")
    assert (exchange.take(3), exchange.take(99), len(peer.coming)) == (b"one", b"two", 1)
    assert not exchange.has_ended
    assert exchange.take(99) == b"three"
    assert exchange.has_ended


def test_a_body_whose_sender_goes_is_not_whole(exchange: Exchange, peer: Peer):
    peer.coming += (b"one", ConnectionResetError())
    assert exchange.take(99) == b"one"
    with pytest.raises(PeerGoneError):
        exchange.take(99)


def test_a_body_that_turns_out_too_large_says_so(exchange: Exchange, request_: Request):
    request_.error = RequestError(413, FailureKind.BODY_TOO_LARGE, "too large")
    with pytest.raises(RequestError, match="too large"):
        exchange.take(99)


def test_a_body_is_collected_for_those_who_want_it_whole(exchange: Exchange, peer: Peer, request_: Request):
    peer.coming += (b"one", b"two", b"three")
    exchange.collect()
    assert request_.body == b"onetwothree"


def test_a_short_answer_is_sent_at_once_with_its_length(exchange: Exchange, peer: Peer):
    exchange.begin(200, HEAD)
    exchange.write(b"one")
    exchange.write(b"two")
    assert peer.sent == b""
    exchange.finish()
    assert peer.sent == b"HTTP/1.1 200 OK\r\n" + HEAD + b"content-length: 6\r\n\r\nonetwo"
    assert exchange.is_answered


def test_an_answer_that_waits_is_sent_in_chunks(exchange: Exchange, peer: Peer):
    exchange.begin(200, HEAD)
    exchange.write(b"one")
    exchange.flush()
    exchange.write(b"two")
    exchange.finish()
    chunks = b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
    assert peer.sent == b"HTTP/1.1 200 OK\r\n" + HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunks


def test_enough_of_an_answer_is_sent_without_a_wait(exchange: Exchange, peer: Peer):
    exchange.begin(200, b"")
    exchange.write(bytes(SENT_TOGETHER_BYTES))
    assert exchange.has_begun
    assert len(peer.sent) > SENT_TOGETHER_BYTES


@pytest.mark.parametrize(("method", "status"), [(b"HEAD", 200), (b"GET", 204), (b"GET", 304)])
def test_what_has_no_body_sends_none(exchange: Exchange, peer: Peer, request_: Request, method: bytes, status: int):
    request_.method = method
    exchange.begin(status, b"")
    exchange.write(bytes(SENT_TOGETHER_BYTES))
    exchange.finish()
    assert peer.sent.endswith(b"\r\n\r\n")
    assert len(peer.sent) < SENT_TOGETHER_BYTES


def test_a_peer_that_takes_nothing_ends_the_exchange(request_: Request, peer: Peer):
    exchange = Exchange(request_, peer, replace(MANIFEST, timeout_seconds=0.01), lambda: None)
    exchange.begin(200, b"")
    peer.is_full = True
    with pytest.raises(PeerGoneError):
        exchange.write(bytes(SENT_TOGETHER_BYTES))


def test_an_answer_has_a_limit(request_: Request, peer: Peer):
    exchange = Exchange(request_, peer, replace(MANIFEST, response_body_bytes_max=10), lambda: None)
    exchange.begin(200, b"")
    exchange.write(bytes(10))
    with pytest.raises(CallError, match="responseBody"):
        exchange.write(b"x")


@pytest.mark.parametrize(("status", "head"), [(199, b""), (1000, b""), (200, b"a b: c\r\n"), (200, b"a: b\r\n\r\n")])
def test_an_answer_that_is_not_http_is_refused(exchange: Exchange, status: int, head: bytes):
    with pytest.raises(CallError):
        exchange.begin(status, head)


def test_an_answer_that_is_given_up_ends_the_connection(exchange: Exchange, peer: Peer, request_: Request):
    exchange.abort()
    assert peer.is_abandoned
    assert not request_.keep_alive
