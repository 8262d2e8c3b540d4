import re

import pytest

from skerry.engine.invocation import Invocation

TRACE = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def invocation(**headers: bytes) -> Invocation:
    made = Invocation()
    made.begin([part for name, value in headers.items() for part in (name.encode().replace(b"_", b"-"), value)])
    return made


def test_a_request_is_known_by_its_id():
    assert invocation(x_request_id=b"abc", host=b"x").request_id == "abc"
    assert Invocation().request_id == ""
    assert len(invocation(x_request_id=b"a" * 1000).request_id) == 128


def test_a_subrequest_is_a_child_of_the_requests_span_each_with_an_id_of_its_own():
    traced = invocation(traceparent=TRACE, tracestate=b"a=1")
    first, second = traced.trace_fields(), traced.trace_fields()
    pattern = rb"\ntraceparent\n00-0af7651916cd43dd8448eb211c80319c-[0-9a-f]{16}-01\ntracestate\na=1"
    assert re.fullmatch(pattern, first)
    assert b"b7ad6b7169203331" not in first
    assert first != second


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"x",
        TRACE.upper(),
        TRACE + b"-x",
        b"ff" + TRACE[2:],
        b"00-" + b"0" * 32 + TRACE[35:],
        TRACE[:36] + b"0" * 16 + b"-01",
    ],
)
def test_what_is_no_traceparent_is_not_continued(wrong: bytes):
    assert invocation(traceparent=wrong).trace_fields() == b""


def test_a_later_version_is_continued_as_the_one_that_is_known():
    assert invocation(traceparent=b"01" + TRACE[2:] + b"-more").trace_fields().startswith(b"\ntraceparent\n00-0af7")
