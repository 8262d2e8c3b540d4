"""RFC 6902, and the bounds around it."""

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skerry.api.core_v1 import CONFIG_MAP
from skerry.api.errors import BadRequest, Invalid, RequestEntityTooLarge
from skerry.server.verbs.patches import json_patch as module
from skerry.server.verbs.patches.json_patch import json_patch


def applied(document: dict[str, Any], *operations: dict[str, Any]) -> Any:
    return json_patch(list(operations)).apply(document, CONFIG_MAP)


def test_every_operation() -> None:
    assert applied({}, {"op": "add", "path": "/a", "value": [1]}) == {"a": [1]}
    assert applied({"a": [1]}, {"op": "add", "path": "/a/-", "value": 2}) == {"a": [1, 2]}
    assert applied({"a": 1}, {"op": "remove", "path": "/a"}) == {}
    assert applied({"a": 1}, {"op": "replace", "path": "/a", "value": 2}) == {"a": 2}
    assert applied({"a": 1}, {"op": "move", "from": "/a", "path": "/b"}) == {"b": 1}
    assert applied({"a": 1}, {"op": "copy", "from": "/a", "path": "/b"}) == {"a": 1, "b": 1}
    assert applied({"a": 1}, {"op": "test", "path": "/a", "value": 1}) == {"a": 1}
    assert applied({"a/b": {"~": 1}}, {"op": "remove", "path": "/a~1b/~0"}) == {"a/b": {}}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "test", "path": "/a", "value": 2},
        {"op": "remove", "path": "/b"},
        {"op": "replace", "path": "/b", "value": 1},
        {"op": "add", "path": "/b/c", "value": 1},
        {"op": "add", "path": "/a/b", "value": 1},
        {"op": "copy", "from": "/b", "path": "/c"},
        {"op": "move", "from": "/o", "path": "/o/p"},
        {"op": "add", "path": "/l/7", "value": 1},
        {"op": "remove", "path": "/l/-"},
        {"op": "replace", "path": "", "value": 5},
    ],
)
def test_an_operation_that_does_not_fit_is_invalid(operation: dict[str, Any]) -> None:
    with pytest.raises(Invalid, match="the server rejected our request due to an error in our request"):
        applied({"a": 1, "o": {"p": 1}, "l": []}, operation)


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        ({"op": "test", "path": "/a", "value": 2}, 'test "/a": the object has another value there'),
        ({"op": "replace", "path": "/b", "value": 1}, 'replace "/b": the object has no such path'),
        (
            {"op": "add", "path": "/b/c", "value": 1},
            'add "/b/c": the object has nothing there that it could be added to',
        ),
        ({"op": "copy", "from": "/b", "path": "/c"}, 'copy "/b" to "/c": the object has no such path'),
    ],
)
def test_the_operation_that_failed_is_named_by_its_place_and_path(operation: dict[str, Any], told: str) -> None:
    first = {"op": "add", "path": "/d", "value": 1}
    with pytest.raises(Invalid) as raised:
        applied({"a": 1}, first, operation)
    (cause,) = raised.value.details["causes"]
    assert (cause["field"], cause["message"]) == ("patch[1]", told)
    assert raised.value.public.endswith(f": patch[1]: {told}")


@pytest.mark.parametrize(
    "body",
    [{}, [1], [{"op": "delete", "path": "/a"}], [{"op": "add", "path": "/a"}], [{"op": "remove", "path": "a"}],
     [{"op": "copy", "path": "/a"}], [{"op": "add", "path": 5, "value": 1}]],
)  # fmt: skip
def test_what_is_no_patch_is_refused(body: Any) -> None:
    with pytest.raises(BadRequest):
        json_patch(body)


def test_the_number_of_operations_is_bounded() -> None:
    one = {"op": "test", "path": "", "value": {}}
    with pytest.raises(RequestEntityTooLarge, match="10000"):
        json_patch([one] * (module.OPERATIONS_MAX + 1))


def test_copies_of_copies_are_bounded() -> None:
    doubling = [{"op": "copy", "from": "/a", "path": "/a/-"} for _ in range(60)]
    with pytest.raises(RequestEntityTooLarge, match="copies more than"):
        applied({"a": ["x" * 100]}, *doubling)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=6,
)
POINTERS = st.lists(st.sampled_from(["a", "b", "0", "-", "~0", "9"]), max_size=3).map(
    lambda p: "".join(f"/{s}" for s in p)
)
OPERATIONS = st.fixed_dictionaries(
    {
        "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
        "path": POINTERS,
        "from": POINTERS,
        "value": JSON,
    }
)


@given(st.dictionaries(st.sampled_from("ab"), JSON), st.lists(OPERATIONS, max_size=4))
def test_any_patch_of_any_document_gives_an_object_or_an_answer(document: Any, operations: Any) -> None:
    with contextlib.suppress(Invalid, BadRequest):
        assert isinstance(json_patch(operations).apply(document, CONFIG_MAP), dict)
