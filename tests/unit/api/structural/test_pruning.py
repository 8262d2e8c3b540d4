"""What a schema makes of an object: unknown fields go, defaults come, nulls that are no values go."""

from copy import deepcopy
from typing import Any

import pytest

from skerry.api.errors import RequestEntityTooLarge
from skerry.api.structural.pruning import DEFAULTED_BYTES_MAX, complete, prune
from skerry.api.structural.schema import compiled

SCHEMA = compiled({
    "type": "object",
    "properties": {
        "spec": {"type": "object", "default": {"mode": "a"}, "properties": {
            "mode": {"type": "string", "default": "b"},
            "size": {"type": "integer", "nullable": True},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True,
                     "properties": {"known": {"type": "object", "properties": {}}}},
            "map": {"type": "object", "additionalProperties": {"type": "object",
                    "properties": {"n": {"type": "integer", "default": 1}}}},
            "list": {"type": "array", "items": {"type": "object", "properties": {"n": {"type": "integer"}}}},
            "embedded": {"type": "object", "x-kubernetes-embedded-resource": True,
                         "properties": {"spec": {"type": "object", "properties": {}}}},
        }},
    },
})  # fmt: skip


def test_unknown_fields_are_dropped_and_told():
    document: Any = {
        "apiVersion": "v1", "kind": "K", "metadata": {"name": "n"}, "status": {},
        "spec": {
            "bogus": 1,
            "free": {"anything": 1, "known": {"inner": 1}},
            "map": {"k": {"n": 1, "m": 2}},
            "list": [{"n": 1}, {"x": 1}],
            "embedded": {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {}}, "data": 1, "spec": {"y": 1}},
        },
    }  # fmt: skip
    assert prune(SCHEMA, document) == [
        "status", "spec.bogus", "spec.free.known.inner", "spec.map.k.m", "spec.list[1].x", "spec.embedded.data",
        "spec.embedded.spec.y",
    ]  # fmt: skip
    assert document["spec"]["free"] == {"anything": 1, "known": {}}
    assert document["spec"]["embedded"] == {"apiVersion": "v1", "kind": "K", "metadata": {"labels": {}}, "spec": {}}
    assert prune(SCHEMA, deepcopy(document)) == []


def test_defaults_are_filled_in_from_the_outside_inwards_and_shared_by_nobody():
    one: Any = {}
    other: Any = {}
    complete(SCHEMA, one)
    complete(SCHEMA, other)
    assert one == {"spec": {"mode": "a"}}
    one["spec"]["mode"] = "changed"
    assert other == {"spec": {"mode": "a"}}
    given: Any = {"spec": {"map": {"k": {}}}}
    complete(SCHEMA, given)
    assert given == {"spec": {"mode": "b", "map": {"k": {"n": 1}}}}


def test_null_makes_room_for_a_default_and_stays_where_it_is_a_value():
    given: Any = {"spec": {"mode": None, "size": None, "free": {"any": None, "known": None}}}
    complete(SCHEMA, given)
    assert given == {"spec": {"mode": "b", "size": None, "free": {"any": None}}}


def test_defaults_that_outgrow_their_bound_are_refused_before_they_are_made():
    schema = compiled({
        "type": "object",
        "properties": {"list": {"type": "array", "items": {
            "type": "object", "properties": {"text": {"type": "string", "default": "x" * 998}},
        }}},
    })  # fmt: skip
    most = DEFAULTED_BYTES_MAX // 1000
    complete(schema, {"list": [{} for _ in range(most)]})
    with pytest.raises(RequestEntityTooLarge, match=f"more than {DEFAULTED_BYTES_MAX} bytes: send fewer items"):
        complete(schema, {"list": [{} for _ in range(most + 1)]})
