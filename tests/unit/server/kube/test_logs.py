import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from skerry.api.errors import BadRequest
from skerry.api.extensions_v1alpha2 import EDGE_FUNCTION
from skerry.server.kube.logs import LogLine, LogQuery, log_parts, log_query
from skerry.server.verbs.requests import Target

TARGET = Target(EDGE_FUNCTION, name="f")


class Reader:
    """Two lines."""

    @asynccontextmanager
    async def read(self, _target: Target, _query: LogQuery) -> AsyncIterator[AsyncIterator[LogLine]]:
        async def lines() -> AsyncIterator[LogLine]:
            yield LogLine("2026-01-01T00:00:00Z", "öne")
            yield LogLine("2026-01-01T00:00:01Z", "two")

        yield lines()


async def told(**query: str) -> bytes:
    async with log_parts(Reader(), TARGET, log_query(query)) as parts:
        return b"".join([part async for part in parts])


def test_options_are_those_of_a_pods_log_and_two_of_ours():
    query = {
        "follow": "true",
        "tailLines": "5",
        "sinceTime": "2026-01-01T00:00:00+01:00",
        "timestamps": "1",
        "limitBytes": "100",
        "level": "warn",
        "requestId": "abc",
    }
    since = dt.datetime(2025, 12, 31, 23, tzinfo=dt.UTC)
    assert log_query(query) == LogQuery(True, 5, None, since, True, 100, "warn", "abc")
    assert log_query({"sinceSeconds": "9", "container": "ignored"}) == LogQuery(since_seconds=9)


@pytest.mark.parametrize(
    "query",
    [
        {"follow": "perhaps"},
        {"tailLines": "-1"},
        {"tailLines": "x"},
        {"sinceSeconds": "0"},
        {"sinceTime": "yesterday"},
        {"sinceTime": "2026-01-01T00:00:00"},
        {"limitBytes": "0"},
        {"timestamps": "x"},
        {"level": "loud"},
        {"requestId": "x" * 129},
        {"sinceTime": "2026-01-01T00:00:00Z", "sinceSeconds": "1"},
    ],
)
def test_a_wrong_option_is_told_by_its_name(query: dict[str, str]):
    with pytest.raises(BadRequest) as caught:
        log_query(query)
    assert caught.value.public.startswith(next(iter(query)))


async def test_lines_are_told_with_their_times_and_end_where_the_limit_says():
    assert await told() == "öne\ntwo\n".encode()
    assert await told(timestamps="true") == "2026-01-01T00:00:00Z öne\n2026-01-01T00:00:01Z two\n".encode()
    for limit in range(1, 10):
        assert await told(limitBytes=str(limit)) == "öne\ntwo\n".encode()[:limit]
