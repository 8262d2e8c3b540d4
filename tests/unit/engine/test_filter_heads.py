"""What a filter sees of a head, and what it may change."""

import pytest

from skerry.engine.errors import CallError
from skerry.engine.filter_heads import NO_RESPONSE, RequestHead, ResponseHead

SHOWN = [
    (":method", "POST"),
    (":authority", "shop.test"),
    (":path", "/a?b=c"),
    ("connection", "upgrade"),
    ("x-skerry-revision", "r-1"),
    ("x-request-id", "id"),
    ("cookie", "a"),
    ("cookie", "b"),
    ("content-length", "3"),
]


def head() -> RequestHead:
    return RequestHead.of(SHOWN)


def test_a_function_sees_the_url_and_what_is_no_ones_but_the_clients():
    method, url, *fields = head().lines().decode().split("\n")
    assert (method, url) == ("POST", "http://shop.test/a?b=c")
    names = fields[::2]
    assert names == ["host", "x-request-id", "cookie", "cookie", "content-length"]


def test_a_head_that_was_given_back_as_it_was_changes_nothing():
    given = head().given(head().lines())
    assert given.changes_from(head()) == ({}, [])
    assert head().length == 3


def test_what_a_new_request_lacks_is_removed_and_what_is_the_gateways_stays():
    given = head().given(b"PUT\nhttp://other.test/x\nx-new\n1\nx-new\n2\nx-request-id\nforged\nx-skerry-revision\nr-2")
    changes = given.changes_from(head())
    assert changes.set == {
        ":method": ["PUT"],
        ":authority": ["other.test"],
        ":path": ["/x"],
        "x-new": ["1", "2"],
    }
    assert changes.remove == ["cookie"]


def test_the_header_host_counts_where_the_url_has_the_old_one():
    given = head().given(b"POST\nhttp://shop.test/a?b=c\nhost\ninner.test\ncookie\na\ncookie\nb")
    assert given.changes_from(head()) == ({":authority": ["inner.test"]}, [])


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"GET",
        b"GET\n/relative",
        b"GET\nhttp://a b/",
        b"GE T\nhttp://a/",
        b"GET\nhttp://a/\nbad name\n1",
        b"GET\nhttp://a/\nx\nline\rbreak",
        "GET\nhttp://a/\nx\n\u20ac".encode(),
        b"GET\nhttp://a/\nx\n\xff",
        b"GET\nhttp://a/" + b"\nx\n1" * 200,
    ],
)
def test_what_is_no_request_is_refused(given: bytes):
    with pytest.raises(CallError):
        head().given(given)


def test_a_response_keeps_what_is_the_gateways_and_gives_each_cookie():
    before = ResponseHead.of([(":status", "200"), ("x-envoy-upstream-service-time", "1"), ("x-old", "1")])
    after = before.given(404, b"set-cookie: a\r\nset-cookie: b\r\nx-skerry-error: forged\r\n")
    assert after.changes_from(before) == ({":status": ["404"], "set-cookie": ["a", "b"]}, ["x-old"])


@pytest.mark.parametrize(("status", "given"), [(99, b""), (600, b""), (200, b"no colon\r\n"), (200, b"x: a\x00\r\n")])
def test_what_is_no_response_is_refused(status: int, given: bytes):
    with pytest.raises(CallError):
        NO_RESPONSE.given(status, given)
