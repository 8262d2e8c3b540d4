"""Query parameters and delete bodies: every wrong one is told by its name."""

from typing import Any

import pytest

from skerry.api.errors import BadRequest, Invalid
from skerry.server.kube import options
from skerry.server.verbs.requests import DeleteOptions


def test_the_manager_is_the_user_agents_first_part_unless_it_is_named() -> None:
    assert options.write_options({}, "kubectl/v1.32 (linux)", ()).manager == "kubectl"
    assert options.write_options({"fieldManager": "me"}, "kubectl/v1.32", ()).manager == "me"
    assert options.write_options({}, "", ()).manager == "unknown"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"fieldManager": "x" * 129}, "fieldManager"),
        ({"fieldManager": "a\nb"}, "fieldManager"),
        ({"fieldValidation": "Maybe"}, "fieldValidation"),
        ({"dryRun": "Some"}, "dryRun"),
        ({"force": "true"}, "force"),
    ],
)
def test_wrong_write_options(query: Any, field: str) -> None:
    with pytest.raises(Invalid) as error:
        options.write_options(query, "", (), patch=True)
    assert [cause["field"] for cause in error.value.details["causes"]] == [field]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"},
        {"limit": "x"},
        {"labelSelector": "a in"},
        {"fieldSelector": "a"},
    ],
)
def test_wrong_list_options(query: Any) -> None:
    with pytest.raises(BadRequest):
        options.list_options(query)


def test_watch_options() -> None:
    wanted, seconds = options.watch_options(
        {"timeoutSeconds": "7", "allowWatchBookmarks": "true", "resourceVersion": "3"}
    )
    assert (wanted.bookmarks, wanted.resource_version, seconds) == (True, "3", 7)
    assert options.watch_options({})[1] == options.WATCH_SECONDS_DEFAULT
    assert options.watch_options({"timeoutSeconds": "999999"})[1] == options.WATCH_SECONDS_MAX


@pytest.mark.parametrize(
    "query",
    [
        {"sendInitialEvents": "true", "allowWatchBookmarks": "true"},
        {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"},
        {"resourceVersionMatch": "NotOlderThan"},
        {"resourceVersionMatch": "Roughly", "sendInitialEvents": "true"},
    ],
)
def test_wrong_watch_options(query: Any) -> None:
    with pytest.raises(Invalid):
        options.watch_options(query)


@pytest.mark.parametrize(("given", "meant"), [("1", True), ("true", True), ("0", False), ("", False), ("false", False)])
def test_flags_as_go_reads_them(given: str, *, meant: bool) -> None:
    assert options.flag({"watch": given}, "watch") is meant


def test_a_flag_that_is_none() -> None:
    with pytest.raises(BadRequest, match='watch: invalid value "yes": must be true or false'):
        options.wants_watch({"watch": "yes"})


def test_delete_options_from_body_and_query() -> None:
    body = {"preconditions": {"uid": "u", "resourceVersion": "5"}, "propagationPolicy": "Orphan", "dryRun": ["All"]}
    assert options.delete_options({}, body) == DeleteOptions(True, "u", "5", "Orphan")
    assert options.delete_options({"dryRun": "All", "propagationPolicy": "Background"}, {}) == DeleteOptions(
        dry_run=True, propagation="Background"
    )


def test_every_wrong_delete_option_is_told_at_once() -> None:
    body = {"preconditions": {"uid": 5}, "propagationPolicy": "Sideways", "dryRun": "All"}
    with pytest.raises(Invalid) as error:
        options.delete_options({}, body)
    fields = [cause["field"] for cause in error.value.details["causes"]]
    assert fields == ["dryRun", "propagationPolicy", "preconditions.uid"]


def test_include_object() -> None:
    assert options.include({}) == "Metadata"
    with pytest.raises(BadRequest, match="includeObject"):
        options.include({"includeObject": "Everything"})
