"""What events a request holds; any request is read, or refused in words."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.dispatch_events import Event
from skerry.api.dispatch_traces import TraceContext
from skerry.api.errors import ApiError, BadRequest, RequestEntityTooLarge
from skerry.server.dispatch.cloud_events import BATCH_EVENTS_MAX, is_emission, read_events

ONE = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}
OLD = {"cloudEventsVersion": "0.1", "eventType": "t", "source": "/s", "eventID": "1"}
BINARY = {f"ce-{name}": value for name, value in ONE.items()}
STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}
BATCH = {"content-type": "application/cloudevents-batch+json"}
KNOWN = {"specversion": "1.0", "type": "t", "source": "/s", "id": "1"}


def one(headers: dict[str, str], document: Any) -> Event:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    (event,) = read_events(headers, body)
    return event


def test_a_structured_event_is_shown_as_it_came_without_data() -> None:
    event = one(STRUCTURED, {**ONE, "subject": "x", "level": 3, "data": {"a": None}})
    assert event.shown == {**ONE, "subject": "x", "level": 3}
    assert event.attributes == {**KNOWN, "subject": "x", "level": "3"}
    assert event.data == {"a": None}


def test_an_event_s_trace_is_its_own_before_that_of_its_request() -> None:
    trace, other = (f"00-{digit * 32}-{digit * 16}-01" for digit in "ab")
    request = {**STRUCTURED, "traceparent": other, "tracestate": "v=1"}
    assert one(request, {**ONE, "traceparent": trace}).trace == TraceContext(traceparent=trace)
    assert one(request, ONE).trace == TraceContext(traceparent=other, tracestate="v=1")
    assert one({**BINARY, "ce-traceparent": trace}, b"").trace == TraceContext(traceparent=trace)
    assert one({**STRUCTURED, "traceparent": "nonsense"}, ONE).trace is None


def test_data_in_base64_is_what_it_encodes() -> None:
    assert one(STRUCTURED, {**ONE, "datacontenttype": "text/plain", "data_base64": "aGVsbG8="}).data == "hello"
    assert one(STRUCTURED, {**ONE, "datacontenttype": "application/json", "data_base64": "WzFd"}).data == [1]
    assert one(STRUCTURED, {**ONE, "datacontenttype": "image/png", "data_base64": "/w=="}).data == "/w=="


def test_a_binary_event_has_its_attributes_in_headers_and_decodes_them() -> None:
    event = one({**BINARY, "ce-subject": "caf%C3%A9", "content-type": "text/plain"}, b"hello")
    assert (event.attributes["subject"], event.data) == ("café", "hello")
    assert event.shown["datacontenttype"] == "text/plain"


def test_version_01_is_read_in_either_form_and_matched_by_the_names_of_10() -> None:
    event = one({}, {"event": {**OLD, "extensions": {"region": "north"}, "data": 1}})
    assert event.attributes == {**KNOWN, "specversion": "0.1", "region": "north"}
    headers = {f"ce-{name.lower()}": value for name, value in OLD.items()} | {"ce-x-region": "south"}
    binary = one({**headers, "content-type": "application/json"}, b"[1]")
    assert (binary.identity, binary.attributes["region"], binary.data) == (("/s", "1"), "south", [1])


@pytest.mark.parametrize(
    ("headers", "is_own"),
    [({}, True), ({"content-type": "application/json"}, True), (STRUCTURED, False), (BATCH, False), (BINARY, False)],
    ids=["nothing", "json", "structured", "batch", "binary"],
)
def test_which_form_is_dispatchs_own(headers: dict[str, str], *, is_own: bool) -> None:
    assert is_emission(headers) is is_own


@pytest.mark.parametrize(
    ("headers", "document", "told"),
    [
        (STRUCTURED, {**ONE, "id": ""}, "id"),
        (STRUCTURED, {**ONE, "type": 1}, "type"),
        (STRUCTURED, {**ONE, "time": "yesterday"}, "Error validating event: time must be a time such as"),
        (STRUCTURED, {**ONE, "specversion": "0.3"}, r"event: specversion must be 1\.0, and is '0\.3'"),
        (BINARY | {"ce-specversion": "0.3"}, b"", r"event: specversion must be 1\.0, and is '0\.3'"),
        (STRUCTURED, {**ONE, "Level": "x"}, "Error validating event: Extension attribute 'Level'"),
        (STRUCTURED, {**ONE, "type": "t" * 129}, "128"),
        (STRUCTURED, {**ONE, "data_base64": "%"}, "data_base64"),
        (STRUCTURED, {**ONE, "datacontenttype": "application/json", "data_base64": "eA=="}, "data_base64 is no JSON"),
        (STRUCTURED, {**ONE, "data": 1, "data_base64": "eA=="}, "only one of data and data_base64"),
        (BINARY | {"content-type": "application/json"}, b"{", "parsing body"),
        ({}, {**OLD, "eventType": "a b"}, "eventType"),
        ({}, {**OLD, "eventTime": "yesterday"}, "eventTime"),
        ({}, {**OLD, "extensions": 1}, "extensions"),
        (BATCH, {}, "array"),
        (BATCH, [1], "object"),
    ],
    ids=str,
)
def test_what_is_no_event_is_refused(headers: dict[str, str], document: Any, told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        one(headers, document)


def test_a_batch_has_a_bound() -> None:
    with pytest.raises(RequestEntityTooLarge):
        read_events(BATCH, orjson.dumps([ONE] * (BATCH_EVENTS_MAX + 1)))


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), st.lists, max_leaves=3)
NAMES = st.sampled_from([*ONE, *OLD, "time", "data", "data_base64", "extensions", "subject", "event"]) | st.text()
DOCUMENTS = st.dictionaries(NAMES, VALUES, max_size=8)


@given(
    st.dictionaries(
        st.sampled_from(["content-type", "ce-specversion", "ce-id", "ce-time", "ce-cloudeventsversion", "ce-x-a"]),
        st.sampled_from(["1.0", "0.3", "application/cloudevents+json", "application/json", "%ff"]) | st.text(),
    ),
    st.binary(max_size=20) | DOCUMENTS.map(orjson.dumps) | DOCUMENTS.map(lambda more: orjson.dumps({**ONE, **more})),
)
def test_any_request_is_read_or_refused(headers: dict[str, str], body: bytes) -> None:
    with suppress(ApiError):
        for event in read_events(headers, body):
            orjson.dumps([event.shown, event.data, event.identity])
