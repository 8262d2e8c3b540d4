"""RFC 7386, with the RFC's own examples."""

from typing import Any

import pytest

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import BadRequest
from skerry.server.verbs.patches.merge_patch import merge, merge_patch


@pytest.mark.parametrize(
    ("original", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        (["a", "b"], ["c", "d"], ["c", "d"]),
        ({"a": "b"}, ["c"], ["c"]),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_examples_of_the_rfc(original: Any, patch: Any, result: Any) -> None:
    assert merge(original, patch) == result


def test_the_original_is_left_as_it_was() -> None:
    original = {"a": {"b": 1}}
    merge(original, {"a": {"b": None, "c": 2}})
    assert original == {"a": {"b": 1}}


@pytest.mark.parametrize("body", [[], "a", 1, None])
def test_only_an_object_is_a_merge_patch(body: Any) -> None:
    with pytest.raises(BadRequest, match="a merge patch must be a JSON object"):
        merge_patch(body)


def test_it_applies_to_objects() -> None:
    assert merge_patch({"data": {"a": None}}).apply({"data": {"a": "1", "b": "2"}}, CONFIG_MAP) == {"data": {"b": "2"}}
