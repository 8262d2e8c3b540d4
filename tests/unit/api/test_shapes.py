"""Bounds of what a body is made of: how deep, and of how many objects and lists."""

from typing import Any

import orjson
import pytest

from skerry.api.errors import BadRequest, RequestEntityTooLarge
from skerry.api.shapes import CONTAINERS_MAX, DEPTH_MAX, PATH_CHARACTERS_MAX, check_shape, read_json


def nested(levels: int) -> bytes:
    return b"[" * levels + b"]" * levels


@pytest.mark.parametrize(
    ("many", "told"),
    [
        ({"spec": {"a": 1, "filters": [{}] * CONTAINERS_MAX}}, f"spec.filters: has {CONTAINERS_MAX} items"),
        ({"a": [[], {"b": [[]] * CONTAINERS_MAX}]}, f"a[1].b: has {CONTAINERS_MAX} items"),
        ({"a": {str(name): {} for name in range(CONTAINERS_MAX)}}, f"a: has {CONTAINERS_MAX} items"),
        ([{}] * CONTAINERS_MAX, f"the body has {CONTAINERS_MAX} members"),
        ({"rules": [{"matches": [{"headers": [{}] * 999}] * 10}] * 11}, "rules[0].matches[0].headers: has 999 items"),
    ],
    ids=["list", "deeper list", "object", "body", "lists of lists"],
)
def test_a_body_of_too_many_objects_and_lists_is_refused_with_the_field_and_the_limit(many: Any, told: str) -> None:
    with pytest.raises(RequestEntityTooLarge) as refused:
        read_json(orjson.dumps(many))
    assert refused.value.public == f"{told}, and a document may have at most {CONTAINERS_MAX} objects and lists in all"


def test_a_name_as_long_as_a_body_is_not_told_whole() -> None:
    with pytest.raises(RequestEntityTooLarge) as refused:
        read_json(orjson.dumps({"a" * 1_000_000: [{}] * CONTAINERS_MAX}))
    assert len(refused.value.public) < 2 * PATH_CHARACTERS_MAX


@pytest.mark.parametrize(
    "value",
    [[{}] * (CONTAINERS_MAX - 1), list(range(500_000)), {"a": "{[" * 500_000}, {str(n): "" for n in range(150_000)}],
    ids=["as many as may be", "numbers", "braces in text", "texts"],
)
def test_what_is_not_counted_may_be_as_long_as_a_body(value: Any) -> None:
    assert read_json(orjson.dumps(value)) == value


def test_depth_is_bounded() -> None:
    assert read_json(nested(DEPTH_MAX))
    with pytest.raises(BadRequest, match="nested deeper than 200 levels"):
        read_json(nested(DEPTH_MAX + 1))
    with pytest.raises(BadRequest, match="nested deeper than 3 levels"):
        check_shape([[[[]]]], 3)


def test_what_is_no_json_is_told_by_the_parser() -> None:
    with pytest.raises(orjson.JSONDecodeError):
        read_json(b"{")
