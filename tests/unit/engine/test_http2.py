"""gRPC over HTTP/2, as the node's Envoy speaks it: one stream at a time."""

import struct

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, Event, ResponseReceived, StreamEnded, TrailersReceived
from hypothesis import given
from hypothesis import strategies as st

from skerry.engine.http2 import LEAVE_SECONDS_MAX, MESSAGE_BYTES_MAX, PREFACE, Stream, StreamReader

GOAWAY = 7
PATH = [(":method", "POST"), (":scheme", "http"), (":authority", "e"), (":path", "/p"), ("x-of", "hello")]


def no_exchange(_data: bytes, _deadline_ns: int) -> bytes:
    raise AssertionError("nobody waits here")


def framed(message: bytes) -> bytes:
    return struct.pack(">BI", 0, len(message)) + message


class Peer:
    """A library's HTTP/2 on the other side."""

    def __init__(self) -> None:
        self.reader = StreamReader(no_exchange)
        self.http2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self.http2.initiate_connection()
        self.events: list[Event] = []

    def begin(self, *messages: bytes, end: bool = False) -> int:
        number = self.http2.get_next_available_stream_id()
        self.http2.send_headers(number, PATH, end_stream=end and not messages)
        for message in messages:
            self.http2.send_data(number, framed(message), end_stream=end)
        return number

    def flush(self) -> None:
        self.reader.feed(self.http2.data_to_send())
        self.take(self.reader.prompt())

    def take(self, data: bytes) -> None:
        self.events += self.http2.receive_data(data)
        self.reader.feed(self.http2.data_to_send())

    def received(self) -> bytes:
        return b"".join(event.data or b"" for event in self.events if isinstance(event, DataReceived))

    def stream(self) -> Stream:
        return self.reader.requests[0].stream


@pytest.fixture
def peer() -> Peer:
    peer = Peer()
    peer.flush()
    return peer


def test_a_message_arrives_with_the_metadata_of_its_stream_and_is_answered(peer: Peer):
    peer.begin(b"question")
    peer.flush()
    (message,) = peer.reader.requests
    assert (message.data, message.stream.metadata["x-of"]) == (b"question", "hello")
    peer.take(message.stream.reply(b"answer", last=True))
    assert peer.received() == framed(b"answer")
    kinds = [type(event) for event in peer.events]
    assert [kinds.count(kind) for kind in (ResponseReceived, TrailersReceived, StreamEnded)] == [1, 1, 1]
    assert not peer.reader.is_engaged


@given(st.integers(min_value=1, max_value=64))
def test_it_does_not_matter_how_bytes_are_cut(size: int):
    peer = Peer()
    peer.begin(b"one", b"two")
    data = peer.http2.data_to_send()
    for at in range(0, len(data), size):
        peer.reader.feed(data[at : at + size])
    assert [message.data for message in peer.reader.requests] == [b"one", b"two"]


def test_a_large_answer_goes_in_frames_that_the_peer_takes(peer: Peer):
    peer.begin(b"question")
    peer.flush()
    answer = bytes(50_000)
    peer.take(peer.stream().reply(answer, last=False))
    assert peer.received() == framed(answer)
    assert peer.reader.is_engaged


def test_a_peer_whose_window_is_too_small_is_given_up(peer: Peer):
    peer.begin(b"question")
    peer.flush()
    stream = peer.stream()
    with pytest.raises(ConnectionError):
        stream.reply(bytes(70_000), last=True)


def test_a_stream_that_the_peer_gives_up_is_answered_with_nothing(peer: Peer):
    number = peer.begin(b"question")
    peer.flush()
    stream = peer.stream()
    peer.http2.reset_stream(number)
    peer.flush()
    assert stream.reply(b"answer", last=True) == b""
    assert (list(peer.reader.requests), peer.reader.is_engaged) == ([], False)


def test_streams_follow_each_other_on_one_connection(peer: Peer):
    for question in (b"one", b"two", b"three"):
        peer.begin(question, end=True)
        peer.flush()
        message = peer.reader.requests.popleft()
        assert message.data == question
        peer.take(message.stream.reply(b"answer", last=True))
    assert peer.received() == 3 * framed(b"answer")


def test_a_stream_that_the_peer_ends_without_a_question_is_ended(peer: Peer):
    peer.begin(end=True)
    peer.flush()
    assert StreamEnded in [type(event) for event in peer.events]
    assert not peer.reader.is_engaged


def test_a_second_stream_beside_an_open_one_ends_the_connection(peer: Peer):
    peer.begin(b"one")
    peer.flush()
    other = Peer()
    other.http2.get_next_available_stream_id()
    other.begin()
    other.begin()
    frames = other.http2.data_to_send()[len(PREFACE) :]
    with pytest.raises(ConnectionError):
        peer.reader.feed(frames)


def test_a_farewell_is_said_once_while_a_stream_is_open_and_what_was_begun_by_then_is_answered(peer: Peer):
    said: list[bytes] = []
    peer.reader.farewell(said.append)
    assert not said, "the next stream may have begun"
    peer.begin(b"question")
    peer.flush()
    message = peer.reader.requests.popleft()
    peer.reader.farewell(said.append)
    peer.reader.farewell(said.append)
    assert [each[3] for each in said] == [GOAWAY]
    assert framed(b"answer") in message.stream.reply(b"answer", last=True)
    assert peer.reader.idle_seconds_max == LEAVE_SECONDS_MAX
    late = Peer()
    late.http2.encoder.header_table_size = 0
    late.begin(end=True)
    late.begin(b"in time")
    peer.reader.feed(late.http2.data_to_send()[len(PREFACE) :])
    assert [message.data for message in peer.reader.requests] == [b"in time"]


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
        PREFACE + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
        PREFACE + b"\x00\x00\x04\x01\x04\x00\x00\x00\x01\xff\xff\xff\xff",
    ],
)
def test_what_is_no_http2_ends_the_connection(data: bytes):
    with pytest.raises(ConnectionError):
        StreamReader(no_exchange).feed(data)


def test_a_message_over_the_limit_ends_the_connection(peer: Peer):
    peer.http2.send_headers(1, PATH)
    peer.http2.send_data(1, struct.pack(">BI", 0, MESSAGE_BYTES_MAX + 1))
    with pytest.raises(ConnectionError):
        peer.flush()


@given(st.binary(max_size=200))
def test_no_bytes_make_it_fail_otherwise(data: bytes):
    reader = StreamReader(no_exchange)
    try:
        reader.feed(PREFACE + data)
    except ConnectionError:
        return
    assert reader.error is None
