"""What is a traceparent, and how one is continued."""

import pytest

from skerry.kit.trace_context import is_traceparent, new_span

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-of a later version", True),
        (f"00-{TRACE}-{SPAN}-01-more", False),
        (f"ff-{TRACE}-{SPAN}-01", False),
        (f"00-{'0' * 32}-{SPAN}-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-{SPAN}-01", False),
        (f"00-{TRACE}-{SPAN}-01\n", False),
        ("", False),
    ],
)
def test_what_the_specification_calls_a_traceparent_is_one(text: str, is_one: bool) -> None:  # noqa: FBT001 - a parameter
    assert is_traceparent(text) is is_one


def test_a_span_is_a_child_of_its_parent() -> None:
    for flags in ("00", "01"):
        version, trace, span, kept = new_span(f"00-{TRACE}-{SPAN}-{flags}").split("-")
        assert (version, trace, kept) == ("00", TRACE, flags)
        assert span != SPAN


@pytest.mark.parametrize("parent", [None, "", "nonsense"])
def test_a_span_without_a_parent_begins_a_trace(parent: str | None) -> None:
    first, second = new_span(parent), new_span(parent)
    assert is_traceparent(first)
    assert first.split("-")[1] != second.split("-")[1]
