"""What of an HTTP request is a function's input; any request is read, or refused in words."""

from contextlib import suppress
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.errors import ApiError, BadRequest, UnsupportedMediaType
from skerry.server.dispatch.http_payloads import FORM_FIELDS_MAX, http_context, payload_of

MULTIPART = "multipart/form-data; boundary=b"
FORM = "application/x-www-form-urlencoded"


def part(disposition: str, content: str = "x") -> bytes:
    return f"--b\r\ncontent-disposition: {disposition}\r\n\r\n{content}\r\n--b--\r\n".encode()


@pytest.mark.parametrize(
    ("method", "query", "content_type", "body", "payload"),
    [
        ("GET", "a=1&b=&b=2", "text/csv", b"ignored", {"a": "1", "b": ["", "2"]}),
        ("POST", "a=1", "", b"", {}),
        ("PUT", "", "application/json; charset=utf-8", b"null", None),
        ("POST", "", "Application/Vnd.Api+JSON", b"[1]", [1]),
        ("POST", "", FORM, b"a=%C3%A9+b", {"a": "é b"}),
        ("POST", "", MULTIPART, part('form-data; name="a"; filename="f.txt"', "hello"), {"a": "hello"}),
    ],
    ids=["query", "empty", "null", "json", "form", "multipart"],
)
def test_a_request_is_an_input(method: str, query: str, content_type: str, body: bytes, payload: Any) -> None:
    assert payload_of(method, query, content_type, body) == payload


@pytest.mark.parametrize(
    ("content_type", "body", "error"),
    [
        ("text/plain", b"x", UnsupportedMediaType),
        ("", b"x", UnsupportedMediaType),
        ("application/json", b"{", BadRequest),
        (FORM, b"a=%ff", BadRequest),
        (FORM, b"\xff", BadRequest),
        (FORM, b"&".join(b"a=1" for _ in range(FORM_FIELDS_MAX + 1)), BadRequest),
        ("multipart/form-data", part('form-data; name="a"'), BadRequest),
        (MULTIPART, part("form-data"), BadRequest),
        (MULTIPART, b"--b\r\n\r\nx", BadRequest),
    ],
    ids=["text", "none", "bad-json", "bad-text", "bad-bytes", "many", "no-boundary", "no-name", "no-end"],
)
def test_what_is_no_input_is_refused(content_type: str, body: bytes, error: type[ApiError]) -> None:
    with pytest.raises(error):
        payload_of("POST", "", content_type, body)


@given(
    st.sampled_from(["GET", "POST"]),
    st.text(max_size=50),
    st.sampled_from(["application/json", FORM, MULTIPART, "multipart/form-data; boundary=", "x/y; ="]) | st.text(),
    st.binary(max_size=200) | st.binary(max_size=50).map(lambda raw: b"--b\r\n" + raw + b"\r\n--b--\r\n"),
)
def test_any_request_is_read_or_refused(method: str, query: str, content_type: str, body: bytes) -> None:
    with suppress(ApiError):
        orjson.dumps(payload_of(method, query, content_type, body))


def test_the_context_has_every_header_but_those_between_the_gateway_and_us() -> None:
    headers = [(b"host", b"a"), (b"x-envoy-attempt", b"1"), (b"x-skerry-revision", b"r")]
    told = http_context(headers, method="GET", target="/p?q", scheme="http", version="1.1")
    assert {name: told[name] for name in ("host", "uri", "args")} == {"host": "a", "uri": "/p", "args": "q"}
    assert not [name for name in told if name.startswith("x-")]
