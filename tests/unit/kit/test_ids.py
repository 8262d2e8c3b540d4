"""Ids are UUIDs in the order of time, and what is a UUID is told as Python tells it."""

import uuid

import pytest

from skerry.kit.ids import RandomIds, is_uuid
from skerry.testing.clock import FakeClock


def test_an_id_is_a_uuid_of_version_7_and_sorts_behind_those_before() -> None:
    clock = FakeClock()
    ids = RandomIds(clock)
    made = []
    for _ in range(100):
        made.append(ids.uid())
        clock.advance(0.001)
    assert made == sorted(made)
    assert {(uuid.UUID(each).version, uuid.UUID(each).variant) for each in made} == {(7, uuid.RFC_4122)}


def test_ids_of_one_moment_differ() -> None:
    ids = RandomIds(FakeClock())
    assert len({ids.uid() for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0195f7e0-7b1a-7c3e-8f00-2b1d3c4e5f60", True),
        ("0195F7E0-7B1A-7C3E-8F00-2B1D3C4E5F60", True),
        ("0195f7e07b1a7c3e8f002b1d3c4e5f60", True),
        ("0195f7e0-7b1a-7c3e-8f00-2b1d3c4e5f6", False),
        ("0195f7e0-7b1a-7c3e-8f00-2b1d3c4e5f6g", False),
        ("", False),
    ],
)
def test_what_is_a_uuid(text: str, *, expected: bool) -> None:
    assert is_uuid(text) == expected
