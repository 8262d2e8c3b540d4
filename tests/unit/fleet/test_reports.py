"""Reports: bounds, what is kept, the delta."""

import datetime as dt
from typing import Any

import orjson
import pytest

from skerry.fleet.reports import (
    DEPTH_MAX,
    SOURCE_CORE,
    SOURCE_INIT,
    ReportRefused,
    delta,
    escaped,
    merged_report,
    read_object,
)

NOW = dt.datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=dt.UTC)


def nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def test_a_report_of_any_sound_depth_is_read():
    assert read_object(nested(DEPTH_MAX))


@pytest.mark.parametrize(
    "body", [nested(DEPTH_MAX + 1), nested(10_000), b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}"]
)
def test_a_report_that_is_nested_too_deep_is_refused(body: bytes):
    with pytest.raises(ReportRefused):
        read_object(body)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"{", b'{"a":"\xff"}', b"1"])
def test_what_is_no_object_is_refused(body: bytes):
    with pytest.raises(ReportRefused):
        read_object(body)


def merged(before: dict[str, Any], new: dict[str, Any], source: str = "") -> dict[str, Any]:
    return merged_report(before, new, source=source, now=NOW)


def test_a_report_takes_the_place_of_the_one_before_and_its_time_is_ours():
    kept = merged({"apps": [1], "gone": 1}, {"node": {}, "time": "1999-01-01T00:00:00Z"})
    assert kept == {"node": {}, "time": "2026-01-01T00:00:00.000005Z"}


def test_the_agent_that_looks_after_core_tells_of_system_applications_alone():
    before = {"apps": ["a"], "sysapps": [{"name": "baetyl-core-1", "version": "1"}]}
    kept = merged(before, {"apps": [], "sysapps": [{"name": "baetyl-core-1", "version": "2"}]}, SOURCE_INIT)
    assert kept["apps"] == ["a"]
    assert kept["sysapps"] == [{"name": "baetyl-core-1", "version": "2"}]


def test_core_does_not_erase_what_is_known_of_itself():
    core, function = {"name": "baetyl-core-1", "version": "1"}, {"name": "baetyl-function-1", "version": "1"}
    kept = merged({"sysapps": [core, {"name": "old", "version": "1"}]}, {"sysapps": [function]}, SOURCE_CORE)
    assert kept["sysapps"] == [function, core]


@pytest.mark.parametrize("junk", [None, 1, [{}], [{"name": ["x"]}], [{"name": {"a": 1}}], [{"name": None}]])
def test_what_is_known_of_core_stays_whatever_is_reported(junk: Any):
    core = {"name": "baetyl-core-1", "version": "1"}
    assert core in merged({"sysapps": [core]}, {"sysapps": junk}, SOURCE_CORE)["sysapps"]


REPORT = {
    "apps": [{"name": "b", "version": "2"}, {"name": "a", "version": "1"}],
    "sysapps": [{"name": "core", "version": "3"}],
}


def test_a_node_that_is_as_it_should_be_has_nothing_to_change():
    assert delta(REPORT, [("a", "1"), ("b", "2")], [("core", "3")], {}) == {}


def test_a_change_brings_the_whole_array_and_only_that():
    changed = delta(REPORT, [("a", "1"), ("b", "3")], [("core", "3")], {})
    assert changed == {"apps": [{"name": "a", "version": "1"}, {"name": "b", "version": "3"}]}


def test_an_empty_array_removes_every_application():
    assert delta(REPORT, [], [("core", "3")], {}) == {"apps": []}


def test_properties_are_told_whole():
    assert delta(REPORT, [("a", "1"), ("b", "2")], [("core", "3")], {"k": "v"}) == {"nodeprops": {"k": "v"}}


def test_an_agent_that_says_nothing_yet_is_told_everything():
    assert delta({}, [], [("core", "3")], {}) == {"sysapps": [{"name": "core", "version": "3"}]}


@pytest.mark.parametrize("junk", [None, 1, "x", {}, [1], [None], [{"name": 1}], [{}]])
def test_whatever_is_reported_as_applications_is_held_against_the_desire(junk: Any):
    assert delta({"apps": junk, "sysapps": junk}, [("a", "1")], [], {})["apps"] == [{"name": "a", "version": "1"}]


@pytest.mark.parametrize("text", ["{{", "{{{", "{{ .X }}", "a{{{{b", "{ {", "}}"])
def test_no_template_is_left_in_an_answer_and_its_content_stays(text: str):
    answer = escaped(orjson.dumps({"data": {"k": text}}))
    assert b"{{" not in answer
    assert orjson.loads(answer) == {"data": {"k": text}}


def test_the_placeholder_that_agents_fill_in_stays():
    assert b"{{.BAETYL_HOST_PATH_LIB}}" in escaped(b'{"p":"{{.BAETYL_HOST_PATH_LIB}}/x"}')
