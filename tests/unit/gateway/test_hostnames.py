import pytest

from skerry.gateway.hostnames import covering, covers, intersection, specificity


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("*", "a.b", "a.b"),
        ("*", "*", "*"),
        ("a.b", "a.b", "a.b"),
        ("*.example.com", "foo.example.com", "foo.example.com"),
        ("*.example.com", "a.b.example.com", "a.b.example.com"),
        ("*.example.com", "*.foo.example.com", "*.foo.example.com"),
        ("*.example.com", "example.com", None),
        ("*.example.com", "*.example.net", None),
        ("*.example.com", "badexample.com", None),
        ("a.b", "c.b", None),
    ],
)
def test_hostnames_meet_as_the_gateway_api_says(one: str, other: str, both: str | None) -> None:
    assert intersection(one, other) == intersection(other, one) == both


def test_the_patterns_that_cover_a_host_come_most_specific_first() -> None:
    assert list(covering("a.b.c")) == ["a.b.c", "*.b.c", "*.c", "*"]
    assert list(covering("*.b.c")) == ["*.b.c", "*.c", "*"]
    assert list(covering("*")) == ["*"]


@pytest.mark.parametrize("host", ["a.b.c", "*.b.c", "*", "localhost"])
def test_what_covering_yields_covers_and_is_in_order(host: str) -> None:
    patterns = list(covering(host))
    assert all(covers(pattern, host) for pattern in patterns)
    assert patterns == sorted(patterns, key=specificity, reverse=True)
